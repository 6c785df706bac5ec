"""The audit as a SQLite database, for people who ask in SQL (docs/recording.md).

A recording keeps events in chunks of columns, which no SQL statement can look into. This has a row for each
event, and what was thought of it.
"""

from __future__ import annotations

import os
import sqlite3
import tempfile
from collections.abc import Iterator

from writeaudit.errors import OutputError
from writeaudit.events import FsEvent
from writeaudit.judgement import Judged
from writeaudit.report.view import Report
from writeaudit.text import escape_path

SCHEMA = """
CREATE TABLE event (
    seq INTEGER PRIMARY KEY, time_ns INTEGER NOT NULL, pid INTEGER NOT NULL, tid INTEGER NOT NULL,
    op TEXT NOT NULL, path BLOB NOT NULL, source BLOB, access TEXT, flags TEXT NOT NULL,
    created INTEGER NOT NULL, mode INTEGER, result TEXT NOT NULL, bytes INTEGER, calls INTEGER,
    mount INTEGER, source_mount INTEGER, dev INTEGER, ino INTEGER, source_dev INTEGER, source_ino INTEGER,
    fmt INTEGER, seen_as BLOB, certainty TEXT NOT NULL, zone TEXT, verdict TEXT NOT NULL,
    frame INTEGER NOT NULL, inner_path BLOB
);
CREATE TABLE frame (
    id INTEGER PRIMARY KEY, kind TEXT NOT NULL, name TEXT NOT NULL, mount_ns INTEGER NOT NULL, root BLOB,
    pid INTEGER NOT NULL, began_ns INTEGER NOT NULL
);
CREATE TABLE file (
    path BLOB NOT NULL, mount INTEGER, zone TEXT, verdict TEXT NOT NULL, net TEXT NOT NULL,
    bytes_written INTEGER NOT NULL
);
CREATE TABLE finding (
    rule TEXT NOT NULL, severity TEXT NOT NULL, message TEXT NOT NULL, count INTEGER NOT NULL
);
CREATE TABLE mount (
    id INTEGER PRIMARY KEY, mount_ns INTEGER NOT NULL, dev INTEGER NOT NULL, fstype TEXT NOT NULL,
    source BLOB NOT NULL, root BLOB NOT NULL, mountpoint BLOB NOT NULL, options TEXT NOT NULL,
    parent INTEGER, own INTEGER NOT NULL
);
CREATE TABLE process (
    pid INTEGER NOT NULL, ppid INTEGER NOT NULL, exe BLOB NOT NULL, argv TEXT NOT NULL,
    started_ns INTEGER NOT NULL, ended_ns INTEGER, exit_status INTEGER
);
CREATE VIEW events AS
    SELECT seq, time_ns, pid, tid, op, CAST(path AS TEXT) AS path, CAST(source AS TEXT) AS source, result,
           access, flags, created, mode, bytes, calls, mount, dev, ino, zone, verdict,
           frame, CAST(inner_path AS TEXT) AS inner_path
    FROM event;
"""
_BLOCK = 1 << 18
_MOST = (1 << 63) - 1
_INSERT_EVENT = "INSERT INTO event VALUES ({})".format(",".join("?" * 27))  # noqa: S608 - no text of others


def render(report: Report) -> Iterator[bytes]:
    """Yield the database as pieces of one file. Raises `OutputError` if there is no room for it."""
    try:
        with tempfile.TemporaryDirectory(prefix="writeaudit-") as directory:
            path = os.path.join(directory, "report")
            _fill(path, report)
            with open(path, "rb") as file:
                while block := file.read(_BLOCK):
                    yield block
    except (OSError, sqlite3.Error) as error:
        raise OutputError(
            f"cannot put the SQLite report together in {tempfile.gettempdir()}: {error}",
            hint="choose a directory with more room: TMPDIR=DIRECTORY",
        ) from error


def _fill(path: str, report: Report) -> None:
    database = sqlite3.connect(path, isolation_level=None)
    try:
        database.executescript(f"PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; {SCHEMA} BEGIN;")
        database.executemany(_INSERT_EVENT, (_event(*pair) for pair in report.judged_events()))
        database.executemany(
            "INSERT INTO file VALUES (?,?,?,?,?,?)",
            (
                (f.path, f.mount, f.zone, f.verdict.value, f.net.value, min(f.bytes_written, _MOST))
                for f in report.files
            ),
        )
        database.executemany(
            "INSERT INTO finding VALUES (?,?,?,?)",
            ((f.rule, f.severity.value, f.message, f.count) for f in report.findings),
        )
        database.executemany(
            "INSERT INTO mount VALUES (?,?,?,?,?,?,?,?,?,?)",
            ((*m[:7], ",".join(m.options), m.parent, m.own) for m in report.audit.mounts),
        )
        database.executemany(
            "INSERT INTO frame VALUES (?,?,?,?,?,?,?)", (frame[:7] for frame in report.audit.frames)
        )
        database.executemany(
            "INSERT INTO process VALUES (?,?,?,?,?,?,?)",
            (
                (
                    p.pid,
                    p.ppid,
                    p.exe,
                    " ".join(map(escape_path, p.argv)),
                    p.started_ns,
                    p.ended_ns,
                    p.exit_status,
                )
                for p in report.audit.processes
            ),
        )
        database.execute("COMMIT")
    finally:
        database.close()


def _event(event: FsEvent, judged: Judged) -> tuple[object, ...]:
    (
        seq, time_ns, pid, tid, op, path, source, access, flags, created, mode, result, size, calls, mount,
        source_mount, dev, ino, source_dev, source_ino, fmt, seen_as, certainty, frame, inner_path,
    ) = event  # fmt: skip
    return (
        seq, time_ns, pid, tid, op.value, path, source, access and access.value, ",".join(flags), created,
        mode, result, size, calls, mount, source_mount, dev, _signed(ino), source_dev, _signed(source_ino),
        fmt, seen_as, certainty.value, judged.zone, judged.verdict.value, frame, inner_path,
    )  # fmt: skip


def _signed(ino: int | None) -> int | None:
    """Return an inode number as SQLite can hold it: those of 2^63 and more become negative."""
    return ino if ino is None or ino <= _MOST else ino - (1 << 64)
