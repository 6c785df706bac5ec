"""Every path and every event of a report, packed into columns for the page's script.

Nothing is left out. Paths are sorted and front-coded; every other column is numbers, most of
them differences to the row before, as 32-bit integers whose bytes lie in planes (all lowest bytes,
then all second ones, …), which deflate shrinks best. All is one raw deflate stream in base64, which
browsers undo with DecompressionStream. The tables that numbers lead into (zones, results, …) are
JSON beside it. The script's half is reports/templates/js/decode.js.

On the way the events are also added up for the pictures (`Flows`, `Timeline`), in the same pass.
"""

from __future__ import annotations

import base64
import enum
import json
import sys
import zlib
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from writeaudit.audit import Binary, Mount
from writeaudit.events import Access, Certainty, FsEvent, Op
from writeaudit.judgement import FileSummary, Judged, NetEffect, Reason, Verdict
from writeaudit.report.html.packages import find_packages
from writeaudit.report.html.process_tree import ProcessTree
from writeaudit.report.view import Arrivals, Numbers, Report
from writeaudit.text import escape_path, escape_text, plural, size

VERSION = 2
ORDER = (
    Verdict.VIOLATION,
    Verdict.ATTEMPT,
    Verdict.UNPLACED,
    Verdict.ALLOWED,
    Verdict.FAILED,
    Verdict.READ,
)
"""Verdicts, the worst first."""

_RANK = {verdict: rank for rank, verdict in enumerate(ORDER)}
_NETS = {net: number for number, net in enumerate(NetEffect)}
_OPS = {op: number for number, op in enumerate(Op)}
_ACCESS = {Access.READ: "read", Access.WRITE: "write", Access.READ_WRITE: "read-write", Access.PATH: "path"}
_SAFE = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"})
_LEVEL = 6
_CHUNK = 3 << 16
"""Bytes that become base64 at once; a multiple of three, so that pieces can be joined."""
_MOST = (1 << 53) - 1
"""The greatest number that a script can hold exactly."""


class Shape(NamedTuple):
    """How an event was made, beside its operation."""

    access: Access | None
    flags: tuple[str, ...]
    created: bool
    mode: int | None
    certainty: Certainty

    @classmethod
    def of(cls, event: FsEvent) -> Shape:
        """Return the shape of an event."""
        return cls(event.access, event.flags, event.created, event.mode, event.certainty)

    def text(self) -> str:
        """Return it for people: access, flags, mode, certainty."""
        parts = [] if self.access is None else [_ACCESS[self.access]]
        parts += self.flags
        if self.created:
            parts.append("made the file")
        if self.mode is not None:
            parts.append(f"mode {self.mode:04o}")
        if self.certainty is Certainty.LEXICAL:
            parts.append("path as text only")
        return " · ".join(parts)


def describe_shape(event: FsEvent) -> str:
    """Return how an event was made, for people."""
    return Shape.of(event).text()


Flow = tuple[int | None, int | None]
"""Mounts of source and target."""


@dataclass(slots=True)
class Flows:
    """Links and clones between mounts: what was made, and what was refused by which errno."""

    results: Counter[tuple[Flow, Op, str]] = field(default_factory=Counter)
    copied: Counter[Flow] = field(default_factory=Counter)
    """Bytes that copy calls moved."""


class Mark(enum.IntEnum):
    """What a bar of the timeline stands for."""

    CHANGED = 0
    REFUSED = 1
    FORBIDDEN = 2


Bin = tuple[str | None, Mark, int]
"""Zone, kind of change, number of the bin."""


class Timeline:
    """Changes over time, by zone, in at most `MOST_BINS` bins whose width grows with the run."""

    MOST_BINS = 512

    def __init__(self) -> None:
        self._shift = 17  # bins of 0.13 ms
        self.bins: Counter[Bin] = Counter()

    def add(self, zone: str | None, mark: Mark, time_ns: int) -> None:
        """Count one change."""
        bin_ = time_ns >> self._shift
        while bin_ >= self.MOST_BINS:
            self._widen()
            bin_ = time_ns >> self._shift
        self.bins[zone, mark, bin_] += 1

    def _widen(self) -> None:
        self._shift += 1
        wider: Counter[Bin] = Counter()
        for (zone, mark, bin_), count in self.bins.items():
            wider[zone, mark, bin_ >> 1] += count
        self.bins = wider

    @property
    def bin_ns(self) -> int:
        """Width of a bin in nanoseconds."""
        return 1 << self._shift


