"""The form of a recording, which its writer and its reader share."""

from __future__ import annotations

SCHEMA_VERSION = 1
APPLICATION_ID = 0x77726175
""""wrau": what file(1) and `PRAGMA application_id` tell a recording by."""

SCHEMA = """
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

INSERT_EVENT = "INSERT INTO event VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)"
MOST = (1 << 63) - 1
"""The greatest number that a column can hold; what is more is written as this."""
NO_DIRECTORY = 0
"""`event.dir` of a path that is not absolute; `name` then holds all of it."""


def reason(error: Exception) -> str:
    """Return what went wrong, in words: of the system if it has some."""
    return (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
