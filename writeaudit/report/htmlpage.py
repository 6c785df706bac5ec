"""What the HTML template shows without any script, put together and named."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

from writeaudit.audit import Process
from writeaudit.events import FsEvent
from writeaudit.judgement import FileSummary, Finding, Verdict
from writeaudit.report.view import MountRow, Outcome, Report, ZoneRow, mount_rows, zone_rows
from writeaudit.report.wording import command_line, duration, ending, gap_list, verdict
from writeaudit.text import size

STATIC_FILES = 100
"""Paths that are there without the script; it replaces them by the whole list."""

PROCESS_LIMIT = 1000
EVIDENCE_SHOWN = 20
"""Events of a finding that are listed below it; the others are linked by number."""


@dataclass(frozen=True, slots=True)
class MountCard:
    """One side of a link fallback."""

    role: str
    mountpoint: str
    fstype: str
    dev: str
    source: str
    root: str


@dataclass(frozen=True, slots=True)
class Fact:
    """A name and a value, both shown text."""

    name: str
    value: str


@dataclass(frozen=True, slots=True)
class Example:
    """A path that a finding is about, and where it came from; "" if that is nothing or unknown."""

    path: str
    source: str
    size: str


@dataclass(frozen=True, slots=True)
class Evidence:
    """An event that proves a finding."""

    seq: int
    event: FsEvent
    time: str
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class FindingView:
    """A finding with its details sorted by how they are shown."""

    finding: Finding
    mounts: tuple[MountCard, ...]
    facts: tuple[Fact, ...]
    examples: tuple[Example, ...]
    evidence: tuple[Evidence, ...]
    further: tuple[int, ...]
    """seq numbers of evidence that is not listed."""


@dataclass(frozen=True, slots=True)
class ProcessRow:
    """One line of the process tree."""

    process: Process
    depth: int
    """0 for the command itself; more than 8 shows as 8."""
    command: str
    took: str


@dataclass(frozen=True, slots=True)
class Page:
    """Everything that the template needs; the template only lays it out."""

    report: Report
    outcome: Outcome
    verdict: str
    gaps: Sequence[str]
    command: str
    ending: str
    duration: str
    figures: Sequence[Fact]
    findings: Sequence[FindingView]
    zones: Sequence[ZoneRow]
    mounts: Sequence[MountRow]
    files: Sequence[FileSummary]
    files_total: int
    processes: Sequence[ProcessRow]
    processes_total: int
    kinds: Sequence[str]
    """Kinds of records that the kernel side counted."""


def build_page(report: Report, ranked: Iterable[FileSummary]) -> Page:
    """Put the page together. ``ranked`` are the files in the order of the list."""
    completeness = report.audit.completeness
    zones, mounts = zone_rows(report), mount_rows(report)
    processes = process_tree(report.audit.processes)
    return Page(
        report=report,
        outcome=report.outcome,
        verdict=verdict(report),
        gaps=gap_list(completeness),
        command=command_line(report.audit.run.command),
        ending=ending(report.audit.run),
        duration=duration(report.audit.run.duration_s),
        figures=_figures(report, zones),
        findings=_findings(report),
        zones=zones,
        mounts=mounts,
        files=list(islice(ranked, STATIC_FILES)),
        files_total=len(report.files),
        processes=processes[:PROCESS_LIMIT],
        processes_total=len(processes),
        kinds=sorted({*completeness.emitted, *completeness.received, *completeness.lost}),
    )


def _figures(report: Report, zones: Sequence[ZoneRow]) -> list[Fact]:
    verdicts = report.totals.verdicts

    def count(number: int, one: str, many: str) -> Fact:
        return Fact(one if number == 1 else many, f"{number:,}")

    return [
        count(sum(row.extent.files for row in zones), "file changed", "files changed"),
        Fact("written", size(sum(row.extent.bytes for row in zones))),
        count(verdicts[Verdict.VIOLATION], "violation", "violations"),
        count(verdicts[Verdict.ATTEMPT], "refused attempt", "refused attempts"),
        count(report.totals.events, "event", "events"),
        count(len({process.pid for process in report.audit.processes}), "process", "processes"),
    ]


def _findings(report: Report) -> list[FindingView]:
    wanted = {seq for finding in report.findings for seq in finding.evidence[:EVIDENCE_SHOWN]}
    rows = {
        seq: Evidence(seq, event, duration(event.time_ns / 1e9), judged.verdict)
        for seq, (event, judged) in report.find(wanted).items()
    }
    return [_finding(finding, rows) for finding in report.findings]


def _finding(finding: Finding, known: Mapping[int, Evidence]) -> FindingView:
    details = _details(finding.details)
    rows = [known[seq] for seq in finding.evidence[:EVIDENCE_SHOWN] if seq in known]
    counted = [Fact("events", f"{finding.count:,}")]
    if finding.files:
        counted.append(Fact("files", f"{finding.files:,}"))
    if finding.bytes:
        counted.append(Fact("bytes", size(finding.bytes)))
    listed = {row.seq for row in rows}
    further = tuple(seq for seq in finding.evidence if seq not in listed)
    return FindingView(
        finding,
        tuple(details.cards),
        (*counted, *details.facts),
        tuple(details.examples),
        tuple(rows),
        further,
    )


@dataclass(slots=True)
class _Details:
    """A finding's details, sorted by how they are shown: side by side, as facts, as a list."""

    cards: list[MountCard] = field(default_factory=list)
    facts: list[Fact] = field(default_factory=list)
    examples: list[Example] = field(default_factory=list)


