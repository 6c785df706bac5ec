"""From raw events to events: absolute paths, mounts, identities.

The resolver works on a live machine, just behind the command: it may look at the disk and
at /proc, and what it found there is kept in the recording, so that nobody has to look
again. Where a later event shows that it looked too late, it says which events are doubtful.
"""

from __future__ import annotations

import stat
import time
from collections import Counter, deque
from collections.abc import Iterable, Sequence

from writeaudit.audit import BlindSpot, Mount
from writeaudit.events import (
    MOVE_OPS,
    NAME_OPS,
    NO_DOUBT,
    OK,
    Certainty,
    Doubt,
    Effect,
    FsEvent,
    Op,
    RawEvent,
    effect_of,
)
from writeaudit.resolve.frames import Frames
from writeaudit.resolve.mounts.namespaces import Namespaces, Recent
from writeaudit.resolve.mounts.registry import MountRegistry, Privileged, mountinfo_of, namespace_of
from writeaudit.resolve.names.cache import NameCache
from writeaudit.resolve.names.effects import EventEffects
from writeaudit.resolve.names.evidence import Evidence
from writeaudit.resolve.names.nodes import NameKind
from writeaudit.resolve.names.pending import PendingEvents
from writeaudit.resolve.names.rename_hazards import moves_own_base, moves_own_symlink
from writeaudit.resolve.operands import OperandResolver, ResolvedOperand
from writeaudit.resolve.shortcuts import THERE, Quick, Shortcuts
from writeaudit.text import escape_path

_CHANGES_MOUNTS = frozenset({Op.MOUNT, Op.UMOUNT, Op.PIVOT_ROOT})
_RECENT = 8192
"""How many of the last events can still turn out to be doubtful."""


