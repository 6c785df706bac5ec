"""The processes of a run, as findings name them: which program a process ran when, and who started it."""

from __future__ import annotations

import os
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Sequence

from writeaudit.audit import Process
from writeaudit.text import escape_argument

_MAX_ARGUMENTS = 4
_MAX_ARGUMENT = 40
"""How many words of a command line are shown, and how much of each."""


class ProcessHistory:
    """One process from its fork to its end: every program that it ran, in order."""

    __slots__ = ("children", "lives", "parent")

    def __init__(self, first: Process) -> None:
        self.lives = [first]
        self.parent: ProcessHistory | None = None
        self.children: list[ProcessHistory] = []

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.lives[0].pid

    @property
    def last(self) -> Process:
        """The program that it ran at its end."""
        return self.lives[-1]

    @property
    def failed(self) -> bool:
        """Whether its exit status says so."""
        return bool(self.last.exit_status)


class ProcessTable:
    """Finds the program that a process ran at a given time; process ids may come again in a long run."""

    def __init__(self, processes: Iterable[Process]) -> None:
        self._families: defaultdict[int, list[ProcessHistory]] = defaultdict(list)
        for process in processes:
            earlier = self._families[process.pid]
            last = earlier[-1].last if earlier else None
            # An exec ends one life and begins the next at the same time; it has no exit status.
            if last is not None and last.exit_status is None and last.ended_ns == process.started_ns:
                earlier[-1].lives.append(process)
                continue
            family = ProcessHistory(process)
            parent = (
                self.find_family(process.ppid, process.started_ns) if process.ppid != process.pid else None
            )
            if parent is not None:
                family.parent = parent
                parent.children.append(family)
            earlier.append(family)
        self._starts = {
            pid: [family.lives[0].started_ns for family in families]
            for pid, families in self._families.items()
        }

    @property
    def root(self) -> ProcessHistory | None:
        """The command itself."""
        for families in self._families.values():
            return families[0] if families else None
        return None

    def find_family(self, pid: int, time_ns: int) -> ProcessHistory | None:
        """Return the process that had this id at a time (ns since the command was started)."""
        families = self._families.get(pid)
        if not families:
            return None
        found = families[0]
        for family in families:
            if family.lives[0].started_ns > time_ns:
                break
            found = family
        return found

    def find_program(self, pid: int, time_ns: int) -> Process | None:
        """Return the program that a process ran at a time; None if the recording does not tell."""
        families = self._families.get(pid)
        if not families:
            return None
        number = bisect_right(self._starts[pid], time_ns) - 1
        lives = families[max(number, 0)].lives
        found = lives[0]
        for life in lives:
            if life.started_ns > time_ns:
                break
            found = life
        return found

    def find_parent(self, process: Process) -> Process | None:
        """Return the program that started a process."""
        return None if process.ppid == process.pid else self.find_program(process.ppid, process.started_ns)


def name_process(process: Process | None, pid: int | None = None) -> str:
    """Return the start of a command line, in backticks, and its id: ``python3 setup.py install`` (pid 12)."""
    number = pid if process is None else process.pid
    if process is None:
        return f"pid {number}"
    line = shorten_command(process)
    return f"`{line}` (pid {number})" if line else f"pid {number}"


def shorten_command(process: Process, most: int = _MAX_ARGUMENTS) -> str:
    """Return the first words of a command line, cut; the program's own name without its directory."""
    words: Sequence[bytes] = process.argv or (process.exe,)
    shown = [_shorten_word(os.path.basename(words[0]) or process.exe)]
    shown += [_shorten_word(word) for word in words[1:most]]
    if len(words) > most:
        shown.append("…")
    return " ".join(word for word in shown if word)


def _shorten_word(raw: bytes) -> str:
    cut = raw[:_MAX_ARGUMENT]
    first, *more = cut.split(b"\n", 1)
    return escape_argument(first).replace("`", "'") + ("…" if more or len(raw) > _MAX_ARGUMENT else "")
