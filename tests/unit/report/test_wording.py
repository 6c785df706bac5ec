from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from tests.support import report_samples as samples
from writeaudit.audit import Completeness
from writeaudit.events import Access, FsEvent, Op
from writeaudit.judgement import Finding, Severity
from writeaudit.report import wording
from writeaudit.report.view import ReportOutcome, Status


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


def _finding(rule: str, severity: Severity, **more: Any) -> Finding:
    return Finding(rule, rule, severity, "", count=more.pop("count", 1), **more)


def test_failed_command_is_not_called_clean() -> None:
    refused = [
        _finding("WA205", Severity.WARNING, count=2, details={"errno": "EROFS"}),
        _finding("WA205", Severity.WARNING, count=1, details={"errno": "EACCES"}),
    ]
    report = samples.report([], findings=refused, exit_status=2)
    assert wording.verdict(report) == (
        "The command failed (exit status 2), and the system refused 3 writes that the policy allows "
        "(EACCES and EROFS); nothing was changed; there are 2 warnings."
    )
    assert (report.status, report.outcome) == (Status.CLEAN, ReportOutcome.FAILED)
    killed = samples.report([], exit_status=None, signal=9)
    assert wording.verdict(killed) == "The command failed (ended by SIGKILL (9)); nothing was changed."
    assert wording.verdict(samples.report([], exit_status=None)) == "Clean: nothing was changed."


def test_what_fails_a_run_is_said_first() -> None:
    finding = _finding("WA101", Severity.WARNING)
    report = dataclasses.replace(
        samples.report([], findings=[finding]), failing=[finding], fail_on=("link-fallback",)
    )
    assert report.outcome is ReportOutcome.FLAGGED
    assert wording.verdict(report) == (
        "Not clean by --fail-on link-fallback (WA101): nothing was changed, but there is 1 warning."
    )


@pytest.mark.parametrize(
    ("severity", "sentence"),
    [
        (Severity.ERROR, "1 violation in zone cache."),
        (Severity.WARNING, "1 minor violation in zone cache (no content changed); there is 1 warning."),
    ],
)
def test_minor_violations_are_called_so(severity: Severity, sentence: str) -> None:
    events = [samples.event(1, Op.OPEN, samples.CACHE + b"/a", access=Access.WRITE)]
    report = samples.report(events, findings=[_finding("WA201", severity)])
    assert wording.verdict(report) == sentence


def test_protected_file_that_was_reached_by_another_name_is_a_violation() -> None:
    report = samples.report([], findings=[_finding("WA301", Severity.ERROR, files=2)])
    assert report.status is Status.VIOLATIONS
    assert wording.verdict(report) == "2 protected paths changed through an alias."


def test_incomplete_comes_first() -> None:
    report = samples.report(samples.hostile_events(), completeness=samples.INCOMPLETE)
    assert wording.verdict(report) == (
        "Incomplete: 12 of 20 events were lost, 1 process outlived the audit and something ran that this "
        "backend cannot see (io_uring), so this run cannot be called clean; at least "
        f"{len(samples.HOSTILE)} violations outside every zone."
    )


def test_every_gap_has_a_clause() -> None:
    gaps = {
        "finished": False,
        "lost_events": 1,
        "truncated": 1,
        "unresolved": 1,
        "survivors": (1,),
        "blind_spots": samples.INCOMPLETE.blind_spots,
    }
    for name, value in gaps.items():
        broken = dataclasses.replace(Completeness(), **{name: value})  # type: ignore[arg-type]
        assert not broken.complete
        assert len(wording.list_gaps(broken)) == 1, name
    assert wording.list_gaps(Completeness()) == []


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
