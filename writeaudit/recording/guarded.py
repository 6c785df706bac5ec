"""The tables of a recording that may come from anybody.

Nothing is read but plain tables of the known schema. Before anything is read its size is looked at, and
all together may not have more bytes than the file: in a file that was made to harm, a million rows may
share one value. SQLite itself is stopped after so many steps as no sound file of that size takes.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import tempfile

from writeaudit.errors import RecordingError
from writeaudit.recording.chunk import ChunkRow, most_bytes
from writeaudit.recording.digest import Digests
from writeaudit.recording.schema import (
    APPLICATION_ID,
    CORRECTION_BLOBS,
    MOST_VALUE,
    OLDEST_VERSION,
    SCHEMA,
    SCHEMA_2,
    SCHEMA_VERSION,
    describe_error,
)

_MOST_META = 1 << 23
"""Bytes of JSON: read, it takes twenty times as many."""
_STEPS = 10_000
"""How many steps of SQLite's virtual machine lie between two checks."""
_FREE_STEPS, _STEPS_A_BYTE = 1 << 24, 64
"""How many steps there are for any file, and for each byte of it; a report takes a tenth of that."""
_SMALLEST_ROW = 8
_MOST_CORRECTION = 8 << 16
"""Bytes of a correction of a whole chunk."""


class _Correction(NamedTuple):
    number: int
    what: str


