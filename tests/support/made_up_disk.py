"""A disk that tests of names make up."""

from __future__ import annotations

import errno

from writeaudit.resolve.names.lookup import NameResolver

TREE: dict[bytes, bytes | None] = {
    # None: a directory or file, else what the symlink holds.
    b"/w": None, b"/w/dir": None, b"/w/dir/sub": None, b"/w/file": None, b"/w/dir/file": None,
    b"/w/rel": b"dir", b"/w/abs": b"/w/dir/sub", b"/w/up": b"../w/dir", b"/w/chain": b"rel/sub",
    b"/w/loop": b"loop", b"/w/ping": b"pong", b"/w/pong": b"ping", b"/w/dangling": b"nowhere/at/all",
    b"/w/dots": b"./dir/../dir//sub/.", b"/w/tofile": b"file", b"/w/root": b"/",
    b"/jail": None, b"/jail/etc": None, b"/jail/link": b"/etc", b"/jail/out": b"../../..", b"/etc": None,
}  # fmt: skip


class Disk:
    """Answers as readlink(2) would, and counts how often it is asked."""

    def __init__(self, cache: dict[bytes, bytes | None]) -> None:
        self.cache = dict(cache)
        self.asked: list[bytes] = []

    def read_link(self, path: bytes) -> bytes:
        self.asked.append(path)
        if path not in self.cache:
            raise OSError(errno.ENOENT, "gone")
        target = self.cache[path]
        if target is None:
            raise OSError(errno.EINVAL, "no symlink")
        return target


LATER = 1 << 62
"""A time at which everything that was ever read from the disk has long been so."""


def names_of(disk: Disk, time_ns: int = LATER) -> NameResolver:
    """Return names at the time of an event."""
    made = NameResolver(disk.read_link)
    made.cache.begin_event(1, time_ns)
    return made
