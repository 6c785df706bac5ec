"""What `writeaudit run` imports before it has the BPF programs loaded: everybody waits for that."""

from __future__ import annotations

import subprocess
import sys

import pytest

BEFORE_LOADING = (
    "import writeaudit.cli; from writeaudit.capture.kernel import loading; "
    "from writeaudit.capture.launch import signal_dispositions"
)
FOR_A_RUN = "import writeaudit.commands.run, writeaudit.pipeline, writeaudit.capture.kernel.ebpf"


def _imported(statements: str) -> set[str]:
    """Return the modules that a fresh interpreter has imported after ``statements`` and not before."""
    script = f"import sys; before = set(sys.modules); {statements}; print(*(sys.modules.keys() - before))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize(
    ("statements", "needless"),
    [
        (BEFORE_LOADING, {"click", "dataclasses", "enum", "inspect", "pathlib", "re", "signal", "typing"}),
        (FOR_A_RUN, {"pathlib", "shlex", "shutil", "tempfile", "tomllib", "rich", "jinja2"}),
    ],
    ids=["before the programs are loaded", "for a run"],
)
def test_modules_that_are_not_needed_yet_are_not_imported(statements: str, needless: set[str]) -> None:
    imported = _imported(statements)
    assert "writeaudit.capture.kernel.loading" in imported
    assert not imported & needless
