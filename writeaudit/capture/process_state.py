"""Whether a process is still there."""

from __future__ import annotations

import os


def process_exists(pid: int) -> bool:
    """Whether a process of this id runs (in our own namespace); one that waits to be collected does not."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0] not in (b"Z", b"X")
    except (OSError, IndexError):
        return False


def has_threads(pid: int) -> bool:
    """Whether a process has several threads left; its first one may have ended long ago."""
    try:
        return len(os.listdir(f"/proc/{pid}/task")) > 1
    except OSError:
        return False
