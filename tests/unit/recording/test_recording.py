"""The recording: what goes in comes out, whatever happens in between."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.databases import open_database
from writeaudit.audit import BackendInfo, BlindSpot, Completeness, Frame, Mount, Process, RunInfo, pick_events
from writeaudit.errors import OutputError, RecordingError
from writeaudit.events import Access, Certainty, FsEvent, Op
from writeaudit.recording import (
    APPLICATION_ID,
    SCHEMA_VERSION,
    Recording,
    RecordingWriter,
    find_last,
    runs_directory,
)
from writeaudit.recording import chunk as chunk_module
from writeaudit.recording.schema import SCHEMA, SCHEMA_2

RUN = RunInfo(
    command=(b"uv", b"sync", b"--odd=\xff\n\\x41"),
    cwd=b"/srv/\xc3\xa9\xff",
    user="somebody",
    uid=1000,
    started=1_700_000_000.25,
    duration_s=1.5,
    exit_status=None,
    signal=15,
    backend=BackendInfo("ebpf", "base", "the best one", "libbpf v1.1"),
    kernel="6.1.0",
    arch="x86_64",
    env={"HOME": "/home/somebody", "TMPDIR": "/tmp/\udcff"},
    tool_version="9.9",
    host={"fs.protected_hardlinks": "1"},
)
COMPLETENESS = Completeness(
    lost_events=1,
    truncated=2,
    unresolved=3,
    blind_spots=(BlindSpot("io_uring", "not seen", 4, incomplete=False),),
    survivors=(5, 6),
    emitted={"event": 7},
    received={"event": 6},
    lost={"event": 1},
    finished=True,
)
MOUNTS = (
    Mount(20, 1, 2, "ext4", b"/dev/\xff", b"/", b"/", ("rw", "relatime"), 1, True),
    Mount(20 + (1 << 32), 9, 3, "tmpfs", b"none", b"/sub dir", b"/mnt/\n", ("ro",), None, False),
)
PROCESSES = (
    Process(10, 1, b"/bin/\xff", (b"a", b"", b"b\n"), 5, 6, 137),
    Process(11, 10, b"", (), 7, None, None),
)
FULL = FsEvent(
    seq=1,
    time_ns=1 << 50,
    pid=10,
    tid=12,
    op=Op.RENAME,
    path=b"/a/b\xff/c\n",
    source=b"/a/old",
    access=Access.READ_WRITE,
    flags=("creat", "excl"),
    created=True,
    mode=0o4755,
    result="EXDEV",
    bytes=1 << 40,
    calls=3,
    mount=20,
    source_mount=20 + (1 << 32),
    dev=os.makedev(259, 3),
    ino=(1 << 63) - 1,
    source_dev=os.makedev(0, 27),
    source_ino=4,
    fmt=0o100000,
    seen_as=b"../c\n",
    certainty=Certainty.LEXICAL,
    frame=1,
    inner_path=b"/inner/c\n",
)
FRAMES = (
    Frame(1, "container", "web", 4026532179, b"/srv/root\xff", 10, 5, ((10, 700), (12, 900))),
    Frame(2, "sandbox", "bwrap", 4026532180, None, 13),
)


def _write(path: Path, *events: FsEvent) -> None:
    writer = RecordingWriter(str(path))
    writer.write_meta("policy", {"any": ["thing"]})
    writer.write_events(events)
    writer.finish_recording(RUN, COMPLETENESS, MOUNTS, PROCESSES)


def _events(path: Path) -> list[FsEvent]:
    with Recording(str(path)) as recording:
        return list(recording.read_audit().events)


def test_every_field_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "r.wa"
    _write(path, FULL)
    assert all(value is not None for value in FULL), "a field that this test does not try"
    with Recording(str(path)) as recording:
        audit = recording.read_audit()
        assert audit.run == RUN
        assert audit.completeness == COMPLETENESS
        assert audit.mounts == MOUNTS
        assert audit.processes == PROCESSES
        assert audit.event_count == 1
        assert recording.read_meta("policy") == {"any": ["thing"]}
        assert recording.read_meta("nothing") is None
        # More than once, and at the same time.
        assert list(audit.events) == list(audit.events) == [FULL]
        assert [pair[0] for pair in zip(audit.events, audit.events, strict=True)] == [FULL]


def test_frames_come_back(tmp_path: Path) -> None:
    path = str(tmp_path / "r.wa")
    host = FsEvent(1, 0, 10, 10, Op.UNLINK, b"/host")
    inside = [host._replace(seq=2, frame=2), host._replace(seq=4, frame=1, inner_path=b"/in")]
    events = [host, inside[0], host._replace(seq=3), inside[1], host._replace(seq=5)]
    writer = RecordingWriter(path)
    writer.write_events(events[:3])
    writer.write_events(events[3:])
    writer.mark_doubtful([4])
    writer.finish_recording(RUN, COMPLETENESS, (), (), frames=FRAMES)
    events[3] = events[3]._replace(certainty=Certainty.LEXICAL)
    with Recording(path) as recording:
        audit = recording.read_audit()
        assert audit.frames == FRAMES
        assert list(audit.events) == events
        assert list(pick_events(audit.events, [4])) == [events[3]]


def test_version_2_is_read(tmp_path: Path) -> None:
    """It had no inner paths, and no frames in its kinds."""
    event = FsEvent(1, 0, 10, 10, Op.UNLINK, b"/gone")
    path = tmp_path / "r.wa"
    _write(path, event)
    with open_database(path) as database:
        database.executescript(
            "ALTER TABLE chunk RENAME TO newer;"
            + SCHEMA_2[SCHEMA_2.index("CREATE TABLE chunk") : SCHEMA_2.index("CREATE TABLE correction")]
            + "PRAGMA user_version=2;"
        )
        columns = ", ".join(row[1] for row in database.execute("PRAGMA table_info(chunk)"))
        database.executescript(
            f"INSERT INTO chunk SELECT {columns} FROM newer; DROP TABLE newer;"
            "DELETE FROM meta WHERE key = 'frames';"
        )
    assert _events(path) == [event]
    with Recording(str(path)) as recording:
        assert recording.read_audit().frames == ()


def test_defaults_come_back(tmp_path: Path) -> None:
    event = FsEvent(1, 0, 10, 10, Op.UNLINK, b"/")
    _write(tmp_path / "r.wa", event)
    assert _events(tmp_path / "r.wa") == [event]


_PATHS = st.one_of(
    st.binary(max_size=20).map(lambda raw: b"/" + raw.replace(b"\0", b"")),
    st.sampled_from([b"/", b"//", b"/a/", b"relative", b"", b"/a//b", b"deleted (deleted)"]),
)
_ID = st.one_of(st.none(), st.integers(0, (1 << 63) - 1))
_EVENTS = st.builds(
    FsEvent,
    seq=st.just(0),
    time_ns=st.integers(0, (1 << 63) - 1),
    pid=st.integers(1, 4_000_000),
    tid=st.integers(1, 4_000_000),
    op=st.sampled_from(Op),
    path=_PATHS,
    source=st.one_of(st.none(), _PATHS),
    access=st.one_of(st.none(), st.sampled_from(Access)),
    flags=st.sampled_from([(), ("creat",), ("creat", "excl"), ("xattr=user.a,b c",), ("deleted", "xattr=,")]),
    created=st.booleans(),
    mode=_ID,
    result=st.sampled_from(["ok", "ENOENT", "E4095"]),
    bytes=_ID,
    calls=_ID,
    mount=_ID,
    source_mount=_ID,
    dev=_ID,
    ino=_ID,
    source_dev=_ID,
    source_ino=_ID,
    fmt=_ID,
    seen_as=st.one_of(st.none(), st.binary(max_size=9)),
    certainty=st.sampled_from(Certainty),
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(_EVENTS, max_size=8))
def test_any_events_come_back(tmp_path: Path, events: list[FsEvent]) -> None:
    numbered = [event._replace(seq=number) for number, event in enumerate(events, 1)]
    path = tmp_path / "r.wa"
    path.unlink(missing_ok=True)
    _write(path, *numbered)
    assert _events(path) == numbered
    with Recording(str(path)) as recording:
        found = list(pick_events(recording.read_audit().events, {1, 3, 99, len(events)}))
    assert found == [event for event in numbered if event.seq in (1, 3, len(events))]


def test_inode_numbers_of_64_bits(tmp_path: Path) -> None:
    # Some file systems (overlayfs with xino, network ones) use the highest bit.
    event = FULL._replace(ino=(1 << 64) - 1, source_ino=1 << 63)
    _write(tmp_path / "r.wa", event)
    assert _events(tmp_path / "r.wa") == [event]


def test_flag_that_holds_a_comma(tmp_path: Path) -> None:
    event = FULL._replace(flags=("xattr=user.a,b",))
    _write(tmp_path / "r.wa", event)
    assert _events(tmp_path / "r.wa") == [event]


def test_mount_option_that_holds_a_comma_is_not_lost(tmp_path: Path) -> None:
    _write(tmp_path / "r.wa", FULL)
    with Recording(str(tmp_path / "r.wa")) as recording:
        assert recording.read_audit().mounts[0].options == ("rw", "relatime")


def test_totals_are_set_later(tmp_path: Path) -> None:
    writer = RecordingWriter(str(tmp_path / "r.wa"))
    writer.write_events(
        [FsEvent(1, 0, 1, 1, Op.WRITE, b"/a"), FsEvent(2, 0, 1, 1, Op.WRITE, b"/b", bytes=5, calls=1)]
    )
    writer.write_totals([(100, 7, 1)])
    writer.finish_recording(RUN, COMPLETENESS, (), ())
    assert [(event.bytes, event.calls) for event in _events(tmp_path / "r.wa")] == [(100, 7), (5, 1)]


def test_finished_recording_is_one_private_file(tmp_path: Path) -> None:
    _write(tmp_path / "r.wa", FULL)
    assert [path.name for path in tmp_path.iterdir()] == ["r.wa"]
    assert (tmp_path / "r.wa").stat().st_mode & 0o777 == 0o600


def test_finished_recording_is_read_without_a_trace(tmp_path: Path) -> None:
    path = tmp_path / "r.wa"
    _write(path, FULL)
    path.chmod(0o400)
    tmp_path.chmod(0o500)
    before = (path.stat().st_mtime_ns, path.read_bytes())
    try:
        assert _events(path) == [FULL]
        assert [found.name for found in tmp_path.iterdir()] == ["r.wa"]
    finally:
        tmp_path.chmod(0o700)
    assert (path.stat().st_mtime_ns, path.read_bytes()) == before


def test_what_was_committed_can_be_read_while_the_command_runs(tmp_path: Path) -> None:
    writer = RecordingWriter(str(tmp_path / "r.wa"))
    writer.write_run(replace(RUN, signal=None))
    writer.write_events([FULL])
    writer.commit()
    writer.write_events([FULL._replace(seq=2)])
    with Recording(str(tmp_path / "r.wa")) as recording:
        audit = recording.read_audit()
        assert not audit.completeness.finished
        assert not audit.completeness.complete
        assert audit.run.exit_status is None
        assert [event.seq for event in audit.events] == [1]
    writer.remove_recording()
    assert list(tmp_path.iterdir()) == []


def _crash(path: Path) -> None:
    """Leave a recording as the end of its process leaves it: never closed."""
    pid = os.fork()
    if pid == 0:
        try:
            writer = RecordingWriter(str(path))
            writer.write_run(RUN)
            writer.write_events([FULL])
            writer.commit()
        finally:
            os._exit(0)
    os.waitpid(pid, 0)


def test_crashed_recording_can_be_read(tmp_path: Path) -> None:
    _crash(tmp_path / "r.wa")
    assert (tmp_path / "r.wa-wal").exists()
    with Recording(str(tmp_path / "r.wa")) as recording:
        assert not recording.read_audit().completeness.complete
        assert list(recording.read_audit().events) == [FULL]


def test_crashed_recording_is_replaced_with_all_that_belongs_to_it(tmp_path: Path) -> None:
    path = tmp_path / "r.wa"
    _crash(path)
    wanted = FULL._replace(path=b"/new")
    _write(path, wanted)
    assert [found.name for found in tmp_path.iterdir()] == ["r.wa"]
    assert _events(path) == [wanted]


def test_older_recording_stays_until_the_new_one_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "r.wa"
    _write(path, FULL)
    writer = RecordingWriter(str(path))
    writer.write_events([FULL._replace(seq=2)])
    writer.commit()
    assert _events(path) == [FULL]
    writer.remove_recording()
    assert [found.name for found in tmp_path.iterdir()] == ["r.wa"]
    assert _events(path) == [FULL]


@pytest.mark.parametrize("content", [b"", b"precious", b"SQLite format 3\0" + bytes(100)])
def test_foreign_file_is_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "thesis"
    path.write_bytes(content)
    with pytest.raises(OutputError, match="left alone"):
        RecordingWriter(str(path))
    assert path.read_bytes() == content


def test_place_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="No such file"):
        RecordingWriter(str(tmp_path / "no/r.wa"))


def test_later_version(tmp_path: Path) -> None:
    _write(tmp_path / "r.wa", FULL)
    with open_database(tmp_path / "r.wa") as database:
        database.execute(f"PRAGMA user_version={SCHEMA_VERSION + 1}")
    with pytest.raises(RecordingError, match="later writeaudit") as caught:
        Recording(str(tmp_path / "r.wa"))
    assert caught.value.hint == "upgrade writeaudit"


@pytest.mark.parametrize("name", ["per%20cent", "quest?ion", "ha#sh", "new\nline", "sp ace", "umläut"])
def test_names_that_mean_something_in_a_uri(tmp_path: Path, name: str) -> None:
    _write(tmp_path / name, FULL)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert _events(tmp_path / name) == [FULL]


def test_file_says_what_it_is(tmp_path: Path) -> None:
    _write(tmp_path / "r.wa", FULL)
    head = (tmp_path / "r.wa").read_bytes()[:72]
    assert head[68:] == APPLICATION_ID.to_bytes(4, "big")
    assert int.from_bytes(head[60:64], "big") == SCHEMA_VERSION


def test_runs_directory_follows_the_specification() -> None:
    assert runs_directory("/h", {}) == "/h/.local/state/writeaudit/runs"
    assert runs_directory("/h", {"XDG_STATE_HOME": "/s"}) == "/s/writeaudit/runs"
    assert runs_directory("/h", {"XDG_STATE_HOME": "relative"}) == "/h/.local/state/writeaudit/runs"


def test_last_is_the_newest_by_name(tmp_path: Path) -> None:
    for name in ("20240102-000000.000-7.wa", "20240101-235959.999-9.wa", "20240103.wa-wal", "zzz.txt"):
        (tmp_path / name).touch()
    assert find_last(tmp_path) == str(tmp_path / "20240102-000000.000-7.wa")
    with pytest.raises(RecordingError, match="no recording yet"):
        find_last(tmp_path / "none")


def test_documentation_has_every_table_and_column() -> None:
    text = (Path(__file__).resolve().parents[3] / "docs/recording.md").read_text()
    with open_database(":memory:") as database:
        database.executescript(SCHEMA)
        tables = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        columns = {row[1] for table in tables for row in database.execute(f"PRAGMA table_info({table})")}
    assert len(tables) >= 5
    for word in {*tables, *columns}:
        assert f"`{word}`" in text, f"{word} is not described"


def test_numbers_that_no_column_can_hold_are_written_as_the_greatest(tmp_path: Path) -> None:
    events = [FsEvent(seq, 0, 1, 1, Op.CHMOD, b"/f%d" % seq, mode=1 << (60 + seq)) for seq in range(1, 6)]
    path = str(tmp_path / "r.wa")
    writer = RecordingWriter(path)
    writer.write_events(events)
    writer.write_totals([(1 << 64, 1 << 63, 2)])
    writer.finish_recording(RUN, COMPLETENESS, (), ())
    most = (1 << 63) - 1
    with Recording(path) as recording:
        read = list(recording.read_audit().events)
    assert [event.path for event in read] == [event.path for event in events]
    assert [event.mode for event in read] == [1 << 61, 1 << 62, most, most, most]
    assert (read[1].bytes, read[1].calls) == (most, most)


def test_earlier_version(tmp_path: Path) -> None:
    _write(tmp_path / "r.wa", FULL)
    with open_database(tmp_path / "r.wa") as database:
        database.execute("PRAGMA user_version=1")
    with pytest.raises(RecordingError, match="before its first release") as caught:
        Recording(str(tmp_path / "r.wa"))
    assert "audit the command again" in str(caught.value.hint)


def _many(count: int) -> list[FsEvent]:
    return [
        FsEvent(seq, seq, 1, 1, Op.WRITE, b"/d/%d" % seq, ino=seq, fmt=0o100000, dev=7, bytes=seq, calls=1)
        for seq in range(1, count + 1)
    ]


def test_what_becomes_known_when_a_chunk_is_written_already(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunk_module, "CHUNK_ROWS", 4)
    events = _many(10)
    path = str(tmp_path / "r.wa")
    writer = RecordingWriter(path)
    writer.write_events(events[:7])
    writer.commit()
    writer.write_events(events[7:])
    for seq in (1, 6, 9):
        writer.write_totals([(100 * seq, seq, seq)])
    writer.mark_doubtful([2, 6, 10])
    writer.set_identities([(seq, 8, (1 << 64) - seq, 0o120000) for seq in (3, 5, 9)])
    writer.clear_identities([2, 5, 10])
    writer.finish_recording(RUN, COMPLETENESS, (), ())
    for seq in (1, 6, 9):
        events[seq - 1] = events[seq - 1]._replace(bytes=100 * seq, calls=seq)
    for seq in (2, 6, 10):
        events[seq - 1] = events[seq - 1]._replace(certainty=Certainty.LEXICAL)
    for seq in (3, 5, 9):
        dev, ino, fmt = 8, (1 << 64) - seq, 0o120000
        events[seq - 1] = events[seq - 1]._replace(dev=dev, ino=ino, source_dev=dev, source_ino=ino, fmt=fmt)
    for seq in (2, 5, 10):
        events[seq - 1] = events[seq - 1]._replace(ino=None, source_dev=None, source_ino=None, fmt=None)
    with Recording(path) as recording:
        audit = recording.read_audit()
        assert audit.event_count == 10
        assert list(audit.events) == events
        assert list(pick_events(audit.events, {2, 6, 7, 10, 11})) == [events[at] for at in (1, 5, 6, 9)]
    with open_database(path) as database:
        assert database.execute("SELECT first, rows FROM chunk").fetchall() == [(1, 4), (5, 3), (8, 3)]


def test_long_paths_make_chunks_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunk_module, "CHUNK_TEXT", 1000)
    events = [FsEvent(seq, 0, 1, 1, Op.MKDIR, b"/%d/" % seq + b"n" * 300) for seq in range(1, 21)]
    _write(tmp_path / "r.wa", *events)
    assert _events(tmp_path / "r.wa") == events
    with open_database(tmp_path / "r.wa") as database:
        assert database.execute("SELECT max(length(names)) FROM chunk").fetchone()[0] < 2000


def test_many_kinds_make_chunks_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunk_module, "CHUNK_KINDS", 3)
    monkeypatch.setattr(chunk_module, "_AT_ONCE", 2)
    events = [FsEvent(seq, 0, 1, 1, Op.SETXATTR, b"/a", flags=(f"xattr={seq}",)) for seq in range(1, 21)]
    _write(tmp_path / "r.wa", *events)
    assert _events(tmp_path / "r.wa") == events
    with open_database(tmp_path / "r.wa") as database:
        assert database.execute("SELECT max(rows) FROM chunk").fetchone()[0] <= 4


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE chunk SET rows = 0",
        "UPDATE chunk SET rows = 65537",
        "UPDATE chunk SET rows = 'many'",
        "UPDATE chunk SET rows = rows + 1",
        "UPDATE chunk SET time_ns = zeroblob(60000000)",
        "UPDATE chunk SET time_ns = 'text'",
        "UPDATE chunk SET path = zeroblob(length(path))",
        "UPDATE chunk SET path = X'FFFFFFFF' || substr(path, 5)",
        "UPDATE chunk SET source = X'FFFFFFFF' || substr(path, 5)",
        "UPDATE chunk SET kind = X'FFFFFFFF' || substr(kind, 5)",
        "UPDATE chunk SET ino = X'00'",
        "UPDATE chunk SET kinds = CAST('[[' AS BLOB)",
        "UPDATE chunk SET kinds = CAST('{}' AS BLOB)",
        "UPDATE chunk SET kinds = CAST('[[1]]' AS BLOB)",
        """UPDATE chunk SET kinds = CAST(replace(kinds, '"write"', '"dance"') AS BLOB)""",
        """UPDATE chunk SET kinds = CAST(replace(kinds, '"write"', '[]') AS BLOB)""",
        """UPDATE chunk SET kinds = CAST(replace(kinds, '"ok"', '7') AS BLOB)""",
        "UPDATE chunk SET kinds = CAST(replace(CAST(zeroblob(100000) AS TEXT), char(0), '[') AS BLOB)",
        "UPDATE chunk SET kinds = CAST(printf('%.100000c', '[') AS BLOB)",
        "UPDATE chunk SET names = X''",
        "UPDATE chunk SET name_ends = X'FFFFFFFF' || substr(name_ends, 5)",
        "UPDATE chunk SET name_prefix = X'FFFFFFFF' || substr(name_prefix, 5)",
        "UPDATE chunk SET prefix_ends = X''",
        "INSERT INTO correction (chunk, what, seqs) VALUES (1, 'odd', X'')",
        "INSERT INTO correction (chunk, what, seqs) VALUES (1, 'total', X'0100000000000000')",
        "INSERT INTO correction (chunk, what, seqs) VALUES (1, 'doubtful', X'FF00000000000000')",
        "INSERT INTO correction (chunk, what, seqs) VALUES (1, 'doubtful', zeroblob(8000))",
    ],
)
def test_recording_that_lies_is_refused(tmp_path: Path, statement: str) -> None:
    _write(tmp_path / "r.wa", *_many(5))
    with open_database(tmp_path / "r.wa") as database:
        database.execute(statement)
    with pytest.raises(RecordingError, match="damaged"):
        _events(tmp_path / "r.wa")


def test_event_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    _write(tmp_path / "r.wa", *_many(5))
    with open_database(tmp_path / "r.wa") as database:
        columns = list(database.execute("SELECT * FROM chunk").fetchone())
        columns[0] += 1
        marks = ",".join("?" * len(columns))
        database.execute(f"INSERT INTO chunk VALUES ({marks})", columns)
    with pytest.raises(RecordingError, match="there twice"):
        _events(tmp_path / "r.wa")


def test_names_that_would_fill_the_memory_are_refused(tmp_path: Path) -> None:
    # One long directory, named by many: small in the file, large when it is put together.
    _write(tmp_path / "r.wa", *_many(5000))
    with open_database(tmp_path / "r.wa") as database:
        text = b"/" * 100_000
        end = len(text).to_bytes(4, "little")
        database.execute("UPDATE chunk SET prefixes = ?, prefix_ends = ?", (text, end))
    with pytest.raises(RecordingError, match="too many bytes of paths"):
        _events(tmp_path / "r.wa")


def test_mounts_that_cannot_be_written_are_told_like_any_other_failure(tmp_path: Path) -> None:
    writer = RecordingWriter(str(tmp_path / "r.wa"))
    with pytest.raises(OutputError, match="cannot write the recording"):
        writer.write_tables([MOUNTS[0], MOUNTS[0]], ())
    writer.remove_recording()
