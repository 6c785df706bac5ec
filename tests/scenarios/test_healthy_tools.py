"""A healthy run of every tool that has a profile ends with 0: nothing is accused, nothing is missing.

The tools are installed for the session from PyPI and npm; those of the distribution are taken if they
are there. What cannot be had is skipped, with the reason.
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Cli, _path
from tests.scenarios.conftest import Mounts, auditor
from writeaudit.capture.interface import Backend

pytestmark = [pytest.mark.requires_root, pytest.mark.about_answers]

_DATA = tomllib.loads(Path(__file__).with_name("healthy_tools.toml").read_text())
_TOOLS: dict[str, dict[str, Any]] = _DATA["tools"]
_FUNCTIONS = "\n".join(f"{name}() {{\n{body}}}" for name, body in _DATA["functions"].items())


def _run(words: list[str | Path], cwd: Path) -> str | None:
    """Run a command of the preparation; return what went wrong."""
    done = subprocess.run(
        words, cwd=cwd, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )
    return None if done.returncode == 0 else f"{done.stdout[-300:]}{done.stderr[-300:]}".strip()


@functools.cache
def _installed() -> tuple[tuple[str, ...], str]:
    """Install what PyPI and npm offer, once; return the directories of programs, and what went wrong."""
    top = Path(tempfile.mkdtemp(prefix="writeaudit-tools-"))
    places: list[str] = []
    wrong: list[str] = []
    groups = (
        ("own", "virtualenv tox nox hatch pipx pre-commit build pipenv"),
        ("pdm", "pdm"),
        ("poetry", "poetry"),
    )
    for name, packages in groups:
        venv = top / name
        made = _run([sys.executable, "-m", "venv", venv], top)
        made = made or _run([venv / "bin" / "pip", "install", "-q", *packages.split()], top)
        if made is not None:
            wrong.append(f"{packages}: {made}")
        places.append(str(venv / "bin"))
    if shutil.which("npm", path=_path()) is not None:
        packages = "yarn@1 @yarnpkg/cli-dist pnpm bun"
        made = _run(["npm", "install", "--silent", "--prefix", top / "js", *packages.split()], top)
        if made is not None:
            wrong.append(f"{packages}: {made}")
        programs = top / "js" / "node_modules" / ".bin"
        script = top / "js" / "node_modules" / "@yarnpkg" / "cli-dist" / "bin" / "yarn.js"
        if script.exists():
            shim = programs / "berry"
            shim.write_text(f'#!/bin/sh\nexec node {script} "$@"\n')
            shim.chmod(0o755)
        places.append(str(programs))
    return tuple(places), "; ".join(wrong)


@pytest.fixture(scope="module", autouse=True)
def _tidy() -> Iterator[None]:
    yield
    places, _wrong = _installed()
    if places:
        shutil.rmtree(Path(places[0]).parents[1], ignore_errors=True)


@pytest.fixture
def place(mounts: Mounts, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home and a project outside the temporary directories, which every profile allows."""
    top = mounts.tmpfs(Path(f"/mnt/writeaudit-{os.getpid()}"), "1g")
    for name in ("home", "project"):
        (top / name).mkdir()
    monkeypatch.setenv("HOME", str(top / "home"))
    for name in list(os.environ):
        if name.startswith(("XDG_", "VIRTUAL_ENV", "UV_CACHE", "PIP_CACHE")) and name != "XDG_STATE_HOME":
            monkeypatch.delenv(name)
    monkeypatch.setenv("COMPOSER_ALLOW_SUPERUSER", "1")
    # It looks for newer seed packages in the background, and outlives the run: no complete audit has that.
    monkeypatch.setenv("VIRTUALENV_NO_PERIODIC_UPDATE", "1")
    config = "[user]\n\tname = a\n\temail = a@b.c\n[init]\n\tdefaultBranch = main\n"
    (top / "home" / ".gitconfig").write_text(config)
    return top / "project"


@pytest.mark.parametrize("name", _TOOLS)
def test_healthy_run(
    cli: Cli, backend: Backend, tmp_path: Path, place: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool = _TOOLS[name]
    places, wrong = _installed()
    rust = Path(os.path.expanduser("~root")) / ".cargo" / "bin"
    path = os.pathsep.join([*places, _path(), str(rust)])
    monkeypatch.setenv("PATH", path)
    if (toolchains := rust.parents[1] / ".rustup").is_dir():
        monkeypatch.setenv("RUSTUP_HOME", str(toolchains))
    for program in tool.get("programs", ()):
        if shutil.which(program, path=path) is None:
            pytest.skip(f"{program} is not installed {f'({wrong})' if wrong else ''}")
    script = f"{_FUNCTIONS}\n{tool.get('setup', ':')}\npwd > '{place.parent}/where'"
    made = subprocess.run(["bash", "-ec", script], cwd=place, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    work = Path((place.parent / "where").read_text().strip())
    audit = auditor(cli, backend.name, tmp_path)
    for command in tool["commands"]:
        audited = audit(command.split(), cwd=work)
        told = f"{command}\n{audited.stdout}\n{audited.stderr}"
        if audited.report["run"]["exit_status"]:
            pytest.skip(f"{command} fails here: {audited.stderr.strip()[-400:] or audited.stdout[-400:]}")
        assert audited.status == 0, told
        assert audited.report["summary"]["status"] == "clean", told
        assert audited.report["policy"]["open"] is False, told
