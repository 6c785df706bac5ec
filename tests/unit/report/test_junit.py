"""The JUnit report: a case per rule and zone, failures as --fail-on has them, and XML whatever the names."""

from __future__ import annotations

import dataclasses
from xml.etree import ElementTree as ET

from tests.support import report_samples as samples
from writeaudit.judgement import Finding, Severity
from writeaudit.report import junit
from writeaudit.report.view import Report
from writeaudit.rules import RULES, RuleGroup
from writeaudit.text import escape_path


def _suite(report: Report) -> ET.Element:
    root = ET.fromstring("".join(junit.render(report)))
    suite = root.find("testsuite")
    assert suite is not None
    return suite


def _finding(zone: str, message: str = "wrote") -> Finding:
    return Finding("WA201", "write in a read-only zone", Severity.ERROR, message, 1, details={"zone": zone})


def test_every_rule_has_a_case_and_only_failing_findings_fail() -> None:
    found = [_finding("cache"), _finding("venv"), samples.link_finding()]
    report = dataclasses.replace(samples.report(findings=found), failing=found[:2])
    suite = _suite(report)
    of_runs = [rule for rule in RULES if rule.group is not RuleGroup.IMAGE]
    assert len(suite.findall("testcase")) == len(of_runs) + 1 + 1
    failed = [case.get("name") for case in suite.findall("testcase") if case.find("failure") is not None]
    assert failed == ["write in a read-only zone (cache)", "write in a read-only zone (venv)"]
    assert suite.get("failures") == "2"
    assert suite.get("errors") == "0"


def test_incomplete_audit_is_an_error_of_the_suite() -> None:
    suite = _suite(samples.report(completeness=samples.INCOMPLETE))
    assert suite.get("errors") == "1"
    assert suite.find("testcase/error") is not None


def test_names_cannot_break_out_of_it() -> None:
    for name in (*samples.HOSTILE, b"\x00\x0b", b"]]></failure>"):
        finding = _finding("cache", f"wrote {escape_path(name)} \ud800\x01")
        report = dataclasses.replace(samples.report(findings=[finding]), failing=[finding])
        failure = _suite(report).find("testcase/failure")
        assert failure is not None
        assert escape_path(name) in (failure.get("message") or "")
