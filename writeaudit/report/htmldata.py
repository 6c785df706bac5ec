"""The paths and events that the HTML report carries for its script: one compact JSON object.

Rows are arrays and what repeats (directories, sets of operations, …) is a number into a
table at the end of the object, so that 100,000 rows take some 10 MB and not 60. The text is
safe inside a ``<script>`` element: ``<``, ``>`` and ``&`` are escaped, and everything
beyond ASCII with them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

from writeaudit.events import MANNER, Access, Certainty, FsEvent, Op
from writeaudit.judgement import FileSummary, Judged, Net, Verdict
from writeaudit.report.batches import batches
from writeaudit.report.view import Numbers, Report, only_looked
from writeaudit.text import plural, show

_ORDER = (Verdict.VIOLATION, Verdict.ATTEMPT, Verdict.ALLOWED, Verdict.FAILED, Verdict.READ)
_RANK = {verdict: rank for rank, verdict in enumerate(_ORDER)}
_ACCESS = {Access.READ: "read", Access.WRITE: "write", Access.READ_WRITE: "read-write", Access.PATH: "path"}
_NETS = {net: number for number, net in enumerate(Net)}
_OPS = {op: number for number, op in enumerate(Op)}
_SAFE = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"})
_AS_IT_IS = bytes(byte for byte in range(0x20, 0x7F) if byte not in b'"\\<>&')
"""What stands for itself in a JSON string, shown and safe inside ``<script>``."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much the HTML report embeds; what is above stays in the JSON report."""

    files: int = 200_000
    events: int = 200_000


@dataclass(slots=True)
class Embedded:
    """What was embedded and what was left out, known once the data has been written."""

    files: int = 0
    files_left_out: int = 0
    events: int = 0
    events_left_out: int = 0
    events_added_up: int = 0
    """Opens for reading: counted with their file, not listed."""

    def statement(self) -> str:
        """Return what a reader must know about the list, in one or two sentences."""
        one = self.events_added_up == 1
        text = (
            f"{plural(self.files, 'path')} and {plural(self.events, 'event')} are listed; "
            f"{plural(self.events_added_up, 'open')} for reading only {'is' if one else 'are'} "
            f"counted with {'its path' if one else 'their paths'} and not listed one by one."
        )
        if self.files_left_out or self.events_left_out:
            text += (
                f" Left out of this page for its size: {plural(self.files_left_out, 'path')} and "
                f"{plural(self.events_left_out, 'event')}. The JSON report has them all."
            )
        return text


class _Shape(NamedTuple):
    """What the columns of an event leave out."""

    access: Access | None
    flags: tuple[str, ...]
    created: bool
    mode: int | None
    certainty: Certainty

    @classmethod
    def of(cls, event: FsEvent) -> _Shape:
        return cls(event.access, event.flags, event.created, event.mode, event.certainty)

    def text(self) -> str:
        parts = [] if self.access is None else [_ACCESS[self.access]]
        parts += self.flags
        if self.created:
            parts.append("made the file")
        if self.mode is not None:
            parts.append(f"mode {self.mode:04o}")
        if self.certainty is Certainty.LEXICAL:
            parts.append("path as text only")
        return " · ".join(parts)


def shape(event: FsEvent) -> str:
    """Return how an event was made, for people: access, flags, mode, certainty."""
    return _Shape.of(event).text()


def ranked(report: Report) -> Iterator[FileSummary]:
    """Yield the files in the order of the list: the worst verdict first, then by path."""
    files, by_verdict = report.files, report.overview.by_verdict
    return (files[number] for verdict in _ORDER for number in by_verdict[verdict])


def escape_json(value: object) -> str:
    """Return ``value`` as ASCII JSON without a character that HTML could take for markup."""
    return json.dumps(value, separators=(",", ":")).translate(_SAFE)


def _string(raw: bytes) -> str:
    """Return `escape_json` of shown bytes; most names need no escape at all."""
    if raw.translate(None, _AS_IT_IS):
        return escape_json(show(raw))
    return f'"{raw.decode("ascii")}"'


def data(report: Report, embedded: Embedded, limits: Limits) -> Iterator[str]:
    """Yield the data block, piece by piece; fill in ``embedded`` on the way."""
    yield from _Writer(report, embedded, limits).write()


