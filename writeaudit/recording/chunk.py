"""A chunk: up to 65,536 events in a row, kept as columns.

A run has millions of events, so nothing here is done once for each field of each event: a batch is turned
by ``zip`` and each column goes into its array at once. Most fields repeat themselves. What an event has
besides its time, process, files and sizes is its *kind*; a chunk has some dozens of them, each written once.
The same is done for paths, which are kept as a directory (``prefix``) and a name.

Numbers are little-endian. Nothing outside a chunk is needed to read it.
"""

from __future__ import annotations

import json
import sys
from array import array
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from functools import partial
from itertools import accumulate, count
from operator import itemgetter, le
from typing import Any, NamedTuple, cast

from writeaudit.events import Access, Certainty, FsEvent, Op
from writeaudit.recording.schema import (
    CHUNK_KINDS,
    CHUNK_ROWS,
    CHUNK_TEXT,
    MOST,
    MOST_KINDS_JSON,
    MOST_PATH,
    MOST_TEXT,
)

_KIND_FIELDS = (
    "op", "access", "flags", "created", "mode", "result", "mount", "source_mount", "dev", "source_dev", "fmt",
    "certainty", "frame",
)  # fmt: skip
_kind_of = cast("Callable[[FsEvent], _Kind]", itemgetter(*map(FsEvent._fields.index, _KIND_FIELDS)))
_OP = _KIND_FIELDS.index("op")
_DEV, _SOURCE_DEV, _CERTAINTY = (_KIND_FIELDS.index(name) for name in ("dev", "source_dev", "certainty"))
"""Between source_dev and certainty there is but fmt."""
_TEXT = {member: member.value for members in (Op, Access, Certainty) for member in members}
_OPS = {op.value: op for op in Op}
_ACCESSES: dict[str | None, Access | None] = {None: None, **{access.value: access for access in Access}}
_CERTAINTIES = {certainty.value: certainty for certainty in Certainty}
_AT_ONCE = 4096
"""How many events are turned into columns at once: so many more than it should have, a chunk may have of
anything that makes it full."""

_Kind = tuple[Any, ...]
"""The values of `_KIND_FIELDS`, in that order."""


_Bytes = bytes
"""The type, where a field called ``bytes`` hides its name."""


class ChunkRow(NamedTuple):
    """A row of the table ``chunk``, column by column."""

    first: int
    rows: int
    time_ns: bytes
    pid: bytes
    tid: bytes | None
    kind: bytes
    path: bytes
    source: bytes | None
    seen_as: bytes | None
    bytes: _Bytes | None
    calls: _Bytes | None
    ino: _Bytes | None
    source_ino: _Bytes | None
    kinds: _Bytes
    prefixes: _Bytes
    prefix_ends: _Bytes
    names: _Bytes
    name_ends: _Bytes
    name_prefix: _Bytes
    inner_path: _Bytes | None = None


# Writing.


