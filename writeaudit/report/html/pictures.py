"""What the pictures of the page show, laid out: the template draws it as SVG, without any script.

Coordinates are those of a view box `WIDTH` wide; each picture has a table of the same figures behind it.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from writeaudit.audit import Mount
from writeaudit.events import OK, Op
from writeaudit.judgement import Came, FileSummary, NetEffect, Verdict
from writeaudit.report.html.pack import Bin, Flows, Mark, Timeline
from writeaudit.report.html.process_tree import Group, ProcessTree
from writeaudit.report.view import CHANGED, OUTSIDE, Report
from writeaudit.report.wording import duration
from writeaudit.text import escape_path, escape_text, format_device, plural, size

WIDTH = 1040
_ROW = 26
_BOX = 66
_LEFT = CHANGED - {NetEffect.TRANSIENT, NetEffect.DELETED}


class MountBox(NamedTuple):
    """One mount of the mount map."""

    y: float
    name: str
    kind: str
    """Type, device and options."""


class Strand(NamedTuple):
    """One line between two mounts: what was made, refused, or copied."""

    y: float
    kind: str
    """made, refused or copied."""
    text: str
    width: float


class MountPair(NamedTuple):
    """Two mounts, and what went between them."""

    source: MountBox
    target: MountBox
    strands: Sequence[Strand]


class MountMap(NamedTuple):
    """Links and copies between mounts."""

    height: float
    pairs: Sequence[MountPair]
    least: str
    """Stands before each figure of an incomplete audit."""


def draw_mount_map(report: Report, flows: Flows) -> MountMap | None:
    """Lay out the mounts between which anything was linked, cloned or copied for want of a link."""
    copied = _copied(report)
    pairs: dict[tuple[int | None, int | None], list[tuple[str, str, float]]] = defaultdict(list)
    nouns = {Op.LINK: "hard link", Op.CLONE: "reflink", Op.RENAME: "rename"}
    for (flow, op, result), count in sorted(flows.results.items(), key=_flow_order):
        if result in (OK, "EXDEV") or op is not Op.RENAME:
            kind = "made" if result == OK else "refused"
            tail = "made, nothing copied" if result == OK else f"refused: {result}"
            pairs[flow].append((kind, f"{plural(count, nouns[op])} {tail}", 1.5))
    for flow, (files, amount) in copied.items():
        if flow in pairs:
            width = max(2.5, min(14.0, math.log10(amount + 1) * 1.6))
            instead = " instead" if any(kind == "refused" for kind, _text, _width in pairs[flow]) else ""
            pairs[flow].append(("copied", f"{plural(files, 'file')} copied{instead}: {size(amount)}", width))
    shown = {flow: rows for flow, rows in pairs.items() if flow[0] != flow[1] or len(pairs) == 1}
    if not shown:
        return None
    known = {mount.id: mount for mount in report.audit.mounts}
    laid_out = []
    top = 6.0
    for (source, target), rows in list(shown.items())[:12]:
        height = max(_BOX, len(rows) * _ROW + 12)
        middle = top + height / 2 - _BOX / 2
        strands = [
            Strand(top + 22 + number * _ROW, kind, text, width)
            for number, (kind, text, width) in enumerate(rows)
        ]
        laid_out.append(MountPair(_box(known, source, middle), _box(known, target, middle), strands))
        top += height + 16
    return MountMap(top, laid_out, "" if report.audit.completeness.complete else "at least ")


def _flow_order(item: tuple[tuple[tuple[int | None, int | None], Op, str], int]) -> tuple[bool, int, str]:
    (_flow, op, result), count = item
    return result == OK, -count, op


def _copied(report: Report) -> Mapping[tuple[int | None, int | None], tuple[int, int]]:
    """Return how many files were copied between two mounts, and how many bytes."""
    return {
        (arrivals.source_mount, arrivals.mount): (
            arrivals.files[Came.COPIED],
            arrivals.bytes.get(Came.COPIED, 0),
        )
        for arrivals in report.overview.arrivals
        if arrivals.files.get(Came.COPIED)
    }


def _box(known: Mapping[int, Mount], number: int | None, y: float) -> MountBox:
    mount = known.get(number) if number is not None else None
    if mount is None:
        return MountBox(y, "unknown mount", "")
    options = ",".join(option for option in mount.options if option in ("ro", "rw"))
    kind = f"{escape_text(mount.fstype)} {format_device(mount.dev)} {options}"
    return MountBox(y, _short(escape_path(mount.mountpoint), 30), kind)


class Cell(NamedTuple):
    """One directory of the treemap."""

    x: float
    y: float
    width: float
    height: float
    depth: int
    worst: str
    """violation, mixed or allowed."""
    label: str
    """What fits into it, perhaps nothing."""
    title: str
    path: str
    """Shown."""
    bytes: int
    files: int
    bad: int


@dataclass(slots=True)
class _Directory:
    name: str
    inner: dict[str, _Directory] = field(default_factory=dict)
    weight: int = 0
    files: int = 0
    bad: int = 0

    def biggest(self) -> list[_Directory]:
        return sorted(self.inner.values(), key=lambda inner: -inner.weight)


TREEMAP_HEIGHT = 320
_DEEPEST = 5
_SMALLEST = 5.0
_MOST_CELLS = 160
_MOST_DIRECTORIES = 200_000


def draw_treemap(files: Iterable[FileSummary]) -> Sequence[Cell]:
    """Lay out the directories by the bytes that were left in them (squarified treemap, Bruls et al. 2000)."""
    root = _Directory("")
    made = 0
    for file in files:
        if file.net not in _LEFT:
            continue
        weight = max(file.bytes_written, 1)
        chain = [root]
        for part in escape_path(file.path).split("/")[1:-1][:40]:
            node = chain[-1].inner.get(part)
            if node is None:
                if made >= _MOST_DIRECTORIES:
                    break
                made += 1
                node = chain[-1].inner[part] = _Directory(part)
            chain.append(node)
        for node in chain:
            node.weight += weight
            node.files += 1
            node.bad += file.verdict is Verdict.VIOLATION
    cells: list[Cell] = []
    if root.files:
        _lay_out(_start(root), (0.0, 0.0, float(WIDTH), float(TREEMAP_HEIGHT)), 0, cells)
    return cells


def _start(root: _Directory) -> tuple[_Directory, str]:
    """Return the smallest directory that holds 95 percent, and its path."""
    node, path = root, ""
    while True:
        inner = next((each for each in node.inner.values() if each.weight >= root.weight * 0.95), None)
        if inner is None:
            return node, path or "/"
        node, path = inner, f"{path}/{inner.name}"


def _lay_out(
    directory: tuple[_Directory, str], area: tuple[float, float, float, float], depth: int, cells: list[Cell]
) -> None:
    node, path = directory
    x, y, width, height = area
    if width < _SMALLEST or height < _SMALLEST or len(cells) >= _MOST_CELLS:
        return
    name = path if depth == 0 else node.name
    while len(node.inner) == 1:
        (only,) = node.inner.values()
        if only.files != node.files:
            break
        node, name = only, f"{name.rstrip('/')}/{only.name}"
        path = f"{path.rstrip('/')}/{only.name}"
    worst = "allowed" if not node.bad else "violation" if node.bad * 2 > node.files else "mixed"
    room = int(width / 7)
    label = "" if width < 46 or height < 16 else name if len(name) <= room else f"…{name[1 - room :]}"
    bad = f", {plural(node.bad, 'violation')}" if node.bad else ""
    title = f"{path}: {size(node.weight)}, {plural(node.files, 'path')}{bad}"
    cells.append(
        Cell(x, y, width, height, min(depth, 3), worst, label, title, path, node.weight, node.files, node.bad)
    )
    if depth >= _DEEPEST or width < 14 or height < 24:
        return
    inside = (x + 2, y + 16, width - 4, height - 18)
    for inner, where in _squarify(node.biggest(), node.weight, inside):
        _lay_out((inner, f"{path.rstrip('/')}/{inner.name}"), where, depth + 1, cells)


def _squarify(
    nodes: Sequence[_Directory], total: int, area: tuple[float, float, float, float]
) -> Iterable[tuple[_Directory, tuple[float, float, float, float]]]:
    x, y, width, height = area
    if width <= 0 or height <= 0 or total <= 0:
        return
    scale = width * height / total
    number = 0
    while number < len(nodes) and width > 1 and height > 1:
        side = min(width, height)
        row = [nodes[number]]
        area_of_row = max(nodes[number].weight * scale, 1e-9)
        worst = max(side * side / area_of_row, area_of_row / side / side)
        number += 1
        while number < len(nodes):
            wider = area_of_row + nodes[number].weight * scale
            first, last = row[0].weight * scale, max(nodes[number].weight * scale, 1e-9)
            then = max(side * side * first / wider / wider, wider * wider / side / side / last)
            if then > worst:
                break
            worst, area_of_row = then, wider
            row.append(nodes[number])
            number += 1
        thick = area_of_row / side
        along = 0.0
        for node in row:
            length = node.weight * scale / thick if thick else 0.0
            yield (
                node,
                (x, y + along, thick, length) if width >= height else (x + along, y, length, thick),
            )
            along += length
        if width >= height:
            x, width = x + thick, width - thick
        else:
            y, height = y + thick, height - thick


class Lane(NamedTuple):
    """One zone, or one program, of the timeline."""

    y: float
    name: str
    paths: Sequence[tuple[str, str]]
    """Class and outline of its bars."""


class TimePicture(NamedTuple):
    """Changes over time, and what ran meanwhile."""

    width: float
    left: float
    """Where time begins."""
    height: float
    lanes: Sequence[Lane]
    programs: Sequence[Lane]
    microseconds: float
    """From the left end to the right one."""
    marks: Sequence[tuple[float, str]]
    """Where on the axis, and what time."""
    is_narrow: bool


class Moment(NamedTuple):
    """A line of the table behind the timeline."""

    begins: str
    ends: str
    cells: Sequence[tuple[str, int, int, int]]
    """Zone, changes, refusals, violations."""


NARROW = 360
_LANE = 36
_THIN = 16
_PROGRAMS = 10
_KINDS = {Mark.CHANGED: "bar", Mark.REFUSED: "bar refused", Mark.FORBIDDEN: "bar bad"}


def draw_timeline(report: Report, timeline: Timeline, tree: ProcessTree) -> Sequence[TimePicture]:
    """Lay out when what was changed: a lane for each zone, then the programs. Once wide, once for phones."""
    if not timeline.bins:
        return ()
    return [_timeline(report, timeline, tree, width) for width in (WIDTH, NARROW)]


def _extent(report: Report, timeline: Timeline) -> float:
    """Return how many nanoseconds the picture covers."""
    last = max(bin_ for _zone, _mark, bin_ in timeline.bins) + 1
    return max(report.audit.run.duration_s * 1e9, (last - 0.5) * timeline.bin_ns, 1.0)


def _zones(report: Report, timeline: Timeline) -> list[str | None]:
    used = {zone for zone, _mark, _bin in timeline.bins}
    named: list[str | None] = [zone.name for zone in report.policy.zones if zone.name in used]
    return [*dict.fromkeys(named), *([None] if None in used else [])]


def _timeline(report: Report, timeline: Timeline, tree: ProcessTree, width: int) -> TimePicture:
    is_narrow = width == NARROW
    left = 4.0 if is_narrow else 130.0
    above = 16 if is_narrow else 0
    total = _extent(report, timeline)
    merge = 4 if is_narrow else 1
    step = (width - left) * timeline.bin_ns * merge / total
    bins: Counter[Bin] = Counter()
    for (zone, mark, bin_), count in timeline.bins.items():
        bins[zone, mark, bin_ // merge] += count
    sums: Counter[tuple[str | None, int]] = Counter()
    for (zone, _mark, bin_), count in bins.items():
        sums[zone, bin_] += count
    highest = max(sums.values())
    lanes: list[Lane] = []
    top = 4.0
    for zone in _zones(report, timeline):
        base = top + above + _LANE - 6
        lanes.append(Lane(top, _lane_name(zone, is_narrow), _bars(bins, zone, (left, base, step), highest)))
        top += _LANE + above
    programs: list[Lane] = []
    for group in _busiest(tree):
        name = group.name if len(group.lives) == 1 else f"{group.name} x{len(group.lives):,}"
        path = _spans(group, (left, top + above, (width - left) / total), total)
        programs.append(Lane(top, _short(name, 40 if is_narrow else 18), [("life", path)]))
        top += _THIN + above
    parts = 2 if is_narrow else 4
    marks = [
        (left + (width - left) * part / parts, duration(total / 1e9 * part / parts) if part else "0")
        for part in range(parts + 1)
    ]
    return TimePicture(width, left, top + 22, lanes, programs, total / 1000, marks, is_narrow)


def _lane_name(zone: str | None, is_narrow: bool) -> str:
    return OUTSIDE if zone is None else _short(escape_text(zone), 40 if is_narrow else 18)


def _bars(
    bins: Mapping[Bin, int], zone: str | None, place: tuple[float, float, float], highest: int
) -> list[tuple[str, str]]:
    left, base, step = place
    outlines: dict[Mark, list[str]] = {mark: [] for mark in Mark}
    width = max(step - 0.3, 0.8)
    for bin_ in sorted({bin_ for named, _mark, bin_ in bins if named == zone}):
        counts = {mark: bins.get((zone, mark, bin_), 0) for mark in Mark}
        total = sum(counts.values())
        height = max(2.0, math.sqrt(total / highest) * (_LANE - 10))
        y = base
        for mark in reversed(Mark):
            if counts[mark]:
                part = max(1.5, height * counts[mark] / total)
                outlines[mark].append(
                    f"M{left + bin_ * step:.1f} {y - part:.1f}h{width:.1f}v{part:.1f}h{-width:.1f}z"
                )
                y -= part
    return [(_KINDS[mark], "".join(parts)) for mark, parts in outlines.items() if parts]


def _busiest(tree: ProcessTree) -> list[Group]:
    """Return the programs that changed most or ran longest, in the order of the tree."""

    def weight(group: Group) -> tuple[int, int]:
        ran = sum((life.ended_ns or life.started_ns) - life.started_ns for life in group.lives)
        return group.own.violations * 1_000_000 + group.own.files, ran

    return sorted(sorted(tree.groups, key=weight)[-_PROGRAMS:], key=lambda group: group.number)


def _spans(group: Group, place: tuple[float, float, float], total: float) -> str:
    """Return when lives of a group ran, as one outline; what touches is joined."""
    left, y, scale = place
    spans: list[list[float]] = []
    for life in sorted(group.lives, key=lambda life: life.started_ns):
        ended = total if life.ended_ns is None else life.ended_ns
        begin, end = left + life.started_ns * scale, left + min(ended, total) * scale
        if spans and begin <= spans[-1][1] + 0.5:
            spans[-1][1] = max(spans[-1][1], end)
        else:
            spans.append([begin, max(end, begin + 1)])
    return "".join(f"M{begin:.1f} {y + 4:.1f}h{end - begin:.1f}v8h{begin - end:.1f}z" for begin, end in spans)


def list_moments(report: Report, timeline: Timeline, parts: int = 10) -> list[Moment]:
    """Return the figures of the timeline as a table: ten spans of equal length."""
    if not timeline.bins:
        return []
    total = _extent(report, timeline)
    sums: Counter[tuple[int, str | None, Mark]] = Counter()
    for (zone, mark, bin_), count in timeline.bins.items():
        part = min(int(bin_ * timeline.bin_ns / total * parts), parts - 1)
        sums[part, zone, mark] += count
    return [
        Moment(
            duration(total / 1e9 * part / parts),
            duration(total / 1e9 * (part + 1) / parts),
            [
                (
                    OUTSIDE if zone is None else escape_text(zone),
                    sums[part, zone, Mark.CHANGED],
                    sums[part, zone, Mark.REFUSED],
                    sums[part, zone, Mark.FORBIDDEN],
                )
                for zone in _zones(report, timeline)
            ],
        )
        for part in range(parts)
    ]


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most // 3]}…{text[1 - most + most // 3 :]}"
