"""From raw events to events: absolute paths, mounts, identities.

The resolver works on a live machine, just behind the command: it may look at the disk and
at /proc, and what it found there is kept in the recording, so that nobody has to look
again. Where a later event shows that it looked too late, it says which events are doubtful.
"""

from __future__ import annotations

import os
import stat
from collections import deque
from collections.abc import Sequence

from writeaudit.audit import BlindSpot, Mount
from writeaudit.events import NAMESPACE_OPS, OK, Access, Certainty, FsEvent, Op, Operand, RawEvent
from writeaudit.resolve.birth import born_ns
from writeaudit.resolve.mounts import MountBook, below, mountinfo_of, namespace_of
from writeaudit.resolve.names import Kind
from writeaudit.resolve.namespaces import Namespace, Namespaces
from writeaudit.text import show

_ON_MOUNT_POINTS = frozenset({Op.MOUNT, Op.UMOUNT, Op.PIVOT_ROOT})
"""Operations on a name that something is mounted on: the name lies in the mount below."""

_RECENT = 8192
"""How many of the last events can still turn out to be doubtful."""

_WORSE = {Certainty.KERNEL: 0, Certainty.RESOLVED: 1, Certainty.LEXICAL: 2}


class _Place:
    """One resolved operand."""

    __slots__ = ("certainty", "deleted", "dev", "fmt", "ino", "mount", "path", "space", "textual")

    def __init__(self, path: bytes, certainty: Certainty) -> None:
        self.path = path
        self.certainty = certainty
        self.mount: Mount | None = None
        self.dev: int | None = None
        self.ino: int | None = None
        self.fmt: int | None = None
        self.deleted = False
        self.textual: bytes | None = None
        """The path before symlinks were followed; None if no name had to be looked up."""
        self.space: Namespace | None = None