class ChunkBuilder:
    """The chunk that is being filled. What becomes known of its events later is put right in place."""

    def __init__(self, first: int) -> None:
        """``first``: the number of its first event."""
        self.first = first
        self._time: array[int] = array("q")
        self._pid: array[int] = array("i")
        self._tid: array[int] = array("i")
        self._kind: array[int] = array("I")
        self._path: array[int] = array("I")
        self._source: array[int] = array("I")
        self._seen_as: array[int] = array("I")
        self._inner_path: array[int] = array("I")
        """Of the events up to the last that has one."""
        self._bytes = _Optional("q")
        self._calls = _Optional("q")
        self._ino = _Optional("Q")
        self._source_ino = _Optional("Q")
        self._kinds = _Numbered()
        self._strings = _Strings()

    @property
    def rows(self) -> int:
        """How many events it holds."""
        return len(self._time)

    @property
    def full(self) -> bool:
        """Whether it must be written now."""
        return (
            len(self._time) >= CHUNK_ROWS
            or self._strings.size >= CHUNK_TEXT
            or len(self._kinds) >= CHUNK_KINDS
        )

    def add_events(self, events: Sequence[FsEvent]) -> int:
        """Append the first of some events; returns how many there was room for, one at least."""
        some = events[: min(CHUNK_ROWS - len(self._time), _AT_ONCE)]
        columns = tuple(zip(*some, strict=True))
        while len(some) > 1 and _text_in(columns) > CHUNK_TEXT:
            some = some[: len(some) // 2]
            columns = tuple(zip(*some, strict=True))
        (_, time_ns, pid, tid, _, path, source, _, _, _, _, _, size, calls, _, _, _, ino, _, source_ino,
         _, seen_as, _, _, inner_path) = columns  # fmt: skip
        rows = len(self._time)
        self._time.extend(_make_fit("q", time_ns))
        self._pid.extend(_make_fit("i", pid))
        self._tid.extend(_make_fit("i", tid))
        self._kind.extend(map(self._kinds.__getitem__, map(_kind_of, some)))
        number = self._strings.numbers_of
        self._path.extend(number(path))
        self._source.extend(number(source))
        self._seen_as.extend(number(seen_as))
        if any(inner_path):
            self._inner_path.frombytes(bytes(self._inner_path.itemsize * (rows - len(self._inner_path))))
            self._inner_path.extend(number(inner_path))
        self._bytes.extend_column(size)
        self._calls.extend_column(calls)
        self._ino.extend_column(ino)
        self._source_ino.extend_column(source_ino)
        return len(some)

    def set_total(self, seq: int, size: int, calls: int) -> None:
        """Set bytes and calls of an event."""
        self._bytes[seq - self.first] = size
        self._calls[seq - self.first] = calls

    def mark_doubtful(self, seq: int) -> None:
        """Take back the certainty of an event."""
        self._change_kind(seq, _kind_in_doubt)

    def set_identity(self, seq: int, dev: int, ino: int, fmt: int) -> None:
        """Set which file an event is about: a hard link, of which both names are that one."""
        self._ino[seq - self.first] = self._source_ino[seq - self.first] = ino
        self._change_kind(seq, partial(_kind_of_file, dev=dev, fmt=fmt))

    def clear_identity(self, seq: int) -> None:
        """Take back which files an event is about."""
        self._ino[seq - self.first] = None
        self._source_ino[seq - self.first] = None
        self._change_kind(seq, _kind_of_no_file)

    def _change_kind(self, seq: int, change: Callable[[_Kind], _Kind]) -> None:
        row = seq - self.first
        self._kind[row] = self._kinds[change(self._kinds.all[self._kind[row]])]

    def make_row(self) -> ChunkRow:
        """Return it as it is written."""
        return ChunkRow(
            self.first,
            self.rows,
            to_bytes(self._time),
            to_bytes(self._pid),
            None if self._tid == self._pid else to_bytes(self._tid),
            to_bytes(self._kind),
            to_bytes(self._path),
            to_bytes(self._source) if any(self._source) else None,
            to_bytes(self._seen_as) if any(self._seen_as) else None,
            self._bytes.to_column(),
            self._calls.to_column(),
            self._ino.to_column(),
            self._source_ino.to_column(),
            json.dumps([_kind_to_json(kind) for kind in self._kinds.all], separators=(",", ":")).encode(),
            *self._strings.to_columns(),
            self._inner_paths(),
        )

    def _inner_paths(self) -> bytes | None:
        if not self._inner_path:
            return None
        padding = bytes(self._inner_path.itemsize * (self.rows - len(self._inner_path)))
        return to_bytes(self._inner_path) + padding


class _Numbered(dict[Any, int]):
    """Gives 0, 1, 2, … to what it is asked for, in the order in which it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.all: list[Any] = []

    def __missing__(self, key: object) -> int:
        number = self[key] = len(self)
        self.all.append(key)
        return number


class _Strings(dict["bytes | None", int]):
    """Numbers strings from 1 on, and keeps them as prefix (up to the last slash) and name; 0 is None."""

    def __init__(self) -> None:
        super().__init__({None: 0})
        self._prefixes = _Numbered()
        self._name_prefix: array[int] = array("I")
        self._names: list[bytes] = []
        self.size = 0
        """Bytes of all of them."""

    def numbers_of(self, column: Sequence[bytes | None]) -> Iterator[int]:
        """Return the numbers of a column of strings. Of one that is too long, what fits is kept."""
        new = [text for text in dict.fromkeys(column) if text not in self]
        texts = cast("list[bytes]", new)
        self.update(zip(new, count(len(self._names) + 1), strict=False))
        if texts and max(map(len, texts)) > MOST_PATH:
            texts = [text[:MOST_PATH] for text in texts]
        cuts = [text.rfind(b"/") + 1 for text in texts]
        self._name_prefix.extend([self._prefixes[text[:cut]] for text, cut in zip(texts, cuts, strict=True)])
        self._names += [text[cut:] for text, cut in zip(texts, cuts, strict=True)]
        self.size += sum(map(len, texts))
        return map(self.__getitem__, column)

    def to_columns(self) -> tuple[bytes, bytes, bytes, bytes, bytes]:
        """Return prefixes, prefix_ends, names, name_ends and name_prefix."""
        return (
            b"".join(self._prefixes.all),
            to_bytes(array("I", accumulate(map(len, self._prefixes.all)))),
            b"".join(self._names),
            to_bytes(array("I", accumulate(map(len, self._names)))),
            to_bytes(self._name_prefix),
        )


class _Optional:
    """A column of numbers some of which may be missing: an array, and a byte for each of them, 1 or 0."""

    def __init__(self, code: str) -> None:
        self._code = code
        self._values: array[int] = array(code)
        self._there = bytearray()

    def extend_column(self, column: Sequence[int | None]) -> None:
        if all(column):
            self._values.extend(_make_fit(self._code, cast("Sequence[int]", column)))
            self._there.extend(b"\1" * len(column))
        else:
            self._values.extend(_make_fit(self._code, [value or 0 for value in column]))
            self._there.extend([value is not None for value in column])

    def __setitem__(self, row: int, value: int | None) -> None:
        self._values[row] = _make_fit(self._code, [value or 0])[0]
        self._there[row] = value is not None

    def to_column(self) -> bytes | None:
        if 1 not in self._there:
            return None
        raw = to_bytes(self._values)
        return raw + self._there if 0 in self._there else raw


def _make_fit(code: str, column: Sequence[int]) -> array[int]:
    """Return a column as an array; of a number that is too great, the greatest that it can hold."""
    try:
        return array(code, column)
    except OverflowError:
        bits = 8 * array(code).itemsize
        low, high = (0, (1 << bits) - 1) if code.isupper() else (-1 << (bits - 1), (1 << (bits - 1)) - 1)
        return array(code, [max(low, min(value, high)) for value in column])


def _text_in(columns: Sequence[Sequence[Any]]) -> int:
    """Return how many bytes the paths of some events hold."""
    return sum(sum(map(len, filter(None, columns[number]))) for number in _PATHS)


_PATHS = tuple(map(FsEvent._fields.index, ("path", "source", "inner_path")))


def _kind_to_json(kind: _Kind) -> list[object]:
    """Return a kind as JSON has it."""
    (
        op, access, flags, created, mode, result, mount, source_mount, dev, source_dev, fmt, certainty, frame,
    ) = kind  # fmt: skip
    numbers = (mode, mount, source_mount, dev, source_dev, fmt)
    mode, mount, source_mount, dev, source_dev, fmt = (n and max(~MOST, min(n, MOST)) for n in numbers)
    return [
        _TEXT[op], access and _TEXT[access], flags, bool(created), mode, result, mount, source_mount, dev,
        source_dev, fmt, _TEXT[certainty], *([frame] if frame else ()),
    ]  # fmt: skip


def _kind_in_doubt(kind: _Kind) -> _Kind:
    return (*kind[:_CERTAINTY], Certainty.LEXICAL, *kind[_CERTAINTY + 1 :])


def _kind_of_file(kind: _Kind, *, dev: int, fmt: int) -> _Kind:
    return (*kind[:_DEV], dev, dev, fmt, *kind[_CERTAINTY:])


def _kind_of_no_file(kind: _Kind) -> _Kind:
    return (*kind[:_SOURCE_DEV], None, None, *kind[_CERTAINTY:])


def to_bytes(values: array[int]) -> bytes:
    """Return numbers as a recording holds them."""
    if sys.byteorder == "big":
        values = values[:]
        values.byteswap()
    return values.tobytes()


# Reading. A recording may come from anybody: each size is checked before anything is made of it.


class Chunk:
    """A chunk that was read. Raises ValueError, KeyError or TypeError if something is wrong with it."""

    def __init__(self, row: ChunkRow) -> None:
        """``row``: with blobs that are no longer than `most_bytes` says."""
        self.first, self.rows = row.first, row.rows
        self._time = to_array("q", row.time_ns, self.rows, "time_ns")
        self._pid = to_array("i", row.pid, self.rows, "pid")
        self._tid = self._pid if row.tid is None else to_array("i", row.tid, self.rows, "tid")
        self._kinds = [_kind_from_json(kind) for kind in _require_list(json.loads(row.kinds))]
        self._kind = to_array("I", row.kind, self.rows, "kind", below=len(self._kinds))
        self._strings = _ReadStrings(row)
        strings = len(self._strings) + 1
        self._path = to_array("I", row.path, self.rows, "path", below=strings)
        if 0 in self._path:
            raise ValueError("an event without a path")
        self._source = _read_indexes(row.source, self.rows, "source", strings)
        self._seen_as = _read_indexes(row.seen_as, self.rows, "seen_as", strings)
        self._inner_path = _read_indexes(row.inner_path, self.rows, "inner_path", strings)
        self._bytes = _read_optional("q", row.bytes, self.rows, "bytes")
        self._calls = _read_optional("q", row.calls, self.rows, "calls")
        self._ino = _read_optional("Q", row.ino, self.rows, "ino")
        self._source_ino = _read_optional("Q", row.source_ino, self.rows, "source_ino")

    def set_totals(self, seqs: Iterable[int], sizes: Iterable[int], calls: Iterable[int]) -> None:
        """Set bytes and calls of events."""
        self._bytes, self._calls = (
            _make_changeable(self._bytes, self.rows),
            _make_changeable(self._calls, self.rows),
        )
        for row, size, number in zip(self._rows_of(seqs), sizes, calls, strict=True):
            self._bytes[row], self._calls[row] = size, number

    def mark_doubtful(self, seqs: Iterable[int]) -> None:
        """Take back the certainty of events."""
        self._change_kinds(self._rows_of(seqs), _kind_in_doubt)

    def set_identities(
        self, seqs: Iterable[int], devs: Iterable[int], inos: Iterable[int], fmts: Iterable[int]
    ) -> None:
        """Set which files events are about: hard links, of which both names are that one."""
        rows = self._rows_of(seqs)
        self._ino, self._source_ino = (
            _make_changeable(self._ino, self.rows),
            _make_changeable(self._source_ino, self.rows),
        )
        alike: dict[tuple[int, int], list[int]] = {}
        for row, dev, ino, fmt in zip(rows, devs, inos, fmts, strict=True):
            self._ino[row] = self._source_ino[row] = ino
            alike.setdefault((dev, fmt), []).append(row)
        for (dev, fmt), some in alike.items():
            self._change_kinds(some, partial(_kind_of_file, dev=dev, fmt=fmt))

    def clear_identities(self, seqs: Iterable[int]) -> None:
        """Take back which files events are about."""
        rows = self._rows_of(seqs)
        self._ino, self._source_ino = (
            _make_changeable(self._ino, self.rows),
            _make_changeable(self._source_ino, self.rows),
        )
        for row in rows:
            self._ino[row] = self._source_ino[row] = None
        self._change_kinds(rows, _kind_of_no_file)

    def _rows_of(self, seqs: Iterable[int]) -> list[int]:
        rows = [seq - self.first for seq in seqs]
        if rows and not 0 <= min(rows) <= max(rows) < self.rows:
            raise ValueError("a correction of an event that is in another chunk")
        return rows

    def _change_kinds(self, rows: Iterable[int], change: Callable[[_Kind], _Kind]) -> None:
        changed: dict[int, int] = {}
        for row in set(rows):
            old = self._kind[row]
            if old not in changed:
                changed[old] = len(self._kinds)
                self._kinds.append(change(self._kinds[old]))
            self._kind[row] = changed[old]

    def pick_events(self, seqs: Iterable[int]) -> Iterator[FsEvent]:
        """Yield the events of these numbers, as far as they are in this chunk."""
        text, kinds, make = self._strings, self._kinds, tuple.__new__
        for seq in seqs:
            row = seq - self.first
            if not 0 <= row < self.rows:
                continue
            (
                op, access, flags, created, mode, result, mount, source_mount, dev, source_dev, fmt,
                certainty, frame,
            ) = kinds[self._kind[row]]  # fmt: skip
            yield make(
                FsEvent,
                (
                    seq, self._time[row], self._pid[row], self._tid[row], op, text[self._path[row]],
                    text[self._source[row]], access, flags, created, mode, result, self._bytes[row],
                    self._calls[row], mount, source_mount, dev, self._ino[row], source_dev,
                    self._source_ino[row], fmt, text[self._seen_as[row]], certainty, frame,
                    text[self._inner_path[row]],
                ),
            )  # fmt: skip

    def select_operations(self, ops: Collection[Op]) -> Iterator[FsEvent]:
        """Yield the events of these operations, in their order."""
        wanted = {number for number, kind in enumerate(self._kinds) if kind[_OP] in ops}
        if not wanted:
            return iter(())
        return self.pick_events(self.first + row for row, kind in enumerate(self._kind) if kind in wanted)

    def __iter__(self) -> Iterator[FsEvent]:
        text = self._strings.join_all().__getitem__
        make = tuple.__new__  # FsEvent(…) takes twice as long
        for (
            seq, time_ns, pid, tid,
            (
                op, access, flags, created, mode, result, mount, source_mount, dev, source_dev, fmt,
                certainty, frame,
            ),
            path, source, size, calls, ino, source_ino, seen_as, inner_path,
        ) in zip(
            range(self.first, self.first + self.rows), self._time, self._pid, self._tid,
            map(self._kinds.__getitem__, self._kind), map(text, self._path), map(text, self._source),
            self._bytes, self._calls, self._ino, self._source_ino, map(text, self._seen_as),
            map(text, self._inner_path), strict=True,
        ):  # fmt: skip
            yield make(
                FsEvent,
                (
                    seq, time_ns, pid, tid, op, path, source, access, flags, created, mode, result, size,
                    calls, mount, source_mount, dev, ino, source_dev, source_ino, fmt, seen_as, certainty,
                    frame, inner_path,
                ),
            )  # fmt: skip


class _ReadStrings:
    """The strings of a chunk, put together when they are asked for; 0 is None."""

    def __init__(self, row: ChunkRow) -> None:
        self._names = row.names
        ends = _read_ends(row.prefix_ends, row.prefixes, "prefix_ends")
        self._prefixes = [row.prefixes[start:end] for start, end in zip((0, *ends), ends, strict=False)]
        self._ends = _read_ends(row.name_ends, row.names, "name_ends")
        self._prefix = to_array("I", row.name_prefix, len(self._ends), "name_prefix", below=len(ends))
        lengths = list(map(len, self._prefixes))
        if len(row.names) + sum(map(lengths.__getitem__, self._prefix)) > MOST_TEXT:
            raise ValueError("too many bytes of paths")

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, number: int) -> bytes | None:
        if number == 0:
            return None
        start = self._ends[number - 2] if number > 1 else 0
        return self._prefixes[self._prefix[number - 1]] + self._names[start : self._ends[number - 1]]

    def join_all(self) -> list[Any]:
        """Return all of them, None first. ``Any``: of a path it is known that it is never None."""
        names, prefixes = self._names, self._prefixes
        return [
            None,
            *[
                prefixes[prefix] + names[start:end]
                for prefix, start, end in zip(self._prefix, (0, *self._ends), self._ends, strict=False)
            ],
        ]


def most_bytes(rows: int) -> dict[str, int]:
    """Return how long each blob of a chunk of so many rows may be. Raises ValueError for too many rows."""
    if not 1 <= rows <= CHUNK_ROWS:
        raise ValueError(f"a chunk of {rows} rows")
    strings = 4 * 4 * rows  # path, source, seen_as and inner_path
    other = {
        "kinds": MOST_KINDS_JSON, "prefixes": MOST_TEXT, "names": MOST_TEXT,
        "prefix_ends": strings, "name_ends": strings, "name_prefix": strings,
    }  # fmt: skip
    return {name: other.get(name, 9 * rows) for name in ChunkRow._fields[2:]}


def to_array(code: str, raw: object, rows: int, name: str, *, below: int | None = None) -> array[int]:
    """Return numbers that a recording holds: so many, each less than ``below``."""
    if not isinstance(raw, bytes):
        raise TypeError(f"{name} is not bytes")
    values: array[int] = array(code)
    if len(raw) != rows * values.itemsize:
        raise ValueError(f"{name} has {len(raw)} bytes for {rows} rows")
    values.frombytes(raw)
    if sys.byteorder == "big":
        values.byteswap()
    if below is not None and values and max(values) >= below:
        raise ValueError(f"{name} leads to nothing")
    return values


def _read_indexes(raw: bytes | None, rows: int, name: str, below: int) -> Sequence[int]:
    return bytes(rows) if raw is None else to_array("I", raw, rows, name, below=below)


def _read_optional(code: str, raw: bytes | None, rows: int, name: str) -> Sequence[int | None]:
    """Return a column of numbers some of which may be missing."""
    if raw is None:
        return _make_changeable((), rows)
    size = array(code).itemsize * rows
    values = to_array(code, raw[:size], rows, name)
    if len(raw) == size:
        return values
    there = raw[size:]
    if len(there) != rows:
        raise ValueError(f"{name} has {len(raw)} bytes for {rows} rows")
    return [value if is_there else None for value, is_there in zip(values, there, strict=True)]


def _make_changeable(column: Sequence[int | None], rows: int) -> list[int | None]:
    return list(column) or [None] * rows


def _read_ends(raw: bytes, text: object, name: str) -> array[int]:
    """Return where each of some strings ends in the text of them all."""
    if not isinstance(text, bytes) or not isinstance(raw, bytes):
        raise TypeError(f"{name} is not bytes")
    ends = to_array("I", raw, len(raw) // 4, name)
    if (ends[-1] if ends else 0) != len(text) or not all(map(le, ends, ends[1:])):
        raise ValueError(f"{name} does not fit its text")
    return ends


def _require_list(value: object) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError("a list was expected")
    return value


def _kind_from_json(raw: object) -> _Kind:
    """Return a kind from its JSON."""
    (
        op, access, flags, created, mode, result, mount, source_mount, dev, source_dev, fmt, certainty, *rest,
    ) = _require_list(raw)  # fmt: skip
    frame = rest[0] if rest else 0
    if len(rest) > 1 or type(frame) is not int:
        raise TypeError("a frame was expected")
    numbers = (mode, mount, source_mount, dev, source_dev, fmt)
    if not all(number is None or type(number) is int for number in numbers):
        raise TypeError("a number was expected")
    if not isinstance(result, str) or not all(isinstance(flag, str) for flag in _require_list(flags)):
        raise TypeError("text was expected")
    return (
        _OPS[op], _ACCESSES[access], tuple(flags), created is True, mode, result, mount, source_mount, dev,
        source_dev, fmt, _CERTAINTIES[certainty], frame,
    )  # fmt: skip
