"""The pipeline without a kernel: a backend that the test writes, a recording, a judgement."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.support.databases import open_database
from writeaudit import pipeline
from writeaudit.analysis.fail_on import parse_fail_on
from writeaudit.audit import BlindSpot
from writeaudit.capture import select
from writeaudit.capture.interface import (
    CaptureLimits,
    CaptureOutcome,
    Command,
    ProcessExec,
    ProcessExit,
    ProcessStart,
    Record,
    Sink,
)
from writeaudit.capture.run_info import placing_variables
from writeaudit.errors import BackendUnavailable, CaptureError, OutputError, RecordingError, WriteauditError
from writeaudit.events import OK, Access, Certainty, FsEvent, Op, Operand, RawEvent, WriteTotal
from writeaudit.judgement import Policy, Verdict, Zone, ZoneAccess
from writeaudit.recording import MOST_PATH, Recording, RecordingWriter
from writeaudit.resolve.resolver import Resolver

START = 5_000_000


class FakeBackend:
    """Hands over what it was given."""

    name = "fake"
    tier = "base"
    engine = "none"

    def __init__(
        self,
        batches: Sequence[Sequence[Record]],
        outcome: CaptureOutcome | None = None,
        error: BaseException | None = None,
        last: BaseException | None = None,
    ) -> None:
        self.batches = batches
        self.last = last
        self.heard: Callable[[int], object] = lambda _number: None
        self.outcome = outcome or CaptureOutcome(0, None, START, START + 2_000_000_000)
        self.error = error

    def check(self) -> None:
        """It always works."""

    def capture(self, _command: Command, sink: Sink, _limits: CaptureLimits) -> CaptureOutcome:
        """See `Backend`."""
        if self.error is not None:
            raise self.error
        for number, batch in enumerate(self.batches, 1):
            sink(batch)
            self.heard(number)
        if self.last is not None:
            raise self.last
        return self.outcome


def _write(
    number: int, path: bytes, *, op: Op = Op.OPEN, result: str = OK, key: int | None = None
) -> RawEvent:
    return RawEvent(
        START + number, 10, 10, op, result, Operand(path, None, dev=1, ino=number, fmt=0o100000),
        access=Access.WRITE if op is Op.OPEN else None, created=op is Op.OPEN, file_key=key,
    )  # fmt: skip


@pytest.fixture
def policy(tmp_path: Path) -> dict[str, object]:
    zone = Zone("open", ZoneAccess.READ_WRITE, (os.fsencode(tmp_path / "open"),))
    return pipeline.kept_policy(Policy("test", "a test", (zone,)))


def _record(
    monkeypatch: pytest.MonkeyPatch, path: Path, policy: dict[str, object], *fakes: FakeBackend
) -> pipeline.Recorded:
    by_name = {f"fake{number}": fake for number, fake in enumerate(fakes)}
    monkeypatch.setattr(select, "_BACKENDS", dict.fromkeys(by_name, ("", "")))
    monkeypatch.setattr(select, "get_backend", lambda name, _probes: by_name[name])
    command = Command((b"tool", b"arg"), {b"HOME": b"/h", b"SECRET": b"x", b"UV_CACHE_DIR": b"/c"})
    wanted = "auto" if len(fakes) > 1 else "fake0"
    return pipeline.record(command, str(path), backend=wanted, policy=policy)


def _examined(path: Path) -> tuple[pipeline.Examined, list[tuple[int, Op, Verdict]]]:
    with Recording(str(path)) as recording:
        examined = pipeline.examine(recording, fail_on=parse_fail_on(()))
        events = examined.report.judged_events()
        return examined, [(event.seq, event.op, judged.verdict) for event, judged in events]


def test_run_is_recorded_and_judged(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, policy: dict[str, object]
) -> None:
    inside, outside = os.fsencode(tmp_path / "open/f"), os.fsencode(tmp_path / "shut/f")
    fake = FakeBackend(
        [
            [ProcessExec(START, 10, b"/bin/tool", (b"tool", b"arg")), _write(1, inside)],
            [ProcessStart(START + 2, 11, 10), _write(3, inside, op=Op.WRITE, key=7), _write(4, outside)],
            [WriteTotal(7, 4096, 3), ProcessExit(START + 5, 11, 0), ProcessExit(START + 6, 10, 0)],
        ]
    )
    recorded = _record(monkeypatch, tmp_path / "r.wa", policy, fake)
    assert recorded.error is None
    examined, judged = _examined(tmp_path / "r.wa")
    assert judged == [
        (1, Op.OPEN, Verdict.ALLOWED), (2, Op.WRITE, Verdict.ALLOWED), (3, Op.OPEN, Verdict.VIOLATION),
    ]  # fmt: skip
    assert [finding.rule for finding in examined.failing] == ["WA202"]
    assert examined.complete
    run = examined.report.audit.run
    assert (run.command, run.exit_status, run.duration_s, run.backend.name) == (
        (b"tool", b"arg"),
        0,
        2.0,
        "fake0",
    )
    assert dict(run.env) == {"HOME": "/h", "UV_CACHE_DIR": "/c"}
    with Recording(str(tmp_path / "r.wa")) as recording:
        audit = recording.read_audit()
        assert [(event.bytes, event.calls) for event in audit.events if event.op is Op.WRITE] == [(4096, 3)]
        assert [(p.pid, p.exit_status) for p in audit.processes] == [(10, 0), (11, 0)]


def test_kept_events_are_those_of_the_recording(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, policy: dict[str, object]
) -> None:
    names = [os.fsencode(tmp_path / "open" / name) for name in ("a", "b\n", "c,\xff")]
    odd = RawEvent(
        START + 9, 10, 11, Op.SYMLINK, "EEXIST", Operand(names[2], None, mount=1), target_text=b"/to//here",
        flags=("creat", "excl"), mode=0o755, xattr=b"user.a,b",
    )  # fmt: skip
    huge = RawEvent(START + 10, 10, 10, Op.CHMOD, OK, Operand(names[0], None, dev=1, ino=2**64 - 1), mode=0)
    fake = FakeBackend(
        [
            [_write(1, names[0]), _write(2, names[0], op=Op.WRITE, key=7), _write(3, names[1]), odd, huge],
            [WriteTotal(7, 4096, 3)],
        ]
    )
    # The resolver takes back what it said of events that are written down already.
    later = {"take_doubtful": [[], [1]], "take_unidentified": [[], [3]]}
    for name, answers in later.items():
        waiting = iter(answers)
        monkeypatch.setattr(Resolver, name, lambda _self, waiting=waiting: next(waiting, []))
    recorded = _record(monkeypatch, tmp_path / "r.wa", policy, fake)
    with Recording(str(tmp_path / "r.wa")) as recording:
        read = list(recording.read_audit().events)
    assert [type(event) for event in read] == [type(event) for event in recorded.events or ()]
    assert recorded.events == read
    assert read[0].certainty is Certainty.LEXICAL
    assert [event.ino for event in read] == [1, 2, None, None, 2**64 - 1]
    assert read[1].bytes == 4096


def test_kept_events_do_not_hide_that_the_recording_lost_some(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, policy: dict[str, object]
) -> None:
    name = os.fsencode(tmp_path / "open" / "a")
    fake = FakeBackend([[_write(number, name) for number in range(3)]])
    recorded = _record(monkeypatch, tmp_path / "r.wa", policy, fake)
    with open_database(tmp_path / "r.wa") as database:
        database.execute("DELETE FROM chunk")
    with (
        Recording(str(tmp_path / "r.wa")) as recording,
        pytest.raises(RecordingError, match="it holds 0 of 3 events"),
    ):
        pipeline.examine(recording, fail_on=parse_fail_on(()), events=recorded.events)


def test_a_long_run_is_judged_from_the_recording(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, policy: dict[str, object]
) -> None:
    monkeypatch.setattr(pipeline, "_KEPT_EVENTS", 2)
    name = os.fsencode(tmp_path / "open" / "a")
    batches = [[_write(number, name)] for number in range(4)]
    recorded = _record(monkeypatch, tmp_path / "r.wa", policy, FakeBackend(batches))
    assert recorded.events is None
    assert len(_examined(tmp_path / "r.wa")[1]) == 4


def test_path_longer_than_a_recording_holds_is_cut_and_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, policy: dict[str, object]
) -> None:
    long = os.fsencode(tmp_path) + b"/n" * MOST_PATH
    recorded = _record(monkeypatch, tmp_path / "r.wa", policy, FakeBackend([[_write(1, long)]]))
    with Recording(str(tmp_path / "r.wa")) as recording:
        audit = recording.read_audit()
        events = list(audit.events)
    assert events == recorded.events
    assert [(event.path, event.certainty) for event in events] == [(long[:MOST_PATH], Certainty.LEXICAL)]
    assert audit.completeness.truncated == 1
    assert not audit.completeness.complete


def test_gaps_make_it_incomplete(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, policy: dict[str, object]
) -> None:
    outcome = CaptureOutcome(
        0,
        None,
        START,
        START,
        lost_events=3,
        blind_spots=(BlindSpot("io_uring", "not seen"),),
        survivors=(12,),
    )
    _record(monkeypatch, tmp_path / "r.wa", policy, FakeBackend([], outcome))
    examined, _judged = _examined(tmp_path / "r.wa")
    assert not examined.complete
    assert {finding.rule for finding in examined.report.findings} == {"WA901", "WA902", "WA904"}


@pytest.mark.parametrize("error", [CaptureError("broke off"), KeyboardInterrupt(), ValueError("a defect")])
def test_capture_that_fails_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, policy: dict[str, object], error: BaseException
) -> None:
    with pytest.raises(type(error)):
        _record(monkeypatch, tmp_path / "r.wa", policy, FakeBackend([], error=error))
    assert list(tmp_path.iterdir()) == []


def test_auto_takes_the_next_and_says_why(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, policy: dict[str, object]
) -> None:
    refused = FakeBackend([], error=BackendUnavailable("no privilege"))
    _record(monkeypatch, tmp_path / "r.wa", policy, refused, FakeBackend([[_write(1, b"/x")]]))
    examined, judged = _examined(tmp_path / "r.wa")
    backend = examined.report.audit.run.backend
    assert (backend.name, backend.why) == ("fake1", "fake0 could not run: no privilege")
    assert len(judged) == 1


def test_auto_without_any_names_every_reason(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, policy: dict[str, object]
) -> None:
    fakes = [FakeBackend([], error=BackendUnavailable(f"reason {number}")) for number in range(2)]
    with pytest.raises(BackendUnavailable, match=r"fake0: reason 0; fake1: reason 1"):
        _record(monkeypatch, tmp_path / "r.wa", policy, *fakes)
    assert list(tmp_path.iterdir()) == []


def test_recording_that_cannot_be_written_on_does_not_stop_the_command(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, policy: dict[str, object]
) -> None:
    def full(_writer: RecordingWriter, _events: object) -> None:
        raise OutputError("disk full")

    monkeypatch.setattr(RecordingWriter, "write_events", full)
    recorded = _record(
        monkeypatch, tmp_path / "r.wa", policy, FakeBackend([[_write(1, b"/x")], [_write(2, b"/y")]])
    )
    assert recorded.outcome.exit_status == 0
    assert isinstance(recorded.error, WriteauditError)
    with Recording(str(tmp_path / "r.wa")) as recording:
        assert not recording.read_audit().completeness.complete


def test_defect_keeps_what_was_recorded_and_lets_the_command_go_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, policy: dict[str, object]
) -> None:
    resolve, calls = Resolver.resolve_event, []

    def fail(resolver: Resolver, raw: RawEvent) -> FsEvent:
        calls.append(raw)
        if len(calls) == 3:
            raise RecursionError("too deep")
        return resolve(resolver, raw)

    monkeypatch.setattr(Resolver, "resolve_event", fail)
    heard: list[int] = []
    fake = FakeBackend([[_write(n, b"/x%d" % n) for n in range(first, first + 2)] for first in (0, 2, 4)])
    fake.heard = heard.append
    recorded = _record(monkeypatch, tmp_path / "r.wa", policy, fake)
    assert heard == [1, 2, 3]
    assert len(calls) == 3
    assert recorded.outcome.exit_status == 0
    assert recorded.error is not None
    assert recorded.error.status == 125
    assert "RecursionError: too deep (test_pipeline.py:" in recorded.error.message
    assert "breaks off" in recorded.error.message
    with Recording(str(tmp_path / "r.wa")) as recording:
        audit = recording.read_audit()
        assert [event.path for event in audit.events] == [b"/x0", b"/x1"]
        assert not audit.completeness.finished
        assert audit.run.exit_status == 0


@pytest.mark.parametrize(
    ("error", "raised", "message"),
    [
        (CaptureError("it broke"), CaptureError, "it broke"),
        (KeyboardInterrupt(), KeyboardInterrupt, "^$"),
        (ValueError("a defect"), CaptureError, "ValueError: a defect"),
    ],
)
def test_capture_that_fails_after_the_command_began_leaves_its_recording(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    policy: dict[str, object],
    error: BaseException,
    raised: type[BaseException],
    message: str,
) -> None:
    with pytest.raises(raised, match=message):
        _record(monkeypatch, tmp_path / "r.wa", policy, FakeBackend([[_write(1, b"/x")]], last=error))
    with Recording(str(tmp_path / "r.wa")) as recording:
        audit = recording.read_audit()
        assert [event.path for event in audit.events] == [b"/x"]
        assert not audit.completeness.finished
        assert audit.run.backend.name == "fake0"
        assert audit.run.exit_status is None


def test_failure_that_capture_tells_of_makes_the_recording_unfinished(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, policy: dict[str, object]
) -> None:
    outcome = CaptureOutcome(0, None, START, START, lost_events=7, failure=ValueError("what is this"))
    recorded = _record(monkeypatch, tmp_path / "r.wa", policy, FakeBackend([[_write(1, b"/x")]], outcome))
    assert recorded.error is not None
    assert "ValueError: what is this" in recorded.error.message
    with Recording(str(tmp_path / "r.wa")) as recording:
        completeness = recording.read_audit().completeness
    assert (completeness.finished, completeness.lost_events) == (False, 7)


def test_sums_beyond_what_a_recording_can_hold(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, policy: dict[str, object]
) -> None:
    """Results that a filter of system calls made up (seccomp_unotify(2))."""
    copy = _write(2, b"/y", op=Op.COPY)._replace(bytes=(1 << 64) - 1, calls=1)
    fake = FakeBackend([[_write(1, b"/x", op=Op.WRITE, key=7), copy], [WriteTotal(7, 3 << 62, 1 << 63)]])
    recorded = _record(monkeypatch, tmp_path / "r.wa", policy, fake)
    assert recorded.error is None
    with Recording(str(tmp_path / "r.wa")) as recording:
        read = list(recording.read_audit().events)
    assert recorded.events == read
    most = (1 << 63) - 1
    assert [(event.bytes, event.calls) for event in read] == [(most, most), (most, 1)]


def test_long_paths_are_not_kept_in_memory(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, policy: dict[str, object]
) -> None:
    monkeypatch.setattr(pipeline, "_KEPT_BYTES", 10_000)
    batches = [[_write(number, b"/x" * 1000)] for number in range(10)]
    recorded = _record(monkeypatch, tmp_path / "r.wa", policy, FakeBackend(batches))
    assert recorded.events is None
    assert len(_examined(tmp_path / "r.wa")[1]) == 10


@pytest.mark.parametrize(
    ("names", "kept"),
    [
        ("HOME TMPDIR PWD VIRTUAL_ENV UV_CACHE_DIR UV_NO_CACHE XDG_CACHE_HOME", True),
        ("AWS_SECRET_ACCESS_KEY PIP_INDEX_URL UV_INDEX_PRIVATE_PASSWORD GITHUB_TOKEN LS_COLORS", False),
    ],
)
def test_only_variables_that_say_where_things_go_are_kept(names: str, kept: bool) -> None:
    for name in names.split():
        assert (name in placing_variables({name.encode(): b"value"})) is kept, name
