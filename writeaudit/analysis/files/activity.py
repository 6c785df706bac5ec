"""Paths gathered for a finding, and short texts about them."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence

from writeaudit.analysis.collector import MAX_EVIDENCE, MAX_EXAMPLES
from writeaudit.events import MAKE_OPS, REMOVE_OPS, TRANSFER_OPS, Effect, FsEvent, Op, effect_of
from writeaudit.judgement import Finding
from writeaudit.rules import rule
from writeaudit.text import escape_path, quote_name

_MAKING = MAKE_OPS | {Op.RENAME}


class PathActivity:
    """One path, and what was done there."""

    __slots__ = ("bytes", "events", "gone", "made", "mount", "ops", "path", "real", "seq")

    def __init__(self, path: bytes) -> None:
        self.path = path
        self.seq = 0
        """The event that proves it: the first, or the first that really changed something."""
        self.events = 0
        self.bytes = 0
        self.ops: dict[Op, int] = {}
        self.real = False
        """Whether something changed, rather than that a file was opened for writing and left as it was."""
        self.made = False
        self.gone = False
        """Whether the name was made in this run; whether it was taken away after all."""
        self.mount: int | None = None

    @property
    def passing(self) -> bool:
        """Whether it was there for a while only: a temporary file."""
        return self.made and self.gone

    def count_event(self, event: FsEvent, *, on_source: bool = False) -> None:
        """Count one more event here; ``on_source``: its source is this path."""
        op = event.op
        self.mount = event.source_mount if on_source else event.mount
        if on_source:
            self.gone = op is Op.RENAME
        elif op in REMOVE_OPS:
            self.gone = True
        else:
            self.made = self.made or event.created or op in _MAKING
            self.gone = False
        self.events += 1
        self.ops[op] = self.ops.get(op, 0) + 1
        if op in TRANSFER_OPS:
            self.bytes += event.bytes or 0
        if self.real:
            return
        self.real = effect_of(event) is Effect.CHANGED
        if self.real or not self.seq:
            self.seq = event.seq


def pick_evidence(activities: Iterable[PathActivity]) -> tuple[int, ...]:
    """Return the first seq numbers that prove the places."""
    return tuple(sorted(activity.seq for activity in activities)[:MAX_EVIDENCE])


def count_operations(activities: Iterable[PathActivity]) -> dict[str, int]:
    """Return the operations on all places together, the most frequent first."""
    total: Counter[str] = Counter()
    for activity in activities:
        for op, count in activity.ops.items():
            total[op.value] += count
    return dict(total.most_common())


def pick_examples(activities: Sequence[PathActivity]) -> list[str]:
    """Return the first paths, shown: those that last before those that were there for a while."""
    return [escape_path(activity.path) for activity in _lasting_first(activities, MAX_EXAMPLES)]


def name_paths(activities: Sequence[PathActivity], most: int = 3) -> str:
    """Return ``/a, /b, /c and 7 more``, each name in backticks; temporary files are named last."""
    named = ", ".join(quote_name(activity.path) for activity in _lasting_first(activities, most))
    more = len(activities) - most
    return f"{named} and {more:,} more" if more > 0 else named


def _lasting_first(activities: Sequence[PathActivity], most: int) -> list[PathActivity]:
    return sorted(activities, key=lambda activity: activity.passing)[:most]


def in_words(ops: dict[str, int]) -> str:
    """Return counts of operations as ``open 12, mkdir 3``."""
    return ", ".join(f"{name} {count:,}" for name, count in ops.items())


def common_directory(activities: Sequence[PathActivity]) -> bytes:
    """Return the longest directory that all places are or lie in; a single place's own directory.

    b"/" where nothing joins them: names that could not be made absolute lie in no directory.
    """
    paths = {activity.path for activity in activities}
    top = min(paths, key=len)
    if len(paths) > 1 and top != b"/" and all(path == top or path.startswith(top + b"/") for path in paths):
        return top
    directories = {os.path.dirname(path) or b"/" for path in paths}
    if len(directories) > 1 and not all(directory.startswith(b"/") for directory in directories):
        return b"/"
    return os.path.commonpath(directories)


def by_directory(
    activities: Iterable[PathActivity], home: bytes | None, most: int
) -> list[list[PathActivity]]:
    """Divide places into at most ``most`` groups by where they lie, the largest group first.

    By the directory below the home directory or else the first two components; by the first
    alone where that makes too many; and what is left goes into one last group.
    """
    all_activities = list(activities)
    groups = _group_activities(all_activities, home, 2)
    if len(groups) > most:
        groups = _group_activities(all_activities, home, 1)
    ordered = sorted(groups.values(), key=len, reverse=True)
    if len(ordered) > most:
        ordered[most - 1 :] = [[activity for group in ordered[most - 1 :] for activity in group]]
    return ordered


def _group_activities(
    activities: Iterable[PathActivity], home: bytes | None, depth: int
) -> dict[bytes, list[PathActivity]]:
    groups: dict[bytes, list[PathActivity]] = {}
    for activity in activities:
        groups.setdefault(_cut_path(activity.path, home, depth), []).append(activity)
    return groups


def _cut_path(path: bytes, home: bytes | None, depth: int) -> bytes:
    if home and home != b"/" and path.startswith(home + b"/"):
        rest = path[len(home) + 1 :].split(b"/", 1)
        return home if depth == 1 or len(rest) == 1 else home + b"/" + rest[0]
    parts = os.path.dirname(path).split(b"/")
    return b"/".join(parts[: depth + 1])


def finding_of(
    rule_id: str,
    activities: list[PathActivity],
    message: str,
    cause: str,
    advice: str,
    *,
    with_operations: bool = False,
) -> Finding:
    """Return what a rule finds about some paths, as serious as the rule says.

    ``with_operations``: its details say how often each operation was made.
    """
    registered = rule(rule_id)
    details: dict[str, object] = {"ops": count_operations(activities)} if with_operations else {}
    return Finding(
        rule=registered.id,
        title=registered.title,
        severity=registered.severity,
        message=message,
        count=sum(activity.events for activity in activities),
        files=len(activities),
        evidence=pick_evidence(activities),
        cause=cause,
        advice=(advice,),
        details={**details, "examples": pick_examples(activities)},
    )
