"""The summary on standard error: the verdict, the findings, a few figures, where the files are.

rich is imported when there is something to lay out, not before: it takes 40 ms, which a run
that changed nothing would pay for one plain line. `prepare` lets the pipeline import it
while the command runs.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, TextIO

from writeaudit.judgement import Finding, Severity, Verdict
from writeaudit.report.view import MountRow, Report, ReportOutcome, Status, ZoneRow, mount_rows, zone_rows
from writeaudit.report.wording import arrivals, code_spans, duration, ending, verdict
from writeaudit.text import escape_path, escape_text, plural, size

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

_COLOURS = {
    ReportOutcome.CLEAN: "green",
    ReportOutcome.FAILED: "yellow",
    ReportOutcome.FLAGGED: "red",
    ReportOutcome.VIOLATIONS: "red",
    ReportOutcome.INCOMPLETE: "yellow",
}
_MARKS = {Severity.ERROR: "red", Severity.WARNING: "yellow", Severity.NOTE: "blue"}
_INDENT = 4
_FINDINGS = 12
"""Findings shown in full; the others are counted. The reports have them all."""


def prepare() -> None:
    """Import what `write_summary` will need, ahead of time. May run in a thread."""
    for module in ("rich.console", "rich.table", "rich.text"):
        importlib.import_module(module)


def write_summary(report: Report, stream: TextIO, outputs: Mapping[str, str] | None = None) -> None:
    """Write the summary to ``stream``.

    ``outputs`` names what was written and where, in order: ``{"recording": "/…/run.db"}``.
    Colour only on a terminal, and not if NO_COLOR is set. Paths are never broken by a line
    end of ours: they run on, so that they can be copied.
    """
    nothing = not report.findings and not report.changes and report.status is Status.CLEAN
    if nothing and not outputs:
        _write_plain(report, stream)
        return
    from rich.console import Console  # noqa: PLC0415

    # A pipe has no width: 80 columns are what a log viewer shows.
    width = None if stream.isatty() else 80
    console = Console(file=stream, width=width, highlight=False, emoji=False, markup=False)
    _Summary(report, console).write(outputs or {})


def _write_plain(report: Report, stream: TextIO) -> None:
    coloured = stream.isatty() and not os.environ.get("NO_COLOR")
    colour = "\x1b[32m" if report.outcome is ReportOutcome.CLEAN else "\x1b[33m"
    start, end = (colour, "\x1b[0m") if coloured else ("", "")
    stream.write(f"writeaudit: {start}{verdict(report)}{end} {_run_line(report)}\n")


def _run_line(report: Report) -> str:
    run = report.audit.run
    seen = plural(report.totals.events, "event")
    return f"{seen} by {run.backend.name} in {duration(run.duration_s)}, {ending(run)}."


class _Summary:
    def __init__(self, report: Report, console: Console) -> None:
        self._report = report
        self._console = console
        self._arrow = "→ " if console.encoding.startswith("utf") else "-> "

    def write(self, outputs: Mapping[str, str]) -> None:
        report = self._report
        self._blank()
        self._wrapped(verdict(report), style=f"bold {_COLOURS[report.outcome]}", first="writeaudit: ", rest=0)
        self._wrapped(_run_line(report), style="dim")
        why = report.audit.run.backend.why
        if why and (report.status is Status.INCOMPLETE or not report.audit.run.backend.preferred):
            self._wrapped(
                f"Backend {report.audit.run.backend.name}: {escape_path(why.encode())}", style="dim"
            )
        for note in report.audit.run.notes:
            self._wrapped(escape_path(note.encode()), style="dim")
        for finding in report.findings[:_FINDINGS]:
            self._finding(finding)
        if len(report.findings) > _FINDINGS:
            self._blank()
            self._wrapped(f"and {plural(len(report.findings) - _FINDINGS, 'more finding')}; see the reports")
        for remark in report.policy.remarks:
            self._blank()
            self._wrapped(
                f"{escape_path(remark.encode('utf-8', 'surrogateescape'))}.", first="policy: ", indent=0
            )
        zones = [row for row in zone_rows(report) if row.refused or any(row.verdicts[v] for v in _SHOWN)]
        if zones:
            self._blank()
            self._console.print(self._zones(zones))
        mounts = [row for row in mount_rows(report) if row.changes or row.refused]
        if len(mounts) > 1 or any(row.refused for row in mounts):
            self._blank()
            self._console.print(self._mounts(mounts))
        came = arrivals(report)
        if came:
            self._blank()
            self._wrapped("Files: " + "; ".join(came) + ".")
        if outputs:
            self._blank()
            longest = max(map(len, outputs))
            for name, place in outputs.items():
                self._line([(f"  {name:<{longest}}  ", "dim"), (escape_text(place), "")])

    def _finding(self, finding: Finding) -> None:
        self._blank()
        mark = _MARKS[finding.severity]
        self._line(
            [(f"{finding.severity} ", f"bold {mark}"), (f"{finding.rule} ", "bold"), (finding.title, "bold")]
        )
        self._wrapped(finding.message, indent=_INDENT)
        if len(finding.actors) == 1 and finding.severity is not Severity.NOTE:
            self._wrapped(f"By {finding.actors[0].named()}.", indent=_INDENT)
        if finding.severity is Severity.NOTE and not finding.details.get("unjudged"):
            return
        for line in finding.advice:
            self._wrapped(line, indent=_INDENT, first=self._arrow)

    def _zones(self, rows: Sequence[ZoneRow]) -> Table:
        table = self._table("zone", "access")
        for row in rows:
            table.add_row(
                self._text(row.name),
                self._text("" if row.zone is None else row.zone.access),
                f"{row.extent.files:,}",
                size(row.extent.bytes),
                self._bad(row.verdicts[Verdict.VIOLATION], "bold red"),
                self._bad(row.refused, "yellow"),
            )
        return table

    def _mounts(self, rows: Sequence[MountRow]) -> Table:
        table = self._table("mount", "type")
        for row in rows:
            table.add_row(
                self._text("unknown" if row.mount is None else escape_path(row.mount.mountpoint)),
                self._text("" if row.mount is None else row.mount.fstype),
                f"{row.extent.files:,}",
                size(row.extent.bytes),
                self._bad(row.verdicts[Verdict.VIOLATION], "bold red"),
                self._bad(row.refused, "yellow"),
            )
        return table

    def _table(self, first: str, second: str) -> Table:
        from rich.table import Table  # noqa: PLC0415

        table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
        table.add_column(first, overflow="fold", max_width=34)
        table.add_column(second)
        for name in ("files changed", "written", "violations", "refused"):
            table.add_column(name, justify="right")
        return table

    def _text(self, text: str) -> Text:
        from rich.text import Text  # noqa: PLC0415

        return Text(text)

    def _bad(self, count: int, style: str) -> Text:
        from rich.text import Text  # noqa: PLC0415

        return Text(f"{count:,}", style=style if count else "dim")

    def _blank(self) -> None:
        self._console.print()

    def _wrapped(
        self, prose: str, *, indent: int = 0, first: str = "", rest: int | None = None, style: str = ""
    ) -> None:
        """Print prose, filled to the width between words; a word longer than a line runs on."""
        hang = indent + (len(first) if rest is None else rest)
        width = max(20, min(self._console.width, 100))
        for number, words in enumerate(fill(first + prose if rest == 0 else prose, width - hang)):
            margin = " " * hang if number or rest == 0 else " " * indent + first
            self._line(
                [(margin, ""), *((text, f"{style} cyan".strip() if code else style) for code, text in words)]
            )

    def _line(self, pieces: Sequence[tuple[str, str]]) -> None:
        from rich.text import Text  # noqa: PLC0415

        self._console.print(Text.assemble(*pieces), soft_wrap=True)


_SHOWN = (Verdict.ALLOWED, Verdict.VIOLATION, Verdict.ATTEMPT)


def fill(prose: str, width: int) -> Iterator[list[tuple[bool, str]]]:
    """Yield lines of (is code, text) pieces, none longer than ``width`` unless one word is.

    Breaks only at spaces outside code, so a path or a command to copy stays whole. The
    backticks around code are kept: without colour they are what marks it.
    """
    line: list[tuple[bool, str]] = []
    used = 0
    for word in _words(prose):
        length = sum(len(text) for _code, text in word)
        if line and used + 1 + length > width:
            yield line
            line, used = [], 0
        if line:
            _append(line, False, " ")
            used += 1
        for is_code, text in word:
            _append(line, is_code, text)
        used += length
    if line:
        yield line


def _append(line: list[tuple[bool, str]], is_code: bool, text: str) -> None:
    if line and line[-1][0] == is_code:
        line[-1] = (is_code, line[-1][1] + text)
    else:
        line.append((is_code, text))


def _words(prose: str) -> Iterator[list[tuple[bool, str]]]:
    """Yield what stands between spaces: code with what touches it is one word."""
    word: list[tuple[bool, str]] = []
    for is_code, text in code_spans(prose):
        if is_code:
            word.append((True, f"`{escape_text(text)}`"))
            continue
        head, *others = escape_text(text).split(" ")
        if head:
            word.append((False, head))
        for other in others:
            if word:
                yield word
            word = [(False, other)] if other else []
    if word:
        yield word
