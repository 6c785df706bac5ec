"""Writes a recording."""

from __future__ import annotations

import json
import os
import sqlite3
from array import array
from bisect import bisect_right
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from typing import Any

from writeaudit.audit import (
    Binary,
    Completeness,
    FileState,
    Frame,
    Mount,
    Observation,
    Process,
    RunInfo,
    SharedFile,
)
from writeaudit.errors import OutputError
from writeaudit.events import FsEvent
from writeaudit.new_file import NewFile
from writeaudit.recording.chunk import ChunkBuilder, ChunkRow, to_bytes
from writeaudit.recording.digest import Digests
from writeaudit.recording.observations import (
    binaries_to_json,
    frames_to_json,
    shared_to_json,
    states_to_json,
    to_json,
)
from writeaudit.recording.schema import (
    APPLICATION_ID,
    CORRECTED,
    CORRECTION_BLOBS,
    DOUBTFUL,
    IDENTIFIED,
    MOST,
    SCHEMA,
    SCHEMA_VERSION,
    TOTAL,
    UNIDENTIFIED,
    describe_error,
)
from writeaudit.text import escape_path

_INSERT_CHUNK = "INSERT INTO chunk VALUES ({})".format(",".join("?" * len(ChunkRow._fields)))  # noqa: S608 - no text of others
_INSERT_CORRECTION = "INSERT INTO correction VALUES ({})".format(",".join("?" * (3 + len(CORRECTION_BLOBS))))  # noqa: S608