class GuardedFile:
    """The tables of one recording. Every method raises `RecordingError`."""

    def __init__(self, path: str, written: Digests | None = None) -> None:
        """``written``: what our own writer wrote. Then nothing else is taken from the file."""
        self.path = path
        self._written = written
        self._copy: tempfile.TemporaryDirectory[str] | None = None
        self._steps = 0
        if not os.path.exists(path):
            raise RecordingError(f"{path}: no such recording", hint="see: writeaudit report last")
        if not os.path.isfile(path):
            # To open a FIFO would wait for whoever fills it, and SQLite needs a file that it can seek in.
            raise RecordingError(f"{path} is no recording: it is not a regular file")
        with contextlib.ExitStack() as undo:
            undo.callback(self.close)  # a file that is refused is not left open
            self._load_index(path)
            undo.pop_all()

    def _load_index(self, path: str) -> None:
        """Open the file and read what is needed to find anything in it. Raises `RecordingError`."""
        try:
            with open(path, "rb") as file:
                file.read(1)
            self._size = os.path.getsize(path) + _size_of(f"{path}-wal")
            self._db = self._open_file(path)
            application = self._db.execute("PRAGMA application_id").fetchone()[0]
            version = self._db.execute("PRAGMA user_version").fetchone()[0]
        except OSError as error:
            raise RecordingError(f"cannot read the recording {path}: {describe_error(error)}") from error
        except (sqlite3.Error, ValueError) as error:
            raise RecordingError(f"{path} is no recording, or is damaged: {describe_error(error)}") from error
        _check_version(path, application, version)
        with self.guard_reading():
            self._check_schema(SCHEMA_2 if version == OLDEST_VERSION else SCHEMA)
            fields = [*ChunkRow._fields] if version > OLDEST_VERSION else [*ChunkRow._fields[:-1]]
            self._chunk_row, self._chunk_lengths = _CHUNK.format(", ".join(fields)), _lengths_of(fields)
            self._chunks = self._read_chunks()
            self._corrections = self._read_corrections()

    def close(self) -> None:
        """Let go of the file."""
        if hasattr(self, "_db"):
            self._db.close()
        if self._copy is not None:
            self._copy.cleanup()

    @property
    def chunks(self) -> Sequence[tuple[int, int]]:
        """First event and number of events of each chunk, in their order."""
        return self._chunks

    def read_meta(self, key: str) -> Any:
        """Return a JSON value, or None."""
        with self.guard_reading():
            found = self._db.execute(
                "SELECT typeof(value) = 'text' AND length(CAST(value AS BLOB)) <= ? FROM meta WHERE key = ?",
                (_MOST_META, key),
            ).fetchone()
            if found is not None and not found[0]:
                raise ValueError(f"the value of {key} is no text, or too long")
            row = self._db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
            if self._written is not None and not self._written.holds_row("meta", key, row or ()):
                raise changed_error(self.path)
            return json.loads(row[0]) if row else None

    def read_table(self, name: str) -> list[tuple[Any, ...]]:
        """Return the rows of a table that is no table of events."""
        with self.guard_reading():
            rows, left, before = [], self._size, None
            for row in self._db.execute(f"SELECT * FROM {name} ORDER BY id"):  # noqa: S608 - a name of ours
                left -= _SMALLEST_ROW + sum(len(value) for value in row if isinstance(value, bytes | str))
                if left < 0 or (before is not None and row[0] <= before):
                    raise ValueError(f"{name} has more than the file can hold")
                before = row[0]
                rows.append(row)
            if self._written is not None and not self._written.holds_all(name, rows):
                raise changed_error(self.path)
            return rows

    def read_chunk(self, first: int) -> ChunkRow:
        """Return the row of a chunk."""
        row = ChunkRow(*self._db.execute(self._chunk_row, (first,)).fetchone())
        if self._written is not None and not self._written.holds_row("chunk", first, row):
            raise changed_error(self.path)
        return row

    def read_corrections(self, first: int) -> Iterator[tuple[str, dict[str, bytes | None]]]:
        """Yield what each correction of a chunk is, and its columns."""
        for number, what in self._corrections.get(first, ()):
            found = self._db.execute(_CORRECTION, (number,)).fetchone()
            if self._written is not None and not self._written.holds_row(
                "correction", number, (first, what, *found)
            ):
                raise changed_error(self.path)
            yield what, dict(zip(CORRECTION_BLOBS, found, strict=True))

    @contextmanager
    def guard_reading(self) -> Iterator[None]:
        """Turn what a damaged recording raises into `RecordingError`."""
        try:
            yield
        except sqlite3.Error as error:
            raise RecordingError(f"{self.path} is damaged: {describe_error(error)}") from error
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, RecursionError) as error:
            raise RecordingError(f"{self.path} is damaged: {error}") from error

    def _open_file(self, path: str) -> sqlite3.Connection:
        # A finished recording may lie where nothing can be written; one that was cut short
        # has its write-ahead log beside it, which SQLite must be able to take up.
        logged = os.path.exists(f"{path}-wal")
        db = self._connect_file(path, "" if logged else "?mode=ro&immutable=1")
        if not logged:
            return db
        try:
            db.execute("SELECT count(*) FROM meta").fetchone()
        except sqlite3.OperationalError as error:
            db.close()
            if error.sqlite_errorcode & 0xFF not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_READONLY):
                raise
            return self._connect_file(self._copy_file(path), "")
        return db

    def _copy_file(self, path: str) -> str:
        """Copy a recording that is still being written, as far as it is: its writer has locked it."""
        import shutil  # noqa: PLC0415 - start-up: seldom needed
        import tempfile  # noqa: PLC0415

        self._copy = tempfile.TemporaryDirectory(prefix="writeaudit-")
        target = os.path.join(self._copy.name, "recording")
        shutil.copyfile(path, target)
        with contextlib.suppress(FileNotFoundError):
            shutil.copyfile(f"{path}-wal", f"{target}-wal")
        return target

    def _connect_file(self, path: str, mode: str) -> sqlite3.Connection:
        db = sqlite3.connect(f"file:{_file_uri(path)}{mode}", uri=True, isolation_level=None, timeout=0)
        db.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MOST_VALUE)
        db.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
        db.setlimit(sqlite3.SQLITE_LIMIT_TRIGGER_DEPTH, 1)
        db.execute("PRAGMA trusted_schema=OFF")
        db.execute("PRAGMA mmap_size=0")
        db.set_progress_handler(self._count_steps, _STEPS)
        return db

    def _count_steps(self) -> int:
        """Return 1 to stop SQLite."""
        self._steps += _STEPS
        return int(self._steps > _FREE_STEPS + _STEPS_A_BYTE * self._size)

    def _check_schema(self, schema: str) -> None:
        """Raise ValueError unless there is nothing but our own plain tables."""
        found = self._db.execute("SELECT type, name, sql FROM sqlite_schema LIMIT 64").fetchall()
        if sorted(found, key=repr) != sorted(_expected_schema(schema), key=repr):
            raise ValueError("its tables are not those of a recording")

    def _read_chunks(self) -> list[tuple[int, int]]:
        chunks, end, left = [], 1, self._size
        for first, rows, *lengths in self._db.execute(self._chunk_lengths):
            limits = most_bytes(rows)
            for name, length in zip(limits, lengths, strict=False):
                if not 0 <= length <= limits[name]:
                    raise ValueError(f"{name} has {length} bytes for {rows} events")
            left -= sum(lengths)
            if first < end or left < 0:
                raise ValueError("an event is there twice")
            end = first + rows
            chunks.append((first, rows))
        if self._written is not None and {first for first, _ in chunks} != self._written.list_keys("chunk"):
            raise changed_error(self.path)
        return chunks

    def _read_corrections(self) -> dict[int, list[_Correction]]:
        corrections: dict[int, list[_Correction]] = {}
        left, before = self._size, 0
        for number, chunk, what, *lengths in self._db.execute(_CORRECTION_LENGTHS):
            left -= sum(lengths) + _SMALLEST_ROW
            if number <= before or left < 0 or not 0 <= min(lengths) <= max(lengths) <= _MOST_CORRECTION:
                raise ValueError("the corrections make no sense")
            before = number
            corrections.setdefault(chunk, []).append(_Correction(number, what))
        numbers = {correction.number for every in corrections.values() for correction in every}
        if self._written is not None and numbers != self._written.list_keys("correction"):
            raise changed_error(self.path)
        return corrections


