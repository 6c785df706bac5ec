"""A policy with variables, for a run and again for its recording, which holds those that were named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.conftest import Cli
from tests.support.databases import open_database
from writeaudit.capture.interface import Backend

SECRET = "WRITEAUDIT_TEST_TOKEN"


@pytest.fixture
def policy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A policy that names variables of no form that is known."""
    for name, place in (("Mine", "a"), ("OTHER", "b"), (SECRET, "hush")):
        monkeypatch.setenv(name, str(tmp_path / place))
    path = tmp_path / "p.toml"
    path.write_text('[zones.a]\npath = ["$Mine", "${Unset:-${OTHER}}", "/dev"]\naccess = "rw"\n')
    return path


def variables(recording: Path) -> dict[str, str]:
    with open_database(recording) as database:
        (value,) = database.execute("SELECT value FROM meta WHERE key = 'run'").fetchone()
    found = json.loads(value)["env"]
    assert isinstance(found, dict)
    return found


def test_named_variables_are_kept_and_no_others(
    cli: Cli, backend: Backend, tmp_path: Path, policy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording = tmp_path / "r.wa"
    zone = "b=$OTHER/x:rw"
    words = ("run", "--backend", backend.name, "--policy", policy, "--zone", zone, "-o", recording)
    assert cli(*words, "--", "touch", tmp_path / "a").returncode == 0
    kept = variables(recording)
    assert (kept["Mine"], kept["OTHER"]) == (str(tmp_path / "a"), str(tmp_path / "b"))
    assert SECRET not in kept
    assert "PATH" not in kept
    for name in ("Mine", "OTHER"):
        monkeypatch.delenv(name)
    again = cli("check", recording, "--policy", policy, "--zone", zone)
    assert again.returncode == 0, again.stderr
    assert cli("check", recording, "--zone", "c=$Mine:rw").returncode == 0


@pytest.mark.parametrize("command", ["check", "report"])
def test_a_variable_that_the_recording_lacks(
    cli: Cli, backend: Backend, tmp_path: Path, policy: Path, command: str
) -> None:
    recording = tmp_path / "r.wa"
    assert cli("run", "--backend", backend.name, "-o", recording, "--", "true").returncode == 0
    for words, where in (
        (("--policy", policy), "p.toml:2: zone 'a': $Mine"),
        (("--zone", f"z=${SECRET}:ro"), f"${SECRET}"),
    ):
        done = cli(command, recording, *words)
        assert done.returncode == 2
        assert f"{where} is not set in the recording" in done.stderr
        assert ":-/some/directory}, or the path itself" in done.stderr
        assert "Set it" not in done.stderr


def test_a_variable_that_the_run_lacks(cli: Cli, tmp_path: Path) -> None:
    done = cli("run", "--zone", "z=$Nowhere_Set:ro", "-o", tmp_path / "r.wa", "--", "true")
    assert done.returncode == 2
    assert "$Nowhere_Set is not set\n  hint: Set it" in done.stderr
