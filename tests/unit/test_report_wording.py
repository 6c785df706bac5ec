from __future__ import annotations

import dataclasses

import pytest

from tests.unit import report_samples as samples
from writeaudit.audit import Completeness
from writeaudit.events import Access, FsEvent, Op
from writeaudit.report import wording


@pytest.mark.parametrize(
    ("events", "sentence"),
    [
        ([], "Clean: nothing was changed."),
        (samples.install_events(1, 1), "Clean: the policy allows all 2 changes."),
        ([samples.event(1, Op.UNLINK, samples.VENV + b"/a")], "Clean: the policy allows the one change."),
        ([samples.event(1, Op.UNLINK, b"/etc/a")], "1 violation outside every zone."),
        (
            [samples.event(1, Op.UNLINK, b"/etc/a"), samples.event(2, Op.UNLINK, samples.CACHE + b"/a")],
            "2 violations: 1 outside every zone and 1 in zone cache.",
        ),
        ([samples.event(1, Op.OPEN, b"/etc/a", access=Access.READ)], "Clean: nothing was changed."),
    ],
)
def test_verdict(events: list[FsEvent], sentence: str) -> None:
    assert wording.verdict(samples.report(events)) == sentence


def test_incomplete_comes_first() -> None:
    report = samples.report(samples.hostile_events(), completeness=samples.INCOMPLETE)
    assert wording.verdict(report) == (
        "Incomplete: 12 events were lost, 1 process outlived the audit and something ran that this backend "
        f"cannot see (io_uring), so this run cannot be called clean; {len(samples.HOSTILE)} violations "
        "outside every zone."
    )


def test_every_gap_has_a_clause() -> None:
    gaps = {
        "finished": False,
        "lost_events": 1,
        "truncated": 1,
        "survivors": (1,),
        "blind_spots": samples.INCOMPLETE.blind_spots,
    }
    for name, value in gaps.items():
        broken = dataclasses.replace(Completeness(), **{name: value})  # type: ignore[arg-type]
        assert not broken.complete
        assert len(wording.gap_list(broken)) == 1, name
    assert wording.gap_list(Completeness()) == []


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0004, "0.4 ms"), (0.085, "85 ms"), (1.317, "1.32 s"), (125, "2 min 05 s"), (3720, "1 h 02 min")],
)
def test_duration(seconds: float, text: str) -> None:
    assert wording.duration(seconds) == text


@pytest.mark.parametrize(
    ("status", "number", "text"),
    [(0, None, "exit status 0"), (None, 9, "ended by SIGKILL (9)"), (None, None, "end not seen")],
)
def test_ending(status: int | None, number: int | None, text: str) -> None:
    assert wording.ending(samples.report([], exit_status=status, signal=number).audit.run) == text


def test_command_line_quotes() -> None:
    assert wording.command_line([b"sh", b"-c", b"echo 'hi'\n", b""]) == r"sh -c 'echo '\''hi'\''\x0a' ''"


def test_unpaired_backticks_stay() -> None:
    assert wording.code_spans("a ` b") == [(False, "a ` b")]
    assert wording.code_spans("a `b` c") == [(False, "a "), (True, "b"), (False, " c")]
