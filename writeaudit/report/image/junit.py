"""An image as JUnit XML: a test case for each rule on images."""

from __future__ import annotations

from collections.abc import Iterator

from writeaudit.judgement import Severity
from writeaudit.report.image.view import ImageReport, list_image_gaps, sum_up
from writeaudit.report.junit import quote_attribute, quote_content
from writeaudit.rules import RULES, RuleGroup

_ELF = "WA306"


def render(report: ImageReport) -> Iterator[str]:
    """Yield the report as one JUnit document."""
    rules = [rule for rule in RULES if rule.group is RuleGroup.IMAGE or rule.id == _ELF]
    failing = {finding.rule for finding in report.failing}
    gaps = list_image_gaps(report.completeness)
    head = f'tests="{len(rules) + 1}" failures="{len(failing)}" errors="{int(bool(gaps))}" time="0"'
    yield '<?xml version="1.0" encoding="UTF-8"?>\n'
    yield f'<testsuites name="writeaudit" {head}>\n'
    yield f"<testsuite name={quote_attribute(report.image.source)} {head}>\n"
    yield '<testcase classname="writeaudit" name="all of the image was read">'
    if gaps:
        yield f'<error type="incomplete" message={quote_attribute("; ".join(gaps))}/>'
    yield "</testcase>\n"
    for rule in rules:
        name = f"classname={quote_attribute(f'writeaudit.{rule.id}')} name={quote_attribute(rule.title)}"
        yield f"<testcase {name}>"
        found = [finding for finding in report.findings if finding.rule == rule.id]
        text = "\n".join(
            "\n".join([f"{each.severity}: {each.message}", *(f"→ {line}" for line in each.advice)])
            for each in found
        )
        if rule.id in failing:
            message = quote_attribute(found[0].message)
            content = quote_content(text)
            yield f"<failure type={quote_attribute(rule.id)} message={message}>{content}</failure>"
        elif any(each.severity is not Severity.NOTE for each in found):
            yield f"<system-out>{quote_content(text)}</system-out>"
        yield "</testcase>\n"
    yield f"<system-out>{quote_content(sum_up(report))}</system-out>\n</testsuite>\n</testsuites>\n"
