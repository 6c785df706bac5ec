"""WA201 to WA205: what the policy forbids or the system refuses, gathered by zone and place."""

from __future__ import annotations

import os
from collections.abc import Iterable

from writeaudit.analysis.collector import EVERY_OP, RunContext
from writeaudit.analysis.files.activity import (
    PathActivity,
    by_directory,
    common_directory,
    count_operations,
    in_words,
    name_paths,
    pick_evidence,
    pick_examples,
)
from writeaudit.analysis.installers import installer_of
from writeaudit.analysis.zones.advice import ZoneAdviser
from writeaudit.analysis.zones.refusals import as_json, explain_refusal, is_confined, moved_by
from writeaudit.analysis.zones.unjudged import unjudged_finding
from writeaudit.events import FsEvent, Op
from writeaudit.judgement import Finding, Judged, Reason, Severity, Verdict
from writeaudit.rules import rule
from writeaudit.text import plural, quote_name, show_zone, size

_MAX_OUTSIDE = 5
"""Findings of WA202 at most, whatever the number of directories."""

_OPENED_TITLE = "opened for writing, not changed"

Places = dict[bytes, PathActivity]


class ZoneCollector:
    """Collects violations and refused attempts."""

    def __init__(self, context: RunContext) -> None:
        self._context = context
        self._advice = ZoneAdviser(context, installer_of(context.policy))
        self._changes: dict[str | None, Places] = {}
        self._links: dict[str | None, Places] = {}
        self._reads: dict[str | None, Places] = {}
        self._attempts: dict[tuple[str | None, str], Places] = {}
        self._refused: dict[tuple[str | None, str], Places] = {}
        self._unjudged: Places = {}
        self._setup: Places = {}
        """The same, by container runtimes for their own purposes."""
        self._asked: dict[tuple[str | None, str], Places] = {}
        """Questions, by access(2), whether something may be written that the policy allows."""

    @property
    def ops(self) -> frozenset[Op]:
        """All: the verdict decides."""
        return EVERY_OP

    def wants_operation(self, _op: Op, judged: Judged, /) -> bool:
        """Only what the policy or the system objects to."""
        if judged.verdict is Verdict.ALLOWED:
            return judged.reason is Reason.OUTSIDE
        objects = judged.verdict is Verdict.VIOLATION or judged.verdict is Verdict.ATTEMPT
        return objects or judged.reason is Reason.REFUSED

    def add_event(self, event: FsEvent, judged: Judged) -> None:
        """Take the next event."""
        verdict = judged.verdict
        if verdict is Verdict.VIOLATION:
            reason = judged.reason
            if reason is Reason.LINK_COUNT:
                activities = self._links.setdefault(judged.zone, {})
            elif reason is Reason.FORBIDDEN_READ:
                activities = self._reads.setdefault(judged.zone, {})
            else:
                activities = self._changes.setdefault(judged.zone, {})
        elif verdict is Verdict.ATTEMPT:
            activities = self._attempts.setdefault((judged.zone, event.result), {})
        elif verdict is Verdict.ALLOWED and judged.reason is Reason.OUTSIDE:
            activities = self._setup if self._context.setup.contains_event(event) else self._unjudged
        elif judged.reason is Reason.REFUSED and event.op is Op.ACCESS:
            activities = self._asked.setdefault((judged.zone, event.result), {})
        elif judged.reason is Reason.REFUSED and not _told_elsewhere(event):
            activities = self._refused.setdefault((judged.zone, event.result), {})
        else:
            return
        on_source = judged.on_source and event.source is not None
        path = event.source if on_source and event.source is not None else event.path
        activity = activities.get(path)
        if activity is None:
            activity = activities[path] = PathActivity(path)
        activity.count_event(event, on_source=on_source)

    def list_findings(self) -> list[Finding]:
        """Return the findings: changes first, then what was left unchanged, attempts, reads."""
        found: list[Finding] = []
        for zone, activities in self._changes.items():
            real = [activity for activity in activities.values() if activity.real]
            minor = [activity for activity in activities.values() if not activity.real]
            if zone is None:
                found += [self._report_outside(group) for group in self._divide_activities(real)]
                found += [
                    self._report_opened("WA202", None, group) for group in self._divide_activities(minor)
                ]
            else:
                found += [self._report_changed(zone, group) for group in (real,) if group]
                found += [self._report_opened("WA201", zone, group) for group in (minor,) if group]
        found += [
            self._report_linked(zone, list(activities.values())) for zone, activities in self._links.items()
        ]
        found += [
            self._report_attempted(zone, errno, list(activities.values()))
            for (zone, errno), activities in self._attempts.items()
        ]
        found += [
            self._report_refusal(zone, errno, list(activities.values()))
            for (zone, errno), activities in self._refused.items()
        ]
        found += [
            self._told_no(zone, errno, list(activities.values()))
            for (zone, errno), activities in self._asked.items()
            if (zone, errno) not in self._refused
        ]
        found += [
            self._report_read(zone, list(activities.values())) for zone, activities in self._reads.items()
        ]
        unjudged = [activity for activity in self._unjudged.values() if activity.real]
        if unjudged:
            found.append(unjudged_finding(unjudged, self._context, self._advice))
        setup = [activity for activity in self._setup.values() if activity.real]
        if setup:
            found.append(unjudged_finding(setup, self._context, self._advice, setup=True))
        return found

    def _divide_activities(self, activities: list[PathActivity]) -> Iterable[list[PathActivity]]:
        if not activities:
            return []
        home = self._context.run.env.get("HOME")
        return by_directory(activities, os.fsencode(home) if home else None, _MAX_OUTSIDE)

    def _report_changed(self, zone: str, activities: list[PathActivity]) -> Finding:
        written = sum(activity.bytes for activity in activities)
        return self._make_finding(
            "WA201",
            activities,
            f"{plural(len(activities), 'path')} changed in {self._name_zone(zone)}: "
            f"{name_paths(activities)} ({in_words(count_operations(activities))}; {size(written)} written).",
            f"The policy ({show_zone(self._context.policy.name)}) declares zone {show_zone(zone)} "
            f"{self._describe_access(zone)}; nothing in "
            "it may change.",
            self._advice.advise_changed(zone, activities),
            zone,
        )

    def _report_outside(self, activities: list[PathActivity]) -> Finding:
        directory = common_directory(activities)
        written = sum(activity.bytes for activity in activities)
        where = quote_name(directory) if directory != b"/" else "several directories"
        return self._make_finding(
            "WA202",
            activities,
            f"{plural(len(activities), 'path')} changed outside every zone, in {where}: "
            f"{name_paths(activities)} ({in_words(count_operations(activities))}; {size(written)} written).",
            f"The policy ({show_zone(self._context.policy.name)}) has no zone for this place, so nothing may "
            "change in it.",
            self._advice.advise_outside(activities),
            None,
        )

    def _report_opened(self, rule_id: str, zone: str | None, activities: list[PathActivity]) -> Finding:
        where = "outside every zone" if zone is None else f"in {self._name_zone(zone)}"
        return self._make_finding(
            rule_id,
            activities,
            f"{plural(len(activities), 'file')} {where} {_was_or_were(activities)} opened for writing and "
            f"not changed: {name_paths(activities)}.",
            "The open asks for write access that the run then made no use of (a lock file, say). Nothing was "
            "harmed, yet on a read-only mount the open would fail with EROFS.",
            self._advice.advise_opened(zone, activities),
            zone,
            severity=Severity.WARNING,
            title=f"{rule(rule_id).title}: {_OPENED_TITLE}",
        )

    def _report_linked(self, zone: str | None, activities: list[PathActivity]) -> Finding:
        return self._make_finding(
            "WA201",
            activities,
            f"{plural(len(activities), 'file')} of {self._name_zone(zone)} got another hard link elsewhere: "
            f"{name_paths(activities)}.",
            "A hard link changes the link count and ctime of the file that it links, not its data. A "
            "read-only mount refuses it; and whoever writes through the new name writes into the zone.",
            self._advice.advise_linked(),
            zone,
            severity=Severity.WARNING,
            title=f"{rule('WA201').title}: link count only",
        )

    def _report_attempted(self, zone: str | None, errno: str, activities: list[PathActivity]) -> Finding:
        return self._make_finding(
            "WA203",
            activities,
            self._refused_message(zone, errno, activities),
            "The policy forbids these, and the system refused them before anything changed. "
            f"{self._describe_consequence()}",
            self._advice.advise_attempted(
                zone, errno, activities, confined=self._is_confined(errno, activities)
            ),
            zone,
            errno=errno,
        )

    def _report_refusal(self, zone: str | None, errno: str, activities: list[PathActivity]) -> Finding:
        return self._make_finding(
            "WA205",
            activities,
            self._refused_message(zone, errno, activities),
            f"The policy allows these, but the system does not. {self._describe_consequence()}",
            self._advice.advise_refused(
                zone,
                errno,
                moved_by(self._context, activities, zone),
                confined=self._is_confined(errno, activities),
            ),
            zone,
            severity=Severity.NOTE if self._context.run.succeeded else Severity.WARNING,
            errno=errno,
        )

    def _told_no(self, zone: str | None, errno: str, activities: list[PathActivity]) -> Finding:
        """Return what to say of a program that asked, was told no, and may have gone without."""
        asked = sum(activity.events for activity in activities)
        return self._make_finding(
            "WA205",
            activities,
            f"The command asked whether {name_paths(activities)} may be written "
            f"({in_words(count_operations(activities))}). "
            f"The answer was {errno}{explain_refusal(self._context, errno, activities)}. Programs "
            "that ask go on "
            f"without: {self._name_zone(zone)} may not have been used.",
            "access(2) answers whether a file may be written. pip, for instance, turns its cache off if it "
            "may not, and downloads everything again.",
            self._advice.advise_refused(
                zone,
                errno,
                moved_by(self._context, activities, zone),
                confined=self._is_confined(errno, activities),
            ),
            zone,
            severity=Severity.NOTE if self._context.run.succeeded else Severity.WARNING,
            title=f"{rule('WA205').title}: asked beforehand{'' if asked == 1 else ', repeatedly'}",
            errno=errno,
        )

    def _is_confined(self, errno: str, activities: list[PathActivity]) -> bool:
        return errno == "EACCES" and is_confined(self._context, activities)

    def _refused_message(self, zone: str | None, errno: str, activities: list[PathActivity]) -> str:
        tries = sum(activity.events for activity in activities)
        where = "outside every zone" if zone is None else f"in {self._name_zone(zone)}"
        why = explain_refusal(self._context, errno, activities)
        refused = f"{'was' if tries == 1 else 'were'} refused with {errno}{why}"
        return (
            f"{plural(tries, 'attempt')} on {plural(len(activities), 'path')} {where} {refused}: "
            f"{name_paths(activities)} ({in_words(count_operations(activities))})."
        )

    def _describe_consequence(self) -> str:
        if self._context.run.succeeded:
            return "The command succeeded, so it can do without them."
        if self._context.run.ended:
            return "The command failed; whether for this, its own messages say."
        return "How the command ended is not known."

    def _report_read(self, zone: str | None, activities: list[PathActivity]) -> Finding:
        return self._make_finding(
            "WA204",
            activities,
            f"{plural(len(activities), 'path')} read in {self._name_zone(zone)}: {name_paths(activities)}.",
            f"The policy ({show_zone(self._context.policy.name)}) declares the zone with access none.",
            self._advice.advise_read(zone),
            zone,
        )

    def _make_finding(
        self,
        rule_id: str,
        activities: list[PathActivity],
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
            "ops": count_operations(activities),
            "examples": pick_examples(activities),
        }
        if errno is not None:
            details["errno"] = errno
            details["observed"] = as_json(self._context, activities)
        return Finding(
            rule=rule_id,
            title=title or registered.title,
            severity=severity or registered.severity,
            message=message,
            count=sum(activity.events for activity in activities),
            bytes=sum(activity.bytes for activity in activities),
            files=len(activities),
            evidence=pick_evidence(activities),
            cause=cause,
            advice=advice,
            details=details,
        )

    def _name_zone(self, zone: str | None) -> str:
        return f"zone {show_zone(str(zone))} ({self._describe_access(zone)})"

    def _describe_access(self, zone: str | None) -> str:
        for each in self._context.policy.zones:
            if each.name == zone:
                return {"ro": "read-only", "none": "no access", "rw": "read-write"}[each.access.value]
        return "unknown"


def _told_elsewhere(event: FsEvent) -> bool:
    """Whether a refused link or reflink has a rule of its own, WA103 to WA105: one refused as such,
    and not because nothing may be made in that place.
    """
    return event.op is Op.CLONE or (event.op is Op.LINK and event.result not in {"EROFS", "EACCES"})


def _was_or_were(activities: list[PathActivity]) -> str:
    return "was" if len(activities) == 1 else "were"
