"""The processes of a run as a tree, folded by program: 500 runs of gcc below one make are one line.

A *life* is a process between two execs of it (`audit.Process`). Lives of the same program below the same
line are one *group*. Groups are numbered depth first, so a group and all below it are a range of numbers.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from writeaudit.audit import Process
from writeaudit.paths import last_component
from writeaudit.text import escape_path

_NOBODY = -1
_DEEPEST = 64
"""What is deeper stands at this depth: a program can start itself for ever."""


@dataclass(slots=True)
class Sums:
    """What was changed."""

    files: int = 0
    bytes: int = 0
    violations: int = 0


@dataclass(slots=True)
class Group:
    """Lives of one program in one place of the tree."""

    number: int
    name: str
    """The program's name, shown text."""
    depth: int
    is_exec: bool
    """Whether these programs took the place of the one above, in the same processes."""
    lives: list[Process] = field(default_factory=list)
    end: int = 0
    """The number after that of the last group below this one."""
    own: Sums = field(default_factory=Sums)
    whole: Sums = field(default_factory=Sums)
    """With all below."""


@dataclass(slots=True)
class _Draft:
    name: str
    is_exec: bool
    lives: list[int] = field(default_factory=list)
    below: dict[tuple[str, bool], _Draft] = field(default_factory=dict)


class ProcessTree:
    """Processes, folded, and what each changed. Feed it every change, then call `finish`."""

    def __init__(self, processes: Sequence[Process]) -> None:
        self._processes = processes
        self._by_pid: dict[int, list[int]] = defaultdict(list)
        for number, process in enumerate(processes):
            self._by_pid[process.pid].append(number)
        for lives in self._by_pid.values():
            lives.sort(key=lambda number: processes[number].started_ns)
        self._starts = {
            pid: [processes[number].started_ns for number in lives]
            for pid, lives in self._by_pid.items()
            if len(lives) > 1
        }
        self.groups: list[Group] = []
        self._parents: list[int] = []
        self.pids = [process.pid for process in processes]
        """By number of the life."""
        self.group_numbers = [_NOBODY] * len(processes)
        """By number of the life; -1 for processes that the recording does not know."""
        self._number_groups(self._fold())
        self._first: array[int] = array("i")
        self._others: dict[int, set[int]] = {}
        self._strangers: dict[int, int] = {}

    def find_life(self, pid: int, time_ns: int) -> int:
        """Return the number of the program that a process ran at a time."""
        lives = self._by_pid.get(pid)
        if lives is None:
            stranger = self._strangers.get(pid)
            if stranger is None:
                stranger = self._strangers[pid] = len(self.pids)
                self.pids.append(pid)
                self.group_numbers.append(_NOBODY)
            return stranger
        if len(lives) == 1:
            return lives[0]
        return lives[max(0, bisect_right(self._starts[pid], time_ns) - 1)]

    def add_change(self, life: int, file: int, bytes_: int, *, is_violation: bool) -> None:
        """Count a change of one file (its number, -1 for none)."""
        number = self.group_numbers[life]
        if number < 0:
            return
        own = self.groups[number].own
        own.bytes += bytes_
        own.violations += is_violation
        if file < 0:
            return
        if file >= len(self._first):
            self._first.extend([_NOBODY] * (file + 1 - len(self._first)))
        first = self._first[file]
        if first == _NOBODY:
            self._first[file] = number
            own.files += 1
        elif first != number:
            others = self._others.setdefault(file, set())
            if number not in others:
                others.add(number)
                own.files += 1

    def finish(self) -> None:
        """Add the figures up along the tree. A file that several programs changed counts once above them."""
        for group in self.groups:
            group.whole = Sums(group.own.files, group.own.bytes, group.own.violations)
        for group in reversed(self.groups):
            parent = self._parents[group.number]
            if parent >= 0:
                whole = self.groups[parent].whole
                whole.files += group.whole.files
                whole.bytes += group.whole.bytes
                whole.violations += group.whole.violations
        shared = Counter(frozenset((self._first[file], *others)) for file, others in self._others.items())
        for numbers, files in shared.items():
            met: Counter[int] = Counter()
            for number in numbers:
                above = number
                while above >= 0:
                    met[above] += 1
                    above = self._parents[above]
            for number, times in met.items():
                self.groups[number].whole.files -= (times - 1) * files

    def _fold(self) -> _Draft:
        """Return the root of the folded tree."""
        processes = self._processes
        children: dict[int, list[int]] = defaultdict(list)
        roots: list[int] = []
        for pid, lives in self._by_pid.items():
            parent = processes[lives[0]].ppid
            known = parent != pid and parent in self._by_pid
            (children[self._life_at(parent, lives[0])] if known else roots).append(pid)
        root = _Draft("", False)
        seen: set[int] = set()
        # Reused pids can make a ring; whatever the walk from the roots misses starts anew.
        for start in (*roots, *self._by_pid):
            stack = [(start, root, 0)]
            while stack:
                pid, above, depth = stack.pop()
                if pid in seen:
                    continue
                seen.add(pid)
                for place, life in enumerate(self._by_pid[pid]):
                    process = processes[life]
                    name = escape_path(last_component(process.exe or b"".join(process.argv[:1])) or b"?")
                    key = name, place > 0
                    draft = above.below.get(key)
                    if draft is None:
                        draft = above.below[key] = _Draft(*key)
                    draft.lives.append(life)
                    below = draft if depth < _DEEPEST else above
                    stack += [(child, below, depth + 1) for child in reversed(children[life])]
        return root

    def _life_at(self, pid: int, child: int) -> int:
        lives = self._by_pid[pid]
        starts = self._starts.get(pid)
        if starts is None:
            return lives[0]
        return lives[max(0, bisect_right(starts, self._processes[child].started_ns) - 1)]

    def _number_groups(self, root: _Draft) -> None:
        stack = [(draft, _NOBODY, 0) for draft in reversed(root.below.values())]
        while stack:
            draft, parent, depth = stack.pop()
            group = Group(len(self.groups), draft.name, depth, draft.is_exec)
            self.groups.append(group)
            self._parents.append(parent)
            for life in draft.lives:
                self.group_numbers[life] = group.number
                group.lives.append(self._processes[life])
            stack += [(below, group.number, depth + 1) for below in reversed(draft.below.values())]
        for group in reversed(self.groups):
            group.end = max(group.end, group.number + 1)
            parent = self._parents[group.number]
            if parent >= 0:
                self.groups[parent].end = max(self.groups[parent].end, group.end)
