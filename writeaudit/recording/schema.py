"""The form of a recording, which its writer and its reader share. docs/recording.md describes it."""

from __future__ import annotations

SCHEMA_VERSION = 3
"""3: events in containers and sandboxes bear the path that they have there. 2: events in chunks of columns.
1 had a row for each event; no release wrote it."""
OLDEST_VERSION = 2
"""The oldest that is read."""
APPLICATION_ID = 0x77726175
""""wrau": what file(1) and `PRAGMA application_id` tell a recording by."""

SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE chunk (
    first INTEGER PRIMARY KEY, rows INTEGER NOT NULL,
    time_ns BLOB NOT NULL, pid BLOB NOT NULL, tid BLOB, kind BLOB NOT NULL, path BLOB NOT NULL,
    source BLOB, seen_as BLOB, bytes BLOB, calls BLOB, ino BLOB, source_ino BLOB,
    kinds BLOB NOT NULL,
    prefixes BLOB NOT NULL, prefix_ends BLOB NOT NULL,
    names BLOB NOT NULL, name_ends BLOB NOT NULL, name_prefix BLOB NOT NULL,
    inner_path BLOB
);
CREATE TABLE correction (
    id INTEGER PRIMARY KEY, chunk INTEGER NOT NULL, what TEXT NOT NULL, seqs BLOB NOT NULL,
    bytes BLOB, calls BLOB, dev BLOB, ino BLOB, fmt BLOB
);
CREATE INDEX correction_chunk ON correction (chunk);
CREATE TABLE mount (
    id INTEGER PRIMARY KEY, mount_ns INTEGER NOT NULL, dev INTEGER NOT NULL, fstype TEXT NOT NULL,
    source BLOB NOT NULL, root BLOB NOT NULL, mountpoint BLOB NOT NULL, options TEXT NOT NULL,
    parent INTEGER, own INTEGER NOT NULL
);
CREATE TABLE process (
    id INTEGER PRIMARY KEY, pid INTEGER NOT NULL, ppid INTEGER NOT NULL, exe BLOB NOT NULL,
    argv BLOB NOT NULL, started_ns INTEGER NOT NULL, ended_ns INTEGER, exit_status INTEGER
);
"""

SCHEMA_2 = SCHEMA.replace(
    """,
    inner_path BLOB
);""",
    "\n);",
)
"""The tables of version 2."""

MOST = (1 << 63) - 1
"""The greatest number that a column can hold; what is more is written as this."""

CHUNK_ROWS = 1 << 16
"""How many events a chunk has at most."""
CHUNK_TEXT = 1 << 24
"""How many bytes of paths make a chunk full, each path counted once."""
MOST_TEXT = 2 * CHUNK_TEXT
"""How many a chunk may have: the last events that go into it may be long."""
MOST_PATH = 1 << 16
"""How long a path may be, in bytes. Longer ones are cut, and their events counted as truncated."""
CHUNK_KINDS = 1 << 12
"""How many kinds make a chunk full."""
MOST_KINDS_JSON = 1 << 24
"""How long the JSON of a chunk's kinds may be. Names of extended attributes make them long: 255 bytes."""

MOST_VALUE = 1 << 26
"""How long any row of a recording may be: no chunk is longer."""

TOTAL, DOUBTFUL, IDENTIFIED, UNIDENTIFIED = "total", "doubtful", "identified", "unidentified"
"""`correction.what`: what became known of events whose chunk was written already."""
CORRECTION_BLOBS = ("seqs", "bytes", "calls", "dev", "ino", "fmt")
"""Columns of `correction`, in their order; which of them a kind of correction has beside ``seqs``:"""
CORRECTED = {TOTAL: ("bytes", "calls"), DOUBTFUL: (), IDENTIFIED: ("dev", "ino", "fmt"), UNIDENTIFIED: ()}
"""The columns that say it. What comes later here counts."""


def describe_error(error: Exception) -> str:
    """Return what went wrong, in words: of the system if it has some."""
    return (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