def _details(details: Mapping[str, object]) -> _Details:
    """Sort details whose keys each rule chooses for itself.

    Mappings with a mount's keys (or called ``…_mount``, and then empty if it is not known) are
    mounts, ``examples`` are paths or pairs of them, and everything else is a name and a value.
    """
    found = _Details()
    for key, value in details.items():
        label = key.replace("_", " ")
        match value:
            case Mapping() if key.endswith("_mount") or "mountpoint" in value:
                found.cards.append(_card(label.removesuffix(" mount"), value))
            case list() | tuple() if key == "examples":
                found.examples += [_example(item) for item in value]
            case Mapping():
                text = " · ".join(f"{name} {_scalar(inner)}" for name, inner in value.items())
                found.facts += [Fact(label, text)] if text else []
            case None | "" | [] | ():
                pass
            case _:
                found.facts.append(Fact(label, _scalar(value)))
    return found


def _example(item: object) -> Example:
    if not isinstance(item, Mapping):
        return Example(str(item), "", "")
    count = item.get("bytes")
    return Example(
        str(item.get("path") or item.get("target") or ""),
        str(item.get("source") or ""),
        size(count) if isinstance(count, int) else "",
    )


def _card(role: str, mount: Mapping[str, object]) -> MountCard:
    def get(key: str) -> str:
        return str(mount.get(key, ""))

    return MountCard(role, get("mountpoint"), get("fstype"), get("dev"), get("source"), get("root"))


def _scalar(value: object) -> str:
    match value:
        case bool():
            return "yes" if value else "no"
        case int():
            return f"{value:,}"
        case list() | tuple():
            # Numbers in a list are names (pids, say), not amounts.
            return ", ".join(str(item) for item in value)
        case _:
            return str(value)


def process_tree(processes: Sequence[Process]) -> list[ProcessRow]:
    """Return processes as a tree in depth-first order, siblings by start.

    A process that ran several programs has a line for each, one below the other.
    """
    by_pid: dict[int, list[Process]] = defaultdict(list)
    for process in processes:
        by_pid[process.pid].append(process)
    children: dict[int, list[int]] = defaultdict(list)
    roots: list[int] = []
    for pid, lives in by_pid.items():
        lives.sort(key=lambda process: process.started_ns)
        parent = lives[0].ppid
        (children[parent] if parent in by_pid and parent != pid else roots).append(pid)
    rows: list[ProcessRow] = []
    seen: set[int] = set()
    # Reused pids can make a ring; whatever the walk from the roots misses starts anew.
    for start in (*roots, *by_pid):
        stack = [(start, 0)]
        while stack:
            pid, depth = stack.pop()
            if pid in seen:
                continue
            seen.add(pid)
            rows += [_process_row(process, min(depth, 8)) for process in by_pid[pid]]
            below = sorted(children[pid], key=lambda child: by_pid[child][0].started_ns, reverse=True)
            stack += [(child, depth + 1) for child in below]
    return rows


def _process_row(process: Process, depth: int) -> ProcessRow:
    took = "" if process.ended_ns is None else duration((process.ended_ns - process.started_ns) / 1e9)
    return ProcessRow(process, depth, command_line(process.argv or (process.exe,)), took)
