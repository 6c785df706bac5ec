"""What the events still to come in a batch say of a name that the disk does not show any more."""

from __future__ import annotations

import enum
import os
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from writeaudit.events import OK, Op, Operand, RawEvent
from writeaudit.resolve.basis import Basis
from writeaudit.resolve.mounts import MountBook

_MAKES = frozenset({Op.MKDIR, Op.MKNOD, Op.BIND, Op.SYMLINK, Op.LINK})
_DOTS = re.compile(rb"/\.\.?(?:/|\Z)")
_MOVES = frozenset({Op.RENAME, Op.EXCHANGE})
_CHANGES = _MAKES | _MOVES | {Op.UNLINK, Op.RMDIR}


class Fate(enum.Enum):
    """What became of a name."""

    ABSENT = enum.auto()
    """It is made only then, so it was not there before."""
    DIRECTORY = enum.auto()
    """It is removed, as a directory."""
    MOVED = enum.auto()
    LOST = enum.auto()
    """Nothing is left to tell by what it was."""


class Step(NamedTuple):
    """The first change of a name that is still to come."""

    fate: Fate
    seq: int
    time_ns: int
    to: bytes = b""
    """Of a name that moves: its new one."""


class Ahead:
    """The events of a batch, looked at before their turn.

    Names are taken by their text: a symlink may hide in it. What is said here must be watched
    until those events have been resolved; whoever uses it says so (`expect`).
    """

    def __init__(self, book: MountBook) -> None:
        self._book = book
        self._events: Sequence[RawEvent] = ()
        self._first_seq = 1
        self._unread: dict[bytes, list[int]] | None = None
        """Events by the last components of names that nobody has asked about yet."""
        self._steps: dict[bytes, list[Step]] = {}
        self._expected: dict[int, list[tuple[Basis, bytes]]] = {}

    def take(self, events: Sequence[RawEvent], first_seq: int) -> None:
        """Take the events of the next batch; the first of them will have ``first_seq``."""
        self._events, self._first_seq, self._unread = events, first_seq, None
        self._steps.clear()
        self._expected.clear()

    def expect(self, basis: Basis, path: bytes, seq: int) -> None:
        """An event rests on that the one of number ``seq`` concerns a path, as its text has it."""
        self._expected.setdefault(seq, []).append((basis, path))

    def mistaken(self, seq: int, *paths: bytes) -> list[Basis]:
        """Return the events that expected others than these paths of one that is resolved now."""
        if not self._expected:
            return []
        return [basis for basis, path in self._expected.pop(seq, ()) if path not in paths]

    def next(self, path: bytes, seq: int) -> Step | None:
        """Return the first change of a name, or of a directory above it, after event ``seq``."""
        if not self._events:
            return None
        found = self._change(path, seq)
        end = path.rfind(b"/")
        while end > 0:
            above = self._change(path[:end], seq)
            if above is not None and (found is None or above.seq < found.seq):
                found = Step(Fate.LOST, above.seq, above.time_ns)
            end = path.rfind(b"/", 0, end)
        return found

    def _change(self, path: bytes, seq: int) -> Step | None:
        """Return the first change of the name itself after event ``seq``."""
        if self._unread is None:
            self._unread = self._changes()
        last = _component(path)
        for number in self._unread.pop(last, ()):
            for name, step in self._read(number):
                if _component(name) == last:
                    self._steps.setdefault(name, []).append(step)
        return next((step for step in self._steps.get(path, ()) if step.seq > seq), None)

    def _read(self, seq: int) -> Iterator[tuple[bytes, Step]]:
        """Yield what an event makes of names."""
        event = self._events[seq - self._first_seq]
        op = event.op
        path = self._textual(event.path)
        source = None if event.source is None else self._textual(event.source)
        if path is None:
            return
        fate, to = Fate.LOST, b""
        if op in _MAKES:
            fate = Fate.ABSENT
        elif op is Op.RMDIR:
            fate = Fate.DIRECTORY
        elif op is Op.RENAME and "noreplace" in event.flags:
            fate = Fate.ABSENT
        elif op is Op.EXCHANGE and source is not None:
            fate, to = Fate.MOVED, source
        yield path, Step(fate, seq, event.time_ns, to)
        if source is not None and op in _MOVES:
            yield source, Step(Fate.MOVED, seq, event.time_ns, path)

    def _textual(self, operand: Operand) -> bytes | None:
        """Return the text of a path in writeaudit's own namespace; None for any other."""
        mount = self._book.get(operand.mount)
        if operand.base is None or operand.truncated or operand.guessed:
            return None
        if mount is not None and not mount.own:
            return None
        return textual(operand)

    def _changes(self) -> dict[bytes, list[int]]:
        """Return which events change names, by the last components. Done only if somebody asks."""
        changes: dict[bytes, list[int]] = {}
        for seq, event in enumerate(self._events, self._first_seq):
            if event.op not in _CHANGES or event.result != OK:
                continue
            last = _last(event.path)
            changes.setdefault(last, []).append(seq)
            if event.source is not None and event.op in _MOVES:
                old = _last(event.source)
                if old != last:
                    changes.setdefault(old, []).append(seq)
        return changes


def _component(path: bytes) -> bytes:
    return path[path.rfind(b"/") + 1 :]


def _last(operand: Operand) -> bytes:
    """Return the last component of an operand's path with no symlink followed."""
    last = _component(operand.name or b"")
    return _component(textual(operand)) if last in (b"", b".", b"..") else last


def textual(operand: Operand) -> bytes:
    """Return an operand's path with no symlink followed."""
    base, name = operand.base or b"", operand.name or b""
    path = base.rstrip(b"/") + b"/" + name if name[:1] != b"/" else base.rstrip(b"/") + name
    if b"//" in path or path[-1:] == b"/" or (b"/." in path and _DOTS.search(path)):
        return os.path.normpath(path)
    return path
