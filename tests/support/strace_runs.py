"""Commands under the strace of this machine."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

from writeaudit.capture.interface import CaptureLimits, CaptureOutcome, Command, Record
from writeaudit.capture.strace.backend import StraceBackend
from writeaudit.events import Op, RawEvent


def command(*argv: str, **env: str) -> Command:
    """Return a command in this process's environment."""
    return Command(
        tuple(os.fsencode(arg) for arg in argv),
        {**os.environb, **{os.fsencode(k): os.fsencode(v) for k, v in env.items()}},
    )


def run(*argv: str, linger_s: float = 5.0) -> tuple[CaptureOutcome, list[Record]]:
    """Capture a command; nothing may be lost."""
    records: list[Record] = []
    outcome = StraceBackend().capture(command(*argv), records.extend, CaptureLimits(linger_s=linger_s))
    assert not outcome.lost, outcome
    return outcome, records


def auditor(script: str, *, linger_s: float = 5.0, stderr: int | None = None) -> subprocess.Popen[bytes]:
    """Start a process of its own that captures a shell script."""
    code = f"""
        import os
        from writeaudit.capture.interface import Command, CaptureLimits
        from writeaudit.capture.strace.backend import StraceBackend
        command = Command((b"sh", b"-c", {os.fsencode(script)!r}), os.environb.copy())
        StraceBackend().capture(command, lambda records: None, CaptureLimits(linger_s={linger_s}))
    """
    root = Path(__file__).resolve().parents[2]
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)],
        env={**os.environ, "PYTHONPATH": str(root)},
        stderr=stderr,
    )


def python(code: str) -> tuple[str, ...]:
    """Return a command that runs Python code."""
    return (sys.executable, "-IS", "-c", textwrap.dedent(code))


def changes(records: list[Record], place: Path) -> list[tuple[Op, bytes, str]]:
    """Return what happened below a directory, but for mere reads."""
    out = []
    for record in records:
        if isinstance(record, RawEvent) and not (record.op is Op.OPEN and not record.access.writes):  # type: ignore[union-attr]
            base, name = record.path.base or b"", record.path.name
            path = base if name is None else os.path.normpath(os.path.join(base, name))
            if path.startswith(os.fsencode(place)):
                out.append((record.op, path[len(os.fsencode(place)) + 1 :], record.result))
    return out
