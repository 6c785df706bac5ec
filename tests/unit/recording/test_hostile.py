"""Recordings that somebody made to do harm, or that were changed while their run was under way."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.databases import open_database
from tests.unit.recording.test_recording import COMPLETENESS, FULL, RUN
from writeaudit.errors import RecordingError
from writeaudit.recording import Recording, RecordingWriter


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "r.wa"


def _write(path: Path, events: int = 3) -> RecordingWriter:
    writer = RecordingWriter(str(path))
    writer.write_meta("policy", {"name": "p"})
    writer.write_events([FULL._replace(seq=number) for number in range(1, events + 1)])
    writer.commit()
    writer.write_totals([(1, 2, 1)])
    writer.finish_recording(RUN, COMPLETENESS, (), ())
    return writer


def _read(path: Path, writer: RecordingWriter | None = None) -> int:
    """Read all of it; return the number of events."""
    with Recording(str(path), writer.digests if writer else None) as recording:
        audit = recording.read_audit()
        recording.read_meta("policy")
        return len(list(audit.events))


def test_unchanged_recording_is_believed(path: Path) -> None:
    assert _read(path, _write(path)) == 3


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE chunk SET pid = time_ns",
        "DELETE FROM chunk",
        "DELETE FROM correction",
        "UPDATE correction SET bytes = calls",
        "REPLACE INTO correction SELECT id+1, chunk, what, seqs, bytes, calls, dev, ino, fmt FROM correction",
        "INSERT INTO mount VALUES (1, 1, 1, 't', x'', x'', x'', '', 1, 1)",
        "INSERT INTO process VALUES (7, 1, 1, x'', x'', 1, 1, 1)",
        "UPDATE meta SET value = '{}' WHERE key = 'policy'",
        "UPDATE meta SET value = value || ' '",
        "DELETE FROM meta WHERE key = 'completeness'",
    ],
)
def test_changed_recording_is_not_believed(path: Path, statement: str) -> None:
    writer = _write(path)
    with open_database(path) as database:
        assert database.execute(statement).rowcount
    with pytest.raises(RecordingError, match=r"changed by somebody else|damaged"):
        _read(path, writer)


def test_another_recording_in_its_place_is_not_believed(path: Path, tmp_path: Path) -> None:
    writer = _write(path)
    _write(tmp_path / "other", 2)
    (tmp_path / "other").rename(path)
    with pytest.raises(RecordingError, match="changed by somebody else"):
        _read(path, writer)


def test_nothing_of_it_is_mapped_that_others_could_shorten(path: Path) -> None:
    writer = RecordingWriter(str(path))
    writer.write_events([FULL])
    writer.commit()
    assert not Path(f"{path}-shm").exists()
    assert str(path) not in Path("/proc/self/maps").read_text()
    writer.remove_recording()


def test_recording_can_be_read_while_it_is_written(path: Path) -> None:
    writer = RecordingWriter(str(path))
    writer.write_run(RUN)
    writer.write_events([FULL])
    writer.commit()
    assert _read(path) == 1
    writer.remove_recording()


def test_recording_is_one_from_its_first_moment(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*_args: object, **_rest: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("sqlite3.connect", _after(1, killed))
    with pytest.raises(KeyboardInterrupt):
        RecordingWriter(str(path))
    monkeypatch.undo()
    _write(path)  # is not refused for something that is no recording
    assert _read(path) == 3


def _after(calls: int, then: Callable[..., None]) -> Callable[..., object]:
    left, connect = [calls], sqlite3.connect

    def call(*args: object, **rest: object) -> object:
        left[0] -= 1
        if left[0] < 0:
            then()
        return connect(*args, **rest)  # type: ignore[call-overload]

    return call


_TWICE = (
    "CREATE TEMP TABLE c AS SELECT * FROM chunk; UPDATE c SET first = 2; INSERT INTO chunk SELECT * FROM c;"
)
_BOMB = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT "


@pytest.mark.parametrize(
    "script",
    [
        f"DROP TABLE process; CREATE VIEW process AS {_BOMB} i AS id, i, i, x'', x'', 1, 1, 1 FROM n;",
        f"ALTER TABLE meta RENAME TO m; CREATE VIEW meta AS {_BOMB} 'run' AS key, '{{}}' AS value FROM n;",
        "CREATE TRIGGER t AFTER INSERT ON meta BEGIN SELECT 1; END;",
        "CREATE TABLE more (x);",
        "DROP TABLE mount; CREATE TABLE mount (id INTEGER PRIMARY KEY, x AS (zeroblob(1000000000)));",
        "UPDATE meta SET value = CAST(zeroblob(9000000) AS TEXT);",
        "UPDATE meta SET value = x'7b7d';",
        "UPDATE meta SET value = printf('%.*c', 100000, '[');",
        "UPDATE meta SET value = '{\"command\": 1}';",
        "UPDATE meta SET value = 'NaN';",
        "UPDATE meta SET value = '[1e999]';",
        "UPDATE chunk SET names = zeroblob(60000000);",
        "UPDATE chunk SET rows = 1 << 40;",
        "UPDATE chunk SET rows = 'x';",
        "UPDATE chunk SET kinds = x'5b5d';",
        "UPDATE chunk SET kinds = CAST(printf('%.*c', 100000, '[') AS BLOB);",
        "CREATE TEMP TABLE c AS SELECT * FROM chunk; UPDATE c SET first=2; INSERT INTO chunk SELECT * FROM c",
        "UPDATE correction SET seqs = zeroblob(8000000);",
        "UPDATE correction SET what = zeroblob(100);",
        "UPDATE correction SET seqs = 'text';",
        "INSERT INTO mount VALUES (1, 'x', 1.5, x'00', 'a', 1, 2, 3, 4, 5);",
        "INSERT INTO process VALUES (7, x'', 1, 'text', 1, 'x', 1, 1);",
        "PRAGMA user_version=99;",
        "PRAGMA application_id=99;",
    ],
)
def test_made_to_do_harm(path: Path, script: str) -> None:
    _write(path)
    with open_database(path) as database:
        database.executescript(script)
    before = time.monotonic()
    with pytest.raises(RecordingError):
        _read(path)
    assert time.monotonic() - before < 20


def test_pages_that_lead_round_in_circles_end(path: Path) -> None:
    """A B-tree whose inner pages share a child has many more rows than the file could hold."""
    with open_database(path) as database:
        writer = RecordingWriter(str(path) + ".x")
        writer.write_run(RUN)
        writer.finish_recording(RUN, COMPLETENESS, (), ())
        os.replace(f"{path}.x", path)
    with open_database(path) as database:
        rows = ((number, 1, 1, b"x" * 900, b"", 1, 1, 1) for number in range(1, 2000))
        database.executemany("INSERT INTO process VALUES (?,?,?,?,?,?,?,?)", rows)
        [root] = database.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'process'").fetchone()
        [size] = database.execute("PRAGMA page_size").fetchone()
    raw = bytearray(path.read_bytes())
    page = (root - 1) * size
    assert raw[page] == 5, "an inner page"
    cells = int.from_bytes(raw[page + 3 : page + 5], "big")
    first_child: bytes | None = None
    for cell in range(cells):
        at = page + int.from_bytes(raw[page + 12 + 2 * cell : page + 14 + 2 * cell], "big")
        first_child = first_child or bytes(raw[at : at + 4])
        raw[at : at + 4] = first_child
    path.write_bytes(raw)
    with pytest.raises(RecordingError):
        _read(path)


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("sound") / "r.wa"
    _write(path, 40)
    return path.read_bytes()


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data())
def test_random_damage_is_damage_or_nothing(path: Path, sound: bytes, data: st.DataObject) -> None:
    raw = bytearray(sound)
    for _ in range(data.draw(st.integers(1, 6))):
        where = data.draw(st.integers(0, len(raw) - 1))
        match data.draw(st.sampled_from(["byte", "copy", "cut", "zero"])):
            case "byte":
                raw[where] = data.draw(st.integers(0, 255))
            case "copy":
                other = data.draw(st.integers(0, len(raw) - 1))
                raw[where : where + 32] = raw[other : other + 32]
            case "zero":
                raw[where : where + 200] = bytes(len(raw[where : where + 200]))
            case _:
                del raw[max(where, 100) :]
    path.write_bytes(raw)
    with contextlib.suppress(RecordingError):
        _read(path)
