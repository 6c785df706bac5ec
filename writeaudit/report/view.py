"""What every renderer is given: a judged audit, its totals, and the sentence that sums it up."""

from __future__ import annotations

import enum
import os
from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple, TypeVar

from writeaudit import __version__
from writeaudit.audit import Audit, Frame, Mount, pick_events
from writeaudit.events import FsEvent, Op
from writeaudit.frames import CONTAINER_ZONE, FrameTotals, SetUp
from writeaudit.judgement import (
    Came,
    CommandOutcome,
    FileSummary,
    Finding,
    Judged,
    NetEffect,
    Origin,
    Policy,
    Reason,
    Severity,
    Verdict,
    Zone,
    ZoneAccess,
    by_gravity,
)
from writeaudit.rules import RuleGroup, rules_of
from writeaudit.text import escape_path, escape_text

_T = TypeVar("_T")

_ALIAS_RULES = rules_of(RuleGroup.ALIAS)

OUTSIDE = "outside every zone"
"""How a zone of None is called where people read it."""

CHANGED = frozenset(
    {NetEffect.CREATED, NetEffect.MODIFIED, NetEffect.REPLACED, NetEffect.DELETED, NetEffect.TRANSIENT}
)
"""What became of files that the run did change."""


class Status(enum.StrEnum):
    """The audit's answer, in one word."""

    CLEAN = "clean"
    VIOLATIONS = "violations"
    INCOMPLETE = "incomplete"


class ReportOutcome(enum.StrEnum):
    """What the reader is told first: the status, and what else keeps a run from being a good one."""

    CLEAN = "clean"
    FAILED = "command failed"
    """Within the policy, but the command itself failed."""
    FLAGGED = "not clean"
    """Within the policy, but ``--fail-on`` names a finding."""
    VIOLATIONS = "violations"
    INCOMPLETE = "incomplete"


@dataclass(slots=True)
class Totals:
    """What all events add up to."""

    events: int = 0
    verdicts: Counter[Verdict] = field(default_factory=Counter)
    zones: Counter[tuple[str | None, Verdict]] = field(default_factory=Counter)
    mount_ops: dict[int | None, Counter[str]] = field(default_factory=dict)
    """By mount of the path: how often each op was tried."""
    refused_zones: Counter[str | None] = field(default_factory=Counter)
    refused_mounts: Counter[int | None] = field(default_factory=Counter)
    """Changes that the system refused, whether the policy allows them or not, by zone and by mount."""
    mount_verdicts: Counter[tuple[int | None, Verdict]] = field(default_factory=Counter)


class Numbers(dict[_T, int]):
    """Numbers for things that repeat, in the order of their first appearance: ``numbers[thing]``."""

    def __missing__(self, thing: _T) -> int:
        number = self[thing] = len(self)
        return number


class Tally:
    """Adds events up and keeps what was thought of each. Feed it every event, in order of seq."""

    def __init__(self) -> None:
        # A number for each event: what to group by, and the judgement, which no renderer need ask for again.
        self._numbers: Numbers[tuple[int | None, Op, Judged]] = Numbers()
        self._kinds: array[int] = array("I")
        self._seqs: array[int] = array("Q")

    def add_event(self, event: FsEvent, judged: Judged) -> None:
        """Take one event with its verdict."""
        self._kinds.append(self._numbers[event.mount, event.op, judged])
        self._seqs.append(event.seq)

    def totals(self) -> Totals:
        """Return what the events up to now add up to."""
        totals = Totals()
        counts = Counter(self._kinds)
        for (mount, op, judged), kind in self._numbers.items():
            count = counts[kind]
            totals.events += count
            totals.verdicts[judged.verdict] += count
            totals.zones[judged.zone, judged.verdict] += count
            totals.mount_ops.setdefault(mount, Counter())[str(op)] += count
            totals.mount_verdicts[mount, judged.verdict] += count
            refused = judged.reason is Reason.REFUSED and op is not Op.ACCESS
            if refused or judged.verdict is Verdict.ATTEMPT:
                totals.refused_zones[judged.zone] += count
                totals.refused_mounts[mount] += count
        return totals

    def judgements(self) -> Iterator[Judged]:
        """Yield what was thought of each event, in the order in which they were fed."""
        return map([judged for _mount, _op, judged in self._numbers].__getitem__, self._kinds)

    def judgements_of(self, seqs: Collection[int]) -> dict[int, Judged]:
        """Return what was thought of the events of these numbers; without those that were not fed."""
        kinds = [judged for _mount, _op, judged in self._numbers]
        places = {seq: bisect_left(self._seqs, seq) for seq in seqs}
        return {
            seq: kinds[self._kinds[place]]
            for seq, place in places.items()
            if place < len(self._seqs) and self._seqs[place] == seq
        }


