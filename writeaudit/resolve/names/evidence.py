"""What events rest on, and what of it has proved wrong."""

from __future__ import annotations

from collections.abc import Iterator

from writeaudit.events import Doubt, Operand
from writeaudit.paths import last_name

SLACK_NS = 15_000_000
"""How long before a call returns it may have taken effect, where the backend knows nothing better. The
time of an event is that of the return; who took a name away may then have to wait for the disk's journal."""
LATE_NS = 250_000_000
"""The same where the backend does know, at most; and by how much an event may come after others that
happened later. (A processor may stand still between the end of a call and the record of it.)"""

_ALWAYS = 1 << 62


class Evidence:
    """An event, and what of it rests on the disk."""

    __slots__ = (
        "broken",
        "changes",
        "foreign",
        "lexical",
        "moves",
        "ok",
        "operands",
        "rests_ns",
        "seq",
        "since_ns",
        "teaches",
        "time_ns",
        "unidentified",
    )

    def __init__(self, seq: int, time_ns: int, since_ns: int) -> None:
        self.seq = seq
        self.time_ns = time_ns
        self.since_ns = since_ns
        """When it may have taken effect at the earliest."""
        self.broken = False
        """Its path may be wrong."""
        self.unidentified = False
        """Its file may be another one than that which was found under its name."""
        self.ok = False
        """The call succeeded: every directory on the way was there."""
        self.changes = False
        """It changed a file, or may have."""
        self.teaches = False
        """It changed a name."""
        self.moves = False
        """It gave another name to something, a directory perhaps, or took a directory's name away."""
        self.operands: tuple[Operand, ...] = ()
        """The names that it changed."""
        self.foreign = False
        """It was resolved by the mounts of another namespace."""
        self.lexical = False
        """Its path was reported to be text only."""
        self.rests_ns = 0
        """When the youngest thing was read from the disk that its path rests on; 0 if none was."""

    @property
    def names(self) -> tuple[bytes, ...]:
        """The last components of the names that it changed; an empty one if that is not known."""
        return tuple(_last_component(operand) for operand in self.operands)


class EvidenceGroup:
    """The events that rest on where one directory leads, and so on what was read of its names."""

    __slots__ = ("below", "events")

    def __init__(self) -> None:
        self.events: list[Evidence] = []
        self.below: list[EvidenceGroup] = []
        """Those of directories that it leads to."""

    def __iter__(self) -> Iterator[Evidence]:
        todo = [self]
        while todo:
            group = todo.pop()
            yield from group.events
            todo += group.below

    def clear_events(self) -> None:
        """Nothing can show any more that they were wrong."""
        self.events.clear()
        self.below.clear()


class DoubtWindow:
    """How long what was read from the disk can prove to have been younger than what rests on it.

    Until an event comes that happened later; but if one that taught something proves wrong before,
    it may have changed anything that was read since it happened. So all that is kept open for as long
    as that one is.
    """

    def __init__(self) -> None:
        self._from_ns = _ALWAYS
        self._until_ns = -_ALWAYS
        """The time of the first of a row of events that can prove wrong, and when the youngest thing
        was read that one of them rests on."""

    def note_event(self, evidence: Evidence) -> None:
        """An event is done with for now."""
        if not evidence.rests_ns or not evidence.teaches or evidence.lexical:
            return
        if self._until_ns + LATE_NS < evidence.time_ns:
            self._from_ns = evidence.time_ns
        self._until_ns = max(self._until_ns, evidence.rests_ns)

    def is_settled(self, looked_ns: int, time_ns: int) -> bool:
        """Whether what was read then was right, for an event has come that happened at ``time_ns``."""
        last_ns = looked_ns + LATE_NS
        if last_ns >= time_ns:
            return False
        return last_ns < self._from_ns or self._until_ns + LATE_NS < time_ns


def _last_component(operand: Operand) -> bytes:
    """Return the last component of a name; empty if that does not name anything."""
    last = last_name(operand.name or b"")
    return b"" if operand.doubt & Doubt.UNREADABLE or last in (b".", b"..") else last
