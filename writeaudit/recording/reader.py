"""Reads a recording."""

from __future__ import annotations

import functools
from bisect import bisect_left
from collections.abc import Callable, Collection, Hashable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar, cast, get_args, get_origin, get_type_hints

from writeaudit.audit import Audit, BackendInfo, BlindSpot, Completeness, Mount, Process, RunInfo
from writeaudit.errors import RecordingError
from writeaudit.events import FsEvent, Op
from writeaudit.recording.chunk import Chunk, to_array
from writeaudit.recording.digest import Digests
from writeaudit.recording.guarded import GuardedFile
from writeaudit.recording.observations import (
    binaries_from_json,
    frames_from_json,
    from_json,
    shared_from_json,
    states_from_json,
)
from writeaudit.recording.schema import CORRECTED, DOUBTFUL, IDENTIFIED, TOTAL, UNIDENTIFIED
from writeaudit.text import unescape_path


class Recording:
    """A recording, opened for reading. Raises `RecordingError` for anything that is none."""

    def __init__(self, path: str, written: Digests | None = None) -> None:
        """``written``: what our own writer wrote. Then nothing else is taken from the file."""
        self.path = path
        self._file = GuardedFile(path, written)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def read_meta(self, key: str) -> Any:
        """Return a JSON value, or None."""
        return self._file.read_meta(key)

    def read_audit(self, events: Sequence[FsEvent] | None = None) -> Audit:
        """Return all of it; the events are read as they are iterated over.

        ``events``: those that it must hold, if they are at hand. They are not judged by what the file
        says then, but it must say the same: the audited command may have written to it.
        """
        run = self.read_meta("run")
        if run is None:
            raise RecordingError(f"{self.path} is damaged: it does not say what was run")
        found = _Events(self._file)
        if events is not None:
            found.check_all()
        count = sum(rows for _, rows in self._file.chunks)
        if events is not None and count != len(events):
            raise RecordingError(f"{self.path} is damaged: it holds {count} of {len(events)} events")
        completeness = self.read_meta("completeness")
        mounts, processes = self._file.read_table("mount"), self._file.read_table("process")
        with self._file.guard_reading():
            return Audit(
                run=_read_run(run),
                completeness=_read_completeness(completeness),
                mounts=tuple(_read_mounts(mounts)),
                processes=tuple(_read_processes(processes)),
                events=found if events is None else events,
                event_count=count,
                observations=from_json(self.read_meta("observations")),
                shared=shared_from_json(self.read_meta("shared")),
                binaries=binaries_from_json(self.read_meta("binaries")),
                caches=states_from_json(self.read_meta("caches")),
                frames=tuple(map(_check_types, frames_from_json(self.read_meta("frames")))),
            )


class _Events:
    """The events of a recording, read again each time that they are iterated over, a chunk at a time."""

    def __init__(self, file: GuardedFile) -> None:
        self._file = file

    def check_all(self) -> None:
        """Raise `RecordingError` unless all can be read, and is as it was written."""
        with self._file.guard_reading():
            for _ in self._read_chunks():
                pass

    def pick_events(self, seqs: Collection[int]) -> Iterator[FsEvent]:
        """Yield the events of these numbers, in their order."""
        wanted = sorted(seqs)
        with self._file.guard_reading():
            for first, rows in self._file.chunks:
                start, end = bisect_left(wanted, first), bisect_left(wanted, first + rows)
                if start < end:
                    yield from self._read_chunk(first).pick_events(wanted[start:end])

    def select_operations(self, ops: Collection[Op]) -> Iterator[FsEvent]:
        """Yield the events of these operations, in their order."""
        with self._file.guard_reading():
            for chunk in self._read_chunks():
                yield from chunk.select_operations(ops)

    def __iter__(self) -> Iterator[FsEvent]:
        with self._file.guard_reading():
            for chunk in self._read_chunks():
                yield from chunk

    def _read_chunks(self) -> Iterator[Chunk]:
        return (self._read_chunk(first) for first, _ in self._file.chunks)

    def _read_chunk(self, first: int) -> Chunk:
        chunk = Chunk(self._file.read_chunk(first))
        for what, blobs in self._file.read_corrections(first):
            _apply_correction(chunk, what, blobs)
        return chunk


def _apply_correction(chunk: Chunk, what: str, blobs: dict[str, bytes | None]) -> None:
    count = len(blobs["seqs"] or b"") // 8
    columns = {
        name: to_array("Q" if name == "ino" else "q", blobs[name], count, name)
        for name in ("seqs", *CORRECTED[what])
    }
    change: dict[str, Callable[..., None]] = {
        TOTAL: chunk.set_totals,
        DOUBTFUL: chunk.mark_doubtful,
        IDENTIFIED: chunk.set_identities,
        UNIDENTIFIED: chunk.clear_identities,
    }
    change[what](*columns.values())


def _read_run(raw: dict[str, Any]) -> RunInfo:
    fields = dict(raw)
    fields["command"] = tuple(unescape_path(word) for word in raw["command"])
    fields["cwd"] = unescape_path(raw["cwd"])
    fields["backend"] = _check_types(BackendInfo(**raw["backend"]))
    fields["inherited"] = tuple(unescape_path(path) for path in raw.get("inherited", ()))
    fields["notes"] = tuple(raw.get("notes", ()))
    fields["joined"] = tuple(raw.get("joined", ()))
    return _check_types(RunInfo(**fields))


def _read_completeness(raw: dict[str, Any] | None) -> Completeness:
    if raw is None:
        return Completeness(finished=False)
    fields = dict(raw)
    fields["blind_spots"] = tuple(_check_types(BlindSpot(**spot)) for spot in raw["blind_spots"])
    fields["survivors"] = tuple(raw["survivors"])
    return _check_types(Completeness(**fields))


def _read_mounts(rows: Sequence[tuple[Any, ...]]) -> Iterator[Mount]:
    for number, ns, dev, fstype, source, root, point, options, parent, own in rows:
        yield _check_types(
            Mount(number, ns, dev, fstype, source, root, point, tuple(options.split(",")), parent, bool(own))
        )


def _read_processes(rows: Sequence[tuple[Any, ...]]) -> Iterator[Process]:
    for _, pid, ppid, exe, argv, started, ended, status in rows:
        words = tuple(argv.split(b"\0")) if argv else ()
        yield _check_types(Process(pid, ppid, exe, words, started, ended, status))


_R = TypeVar("_R")
_MOST = 1 << 64


@functools.cache
def _type_hints(kind: Hashable) -> dict[str, Any]:
    return get_type_hints(cast(type, kind))


def _check_types(record: _R) -> _R:
    """Return a record whose fields have the types that they were declared with. Raises TypeError."""
    for name, hint in _type_hints(cast(Hashable, type(record))).items():
        if not _has_type(getattr(record, name), hint):
            raise TypeError(f"{type(record).__name__}.{name} makes no sense")
    return record


def _has_type(value: object, hint: Any) -> bool:
    origin, arguments = get_origin(hint), get_args(hint)
    if hint is float:
        return isinstance(value, int | float) and 0 <= value < _MOST  # no NaN, no infinity
    if hint is int:
        return isinstance(value, int) and -_MOST < value < _MOST
    if origin is tuple:
        return isinstance(value, tuple) and all(_has_type(item, arguments[0]) for item in value)
    if origin is Mapping:
        return isinstance(value, dict) and all(
            _has_type(key, arguments[0]) and _has_type(item, arguments[1]) for key, item in value.items()
        )
    if arguments:
        return any(_has_type(value, option) for option in arguments)
    return isinstance(value, hint)