class Packed(NamedTuple):
    """What the page carries for its script, and what the pictures are made from."""

    tables: str
    """JSON, safe inside a ``<script>`` element."""
    columns: Sequence[str]
    """Pieces of base64."""
    flows: Flows
    timeline: Timeline
    tree: ProcessTree
    """With what each program did."""
    lists: Mapping[str, int]
    """How much there is in the lists that not every report has."""


def pack_report(report: Report) -> Packed:
    """Pack a report. Takes some 20 bytes of memory per event on the way."""
    return _Packer(report).pack()


class _Stream:
    """Numbers and texts as they are added, deflated at once."""

    def __init__(self) -> None:
        self._packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, -15)
        self._waiting = bytearray()
        self.pieces: list[str] = []
        self.lengths: list[int] = []

    def add_bytes(self, data: bytes | bytearray) -> None:
        """Add a column of bytes as it stands."""
        self.lengths.append(len(data))
        self._feed(data)

    def add_numbers(self, column: array[int]) -> None:
        """Add a column of 32-bit numbers, plane by plane; planes of zeros cost nothing."""
        data = column.tobytes() if sys.byteorder == "little" else _swapped(column)
        self.lengths.append(len(data))
        for plane in range(4):
            self._feed(data[plane::4])

    def _feed(self, data: bytes | bytearray) -> None:
        self._waiting += self._packer.compress(data)
        self._encode(len(self._waiting) // _CHUNK * _CHUNK)

    def _encode(self, size: int) -> None:
        if size:
            self.pieces.append(base64.b64encode(self._waiting[:size]).decode("ascii"))
            del self._waiting[:size]

    def finish(self) -> None:
        """End the stream."""
        self._waiting += self._packer.flush()
        self._encode(len(self._waiting))


def _swapped(column: array[int]) -> bytes:
    copy = array(column.typecode, column)
    copy.byteswap()
    return copy.tobytes()


class _Packer:
    def __init__(self, report: Report) -> None:
        self._report = report
        self._stream = _Stream()
        self._zones: Numbers[str | None] = Numbers()
        self._mounts: Numbers[int | None] = Numbers()
        self._results: Numbers[str] = Numbers()
        self._shapes: Numbers[Shape] = Numbers()
        self._opsets: Numbers[tuple[tuple[str, int], ...]] = Numbers()
        self._texts: Numbers[bytes] = Numbers()
        self._files: dict[tuple[bytes, int | None], int] = {}
        self._flows, self._timeline = Flows(), Timeline()
        self._tree = ProcessTree(report.audit.processes)
        self._events = 0

    def pack(self) -> Packed:
        self._pack_files(self._report.files)
        self._pack_events()
        self._pack_texts()
        self._stream.finish()
        self._tree.finish()
        tables = self._tables()
        lists = {name: len(tables[name]) for name in ("binaries", "packages", "links")}
        text = json.dumps(tables, separators=(",", ":")).translate(_SAFE)
        return Packed(text, self._stream.pieces, self._flows, self._timeline, self._tree, lists)

    def _pack_files(self, files: Iterable[FileSummary]) -> None:
        names, shared, lengths = bytearray(), array("I"), array("I")
        zones, mounts, opsets = array("I"), array("I"), array("I")
        verdicts, nets, sizes = bytearray(), bytearray(), array("I")
        high_sizes = array("I")
        previous = b""
        for number, file in enumerate(files):
            self._files[file.path, file.mount] = number
            shown = _shown(file.path)
            common = _common(previous, shown)
            names += shown[common:]
            shared.append(common)
            lengths.append(len(shown) - common)
            previous = shown
            zones.append(self._zones[file.zone])
            mounts.append(self._mounts[file.mount])
            opsets.append(self._opsets[tuple(file.ops.items())])
            verdicts.append(_RANK[file.verdict])
            nets.append(_NETS[file.net])
            written = min(file.bytes_written, _MOST)
            sizes.append(written & 0xFFFFFFFF)
            high_sizes.append(written >> 32)
        for data in (names, verdicts, nets):
            self._stream.add_bytes(data)
        for column in (shared, lengths, zones, mounts, opsets, sizes, high_sizes):
            self._stream.add_numbers(column)

    def _pack_events(self) -> None:
        seqs, times, lives, files = array("I"), array("I"), array("i"), array("i")
        ops, verdicts = bytearray(), bytearray()
        results, shapes, sources, seen = array("I"), array("I"), array("i"), array("I")
        sizes, high_sizes, calls = array("I"), array("I"), array("I")
        last_seq = last_us = last_life = last_file = 0
        kinds: dict[tuple[object, ...], tuple[int, int, int, int]] = {}
        find = self._files.get
        for event, judged in self._report.judged_events():
            life = self._tree.find_life(event.pid, event.time_ns)
            seqs.append(event.seq - last_seq - 1)
            last_seq = event.seq
            micros = event.time_ns // 1000
            times.append(min(max(micros - last_us, 0), 0xFFFFFFFF))
            last_us = max(micros, last_us)
            lives.append(life - last_life)
            last_life = life
            file = find((event.path, event.mount), -1)
            self._add_up(event, judged, life, file)
            files.append(file - last_file)
            last_file = file
            key = (event.op, event.result, judged.verdict, *Shape.of(event))
            kind = kinds.get(key)
            if kind is None:
                if len(kinds) > 1 << 16:
                    kinds.clear()
                kind = kinds[key] = (
                    _OPS[event.op],
                    _RANK[judged.verdict],
                    self._results[event.result],
                    self._shapes[Shape.of(event)],
                )
            ops.append(kind[0])
            verdicts.append(kind[1])
            results.append(kind[2])
            shapes.append(kind[3])
            sources.append(self._source(event))
            seen.append(0 if event.seen_as is None else self._texts[event.seen_as] + 1)
            moved = 0 if event.bytes is None else min(event.bytes, _MOST - 1) + 1
            sizes.append(moved & 0xFFFFFFFF)
            high_sizes.append(moved >> 32)
            calls.append(0 if event.calls is None else min(event.calls, 0xFFFFFFFE) + 1)
        self._events = len(ops)
        for data in (ops, verdicts):
            self._stream.add_bytes(data)
        for column in (seqs, times, lives, files, results, shapes, sources, seen, sizes, high_sizes, calls):
            self._stream.add_numbers(column)

    def _source(self, event: FsEvent) -> int:
        """Return 0 for none, N for the file N - 1, -N for the text N - 1."""
        source = event.source
        if source is None:
            return 0
        if event.op is not Op.SYMLINK:
            number = self._files.get((source, event.source_mount))
            if number is not None:
                return number + 1
        return -self._texts[source] - 1

    def _add_up(self, event: FsEvent, judged: Judged, life: int, file: int) -> None:
        verdict = judged.verdict
        if verdict is Verdict.ALLOWED:
            self._timeline.add(judged.zone, Mark.CHANGED, event.time_ns)
            self._tree.add_change(life, file, event.bytes or 0, is_violation=False)
        elif verdict is Verdict.VIOLATION:
            self._timeline.add(judged.zone, Mark.FORBIDDEN, event.time_ns)
            self._tree.add_change(life, file, event.bytes or 0, is_violation=True)
        elif verdict is Verdict.ATTEMPT or (judged.reason is Reason.REFUSED and event.op is not Op.ACCESS):
            self._timeline.add(judged.zone, Mark.REFUSED, event.time_ns)
        op = event.op
        if op is Op.LINK or op is Op.CLONE or op is Op.RENAME:
            if op is not Op.RENAME or event.result == "EXDEV":
                self._flows.results[(event.source_mount, event.mount), op, event.result] += 1
        elif op is Op.COPY and event.bytes:
            self._flows.copied[event.source_mount, event.mount] += event.bytes

    def _pack_texts(self) -> None:
        lengths, data = array("I"), bytearray()
        for text in self._texts:
            shown = _shown(text)
            lengths.append(len(shown))
            data += shown
        self._stream.add_bytes(data)
        self._stream.add_numbers(lengths)

    def _tables(self) -> dict[str, Any]:
        known = {mount.id: mount for mount in self._report.audit.mounts}
        mounts = [
            [number, escape_path(known[number].mountpoint), escape_text(known[number].fstype)]
            if number in known
            else [number, "unknown", ""]
            for number in self._mounts
        ]
        return {
            "version": VERSION,
            "files": len(self._files),
            "events": self._events,
            "texts": len(self._texts),
            "lengths": self._stream.lengths,
            "zones": [None if zone is None else escape_text(zone) for zone in self._zones],
            "mounts": mounts,
            "results": list(self._results),
            "shapes": [shape.text() for shape in self._shapes],
            "opsets": [dict(opset) for opset in self._opsets],
            "verdicts": list(ORDER),
            "nets": list(NetEffect),
            "ops": list(Op),
            "complete": self._report.audit.completeness.complete,
            "binaries": [_binary(binary) for binary in self._report.audit.binaries],
            "packages": [
                [
                    *map(escape_path, (package.directory, package.name, package.version)),
                    package.files,
                    package.violations,
                    package.bytes,
                ]
                for package in find_packages(self._report.files)
            ],
            "links": [_arrivals(arrivals, known) for arrivals in self._report.overview.arrivals],
            "lives": self._tree.pids,
            "groups": self._tree.group_numbers,
            "programs": [group.name for group in self._tree.groups],
            "ends": [group.end for group in self._tree.groups],
        }


def _binary(binary: Binary) -> list[str]:
    """Return path, kind, machine, what protects it, and what it needs; all shown text."""
    facts: list[str] = []
    if binary.existed:
        facts.append("was there before")
    if binary.damaged:
        facts.append(binary.damaged)
    elif binary.kind == "elf":
        facts += ["pie"] if binary.pie else ["no pie"] if binary.type == "exec" else []
        facts += [f"relro {binary.relro}"] if binary.relro else []
        facts += ["executable stack"] if binary.executable_stack else []
        facts += ["text relocations"] if binary.text_relocations else []
        facts += [f"rpath {binary.rpath}"] if binary.rpath else []
        facts += [f"runpath {binary.runpath}"] if binary.runpath else []
        facts += [f"writable by all: {path}" for path in binary.writable_paths]
    kind = " ".join(filter(None, (binary.kind, binary.type)))
    needs = ", ".join(binary.needed) or binary.interpreter or ""
    shown = (escape_text(text) for text in (kind, binary.machine, "; ".join(facts), needs))
    return [escape_path(binary.path), *shown]


def _arrivals(arrivals: Arrivals, known: Mapping[int, Mount]) -> list[str]:
    """Return two mounts, and how files came from the one to the other."""

    def name(number: int | None) -> str:
        mount = known.get(number) if number is not None else None
        return (
            "unknown" if mount is None else f"{escape_path(mount.mountpoint)} ({escape_text(mount.fstype)})"
        )

    how = [
        f"{plural(count, 'file')} {came.replace('_', ' ')}"
        + (f" ({size(arrivals.bytes[came])})" if arrivals.bytes.get(came) else "")
        for came, count in arrivals.files.items()
        if count
    ]
    return [name(arrivals.source_mount), name(arrivals.mount), ", ".join(how)]


def _common(one: bytes, other: bytes) -> int:
    """Return how many bytes two texts begin with alike."""
    most = min(len(one), len(other))
    if one[:most] == other[:most]:
        return most
    low, high = 0, most
    while high - low > 1:
        middle = (low + high) // 2
        if one[:middle] == other[:middle]:
            low = middle
        else:
            high = middle
    return low


def _shown(path: bytes) -> bytes:
    return escape_path(path).encode("utf-8")


def ranked_files(report: Report) -> Iterator[FileSummary]:
    """Yield the files in the order of the list: the worst verdict first, then by path."""
    files, by_verdict = report.files, report.overview.by_verdict
    return (files[number] for verdict in ORDER for number in by_verdict[verdict])
