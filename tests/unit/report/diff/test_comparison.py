"""Two runs compared: what is new is found, and what only looks new is not."""

from __future__ import annotations

import dataclasses
import json

import pytest

from tests.support import report_samples as samples
from writeaudit.events import Access, FsEvent, Op
from writeaudit.judgement import Finding, Severity
from writeaudit.report.diff import render
from writeaudit.report.diff.comparison import compare
from writeaudit.report.view import Report


def _made(*names: bytes) -> list[FsEvent]:
    return [
        samples.event(number, Op.OPEN, name, access=Access.WRITE, created=True)
        for number, name in enumerate(names, 1)
    ]


def _in(report: Report, cwd: bytes) -> Report:
    run = dataclasses.replace(report.audit.run, cwd=cwd)
    return dataclasses.replace(report, audit=report.audit._replace(run=run))


def test_a_run_is_like_itself() -> None:
    report = samples.report(findings=[samples.link_finding()])
    comparison = compare(report, report)
    assert comparison.same
    assert comparison.sentence == "The two runs did the same."
    assert not comparison.regressions


def test_random_names_are_no_difference() -> None:
    old = samples.report(_made(samples.VENV + b"/.tmpAb3xQ9/x", b"/srv/pip-unpack-x1y2z3a4/f"))
    new = samples.report(_made(samples.VENV + b"/.tmpZz81Kd/x", b"/srv/pip-unpack-b9c8d7e6/f"))
    assert compare(old, new).same


def test_another_directory_of_the_run_is_no_difference() -> None:
    old = _in(samples.report(_made(b"/srv/one/x")), b"/srv/one")
    new = _in(samples.report(_made(b"/srv/two/x")), b"/srv/two")
    comparison = compare(old, new)
    assert comparison.same


def test_new_violation_is_a_regression_and_a_gone_one_is_not() -> None:
    old, new = (
        samples.report(_made(samples.VENV + b"/a")),
        samples.report(_made(samples.VENV + b"/a", b"/srv/b")),
    )
    comparison = compare(old, new)
    assert [change.path for change in comparison.new_violations] == ["/srv/b"]
    assert comparison.sentence == "Worse than before: 1 new violation."
    back = compare(new, old)
    assert [change.path for change in back.gone_violations] == ["/srv/b"]
    assert not back.regressions
    assert back.sentence == "The two runs differ; nothing is worse."


def test_refusal_that_is_new_is_a_regression() -> None:
    refused = samples.event(2, Op.OPEN, samples.CACHE + b"/x", access=Access.WRITE, result="EROFS")
    old, new = (
        samples.report(_made(samples.VENV + b"/a")),
        samples.report([*_made(samples.VENV + b"/a"), refused]),
    )
    assert compare(old, new).regressions == ["1 path refused now"]


def test_links_that_became_copies_are_a_regression() -> None:
    comparison = compare(samples.report(), samples.report(findings=[samples.link_finding()]))
    assert comparison.regressions == ["6 more files copied instead of linked"]
    assert [finding.rule for finding in comparison.new_findings] == ["WA101"]


def test_command_that_fails_now_is_a_regression() -> None:
    assert compare(samples.report(), samples.report(exit_status=2)).regressions == [
        "the command fails now (exit status 2)"
    ]


def test_incomplete_audit_cannot_be_compared() -> None:
    comparison = compare(samples.report(), samples.report(completeness=samples.INCOMPLETE))
    assert comparison.sentence.startswith(
        "Not comparable: the new run is incomplete (12 of 20 events were lost"
    )


def test_new_programs_and_settings_are_named() -> None:
    old = samples.report()
    run = dataclasses.replace(old.audit.run, kernel="7.0", command=(b"uv", b"sync"))
    (first, *rest) = old.audit.processes
    processes = (first, *rest, first._replace(pid=7, exe=b"/usr/bin/gcc"))
    new = dataclasses.replace(old, audit=old.audit._replace(run=run, processes=processes))
    comparison = compare(old, new)
    assert comparison.new_programs == ["gcc"]
    assert [(each.name, each.old, each.new) for each in comparison.settings] == [
        ("command", "uv sync --frozen", "uv sync"),
        ("kernel", "6.18.5", "7.0"),
    ]


@pytest.mark.parametrize("form", [render.as_json, render.as_markdown, render.as_html])
def test_every_form_takes_hostile_names(form: object) -> None:
    finding = Finding("WA202", "t", Severity.ERROR, "wrote `x`", 1)
    comparison = compare(samples.report([]), samples.report(samples.hostile_events(), findings=[finding]))
    text = "".join(form(comparison))  # type: ignore[operator]
    assert "\x1b" not in text
    assert "\u202e" not in text
    if form is render.as_html:
        assert "<script" not in text
        assert "<img" not in text
    if form is render.as_json:
        assert len(json.loads(text)["new_violations"]) == len(samples.HOSTILE)
    if form is render.as_markdown:
        assert not any(line.lstrip().startswith(("/", "::")) for line in text.splitlines())
