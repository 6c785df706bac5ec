"""What every renderer is given: a judged audit, its totals, and the sentence that sums it up."""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from writeaudit import __version__
from writeaudit.audit import Audit, Mount
from writeaudit.events import FsEvent
from writeaudit.judgement import FileSummary, Finding, Judged, Net, Policy, Severity, Verdict, Zone

_Key = TypeVar("_Key")

OUTSIDE = "outside every zone"
"""How a zone of None is called where people read it."""

CHANGED = frozenset({Net.CREATED, Net.MODIFIED, Net.REPLACED, Net.DELETED, Net.TRANSIENT})
"""What became of files that the run did change."""


class Status(enum.StrEnum):
    """The audit's answer, in one word."""

    CLEAN = "clean"
    VIOLATIONS = "violations"
    INCOMPLETE = "incomplete"


@dataclass(slots=True)
class Totals:
    """What one pass over the events adds up to."""

    events: int = 0
    verdicts: Counter[Verdict] = field(default_factory=Counter)
    zones: Counter[tuple[str | None, Verdict]] = field(default_factory=Counter)
    mount_ops: dict[int | None, Counter[str]] = field(default_factory=dict)
    """By mount of the path: how often each op was tried."""
    mount_verdicts: Counter[tuple[int | None, Verdict]] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class Extent:
    """How much of a zone or mount was changed."""

    files: int = 0
    """Paths that were created, modified, replaced, deleted, or made and removed."""
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class ZoneRow:
    """One line of "writes by zone". ``zone`` is None for what lies outside every zone."""

    zone: Zone | None
    extent: Extent
    verdicts: Mapping[Verdict, int]

    @property
    def name(self) -> str:
        """The zone's name, or a phrase for none."""
        return OUTSIDE if self.zone is None else self.zone.name

    @property
    def changes(self) -> int:
        """Events that changed something, allowed or not."""
        return self.verdicts[Verdict.ALLOWED] + self.verdicts[Verdict.VIOLATION]


@dataclass(frozen=True, slots=True)
class MountRow:
    """One line of "writes by mount". ``mount`` is None where it could not be had."""

    mount: Mount | None
    extent: Extent
    ops: Mapping[str, int]
    verdicts: Mapping[Verdict, int]

    @property
    def changes(self) -> int:
        """Events that changed something, allowed or not."""
        return self.verdicts[Verdict.ALLOWED] + self.verdicts[Verdict.VIOLATION]


@dataclass(frozen=True, slots=True)
class Report:
    """One audit, judged: all that a renderer needs. Made by `build`."""

    audit: Audit
    policy: Policy
    findings: Sequence[Finding]
    files: Sequence[FileSummary]
    judge: Callable[[FsEvent], Judged]
    totals: Totals
    evidence: Mapping[int, FsEvent]
    """The events that findings name, by seq."""
    fail_on: tuple[str, ...] = ("error",)
    """Rules and severities that make the exit status 100."""
    tool_version: str = __version__

    @property
    def status(self) -> Status:
        """Incomplete before all else: what was not seen cannot be called clean."""
        if not self.audit.completeness.complete:
            return Status.INCOMPLETE
        if self.totals.verdicts[Verdict.VIOLATION]:
            return Status.VIOLATIONS
        return Status.CLEAN

    @property
    def severities(self) -> Mapping[Severity, int]:
        """Number of findings of each severity, all severities named."""
        counts = Counter(finding.severity for finding in self.findings)
        return {severity: counts[severity] for severity in Severity}

    @property
    def changes(self) -> int:
        """Events that changed something, allowed or not."""
        return self.totals.verdicts[Verdict.ALLOWED] + self.totals.verdicts[Verdict.VIOLATION]


def build(
    audit: Audit,
    policy: Policy,
    findings: Sequence[Finding],
    files: Sequence[FileSummary],
    judge: Callable[[FsEvent], Judged],
    *,
    fail_on: Sequence[str] = ("error",),
) -> Report:
    """Join what the stages made, in one pass over the events.

    Findings come out worst first, otherwise in the order of their rules.
    """
    ordered = sorted(findings, key=lambda finding: (-finding.severity.rank, finding.rule))
    evidence: dict[int, FsEvent | None] = {seq: None for finding in findings for seq in finding.evidence}
    totals = _add_up(audit, judge, evidence)
    found = {seq: event for seq, event in evidence.items() if event is not None}
    return Report(audit, policy, ordered, files, judge, totals, found, tuple(fail_on))


def _add_up(audit: Audit, judge: Callable[[FsEvent], Judged], evidence: dict[int, FsEvent | None]) -> Totals:
    # One counter over everything that is grouped by: a dictionary update an event is
    # what this pass costs, so it makes one and takes the sums from it afterwards.
    combined: dict[tuple[int | None, str, str | None, Verdict], int] = {}
    for event in audit.events:
        judged = judge(event)
        key = (event.mount, event.op, judged.zone, judged.verdict)
        combined[key] = combined.get(key, 0) + 1
        if event.seq in evidence:
            evidence[event.seq] = event
    totals = Totals()
    for (mount, op, zone, verdict), count in combined.items():
        totals.events += count
        totals.verdicts[verdict] += count
        totals.zones[zone, verdict] += count
        totals.mount_ops.setdefault(mount, Counter())[str(op)] += count
        totals.mount_verdicts[mount, verdict] += count
    return totals


def zone_rows(report: Report) -> list[ZoneRow]:
    """Return a row for each zone in the policy's order, then what lies outside, if anything does."""
    extents = _extents(report.files, lambda file: file.zone)
    rows: list[ZoneRow] = []
    for zone in (*report.policy.zones, None):
        name = None if zone is None else zone.name
        verdicts = {verdict: report.totals.zones[name, verdict] for verdict in Verdict}
        if zone is not None or any(verdicts.values()):
            rows.append(ZoneRow(zone, extents.get(name, Extent()), verdicts))
    return rows


def mount_rows(report: Report) -> list[MountRow]:
    """Return a row for each mount on which anything was tried, the most changed first."""
    extents = _extents(report.files, lambda file: file.mount)
    known = {mount.id: mount for mount in report.audit.mounts}
    rows = [
        MountRow(
            known.get(number) if number is not None else None,
            extents.get(number, Extent()),
            ops,
            {verdict: report.totals.mount_verdicts[number, verdict] for verdict in Verdict},
        )
        for number, ops in report.totals.mount_ops.items()
    ]
    return sorted(rows, key=lambda row: (-row.changes, -sum(row.ops.values())))


def _extents(files: Sequence[FileSummary], key: Callable[[FileSummary], _Key]) -> dict[_Key, Extent]:
    counts: Counter[_Key] = Counter()
    sizes: Counter[_Key] = Counter()
    for file in files:
        if file.net in CHANGED:
            counts[key(file)] += 1
            sizes[key(file)] += file.bytes_written
    return {name: Extent(count, sizes[name]) for name, count in counts.items()}
