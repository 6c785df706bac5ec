"""What the HTML template shows without any script, put together and named."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice, zip_longest

from writeaudit.audit import Process
from writeaudit.events import FsEvent
from writeaudit.judgement import Actor, Came, FileSummary, Finding, Verdict
from writeaudit.report.html.pack import Packed
from writeaudit.report.html.pictures import (
    Cell,
    MountMap,
    TimePicture,
    draw_mount_map,
    draw_timeline,
    draw_treemap,
)
from writeaudit.report.view import (
    OUTSIDE,
    MountRow,
    Report,
    ReportOutcome,
    ZoneRow,
    mount_rows,
    zone_rows,
)
from writeaudit.report.wording import command_line, duration, ending, list_gaps, verdict
from writeaudit.text import plural, size

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
    process: str = ""
    """The program that did it, and its pid."""


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
class Tile:
    """One of the four questions, answered in a word or figure, and a link to more."""

    question: str
    answer: str
    more: str
    tone: str
    """good, warn, bad or plain."""
    target: str
    """id of the section that has it all."""


@dataclass(frozen=True, slots=True)
class Page:
    """Everything that the template needs; the template only lays it out."""

    report: Report
    outcome: ReportOutcome
    verdict: str
    gaps: Sequence[str]
    command: str
    ending: str
    duration: str
    findings: Sequence[FindingView]
    zones: Sequence[ZoneRow]
    mounts: Sequence[MountRow]
    files: Sequence[FileSummary]
    files_total: int
    processes: Sequence[ProcessRow]
    processes_total: int
    tiles: Sequence[Tile]
    mount_map: MountMap | None
    treemap: Sequence[Cell]
    timeline: TimePicture | None
    kinds: Sequence[str]
    """Kinds of records that the kernel side counted."""


def build_page(report: Report, packed: Packed, ranked: Iterable[FileSummary]) -> Page:
    """Put the page together. ``ranked`` are the files in the order of the list."""
    completeness = report.audit.completeness
    zones, mounts = zone_rows(report), mount_rows(report)
    processes = process_tree(report.audit.processes)
    return Page(
        report=report,
        outcome=report.outcome,
        verdict=verdict(report),
        gaps=list_gaps(completeness),
        command=command_line(report.audit.run.command),
        ending=ending(report.audit.run),
        duration=duration(report.audit.run.duration_s),
        findings=_findings(report),
        zones=zones,
        mounts=mounts,
        files=list(islice(ranked, STATIC_FILES)),
        files_total=len(report.files),
        processes=processes[:PROCESS_LIMIT],
        processes_total=len(processes),
        tiles=_tiles(report, zones),
        mount_map=draw_mount_map(report, packed.flows),
        treemap=draw_treemap(report.files),
        timeline=draw_timeline(report, packed.timeline),
        kinds=sorted({*completeness.emitted, *completeness.received, *completeness.lost}),
    )


def _tiles(report: Report, zones: Sequence[ZoneRow]) -> list[Tile]:
    least = "" if report.audit.completeness.complete else "at least "
    return [_where(zones, least), _allowed(report, least), _linked(report, least), _believed(report)]


def _where(zones: Sequence[ZoneRow], least: str) -> Tile:
    files = sum(row.extent.files for row in zones)
    temporary = sum(row.extent.temporary_files for row in zones)
    written = sum(row.extent.bytes for row in zones)
    places = [row.name for row in sorted(zones, key=lambda row: -row.extent.bytes) if row.extent.files]
    where = f", most in {places[0]}" if places else ""
    more = f"{plural(files, 'file')} changed; {plural(temporary, 'temporary file')} came and went"
    return Tile("Where did it write?", f"{least}{size(written)}{where}", more, "plain", "zones")


def _allowed(report: Report, least: str) -> Tile:
    bad = len(report.overview.by_verdict[Verdict.VIOLATION])
    refused = report.totals.verdicts[Verdict.ATTEMPT]
    tail = f"{plural(refused, 'attempt')} refused by the system" if refused else "nothing was refused"
    if not bad:
        answer = "No violation seen" if least else "Yes"
        tone = "warn" if least else "good"
        return Tile("Was it allowed to?", answer, tail, tone, "findings")
    counts = Counter(report.files[number].zone for number in report.overview.by_verdict[Verdict.VIOLATION])
    places = ", ".join(
        f"{OUTSIDE if zone is None else zone} {count:,}" for zone, count in counts.most_common(3)
    )
    return Tile(
        "Was it allowed to?", f"{least}{plural(bad, 'path')} not", f"{places}; {tail}", "bad", "findings"
    )


_CAME = {
    Came.HARD_LINKED: "hard linked",
    Came.CLONED: "cloned",
    Came.COPIED: "copied",
    Came.SYMLINKED: "symlinked",
    Came.RENAMED: "renamed",
}


def _linked(report: Report, least: str) -> Tile:
    files: Counter[Came] = Counter()
    copied = 0
    for arrivals in report.overview.arrivals:
        files.update(arrivals.files)
        copied += arrivals.bytes.get(Came.COPIED, 0)
    told = [f"{files[came]:,} {word}" for came, word in _CAME.items() if files[came]]
    refused = [finding for finding in report.findings if finding.rule.startswith("WA10") and finding.files]
    if refused:
        errors = ", ".join(sorted({str(finding.details.get("errno", "")) for finding in refused} - {""}))
        more = f"{size(copied)} copied; links were refused ({errors}); {', '.join(told)}"
        return Tile("Linked or copied?", f"{least}{files[Came.COPIED]:,} copied", more, "warn", "mount-map")
    if not told:
        return Tile("Linked or copied?", "Neither", "no file came from another one", "plain", "mounts")
    more = f"{'; '.join(told[1:]) + '; ' if told[1:] else ''}no link fell back to a copy"
    return Tile("Linked or copied?", f"{least}{told[0]}", more, "good", "mounts")


def _believed(report: Report) -> Tile:
    completeness, name = report.audit.completeness, report.audit.run.backend.name
    sent, got = sum(completeness.emitted.values()), sum(completeness.received.values())
    records = f"{got:,} of {sent:,} records by {name}" if sent else f"backend {name}"
    if completeness.complete:
        return Tile(
            "Can I believe it?", "Complete", f"{records}; no path cut, none uncertain", "good", "completeness"
        )
    gaps = list_gaps(completeness)
    return Tile("Can I believe it?", "Incomplete", "; ".join(gaps), "warn", "completeness")


def _findings(report: Report) -> list[FindingView]:
    wanted = {seq for finding in report.findings for seq in finding.evidence[:EVIDENCE_SHOWN]}
    rows = {
        seq: Evidence(seq, event, duration(event.time_ns / 1e9), judged.verdict)
        for seq, (event, judged) in report.find(wanted).items()
    }
    return [_finding(finding, rows) for finding in report.findings]


def _finding(finding: Finding, known: Mapping[int, Evidence]) -> FindingView:
    details = _details(finding.details)
    rows = [
        replace(known[seq], process=_process(known[seq].event, whose))
        for seq, whose in zip_longest(finding.evidence[:EVIDENCE_SHOWN], _actors(finding))
        if seq in known
    ]
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


def _actors(finding: Finding) -> list[Actor | None]:
    found = [None if number is None else finding.actors[number] for number in finding.evidence_actors]
    return found[:EVIDENCE_SHOWN]


def _process(event: FsEvent, actor: Actor | None) -> str:
    return f"{actor.command} (pid {event.pid})" if actor is not None and actor.command else f"pid {event.pid}"


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
