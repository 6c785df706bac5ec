"""From raw events to events: absolute paths, mounts, identities.

The resolver works on a live machine, just behind the command: it may look at the disk and
at /proc, and what it found there is kept in the recording, so that nobody has to look
again. Where a later event shows that it looked too late, it says which events are doubtful.
"""

from __future__ import annotations

import stat
from collections import deque
from collections.abc import Sequence

from writeaudit.audit import BlindSpot, Mount
from writeaudit.events import NAME_OPS, NAMESPACE_OPS, OK, Certainty, FsEvent, Op, Operand, RawEvent
from writeaudit.resolve.ahead import Ahead
from writeaudit.resolve.astray import led_astray, moved_along
from writeaudit.resolve.basis import Basis
from writeaudit.resolve.lessons import Lessons
from writeaudit.resolve.mounts import MountBook, mountinfo_of, namespace_of
from writeaudit.resolve.namespaces import Namespaces, Recent
from writeaudit.resolve.nodes import Kind
from writeaudit.resolve.places import Place, Places
from writeaudit.resolve.tree import Tree
from writeaudit.text import show

_RECENT = 8192
"""How many of the last events can still turn out to be doubtful."""

_THERE = frozenset({"EEXIST", "EISDIR", "ENOTEMPTY"})
"""Refusals of calls whose name was there."""
_WORSE = {Certainty.KERNEL: 0, Certainty.RESOLVED: 1, Certainty.LEXICAL: 2}