def changes_of(verdicts: Mapping[Verdict, int]) -> int:
    """Return how many events changed something, allowed or not."""
    return verdicts[Verdict.ALLOWED] + verdicts[Verdict.VIOLATION] + verdicts[Verdict.UNPLACED]


class Extent(NamedTuple):
    """How much of a zone or mount was changed."""

    files: int = 0
    """Files (no directories) that were created, modified, replaced or deleted."""
    bytes: int = 0
    """Written to these."""
    temporary_files: int = 0
    """Files that were made and are gone again."""
    temporary_bytes: int = 0

    def plus(self, other: Extent) -> Extent:
        """Return the extent with so many more files and bytes."""
        return Extent(*map(sum, zip(self, other, strict=True)))


class Arrivals(NamedTuple):
    """How many files came in one way from one mount to another; either is None where it is not known."""

    source_mount: int | None
    mount: int | None
    files: Mapping[Came, int]
    bytes: Mapping[Came, int]
    """Written for them: nothing for links, and nothing for clones."""


class Overview(NamedTuple):
    """What all files add up to."""

    zones: Mapping[str | None, Extent]
    mounts: Mapping[int | None, Extent]
    by_verdict: Mapping[Verdict, Sequence[int]]
    """Where in `Report.files` those of each verdict stand, in their order; all verdicts are there."""
    arrivals: Sequence[Arrivals] = ()
    """How the files came that are there at the end, the pair of mounts with most files first."""


class ZoneRow(NamedTuple):
    """One line of "writes by zone". ``zone`` is None for what lies outside every zone."""

    zone: Zone | None
    extent: Extent
    verdicts: Mapping[Verdict, int]
    refused: int = 0
    """Changes that the system refused, allowed or not."""

    @property
    def access(self) -> str:
        """What may be done in it; empty for what is no zone of the policy."""
        return "" if self.zone is None or not self.zone.patterns else self.zone.access.value

    @property
    def name(self) -> str:
        """The zone's name, or a phrase for none."""
        return OUTSIDE if self.zone is None else self.zone.name

    @property
    def changes(self) -> int:
        """Events that changed something, allowed or not."""
        return changes_of(self.verdicts)


class MountRow(NamedTuple):
    """One line of "writes by mount". ``mount`` is None where it could not be had."""

    mount: Mount | None
    extent: Extent
    ops: Mapping[str, int]
    verdicts: Mapping[Verdict, int]
    refused: int = 0
    """Changes that the system refused, allowed or not."""

    @property
    def changes(self) -> int:
        """Events that changed something, allowed or not."""
        return changes_of(self.verdicts)


