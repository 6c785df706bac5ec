"""What the pictures of the page escape_path, laid out: the template draws it as SVG, without any script.

Coordinates are those of a view box `WIDTH` wide; each picture has a table of the same figures behind it.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from writeaudit.audit import Mount
from writeaudit.events import OK, Op
from writeaudit.judgement import Came, FileSummary, NetEffect, Verdict
from writeaudit.report.html.pack import Flows, Timeline
from writeaudit.report.view import CHANGED, OUTSIDE, Report
from writeaudit.report.wording import duration
from writeaudit.text import escape_path, format_device, plural, size

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
    return MountMap(top, laid_out)


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
    kind = f"{mount.fstype} {format_device(mount.dev)} {options}"
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
    """Shown; what a click filters by."""


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
_MOST_CELLS = 700
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
    cells.append(Cell(x, y, width, height, min(depth, 3), worst, label, title, path))
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


class Bar(NamedTuple):
    """Changes of one moment in one lane."""

    x: float
    y: float
    height: float
    bad: bool


class Lane(NamedTuple):
    """One zone of the timeline."""

    y: float
    name: str
    bars: Sequence[Bar]


class TimePicture(NamedTuple):
    """Changes over time."""

    height: float
    lanes: Sequence[Lane]
    bar_width: float
    marks: Sequence[tuple[float, str]]
    """Where on the axis, and what time."""


_LANE = 36
_AXIS = 110.0


def draw_timeline(report: Report, timeline: Timeline) -> TimePicture | None:
    """Lay out when what was changed: a lane for each zone."""
    if not timeline.bins:
        return None
    last = max(max(bin_ for _zone, _bad, bin_ in timeline.bins) + 1, 1)
    total = max(report.audit.run.duration_s, last * timeline.bin_ns / 1e9 * 0.5, 1e-9)
    bins = max(last, math.ceil(total * 1e9 / timeline.bin_ns))
    step = (WIDTH - _AXIS) / bins
    zones: list[str | None] = [zone.name for zone in report.policy.zones]
    used = {zone for zone, _bad, _bin in timeline.bins}
    lanes: list[Lane] = []
    highest = max(_sums(timeline).values())
    for zone in [*(zone for zone in zones if zone in used), *([None] if None in used else [])]:
        top = 4 + len(lanes) * _LANE
        lanes.append(Lane(top, OUTSIDE if zone is None else zone, _bars(timeline, zone, top, step, highest)))
    seconds = bins * timeline.bin_ns / 1e9
    marks = [
        (_AXIS + (WIDTH - _AXIS) * part / 4, duration(seconds * part / 4) if part else "0")
        for part in range(5)
    ]
    return TimePicture(4 + len(lanes) * _LANE + 22, lanes, max(step - 0.3, 1.0), marks)


def _sums(timeline: Timeline) -> Mapping[tuple[str | None, int], int]:
    sums: dict[tuple[str | None, int], int] = defaultdict(int)
    for (zone, _bad, bin_), count in timeline.bins.items():
        sums[zone, bin_] += count
    return sums


def _bars(timeline: Timeline, zone: str | None, top: float, step: float, highest: int) -> list[Bar]:
    good = {bin_: n for (named, bad, bin_), n in timeline.bins.items() if named == zone and not bad}
    ill = {bin_: n for (named, bad, bin_), n in timeline.bins.items() if named == zone and bad}
    bars = []
    base = top + _LANE - 6
    for bin_ in sorted({*good, *ill}):
        count = good.get(bin_, 0) + ill.get(bin_, 0)
        height = max(2.0, math.sqrt(count / highest) * (_LANE - 10))
        red = height * ill.get(bin_, 0) / count
        x = _AXIS + bin_ * step
        if height > red:
            bars.append(Bar(x, base - height, height - red, False))
        if red:
            bars.append(Bar(x, base - red, red, True))
    return bars


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most // 3]}…{text[1 - most + most // 3 :]}"