class Resolver:
    """Resolves the events of one run, in their order."""

    def __init__(self, started_ns: int = 0) -> None:
        own = namespace_of("self") or 0
        self.book = MountBook(own, mountinfo_of("self") or b"")
        self._tree = Tree()
        self._ahead = Ahead(self.book)
        self._spaces = Namespaces(self.book, self._tree, self._ahead)
        self._places = Places(self.book, self._spaces)
        self._lessons = Lessons(self._tree, self.book, self._spaces, self._ahead)
        self._started_ns = started_ns
        self._seq = 0
        self._recent: deque[Recent] = deque(maxlen=_RECENT)
        self._doubtful: list[int] = []
        self._unidentified: list[int] = []
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

    def unidentified(self) -> list[int]:
        """Return, once, the events resolved before whose files are others, as later ones showed."""
        found, self._unidentified = self._unidentified, []
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
            for recent in self._recent:
                basis = recent.basis
                if not basis.lexical and basis.time_ns <= time_ns and doubt.concerns(recent):
                    self._doubt(basis)
        self._reconsider()

    def look_ahead(self, events: Sequence[RawEvent]) -> None:
        """Take the events of the batch that comes next: they may say what became of names that are gone."""
        self._ahead.take(events, self._seq + 1)

    # Events.

    def resolve(self, raw: RawEvent) -> FsEvent:
        """Return the event with its paths resolved; takes note of what it says of names."""
        self._seq += 1
        self._tree.begin(self._seq, raw.time_ns, raw.lasted_ns)
        ok = raw.result == OK
        if ok and raw.op is Op.OPEN and raw.path.name is None and raw.created is not None:
            event = self._opened(raw, raw.path)
            if event is not None:
                return event
        basis = self._tree.basis
        basis.ok = ok
        source: Place | None = None
        if raw.source is not None:
            source = self._places.place(raw, raw.source, follow=raw.follow_source)
        target = self._places.place(raw, raw.path, follow=raw.follow)
        basis.changes = ok and raw.op not in NAMESPACE_OPS and not _only_reads(raw)
        certainty = self._weigh(raw, target, source, basis)
        created = bool(raw.created)
        if ok:
            created = self._learn(raw, target, source, basis)
            self._reconsider()
        if basis.lexical:
            certainty = Certainty.LEXICAL
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
        if base is None or mount is None or not mount.own or mount.fstype == "btrfs":
            return None
        if file.truncated or file.detached:
            return None
        if not file.deleted:
            key = self.book.own_key(base)
            if raw.created:
                self._tree.made(key, Kind.OTHER)
                self._reconsider()
            self._tree.shown(key, raw.time_ns, directory=file.fmt == stat.S_IFDIR)
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

    def _weigh(self, raw: RawEvent, target: Place, source: Place | None, basis: Basis) -> Certainty:
        """Return the worst certainty of an event's sides; remember what may yet prove doubtful."""
        certainty = target.certainty
        for place in (target,) if source is None else (target, source):
            if _WORSE[place.certainty] > _WORSE[certainty]:
                certainty = place.certainty
            if place.space is not None:
                basis.foreign = True
            if place.spelled is not None:
                self._recent.append(Recent(basis, place.spelled, place.path, place.space or self._spaces.own))
        if (
            raw.op in (Op.RENAME, Op.EXCHANGE)
            and raw.result == OK
            and (
                moved_along(raw, target, source, basis.since_ns, self._spaces.disk)
                or led_astray(raw, target, source, basis, self._spaces.disk)
            )
        ):
            certainty = Certainty.LEXICAL
        if raw.result in _THERE and certainty is Certainty.RESOLVED and self._was_absent(raw, target):
            # Something was learnt wrong.
            certainty = Certainty.LEXICAL
            self._tree.forget_all()
        if certainty is Certainty.LEXICAL:
            basis.lexical = True
            if basis.changes:
                self.unresolved += 1
                self._blind += basis.foreign
        return certainty

    def _was_absent(self, raw: RawEvent, target: Place) -> bool:
        """Whether what is known contradicts a call that says that its name was there."""
        key = target.key(self.book)
        name = raw.path.name
        if key is None or name is None or name[-1:] == b"/":  # open(2): EISDIR for the slash alone
            return False
        return self._tree.was(key) is Kind.ABSENT

    def _doubt(self, basis: Basis) -> None:
        """Call an event doubtful; once, however much speaks against it."""
        if basis.lexical:
            return
        self._say_doubtful(basis)
        if not basis.teaches:
            return
        # It taught wrong things, and what it did change went unnoticed.
        self._unlearn(basis)
        self._doubt_after(basis.seq)

    def _doubt_after(self, seq: int) -> None:
        """Call everything doubtful that was resolved after an event by what was known."""
        for recent in self._recent:
            other = recent.basis
            if other.seq > seq and not other.lexical:
                self._say_doubtful(other)
                if other.teaches:
                    self._tree.touch_any(other.names, other.since_ns)
                if other.moves:
                    self._spaces.lost(other.names, other.time_ns, self._seq)

    def _say_doubtful(self, basis: Basis) -> None:
        basis.lexical = True
        self._doubtful.append(basis.seq)
        self._unidentified.append(basis.seq)
        self.unresolved += basis.changes
        self._blind += basis.changes and basis.foreign

    def _unlearn(self, basis: Basis) -> None:
        """An event changed some name, and nobody knows which."""
        self._tree.forget_all()
        self._tree.touch_any(basis.names, basis.since_ns)
        if basis.moves:
            self._spaces.lost(basis.names, basis.time_ns, self._seq)

    def _reconsider(self) -> None:
        """Take back what the disk has said too late, as the event at hand shows."""
        while True:
            since = self._spaces.wrong_since()
            if since is not None:
                # Names were taken for others.
                self._tree.forget_all()
                self._tree.touch_any((b"",), self._tree.since_ns)
                self._doubt_after(since)
            failed = self._tree.failed()
            if since is None and not failed:
                return
            for basis in failed:
                if basis.broken:
                    self._doubt(basis)
                elif not basis.lexical:
                    self._unidentified.append(basis.seq)

    def _learn(self, raw: RawEvent, target: Place, source: Place | None, basis: Basis) -> bool:
        """Take note of what an event that succeeded says of names; returns whether it made its file."""
        basis.teaches = raw.op in NAME_OPS or (
            raw.op is Op.OPEN and raw.created is not False and "creat" in raw.flags
        )
        if basis.teaches:
            basis.operands = (raw.path,)
            if raw.source is not None and raw.op is not Op.LINK:
                basis.operands = (raw.path, raw.source)
        basis.moves = raw.op in (Op.RENAME, Op.EXCHANGE, Op.RMDIR)
        paths = () if basis.lexical else (target.path,) if source is None else (target.path, source.path)
        for other in self._ahead.mistaken(self._seq, *paths):
            self._tree.disbelieve(other)
        if not basis.lexical:
            return self._lessons.learn(raw, target, source)
        if basis.teaches:
            self._unlearn(basis)
        return bool(raw.created)


def _flags(raw: RawEvent, target: Place) -> tuple[str, ...]:
    flags = raw.flags
    if target.deleted and "deleted" not in flags:
        flags = (*flags, "deleted")
    if raw.xattr is not None:
        flags = (*flags, f"xattr={show(raw.xattr)}")
    return flags


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
