"""What the HTML template shows without any script, put together and named."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice, zip_longest
from typing import NamedTuple

from writeaudit.audit import Process
from writeaudit.events import FsEvent
from writeaudit.judgement import Actor, Came, FileSummary, Finding, Verdict
from writeaudit.report.html.pack import Packed
from writeaudit.report.html.pictures import (
    Cell,
    Moment,
    MountMap,
    TimePicture,
    draw_mount_map,
    draw_timeline,
    draw_treemap,
    list_moments,
)
from writeaudit.report.html.process_tree import Group, ProcessTree
from writeaudit.report.html.rule_pages import RulePage, read_rules
from writeaudit.report.view import (
    OUTSIDE,
    FrameRow,
    MountRow,
    Report,
    ReportOutcome,
    ZoneRow,
    describe_setup,
    frame_rows,
    mount_rows,
    zone_rows,
)
from writeaudit.report.wording import command_line, duration, ending, list_gaps, verdict
from writeaudit.text import escape_text, plural, size

FRAME_PATHS = 50
"""Changed paths of a container that are listed."""
STATIC_FILES = 100
"""Paths that are there without the script; it replaces them by the whole list."""

PROCESS_LIMIT = 120
MEMBERS_SHOWN = 5
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
    anchor: str
    """The rule, and which of its findings it is: the same as long as the same is found."""
    mounts: tuple[MountCard, ...]
    facts: tuple[Fact, ...]
    examples: tuple[Example, ...]
    evidence: tuple[Evidence, ...]
    further: tuple[int, ...]
    """seq numbers of evidence that is not listed."""

    @property
    def remedy(self) -> str:
        """The first piece of advice, or nothing."""
        return self.finding.advice[0] if self.finding.advice else ""


class Member(NamedTuple):
    """One process between two execs, all of it shown text but the pid."""

    pid: int
    command: str
    took: str
    exit: str


@dataclass(frozen=True, slots=True)
class ProcessRow:
    """One line of the process tree."""

    group: Group
    depth: int
    """0 for the command itself; more than 8 shows as 8."""
    command: str
    """Of the first."""
    failed: int
    """How many ended with another status than 0."""
    members: Sequence[Member]
    """The first of them."""


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
class FrameView:
    """A container or sandbox: the paths that changed, by their names there, with the host's names."""

    row: FrameRow
    paths: Sequence[tuple[bytes, bytes | None]]
    further: int
    """How many paths are not listed."""
    setup: int
    setup_words: str


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
    most: int
    """The bytes of the fullest zone, 1 at least."""
    mounts: Sequence[MountRow]
    frames: Sequence[FrameView]
    files: Sequence[FileSummary]
    files_total: int
    processes: Sequence[ProcessRow]
    processes_total: int
    tiles: Sequence[Tile]
    mount_map: MountMap | None
    treemap: Sequence[Cell]
    timeline: Sequence[TimePicture]
    """The same picture for wide and for narrow windows."""
    moments: Sequence[Moment]
    least: str
    """Stands before every figure of an incomplete audit."""
    rules: Sequence[RulePage]
    """Of the findings."""
    tabs: Mapping[str, int]
    """Further lists of the explorer that have anything in them, and how much."""
    kinds: Sequence[str]
    """Kinds of records that the kernel side counted."""


def build_page(report: Report, packed: Packed, ranked: Iterable[FileSummary]) -> Page:
    """Put the page together. ``ranked`` are the files in the order of the list."""
    completeness = report.audit.completeness
    zones, mounts = zone_rows(report), mount_rows(report)
    least = "" if completeness.complete else "at least "
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
        most=max([1, *(row.extent.bytes for row in zones)]),
        mounts=mounts,
        frames=[_frame(row) for row in frame_rows(report)],
        files=list(islice(ranked, STATIC_FILES)),
        files_total=len(report.files),
        processes=process_rows(packed.tree),
        processes_total=len(packed.tree.groups),
        tiles=_tiles(report, zones, least),
        mount_map=draw_mount_map(report, packed.flows),
        treemap=draw_treemap(report.files),
        timeline=draw_timeline(report, packed.timeline, packed.tree),
        moments=list_moments(report, packed.timeline),
        least=least,
        rules=read_rules(sorted({finding.rule for finding in report.findings})),
        tabs={name: many for name, many in packed.lists.items() if many},
        kinds=sorted({*completeness.emitted, *completeness.received, *completeness.lost}),
    )


def _frame(row: FrameRow) -> FrameView:
    listed = list(islice(row.totals.paths.items(), FRAME_PATHS))
    setup = row.totals.setup
    further = len(row.totals.paths) - len(listed)
    return FrameView(row, listed, further, sum(setup.values()), describe_setup(setup))


