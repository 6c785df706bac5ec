"""Annotations of a GitHub Actions job: workflow commands, a line each, on standard output.

A line that begins with ``::`` is a command to the runner. So each of ours is one line whatever the
audited program chose, with the escapes that the runner undoes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from writeaudit.judgement import Finding, Severity
from writeaudit.report.view import Report
from writeaudit.report.wording import list_gaps, verdict

MOST = 10
"""As many of each kind are shown for one step; the runner drops the others."""

_KINDS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.NOTE: "notice"}


def render(report: Report) -> Iterator[str]:
    """Yield the annotations: the verdict if the audit is incomplete, then the findings, worst first."""
    gap = ("writeaudit: the audit is incomplete", verdict(report))
    yield from annotate(report.findings, gap if list_gaps(report.audit.completeness) else None)


def annotate(findings: Iterable[Finding], gap: tuple[str, str] | None) -> Iterator[str]:
    """Yield an annotation for a gap (title and sentence), if there is one, and for each finding."""
    if gap is not None:
        yield _command("error", *gap)
    left = dict.fromkeys(Severity, MOST - (gap is not None))
    for finding in findings:
        if left[finding.severity] > 0:
            left[finding.severity] -= 1
            text = "\n".join([finding.message, *(f"→ {line}" for line in finding.advice)])
            yield _command(_KINDS[finding.severity], f"{finding.rule} {finding.title}", text)


def _command(kind: str, title: str, message: str) -> str:
    return f"::{kind} title={_property(title)}::{_data(message)}\n"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
