"""A policy as something to be enforced: where the writing begins, and what may be done below a directory."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple, assert_never

from writeaudit.judgement import Policy, Zone, ZoneAccess
from writeaudit.policy.zones import (
    ZoneMatcher,
    is_built_in,
    literal_directory,
    literal_name,
    with_devices,
)
from writeaudit.text import escape_path, escape_text

_IN_ZONE, _OUTSIDE, _READING = "WA201", "WA202", "WA204"
"""The rules of a change in a zone, of one outside every zone, and of a read."""


class Start(NamedTuple):
    """Where to look for what one pattern of a writable zone covers."""

    path: bytes
    """The part of the pattern before its first wildcard."""
    whole: bool
    """Whether the pattern has no wildcard."""
    zone: str
    built_in: bool
    """Whether nobody asked for it: the zone ``devices``."""


class PolicyReach:
    """What a policy lets every program do, place by place.

    What cannot hold for every program alike is taken in the stricter sense, and `remarks` says so: a writable
    zone of one program is not writable, a protected one is protected from all. Nowhere is more allowed than
    a `Classifier` would allow.
    """

    def __init__(self, policy: Policy) -> None:
        remarks: list[str] = []
        general: list[Zone] = []
        protecting: list[Zone] = []
        for zone in with_devices(policy).zones:
            if zone.program is None:
                general.append(zone)
                continue
            who = f"the zone {escape_text(zone.name)} is for {escape_text(zone.program)} only"
            if zone.access is ZoneAccess.READ_WRITE:
                remarks.append(f"{who}, which cannot be enforced: nobody may write there")
                continue
            remarks.append(f"{who}, which cannot be enforced: it holds for every program")
            protecting.append(zone._replace(program=None))
        self._views = tuple(ZoneMatcher(zones) for zones in _views_of(general, protecting))
        """The zones as different programs have them. The strictest view counts: a read-only zone of one
        program must not open to the others what they may not read."""
        self._excepted = {
            rule: ZoneMatcher((Zone(rule, ZoneAccess.READ_WRITE, _excepted_patterns(policy, rule)),))
            for rule in (_IN_ZONE, _OUTSIDE, _READING)
        }
        self.hides_places = any(
            zone.access is ZoneAccess.NONE and zone.patterns for zone in (*general, *protecting)
        )
        """Whether there is a zone that may not be read."""
        self.protected = tuple(
            literal_directory(pattern) or b"/"
            for zone in (*general, *protecting)
            if zone.access is not ZoneAccess.READ_WRITE
            for pattern in zone.patterns
            if _is_literal(pattern)
        )
        """The protected places that have one name."""
        excepted = tuple(_excepted_zones(policy))
        self.starts = tuple(
            Start(
                literal_directory(pattern) or b"/",
                _is_literal(pattern),
                zone.name,
                is_built_in(zone),
            )
            for zone in (*general, *excepted)
            if zone.access is ZoneAccess.READ_WRITE
            for pattern in zone.patterns
        )
        remarks += self._unopened(policy)
        self.remarks = tuple(remarks)

    def _unopened(self, policy: Policy) -> Iterable[str]:
        """Yield a sentence for each excepted place that could be written but not read."""
        for number, each in enumerate(policy.exemptions, 1):
            for pattern in each.patterns if _IN_ZONE in each.rules else ():
                path = literal_directory(pattern) or b"/"
                if _is_literal(pattern) and self.access_at(path) is ZoneAccess.NONE:
                    yield (
                        f"exception {number} opens nothing at {escape_path(path)}, which may not be read: "
                        f"it would need {_READING} as well"
                    )

    def access_at(self, path: bytes) -> ZoneAccess | None:
        """Return the access of the zone that a path lies in, exceptions counted; None outside every zone."""
        return max(self._accesses_at(path), key=_strictness_of)

    def _accesses_at(self, path: bytes) -> list[ZoneAccess | None]:
        """Return what each view says of a path."""
        found = [_access_of(view.find_zone(path)) for view in self._views]
        if all(access is ZoneAccess.READ_WRITE for access in found):
            return found
        excepted = frozenset(
            rule for rule, matcher in self._excepted.items() if matcher.find_zone(path) is not None
        )
        return [_except_access(access, excepted) for access in found]

    def zone_name(self, path: bytes) -> str:
        """Return what to call the place that a path lies in: ``zone cache (ro)``."""
        zone = max(
            (view.find_zone(path) for view in self._views), key=lambda z: _strictness_of(_access_of(z))
        )
        return "no zone" if zone is None else f"zone {escape_text(zone.name)} ({zone.access.value})"

    def accesses_below(self, directory: bytes) -> frozenset[ZoneAccess]:
        """Return the accesses that something below a directory may have, beside the directory's own."""
        here = self.access_at(directory)
        sets = self._excepted_below(directory)
        found: set[ZoneAccess | None] = set()
        for view in self._views:
            # The directory's own access goes on below, with other exceptions or where another view counted.
            own = _access_of(view.find_zone(directory))
            found |= {_except_access(own, excepted) for excepted in sets} - {here}
        for view in self._views:
            for access in view.accesses_below(directory):
                found |= {_except_access(access, excepted) for excepted in sets}
        return frozenset(ZoneAccess.READ_ONLY if each is None else each for each in found)

    def _excepted_below(self, directory: bytes) -> set[frozenset[str]]:
        """Return the sets of rules that may be excepted for something below a directory."""
        sets = {frozenset[str]()}
        for rule, matcher in self._excepted.items():
            if matcher.find_zone(directory) is not None:
                sets = {each | {rule} for each in sets}
            elif matcher.accesses_below(directory):
                sets |= {each | {rule} for each in sets}
        return sets


