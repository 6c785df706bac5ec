"""Options from variables and from the project's pyproject.toml."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.conftest import Cli
from writeaudit.commands import check
from writeaudit.commands.settings import find_project, project_defaults
from writeaudit.errors import UsageError


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path / "pyproject.toml"


def test_nearest_project_counts(tmp_path: Path) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "pyproject.toml").touch()
    assert find_project(str(tmp_path / "a/b")) == str(tmp_path / "pyproject.toml")
    (tmp_path / "a/pyproject.toml").touch()
    assert find_project(str(tmp_path / "a/b")) == str(tmp_path / "a/pyproject.toml")


def test_table_of_a_project(project: Path) -> None:
    project.write_text(
        '[tool.writeaudit]\nprofile = "frozen"\nfail-on = ["WA203"]\nlinger = 1\nbuffer = "64M"\n'
    )
    assert project_defaults(str(project.parent)) == {
        "profile": "frozen",
        "fail_on": ("error", "WA203"),
        "linger": 1,
        "buffer": "64M",
    }


@pytest.mark.parametrize("text", ["", "[tool.uv]\n", "no toml [ writeaudit", "tool = 3 # writeaudit"])
def test_nothing_of_ours(project: Path, text: str) -> None:
    project.write_text(text)
    assert project_defaults(str(project.parent)) == {}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('fail-on = "none"', "laxer"),
        ('fail-on = ["never"]', "laxer"),
        ('fail-on = "WA999"', "does not know"),
        ("fail-on = 3", "a text or a list"),
        ('profile = "uv/install"', "not one of"),
        ('html = "/etc/passwd"', "cannot be set by a project"),
        ("sudo = true", "cannot be set by a project"),
        ('fial-on = "warning"', "no setting"),
        ("linger = true", "a number of seconds"),
    ],
)
def test_mistakes_and_what_a_project_cannot_do(project: Path, line: str, message: str) -> None:
    project.write_text(f"[tool.writeaudit]\n{line}\n")
    with pytest.raises(UsageError, match=message) as caught:
        project_defaults(str(project.parent))
    assert caught.value.hint


def test_order(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail_on(*words: str) -> object:
        return check.command.make_context("check", ["last", *words]).params["fail_on"]

    assert fail_on() == ()
    project.write_text('[tool.writeaudit]\nfail-on = "note"\nprofile = "frozen"\n')
    assert fail_on() == ("error", "note")
    assert (
        check.command.make_context("check", ["last"]).params["profile"] is None
    )  # the recording has its own
    monkeypatch.setenv("WRITEAUDIT_FAIL_ON", "none WA203")
    assert fail_on() == ("none", "WA203")
    assert fail_on("--fail-on", "warning") == ("warning",)


def test_command_line_goes_before_a_variable(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WRITEAUDIT_BACKEND", "no-such")
    done = cli("run", "-q", "-o", tmp_path / "r.wa", "--", "true")
    assert done.returncode == 2
    assert "WRITEAUDIT_BACKEND" in done.stderr


def test_policy_of_the_command_line_stands_alone(cli: Cli, project: Path, tmp_path: Path) -> None:
    project.write_text('[tool.writeaudit]\nprofile = "frozen"\n')
    policy = tmp_path / "ci.toml"
    policy.write_text('name = "ci"\n[[zones]]\nname = "here"\naccess = "rw"\npatterns = ["."]\n')

    def judged_by(*words: str | Path) -> str:
        done = cli("run", "-o", "r.wa", "--json", "-", *words, "--", "true", cwd=tmp_path)
        return str(json.loads(done.stdout)["policy"]["name"])

    assert judged_by("--policy", policy) == "ci"
    assert "frozen" in judged_by()
