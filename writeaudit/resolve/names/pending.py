"""What the events still to come in a batch say of a name that the disk does not show any more."""

from __future__ import annotations

import enum
import os
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from writeaudit.events import MAKE_OPS, MOVE_OPS, NAME_OPS, OK, Op, Operand, RawEvent
from writeaudit.paths import last_component
from writeaudit.resolve.mounts.registry import MountRegistry
from writeaudit.resolve.names.evidence import Evidence

_DOTS = re.compile(rb"/\.\.?(?:/|\Z)")


class NameFate(enum.Enum):
    """What became of a name."""

    ABSENT = enum.auto()
    """It is made only then, so it was not there before."""
    DIRECTORY = enum.auto()
    """It is removed, as a directory."""
    MOVED = enum.auto()
    UNKNOWN = enum.auto()
    """Nothing is left to tell by what it was."""


class NextChange(NamedTuple):
    """The first change of a name that is still to come."""

    fate: NameFate
    seq: int
    time_ns: int
    to: bytes = b""
    """Of a name that moves: its new one."""


class PendingEvents:
    """The events of a batch, looked at before their turn.

    Names are taken by their text: a symlink may hide in it. What is said here must be watched
    until those events have been resolved; whoever uses it says so (`expect`).
    """

    def __init__(self, registry: MountRegistry) -> None:
        self._registry = registry
        self._events: Sequence[RawEvent] = ()
        self._first_seq = 1
        self._unread: dict[bytes, list[int]] | None = None
        """Events by the last components of names that nobody has asked about yet."""
        self._steps: dict[bytes, list[NextChange]] = {}
        self.expected: dict[int, list[tuple[Evidence, bytes]]] = {}
        """By event: what others rest on, that it concerns a path."""

    def take_batch(self, events: Sequence[RawEvent], first_seq: int) -> None:
        """Take the events of the next batch; the first of them will have ``first_seq``."""
        self._events, self._first_seq, self._unread = events, first_seq, None
        self._steps.clear()
        self.expected.clear()

    def expect_path(self, evidence: Evidence, path: bytes, seq: int) -> None:
        """An event rests on that the one of number ``seq`` concerns a path, as its text has it."""
        self.expected.setdefault(seq, []).append((evidence, path))

    def take_mistaken(self, seq: int, *paths: bytes) -> list[Evidence]:
        """Return the events that expected others than these paths of one that is resolved now."""
        if not self.expected:
            return []
        return [evidence for evidence, path in self.expected.pop(seq, ()) if path not in paths]

    def find_next_change(self, path: bytes, seq: int) -> NextChange | None:
        """Return the first change of a name, or of a directory above it, after event ``seq``."""
        if not self._events:
            return None
        found = self._find_change(path, seq)
        end = path.rfind(b"/")
        while end > 0:
            above = self._find_change(path[:end], seq)
            if above is not None and (found is None or above.seq < found.seq):
                found = NextChange(NameFate.UNKNOWN, above.seq, above.time_ns)
            end = path.rfind(b"/", 0, end)
        return found

    def _find_change(self, path: bytes, seq: int) -> NextChange | None:
        """Return the first change of the name itself after event ``seq``."""
        if self._unread is None:
            self._unread = self._index_changes()
        last = last_component(path)
        for number in self._unread.pop(last, ()):
            for name, step in self._read_changes(number):
                if last_component(name) == last:
                    self._steps.setdefault(name, []).append(step)
        return next((step for step in self._steps.get(path, ()) if step.seq > seq), None)

    def _read_changes(self, seq: int) -> Iterator[tuple[bytes, NextChange]]:
        """Yield what an event makes of names."""
        event = self._events[seq - self._first_seq]
        op = event.op
        path = self._own_text(event.path)
        source = None if event.source is None else self._own_text(event.source)
        if path is None:
            return
        fate, to = NameFate.UNKNOWN, b""
        if op in MAKE_OPS:
            fate = NameFate.ABSENT
        elif op is Op.RMDIR:
            fate = NameFate.DIRECTORY
        elif op is Op.RENAME and "noreplace" in event.flags:
            fate = NameFate.ABSENT
        elif op is Op.EXCHANGE and source is not None:
            fate, to = NameFate.MOVED, source
        yield path, NextChange(fate, seq, event.time_ns, to)
        if source is not None and op in MOVE_OPS:
            yield source, NextChange(NameFate.MOVED, seq, event.time_ns, path)

    def _own_text(self, operand: Operand) -> bytes | None:
        """Return the text of a path in writeaudit's own namespace; None for any other."""
        mount = self._registry.get_current(operand.mount)
        if operand.base is None or operand.doubt:
            return None
        if mount is not None and not mount.own:
            return None
        return operand_text(operand)

    def _index_changes(self) -> dict[bytes, list[int]]:
        """Return which events change names, by the last components. Done only if somebody asks."""
        changes: dict[bytes, list[int]] = {}
        for seq, event in enumerate(self._events, self._first_seq):
            if event.op not in NAME_OPS or event.result != OK:
                continue
            last = _last_component(event.path)
            changes.setdefault(last, []).append(seq)
            if event.source is not None and event.op in MOVE_OPS:
                old = _last_component(event.source)
                if old != last:
                    changes.setdefault(old, []).append(seq)
        return changes


def _last_component(operand: Operand) -> bytes:
    """Return the last component of an operand's path with no symlink followed."""
    last = last_component(operand.name or b"")
    return last_component(operand_text(operand)) if last in (b"", b".", b"..") else last


def operand_text(operand: Operand) -> bytes:
    """Return an operand's path with no symlink followed."""
    base, name = operand.base or b"", operand.name or b""
    path = base.rstrip(b"/") + b"/" + name if name[:1] != b"/" else base.rstrip(b"/") + name
    if b"//" in path or path[-1:] == b"/" or (b"/." in path and _DOTS.search(path)):
        return os.path.normpath(path)
    return path
