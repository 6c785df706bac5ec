"""The recording: the one file that outlives a run. SQLite, described in docs/recording.md.

It is written while the command runs, so that whatever happens to writeaudit, the events up
to then can be read. Everything after it (policy, analysis, reports) works from it alone.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from writeaudit.audit import Audit, BackendInfo, BlindSpot, Completeness, Mount, Process, RunInfo
from writeaudit.errors import OutputError, RecordingError
from writeaudit.events import OK, Access, Certainty, FsEvent, Op
from writeaudit.text import show, unshow

SCHEMA_VERSION = 1
APPLICATION_ID = 0x77726175
""""wrau": what file(1) and `PRAGMA application_id` tell a recording by."""

_SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE dir (id INTEGER PRIMARY KEY, path BLOB NOT NULL);
CREATE TABLE event (
    seq INTEGER PRIMARY KEY, time_ns INTEGER NOT NULL, pid INTEGER NOT NULL, tid INTEGER,
    op TEXT NOT NULL, dir INTEGER NOT NULL, name BLOB NOT NULL,
    source_dir INTEGER, source_name BLOB, access TEXT, flags TEXT, created INTEGER,
    mode INTEGER, result TEXT, bytes INTEGER, calls INTEGER, mount INTEGER, source_mount INTEGER,
    dev INTEGER, ino INTEGER, source_dev INTEGER, source_ino INTEGER, fmt INTEGER,
    seen_as BLOB, certainty TEXT
);
CREATE TABLE mount (
    id INTEGER PRIMARY KEY, mount_ns INTEGER NOT NULL, dev INTEGER NOT NULL, fstype TEXT NOT NULL,
    source BLOB NOT NULL, root BLOB NOT NULL, mountpoint BLOB NOT NULL, options TEXT NOT NULL,
    parent INTEGER, own INTEGER NOT NULL
);
CREATE TABLE process (
    id INTEGER PRIMARY KEY, pid INTEGER NOT NULL, ppid INTEGER NOT NULL, exe BLOB NOT NULL,
    argv BLOB NOT NULL, started_ns INTEGER NOT NULL, ended_ns INTEGER, exit_status INTEGER
);
CREATE VIEW events AS
    SELECT seq, time_ns, pid, coalesce(tid, pid) AS tid, op,
           CAST(d.path || CASE d.path WHEN X'2F' THEN '' ELSE '/' END || name AS TEXT) AS path,
           CAST(CASE WHEN s.path IS NULL THEN source_name
                ELSE s.path || CASE s.path WHEN X'2F' THEN '' ELSE '/' END || source_name END AS TEXT)
                AS source,
           coalesce(result, 'ok') AS result, access, flags, created, mode, bytes, calls, mount, dev, ino
    FROM event LEFT JOIN dir d ON d.id = dir LEFT JOIN dir s ON s.id = source_dir;
"""

_INSERT_EVENT = "INSERT INTO event VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)"
_NO_DIRECTORY = 0
"""`event.dir` of a path that is not absolute; `name` then holds all of it."""


