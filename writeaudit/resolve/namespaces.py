"""Mount namespaces other than writeaudit's own, and how far their mount tables can be trusted.

A table is read some time after the process changed it. It holds for an event if no change
of mounts lies between the two; where one does, names that cross mounts are uncertain, and
the resolver says so.
"""

from __future__ import annotations

import os
import time

from writeaudit.resolve.mounts import MountBook, MountTable, mountinfo_of, namespace_of
from writeaudit.resolve.names import Names


class Namespace:
    """One mount namespace: its names, its table, and since when both hold."""

    def __init__(self, names: Names) -> None:
        self.names = names
        self.table: MountTable | None = None
        self.read_ns = 0
        """When the table was read (CLOCK_MONOTONIC)."""
        self.read_seq = 0
        """The last event that was resolved before the table was read."""
        self.changed_ns = 0
        """When its mounts changed last, as far as events say."""
        self.root_fd: int | None = None

    def holds_for(self, time_ns: int) -> bool:
        """Whether the table is that of the time of an event."""
        return self.table is not None and self.changed_ns <= time_ns and self.changed_ns <= self.read_ns


class Namespaces:
    """All mount namespaces of a run."""

    def __init__(self, book: MountBook) -> None:
        self._book = book
        self.own = Namespace(Names())
        self.own.table = book.own
        self.own.read_ns = time.monotonic_ns()
        self._foreign: dict[int, Namespace] = {}

    def close(self) -> None:
        """Let go of the root directories that were held open."""
        for space in self._foreign.values():
            if space.root_fd is not None:
                os.close(space.root_fd)
                space.root_fd = None

    def foreign(self, mount_ns: int) -> Namespace:
        """Return what is known of another namespace."""
        space = self._foreign.get(mount_ns)
        if space is None:
            space = self._foreign[mount_ns] = Namespace(Names(_nowhere))
        return space

    def changed(self, time_ns: int, pid: int, seq: int) -> list[tuple[Namespace, int]]:
        """Take note that mounts changed where a process lives, and read the tables again.

        ``seq`` is that of the last event resolved. Returns the namespaces whose table had been
        read after the change already, each with the last event that was resolved before it was:
        what later ones, from before the change, were resolved to is doubtful.
        """
        mount_ns = namespace_of(pid)
        doubtful: list[tuple[Namespace, int]] = []
        spaces = [(self._book.own_ns, self.own, "self")]
        if mount_ns is not None and mount_ns != self._book.own_ns:
            spaces.append((mount_ns, self.foreign(mount_ns), str(pid)))
        for number, space, who in spaces:
            if space.read_ns > time_ns and space is not self.own:
                doubtful.append((space, space.read_seq))
            before = space.table
            now = time.monotonic_ns()
            info = mountinfo_of(who)
            if info is None:
                continue
            self._book.read(number, info)
            space.table = self._book.tables[number]
            space.read_ns = now
            space.read_seq = seq
            if space is not self.own:
                space.changed_ns = max(space.changed_ns, time_ns)
                self._hold_root(space, pid)
            elif before is not None and before.mounts != space.table.mounts:
                space.changed_ns = max(space.changed_ns, time_ns)
                doubtful.append((space, 0))
                space.names.forget_disk()
        return doubtful

    def _hold_root(self, space: Namespace, pid: int) -> None:
        """Keep another namespace's root directory open: its processes may be gone soon."""
        try:
            fd = os.open(f"/proc/{pid}/root", os.O_PATH | os.O_CLOEXEC)
        except OSError:
            return
        if space.root_fd is not None:
            os.close(space.root_fd)
        space.root_fd = fd
        prefix = b"/proc/self/fd/%d" % fd
        space.names = Names(lambda path: os.readlink(prefix + path))


def _nowhere(path: bytes) -> bytes:
    """Stand for a namespace that cannot be looked into: everything is gone."""
    raise FileNotFoundError(path)
