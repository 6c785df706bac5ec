"""A policy as something to be enforced: where the writing begins, and what may be done below a directory."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from writeaudit.judgement import Policy, Zone, ZoneAccess
from writeaudit.policy.zones import (
    ZoneMatcher,
    is_built_in,
    literal_directory,
    literal_name,
    with_devices,
)
from writeaudit.text import escape_text

_CHANGES = frozenset({"WA201", "WA202"})


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
    zone of one program is not writable, a protected one is protected from all.
    """

    def __init__(self, policy: Policy) -> None:
        remarks: list[str] = []
        zones: list[Zone] = []
        for zone in (*with_devices(policy).zones, *_excepted_zones(policy)):
            if zone.program is not None:
                who = f"the zone {escape_text(zone.name)} is for {escape_text(zone.program)} only"
                if zone.access is ZoneAccess.READ_WRITE:
                    remarks.append(f"{who}, which cannot be enforced: nobody may write there")
                    continue
                remarks.append(f"{who}, which cannot be enforced: it holds for every program")
            zones.append(zone._replace(program=None))
        self._matcher = ZoneMatcher(tuple(zones))
        self.remarks = tuple(remarks)
        self.hides_places = any(zone.access is ZoneAccess.NONE and zone.patterns for zone in zones)
        """Whether there is a zone that may not be read."""
        self.starts = tuple(
            Start(
                literal_directory(pattern) or b"/",
                _is_literal(pattern),
                zone.name,
                is_built_in(zone),
            )
            for zone in zones
            if zone.access is ZoneAccess.READ_WRITE
            for pattern in zone.patterns
        )

    def access_at(self, path: bytes) -> ZoneAccess | None:
        """Return the access of the zone that a path lies in; None outside every zone."""
        zone = self._matcher.find_zone(path)
        return None if zone is None else zone.access

    def zone_name(self, path: bytes) -> str:
        """Return what to call the place that a path lies in: ``zone cache (ro)``."""
        zone = self._matcher.find_zone(path)
        return "no zone" if zone is None else f"zone {escape_text(zone.name)} ({zone.access.value})"

    def accesses_below(self, directory: bytes) -> frozenset[ZoneAccess]:
        """Return the accesses of the zones of which something may lie below a directory, beside its own."""
        return self._matcher.accesses_below(directory)


def _is_literal(pattern: bytes) -> bool:
    parts = [part for part in pattern.split(b"/") if part]
    return all(literal_name(part) is not None for part in parts)


def _excepted_zones(policy: Policy) -> Iterable[Zone]:
    for number, each in enumerate(policy.exemptions, 1):
        if not each.rules or _CHANGES & set(each.rules):
            yield Zone(f"exception {number}", ZoneAccess.READ_WRITE, each.patterns)