class RecordingWriter:
    """Writes one recording. Created at once, readable at any time, finished by `finish_recording`."""

    def __init__(self, path: str) -> None:
        """Begin a recording at ``path``; an existing recording there is replaced at the end.

        Raises OutputError if the file cannot be made, or is something else than a recording.
        """
        self.path = path
        self.digests = Digests()
        """Digests of all that was written, for the judgement of the run."""
        self._next_correction = 1
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
            _create_file(self._working)
            self._db = sqlite3.connect(self._working, isolation_level=None, check_same_thread=False)
            # Locked before it has a log: so the index of the log stays in our own memory. In a file (-shm) it
            # would be mapped, and whoever shortens that file ends us with SIGBUS.
            # No file-system sync while the command runs: it would wait for the command's own
            # writes. The write-ahead log is safe against the end of this process nevertheless.
            self._db.executescript(
                "PRAGMA locking_mode=EXCLUSIVE; PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF;"
                "PRAGMA wal_autocheckpoint=0; PRAGMA mmap_size=0; BEGIN"
            )
        except (OSError, sqlite3.Error) as error:
            raise OutputError(
                f"cannot write the recording {path}: {describe_error(error)}",
                hint="name a file in a place that can be written: -o FILE",
            ) from error
        self._chunk = ChunkBuilder(1)
        self._firsts: list[int] = []
        """The first events of the chunks that are written."""
        self._corrections: dict[str, dict[int, list[tuple[int, ...]]]] = {what: {} for what in CORRECTED}
        """By what they say and by chunk; in the order in which they must be read."""

    def write_meta(self, key: str, value: object) -> None:
        """Set a JSON value."""
        text = json.dumps(value)
        self._run_statement("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, text))
        self.digests.note_row("meta", key, (text,))

    def write_run(self, run: RunInfo) -> None:
        """Set what is known of the run; called at its beginning and at its end."""
        raw = asdict(run)
        raw["command"] = [escape_path(word) for word in run.command]
        raw["cwd"] = escape_path(run.cwd)
        if not run.joined:
            del raw["joined"]
        raw["inherited"] = [escape_path(path) for path in run.inherited]
        self.write_meta("run", raw)

    def write_events(self, events: Sequence[FsEvent]) -> None:
        """Append events. They are in the file from the next `commit` on, or once a chunk is full."""
        done = 0
        while done < len(events):
            first = events[done].seq
            if self._chunk.full or self._chunk.first + self._chunk.rows != first:
                self._write_chunk()
                self._chunk = ChunkBuilder(first)
            done += self._chunk.add_events(events[done:] if done else events)
        if self._chunk.full:
            self._write_chunk()

    def write_totals(self, totals: Sequence[tuple[int, int, int]]) -> None:
        """Set bytes and calls of write events: (bytes, calls, seq)."""
        for size, calls, seq in totals:
            if self._is_open(seq):
                self._chunk.set_total(seq, size, calls)
            else:
                self._add_correction(TOTAL, seq, min(size, MOST), min(calls, MOST))

    def mark_doubtful(self, seqs: Sequence[int]) -> None:
        """Take back the certainty of events that were written before."""
        for seq in seqs:
            if self._is_open(seq):
                self._chunk.mark_doubtful(seq)
            else:
                self._add_correction(DOUBTFUL, seq)

    def set_identities(self, files: Sequence[tuple[int, int, int, int]]) -> None:
        """Set which files hard links are that were written before: (seq, device, inode, file type)."""
        for seq, dev, ino, fmt in files:
            if self._is_open(seq):
                self._chunk.set_identity(seq, dev, ino, fmt)
            else:
                self._add_correction(IDENTIFIED, seq, dev, ino, fmt)

    def clear_identities(self, seqs: Sequence[int]) -> None:
        """Take back which files events were about that were written before."""
        for seq in seqs:
            if self._is_open(seq):
                self._chunk.clear_identity(seq)
            else:
                self._add_correction(UNIDENTIFIED, seq)

    def _is_open(self, seq: int) -> bool:
        """Whether the chunk of an event is being filled yet."""
        return self._chunk.rows > 0 and seq >= self._chunk.first

    def _add_correction(self, what: str, seq: int, *values: int) -> None:
        """Have a correction written with the next chunk."""
        chunk = self._firsts[bisect_right(self._firsts, seq) - 1]
        self._corrections[what].setdefault(chunk, []).append((seq, *values))

    def _write_chunk(self) -> None:
        """Write what is known of events, all of it."""
        if self._chunk.rows:
            row = self._chunk.make_row()
            self._firsts.append(row.first)
            self._run_statement(_INSERT_CHUNK, row)
            self.digests.note_row("chunk", row.first, row)
            self._chunk = ChunkBuilder(row.first + row.rows)
        for what, chunks in self._corrections.items():
            for first, rows in chunks.items():
                columns = zip(("seqs", *CORRECTED[what]), zip(*rows, strict=True), strict=True)
                blobs = {name: to_bytes(array("Q" if name == "ino" else "q", c)) for name, c in columns}
                number, self._next_correction = self._next_correction, self._next_correction + 1
                values = (first, what, *(blobs.get(name) for name in CORRECTION_BLOBS))
                self._run_statement(_INSERT_CORRECTION, (number, *values))
                self.digests.note_correction(number, first, values)
            chunks.clear()

    def commit(self) -> None:
        """Make all that was written so far readable, whatever happens next."""
        self._write_chunk()
        self._run_statement("COMMIT")
        self._run_statement("BEGIN")

    def finish_recording(
        self,
        run: RunInfo,
        completeness: Completeness,
        mounts: Sequence[Mount],
        processes: Sequence[Process],
        observations: Sequence[Observation] = (),
        shared: Sequence[SharedFile] = (),
        binaries: Sequence[Binary] = (),
        caches: Sequence[FileState] = (),
        frames: Sequence[Frame] = (),
    ) -> None:
        """Write the rest, and make one file of it."""
        self.write_run(run)
        self.write_meta("observations", to_json(observations))
        self.write_meta("shared", shared_to_json(shared))
        self.write_meta("binaries", binaries_to_json(binaries))
        self.write_meta("caches", states_to_json(caches))
        self.write_meta("frames", frames_to_json(frames))
        self.write_meta("completeness", asdict(completeness))
        self.write_tables(mounts, processes)
        self._write_chunk()
        self._run_statement("COMMIT")
        # Where this fails the write-ahead log stays beside the file, and both can be read.
        self._run_statement("PRAGMA wal_checkpoint(TRUNCATE)")
        self._run_statement("PRAGMA journal_mode=DELETE")
        self._db.close()
        if self._working != self.path:
            # What a crash left beside the old file: SQLite would apply it to the new one.
            _remove_with_log(self.path)
            os.replace(self._working, self.path)

    def write_tables(self, mounts: Sequence[Mount], processes: Sequence[Process]) -> None:
        """Replace the tables of mounts and processes by these."""
        self._run_statement("DELETE FROM mount")
        self._run_statement("DELETE FROM process")
        mount_rows = [
            (m.id, m.mount_ns, m.dev, m.fstype, m.source, m.root, m.mountpoint,
             ",".join(m.options), m.parent, int(m.own))
            for m in mounts
        ]  # fmt: skip
        process_rows = [
            (
                *(number, p.pid, p.ppid, p.exe, b"\0".join(p.argv)),
                *(p.started_ns, p.ended_ns, p.exit_status),
            )
            for number, p in enumerate(processes, 1)
        ]
        try:
            self._db.executemany("INSERT INTO mount VALUES (?,?,?,?,?,?,?,?,?,?)", mount_rows)
            self._db.executemany("INSERT INTO process VALUES (?,?,?,?,?,?,?,?)", process_rows)
            self.digests.note_all("mount", mount_rows)
            self.digests.note_all("process", process_rows)
        except sqlite3.Error as error:
            raise self._write_error(error) from error

    def remove_recording(self) -> None:
        """Remove the recording: nothing ran."""
        self._db.close()
        _remove_with_log(self._working)

    def _run_statement(self, statement: str, values: Sequence[Any] = ()) -> None:
        try:
            self._db.execute(statement, values)
        except sqlite3.Error as error:
            raise self._write_error(error) from error

    def _write_error(self, error: sqlite3.Error) -> OutputError:
        return OutputError(
            f"cannot write the recording {self.path}: {describe_error(error)}",
            hint="choose a place with more room: -o FILE",
        )


def _create_file(path: str) -> None:
    """Make an empty recording, all at once: whenever we should end, what is there is a recording.

    Raises OSError, sqlite3.Error.
    """
    blank = sqlite3.connect(":memory:")
    # Those two are in its first page, by which it can be told.
    blank.executescript(
        f"PRAGMA application_id={APPLICATION_ID}; PRAGMA user_version={SCHEMA_VERSION}; {SCHEMA}"
    )
    content = blank.serialize()
    blank.close()
    # It holds paths of what ran: no other user may read those.
    with NewFile(os.path.dirname(path)) as file:
        file.write(content)
        file.give_name(path)


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