class Resolver:
    """Resolves the events of one run, in their order."""

    def __init__(self, started_ns: int = 0) -> None:
        own = namespace_of("self") or 0
        self.book = MountBook(own, mountinfo_of("self") or b"")
        self._spaces = Namespaces(self.book)
        self._names = self._spaces.own.names
        self._started_ns = started_ns
        self._seq = 0
        self._recent: deque[tuple[int, int, bytes, bytes, Namespace, bool]] = deque(maxlen=_RECENT)
        self._doubtful: list[int] = []
        self._doubted: set[int] = set()
        self._blind = 0
        self.unresolved = 0

    def close(self) -> None:
        """Let go of the namespaces that were held open."""
        self._spaces.close()

    def start(self, started_ns: int) -> None:
        """Set the time that events count from (CLOCK_MONOTONIC, ns)."""
        self._started_ns = started_ns

    def doubtful(self) -> list[int]:
        """Return, once, the events resolved before of which later ones showed that they may be wrong."""
        found, self._doubtful = self._doubtful, []
        return found

    def blind_spots(self) -> tuple[BlindSpot, ...]:
        """Return what could not be resolved well enough to call the audit complete."""
        if not self._blind:
            return ()
        return (
            BlindSpot(
                "namespace",
                "files were changed by names that cross mounts of another mount namespace, whose "
                "mounts had changed or were gone before they could be read",
                self._blind,
            ),
        )

    # What capture says besides events.

    def mount_seen(self, mount: Mount) -> None:
        """The kernel side met a mount."""
        self.book.note(mount)

    def mounts_changed(self, time_ns: int, pid: int) -> None:
        """Some mount table may differ from here on; `pid` is in the namespace concerned."""
        for doubt in self._spaces.changed(time_ns, pid, self._seq):
            for seq, when, textual, path, space, changed in self._recent:
                if space is doubt.space and when <= time_ns and doubt.concerns(seq, textual, path):
                    self._doubt(seq, changed=changed, foreign=space is not self._spaces.own)
        self._names = self._spaces.own.names

    def look_ahead(self, events: Sequence[RawEvent]) -> None:
        """Take from a batch what it proves of names that are gone by now."""
        removed: set[bytes] = set()
        moved: dict[bytes, bytes] = {}
        for event in events:
            if event.result != OK or (event.op is not Op.RMDIR and event.op is not Op.RENAME):
                continue
            path = _textual(event.path)
            if event.op is Op.RMDIR:
                removed.add(path)
            elif event.source is not None:
                moved[_textual(event.source)] = path
        self._names.look_ahead(frozenset(removed), moved)

    # Events.

    def resolve(self, raw: RawEvent) -> FsEvent:
        """Return the event with its paths resolved; takes note of what it says of names."""
        self._seq += 1
        ok = raw.result == OK
        if ok and raw.op is Op.OPEN and raw.path.name is None and raw.created is not None:
            event = self._opened(raw, raw.path)
            if event is not None:
                return event
        source: _Place | None = None
        if raw.source is not None:
            source = self._place(raw, raw.source, follow=raw.follow_source)
        target = self._place(raw, raw.path, follow=raw.follow)
        created = bool(raw.created)
        if raw.created is None and raw.op is Op.OPEN and ok and "creat" in raw.flags:
            created = self._was_created(raw, target)
        if ok:
            self._identify(raw, target, source)
            self._learn(raw, target, source)
        certainty = self._weigh(raw, target, source)
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
            _flags(raw, target),
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

    def _opened(self, raw: RawEvent, file: Operand) -> FsEvent | None:
        """Resolve the commonest event of all, an open that the kernel says everything about.

        The same as the long way, which takes three times as long; None where that is needed.
        """
        base, mount = file.base, self.book.get(file.mount)
        if base is None or mount is None or not mount.own or mount.fstype == "btrfs" or file.truncated:
            return None
        if not file.deleted and (raw.access is not Access.READ or file.fmt != stat.S_IFDIR):
            self._names.opened(base, directory=file.fmt == stat.S_IFDIR)
        return FsEvent(
            self._seq,
            max(raw.time_ns - self._started_ns, 0),
            raw.pid,
            raw.tid,
            Op.OPEN,
            base,
            None,
            raw.access,
            (*raw.flags, "deleted") if file.deleted else raw.flags,
            raw.created is True,
            raw.mode,
            OK,
            None,
            None,
            mount.id,
            None,
            file.dev,
            file.ino,
            None,
            None,
            file.fmt,
            _spelling(raw, base),
            Certainty.KERNEL,
        )

    def _weigh(self, raw: RawEvent, target: _Place, source: _Place | None) -> Certainty:
        """Return the worst certainty of an event's sides; remember what may yet prove doubtful."""
        ok = raw.result == OK
        changes = ok and raw.op not in NAMESPACE_OPS and not _only_reads(raw)
        certainty = target.certainty
        truncated = raw.path.truncated
        for place in (target,) if source is None else (target, source):
            if _WORSE[place.certainty] > _WORSE[certainty]:
                certainty = place.certainty
            if place.textual is not None:
                space = place.space or self._spaces.own
                self._recent.append((self._seq, raw.time_ns, place.textual, place.path, space, changes))
        if truncated or (raw.source is not None and raw.source.truncated):
            certainty = Certainty.LEXICAL
        if certainty is Certainty.LEXICAL and changes:
            self._doubted.add(self._seq)
            self.unresolved += 1
            self._blind += any(
                place is not None and place.space not in (None, self._spaces.own)
                for place in (target, source)
            )
        return certainty

    def _doubt(self, seq: int, *, changed: bool, foreign: bool) -> None:
        """Call an event doubtful; once, however much speaks against it."""
        if seq in self._doubted:
            return
        self._doubted.add(seq)
        self._doubtful.append(seq)
        self.unresolved += changed
        self._blind += changed and foreign

    def _place(self, raw: RawEvent, operand: Operand, *, follow: bool) -> _Place:
        mount = self.book.get(operand.mount)
        foreign = mount is not None and not mount.own and mount.mount_ns != 0
        if operand.name is None:
            return self._file_place(operand, mount, foreign=foreign)
        if operand.base is None:
            return _Place(operand.name, Certainty.LEXICAL)
        if foreign and mount is not None:
            return self._foreign_place(raw, operand, mount, follow=follow)
        absolute = operand.name[:1] == b"/"
        path, certainty = self._names.resolve(
            operand.base, operand.name, follow=follow, root=operand.base if absolute else b"/"
        )
        if follow and raw.result == OK and self._names.kind(path) is Kind.UNKNOWN:
            # It was there, and perhaps it was a symlink; nothing is left to tell by.
            certainty = Certainty.LEXICAL
        place = _Place(path, certainty)
        if follow or b"/" in operand.name:
            place.textual = _textual(operand)
        table = self.book.own
        place.mount = table.containing(path) if raw.op in _ON_MOUNT_POINTS else table.of(path)
        place.deleted = operand.deleted
        return place

    def _file_place(self, operand: Operand, mount: Mount | None, *, foreign: bool) -> _Place:
        place = _Place(operand.base or b"", Certainty.KERNEL if operand.base else Certainty.LEXICAL)
        place.mount = mount
        place.dev, place.ino, place.fmt = operand.dev, operand.ino, operand.fmt
        place.deleted = operand.deleted
        if operand.base is None:
            return place
        if mount is None:
            place.mount = self.book.own.of(operand.base)
        elif foreign and operand.inner is not None:
            self._into_own(place, mount, operand.base[len(operand.base) - operand.inner :])
        if mount is not None and mount.fstype == "btrfs":
            # Each subvolume shows a device of its own, which the kernel's objects do not hold.
            place.dev = _visible_device(place.path, place.ino)
        return place

    def _foreign_place(self, raw: RawEvent, operand: Operand, mount: Mount, *, follow: bool) -> _Place:
        """Resolve a name in another mount namespace, then look for the same file in ours."""
        assert operand.base is not None
        assert operand.name is not None
        space = self._spaces.foreign(mount.mount_ns)
        name = operand.name.rstrip(b"/")
        if operand.name in (b"", b"."):
            # The directory itself, which the kernel named.
            place = self._file_place(operand, mount, foreign=True)
            place.certainty = Certainty.RESOLVED
            return place
        # pivot_root(2) is told of when all names are those below the new root already.
        direct = not follow or raw.op is Op.PIVOT_ROOT
        if direct and b"/" not in name and name not in (b"", b".."):
            # Directly in a directory that the kernel named: no table, no symlink comes into it.
            place = _Place(operand.base.rstrip(b"/") + b"/" + name, Certainty.RESOLVED)
            place.mount = mount
            place.deleted = operand.deleted
            if operand.inner is not None:
                inner = operand.base[len(operand.base) - operand.inner :] if operand.base != b"/" else b""
                self._into_own(place, mount, inner + b"/" + name)
            return place
        absolute = operand.name[:1] == b"/"
        path, certainty = space.names.resolve(
            operand.base, operand.name, follow=follow, root=operand.base if absolute else b"/"
        )
        if not space.holds_for(raw.time_ns):
            certainty = Certainty.LEXICAL
        place = _Place(path, certainty)
        place.deleted = operand.deleted
        place.space = space
        place.textual = _textual(operand)
        found: Mount | None = None
        if space.table is not None:
            on_point = raw.op in _ON_MOUNT_POINTS
            found = space.table.containing(path) if on_point else space.table.of(path)
        place.mount = found or mount
        inside = below(path, place.mount.mountpoint)
        if inside is not None:
            self._into_own(place, place.mount, inside)
        return place

    def _into_own(self, place: _Place, mount: Mount, inside: bytes) -> None:
        """Give a file of another namespace the name that it has in ours, if it has one."""
        name = self.book.own.name_of(mount.dev, mount.root.rstrip(b"/") + inside or b"/", place.path)
        if name is not None:
            place.path = name
            place.mount = self.book.own.of(name)

    def _was_created(self, raw: RawEvent, place: _Place) -> bool:
        """Whether an open with O_CREAT made the file, where the backend could not tell."""
        if "excl" in raw.flags:
            return True
        known = self._names.proven(place.path)
        if known is Kind.ABSENT:
            return True
        if known is not Kind.UNKNOWN:
            return False
        where = self._names.moved_to(place.path)
        if not os.path.lexists(where):
            # Gone by now, and nobody spoke of it before: most such files are temporary ones.
            return True
        born = born_ns(where)
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
        """Take note of what an event says of names, and of what was said too early."""
        names, path, op = self._names, target.path, raw.op
        if op is Op.OPEN:
            if not target.deleted and (raw.access is not Access.READ or target.fmt != stat.S_IFDIR):
                names.made(path, Kind.DIRECTORY if target.fmt == stat.S_IFDIR else Kind.OTHER)
            return
        if op not in _NAME_OPS:
            return
        for touched in (path,) if source is None or op is Op.LINK else (path, source.path):
            self._touched(touched, raw.time_ns, proven=op is Op.RMDIR)
        match op:
            case Op.MKDIR:
                names.made(path, Kind.DIRECTORY)
            case Op.SYMLINK:
                names.made(path, Kind.SYMLINK, raw.target_text or b"")
            case Op.LINK if source is not None and not raw.follow_source:
                names.linked(source.path, path)
            case Op.UNLINK | Op.RMDIR:
                names.removed(path)
            case Op.RENAME if source is not None:
                names.renamed(source.path, path)
            case Op.EXCHANGE if source is not None:
                names.exchanged(source.path, path)
            case _:
                names.made(path, Kind.OTHER)

    def _touched(self, path: bytes, time_ns: int, *, proven: bool) -> None:
        """A name changes: what was read of it from the disk later than that was not what had been."""
        if self._names.looked_after(path, time_ns) and not proven:
            below_it = path.rstrip(b"/") + b"/"
            for seq, when, textual, _path, space, changed in self._recent:
                if (
                    when <= time_ns
                    and space is self._spaces.own
                    and (textual == path or textual.startswith(below_it))
                ):
                    self._doubt(seq, changed=changed, foreign=False)
        for alias in self.book.own.aliases(path):
            self._names.forget(alias)