@dataclass(frozen=True)  # without slots, which leave no room for what is worked out later
class Report:
    """One audit, judged: all that a renderer needs. Made by `build`."""

    audit: Audit
    policy: Policy
    findings: Sequence[Finding]
    files: Sequence[FileSummary]
    """In the order of path, then mount; a summary may be made when it is asked for."""
    totals: Totals
    tally: Tally
    """Was fed all events of ``audit``."""
    ended: CommandOutcome = CommandOutcome(failed=False)  # noqa: RUF009 - a tuple, never changed
    """Whether the command failed, and what explains it."""
    copied: Mapping[bytes, int | None] = field(default_factory=dict)
    """Files that were copied by reading and writing for want of a link, with the mount of their sources."""
    fail_on: tuple[str, ...] = ("error",)
    """Rules and severities that make the exit status 100."""
    failing: Sequence[Finding] = ()
    """The findings that do so."""
    frames: Mapping[int, FrameTotals] = field(default_factory=dict)
    """What was done in containers and sandboxes, by `Frame.id`; 0: what runtimes did for them on the host."""
    tool_version: str = __version__

    def judged_events(self) -> Iterator[tuple[FsEvent, Judged]]:
        """Read the events, each with its judgement, in order of seq."""
        # Not strict: what came to a recording after it was judged (its run goes on) is no part of this.
        return zip(self.audit.events, self.tally.judgements(), strict=False)

    def find(self, seqs: Collection[int]) -> dict[int, tuple[FsEvent, Judged]]:
        """Return the events of these numbers, by number. Reads no further than it must."""
        judgements = self.tally.judgements_of(seqs)
        return {
            event.seq: (event, judgements[event.seq]) for event in pick_events(self.audit.events, judgements)
        }

    @cached_property
    def setup(self) -> SetUp:
        """Tells the work of container runtimes from that of the programs in containers."""
        return SetUp(self.audit.frames, self.audit.processes)

    @cached_property
    def overview(self) -> Overview:
        """What the files add up to. Worked out when it is first asked for, in one pass over them."""
        return _overview(self.files, self.copied)

    @property
    def status(self) -> Status:
        """Incomplete before all else: what was not seen cannot be called clean."""
        if not self.audit.completeness.complete:
            return Status.INCOMPLETE
        if self.totals.verdicts[Verdict.VIOLATION] or self.aliased:
            return Status.VIOLATIONS
        return Status.CLEAN

    @property
    def aliased(self) -> int:
        """How many protected files were changed under names that nothing protects."""
        return sum(finding.files for finding in self.findings if finding.rule in _ALIAS_RULES)

    @property
    def unjudged(self) -> int:
        """How many paths a command that no profile knows changed where nobody said whether it may."""
        return sum(finding.files for finding in self.findings if finding.details.get("unjudged"))

    @property
    def outcome(self) -> ReportOutcome:
        """The status, told apart further where it is clean."""
        run = self.audit.run
        if self.status is not Status.CLEAN:
            return ReportOutcome(self.status)
        if self.failing:
            return ReportOutcome.FLAGGED
        return ReportOutcome.FAILED if run.ended and not run.succeeded else ReportOutcome.CLEAN

    @property
    def severities(self) -> Mapping[Severity, int]:
        """Number of findings of each severity, all severities named."""
        counts = Counter(finding.severity for finding in self.findings)
        return {severity: counts[severity] for severity in Severity}

    @property
    def changes(self) -> int:
        """Events that changed something, allowed or not."""
        return changes_of(self.totals.verdicts)


def build(
    audit: Audit,
    policy: Policy,
    findings: Sequence[Finding],
    files: Sequence[FileSummary],
    tally: Tally,
    *,
    outcome: CommandOutcome | None = None,
    copied: Mapping[bytes, int | None] | None = None,
    fail_on: Sequence[str] = ("error",),
    failing: Sequence[Finding] = (),
    frames: Mapping[int, FrameTotals] | None = None,
) -> Report:
    """Join what the stages made. ``tally`` was fed all events of ``audit``.

    Findings come out worst first, otherwise in the order of their rules.
    """
    ordered = sorted(findings, key=by_gravity)
    ended = outcome or CommandOutcome(failed=audit.run.ended and not audit.run.succeeded)
    return Report(
        audit,
        policy,
        ordered,
        files,
        tally.totals(),
        tally,
        ended,
        copied or {},
        tuple(fail_on),
        failing,
        frames or {},
    )


def zone_rows(report: Report) -> list[ZoneRow]:
    """Return a row for each zone in the policy's order, then what lies outside, if anything does."""
    extents = report.overview.zones
    rows: list[ZoneRow] = []
    for zone in (*report.policy.zones, *_zones_elsewhere(report), None):
        name = None if zone is None else zone.name
        verdicts = {verdict: report.totals.zones[name, verdict] for verdict in Verdict}
        if zone is not None or any(verdicts.values()):
            refused = report.totals.refused_zones[name]
            rows.append(ZoneRow(zone, extents.get(name, Extent()), verdicts, refused))
    return rows


