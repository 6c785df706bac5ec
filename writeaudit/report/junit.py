"""The report as JUnit XML, which every CI service draws: a test case per rule and zone.

Every rule has a case, so that what was looked for and not found is shown as passed. An incomplete
audit is an error of the suite: it can neither pass nor fail, and what was not found is skipped.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from xml.sax.saxutils import escape, quoteattr

from writeaudit.judgement import Finding, Severity
from writeaudit.report.json.writer import timestamp
from writeaudit.report.view import OUTSIDE, Report
from writeaudit.report.wording import command_line, list_gaps, verdict
from writeaudit.rules import RULES, RuleGroup
from writeaudit.text import escape_text

_NO_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 has no character for, not even as a reference."""


def render(report: Report) -> Iterator[str]:
    """Yield the report as one JUnit document."""
    cases = list(_cases(report))
    failing = {id(finding) for finding in report.failing}
    failures = sum(any(id(finding) in failing for finding in found) for _rule, _zone, found in cases)
    gaps = list_gaps(report.audit.completeness)
    run = report.audit.run
    total = len(cases) + 1
    skipped = sum(not found for _rule, _zone, found in cases) if gaps else 0
    counts = f'tests="{total}" failures="{failures}" errors="{int(bool(gaps))}"'
    time = f'time="{run.duration_s:.3f}"'
    head = f'{counts} skipped="{skipped}" {time}'
    yield '<?xml version="1.0" encoding="UTF-8"?>\n'
    yield f'<testsuites name="writeaudit" {counts} {time}>\n'
    began = timestamp(run.started).partition(".")[0]
    yield f'<testsuite name={quote_attribute(command_line(run.command))} {head} timestamp="{began}">\n'
    yield "<properties>\n"
    for name, value in (
        ("policy", report.policy.name),
        ("backend", run.backend.name),
        ("status", str(report.status)),
        ("version", report.tool_version),
    ):
        yield f"<property name={quote_attribute(name)} value={quote_attribute(value)}/>\n"
    yield "</properties>\n"
    yield from _completeness(gaps)
    for rule, zone, found in cases:
        yield from _case(rule, zone, found, failing, complete=not gaps)
    yield f"<system-out>{quote_content(verdict(report))}</system-out>\n</testsuite>\n</testsuites>\n"


def _cases(report: Report) -> Iterator[tuple[str, str, Sequence[Finding]]]:
    """Yield rule, zone and findings: a case for each zone where a rule found anything, else one."""
    by_rule: dict[str, dict[str, list[Finding]]] = {}
    for finding in report.findings:
        zone = finding.details.get("zone", "")
        named = zone if isinstance(zone, str) else OUTSIDE
        by_rule.setdefault(finding.rule, {}).setdefault(named, []).append(finding)
    known = [rule.id for rule in RULES if rule.group is not RuleGroup.IMAGE]
    for rule in [*known, *(found for found in by_rule if found not in known)]:
        for zone, found in by_rule.get(rule, {"": []}).items():
            yield rule, zone, found


def _completeness(gaps: Sequence[str]) -> Iterator[str]:
    yield '<testcase classname="writeaudit" name="the audit is complete">'
    if gaps:
        yield f'<error type="incomplete" message={quote_attribute("; ".join(gaps))}/>'
    yield "</testcase>\n"


def _case(
    rule: str, zone: str, found: Sequence[Finding], failing: set[int], *, complete: bool
) -> Iterator[str]:
    title = next((known.title for known in RULES if known.id == rule), rule)
    name = f"{title} ({zone})" if zone else title
    yield f"<testcase classname={quote_attribute(f'writeaudit.{rule}')} name={quote_attribute(name)}>"
    if not found and not complete:
        yield '<skipped message="nothing was found, but the audit is incomplete"/>'
    for finding in found:
        text = "\n".join([finding.message, *(f"→ {line}" for line in finding.advice)])
        if id(finding) in failing:
            message = quote_attribute(finding.message)
            kind, content = quote_attribute(finding.rule), quote_content(text)
            yield f"<failure type={kind} message={message}>{content}</failure>"
        elif finding.severity is not Severity.NOTE:
            yield f"<system-out>{quote_content(f'{finding.severity}: {text}')}</system-out>"
    yield "</testcase>\n"


def quote_attribute(text: str) -> str:
    """Return a text as the value of an attribute, quotes included."""
    return quoteattr(
        escape_text(_NO_XML.sub("\N{REPLACEMENT CHARACTER}", text)),
        {"\n": "&#10;", "\t": "&#9;", "\r": "&#13;"},
    )


def quote_content(text: str) -> str:
    """Return a text as the content of an element."""
    lines = _NO_XML.sub("\N{REPLACEMENT CHARACTER}", text).split("\n")
    return escape("\n".join(map(escape_text, lines)))