def changed_error(path: str) -> RecordingError:
    """Return the error for a recording that holds something else than was written."""
    return RecordingError(
        f"{path} was changed by somebody else than writeaudit while the command ran: it cannot be judged",
        hint="audit the command as another user (--user), or have it recorded where it cannot write",
    )


def _check_version(path: str, application: int, version: int) -> None:
    if application != APPLICATION_ID:
        raise RecordingError(f"{path} is no recording of writeaudit")
    if version > SCHEMA_VERSION:
        raise RecordingError(
            f"{path} was made by a later writeaudit (schema {version}; this one reads up to "
            f"{SCHEMA_VERSION})",
            hint="upgrade writeaudit",
        )
    if version < OLDEST_VERSION:
        raise RecordingError(
            f"{path} was made by a writeaudit from before its first release (schema {version}; this one "
            f"reads {OLDEST_VERSION} and later)",
            hint="audit the command again, or read it with the writeaudit that made it",
        )


def _expected_schema(schema: str) -> list[tuple[str, str, str | None]]:
    blank = sqlite3.connect(":memory:")
    try:
        blank.executescript(schema)
        return blank.execute("SELECT type, name, sql FROM sqlite_schema").fetchall()
    finally:
        blank.close()


# ruff calls these injections, but the names in them are ours.
_CHUNK = "SELECT {} FROM chunk WHERE first = ?"


def _lengths_of(fields: Sequence[str]) -> str:
    """Return what asks for the lengths of blobs: of the rows' headers, for which SQLite reads no blob."""
    lengths = ", ".join(
        f"CASE typeof({name}) WHEN 'blob' THEN length({name}) WHEN 'null' THEN 0 ELSE -1 END"
        for name in fields[2:]
    )
    return f"SELECT first, rows, {lengths} FROM chunk ORDER BY first"  # noqa: S608


_CORRECTION_LENGTHS = "SELECT id, chunk, {}, {} FROM correction ORDER BY id".format(  # noqa: S608
    "CASE typeof(what) WHEN 'text' THEN substr(what, 1, 16) END",
    ", ".join(
        f"CASE typeof({name}) WHEN 'blob' THEN length({name}) WHEN 'null' THEN 0 ELSE -1 END"
        for name in CORRECTION_BLOBS
    ),
)
_CORRECTION = f"SELECT {', '.join(CORRECTION_BLOBS)} FROM correction WHERE id = ?"  # noqa: S608


def _size_of(path: str) -> int:
    try:
        return os.path.getsize(path)
    except OSError:
        return 0


def _file_uri(path: str) -> str:
    return os.path.abspath(path).replace("%", "%25").replace("?", "%3f").replace("#", "%23")
