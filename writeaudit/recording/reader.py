"""Reads a recording."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain
from types import TracebackType
from typing import Any, Self

from writeaudit.audit import Audit, BackendInfo, BlindSpot, Completeness, Mount, Process, RunInfo
from writeaudit.bounded import Bounded
from writeaudit.errors import RecordingError
from writeaudit.events import OK, Access, Certainty, FsEvent, Op
from writeaudit.recording.schema import APPLICATION_ID, NO_DIRECTORY, SCHEMA_VERSION, reason
from writeaudit.text import unshow


class Recording:
    """A recording, opened for reading. Raises `RecordingError` for anything that is none."""

    def __init__(self, path: str) -> None:
        self.path = path
        if not os.path.exists(path):
            raise RecordingError(f"{path}: no such recording", hint="see: writeaudit report last")
        if not os.path.isfile(path):
            # To open a FIFO would wait for whoever fills it, and SQLite needs a file that it can seek in.
            raise RecordingError(f"{path} is no recording: it is not a regular file")
        try:
            with open(path, "rb") as file:
                file.read(1)
            # A finished recording may lie where nothing can be written; one that was cut short
            # has its write-ahead log beside it, which SQLite must be able to take up.
            mode = "" if os.path.exists(f"{path}-wal") else "?mode=ro&immutable=1"
            self._db = sqlite3.connect(f"file:{_uri(path)}{mode}", uri=True, isolation_level=None)
            application = self._db.execute("PRAGMA application_id").fetchone()[0]
            version = self._db.execute("PRAGMA user_version").fetchone()[0]
        except OSError as error:
            raise RecordingError(f"cannot read the recording {path}: {reason(error)}") from error
        except sqlite3.Error as error:
            raise RecordingError(f"{path} is no recording, or is damaged: {reason(error)}") from error
        if application != APPLICATION_ID:
            raise RecordingError(f"{path} is no recording of writeaudit")
        if version > SCHEMA_VERSION:
            raise RecordingError(
                f"{path} was made by a later writeaudit (schema {version}; this one reads up to "
                f"{SCHEMA_VERSION})",
                hint="upgrade writeaudit",
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._db.close()

    def meta(self, key: str) -> Any:
        """Return a JSON value, or None."""
        row = self._rows("SELECT value FROM meta WHERE key = ?", (key,))
        with self._sound():
            return json.loads(row[0][0]) if row else None

    def audit(self, events: Sequence[FsEvent] | None = None) -> Audit:
        """Return all of it; the events are read as they are iterated over.

        ``events``: those that it must hold, if they are at hand. They are not read then, but the file
        must be whole and hold as many: the audited command may have written to it.
        """
        run = self.meta("run")
        if run is None:
            raise RecordingError(f"{self.path} is damaged: it does not say what was run")
        if events is not None:
            found = self._rows("PRAGMA quick_check(1)")[0][0]
            if found != "ok":
                raise RecordingError(f"{self.path} is damaged: {found}")
        count = self._rows("SELECT count(*) FROM event")[0][0]
        if events is not None and count != len(events):
            raise RecordingError(f"{self.path} is damaged: it holds {count} of {len(events)} events")
        with self._sound():
            return Audit(
                run=_run(run),
                completeness=_completeness(self.meta("completeness")),
                mounts=tuple(_mounts(self._rows("SELECT * FROM mount ORDER BY id"))),
                processes=tuple(_processes(self._rows("SELECT * FROM process ORDER BY id"))),
                events=_Events(self._db, self.path) if events is None else events,
                event_count=count,
            )

    @contextmanager
    def _sound(self) -> Iterator[None]:
        """Turn what reading values of an unexpected form raises into `RecordingError`."""
        try:
            yield
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise RecordingError(f"{self.path} is damaged: {error}") from error

    def _rows(self, statement: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        try:
            return self._db.execute(statement, values).fetchall()
        except sqlite3.Error as error:
            raise RecordingError(f"{self.path} is damaged: {reason(error)}") from error


class _Events:
    """The events of a recording, read anew each time that they are iterated over."""

    def __init__(self, db: sqlite3.Connection, path: str) -> None:
        self._db = db
        self._path = path

    def pick(self, seqs: Collection[int]) -> Iterator[FsEvent]:
        """Yield the events of these numbers, in their order."""
        return self._read(sorted(seqs))

    def __iter__(self) -> Iterator[FsEvent]:
        return self._read(None)

    def _read(self, seqs: Sequence[int] | None) -> Iterator[FsEvent]:
        flags_of: dict[str | None, tuple[str, ...]] = {None: ()}
        try:
            prefixes = _Prefixes(self._db)
            rows: Iterable[tuple[Any, ...]]
            if seqs is None:
                rows = self._db.execute("SELECT * FROM event ORDER BY seq")
            else:
                one = "SELECT * FROM event WHERE seq = ?"
                rows = chain.from_iterable(self._db.execute(one, (seq,)) for seq in seqs)
            for row in rows:
                yield _event(row, prefixes, flags_of)
        except (sqlite3.Error, AttributeError, KeyError, TypeError, ValueError) as error:
            raise RecordingError(f"{self._path} is damaged: {error}") from error


class _Prefixes(Bounded[int, bytes]):
    """What the paths of a directory begin with, by its number.

    Read when it is asked for, and forgotten when it is too much: each of millions may be long.
    """

    def __init__(self, db: sqlite3.Connection) -> None:
        super().__init__(_PREFIX_BYTES)
        self._db = db

    def __missing__(self, number: int) -> bytes:
        if number == NO_DIRECTORY:
            return b""
        row = self._db.execute("SELECT path FROM dir WHERE id = ?", (number,)).fetchone()
        if row is None:
            raise KeyError(number)
        prefix: bytes = row[0] if row[0] == b"/" else row[0] + b"/"
        self.keep(number, prefix, len(prefix))
        return prefix


_PREFIX_BYTES = 32 << 20
_2_64 = 1 << 64
"""Inode numbers of 64 bits are negative in SQLite."""
_OPS = {op.value: op for op in Op}
_ACCESSES: dict[str | None, Access | None] = {None: None, **{access.value: access for access in Access}}
_CERTAINTIES: dict[str | None, Certainty] = {
    None: Certainty.RESOLVED,
    **{certainty.value: certainty for certainty in Certainty},
}


def _event(
    row: tuple[Any, ...], prefixes: Mapping[int, bytes], flags_of: dict[str | None, tuple[str, ...]]
) -> FsEvent:
    (
        seq, time_ns, pid, tid, op, directory, name, source_dir, source_name, access, flags, created,
        mode, result, size, calls, mount, source_mount, dev, ino, source_dev, source_ino, fmt, seen_as,
        certainty,
    ) = row  # fmt: skip
    known = flags_of.get(flags)
    if known is None:
        known = flags_of[flags] = _flags(flags)
    source = source_name if source_dir is None else prefixes[source_dir] + source_name
    return FsEvent(
        seq, time_ns, pid, pid if tid is None else tid, _OPS[op], prefixes[directory] + name, source,
        _ACCESSES[access], known, created is not None, mode, OK if result is None else result, size, calls,
        mount, source_mount, dev, ino if ino is None or ino >= 0 else ino + _2_64, source_dev,
        source_ino if source_ino is None or source_ino >= 0 else source_ino + _2_64, fmt, seen_as,
        _CERTAINTIES[certainty],
    )  # fmt: skip


def _flags(text: str) -> tuple[str, ...]:
    """Return flags that were joined by commas; the name of an attribute, always last, may hold some."""
    plain, attribute, name = text.partition("xattr=")
    words = tuple(word for word in plain.split(",") if word)
    return (*words, attribute + name) if attribute else words


def _run(raw: dict[str, Any]) -> RunInfo:
    fields = dict(raw)
    fields["command"] = tuple(unshow(word) for word in raw["command"])
    fields["cwd"] = unshow(raw["cwd"])
    fields["backend"] = BackendInfo(**raw["backend"])
    fields["inherited"] = tuple(unshow(path) for path in raw.get("inherited", ()))
    return RunInfo(**fields)


def _completeness(raw: dict[str, Any] | None) -> Completeness:
    if raw is None:
        return Completeness(finished=False)
    fields = dict(raw)
    fields["blind_spots"] = tuple(BlindSpot(**spot) for spot in raw["blind_spots"])
    fields["survivors"] = tuple(raw["survivors"])
    return Completeness(**fields)


def _mounts(rows: Sequence[tuple[Any, ...]]) -> Iterator[Mount]:
    for number, ns, dev, fstype, source, root, point, options, parent, own in rows:
        yield Mount(
            number, ns, dev, fstype, source, root, point, tuple(options.split(",")), parent, bool(own)
        )


def _processes(rows: Sequence[tuple[Any, ...]]) -> Iterator[Process]:
    for _, pid, ppid, exe, argv, started, ended, status in rows:
        yield Process(pid, ppid, exe, tuple(argv.split(b"\0")) if argv else (), started, ended, status)


def _uri(path: str) -> str:
    return os.path.abspath(path).replace("%", "%25").replace("?", "%3f").replace("#", "%23")