def _tiles(report: Report, zones: Sequence[ZoneRow], least: str) -> list[Tile]:
    return [_where(zones, least), _allowed(report, least), _linked(report, least), _believed(report)]


def _where(zones: Sequence[ZoneRow], least: str) -> Tile:
    files = sum(row.extent.files for row in zones)
    temporary = sum(row.extent.temporary_files for row in zones)
    written = sum(row.extent.bytes for row in zones)
    places = [row.name for row in sorted(zones, key=lambda row: -row.extent.bytes) if row.extent.files]
    where = f", most in {places[0]}" if places else ""
    more = (
        f"{least}{plural(files, 'file')} changed; {least}{plural(temporary, 'temporary file')} came and went"
    )
    return Tile("Where did it write?", f"{least}{size(written)}{where}", more, "plain", "zones")


def _allowed(report: Report, least: str) -> Tile:
    bad = len(report.overview.by_verdict[Verdict.VIOLATION])
    refused = report.totals.verdicts[Verdict.ATTEMPT]
    none = "no refusal was seen" if least else "nothing was refused"
    tail = f"{least}{plural(refused, 'attempt')} refused by the system" if refused else none
    if not bad:
        answer = "No violation seen" if least else "Yes"
        tone = "warn" if least else "good"
        return Tile("Was it allowed to?", answer, tail, tone, "findings")
    counts = Counter(report.files[number].zone for number in report.overview.by_verdict[Verdict.VIOLATION])
    places = ", ".join(
        f"{OUTSIDE if zone is None else escape_text(zone)} {least}{count:,}"
        for zone, count in counts.most_common(3)
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
    told = [f"{least}{files[came]:,} {word}" for came, word in _CAME.items() if files[came]]
    refused = [finding for finding in report.findings if finding.rule.startswith("WA10") and finding.files]
    if refused:
        errors = ", ".join(sorted({str(finding.details.get("errno", "")) for finding in refused} - {""}))
        more = f"{least}{size(copied)} copied; links were refused ({errors}); {', '.join(told)}"
        return Tile("Linked or copied?", f"{least}{files[Came.COPIED]:,} copied", more, "warn", "mount-map")
    if not told:
        return Tile(
            "Linked or copied?",
            "Neither was seen" if least else "Neither",
            "no file came from another one",
            "plain",
            "mounts",
        )
    more = f"{'; '.join(told[1:]) + '; ' if told[1:] else ''}no link fell back to a copy"
    return Tile("Linked or copied?", told[0], more, "good", "mounts")


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
    least = "" if report.audit.completeness.complete else "at least "
    met: Counter[str] = Counter()
    views = []
    for finding in report.findings:
        met[finding.rule] += 1
        anchor = finding.rule if met[finding.rule] == 1 else f"{finding.rule}-{met[finding.rule]}"
        views.append(_finding(finding, rows, anchor, least))
    return views


def _finding(finding: Finding, known: Mapping[int, Evidence], anchor: str, least: str) -> FindingView:
    details = _details(finding.details)
    rows = [
        replace(known[seq], process=_process(known[seq].event, whose))
        for seq, whose in zip_longest(finding.evidence[:EVIDENCE_SHOWN], _actors(finding))
        if seq in known
    ]
    rows.sort(key=lambda row: row.seq)
    counted = [Fact("events", f"{least}{finding.count:,}")]
    if finding.files:
        counted.append(Fact("files", f"{least}{finding.files:,}"))
    if finding.bytes:
        counted.append(Fact("bytes", f"{least}{size(finding.bytes)}"))
    listed = {row.seq for row in rows}
    further = tuple(sorted(seq for seq in finding.evidence if seq not in listed))
    return FindingView(
        finding,
        anchor,
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


def process_rows(tree: ProcessTree) -> list[ProcessRow]:
    """Return a line for each group of processes, in the order of the tree."""
    rows: list[ProcessRow] = []
    for group in tree.groups[:PROCESS_LIMIT]:
        first = group.lives[0]
        failed = sum(life.exit_status not in (0, None) for life in group.lives)
        members = [
            Member(life.pid, _command(life), _took(life), _exit(life.exit_status))
            for life in group.lives[:MEMBERS_SHOWN]
        ]
        rows.append(ProcessRow(group, min(group.depth, 8), _command(first), failed, members))
    return rows


def _command(life: Process) -> str:
    line = command_line(life.argv or (life.exe,))
    return line if len(line) <= 600 else f"{line[:600]}…"


def _took(life: Process) -> str:
    if life.ended_ns is not None:
        return duration((life.ended_ns - life.started_ns) / 1e9)
    return "outlived the audit" if life.exit_status is None else "end not timed"


def _exit(status: int | None) -> str:
    return "unknown" if status is None else str(status)
