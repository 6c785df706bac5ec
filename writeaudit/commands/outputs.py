"""What a command line writes, and that none of it destroys the rest of it, or what it is read from."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Mapping

from writeaudit.errors import OutputError, UsageError

_STDOUT = "-"
_STDOUT_NAMES = frozenset({_STDOUT, "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"})
_LOGS = ("-wal", "-shm")
"""What SQLite keeps beside a recording that is not finished: a part of it."""


def check_outputs(
    outputs: Mapping[str, str | None],
    *,
    recording: str | None = None,
    recording_is: str = "RECORDING",
    policy: str | None = None,
) -> None:
    """Make sure that the files written are none of the files read, and no file is written twice.

    ``outputs``: the reports, by option (``--json``); None: not asked for. ``recording`` and ``policy``
    must stay whole. Raises UsageError; `OutputError` for standard output that is closed.
    """
    kept = []
    if recording is not None:
        recording = os.path.join(os.curdir, recording) if recording == _STDOUT else recording
        kept.append((recording_is, recording))
        kept += [(f"the log of {recording_is}", recording + suffix) for suffix in _LOGS]
    if policy is not None:
        kept.append(("--policy", policy))
    for option, path in outputs.items():
        if path is None:
            continue
        if path in _STDOUT_NAMES and sys.__stdout__ is None:
            raise OutputError(
                f"cannot write {option} to standard output: it is closed", hint=f"name a file: {option} FILE"
            )
        for name, other in kept:
            if _same(path, other):
                raise UsageError(
                    f"{option} {path} and {name} {other} are the same file: one would destroy the other",
                    hint=f"name another file: {option} FILE",
                )
        kept.append((option, path))


def _same(one: str, other: str) -> bool:
    """Whether two targets are one file. The null device is there to be given many times."""
    first, second = _status(one), _status(other)
    if first is not None and second is not None and os.path.samestat(first, second):
        return not (stat.S_ISCHR(first.st_mode) and first.st_rdev == os.makedev(1, 3))
    if _STDOUT in (one, other):
        return one == other
    return os.path.realpath(one) == os.path.realpath(other)


def _status(path: str) -> os.stat_result | None:
    try:
        return os.fstat(1) if path == _STDOUT else os.stat(path)
    except (OSError, ValueError):
        return None
