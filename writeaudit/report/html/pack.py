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
import json
import sys
import zlib
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from writeaudit.events import Access, Certainty, FsEvent, Op
from writeaudit.judgement import FileSummary, Judged, NetEffect, Verdict
from writeaudit.paths import last_component
from writeaudit.report.view import Numbers, Report
from writeaudit.text import escape_path, escape_text

VERSION = 1
ORDER = (Verdict.VIOLATION, Verdict.ATTEMPT, Verdict.ALLOWED, Verdict.FAILED, Verdict.READ)
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


class Timeline:
    """Changes over time, by zone, in at most `MOST_BINS` bins whose width grows with the run."""

    MOST_BINS = 512

    def __init__(self) -> None:
        self._shift = 17  # bins of 0.13 ms
        self.bins: Counter[tuple[str | None, bool, int]] = Counter()
        """How many changes, by zone, whether they are violations or refused, and bin."""

    def add(self, zone: str | None, bad: bool, time_ns: int) -> None:
        """Count one change."""
        bin_ = time_ns >> self._shift
        while bin_ >= self.MOST_BINS:
            self._widen()
            bin_ = time_ns >> self._shift
        self.bins[zone, bad, bin_] += 1

    def _widen(self) -> None:
        self._shift += 1
        wider: Counter[tuple[str | None, bool, int]] = Counter()
        for (zone, bad, bin_), count in self.bins.items():
            wider[zone, bad, bin_ >> 1] += count
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
        self._events = 0

    def pack(self) -> Packed:
        self._pack_files(self._report.files)
        self._pack_events()
        self._pack_texts()
        self._stream.finish()
        tables = json.dumps(self._tables(), separators=(",", ":")).translate(_SAFE)
        return Packed(tables, self._stream.pieces, self._flows, self._timeline)

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
            size = min(file.bytes_written, _MOST)
            sizes.append(size & 0xFFFFFFFF)
            high_sizes.append(size >> 32)
        for data in (names, verdicts, nets):
            self._stream.add_bytes(data)
        for column in (shared, lengths, zones, mounts, opsets, sizes, high_sizes):
            self._stream.add_numbers(column)

    def _pack_events(self) -> None:
        seqs, times, pids, files = array("I"), array("I"), array("i"), array("i")
        ops, verdicts = bytearray(), bytearray()
        results, shapes, sources, seen = array("I"), array("I"), array("i"), array("I")
        sizes, high_sizes, calls = array("I"), array("I"), array("I")
        last_seq = last_us = last_pid = last_file = 0
        kinds: dict[tuple[object, ...], tuple[int, int, int, int]] = {}
        find = self._files.get
        for event, judged in self._report.judged_events():
            self._add_up(event, judged)
            seqs.append(event.seq - last_seq - 1)
            last_seq = event.seq
            micros = event.time_ns // 1000
            times.append(min(max(micros - last_us, 0), 0xFFFFFFFF))
            last_us = max(micros, last_us)
            pids.append(event.pid - last_pid)
            last_pid = event.pid
            file = find((event.path, event.mount), -1)
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
            size = 0 if event.bytes is None else min(event.bytes, _MOST - 1) + 1
            sizes.append(size & 0xFFFFFFFF)
            high_sizes.append(size >> 32)
            calls.append(0 if event.calls is None else min(event.calls, 0xFFFFFFFE) + 1)
        self._events = len(ops)
        for data in (ops, verdicts):
            self._stream.add_bytes(data)
        for column in (seqs, times, pids, files, results, shapes, sources, seen, sizes, high_sizes, calls):
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

    def _add_up(self, event: FsEvent, judged: Judged) -> None:
        verdict = judged.verdict
        if verdict is not Verdict.READ and verdict is not Verdict.FAILED:
            bad = verdict is Verdict.VIOLATION or verdict is Verdict.ATTEMPT
            self._timeline.add(judged.zone, bad, event.time_ns)
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

    def _tables(self) -> dict[str, object]:
        known = {mount.id: mount for mount in self._report.audit.mounts}
        mounts = [
            [number, escape_path(known[number].mountpoint), known[number].fstype]
            if number in known
            else [number, "unknown", ""]
            for number in self._mounts
        ]
        processes = self._report.audit.processes
        names = {process.pid: escape_path(last_component(process.exe)) for process in processes}
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
            "programs": names,
        }


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
