"""Mount namespaces other than writeaudit's own, and how far their mount tables can be trusted.

A table is read some time after the process changed it. It holds for an event if no change
of mounts lies between the two; where one does, names that cross mounts are uncertain, and
the resolver says so.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from writeaudit.audit import Mount
from writeaudit.resolve.ahead import Ahead
from writeaudit.resolve.mounts import DELETED, MountBook, MountTable, Move, below, mountinfo_of, namespace_of
from writeaudit.resolve.names import Names, read_link
from writeaudit.resolve.tree import Tree

_RETURN_NS = 20_000_000
"""How long before its return, which is its time, a change of mounts may have taken effect: umount(2)
waits until no processor uses the mount any more."""


_NO_PATH = b"\0"
"""A directory that something is mounted on keeps its name."""


class Namespace:
    """One mount namespace: its names, its table, and since when both hold."""

    def __init__(self, mount_ns: int, book: MountBook, names: Names) -> None:
        self.mount_ns = mount_ns
        self._book = book
        self.names = names
        self.read_ns = 0
        """When the reading of the table began (CLOCK_MONOTONIC): it shows all changes until then."""
        self.read_until_ns = 0
        """When it was over: the table may show changes until then."""
        self.read_seq = 0
        """The last event that was resolved before the table was read."""
        self.changed_ns = 0
        """When its mounts changed last, as far as events say."""
        self.young: frozenset[int] = frozenset()
        """Which mounts the table shows elsewhere than before it was read. That may be too early."""
        self.young_seq = 0
        """The last event that was resolved before it did."""
        self.root_fd: int | None = None

    @property
    def table(self) -> MountTable | None:
        """Its mounts as they were read last; None if they never were."""
        return self._book.tables.get(self.mount_ns)

    def key(self, path: bytes) -> bytes:
        """Return the key of a path in it (see `MountTable.key`)."""
        table = self.table
        return b"\0%d" % self.mount_ns + path if table is None else table.key(path)

    def holds_for(self, time_ns: int) -> bool:
        """Whether the table is that of the time of an event."""
        return self.table is not None and self.changed_ns <= time_ns and self.changed_ns <= self.read_ns

    def read_after(self, time_ns: int) -> bool:
        """Whether the table may show a change of mounts that returned at that time."""
        return self.read_until_ns > time_ns - _RETURN_NS


class Doubtful(NamedTuple):
    """Events that may have been resolved by a mount table of a later time."""

    space: Namespace
    since_seq: int
    """Those after this one."""
    points: frozenset[bytes] | None
    """Only those of names below one of these; None: all."""

    def concerns(self, seq: int, *paths: bytes) -> bool:
        """Whether an event is one of them, by one of its paths."""
        if seq <= self.since_seq:
            return False
        return self.points is None or any(
            below(path, point) is not None for point in self.points for path in paths
        )


class Namespaces:
    """All mount namespaces of a run."""

    def __init__(self, book: MountBook, tree: Tree, ahead: Ahead) -> None:
        self._book = book
        self._tree = tree
        self.own = Namespace(book.own_ns, book, Names(tree=tree, key=book.own_key, ahead=ahead))
        self.own.read_ns = time.monotonic_ns()
        self._foreign: dict[int, Namespace] = {}
        self._wrong_since: int | None = None

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
            space = self._foreign[mount_ns] = Namespace(mount_ns, self._book, Names())
            space.names = Names(_nowhere, self._tree, space.key)
        return space

    def changed(self, time_ns: int, pid: int, seq: int) -> list[Doubtful]:
        """Take note that mounts changed where a process lives, and read the tables again.

        ``seq`` is that of the last event resolved. Returns where events from before the change
        may have been resolved by what came after it.
        """
        mount_ns = namespace_of(pid)
        self._tree.version += 1
        doubtful: list[Doubtful] = []
        if mount_ns is None:
            # Gone, and nobody says in which namespace it was.
            for space in self._foreign.values():
                if space.read_after(time_ns):
                    doubtful.append(Doubtful(space, space.read_seq, None))
                space.changed_ns = max(space.changed_ns, time_ns)
        elif mount_ns != self._book.own_ns:
            doubtful += self._foreign_changed(mount_ns, time_ns, pid, seq)
        return doubtful + self._own_changed(time_ns, seq)

    def wrong_since(self) -> int | None:
        """Return, once, the event since which tables showed what had not happened yet; None if none did."""
        since, self._wrong_since = self._wrong_since, None
        return since

    def renamed(self, moves: Sequence[Move], time_ns: int, seq: int) -> None:
        """The event at hand moved directories, and whatever is mounted from or below them."""
        concerned = self._book.moved_by(moves)
        if concerned:
            self._book.renamed(moves)
            if self._were_young(concerned, time_ns):
                self._look_again(concerned, time_ns, seq)

    def vanished(self, key: bytes, time_ns: int, seq: int) -> None:
        """The event at hand took the name of a directory away, which may be mounted elsewhere."""
        move = Move(key, key + DELETED, _NO_PATH, _NO_PATH)
        concerned = self._book.moved_by([move])
        if concerned and self._were_young(concerned, time_ns):
            self._look_again(concerned, time_ns, seq)
        elif concerned:
            self._book.renamed([move])

    def lost(self, names: Iterable[bytes], time_ns: int, seq: int) -> None:
        """An event moved something of one of these names, and nobody knows which."""
        concerned = self._book.called(names)
        if concerned:
            self._were_young(concerned, time_ns)
            self._look_again(concerned, time_ns, seq)

    def _were_young(self, concerned: frozenset[int], time_ns: int) -> bool:
        """Whether tables may have shown a move already that is come to only now."""
        found = False
        for space in (self.own, *self._foreign.values()):
            if space.read_after(time_ns) and not space.young.isdisjoint(concerned):
                found = True
                if self._wrong_since is None or space.young_seq < self._wrong_since:
                    self._wrong_since = space.young_seq
        return found

    def _look_again(self, concerned: frozenset[int], time_ns: int, seq: int) -> None:
        """Nobody knows where some mounts are but the disk, and that only in our own namespace."""
        self._read(self.own, "self", time_ns, seq)
        self.own.young |= concerned
        for space in self._foreign.values():
            if space.table is not None and any(mount.id in concerned for mount in space.table.mounts):
                space.changed_ns = time.monotonic_ns()

    def _foreign_changed(self, mount_ns: int, time_ns: int, pid: int, seq: int) -> list[Doubtful]:
        space = self.foreign(mount_ns)
        doubtful = [Doubtful(space, space.read_seq, None)] if space.read_after(time_ns) else []
        space.changed_ns = max(space.changed_ns, time_ns)
        if self._read(space, pid, time_ns, seq) is not None:
            self._hold_root(space, pid)
        return doubtful

    def _own_changed(self, time_ns: int, seq: int) -> list[Doubtful]:
        own = self.own
        earlier = own.young if own.read_after(time_ns) else frozenset[int]()
        changed = self._read(own, "self", time_ns, seq) or ()
        # What shows no more, or already did, may have changed with this as well.
        points = frozenset(mount.mountpoint for mount in (*changed, *self._book.some(earlier)))
        if not points:
            return []
        self.own.changed_ns = max(self.own.changed_ns, time_ns)
        self._tree.forget_all()
        return [Doubtful(self.own, 0, points)]

    def _read(self, space: Namespace, pid: int | str, time_ns: int, seq: int) -> tuple[Mount, ...] | None:
        """Read the table of a namespace that a process is in; None if the process is gone.

        Returns what has changed since it was read before. ``time_ns``: when what is come to happened.
        """
        begun_ns = time.monotonic_ns()
        info = mountinfo_of(pid)
        if info is None:
            return None
        if not space.young or not space.read_after(time_ns):
            space.young, space.young_seq = frozenset(), seq
        space.read_ns, space.read_until_ns, space.read_seq = begun_ns, time.monotonic_ns(), seq
        changed = self._book.read(space.mount_ns, info)
        space.young |= {mount.id for mount in changed}
        return changed

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
        space.names = Names(lambda path: read_link(prefix + path), self._tree, space.key)


def _nowhere(path: bytes) -> bytes:
    """Stand for a namespace that cannot be looked into: everything is gone."""
    raise FileNotFoundError(path)
