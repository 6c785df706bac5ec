"""Shared mappings of files that cannot be written so far. Pure.

mprotect(2) can make one writable later without naming the file again.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from itertools import takewhile
from typing import NamedTuple

from writeaudit.events import OK, Operand

FMODE_WRITE = 0x2
"""The kernel's FMODE_WRITE: the file was opened for writing."""
_PAGE = 4096


def _round_up(length: int) -> int:
    return -(-length // _PAGE) * _PAGE


class Mapping(NamedTuple):
    """A range of addresses at which a file is mapped."""

    start: int
    end: int
    """The address behind the last."""
    file: Operand
    writable: bool
    """Whether the file was opened for writing: only then may the mapping become writable."""


class Mappings:
    """The mappings of each process. One that was unmapped stays until something takes its place."""

    def __init__(self) -> None:
        self._of: dict[int, list[Mapping]] = {}
        """By process id, in the order of their addresses."""

    def add_mapping(self, pid: int, start: int, length: int, file: Operand, *, writable: bool) -> None:
        """Remember a mapping. What it lies upon is gone."""
        new = Mapping(start, start + _round_up(length), file, writable)
        self._replace_range(pid, new.start, new.end, [new])

    def forget_range(self, pid: int, start: int, length: int) -> None:
        """Take note that something else is mapped there now."""
        if pid in self._of:
            self._replace_range(pid, start, start + _round_up(length), [])

    def protect_range(self, pid: int, start: int, length: int, result: str) -> tuple[list[Operand], bool]:
        """Return the files that an mprotect(2) to writable is about, each once, and whether they are now.

        The kernel goes from mapping to mapping and stops where it must refuse: whatever the result,
        those before are writable. Then they are what is returned, and otherwise what it refused.
        """
        end = start + _round_up(length)
        found = list(self._mappings_within(pid, start, end))
        if result == OK:
            changed = found
        elif result == "ENOMEM":
            changed = _before_hole(found, start, end)
        else:
            changed = _before_refusal(found)
        if made := [mapping.file for mapping in changed if mapping.writable]:
            return list(dict.fromkeys(made)), True
        return [mapping.file for mapping in found[:1] if result != OK], False

    def files_within(self, pid: int, start: int, length: int) -> list[Operand]:
        """Return the files of the mappings in a range that are or may become writable, each once."""
        within = self._mappings_within(pid, start, start + _round_up(length))
        return list(dict.fromkeys(mapping.file for mapping in within if mapping.writable))

    def move_mapping(self, pid: int, start: int, old_length: int, to: int, length: int) -> None:
        """Take note of an mremap(2).

        What was there is taken to stay: with MREMAP_DONTUNMAP, or an old length of 0, it does.
        """
        if pid not in self._of:
            return
        old_end, end = start + _round_up(old_length or 1), to + _round_up(length)
        moved = [
            Mapping(low - start + to, end if high == old_end else min(high - start + to, end), file, writable)
            for low, high, file, writable in self._mappings_within(pid, start, old_end)
            if low - start + to < end
        ]
        self._replace_range(pid, to, end, moved)

    def fork_process(self, parent: int, child: int, *, shares: bool) -> None:
        """Give a new process those of its parent, once and for all or to share (CLONE_VM)."""
        if shares:
            self._of[child] = self._of.setdefault(parent, [])
        elif parent in self._of:
            self._of[child] = list(self._of[parent])

    def drop_process(self, pid: int) -> None:
        """Forget those of a process that ended or runs another program."""
        self._of.pop(pid, None)

    def _mappings_within(self, pid: int, start: int, end: int) -> Iterator[Mapping]:
        known = self._of.get(pid, [])
        for mapping in known[slice(*_find_range(known, start, end))]:
            yield mapping._replace(start=max(mapping.start, start), end=min(mapping.end, end))

    def _replace_range(self, pid: int, start: int, end: int, by: list[Mapping]) -> None:
        known = self._of.setdefault(pid, [])
        first, last = _find_range(known, start, end)
        before = [m._replace(end=start) for m in known[first:last] if m.start < start]
        after = [m._replace(start=end) for m in known[first:last] if end < m.end]
        known[first:last] = [*before, *by, *after]


def _before_hole(found: list[Mapping], start: int, end: int) -> list[Mapping]:
    changed: list[Mapping] = []
    for mapping in found:
        if mapping.start == start:
            changed.append(mapping)
            start = mapping.end
    return changed if start < end else []  # without a hole there was too little memory for any change


def _before_refusal(found: list[Mapping]) -> list[Mapping]:
    changed = list(takewhile(lambda mapping: mapping.writable, found))
    return changed if len(changed) < len(found) else []  # it was not for want of a right to a file


def _find_range(known: list[Mapping], start: int, end: int) -> tuple[int, int]:
    """Return from where to where the mappings stand that have an address in a range."""
    first = bisect_left(known, (start,))
    if first and start < known[first - 1].end:
        first -= 1
    return first, bisect_left(known, (end,))
