"""The disk, as `plan_rules` asks for it, and the open files that the command would inherit."""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import os
import stat
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from writeaudit.confine.landlock_plan import MOST_LOOKED_AT, Kind


class RealDisk:
    """The file system of this process."""

    def find_kind(self, path: bytes) -> Kind | None:
        """Return what stands at a path."""
        try:
            mode = os.lstat(path).st_mode
        except OSError:
            return None
        if stat.S_ISDIR(mode):
            return Kind.DIRECTORY
        return Kind.SYMLINK if stat.S_ISLNK(mode) else Kind.FILE

    def leads_elsewhere(self, path: bytes) -> bool:
        """Whether there is a symlink on the way to a path, or at it."""
        return os.path.realpath(path) != path

    def list_names(self, directory: bytes) -> Sequence[bytes] | None:
        """Return the names in a directory; of a directory with too many, some of them, yet too many."""
        try:
            with os.scandir(directory) as found:
                return [entry.name for entry in itertools.islice(found, MOST_LOOKED_AT + 1)]
        except OSError:
            return None

    def count_links(self, path: bytes) -> int:
        """Return how many names a file has."""
        try:
            return os.lstat(path).st_nlink
        except OSError:
            return 0

    def find_identity(self, path: bytes) -> tuple[int, int] | None:
        """Return the device and inode of what stands at a path."""
        try:
            found = os.lstat(path)
        except OSError:
            return None
        return found.st_dev, found.st_ino

    def make_directory(self, path: bytes) -> str | None:
        """Make a directory and those above it."""
        try:
            os.makedirs(path, exist_ok=True)
        except OSError as error:
            return error.strerror or str(error)
        return None


class OpenFile(NamedTuple):
    """A file that is open for writing, and that the command would have from its first instruction."""

    fd: int
    path: bytes
    """What the kernel calls it, with `` (deleted)`` at its end if that name is gone."""
    is_there: bool
    """Whether this very file stands at the path, now and for this process."""
    links: int
    """How many names the file has."""


def find_open_files() -> Iterator[OpenFile]:
    """Yield the inherited files and block devices that are open for writing."""
    for number in map(int, os.listdir("/proc/self/fd")):
        with contextlib.suppress(OSError):
            found = os.fstat(number)
            mode = found.st_mode
            if not os.get_inheritable(number) or not (stat.S_ISREG(mode) or stat.S_ISBLK(mode)):
                continue
            flags = fcntl.fcntl(number, fcntl.F_GETFL)
            if flags & os.O_PATH or flags & os.O_ACCMODE == os.O_RDONLY:
                continue
            path = os.readlink(b"/proc/self/fd/%d" % number)
            is_memfd = path.startswith(b"/memfd:") and found.st_nlink == 0
            if path[:1] == b"/" and not is_memfd:
                yield OpenFile(number, path, _stands_at(path, found), found.st_nlink)


def _stands_at(path: bytes, found: os.stat_result) -> bool:
    try:
        return os.path.samestat(os.lstat(path), found)
    except OSError:
        return False
