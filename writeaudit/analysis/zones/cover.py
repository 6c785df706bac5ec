"""Options that allow what a finding is about, and no more: proven before they are shown."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from writeaudit.analysis.collector import RunContext
from writeaudit.analysis.files.activity import PathActivity
from writeaudit.judgement import Zone, ZoneAccess
from writeaudit.paths import as_pattern
from writeaudit.places import is_too_wide, starts_or_grants
from writeaudit.text import shell_word

FEW = 4
"""Up to so many places are named one by one."""
_ZONE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*")
_RANDOM = re.compile(
    rb"[0-9a-f]{8,}|(?:tmp|temp|atomic-write|\.lock)[-_.]?[A-Za-z0-9_]{6,}|[Xx_-][0-9]{3,}_[0-9a-f]+|"
    rb"(?=[A-Za-z0-9]*[0-9])(?=[A-Za-z0-9]*[A-Z])(?=[A-Za-z0-9]*[a-z])[A-Za-z0-9]{6,}\Z"
)
_BUILT_IN = frozenset({"devices", "inherited"})


class Cover(NamedTuple):
    """How the places of a finding can be allowed."""

    options: str
    """``--zone …`` options, to be pasted; empty if there are none that do it."""
    sensitive: tuple[bytes, ...]
    """Files that start programs or grant access: never to be allowed by pasting a line."""
    wide: bytes | None
    """The directory that would have to be opened, where that is too much."""
    passing: bool
    """Whether some names are others in each run."""


def is_random(name: bytes) -> bool:
    """Whether a name looks as if it were another one in the next run."""
    return _RANDOM.search(name) is not None


class Coverer:
    """Finds options, by the policy of one run."""

    def __init__(self, context: RunContext) -> None:
        self._context = context
        home = context.run.env.get("HOME")
        self._home = os.fsencode(home) if home else None
        self._protected = tuple(
            pattern
            for zone in context.policy.zones
            if zone.access is not ZoneAccess.READ_WRITE and zone.name not in _BUILT_IN
            for pattern in zone.patterns
        )

    def find_cover(self, activities: Sequence[PathActivity]) -> Cover:
        """Return options for all of these places (at least one)."""
        sensitive = tuple(
            dict.fromkeys(activity.path for activity in activities if starts_or_grants(activity.path))
        )
        rest = [activity for activity in activities if activity.path not in sensitive]
        wide: bytes | None = None
        passing = False
        wanted: dict[bytes, None] = {}
        for activity in rest:
            # Of a temporary file the name is another one in the next run.
            if activity.passing or (
                is_random(os.path.basename(activity.path)) and not self._lies_below(activity, rest)
            ):
                passing = True
                directory = os.path.dirname(activity.path)
                if self._too_wide(directory):
                    wide = wide or directory
                else:
                    wanted[directory] = None
            else:
                wanted[activity.path] = None
        if wide is not None or not all(path.startswith(b"/") for path in wanted):
            return Cover("", sensitive, wide, passing)
        tops = _keep_topmost(wanted)
        if len(tops) > FEW:
            tops, wide = self._gather_directories(tops)
        if not tops or wide is not None:
            return Cover("", sensitive, wide, passing)
        options = self.format_options([(path, "NAME") for path in tops])
        paths = [activity.path for activity in rest]
        return Cover(options if self._prove_options(tops, paths) else "", sensitive, None, passing)

    def directory_of(self, path: bytes) -> bytes | None:
        """Return the directory of a path, None if to open it would be too much."""
        found = os.path.dirname(path)
        return None if self._too_wide(found) else found

    def widen_zone(self, zone: Zone, access: ZoneAccess = ZoneAccess.READ_WRITE) -> str:
        """Return the options that give a zone another access, empty if none can."""
        patterns = list(zone.patterns)
        if not patterns or len(patterns) > FEW or not _ZONE_NAME.fullmatch(zone.name):
            return ""
        plain = [pattern for pattern in patterns if not any(mark in pattern for mark in b"*?[")]
        if access is ZoneAccess.READ_WRITE and any(self._too_wide(path, own=zone) for path in plain):
            return ""
        words = [
            shell_word(b"%b=%b:%b" % (zone.name.encode(), each.replace(b"$", b"$$"), access.value.encode()))
            for each in patterns
        ]
        return " ".join(f"--zone {word}" for word in words)

    def format_options(self, named: Iterable[tuple[bytes, str]]) -> str:
        """Return ``--zone`` options for paths."""
        free = self._free_name()
        return " ".join(
            "--zone "
            + shell_word(b"%b=%b:rw" % ((free if name == "NAME" else name).encode(), as_pattern(path)))
            for path, name in named
        )

    def _free_name(self) -> str:
        """Return a name that no zone has: an option replaces the zone of its name."""
        taken = {zone.name for zone in self._context.policy.zones}
        return next(
            name for name in ("NAME", *(f"NAME{number}" for number in range(2, 999))) if name not in taken
        )

    def _prove_options(self, tops: Sequence[bytes], paths: Sequence[bytes]) -> bool:
        """Whether these options do allow the paths."""
        trial = self._context.trial
        if trial is None:
            return True
        free = self._free_name()
        zones = [os.fsdecode(b"%b=%b:rw" % (free.encode(), as_pattern(path))) for path in tops]
        return trial.count_allowed(paths, zones=zones) == len(paths)

    def _too_wide(self, directory: bytes, own: Zone | None = None) -> bool:
        others = tuple(pattern for pattern in self._protected if own is None or pattern not in own.patterns)
        return is_too_wide(directory, self._home, others)

    def _gather_directories(self, tops: list[bytes]) -> tuple[list[bytes], bytes | None]:
        """Return a few directories that hold all of these, or the one that would be too much."""
        while len(tops) > FEW:
            # The deepest first: what is lifted to its directory joins what lies beside it.
            deepest = max(tops, key=lambda each: each.count(b"/"))
            directory = os.path.dirname(deepest)
            if self._too_wide(directory):
                return [], directory
            tops = _keep_topmost({**dict.fromkeys(tops), directory: None})
        return tops, None

    def _lies_below(self, activity: PathActivity, activities: Sequence[PathActivity]) -> bool:
        """Whether a place lies below another one of the finding, which has a name of its own."""
        return any(
            activity.path.startswith(other.path + b"/") and not is_random(os.path.basename(other.path))
            for other in activities[:64]
        )


def _keep_topmost(paths: Iterable[bytes]) -> list[bytes]:
    """Return the paths that lie below none of the others."""
    tops: list[bytes] = []
    for path in sorted(paths, key=lambda each: each.replace(b"/", b"\0")):
        if not tops or not (path == tops[-1] or path.startswith(tops[-1].rstrip(b"/") + b"/")):
            tops.append(path)
    return tops
