"""The SQLite report: what can be asked of it, with any client."""

from __future__ import annotations

import sqlite3
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tests.support import report_samples as samples
from tests.support.databases import open_database
from writeaudit.errors import OutputError
from writeaudit.events import Op
from writeaudit.report import sqlite
from writeaudit.report.view import Report


def _database(report: Report, path: Path) -> AbstractContextManager[sqlite3.Connection]:
    path.write_bytes(b"".join(sqlite.render(report)))
    return open_database(path)


def test_every_event_has_a_row_and_its_verdict(tmp_path: Path) -> None:
    report = samples.report(samples.hostile_events(), findings=[samples.link_finding()])
    with _database(report, tmp_path / "r.db") as database:
        rows = database.execute(
            "SELECT seq, op, path, source, result, flags, zone, verdict FROM event"
        ).fetchall()
        assert rows == [
            (e.seq, e.op, e.path, e.source, e.result, ",".join(e.flags), judged.zone, judged.verdict)
            for e, judged in report.judged_events()
        ]
        assert len(rows) > 5
        assert database.execute("SELECT count(*) FROM events").fetchone() == (len(rows),)
        assert [rule for (rule,) in database.execute("SELECT rule FROM finding")] == ["WA101"]
        assert len(database.execute("SELECT * FROM file").fetchall()) == len(report.files)
        assert database.execute("SELECT id, mountpoint FROM mount ORDER BY id").fetchall() == [
            (mount.id, mount.mountpoint) for mount in report.audit.mounts
        ]
        assert len(database.execute("SELECT * FROM process").fetchall()) == len(report.audit.processes)


def test_view_shows_paths_as_text(tmp_path: Path) -> None:
    event = samples.event(1, Op.RENAME, b"/a/new")._replace(source=b"/a/old", ino=(1 << 64) - 1)
    with _database(samples.report([event]), tmp_path / "r.db") as database:
        assert database.execute("SELECT op, path, source, result, ino FROM events").fetchall() == [
            ("rename", "/a/new", "/a/old", "ok", -1)
        ]


def test_no_room_to_put_it_together(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "none"))
    with pytest.raises(OutputError, match="cannot put the SQLite report together") as caught:
        list(sqlite.render(samples.report([])))
    assert "TMPDIR" in str(caught.value.hint)


def test_documentation_names_every_table_and_column() -> None:
    text = (Path(__file__).resolve().parents[3] / "docs/recording.md").read_text()
    with open_database(":memory:") as database:
        database.executescript(sqlite.SCHEMA)
        tables = [name for (name,) in database.execute("SELECT name FROM sqlite_master")]
        columns = {row[1] for table in tables for row in database.execute(f"PRAGMA table_info({table})")}
    for word in {*tables, *columns}:
        assert f"`{word}`" in text, f"{word} is not described"
