"""The recordings that are kept without -o: which there are, and which may go."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Sequence
from dataclasses import dataclass

from writeaudit.audit import RunInfo
from writeaudit.errors import OutputError, RecordingError
from writeaudit.recording.reader import Recording
from writeaudit.recording.schema import describe_error

KEEP = 10
"""So many of the newest recordings stay, however old they are."""
DAYS = 30
"""Recordings that are younger stay, however many there are."""
_DAY_S = 24 * 60 * 60
_LOGS = ("", "-wal", "-shm")
"""A recording, and what SQLite keeps beside one that is not finished."""


@dataclass(frozen=True, slots=True)
class Kept:
    """One recording of the directory."""

    path: str
    bytes: int
    """With its log, if it has one."""
    modified: float
    """Seconds since the epoch."""


def kept_recordings(directory: str) -> list[Kept]:
    """Return the recordings of a directory, the newest first. Raises `RecordingError`."""
    try:
        names = [name for name in os.listdir(directory) if name.endswith(".wa")]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise RecordingError(f"cannot read {directory}: {describe_error(error)}") from error
    found = (_look_at(os.path.join(directory, name)) for name in sorted(names, reverse=True))
    return [each for each in found if each is not None]


def _look_at(path: str) -> Kept | None:
    size = 0
    modified = 0.0
    for suffix in _LOGS:
        try:
            status = os.lstat(path + suffix)
        except OSError:
            if not suffix:
                return None
            continue
        if not stat.S_ISREG(status.st_mode):
            return None
        size += status.st_size
        modified = max(modified, status.st_mtime)
    return Kept(path, size, modified)


def describe_run(kept: Kept) -> RunInfo | RecordingError:
    """Return what a recording says of its run, or why it cannot be read."""
    try:
        with Recording(kept.path) as opened:
            return opened.read_audit().run
    except RecordingError as error:
        return error


def choose_old(
    found: Sequence[Kept], *, keep: int = KEEP, days: float = DAYS, now: float | None = None
) -> list[Kept]:
    """Return those that may go: beyond the newest ``keep``, and older than ``days``; the newest first."""
    limit = (time.time() if now is None else now) - days * _DAY_S
    return [each for each in found[keep:] if each.modified <= limit]


def remove_recording(kept: Kept) -> None:
    """Remove a recording. Raises `OutputError`."""
    try:
        os.unlink(kept.path)
        for suffix in _LOGS[1:]:
            try:
                os.unlink(kept.path + suffix)
            except FileNotFoundError:
                continue
    except OSError as error:
        raise OutputError(f"cannot remove {kept.path}: {describe_error(error)}") from error
