"""Mount namespaces other than writeaudit's own, and how far their mount tables can be trusted.

A table is read some time after the process changed it. It holds for an event if no change
of mounts lies between the two; where one does, names that cross mounts are uncertain, and
the resolver says so.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Collection, Sequence

from writeaudit.audit import Mount
from writeaudit.events import Operand
from writeaudit.resolve.mounts.registry import (
    DELETED,
    MountRegistry,
    MountTable,
    Move,
    Privileged,
    mountinfo_of,
    namespace_of,
)
from writeaudit.resolve.names.cache import NameCache
from writeaudit.resolve.names.disk import Disk
from writeaudit.resolve.names.evidence import Evidence
from writeaudit.resolve.names.lookup import NameResolver
from writeaudit.resolve.names.pending import PendingEvents, operand_text

_RETURN_NS = 20_000_000
"""How long before its return, which is its time, a change of mounts may have taken effect: umount(2)
waits until no processor uses the mount any more."""


_MOST_HELD = 64
"""How many other namespaces are held open: a program may make thousands, and descriptors are few."""
_NO_PATH = b"\0"
"""A directory that something is mounted on keeps its name."""


class Namespace:
    """One mount namespace: its names, its table, and since when both hold."""

    def __init__(self, mount_ns: int, registry: MountRegistry, names: NameResolver) -> None:
        self.mount_ns = mount_ns
        self._registry = registry
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
        self.disk: Disk | None = None
        """Its files; None where nobody can look at them, and for writeaudit's own."""

    @property
    def table(self) -> MountTable | None:
        """Its mounts as they were read last; None if they never were."""
        return self._registry.tables.get(self.mount_ns)

    def key_of(self, path: bytes) -> bytes:
        """Return the key of a path in it (see `MountTable.key_of`)."""
        table = self.table
        return b"\0%d" % self.mount_ns + path if table is None else table.key_of(path)

    def holds_for(self, time_ns: int) -> bool:
        """Whether the table is that of the time of an event."""
        return self.table is not None and self.changed_ns <= time_ns and self.changed_ns <= self.read_ns

    def read_after(self, time_ns: int) -> bool:
        """Whether the table may show a change of mounts that returned at that time."""
        return self.read_until_ns > time_ns - _RETURN_NS


class Recent:
    """An event of which a name was looked up, and how; a change of mounts may yet show that it was wrong."""

    __slots__ = ("_text", "evidence", "namespace", "operand", "path")

    def __init__(self, evidence: Evidence, operand: Operand, path: bytes, namespace: Namespace) -> None:
        self.evidence = evidence
        self.operand = operand
        self.path = path
        self.namespace = namespace
        self._text: bytes | None = None

    @property
    def text(self) -> bytes:
        """The name, no symlink followed. Kept, for each change of mounts asks for it."""
        if self._text is None:
            self._text = operand_text(self.operand)
            if self._text == self.path:
                self._text = self.path
        return self._text


class Doubtful:
    """Events that may have been resolved by a mount table of a later time."""

    def __init__(
        self, namespace: Namespace, since_seq: int, points: frozenset[bytes] | None, asked_ns: int = 0
    ) -> None:
        """Those after ``since_seq``, of names below one of ``points``; None: all.

        ``asked_ns``: only those for which the disk was asked at that time or later.
        """
        self._namespace = namespace
        self._asked_ns = asked_ns
        self._since_seq = since_seq
        self._points = points or frozenset()
        self._every = points is None or b"/" in points
        self._lengths = sorted({len(point) for point in self._points})
        """There may be thousands of points; their lengths are few, and a path has one beginning of each."""

    def concerns_event(self, recent: Recent) -> bool:
        """Whether an event is one of them."""
        evidence = recent.evidence
        if (
            recent.namespace is not self._namespace
            or evidence.seq <= self._since_seq
            or evidence.rests_ns < self._asked_ns
        ):
            return False
        return self._every or self._is_below(recent.path) or self._is_below(recent.text)

    def _is_below(self, path: bytes) -> bool:
        return any(
            path[:length] in self._points and path[length : length + 1] in (b"", b"/")
            for length in self._lengths
        )


