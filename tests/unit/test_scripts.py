from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from writeaudit.commands.group import COMMANDS

ROOT = Path(__file__).resolve().parents[2]
SHELL_SCRIPTS = ("scripts/setup", "scripts/demo", "scripts/hand-over", "scripts/pythons", ".ci/run")


def _run(*args: str | Path, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(arg) for arg in args],
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        env=env,
    )


@pytest.mark.parametrize("script", SHELL_SCRIPTS)
def test_shell_scripts_can_be_run(script: str) -> None:
    path = ROOT / script
    assert os.access(path, os.X_OK)
    assert "\nset -euo pipefail\n" in path.read_text()
    done = _run("bash", "-n", path)
    assert done.returncode == 0, done.stderr


def test_setup_refuses_what_it_does_not_know() -> None:
    done = _run(ROOT / "scripts/setup", "everything")
    assert done.returncode == 1
    assert "usage" in done.stderr


def _uv_settings(tmp_path: Path, configuration: str, **environment: str) -> list[str]:
    """What the script prints for a user with that pip.conf and those variables, and nothing else."""
    config = tmp_path / "pip.conf"
    config.write_text(configuration)
    env = {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(tmp_path), "PIP_CONFIG_FILE": str(config)}
    done = _run(sys.executable, ROOT / "scripts/uv_settings.py", env=env | environment)
    assert done.returncode == 0, done.stderr
    # The machine's own pip.conf may name certificates; an index is what is asked for here.
    return [line for line in done.stdout.splitlines() if line.startswith("UV_")]


PIP_CONF = "[global]\nindex-url = https://packages.invalid/simple\n"


def test_uv_hears_of_the_index_in_pip_conf(tmp_path: Path) -> None:
    assert _uv_settings(tmp_path, PIP_CONF) == ["UV_DEFAULT_INDEX=https://packages.invalid/simple"]


def test_the_environment_goes_before_pip_conf(tmp_path: Path) -> None:
    found = _uv_settings(tmp_path, PIP_CONF, PIP_INDEX_URL="https://other.invalid/simple")
    assert found == ["UV_DEFAULT_INDEX=https://other.invalid/simple"]


@pytest.mark.parametrize("name", ["UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_CONFIG_FILE"])
def test_settings_for_uv_itself_are_left_alone(name: str, tmp_path: Path) -> None:
    assert _uv_settings(tmp_path, PIP_CONF, **{name: "anything"}) == []


@pytest.mark.parametrize(("rules", "status"), [(["WA203", "WA101"], 0), (["WA102"], 1), ([], 1)])
def test_demo_fails_if_the_fallback_was_not_found(rules: list[str], status: int, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    report.write_text(json.dumps({"findings": [{"rule": rule, "message": "so it is"} for rule in rules]}))
    done = _run(sys.executable, ROOT / "scripts/demo_outcome.py", report)
    assert done.returncode == status
    assert ("so it is" in done.stderr) == (status == 0)


def test_manual_page_is_whole(tmp_path: Path) -> None:
    page = tmp_path / "man/writeaudit.1"
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    done = _run(sys.executable, ROOT / "scripts/man_page.py", page, env=env)
    assert done.returncode == 0, done.stderr
    text = page.read_text().replace("\\-", "-")
    for name in COMMANDS:
        assert f".SS writeaudit {name} " in text
    for words in ("--fail-on", "env var: WRITEAUDIT_BACKEND", ".SH EXIT STATUS", "run -- uv sync --frozen"):
        assert words in text
