"""Whose doing a finding is: the program of each event that proves it, and who started that program."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Collection, Iterable, Sequence

from writeaudit.analysis.processes import ProcessTable, shorten_command
from writeaudit.audit import Process
from writeaudit.events import FsEvent
from writeaudit.judgement import Actor, Finding
from writeaudit.text import escape_path

_MOST = 20
"""How many programs a finding names."""
_PACKAGES = (
    re.compile(rb"/node_modules/((?:@[^/@\0]+/)?[^/.@\0][^/\0]*)(?:/|\Z)"),
    re.compile(rb"/pip-(?:install|req-build|build)-[^/]+/([A-Za-z0-9][\w.-]*?)_[0-9a-f]{8,}(?:/|\Z)"),
    re.compile(rb"/site-packages/([A-Za-z0-9][\w-]*)/"),
)
"""Where the path of a script tells which package it belongs to: that of the innermost directory."""


def attach_actors(
    findings: Sequence[Finding],
    table: ProcessTable,
    pick: Callable[[Collection[int]], Iterable[FsEvent]],
) -> list[Finding]:
    """Return the findings with their actors; ``pick`` returns the events of these numbers."""
    wanted = {seq for finding in findings for seq in finding.evidence}
    if not wanted:
        return list(findings)
    events = {event.seq: (event.pid, event.time_ns) for event in pick(wanted)}
    return [_attach_actors(finding, table, events) for finding in findings]


def _attach_actors(finding: Finding, table: ProcessTable, events: dict[int, tuple[int, int]]) -> Finding:
    numbers: dict[tuple[int, int], int] = {}
    actors: list[Actor] = []
    whose: list[int | None] = []
    for seq in finding.evidence:
        known = events.get(seq)
        if known is None:
            whose.append(None)
            continue
        pid, time_ns = known
        program = table.find_program(pid, time_ns)
        key = pid, -1 if program is None else program.started_ns
        if key not in numbers:
            if len(actors) >= _MOST:
                whose.append(None)
                continue
            numbers[key] = len(actors)
            actors.append(_find_actor(pid, program, table))
        whose.append(numbers[key])
    return dataclasses.replace(finding, actors=tuple(actors), evidence_actors=tuple(whose))


def _find_actor(pid: int, program: Process | None, table: ProcessTable) -> Actor:
    if program is None:
        return Actor(pid)
    parent = table.find_parent(program)
    return Actor(
        pid,
        shorten_command(program),
        escape_path(program.exe),
        program.ppid,
        "" if parent is None else shorten_command(parent),
        _find_package(program, table),
    )


def _find_package(program: Process | None, table: ProcessTable) -> str:
    """Return the npm or Python package whose script a program is, or was started by; empty if unknown."""
    for _ in range(8):
        if program is None:
            return ""
        for word in (*program.argv[:4], program.exe):
            for pattern in _PACKAGES:
                found = pattern.findall(word)
                if found:
                    return escape_path(found[-1])
        program = table.find_parent(program)
    return ""