class RecordingWriter:
    """Writes one recording. Created at once, readable at any time, finished by `finish`."""

    def __init__(self, path: str, owner: tuple[int, int] | None = None) -> None:
        """Begin a recording at ``path``; an existing recording there is replaced at the end.

        Raises OutputError if the file cannot be made, or is something else than a recording.
        """
        self.path = path
        self._owner = owner
        self._working = path
        if os.path.lexists(path):
            if not _is_recording(path):
                raise OutputError(
                    f"{path} exists and is no recording; it is left alone",
                    hint="choose another name for -o, or remove it",
                )
            self._working = f"{path}.{os.getpid()}.new"
            _remove_with_log(self._working)
        try:
            # Paths of whatever ran lie in it: nobody else's business.
            os.close(os.open(self._working, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
            if owner is not None:
                os.chown(self._working, *owner)
            self._db = sqlite3.connect(self._working, isolation_level=None, check_same_thread=False)
            # No file-system sync while the command runs: it would wait for the command's own
            # writes. The write-ahead log is safe against the end of this process all the same.
            self._db.executescript(
                # The first two reach the file itself, so that it can be told even after a crash.
                f"PRAGMA application_id={APPLICATION_ID}; PRAGMA user_version={SCHEMA_VERSION};"
                f"PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF; PRAGMA wal_autocheckpoint=0;"
                f"BEGIN;{_SCHEMA}COMMIT; BEGIN"
            )
        except (OSError, sqlite3.Error) as error:
            raise OutputError(f"cannot write the recording {path}: {_reason(error)}") from error
        self._dirs: dict[bytes, int] = {}
        self._next_dir = 1

    def meta(self, key: str, value: object) -> None:
        """Set a JSON value."""
        self._execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, json.dumps(value)))

    def run(self, run: RunInfo) -> None:
        """Set what is known of the run; called at its beginning and at its end."""
        raw = asdict(run)
        raw["command"] = [show(word) for word in run.command]
        raw["cwd"] = show(run.cwd)
        self.meta("run", raw)

    def events(self, events: Sequence[FsEvent]) -> None:
        """Append events."""
        rows = [self._row(event) for event in events]
        try:
            self._db.executemany(_INSERT_EVENT, rows)
        except sqlite3.Error as error:
            raise self._failed(error) from error

    def totals(self, totals: Sequence[tuple[int, int, int]]) -> None:
        """Set bytes and calls of write events: (bytes, calls, seq)."""
        try:
            self._db.executemany("UPDATE event SET bytes = ?, calls = ? WHERE seq = ?", totals)
        except sqlite3.Error as error:
            raise self._failed(error) from error

    def doubtful(self, seqs: Sequence[int]) -> None:
        """Take back the certainty of events that were written before."""
        try:
            self._db.executemany(
                "UPDATE event SET certainty = 'lexical' WHERE seq = ?", [(seq,) for seq in seqs]
            )
        except sqlite3.Error as error:
            raise self._failed(error) from error

    def commit(self) -> None:
        """Make all that was written so far readable, whatever happens next."""
        self._execute("COMMIT")
        self._execute("BEGIN")

    def finish(
        self,
        run: RunInfo,
        completeness: Completeness,
        mounts: Sequence[Mount],
        processes: Sequence[Process],
    ) -> None:
        """Write the rest, and make one file of it."""
        self.run(run)
        self.meta("completeness", asdict(completeness))
        self.tables(mounts, processes)
        self._execute("COMMIT")
        # Where this fails the write-ahead log stays beside the file, and both can be read.
        self._execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._execute("PRAGMA journal_mode=DELETE")
        self._db.close()
        if self._working != self.path:
            # What a crash left beside the old file: SQLite would apply it to the new one.
            _remove_with_log(self.path)
            os.replace(self._working, self.path)

    def tables(self, mounts: Sequence[Mount], processes: Sequence[Process]) -> None:
        """Replace the tables of mounts and processes by these."""
        self._execute("DELETE FROM mount")
        self._execute("DELETE FROM process")
        self._db.executemany(
            "INSERT INTO mount VALUES (?,?,?,?,?,?,?,?,?,?)",
            [
                (m.id, m.mount_ns, m.dev, m.fstype, m.source, m.root, m.mountpoint,
                 ",".join(m.options), m.parent, m.own)
                for m in mounts
            ],
        )  # fmt: skip
        self._db.executemany(
            "INSERT INTO process (pid, ppid, exe, argv, started_ns, ended_ns, exit_status)"
            " VALUES (?,?,?,?,?,?,?)",
            [
                (p.pid, p.ppid, p.exe, b"\0".join(p.argv), p.started_ns, p.ended_ns, p.exit_status)
                for p in processes
            ],
        )

    def abandon(self) -> None:
        """Remove the recording: nothing ran."""
        self._db.close()
        _remove_with_log(self._working)

    def _row(self, e: FsEvent) -> tuple[Any, ...]:
        directory, name = self._split(e.path)
        source_dir: int | None = None
        source_name: bytes | None = None
        if e.source is not None:
            # A symlink's text is no path: it is kept as it is.
            if e.op is Op.SYMLINK:
                source_name = e.source
            else:
                source_dir, source_name = self._split(e.source)
        return (
            e.seq, e.time_ns, e.pid, None if e.tid == e.pid else e.tid, e.op.value, directory, name,
            source_dir, source_name,
            None if e.access is None else e.access.value,
            ",".join(e.flags) or None,
            1 if e.created else None,
            e.mode, None if e.result == OK else e.result, e.bytes, e.calls, e.mount, e.source_mount,
            e.dev, _signed(e.ino), e.source_dev, _signed(e.source_ino), e.fmt, e.seen_as,
            None if e.certainty is Certainty.RESOLVED else e.certainty.value,
        )  # fmt: skip

    def _split(self, path: bytes) -> tuple[int, bytes]:
        directory, _slash, name = path.rpartition(b"/")
        if not path.startswith(b"/") or path.startswith(b"//"):
            return _NO_DIRECTORY, path
        directory = directory or b"/"
        number = self._dirs.get(directory)
        if number is None:
            number = self._dirs[directory] = self._next_dir
            self._next_dir += 1
            self._execute("INSERT INTO dir VALUES (?, ?)", (number, directory))
        return number, name

    def _execute(self, statement: str, values: Sequence[Any] = ()) -> None:
        try:
            self._db.execute(statement, values)
        except sqlite3.Error as error:
            raise self._failed(error) from error

    def _failed(self, error: sqlite3.Error) -> OutputError:
        return OutputError(
            f"cannot write the recording {self.path}: {_reason(error)}",
            hint="choose a place with more room: -o FILE",
        )