_NAME_OPS = frozenset(
    {Op.MKDIR, Op.MKNOD, Op.BIND, Op.SYMLINK, Op.LINK, Op.RENAME, Op.EXCHANGE, Op.UNLINK, Op.RMDIR}
)


def _flags(raw: RawEvent, target: _Place) -> tuple[str, ...]:
    flags = raw.flags
    if target.deleted and "deleted" not in flags:
        flags = (*flags, "deleted")
    if raw.xattr is not None:
        flags = (*flags, f"xattr={show(raw.xattr)}")
    return flags


def _textual(operand: Operand) -> bytes:
    """Return an operand's path with no symlink followed."""
    name = (operand.name or b"").lstrip(b"/") if operand.base else operand.name or b""
    return os.path.normpath(os.path.join(operand.base or b"/", name))


def _stat_into(place: _Place) -> None:
    try:
        found = os.lstat(place.path)
    except (OSError, ValueError):
        return
    place.dev, place.ino, place.fmt = found.st_dev, found.st_ino, stat.S_IFMT(found.st_mode)


def _visible_device(path: bytes, ino: int | None) -> int | None:
    """Return the device that stat(2) shows for a path, if it is still that file."""
    try:
        found = os.lstat(path)
    except (OSError, ValueError):
        return None
    return found.st_dev if found.st_ino == ino else None


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
