"""What a shell is offered."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import Cli


def _offered(*words: str, **env: str) -> list[str]:
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys; sys.argv[0] = 'writeaudit'; from writeaudit.cli import main; main()",
        ],
        env={
            **os.environ,
            "_WRITEAUDIT_COMPLETE": "bash_complete",
            "COMP_WORDS": "\n".join(("writeaudit", *words)),
            "COMP_CWORD": str(len(words)),
            **env,
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    return [line.partition(",")[2] for line in done.stdout.splitlines()]


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["re"], ["report"]),
        (["explain", "wa10"], ["WA101", "WA102", "WA103", "WA104", "WA105", "WA106"]),
        (["run", "--backend", "e"], ["ebpf"]),
        (["run", "--profile", "fr"], ["frozen"]),
        (["run", "--profile", "uv/"], ["uv/install", "uv/frozen"]),
        (["check", "--fail-on", "link"], ["link-fallback"]),
        (["report", "las"], ["last", "las"]),
        (["run", "--htm"], ["--html"]),
        (["run", "--user", "roo"], ["root"]),
    ],
)
def test_values(words: list[str], offered: list[str]) -> None:
    found = _offered(*words)
    assert found
    assert set(found) <= set(offered)


def test_programs_of_the_path(tmp_path: Path) -> None:
    (tmp_path / "installer").touch(mode=0o755)
    assert _offered("run", "--", "inst", PATH=str(tmp_path)) == ["installer"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_code_for_shells(cli: Cli, shell: str) -> None:
    done = cli("completion", shell)
    assert done.returncode == 0, done.stderr
    assert "_WRITEAUDIT_COMPLETE" in done.stdout
    if shell == "bash":
        assert subprocess.run(["bash", "-n"], input=done.stdout, text=True, check=False).returncode == 0