class Recording:
    """A recording, opened for reading. Raises `RecordingError` for anything that is none."""

    def __init__(self, path: str) -> None:
        self.path = path
        if not os.path.exists(path):
            raise RecordingError(f"{path}: no such recording", hint="see: writeaudit report last")
        try:
            with open(path, "rb") as file:
                file.read(1)
            # A finished recording may lie where nothing can be written; one that was cut short
            # has its write-ahead log beside it, which SQLite must be able to take up.
            mode = "" if os.path.exists(f"{path}-wal") else "?mode=ro&immutable=1"
            self._db = sqlite3.connect(f"file:{_uri(path)}{mode}", uri=True, isolation_level=None)
            application = self._db.execute("PRAGMA application_id").fetchone()[0]
            version = self._db.execute("PRAGMA user_version").fetchone()[0]
        except (OSError, sqlite3.Error) as error:
            raise RecordingError(f"{path} is no recording, or is damaged: {_reason(error)}") from error
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

    def audit(self) -> Audit:
        """Return all of it; the events are read as they are iterated over."""
        run = self.meta("run")
        if run is None:
            raise RecordingError(f"{self.path} is damaged: it does not say what was run")
        count = self._rows("SELECT count(*) FROM event")[0][0]
        with self._sound():
            return Audit(
                run=_run(run),
                completeness=_completeness(self.meta("completeness")),
                mounts=tuple(_mounts(self._rows("SELECT * FROM mount ORDER BY id"))),
                processes=tuple(_processes(self._rows("SELECT * FROM process ORDER BY id"))),
                events=_Events(self._db, self.path),
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
            raise RecordingError(f"{self.path} is damaged: {_reason(error)}") from error


class _Events:
    """The events of a recording, read anew each time that they are iterated over."""

    def __init__(self, db: sqlite3.Connection, path: str) -> None:
        self._db = db
        self._path = path

    def __iter__(self) -> Iterator[FsEvent]:
        flags_of: dict[str | None, tuple[str, ...]] = {None: ()}
        try:
            prefixes: dict[int, bytes] = {
                number: path if path == b"/" else path + b"/"
                for number, path in self._db.execute("SELECT id, path FROM dir")
            }
            prefixes[_NO_DIRECTORY] = b""
            for row in self._db.execute("SELECT * FROM event ORDER BY seq"):
                yield _event(row, prefixes, flags_of)
        except (sqlite3.Error, AttributeError, KeyError, TypeError, ValueError) as error:
            raise RecordingError(f"{self._path} is damaged: {error}") from error


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
        mount, source_mount, dev, _unsigned(ino), source_dev, _unsigned(source_ino), fmt, seen_as,
        _CERTAINTIES[certainty],
    )  # fmt: skip


def _signed(ino: int | None) -> int | None:
    """Return an inode number as SQLite can hold it: those of 64 bits become negative."""
    return ino if ino is None or ino < 1 << 63 else ino - (1 << 64)


def _unsigned(ino: int | None) -> int | None:
    return ino if ino is None or ino >= 0 else ino + (1 << 64)


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


def runs_directory(home: str, environ: Mapping[str, str]) -> Path:
    """Return where recordings go without -o (XDG Base Directory Specification)."""
    state = environ.get("XDG_STATE_HOME", "")
    base = Path(state) if os.path.isabs(state) else Path(home) / ".local" / "state"
    return base / "writeaudit" / "runs"


def last(directory: Path) -> str:
    """Return the newest recording of a directory. Raises RecordingError if there is none."""
    try:
        found = sorted(directory.glob("*.wa"))
    except OSError:
        found = []
    if not found:
        raise RecordingError(f"no recording yet in {directory}", hint="make one: writeaudit run -- COMMAND")
    return str(found[-1])


def _is_recording(path: str) -> bool:
    try:
        with open(path, "rb") as file:
            head = file.read(72)
    except OSError:
        return False
    return head[:16] == b"SQLite format 3\0" and head[68:72] == APPLICATION_ID.to_bytes(4, "big")


def _uri(path: str) -> str:
    return os.path.abspath(path).replace("%", "%25").replace("?", "%3f").replace("#", "%23")


def _remove_with_log(path: str) -> None:
    """Remove a database with its write-ahead log, which goes first: alone it must not stay."""
    for suffix in ("-wal", "-shm", ""):
        with suppress(FileNotFoundError):
            os.unlink(path + suffix)


def _reason(error: Exception) -> str:
    return (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
