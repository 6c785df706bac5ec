"""Zones that hold for some programs only: `when = { exe = "uv" }` in a policy file.

Each set of such zones has a classifier of its own; which one judges an event depends on the program
that its process was running at that time.
"""

from __future__ import annotations

import fnmatch
import os
from bisect import bisect_right
from collections.abc import Callable, Iterable

from writeaudit.audit import Process
from writeaudit.events import FsEvent
from writeaudit.frames import Places
from writeaudit.judgement import Judged, Policy, Sides
from writeaudit.policy.classify import Classifier
from writeaudit.policy.framed import FramedClassifier, container_policy


def classifier_for(policy: Policy, processes: Iterable[Process], places: Places | None = None) -> Classifier:
    """Return what judges by `policy` the events of these processes; `places` tells where they are."""
    if places is not None and places.needed:
        kept = tuple(processes)
        inside = classifier_for(container_policy(policy), kept)
        return FramedClassifier(classifier_for(policy, kept), inside, places)
    if all(zone.program is None for zone in policy.zones):
        return Classifier(policy)
    return ProgramClassifier(policy, processes)


class ProgramClassifier(Classifier):
    """Judges each event by the zones that hold for its program."""

    __slots__ = ("_by_program", "_held", "_lives_of")

    def __init__(self, policy: Policy, processes: Iterable[Process]) -> None:
        super().__init__(policy)
        wanted = {zone.program for zone in policy.zones if zone.program is not None}
        self._by_program: dict[frozenset[str], Classifier] = {}
        self._held: dict[int, tuple[list[int], list[frozenset[str]]]] = {}
        """Of each process: since when it ran which of the wanted programs."""
        for process in sorted(processes, key=lambda each: each.started_ns):
            times, programs = self._held.setdefault(process.pid, ([], []))
            times.append(process.started_ns)
            programs.append(frozenset(name for name in wanted if runs_program(process, name)))
        self._lives_of: Callable[[Classifier], None] | None = None

    def judge(self, event: FsEvent) -> Judged:
        """See `Classifier.judge`."""
        return self._classifier_for(event).judge(event)

    def judge_sides(self, event: FsEvent) -> Sides:
        """See `Classifier.judge_sides`."""
        return self._classifier_for(event).judge_sides(event)

    def look_ahead(self, moves: Iterable[FsEvent], events: Callable[[], Iterable[FsEvent]]) -> None:
        """See `Classifier.look_ahead`."""
        kept = list(moves)
        super().look_ahead(kept, events)
        self._lives_of = lambda made: made.look_ahead(kept, events)

    def _classifier_for(self, event: FsEvent) -> Classifier:
        times, programs = self._held.get(event.pid, ([], []))
        at = bisect_right(times, event.time_ns) - 1
        held = programs[max(at, 0)] if programs else frozenset[str]()
        found = self._by_program.get(held)
        if found is None:
            zones = tuple(z for z in self.policy.zones if z.program is None or z.program in held)
            found = self._by_program[held] = Classifier(self.policy._replace(zones=zones))
            if self._lives_of is not None:
                self._lives_of(found)
        return found


def runs_program(process: Process, program: str) -> bool:
    """Whether a process runs the program of this name: its file, or the script that an interpreter runs."""
    words = [process.exe, *process.argv[:2]]
    names = {os.fsdecode(os.path.basename(word)) for word in words if not word.startswith(b"-")}
    paths = {os.fsdecode(word) for word in words}
    return any(fnmatch.fnmatchcase(name, program) for name in (paths if "/" in program else names))