class Resolver:
    """Resolves the events of one run, in their order."""

    def __init__(self, started_ns: int = 0, privileged: Privileged | None = None) -> None:
        """``privileged`` is asked about processes that we may not look at ourselves."""
        own = namespace_of("self") or 0
        self.registry = MountRegistry(own, mountinfo_of("self") or b"")
        self._cache = NameCache()
        self._pending = PendingEvents(self.registry)
        self._namespaces = Namespaces(self.registry, self._cache, self._pending, privileged)
        self._operands = OperandResolver(self.registry, self._namespaces)
        self._effects = EventEffects(self._cache, self.registry, self._namespaces, self._pending)
        self.frames = Frames(self.registry)
        """Containers and sandboxes; whoever knows of processes tells it."""
        self._seq = 0
        self._recent: deque[Recent | Quick] = deque(maxlen=_RECENT)
        self._shortcuts = Shortcuts(
            self._cache, self.registry, self._namespaces.own.names, self._pending, self._recent.append
        )
        self._cache.before_loss = self._ask_of_links
        self.set_start(started_ns)
        self._doubtful: list[int] = []
        self._unidentified: list[int] = []
        self._identified: list[tuple[int, int, int, int]] = []
        self._blind = 0
        self.unresolved = 0
        self.doubts: Counter[Doubt] = Counter()
        """Why, of those events; an event may have several reasons."""

    def close(self) -> None:
        """Let go of the namespaces that were held open."""
        self._namespaces.close()

    def set_start(self, started_ns: int) -> None:
        """Set the time that events count from (CLOCK_MONOTONIC, ns)."""
        self._started_ns = self._shortcuts.started_ns = self.frames.started_ns = started_ns

    def look_at(self, directories: Iterable[bytes]) -> None:
        """Ask the disk where directories lead. To be called before the command begins.

        What is known from then cannot be younger than any event, so no event rests on it.
        """
        names = self._namespaces.own.names
        for directory in directories:
            names.look_down(directory)

    def take_doubtful(self) -> list[int]:
        """Return, once, the events resolved before of which later ones showed that they may be wrong."""
        found, self._doubtful = self._doubtful, []
        return found

    def take_unidentified(self) -> list[int]:
        """Return, once, the events resolved before whose files are others, as later ones showed."""
        found, self._unidentified = self._unidentified, []
        return found

    def take_identified(self) -> list[tuple[int, int, int, int]]:
        """Return, once, which files events resolved before are about: seq, device, inode, file type.

        Before `take_unidentified`: what is said there counts.
        """
        found, self._identified = self._identified, []
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
        self.registry.note_mount(mount)
        self.frames.note_mount(mount)

    def mounts_changed(self, time_ns: int, pid: int) -> None:
        """Some mount table may differ from here on; `pid` is in the namespace concerned."""
        mount_ns = self._namespaces.namespace_of(pid)
        self.frames.note_entry(time_ns, pid, mount_ns)
        if mount_ns is None:
            mount_ns = self.frames.mounted_in(time_ns, pid)
        for doubt in self._namespaces.reread_mounts(time_ns, pid, mount_ns, self._seq):
            for recent in self._recall_events():
                evidence = recent.evidence
                if not evidence.lexical and evidence.time_ns <= time_ns and doubt.concerns_event(recent):
                    self._doubt_event(evidence)
        self._reconsider_events()

    def look_ahead(self, events: Sequence[RawEvent]) -> None:
        """Take the events of the batch that comes next: they may say what became of names that are gone."""
        self._pending.take_batch(events, self._seq + 1)

    # Events.

    def resolve_event(self, raw: RawEvent) -> FsEvent:
        """Return the event with its paths resolved; takes note of what it says of names."""
        self._seq += 1
        self._cache.begin_event(self._seq, raw.time_ns, raw.lasted_ns)
        event = self._shortcuts.resolve_plainly(raw, self._seq)
        if event is None:
            return self._the_long_way(raw)
        return self.frames.place_event(raw, event, None) if self.frames.active else event

    def _the_long_way(self, raw: RawEvent) -> FsEvent:
        """Resolve an event of any form."""
        ok = raw.result == OK
        evidence = self._cache.evidence
        evidence.ok = ok
        source: ResolvedOperand | None = None
        if raw.source is not None:
            source = self._operands.resolve_operand(raw, raw.source, follow=raw.follow_source)
        target = self._operands.resolve_operand(raw, raw.path, follow=raw.follow)
        evidence.changes = ok and effect_of(raw) is not Effect.NONE
        certainty = self._weigh_certainty(raw, target, source, evidence)
        created = bool(raw.created)
        if ok:
            created = self._learn_names(raw, target, source, evidence)
            if self._cache.links and evidence.changes and raw.op not in NAME_OPS:
                self._ask_of_links()
            self._reconsider_events()
        if evidence.lexical:
            certainty = Certainty.LEXICAL
        dev = target.dev
        if dev is None and target.mount is not None:
            dev = target.mount.dev
        if ok and raw.op in _CHANGES_MOUNTS:
            self.frames.note_change(raw)
        event = FsEvent(
            self._seq,
            max(raw.time_ns - self._started_ns, 0),
            raw.pid,
            raw.tid,
            raw.op,
            target.path,
            raw.target_text if source is None else source.path,
            raw.access,
            _event_flags(raw, target),
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
            _spelled_differently(raw, target.path),
            certainty,
        )
        return self.frames.place_event(raw, event, target.seen) if self.frames.active else event

    def _weigh_certainty(
        self, raw: RawEvent, target: ResolvedOperand, source: ResolvedOperand | None, evidence: Evidence
    ) -> Certainty:
        """Return how certain an event's paths are; remember what may yet prove doubtful."""
        known, doubt = target.known, NO_DOUBT
        for resolved in (target,) if source is None else (target, source):
            doubt |= resolved.doubt
            if resolved.known is Certainty.RESOLVED:
                known = Certainty.RESOLVED
            if resolved.namespace is not None:
                evidence.foreign = True
            if resolved.spelled is not None:
                self._recent.append(
                    Recent(
                        evidence, resolved.spelled, resolved.path, resolved.namespace or self._namespaces.own
                    )
                )
        if (
            raw.op in MOVE_OPS
            and raw.result == OK
            and (
                moves_own_base(raw, target, source, evidence.since_ns, self._namespaces.disk)
                or moves_own_symlink(raw, target, source, evidence, self._namespaces.disk)
            )
        ):
            doubt |= Doubt.MOVED
        if (
            raw.result in THERE
            and not doubt
            and known is Certainty.RESOLVED
            and self._was_absent(raw, target)
        ):
            # Something was learnt wrong.
            doubt |= Doubt.REFUTED
            self._cache.forget_all()
        if not doubt:
            return known
        evidence.lexical = True
        if evidence.changes:
            self.unresolved += 1
            self.doubts.update(doubt)
            self._blind += evidence.foreign
        return Certainty.LEXICAL

    def _recall_events(self) -> Iterable[Recent]:
        """Return the last events that can turn out to be doubtful. Seldom asked for, so put together here."""
        own = self._namespaces.own
        recalled: list[Recent] = []
        for recent in self._recent:
            if isinstance(recent, Recent):
                recalled.append(recent)
                continue
            raw = recent.raw
            evidence = Evidence(recent.seq, raw.time_ns, recent.since_ns)
            evidence.ok = evidence.changes = raw.result == OK
            if evidence.ok:
                _note_changed_names(evidence, raw)
            sides = ((raw.path, recent.path), (raw.source, recent.source))
            recalled += [
                Recent(evidence, operand, path, own)
                for operand, path in sides
                if operand is not None and path is not None and b"/" in (operand.name or b"")
            ]
        self._recent.clear()
        self._recent.extend(recalled)
        return tuple(recalled)

    def _ask_of_links(self) -> None:
        """Ask the disk which files the hard links are of which that has been put off."""
        links = dict(self._cache.links)
        self._cache.links.clear()
        for key, link in links.items():
            try:
                found = self._namespaces.disk.lstat(link.path)
            except (OSError, ValueError):
                continue
            evidence = Evidence(link.seq, self._cache.time_ns, link.since_ns)
            looked_ns = time.monotonic_ns()
            self._cache.assume_unchanged(
                self._cache.get_node(key), looked_ns, (evidence,), identity=True, after=link.seq
            )
            fmt = stat.S_IFMT(found.st_mode)
            self._identified.append((link.seq, found.st_dev, found.st_ino, fmt))

    def _was_absent(self, raw: RawEvent, target: ResolvedOperand) -> bool:
        """Whether what is known contradicts a call that says that its name was there."""
        key = target.key_in(self.registry)
        name = raw.path.name
        if key is None or name is None or name[-1:] == b"/":  # open(2): EISDIR for the slash alone
            return False
        return self._cache.kind_before(key) is NameKind.ABSENT

    def _doubt_event(self, evidence: Evidence) -> None:
        """Call an event doubtful; once, however much speaks against it."""
        if evidence.lexical:
            return
        self._say_doubtful(evidence)
        if not evidence.teaches:
            return
        # It taught wrong things, and what it did change went unnoticed.
        self._unlearn_names(evidence)
        self._doubt_after(evidence.seq)

    def _doubt_after(self, seq: int) -> None:
        """Call everything doubtful that was resolved after an event by what was known."""
        for recent in self._recall_events():
            other = recent.evidence
            if other.seq > seq and not other.lexical:
                self._say_doubtful(other)
                if other.teaches:
                    self._cache.touch_any(other.names, other.since_ns)
                if other.moves:
                    self._namespaces.note_lost(other.names, other.time_ns, self._seq)

    def _say_doubtful(self, evidence: Evidence) -> None:
        evidence.lexical = True
        self._doubtful.append(evidence.seq)
        self._unidentified.append(evidence.seq)
        if evidence.changes:
            self.unresolved += 1
            self.doubts[Doubt.REFUTED] += 1
            self._blind += evidence.foreign

    def _unlearn_names(self, evidence: Evidence) -> None:
        """An event changed some name, and nobody knows which."""
        self._cache.forget_all()
        self._cache.touch_any(evidence.names, evidence.since_ns)
        if evidence.moves:
            self._namespaces.note_lost(evidence.names, evidence.time_ns, self._seq)

    def _reconsider_events(self) -> None:
        """Take back what the disk has said too late, as the event at hand shows."""
        while True:
            since = self._namespaces.wrong_since()
            if since is not None:
                # Names were taken for others.
                self._cache.forget_all()
                self._cache.touch_any((b"",), self._cache.since_ns)
                self._doubt_after(since)
            failed = self._cache.take_failed()
            if since is None and not failed:
                return
            for evidence in failed:
                if evidence.broken:
                    self._doubt_event(evidence)
                elif not evidence.lexical:
                    self._unidentified.append(evidence.seq)

    def _learn_names(
        self, raw: RawEvent, target: ResolvedOperand, source: ResolvedOperand | None, evidence: Evidence
    ) -> bool:
        """Take note of what an event that succeeded says of names; returns whether it made its file."""
        evidence.teaches = raw.op in NAME_OPS or (
            raw.op is Op.OPEN and raw.created is not False and "creat" in raw.flags
        )
        if evidence.teaches:
            _note_changed_names(evidence, raw)
        paths = () if evidence.lexical else (target.path,) if source is None else (target.path, source.path)
        for other in self._pending.take_mistaken(self._seq, *paths):
            self._cache.disbelieve_event(other)
        if not evidence.lexical:
            return self._effects.apply_event(raw, target, source)
        if evidence.teaches:
            self._unlearn_names(evidence)
        return bool(raw.created)


def _note_changed_names(evidence: Evidence, raw: RawEvent) -> None:
    """Note which names an event changed."""
    evidence.teaches = True
    evidence.operands = (raw.path,)
    if raw.source is not None and raw.op is not Op.LINK:
        evidence.operands = (raw.path, raw.source)
    evidence.moves = raw.op in (Op.RENAME, Op.EXCHANGE, Op.RMDIR)


def _event_flags(raw: RawEvent, target: ResolvedOperand) -> tuple[str, ...]:
    flags = raw.flags
    if target.deleted and "deleted" not in flags:
        flags = (*flags, "deleted")
    if raw.xattr is not None:
        flags = (*flags, f"xattr={escape_path(raw.xattr)}")
    return flags


def _spelled_differently(raw: RawEvent, path: bytes) -> bytes | None:
    """Return what the process passed, if it differs from the path by more than being relative."""
    spelled = raw.spelled if raw.path.name is None else raw.path.name
    if not spelled or spelled == path:
        return None
    if spelled[:1] != b"/" and path.endswith(b"/" + spelled):
        return None
    return spelled
