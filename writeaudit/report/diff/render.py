"""A comparison as JSON, as Markdown, as HTML and for the terminal."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple, TextIO

from writeaudit.judgement import Finding
from writeaudit.report.diff.comparison import Amount, Change, Comparison
from writeaudit.report.json.writer import timestamp
from writeaudit.report.markdown import escape_cell, escape_code, escape_prose
from writeaudit.report.terminal import disarm_line
from writeaudit.report.view import OUTSIDE, Report
from writeaudit.report.wording import code_spans, command_line
from writeaudit.text import escape_path, escape_text, plural, show_zone

if TYPE_CHECKING:
    from rich.console import Console

SCHEMA_VERSION = "1.0"
MOST_SHOWN = 20
"""Changes of one kind that people are shown; JSON has them all."""


class Section(NamedTuple):
    """Changes of one kind."""

    key: str
    title: str
    changes: Sequence[Change]
    worse: bool


def sections(comparison: Comparison) -> list[Section]:
    """Return the kinds of changes in order of their weight, without those that are empty."""
    every = [
        Section("new_violations", "New violations", comparison.new_violations, True),
        Section("gone_violations", "Violations that are gone", comparison.gone_violations, False),
        Section("newly_refused", "Refused now", comparison.newly_refused, True),
        Section("no_longer_refused", "Refused no longer", comparison.no_longer_refused, False),
        Section("newly_written", "Written now", comparison.newly_written, False),
        Section("no_longer_written", "Written no longer", comparison.no_longer_written, False),
    ]
    return [section for section in every if section.changes]


def as_json(comparison: Comparison) -> Iterator[str]:
    """Yield the comparison as one JSON document (docs/diff.md)."""
    document = {
        "schema_version": SCHEMA_VERSION,
        "comparable": not comparison.incomparable,
        "reasons": list(comparison.incomparable),
        "same": comparison.same,
        "regressions": list(comparison.regressions),
        "sentence": comparison.sentence,
        "old": _run(comparison.old),
        "new": _run(comparison.new),
        "settings": [difference._asdict() for difference in comparison.settings],
        "new_findings": [_finding(finding) for finding in comparison.new_findings],
        "gone_findings": [_finding(finding) for finding in comparison.gone_findings],
        **{
            key: [{"path": change.path, "zone": change.zone, "paths": change.paths} for change in changes]
            for key, changes in (
                ("new_violations", comparison.new_violations),
                ("gone_violations", comparison.gone_violations),
                ("newly_refused", comparison.newly_refused),
                ("no_longer_refused", comparison.no_longer_refused),
                ("newly_written", comparison.newly_written),
                ("no_longer_written", comparison.no_longer_written),
            )
        },
        "links": [_amount(amount) for amount in comparison.links],
        "zones": [_amount(amount) for amount in comparison.zones],
        "new_programs": list(comparison.new_programs),
        "gone_programs": list(comparison.gone_programs),
    }
    yield json.dumps(document, ensure_ascii=False, indent=2)
    yield "\n"


def _run(report: Report) -> dict[str, object]:
    run = report.audit.run
    return {
        "command": [escape_path(word) for word in run.command],
        "cwd": escape_path(run.cwd),
        "started": timestamp(run.started),
        "duration_s": round(run.duration_s, 6),
        "exit_status": run.exit_status,
        "signal": run.signal,
        "status": report.status,
    }


def _finding(finding: Finding) -> dict[str, object]:
    return {
        "rule": finding.rule,
        "severity": finding.severity,
        "message": finding.message,
        "count": finding.count,
        "files": finding.files,
        "bytes": finding.bytes,
    }


def _amount(amount: Amount) -> dict[str, object]:
    return {"name": amount.name, "old": amount.old, "new": amount.new}


def as_markdown(comparison: Comparison) -> Iterator[str]:
    """Yield the comparison as Markdown; names cannot leave their code spans (`report.markdown`)."""
    symbol = "🟠" if comparison.incomparable else "🔴" if comparison.regressions else "🟢"
    yield f"### {symbol} {escape_prose(comparison.sentence)}\n\n"
    for name, report in (("old", comparison.old), ("new", comparison.new)):
        yield f"- {name}: {escape_code('$ ' + command_line(report.audit.run.command))}, "
        yield f"{timestamp(report.audit.run.started)}\n"
    yield "\n"
    for heading, findings in (
        ("New findings", comparison.new_findings),
        ("Findings that are gone", comparison.gone_findings),
    ):
        if findings:
            yield f"#### {heading}\n\n"
            for finding in findings[:MOST_SHOWN]:
                yield f"- **{finding.rule}** ({finding.severity}): {_prose(finding.message)}\n"
            yield "\n"
    for section in sections(comparison):
        total = sum(change.paths for change in section.changes)
        yield f"#### {section.title}: {plural(total, 'path')}\n\n"
        yield "| path | zone | paths |\n| --- | --- | ---: |\n"
        for change in section.changes[:MOST_SHOWN]:
            yield f"| {escape_cell(change.path)} | {escape_cell(change.zone)} | {change.paths:,} |\n"
        if len(section.changes) > MOST_SHOWN:
            yield f"\nAnd {len(section.changes) - MOST_SHOWN:,} more; the JSON form has them all.\n"
        yield "\n"
    rows = [(amount.name, *amount.text) for amount in (*comparison.links, *comparison.zones)]
    rows += [(difference.name, difference.old, difference.new) for difference in comparison.settings]
    if rows:
        yield "#### Figures and settings\n\n| | old | new |\n| --- | --- | --- |\n"
        for name, old, new in rows:
            yield f"| {escape_prose(name)} | {escape_cell(old)} | {escape_cell(new)} |\n"
        yield "\n"
    for heading, programs in (
        ("New programs", comparison.new_programs),
        ("Programs that ran no more", comparison.gone_programs),
    ):
        if programs:
            yield f"{heading}: {', '.join(map(escape_code, programs[:MOST_SHOWN]))}\n\n"


def _prose(text: str) -> str:
    return "".join(escape_code(part) if is_code else escape_prose(part) for is_code, part in code_spans(text))


def as_html(comparison: Comparison) -> Iterator[str]:
    """Yield the comparison as one HTML page without any script."""
    from markupsafe import Markup  # noqa: PLC0415 - it takes long to import, and few ask for HTML

    from writeaudit import resources  # noqa: PLC0415
    from writeaudit.report.html.writer import content_security_policy, environment  # noqa: PLC0415

    css = (resources.templates_directory() / "report.css").read_text(encoding="utf-8")
    template = environment().get_template("diff.html.j2")
    yield from template.generate(
        comparison=comparison,
        sections=sections(comparison),
        runs=(("Old", comparison.old), ("New", comparison.new)),
        command_line=command_line,
        most=MOST_SHOWN * 10,
        css=Markup(css),  # noqa: S704 - our own file
        csp=content_security_policy(css, ""),
    )


def write_terminal(comparison: Comparison, stream: TextIO, *, verbose: bool = False) -> None:
    """Write the comparison for people to a stream. ``verbose``: all of it."""
    most = None if verbose else MOST_SHOWN
    from rich.console import Console  # noqa: PLC0415

    width = None if stream.isatty() else 80
    console = Console(file=stream, width=width, highlight=False, emoji=False, markup=False)
    colour = "yellow" if comparison.incomparable else "red" if comparison.regressions else "green"
    _print(console, f"writeaudit: {comparison.sentence}", f"bold {colour}")
    for heading, findings in (("new", comparison.new_findings), ("gone", comparison.gone_findings)):
        for finding in findings[:most]:
            _print(console, f"{heading} {finding.severity} {finding.rule} {finding.title}", "bold")
            _print(console, f"    {finding.message}", "")
    for section in sections(comparison):
        total = sum(change.paths for change in section.changes)
        _print(console, f"{section.title}: {plural(total, 'path')}", "bold red" if section.worse else "bold")
        for change in section.changes[:most]:
            many = f" ({change.paths:,} paths)" if change.paths > 1 else ""
            _print(console, f"  {_show_place(change.zone)}  {change.path}{many}", "")
        if most is not None and len(section.changes) > most:
            _print(
                console,
                f"  and {len(section.changes) - most:,} more (--verbose and --json have them all)",
                "dim",
            )
    for amount in (*comparison.links, *comparison.zones):
        old, new = amount.text
        _print(console, f"{amount.name}: {old} before, {new} now", "")
    for name, programs in (
        ("New programs", comparison.new_programs),
        ("No longer run", comparison.gone_programs),
    ):
        if programs:
            _print(console, f"{name}: {', '.join(programs[:most])}", "")
    for difference in comparison.settings:
        _print(console, f"{difference.name}: {difference.old} before, {difference.new} now", "dim")


def _show_place(zone: str) -> str:
    return zone if zone == OUTSIDE else show_zone(zone)


def _print(console: Console, text: str, style: str) -> None:
    from rich.text import Text  # noqa: PLC0415

    console.print(
        Text(disarm_line(escape_text(text)), style),
        soft_wrap=True,
    )
