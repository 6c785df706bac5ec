"""The processes of a run, put together from their starts, execs and exits."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

from writeaudit.audit import Process


@dataclass(slots=True)
class _Open:
    pid: int
    ppid: int
    exe: bytes
    argv: tuple[bytes, ...]
    started_ns: int
    ended_ns: int | None = None
    exit_status: int | None = None
    executed: bool = False

    def to_process(self) -> Process:
        return Process(
            self.pid, self.ppid, self.exe, self.argv, self.started_ns, self.ended_ns, self.exit_status
        )


class ProcessBook:
    """Keeps one entry for each program that a process ran."""

    def __init__(self) -> None:
        self._all: list[_Open] = []
        self._now: dict[int, _Open] = {}
        self._gone: dict[int, _Open] = {}
        self.fresh: set[int] = set()
        """Processes that were forked and have neither run another program nor changed anything yet."""

    def note_start(self, time_ns: int, pid: int, ppid: int) -> None:
        """A process was forked: for now it runs its parent's program."""
        parent = self._now.get(ppid)
        entry = _Open(pid, ppid, parent.exe if parent else b"", parent.argv if parent else (), time_ns)
        self._all.append(entry)
        self._now[pid] = entry
        self.fresh.add(pid)

    def note_act(self, pid: int) -> None:
        """A process of `fresh` changed something while it ran its parent's program: the program
        that it runs next is not to blame for that.
        """
        self.fresh.discard(pid)
        entry = self._now.get(pid)
        if entry is not None:
            entry.executed = True

    def note_exec(self, time_ns: int, pid: int, exe: bytes, argv: tuple[bytes, ...]) -> None:
        """A process began to run another program."""
        self.fresh.discard(pid)
        entry = self._now.get(pid)
        if entry is not None and not entry.executed:
            # The copy of its parent that it was between fork and exec is of no interest.
            entry.exe, entry.argv, entry.executed = exe, argv, True
            return
        if entry is not None:
            entry.ended_ns = time_ns
        # The first of all is the command, which writeaudit itself started.
        unknown = 0 if self._all else os.getpid()
        following = _Open(pid, entry.ppid if entry else unknown, exe, argv, time_ns, executed=True)
        self._all.append(following)
        self._now[pid] = following

    def note_end(self, time_ns: int, pid: int, exit_status: int | None) -> None:
        """A process ended."""
        self.fresh.discard(pid)
        entry = self._now.pop(pid, None)
        if entry is not None:
            entry.ended_ns = time_ns
            entry.exit_status = exit_status
            self._gone[pid] = entry

    def ancestors_of(self, pid: int) -> Iterator[int]:
        """Yield a process and those above it, as far as they are known."""
        while True:
            yield pid
            entry = self._now.get(pid)
            if entry is None or entry.ppid in (0, pid):
                return
            pid = entry.ppid

    def list_commands(self, pid: int) -> Iterator[tuple[bytes, ...]]:
        """Yield the command line of a process and of those above it, as far as they are known."""
        seen: set[int] = set()
        while pid not in seen:
            seen.add(pid)
            entry = self._now.get(pid) or self._gone.get(pid)
            if entry is None:
                return
            yield entry.argv
            pid = entry.ppid

    def list_processes(self) -> tuple[Process, ...]:
        """Return all entries in the order in which they began."""
        return tuple(entry.to_process() for entry in self._all)
