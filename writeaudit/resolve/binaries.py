"""Programs and libraries that the run wrote: what their headers say, read when the run is over.

The files are as hostile as the program that wrote them: so much of each is read and no more, for so long
and no longer, and what cannot be parsed is said to be damaged. Nothing is run, no symlink is followed.
"""

from __future__ import annotations

import os
import re
import stat
import time

from writeaudit.audit import Binary
from writeaudit.elf import MAGIC, find_writable_paths, read_elf
from writeaudit.events import FsEvent, Op

WATCHED = frozenset({Op.OPEN, Op.CHMOD, Op.RENAME})
"""Operations that `Binaries.note_event` wants to know of."""
_LIKELY = re.compile(rb"\.so(?:\.[0-9.]+)?\Z|\.node\Z|/s?bin/[^/]+\Z|/libexec/.+\Z")
_MOST = 4096
_SECONDS = 3.0


class Binaries:
    """Notes files that may be programs or libraries, and looks into them at the end."""

    def __init__(self) -> None:
        self._paths: dict[bytes, bool] = {}
        """With whether the file was there before."""

    def note_event(self, event: FsEvent) -> None:
        """Take an event that succeeded, of one of `WATCHED`."""
        path, op = event.path, event.op
        if op is Op.RENAME:
            old = self._paths.pop(event.source or b"", None)
            if old is not None:
                self._paths[path] = False
            return
        if path in self._paths or len(self._paths) >= _MOST:
            return
        if op is Op.CHMOD:
            if (event.mode or 0) & 0o111:
                self._paths[path] = False
            return
        if event.access is None or not event.access.writes or event.fmt not in (None, stat.S_IFREG):
            return
        if event.created:
            if (event.mode or 0) & 0o111 or _LIKELY.search(path):
                self._paths[path] = False
        elif _LIKELY.search(path) or _is_program(path):
            self._paths[path] = True

    def inspect_files(self) -> tuple[Binary, ...]:
        """Return what the files are that are still there."""
        until, found = time.monotonic() + _SECONDS, []
        for path, before in self._paths.items():
            if time.monotonic() > until:
                break
            try:
                binary = _inspect_file(path, before)
            except OSError:
                continue  # it cannot be read
            if binary is not None:
                found.append(binary)
        return tuple(found)


def _is_program(path: bytes) -> bool:
    try:
        mode = os.lstat(path).st_mode
    except (OSError, ValueError):
        return False
    return stat.S_ISREG(mode) and mode & 0o111 != 0


def _inspect_file(path: bytes, before: bool) -> Binary | None:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError):
        return None
    mode = os.fstat(fd).st_mode
    if not stat.S_ISREG(mode):
        os.close(fd)
        return None
    with open(fd, "rb") as file:
        magic = file.read(4)
        if magic[:2] == b"#!":
            return Binary(path, "script", existed=before)
        if magic != MAGIC:
            return Binary(path, "other", existed=before) if before and mode & 0o111 else None
        file.seek(0)
        binary = read_elf(path, file, existed=before)
    origin = os.fsdecode(os.path.dirname(path))
    return binary._replace(writable_paths=find_writable_paths(binary, origin, _may_be_written))


def _may_be_written(directory: str) -> bool:
    """Whether every user may write to a directory."""
    try:
        return os.stat(directory).st_mode & stat.S_IWOTH != 0
    except (OSError, ValueError):
        return False
