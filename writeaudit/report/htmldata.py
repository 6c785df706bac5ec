"""The paths and events that the HTML report carries for its script: one compact JSON object.

Rows are arrays and what repeats (directories, sets of operations, …) is a number into a
table at the end of the object, so that 100,000 rows take some 10 MB and not 60. The text is
safe inside a ``<script>`` element: ``<``, ``>`` and ``&`` are escaped, and everything
beyond ASCII with them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

from writeaudit.events import Access, Certainty, FsEvent, Op
from writeaudit.judgement import FileSummary, Judged, Net, Verdict
from writeaudit.report.view import Report
from writeaudit.text import plural, show

_T = TypeVar("_T")
_BATCH = 1000
_ORDER = (Verdict.VIOLATION, Verdict.ATTEMPT, Verdict.ALLOWED, Verdict.FAILED, Verdict.READ)
_RANK = {verdict: rank for rank, verdict in enumerate(_ORDER)}
_ACCESS = {Access.READ: "read", Access.WRITE: "write", Access.READ_WRITE: "read-write", Access.PATH: "path"}
_SAFE = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"})


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


class _Table(Generic[_T]):
    """Numbers for things that repeat, in the order of their first appearance."""

    def __init__(self) -> None:
        self._numbers: dict[_T, int] = {}

    def number(self, item: _T) -> int:
        return self._numbers.setdefault(item, len(self._numbers))

    def __iter__(self) -> Iterator[_T]:
        return iter(self._numbers)


def rank_files(files: Sequence[FileSummary]) -> list[FileSummary]:
    """Return files in the order of the list: the worst verdict first, then by path."""
    return sorted(files, key=lambda file: (_RANK[file.verdict], file.path))


def added_up(event: FsEvent, judged: Judged) -> bool:
    """Whether an event is counted with its file only: an open that could change nothing."""
    return (
        event.op is Op.OPEN
        and not event.created
        and (event.access is None or not event.access.writes)
        and (judged.verdict is Verdict.READ or judged.verdict is Verdict.FAILED)
    )


def escape_json(value: object) -> str:
    """Return ``value`` as ASCII JSON without a character that HTML could take for markup."""
    return json.dumps(value, separators=(",", ":")).translate(_SAFE)


def data(report: Report, ranked: Sequence[FileSummary], embedded: Embedded, limits: Limits) -> Iterator[str]:
    """Yield the data block, piece by piece; fill in ``embedded`` on the way."""
    yield from _Writer(report, embedded, limits).write(ranked)


class _Writer:
    def __init__(self, report: Report, embedded: Embedded, limits: Limits) -> None:
        self._report = report
        self._embedded = embedded
        self._limits = limits
        self._directories: _Table[bytes] = _Table()
        self._opsets: _Table[str] = _Table()
        self._zones: _Table[str | None] = _Table()
        self._mounts: _Table[int | None] = _Table()
        self._results: _Table[str] = _Table()
        self._shapes: _Table[_Shape] = _Table()
        self._files: dict[tuple[bytes, int | None], int] = {}

    def write(self, ranked: Sequence[FileSummary]) -> Iterator[str]:
        yield '{"files":['
        yield from _batches(self._file_rows(ranked))
        yield '],"events":['
        yield from _batches(self._event_rows())
        yield "],"
        yield '"dirs":['
        yield from _batches(escape_json(show(directory)) for directory in self._directories)
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
            "opsets": [json.loads(opset) for opset in self._opsets],
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

    def _file_rows(self, ranked: Sequence[FileSummary]) -> Iterator[str]:
        nets = {net: number for number, net in enumerate(Net)}
        listed = ranked[: self._limits.files]
        self._embedded.files = len(listed)
        self._embedded.files_left_out = len(ranked) - len(listed)
        for number, file in enumerate(listed):
            self._files[file.path, file.mount] = number
            directory, name = self._split(file.path)
            opset = self._opsets.number(json.dumps(file.ops))
            yield (
                f"[{directory},{name},{self._zones.number(file.zone)},{_RANK[file.verdict]},"
                f"{nets[file.net]},{self._mounts.number(file.mount)},{opset},{file.bytes_written}]"
            )

    def _split(self, path: bytes) -> tuple[int, str]:
        directory, slash, name = path.rpartition(b"/")
        return self._directories.number(directory + slash), escape_json(show(name))

    def _event_rows(self) -> Iterator[str]:
        report, embedded, files = self._report, self._embedded, self._files
        judge, evidence = report.judge, report.evidence
        ops = {op: number for number, op in enumerate(Op)}
        for event in report.audit.events:
            judged = judge(event)
            proves = event.seq in evidence
            if not proves and added_up(event, judged):
                embedded.events_added_up += 1
                continue
            file = files.get((event.path, event.mount))
            if file is None or (embedded.events >= self._limits.events and not proves):
                embedded.events_left_out += 1
                continue
            embedded.events += 1
            yield (
                f"[{event.seq},{event.time_ns // 1000},{event.pid},{file},{ops[event.op]},"
                f"{self._results.number(event.result)},{_RANK[judged.verdict]},{self._source(event)},"
                f"{_or_null(event.bytes)},{_or_null(event.calls)},{self._shapes.number(_Shape.of(event))},"
                f"{'null' if event.seen_as is None else escape_json(show(event.seen_as))}]"
            )

    def _source(self, event: FsEvent) -> str:
        """Return the source's row number if it has a row, else its text."""
        if event.source is None:
            return "null"
        if event.op is not Op.SYMLINK:
            number = self._files.get((event.source, event.source_mount))
            if number is not None:
                return str(number)
        return escape_json(show(event.source))


def _or_null(value: int | None) -> str:
    return "null" if value is None else str(value)


def _batches(items: Iterable[str]) -> Iterator[str]:
    separator = ""
    batch: list[str] = []
    for item in items:
        batch.append(item)
        if len(batch) == _BATCH:
            yield separator + ",\n".join(batch)
            separator = ",\n"
            batch.clear()
    if batch:
        yield separator + ",\n".join(batch)
