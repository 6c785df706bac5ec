"""Paths gathered for a finding, and told in few words."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence

from writeaudit.analysis.collector import MAX_EVIDENCE, MAX_EXAMPLES
from writeaudit.events import FsEvent, Op
from writeaudit.text import show

_WRITING = frozenset({Op.WRITE, Op.COPY, Op.CLONE})
_MAKING = frozenset({Op.MKDIR, Op.MKNOD, Op.BIND, Op.SYMLINK, Op.LINK, Op.RENAME})
_REMOVING = frozenset({Op.UNLINK, Op.RMDIR})
_DATA_CHANGES = frozenset({Op.WRITE, Op.COPY, Op.CLONE, Op.TRUNCATE, Op.FALLOCATE, Op.MMAP_WRITE})


class Place:
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

    def add(self, event: FsEvent, *, on_source: bool = False) -> None:
        """Count one more event here; ``on_source``: its source is this path."""
        op = event.op
        self.mount = event.source_mount if on_source else event.mount
        if on_source:
            self.gone = op is Op.RENAME
        elif op in _REMOVING:
            self.gone = True
        else:
            self.made = self.made or event.created or op in _MAKING
            self.gone = False
        self.events += 1
        self.ops[op] = self.ops.get(op, 0) + 1
        if op in _WRITING:
            self.bytes += event.bytes or 0
        if self.real:
            return
        self.real = changes(event)
        if self.real or not self.seq:
            self.seq = event.seq


def changes(event: FsEvent) -> bool:
    """Whether a successful event left something changed; an open for writing alone does not."""
    if event.op is Op.OPEN:
        return event.created or "trunc" in event.flags or "tmpfile" in event.flags
    if event.op in _DATA_CHANGES:
        # A call that moved no byte changed none; where the count is unknown it may have.
        return event.bytes != 0
    return True


def evidence(places: Iterable[Place]) -> tuple[int, ...]:
    """Return the first seq numbers that prove the places."""
    return tuple(sorted(place.seq for place in places)[:MAX_EVIDENCE])


def operations(places: Iterable[Place]) -> dict[str, int]:
    """Return the operations on all places together, the most frequent first."""
    total: Counter[str] = Counter()
    for place in places:
        for op, count in place.ops.items():
            total[op.value] += count
    return dict(total.most_common())


def examples(places: Sequence[Place]) -> list[str]:
    """Return the first paths, shown: those that last before those that were there for a while."""
    return [show(place.path) for place in _lasting_first(places, MAX_EXAMPLES)]


def naming(places: Sequence[Place], most: int = 3) -> str:
    """Return ``/a, /b, /c and 7 more``; temporary files are named last."""
    named = ", ".join(show(place.path) for place in _lasting_first(places, most))
    more = len(places) - most
    return f"{named} and {more:,} more" if more > 0 else named


def _lasting_first(places: Sequence[Place], most: int) -> list[Place]:
    return sorted(places, key=lambda place: place.passing)[:most]


def in_words(ops: dict[str, int]) -> str:
    """Return counts of operations as ``open 12, mkdir 3``."""
    return ", ".join(f"{name} {count:,}" for name, count in ops.items())


def common_directory(places: Sequence[Place]) -> bytes:
    """Return the longest directory that all places are or lie in; a single place's own directory.

    b"/" where nothing joins them: names that could not be made absolute lie in no directory.
    """
    paths = {place.path for place in places}
    top = min(paths, key=len)
    if len(paths) > 1 and top != b"/" and all(path == top or path.startswith(top + b"/") for path in paths):
        return top
    directories = {os.path.dirname(path) or b"/" for path in paths}
    if len(directories) > 1 and not all(directory.startswith(b"/") for directory in directories):
        return b"/"
    return os.path.commonpath(directories)


def by_directory(places: Iterable[Place], home: bytes | None, most: int) -> list[list[Place]]:
    """Divide places into at most ``most`` groups by where they lie, the largest group first.

    By the directory below the home directory or else the first two components; by the first
    alone where that makes too many; and what is left goes into one last group.
    """
    all_places = list(places)
    groups = _grouped(all_places, home, 2)
    if len(groups) > most:
        groups = _grouped(all_places, home, 1)
    ordered = sorted(groups.values(), key=len, reverse=True)
    if len(ordered) > most:
        ordered[most - 1 :] = [[place for group in ordered[most - 1 :] for place in group]]
    return ordered


def _grouped(places: Iterable[Place], home: bytes | None, depth: int) -> dict[bytes, list[Place]]:
    groups: dict[bytes, list[Place]] = {}
    for place in places:
        groups.setdefault(_top(place.path, home, depth), []).append(place)
    return groups


def _top(path: bytes, home: bytes | None, depth: int) -> bytes:
    if home and home != b"/" and path.startswith(home + b"/"):
        rest = path[len(home) + 1 :].split(b"/", 1)
        return home if depth == 1 or len(rest) == 1 else home + b"/" + rest[0]
    parts = os.path.dirname(path).split(b"/")
    return b"/".join(parts[: depth + 1])