def _zones_elsewhere(report: Report) -> Iterator[Zone]:
    """Yield what stands for zones in containers and sandboxes, and for names without a place."""
    known = {zone.name for zone in report.policy.zones}
    inside = {CONTAINER_ZONE + zone.name: zone for zone in report.policy.container_zones}
    for name in sorted({name for name, _verdict in report.totals.zones if name is not None} - known):
        zone = inside.get(name, Zone(name, ZoneAccess.READ_WRITE, ()))
        yield zone._replace(name=name)


class FrameRow(NamedTuple):
    """One line of "containers and sandboxes"."""

    frame: Frame
    totals: FrameTotals
    program: str
    """What made it, shown; empty if that is not known."""

    @property
    def shown_name(self) -> str:
        """The frame's name, escaped."""
        return escape_text(self.frame.name)


def frame_rows(report: Report) -> list[FrameRow]:
    """Return a row for each container and sandbox, in the order in which they were met."""
    return [
        FrameRow(frame, report.frames.get(frame.id, FrameTotals()), _maker(report, frame))
        for frame in report.audit.frames
    ]


def describe_setup(counts: Mapping[str, int]) -> str:
    """Return operations and their counts in words: ``12 mount, 3 mkdir``."""
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{count:,} {op}" for op, count in ordered)


def _maker(report: Report, frame: Frame) -> str:
    held = [process for process in report.audit.processes if process.pid == frame.pid and process.argv]
    made = next((each for each in reversed(held) if each.started_ns <= frame.began_ns), None)
    return escape_path(os.path.basename(made.argv[0])) if made is not None else ""


def mount_rows(report: Report) -> list[MountRow]:
    """Return a row for each mount on which anything was tried, the most changed first."""
    extents = report.overview.mounts
    known = {mount.id: mount for mount in report.audit.mounts}
    rows = [
        MountRow(
            known.get(number) if number is not None else None,
            extents.get(number, Extent()),
            ops,
            {verdict: report.totals.mount_verdicts[number, verdict] for verdict in Verdict},
            report.totals.refused_mounts[number],
        )
        for number, ops in report.totals.mount_ops.items()
    ]
    return sorted(rows, key=lambda row: (-row.changes, -sum(row.ops.values())))


def _overview(files: Sequence[FileSummary], copied: Mapping[bytes, int | None]) -> Overview:
    by_verdict: dict[Verdict, array[int]] = {verdict: array("I") for verdict in Verdict}
    zones: dict[str | None, Extent] = {}
    mounts: dict[int | None, Extent] = {}
    sums: dict[tuple[str | None, int | None], list[int]] = {}
    came: dict[tuple[int | None, int | None], tuple[Counter[Came], Counter[Came]]] = {}
    for number, file in enumerate(files):
        by_verdict[file.verdict].append(number)
        if file.directory or file.net not in CHANGED:
            continue
        sum_ = sums.setdefault((file.zone, file.mount), [0, 0, 0, 0])
        temporary = 2 if file.net is NetEffect.TRANSIENT else 0
        sum_[temporary] += 1
        sum_[temporary + 1] += file.bytes_written
        origin = file.origin
        if origin is None or temporary or file.net is NetEffect.DELETED:
            continue
        if origin.came is Came.WRITTEN and file.path in copied:
            origin = Origin(Came.COPIED, copied[file.path])
        pair = origin.mount, file.mount
        counts, sizes = came.setdefault(pair, (Counter(), Counter()))
        counts[origin.came] += 1
        sizes[origin.came] += file.bytes_written
    for (zone, mount), sum_ in sums.items():
        zones[zone] = zones.get(zone, Extent()).plus(Extent(*sum_))
        mounts[mount] = mounts.get(mount, Extent()).plus(Extent(*sum_))
    arrivals = [Arrivals(*pair, counts, sizes) for pair, (counts, sizes) in came.items()]
    arrivals.sort(key=lambda each: -sum(each.files.values()))
    return Overview(zones, mounts, by_verdict, arrivals)
