"""Annotations of GitHub Actions: a line each, and no line that the audited program wrote."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support import report_samples as samples
from writeaudit.commands.ci import announce_to_github
from writeaudit.judgement import Finding, Severity
from writeaudit.report import github


def test_a_line_each_the_worst_first() -> None:
    findings = [
        samples.link_finding(),
        Finding("WA202", "t: a, b", Severity.ERROR, "wrote 100%\nof ::error::x", 1),
    ]
    lines = "".join(github.render(samples.report(findings=findings))).splitlines()
    assert lines[0] == "::error title=WA202 t%3A a%2C b::wrote 100%25%0Aof ::error::x"
    assert lines[1].startswith("::warning title=WA101 ")
    assert len(lines) == 2


def test_incomplete_comes_first() -> None:
    (line,) = "".join(github.render(samples.report(completeness=samples.INCOMPLETE))).splitlines()
    assert line.startswith("::error title=writeaudit%3A the audit is incomplete::Incomplete")


def test_no_more_than_the_runner_shows() -> None:
    findings = [Finding("WA202", "t", Severity.ERROR, str(number), 1) for number in range(50)]
    assert len("".join(github.render(samples.report(findings=findings))).splitlines()) == github.MOST


def test_step_summary_is_appended_in_a_job_and_nowhere_else(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    summary = tmp_path / "summary.md"
    summary.write_text("before\n")
    report = samples.report(findings=[samples.link_finding()])
    announce_to_github(report, {"GITHUB_STEP_SUMMARY": str(summary)})
    assert summary.read_text() == "before\n"
    announce_to_github(report, {"GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": str(summary)})
    assert summary.read_text().startswith("before\n### ")
    assert capsys.readouterr().err.startswith("::warning title=WA101")


def test_step_summary_that_the_command_replaced_is_not_followed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "target"
    target.touch()
    (tmp_path / "summary.md").symlink_to(target)
    env = {"GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": os.fspath(tmp_path / "summary.md")}
    announce_to_github(samples.report(), env)
    assert target.read_text() == ""
    assert "cannot write the step's summary" in capsys.readouterr().err