class _Writer:
    def __init__(self, report: Report, embedded: Embedded, limits: Limits) -> None:
        self._report = report
        self._embedded = embedded
        self._limits = limits
        self._directories: Numbers[bytes] = Numbers()
        self._opsets: Numbers[tuple[tuple[str, int], ...]] = Numbers()
        self._zones: Numbers[str | None] = Numbers()
        self._mounts: Numbers[int | None] = Numbers()
        self._results: Numbers[str] = Numbers()
        self._shapes: Numbers[_Shape] = Numbers()
        self._files: dict[tuple[bytes, int | None], int] = {}

    def write(self) -> Iterator[str]:
        yield '{"files":['
        yield from batches(self._file_rows())
        yield '],"events":['
        yield from batches(self._event_rows())
        yield "],"
        yield '"dirs":['
        yield from batches(map(_string, self._directories))
        yield "],"
        yield escape_json(self._tables())[1:]

    def _tables(self) -> dict[str, object]:
        mounts = {mount.id: mount for mount in self._report.audit.mounts}
        labels = [
            [number, show(mounts[number].mountpoint), mounts[number].fstype]
            if number in mounts
            else [number, "unknown", ""]
            for number in self._mounts
        ]
        names = {p.pid: show(p.exe.rpartition(b"/")[2]) for p in self._report.audit.processes}
        return {
            "opsets": [dict(opset) for opset in self._opsets],
            "zones": list(self._zones),
            "mounts": labels,
            "results": list(self._results),
            "shapes": [shape.text() for shape in self._shapes],
            "verdicts": list(_ORDER),
            "nets": list(Net),
            "ops": list(Op),
            "programs": names,
            "embedded": self._embedded.statement(),
        }

    def _file_rows(self) -> Iterator[str]:
        total = len(self._report.files)
        self._embedded.files = min(total, self._limits.files)
        self._embedded.files_left_out = total - self._embedded.files
        files, directories, zones = self._files, self._directories, self._zones
        mounts, opsets = self._mounts, self._opsets
        for number, file in enumerate(islice(ranked(self._report), self._limits.files)):
            path, mount = file.path, file.mount
            files[path, mount] = number
            cut = path.rfind(b"/") + 1
            yield (
                f"[{directories[path[:cut]]},{_string(path[cut:])},{zones[file.zone]},{_RANK[file.verdict]},"
                f"{_NETS[file.net]},{mounts[mount]},{opsets[tuple(file.ops.items())]},{file.bytes_written}]"
            )

    def _event_rows(self) -> Iterator[str]:
        report, embedded, files = self._report, self._embedded, self._files
        proofs = {seq for finding in report.findings for seq in finding.evidence}
        kinds: dict[tuple[object, ...], tuple[str, int]] = {}
        looked_at = 0
        for event, judged in self._candidates(proofs):
            seq = event.seq
            proves = seq in proofs
            file = files.get((event.path, event.mount))
            if file is None and not proves:
                continue
            if only_looked(event, judged):
                if not proves:
                    continue
                looked_at += 1
            if file is None:
                continue
            embedded.events += 1
            op, certainty = event.op, event.certainty
            manner = event[MANNER]
            key = (op, judged.verdict, certainty, manner)
            kind = kinds.get(key)
            if kind is None:
                words = f"{_OPS[op]},{self._results[event.result]},{_RANK[judged.verdict]}"
                kind = kinds[key] = words, self._shapes[_Shape.of(event)]
            words, shape_ = kind
            yield (
                f"[{seq},{event.time_ns // 1000},{event.pid},{file},{words},{self._source(event)},"
                f"{_or_null(event.bytes)},{_or_null(event.calls)},{shape_},"
                f"{'null' if event.seen_as is None else _string(event.seen_as)}]"
            )
        # What was not met here, or not looked at, is known from the totals.
        embedded.events_added_up = report.totals.looks - looked_at
        embedded.events_left_out = report.totals.events - embedded.events_added_up - embedded.events

    def _candidates(self, proofs: AbstractSet[int]) -> Iterator[tuple[FsEvent, Judged]]:
        """Yield events until enough of them are embedded, then what is left of those that prove a finding."""
        for event, judged in self._report.judged_events():
            if self._embedded.events >= self._limits.events:
                yield from self._report.find({seq for seq in proofs if seq >= event.seq}).values()
                return
            yield event, judged

    def _source(self, event: FsEvent) -> str:
        """Return the source's row number if it has a row, else its text."""
        source = event.source
        if source is None:
            return "null"
        if event.op is not Op.SYMLINK:
            number = self._files.get((source, event.source_mount))
            if number is not None:
                return str(number)
        return _string(source)


def _or_null(value: int | None) -> str:
    return "null" if value is None else str(value)
