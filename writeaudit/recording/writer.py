"""Writes a recording."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from typing import Any

from writeaudit.audit import Completeness, Mount, Process, RunInfo
from writeaudit.bounded import Bounded
from writeaudit.errors import OutputError
from writeaudit.events import OK, Access, Certainty, FsEvent, Op
from writeaudit.recording.schema import (
    APPLICATION_ID,
    INSERT_EVENT,
    MOST,
    NO_DIRECTORY,
    SCHEMA,
    SCHEMA_VERSION,
    reason,
)
from writeaudit.text import show

_TEXT: dict[str, str] = {member: member.value for kind in (Op, Access, Certainty) for member in kind}
"""As SQLite takes them: asking a member for its value takes five times as long."""

_DIRS_BYTES = 32 << 20
"""How much of the numbers of directories is kept."""


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
                f"BEGIN;{SCHEMA}COMMIT; BEGIN"
            )
        except (OSError, sqlite3.Error) as error:
            raise OutputError(
                f"cannot write the recording {path}: {reason(error)}",
                hint="name a file in a place that can be written: -o FILE",
            ) from error
        # One that comes again when it was forgotten gets another number: the table grows, not this process.
        self._dirs: Bounded[bytes, int] = Bounded(_DIRS_BYTES)
        self._next_dir = 1

    def meta(self, key: str, value: object) -> None:
        """Set a JSON value."""
        self._execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, json.dumps(value)))

    def run(self, run: RunInfo) -> None:
        """Set what is known of the run; called at its beginning and at its end."""
        raw = asdict(run)
        raw["command"] = [show(word) for word in run.command]
        raw["cwd"] = show(run.cwd)
        raw["inherited"] = [show(path) for path in run.inherited]
        self.meta("run", raw)

    def events(self, events: Sequence[FsEvent]) -> None:
        """Append events."""
        rows = [self._row(event) for event in events]
        try:
            try:
                self._db.executemany(INSERT_EVENT, rows)
            except OverflowError:
                # The rows before it are in; a program can make up results that no file can hold.
                again = INSERT_EVENT.replace("INSERT", "INSERT OR REPLACE", 1)
                self._db.executemany(again, [tuple(map(_fitting, row)) for row in rows])
        except sqlite3.Error as error:
            raise self._failed(error) from error

    def totals(self, totals: Sequence[tuple[int, int, int]]) -> None:
        """Set bytes and calls of write events: (bytes, calls, seq)."""
        rows = [(_fitting(size), _fitting(calls), seq) for size, calls, seq in totals]
        try:
            self._db.executemany("UPDATE event SET bytes = ?, calls = ? WHERE seq = ?", rows)
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

    def unidentified(self, seqs: Sequence[int]) -> None:
        """Take back which files events were about that were written before."""
        try:
            self._db.executemany(
                "UPDATE event SET ino = NULL, source_ino = NULL, source_dev = NULL, fmt = NULL WHERE seq = ?",
                [(seq,) for seq in seqs],
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
        try:
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
        except sqlite3.Error as error:
            raise self._failed(error) from error

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
            e.seq, e.time_ns, e.pid, None if e.tid == e.pid else e.tid, _TEXT[e.op], directory, name,
            source_dir, source_name,
            None if e.access is None else _TEXT[e.access],
            ",".join(e.flags) or None,
            1 if e.created else None,
            e.mode, None if e.result == OK else e.result, e.bytes, e.calls, e.mount, e.source_mount,
            e.dev, _signed(e.ino), e.source_dev, _signed(e.source_ino), e.fmt, e.seen_as,
            None if e.certainty is Certainty.RESOLVED else _TEXT[e.certainty],
        )  # fmt: skip

    def _split(self, path: bytes) -> tuple[int, bytes]:
        directory, _slash, name = path.rpartition(b"/")
        if not path.startswith(b"/") or path.startswith(b"//"):
            return NO_DIRECTORY, path
        directory = directory or b"/"
        number = self._dirs.get(directory)
        if number is None:
            number = self._next_dir
            self._dirs.keep(directory, number, len(directory))
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
            f"cannot write the recording {self.path}: {reason(error)}",
            hint="choose a place with more room: -o FILE",
        )


def _signed(ino: int | None) -> int | None:
    """Return an inode number as SQLite can hold it: those of 64 bits become negative."""
    return ino if ino is None or ino < 1 << 63 else ino - (1 << 64)


def _fitting(value: Any) -> Any:
    """Return a value, or what is nearest to it of the numbers that SQLite can hold."""
    return max(~MOST, min(value, MOST)) if isinstance(value, int) else value


def _is_recording(path: str) -> bool:
    if not os.path.isfile(path):
        return False  # to open a FIFO would wait for whoever fills it
    try:
        with open(path, "rb") as file:
            head = file.read(72)
    except OSError:
        return False
    return head[:16] == b"SQLite format 3\0" and head[68:72] == APPLICATION_ID.to_bytes(4, "big")


def _remove_with_log(path: str) -> None:
    """Remove a database with its write-ahead log, which goes first: alone it must not stay."""
    for suffix in ("-wal", "-shm", ""):
        with suppress(FileNotFoundError):
            os.unlink(path + suffix)
