"""WA201 to WA205: what the policy forbids or the system refuses, gathered by zone and place."""

from __future__ import annotations

import os
from collections.abc import Iterable

from writeaudit.analysis.collector import EVERY_OP, Context
from writeaudit.analysis.mounts import MountTable, describe
from writeaudit.analysis.places import (
    Place,
    by_directory,
    common_directory,
    evidence,
    examples,
    in_words,
    naming,
    operations,
)
from writeaudit.analysis.tools import tool_of
from writeaudit.analysis.zone_advice import ZoneAdviser
from writeaudit.events import FsEvent, Op
from writeaudit.judgement import Finding, Judged, Reason, Severity, Verdict
from writeaudit.rules import rule
from writeaudit.text import plural, show, size

_MAX_OUTSIDE = 5
"""Findings of WA202 at most, whatever the number of directories."""

_OPENED_TITLE = "opened for writing, not changed"

Places = dict[bytes, Place]


class ZoneCollector:
    """Collects violations and refused attempts."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._advice = ZoneAdviser(context, tool_of(context.policy))
        self._changes: dict[str | None, Places] = {}
        self._links: dict[str | None, Places] = {}
        self._reads: dict[str | None, Places] = {}
        self._attempts: dict[tuple[str | None, str], Places] = {}
        self._refused: dict[tuple[str | None, str], Places] = {}
        self._mounts = MountTable(context.mounts)

    @property
    def ops(self) -> frozenset[Op]:
        """All: the verdict decides."""
        return EVERY_OP

    def feed(self, event: FsEvent, judged: Judged) -> None:
        """Take the next event; those that the policy does not object to cost one comparison."""
        verdict = judged.verdict
        if verdict is Verdict.VIOLATION:
            reason = judged.reason
            if reason is Reason.LINK_COUNT:
                places = self._links.setdefault(judged.zone, {})
            elif reason is Reason.FORBIDDEN_READ:
                places = self._reads.setdefault(judged.zone, {})
            else:
                places = self._changes.setdefault(judged.zone, {})
        elif verdict is Verdict.ATTEMPT:
            places = self._attempts.setdefault((judged.zone, event.result), {})
        elif judged.reason is Reason.REFUSED and not _told_elsewhere(event):
            places = self._refused.setdefault((judged.zone, event.result), {})
        else:
            return
        on_source = judged.on_source and event.source is not None
        path = event.source if on_source and event.source is not None else event.path
        place = places.get(path)
        if place is None:
            place = places[path] = Place(path)
        place.add(event, on_source=on_source)

    def findings(self) -> list[Finding]:
        """Return the findings: changes first, then what was left unchanged, attempts, reads."""
        found: list[Finding] = []
        for zone, places in self._changes.items():
            real = [place for place in places.values() if place.real]
            mild = [place for place in places.values() if not place.real]
            if zone is None:
                found += [self._outside(group) for group in self._divide(real)]
                found += [self._opened("WA202", None, group) for group in self._divide(mild)]
            else:
                found += [self._changed(zone, group) for group in (real,) if group]
                found += [self._opened("WA201", zone, group) for group in (mild,) if group]
        found += [self._linked(zone, list(places.values())) for zone, places in self._links.items()]
        found += [
            self._attempted(zone, errno, list(places.values()))
            for (zone, errno), places in self._attempts.items()
        ]
        found += [
            self._refusal(zone, errno, list(places.values()))
            for (zone, errno), places in self._refused.items()
        ]
        found += [self._read(zone, list(places.values())) for zone, places in self._reads.items()]
        return found

    def _divide(self, places: list[Place]) -> Iterable[list[Place]]:
        if not places:
            return []
        home = self._context.run.env.get("HOME")
        return by_directory(places, os.fsencode(home) if home else None, _MAX_OUTSIDE)

    def _changed(self, zone: str, places: list[Place]) -> Finding:
        written = sum(place.bytes for place in places)
        return self._finding(
            "WA201",
            places,
            f"{plural(len(places), 'path')} changed in {self._called(zone)}: "
            f"{naming(places)} ({in_words(operations(places))}; {size(written)} written).",
            f"The policy ({self._context.policy.name}) declares zone {zone} {self._access(zone)}; nothing in "
            "it may change.",
            self._advice.changed(zone, places),
            zone,
        )

    def _outside(self, places: list[Place]) -> Finding:
        directory = common_directory(places)
        written = sum(place.bytes for place in places)
        where = show(directory) if directory != b"/" else "several directories"
        return self._finding(
            "WA202",
            places,
            f"{plural(len(places), 'path')} changed outside every zone, in {where}: "
            f"{naming(places)} ({in_words(operations(places))}; {size(written)} written).",
            f"The policy ({self._context.policy.name}) has no zone for this place, so nothing may "
            "change in it.",
            self._advice.outside(directory),
            None,
        )

    def _opened(self, rule_id: str, zone: str | None, places: list[Place]) -> Finding:
        where = "outside every zone" if zone is None else f"in {self._called(zone)}"
        return self._finding(
            rule_id,
            places,
            f"{plural(len(places), 'file')} {where} {_was(places)} opened for writing and not changed: "
            f"{naming(places)}.",
            "The open asks for write access that the run then made no use of (a lock file, say). Nothing was "
            "harmed, yet on a read-only mount the open would fail with EROFS.",
            self._advice.opened(zone, places),
            zone,
            severity=Severity.WARNING,
            title=f"{rule(rule_id).title}: {_OPENED_TITLE}",
        )

    def _linked(self, zone: str | None, places: list[Place]) -> Finding:
        return self._finding(
            "WA201",
            places,
            f"{plural(len(places), 'file')} of {self._called(zone)} got another hard link elsewhere: "
            f"{naming(places)}.",
            "A hard link changes the link count and ctime of the file that it links, not its data. A "
            "read-only mount refuses it; and whoever writes through the new name writes into the zone.",
            self._advice.linked(),
            zone,
            severity=Severity.WARNING,
            title=f"{rule('WA201').title}: link count only",
        )

    def _attempted(self, zone: str | None, errno: str, places: list[Place]) -> Finding:
        return self._finding(
            "WA203",
            places,
            self._refused_message(zone, errno, places),
            "The policy forbids these, and the system refused them before anything changed. "
            f"{self._consequence()}",
            self._advice.attempted(zone, errno, places),
            zone,
            errno=errno,
        )

    def _refusal(self, zone: str | None, errno: str, places: list[Place]) -> Finding:
        return self._finding(
            "WA205",
            places,
            self._refused_message(zone, errno, places),
            f"The policy allows these, but the system does not. {self._consequence()}",
            self._advice.refused(zone, errno),
            zone,
            severity=Severity.NOTE if self._context.run.succeeded else Severity.WARNING,
            errno=errno,
        )

    def _refused_message(self, zone: str | None, errno: str, places: list[Place]) -> str:
        tries = sum(place.events for place in places)
        where = "outside every zone" if zone is None else f"in {self._called(zone)}"
        refused = f"{'was' if tries == 1 else 'were'} refused with {errno}{self._why(errno, places)}"
        return (
            f"{plural(tries, 'attempt')} on {plural(len(places), 'path')} {where} {refused}: "
            f"{naming(places)} ({in_words(operations(places))})."
        )

    def _why(self, errno: str, places: list[Place]) -> str:
        """Return what is known of the refusal, as a clause."""
        if errno != "EROFS":
            return ""
        mounts = {self._mounts.find(place.mount, place.path) for place in places}
        named = sorted(describe(mount) for mount in mounts if mount is not None and "ro" in mount.options)
        if not named:
            return ""
        return f", as {', '.join(named)} {'is' if len(named) == 1 else 'are'} mounted read-only"

    def _consequence(self) -> str:
        if self._context.run.succeeded:
            return "The command succeeded, so it can do without them."
        if self._context.run.ended:
            return "The command failed; whether for this, its own messages say."
        return "How the command ended is not known."

    def _read(self, zone: str | None, places: list[Place]) -> Finding:
        return self._finding(
            "WA204",
            places,
            f"{plural(len(places), 'path')} read in {self._called(zone)}: {naming(places)}.",
            f"The policy ({self._context.policy.name}) declares the zone with access none.",
            self._advice.read(zone),
            zone,
        )

    def _finding(
        self,
        rule_id: str,
        places: list[Place],
        message: str,
        cause: str,
        advice: tuple[str, ...],
        zone: str | None,
        *,
        severity: Severity | None = None,
        title: str | None = None,
        errno: str | None = None,
    ) -> Finding:
        registered = rule(rule_id)
        details: dict[str, object] = {
            "zone": zone,
            "ops": operations(places),
            "examples": examples(places),
        }
        if errno is not None:
            details["errno"] = errno
        return Finding(
            rule=rule_id,
            title=title or registered.title,
            severity=severity or registered.severity,
            message=message,
            count=sum(place.events for place in places),
            bytes=sum(place.bytes for place in places),
            files=len(places),
            evidence=evidence(places),
            cause=cause,
            advice=advice,
            details=details,
        )

    def _called(self, zone: str | None) -> str:
        return f"zone {zone} ({self._access(zone)})"

    def _access(self, zone: str | None) -> str:
        for each in self._context.policy.zones:
            if each.name == zone:
                return {"ro": "read-only", "none": "no access", "rw": "read-write"}[each.access.value]
        return "unknown"


def _told_elsewhere(event: FsEvent) -> bool:
    """Whether a refused link or reflink has a rule of its own, WA103 to WA105: one refused as such,
    and not because nothing may be made in that place.
    """
    return event.op is Op.CLONE or (event.op is Op.LINK and event.result not in {"EROFS", "EACCES"})


def _was(places: list[Place]) -> str:
    return "was" if len(places) == 1 else "were"