def _views_of(general: Sequence[Zone], protecting: Sequence[Zone]) -> list[tuple[Zone, ...]]:
    """Return sets of zones; the strictest of their answers is the strictest that any program gets.

    A protected zone of a program that outranks all others decides for that program. So it is enough to add
    those of each access together, and apart from the other access.
    """
    views = [tuple(general)]
    for access in (ZoneAccess.READ_ONLY, ZoneAccess.NONE):
        added = [zone for zone in protecting if zone.access is access]
        if added:
            views.append((*general, *added))
    return views


def _access_of(zone: Zone | None) -> ZoneAccess | None:
    return None if zone is None else zone.access


def _strictness_of(access: ZoneAccess | None) -> int:
    match access:
        case ZoneAccess.READ_WRITE:
            return 0
        case None:
            return 1
        case ZoneAccess.READ_ONLY:
            return 2
        case ZoneAccess.NONE:
            return 3
    assert_never(access)


def _except_access(access: ZoneAccess | None, excepted: frozenset[str]) -> ZoneAccess | None:
    """Return an access where changes and reads are excepted that are reported under some rules.

    Where a place may be written but not read, nothing is allowed: no access says that.
    """
    if access is None:
        return ZoneAccess.READ_WRITE if _OUTSIDE in excepted else None
    if access is ZoneAccess.NONE:
        if _READING not in excepted:
            return access
        access = ZoneAccess.READ_ONLY
    return ZoneAccess.READ_WRITE if _IN_ZONE in excepted else access


def _is_literal(pattern: bytes) -> bool:
    parts = [part for part in pattern.split(b"/") if part]
    return all(literal_name(part) is not None for part in parts)


def _excepted_patterns(policy: Policy, *rules: str) -> tuple[bytes, ...]:
    """Return where one of some rules is excepted."""
    return tuple(
        pattern
        for each in policy.exemptions
        if not each.rules or not set(rules).isdisjoint(each.rules)
        for pattern in each.patterns
    )


def _excepted_zones(policy: Policy) -> Iterable[Zone]:
    """Yield the exceptions that may make a place writable, as zones."""
    for number, each in enumerate(policy.exemptions, 1):
        if not each.rules or not {_IN_ZONE, _OUTSIDE}.isdisjoint(each.rules):
            yield Zone(f"exception {number}", ZoneAccess.READ_WRITE, each.patterns)
