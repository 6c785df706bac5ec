"""From raw events to events: absolute paths, mounts, identities.

The resolver works on a live machine, just behind the command: it may look at the disk and
at /proc, and what it found there is kept in the recording, so that nobody has to look
again.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence

from writeaudit.audit import Mount
from writeaudit.events import Access, Certainty, FsEvent, Op, Operand, RawEvent
from writeaudit.resolve.birth import born_ns
from writeaudit.resolve.mounts import MountBook, below, mountinfo_of, namespace_of
from writeaudit.resolve.names import Kind, Names
from writeaudit.text import show

_MAKES_DIRECTORY = frozenset({Op.MKDIR})
_MAKES_OTHER = frozenset({Op.MKNOD, Op.BIND, Op.LINK})


class _Place:
    """One resolved operand."""

    __slots__ = ("certainty", "deleted", "dev", "fmt", "ino", "mount", "path")

    def __init__(self, path: bytes, certainty: Certainty) -> None:
        self.path = path
        self.certainty = certainty
        self.mount: Mount | None = None
        self.dev: int | None = None
        self.ino: int | None = None
        self.fmt: int | None = None
        self.deleted = False


class Resolver:
    """Resolves the events of one run, in their order."""

    def __init__(self, started_ns: int = 0) -> None:
        own = namespace_of("self") or 0
        self.book = MountBook(own, mountinfo_of("self") or b"")
        self._own_names = Names()
        self._foreign_names: dict[int, Names] = {}
        self._foreign_roots: dict[int, int] = {}
        self._started_ns = started_ns
        self._seq = 0
        self.unresolved = 0

    def close(self) -> None:
        """Let go of the namespaces that were held open."""
        for fd in self._foreign_roots.values():
            os.close(fd)
        self._foreign_roots.clear()

    def start(self, started_ns: int) -> None:
        """Set the time that events count from (CLOCK_MONOTONIC, ns)."""
        self._started_ns = started_ns

    # What capture says besides events.

    def mount_seen(self, mount: Mount) -> None:
        """The kernel side met a mount."""
        self.book.note(mount)

    def mounts_changed(self, pid: int) -> None:
        """Some mount table may differ from here on; `pid` is in the namespace concerned."""
        self._own_names.forget_disk()
        info = mountinfo_of("self")
        if info is not None:
            self.book.read(self.book.own_ns, info)
        mount_ns = namespace_of(pid)
        if mount_ns is None or mount_ns == self.book.own_ns:
            return
        self._hold_root(mount_ns, pid)
        info = mountinfo_of(pid)
        if info is not None:
            self.book.read(mount_ns, info)

    def _hold_root(self, mount_ns: int, pid: int) -> None:
        """Keep another namespace's root directory open: its processes may be gone soon."""
        try:
            fd = os.open(f"/proc/{pid}/root", os.O_PATH | os.O_CLOEXEC)
        except OSError:
            return
        if mount_ns in self._foreign_roots:
            os.close(self._foreign_roots[mount_ns])
        self._foreign_roots[mount_ns] = fd
        prefix = b"/proc/self/fd/%d" % fd
        self._foreign_names[mount_ns] = Names(lambda path: os.readlink(prefix + path))

    def look_ahead(self, events: Sequence[RawEvent]) -> None:
        """Take from a batch what it proves of names that are gone by now: they were directories."""
        paths = {
            os.path.normpath(os.path.join(event.path.base or b"/", event.path.name or b"."))
            for event in events
            if event.op is Op.RMDIR and event.result == "ok" and event.path.name is not None
        }
        self._own_names.expect_directories(paths)

    # Events.

    def resolve(self, raw: RawEvent) -> FsEvent:
        """Return the event with its paths resolved; takes note of what it says of names."""
        self._seq += 1
        ok = raw.result == "ok"
        source: _Place | None = None
        if raw.source is not None:
            source = self._place(raw.source, follow=raw.follow_source)
        target = self._place(raw.path, follow=raw.follow)
        created = bool(raw.created)
        if raw.created is None and raw.op is Op.OPEN and ok and "creat" in raw.flags:
            created = self._was_created(target)
        if ok:
            self._identify(raw, target, source)
            self._learn(raw, target, source)
        flags = raw.flags
        if target.deleted and "deleted" not in flags:
            flags = (*flags, "deleted")
        if raw.xattr is not None:
            flags = (*flags, f"xattr={show(raw.xattr)}")
        certainty = target.certainty
        if source is not None and source.certainty is not Certainty.KERNEL:
            certainty = max(certainty, source.certainty, key=_WORSE.__getitem__)
        if raw.path.truncated or (raw.source is not None and raw.source.truncated):
            certainty = Certainty.LEXICAL
        if certainty is Certainty.LEXICAL and ok and not _only_reads(raw):
            self.unresolved += 1
        dev = target.dev
        if dev is None and target.mount is not None:
            dev = target.mount.dev
        return FsEvent(
            self._seq,
            max(raw.time_ns - self._started_ns, 0),
            raw.pid,
            raw.tid,
            raw.op,
            target.path,
            raw.target_text if source is None else source.path,
            raw.access,
            flags,
            created,
            raw.mode,
            raw.result,
            raw.bytes,
            raw.calls,
            target.mount.id if target.mount else None,
            source.mount.id if source is not None and source.mount else None,
            dev,
            target.ino,
            source.dev if source is not None else None,
            source.ino if source is not None else None,
            target.fmt,
            _spelling(raw, target.path),
            certainty,
        )

    def _place(self, operand: Operand, *, follow: bool) -> _Place:
        mount = self.book.get(operand.mount)
        foreign = mount is not None and not mount.own and mount.mount_ns != 0
        if operand.name is None:
            place = _Place(operand.base or b"", Certainty.KERNEL if operand.base else Certainty.LEXICAL)
            place.mount = mount
            place.dev, place.ino, place.fmt = operand.dev, operand.ino, operand.fmt
            place.deleted = operand.deleted
            if mount is None and operand.base:
                place.mount = self.book.own.of(operand.base)
            elif foreign and mount is not None and operand.inner is not None and operand.base is not None:
                self._into_own(place, mount, operand.base[len(operand.base) - operand.inner :])
            return place
        if operand.base is None:
            return _Place(operand.name, Certainty.LEXICAL)
        if foreign and mount is not None:
            return self._foreign_place(operand, mount, follow=follow)
        absolute = operand.name[:1] == b"/"
        path, certainty = self._own_names.resolve(
            operand.base, operand.name, follow=follow, root=operand.base if absolute else b"/"
        )
        place = _Place(path, certainty)
        place.mount = self.book.own.of(path)
        place.deleted = operand.deleted
        return place

    def _foreign_place(self, operand: Operand, mount: Mount, *, follow: bool) -> _Place:
        """Resolve a name in another mount namespace, then look for the same file in ours."""
        assert operand.base is not None
        assert operand.name is not None
        names = self._foreign_names.get(mount.mount_ns)
        simple = b"/" not in operand.name.strip(b"/") and not follow
        if names is None and not simple:
            path = os.path.normpath(os.path.join(operand.base, operand.name.lstrip(b"/")))
            certainty = Certainty.LEXICAL
        else:
            absolute = operand.name[:1] == b"/"
            path, certainty = (names or Names()).resolve(
                operand.base, operand.name, follow=follow, root=operand.base if absolute else b"/"
            )
        place = _Place(path, certainty)
        place.deleted = operand.deleted
        table = self.book.tables.get(mount.mount_ns)
        found = table.of(path) if table is not None else None
        if found is None:
            found = mount
        place.mount = found
        inside = below(path, found.mountpoint)
        if inside is not None:
            self._into_own(place, found, inside)
        return place

    def _into_own(self, place: _Place, mount: Mount, inside: bytes) -> None:
        """Give a file of another namespace the name that it has in ours, if it has one."""
        name = self.book.own.name_of(mount.dev, mount.root.rstrip(b"/") + inside or b"/", place.path)
        if name is not None:
            place.path = name
            place.mount = self.book.own.of(name)

    def _was_created(self, place: _Place) -> bool:
        """Whether an open with O_CREAT made the file, where the backend could not tell."""
        known = self._own_names.kind(place.path)
        if known is Kind.ABSENT:
            return True
        if known is not Kind.UNKNOWN:
            return False
        born = born_ns(place.path)
        return born is not None and born >= self._started_ns

    def _identify(self, raw: RawEvent, target: _Place, source: _Place | None) -> None:
        """Look up device and inode of names that are there after a call that succeeded."""
        if raw.op in (Op.UNLINK, Op.RMDIR):
            return
        if target.ino is None and target.path[:1] == b"/":
            _stat_into(target)
        if source is not None and source.ino is None and source.path[:1] == b"/":
            if raw.op is Op.RENAME:
                source.dev, source.ino, source.fmt = target.dev, target.ino, target.fmt
            else:
                _stat_into(source)

    def _learn(self, raw: RawEvent, target: _Place, source: _Place | None) -> None:
        names = self._own_names
        op = raw.op
        if op is Op.MKDIR:
            names.made(target.path, Kind.DIRECTORY)
        elif op is Op.SYMLINK:
            names.made(target.path, Kind.SYMLINK, raw.target_text or b"")
        elif op in _MAKES_OTHER:
            names.made(target.path, Kind.OTHER)
        elif op is Op.OPEN:
            if not target.deleted and (raw.access is not Access.READ or target.fmt != stat.S_IFDIR):
                names.made(target.path, Kind.DIRECTORY if target.fmt == stat.S_IFDIR else Kind.OTHER)
        elif op is Op.UNLINK or op is Op.RMDIR:
            names.removed(target.path)
        elif op is Op.RENAME and source is not None:
            names.renamed(source.path, target.path)
        elif op is Op.EXCHANGE and source is not None:
            names.exchanged(source.path, target.path)


_WORSE = {Certainty.KERNEL: 0, Certainty.RESOLVED: 1, Certainty.LEXICAL: 2}


def _stat_into(place: _Place) -> None:
    try:
        found = os.lstat(place.path)
    except OSError:
        return
    place.dev, place.ino, place.fmt = found.st_dev, found.st_ino, stat.S_IFMT(found.st_mode)


def _spelling(raw: RawEvent, path: bytes) -> bytes | None:
    """Return what the process passed, if it differs from the path by more than being relative."""
    spelled = raw.spelled if raw.path.name is None else raw.path.name
    if not spelled or spelled == path:
        return None
    if spelled[:1] != b"/" and path.endswith(b"/" + spelled):
        return None
    return spelled


def _only_reads(raw: RawEvent) -> bool:
    return raw.op is Op.OPEN and (raw.access is None or not raw.access.writes)