class Namespaces:
    """All mount namespaces of a run."""

    def __init__(
        self,
        registry: MountRegistry,
        cache: NameCache,
        pending: PendingEvents,
        privileged: Privileged | None = None,
    ) -> None:
        self._registry = registry
        self._privileged = privileged
        self._cache = cache
        self.disk = Disk()
        """The files of our own."""
        self.own = Namespace(
            registry.own_ns,
            registry,
            NameResolver(self.disk.read_link, cache=cache, key=registry.own_key, pending=pending),
        )
        self.own.read_ns = time.monotonic_ns()
        self._foreign: dict[int, Namespace] = {}
        self._held: deque[Namespace] = deque()
        self._wrong_since: int | None = None

    def close(self) -> None:
        """Let go of the namespaces that were held open."""
        while self._held:
            self._let_go(self._held[0])
        self.disk.close()

    def get_foreign(self, mount_ns: int) -> Namespace:
        """Return what is known of another namespace."""
        namespace = self._foreign.get(mount_ns)
        if namespace is None:
            namespace = self._foreign[mount_ns] = Namespace(mount_ns, self._registry, NameResolver())
            namespace.names = NameResolver(_fail_lookup, self._cache, namespace.key_of)
        return namespace

    def namespace_of(self, pid: int) -> int | None:
        """Return the inode number of a process's mount namespace; None if it is gone."""
        return namespace_of(pid, self._privileged)

    def reread_mounts(self, time_ns: int, pid: int, mount_ns: int | None, seq: int) -> list[Doubtful]:
        """Take note that mounts changed where a process lives, and read the tables again.

        ``mount_ns`` is its namespace, ``seq`` that of the last event resolved. Returns where events from
        before the change may have been resolved by what came after it.
        """
        self._cache.version += 1
        doubtful: list[Doubtful] = []
        if mount_ns is None:
            # Gone, and nobody says in which namespace it was.
            for namespace in self._foreign.values():
                if namespace.read_after(time_ns):
                    doubtful.append(Doubtful(namespace, namespace.read_seq, None))
                namespace.changed_ns = max(namespace.changed_ns, time_ns)
        elif mount_ns != self._registry.own_ns:
            doubtful += self._foreign_changed(mount_ns, time_ns, pid, seq)
        return doubtful + self._own_changed(time_ns, seq)

    def wrong_since(self) -> int | None:
        """Return, once, the event since which tables showed what had not happened yet; None if none did."""
        since, self._wrong_since = self._wrong_since, None
        return since

    def note_moves(self, moves: Sequence[Move], time_ns: int, seq: int) -> None:
        """The event at hand moved directories, and whatever is mounted from or below them."""
        concerned = self._registry.moved_by(moves)
        if concerned:
            self._registry.note_moves(moves)
            if self._were_young(concerned, time_ns):
                self._look_again(concerned, time_ns, seq)

    def note_vanished(self, key: bytes, time_ns: int, seq: int) -> None:
        """The event at hand took the name of a directory away, which may be mounted elsewhere."""
        move = Move(key, key + DELETED, _NO_PATH, _NO_PATH)
        concerned = self._registry.moved_by([move])
        if concerned and self._were_young(concerned, time_ns):
            self._look_again(concerned, time_ns, seq)
        elif concerned:
            self._registry.note_moves([move])

    def note_lost(self, names: Collection[bytes], time_ns: int, seq: int) -> None:
        """An event moved something of one of these names, and nobody knows which."""
        concerned = self._registry.mounts_named(names)
        if concerned:
            self._were_young(concerned, time_ns)
            self._look_again(concerned, time_ns, seq)

    def _were_young(self, concerned: frozenset[int], time_ns: int) -> bool:
        """Whether tables may have shown a move already that is come to only now."""
        found = False
        for namespace in (self.own, *self._foreign.values()):
            if namespace.read_after(time_ns) and not namespace.young.isdisjoint(concerned):
                found = True
                if self._wrong_since is None or namespace.young_seq < self._wrong_since:
                    self._wrong_since = namespace.young_seq
        return found

    def _look_again(self, concerned: frozenset[int], time_ns: int, seq: int) -> None:
        """Nobody knows where some mounts are but the disk, and that only in our own namespace."""
        self._read_table(self.own, "self", time_ns, seq)
        self.own.young |= concerned
        for namespace in self._foreign.values():
            if namespace.table is not None and any(mount.id in concerned for mount in namespace.table.mounts):
                namespace.changed_ns = time.monotonic_ns()

    def _foreign_changed(self, mount_ns: int, time_ns: int, pid: int, seq: int) -> list[Doubtful]:
        namespace = self.get_foreign(mount_ns)
        doubtful = [Doubtful(namespace, namespace.read_seq, None)] if namespace.read_after(time_ns) else []
        namespace.changed_ns = max(namespace.changed_ns, time_ns)
        # Of many changes in a row, one reads the table for all: a container's program may be gone soon.
        known = namespace.disk is not None and namespace.table is not None and namespace.read_ns >= time_ns
        if not known and self._read_table(namespace, pid, time_ns, seq) is not None:
            self._hold_root(namespace, pid)
        return doubtful

    def _own_changed(self, time_ns: int, seq: int) -> list[Doubtful]:
        own = self.own
        earlier = own.young if own.read_after(time_ns) else frozenset[int]()
        young_seq = own.young_seq
        # A table that was read after the change shows it: of many changes in a row, the first reads it.
        changed = () if own.read_ns >= time_ns else self._read_table(own, "self", time_ns, seq) or ()
        # What shows no more, or already did, may have changed with this as well.
        early = frozenset(mount.mountpoint for mount in self._registry.select_recorded(earlier))
        points = early | {mount.mountpoint for mount in changed}
        if not points:
            return []
        self.own.changed_ns = max(self.own.changed_ns, time_ns)
        self._cache.forget_all()
        # Up to now the table was that of before, unless it showed the change already; but the disk may have
        # been asked too late, about what the mount hides or shows.
        doubtful = [Doubtful(self.own, 0, points, time_ns - _RETURN_NS)]
        return [*doubtful, Doubtful(self.own, young_seq, early)] if early else doubtful

    def _read_table(
        self, namespace: Namespace, pid: int | str, time_ns: int, seq: int
    ) -> tuple[Mount, ...] | None:
        """Read the table of a namespace that a process is in; None if the process is gone.

        Returns what has changed since it was read before. ``time_ns``: when what is come to happened.
        """
        begun_ns = time.monotonic_ns()
        info = mountinfo_of(pid, self._privileged)
        if info is None:
            return None
        if not namespace.young or not namespace.read_after(time_ns):
            namespace.young, namespace.young_seq = frozenset(), seq
        namespace.read_ns, namespace.read_until_ns, namespace.read_seq = begun_ns, time.monotonic_ns(), seq
        changed = self._registry.read_table(namespace.mount_ns, info)
        namespace.young |= {mount.id for mount in changed}
        return changed

    def _hold_root(self, namespace: Namespace, pid: int) -> None:
        """Keep another namespace's root directory open: its processes may be gone soon."""
        try:
            disk = Disk(pid, self.disk.trusted_devices, self._privileged)
        except OSError:
            return
        if namespace.disk is not None:
            self._let_go(namespace)
        elif len(self._held) >= _MOST_HELD:
            self._let_go(self._held[0])
        namespace.disk = disk
        namespace.names = NameResolver(disk.read_link, self._cache, namespace.key_of)
        self._held.append(namespace)

    def _let_go(self, namespace: Namespace) -> None:
        if namespace.disk is not None:
            namespace.disk.close()
            namespace.disk = None
        namespace.names = NameResolver(_fail_lookup, self._cache, namespace.key_of)
        self._held.remove(namespace)


def _fail_lookup(path: bytes) -> bytes:
    """Stand for a namespace that cannot be looked into: everything is gone."""
    raise FileNotFoundError(path)
