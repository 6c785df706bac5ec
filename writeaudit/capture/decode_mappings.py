"""Shared mappings of files that are only readable so far. Pure.

mprotect(2) can make one writable later without naming the file again.
"""

from __future__ import annotations

from writeaudit.events import Operand


class Mappings:
    """The mappings of each process, and the files behind them."""

    def __init__(self) -> None:
        self._of: dict[int, list[tuple[int, int, Operand]]] = {}
        """By process id: first address, the one behind the last, the file."""

    def add(self, pid: int, start: int, length: int, file: Operand) -> None:
        """Remember a mapping. What it lies upon is gone (munmap(2) is not recorded)."""
        end = start + length
        left: list[tuple[int, int, Operand]] = []
        for low, high, other in self._of.get(pid, ()):
            left += [
                (first, last, other)
                for first, last in ((low, min(high, start)), (max(low, end), high))
                if first < last
            ]
        self._of[pid] = [*left, (start, end, file)]

    def find(self, pid: int, start: int, length: int) -> list[Operand]:
        """Return the files that have an address in a range mapped, each once."""
        return list(
            dict.fromkeys(
                file for low, high, file in self._of.get(pid, ()) if low < start + length and start < high
            )
        )

    def move(self, pid: int, start: int, to: int, length: int) -> None:
        """Take note of an mremap(2) of the mapping in which ``start`` lies."""
        mappings = self._of.get(pid, [])
        for index, (low, high, file) in enumerate(mappings):
            if low <= start < high:
                mappings[index] = (to, to + length, file)

    def fork(self, parent: int, child: int) -> None:
        """Give a new process those of its parent."""
        if parent in self._of:
            self._of[child] = list(self._of[parent])

    def drop(self, pid: int) -> None:
        """Forget those of a process that ended or runs another program."""
        self._of.pop(pid, None)
