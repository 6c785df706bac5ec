"""The summary on standard error: the verdict, the findings, a few figures, where the files are.

rich is imported when there is something to lay out, not before: it takes 40 ms, which a run
that changed nothing would pay for one plain line. `prepare` lets the pipeline import it
while the command runs.
"""

from __future__ import annotations

import importlib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, TextIO

from writeaudit.judgement import Finding, Severity, Verdict
from writeaudit.report.view import (
    MountRow,
    Report,
    ReportOutcome,
    Status,
    ZoneRow,
    frame_rows,
    mount_rows,
    zone_rows,
)
from writeaudit.report.wording import arrivals, code_spans, describe_frame, duration, ending, verdict
from writeaudit.text import escape_path, escape_text, plural, quote_name, show_zone, size

if TYPE_CHECKING:
    from rich.console import Console

_COLOURS = {
    ReportOutcome.CLEAN: "green",
    ReportOutcome.FAILED: "yellow",
    ReportOutcome.FLAGGED: "red",
    ReportOutcome.VIOLATIONS: "red",
    ReportOutcome.INCOMPLETE: "yellow",
}
_MARKS = {Severity.ERROR: "bold red", Severity.WARNING: "bold yellow", Severity.NOTE: "bold"}
_INDENT = 4
_FINDINGS = 12
"""Findings shown in full; the others are counted. The reports, and --verbose, have them all."""
_PROOF = 5
"""Events that --verbose shows for a finding."""
_SCREEN = 24
"""Lines of a terminal, where nobody says how many it has."""
_RUNNER = re.compile(r"##(?=\[|vso\[|teamcity\[)")
"""What log readers of CI services take for a command wherever it stands in a line."""
_COMMAND = ("::", "##", "---", "+++", "~~~", "section_")
"""What they take for one at the start of a line."""


_FRAMES = 6
"""Containers and sandboxes that have a line."""


def prepare() -> None:
    """Import what `write_summary` will need, ahead of time. May run in a thread."""
    for module in ("rich.console", "rich.cells", "rich.text"):
        importlib.import_module(module)


def write_summary(
    report: Report, stream: TextIO, outputs: Mapping[str, str] | None = None, *, verbose: bool = False
) -> None:
    """Write the summary to ``stream``.

    ``outputs`` names what was written and where, in order: ``{"recording": "/…/run.db"}``.
    Colour only on a terminal, and not if NO_COLOR is set. Paths are never broken by a line
    end of ours: they run on, so that they can be copied. No line begins with what a program chose.
    ``verbose``: all findings, with their causes and the first events that prove them.
    """
    nothing = not report.findings and not report.changes and report.status is Status.CLEAN
    if nothing and not outputs and not verbose:
        _write_plain(report, stream)
        return
    from rich.console import Console  # noqa: PLC0415

    # A pipe has no width: 80 columns are what a log viewer shows.
    width = None if stream.isatty() else 80
    console = Console(file=stream, width=width, highlight=False, emoji=False, markup=False)
    _Summary(report, console, verbose=verbose).write(outputs or {})


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
    def __init__(self, report: Report, console: Console, *, verbose: bool = False) -> None:
        self._report = report
        self._verbose = verbose
        self._lines = 0
        self._console = console
        self._arrow = "→ " if console.encoding.startswith("utf") else "-> "

    def write(self, outputs: Mapping[str, str]) -> None:
        report = self._report
        self._blank()
        self._verdict()
        self._wrapped(_run_line(report), style="dim")
        why = report.audit.run.backend.why
        if why and (self._verbose or not report.audit.run.backend.preferred):
            self._wrapped(
                f"Backend {report.audit.run.backend.name}: {escape_path(why.encode())}", style="dim"
            )
        for note in report.audit.run.notes:
            self._wrapped(escape_text(note), style="dim")
        self._findings()
        for remark in report.policy.remarks:
            self._blank()
            self._wrapped(
                f"{escape_path(remark.encode('utf-8', 'surrogateescape'))}.", first="policy: ", indent=0
            )
        self._places()
        self._frames()
        came = arrivals(report)
        if came:
            self._blank()
            self._wrapped("Files: " + "; ".join(came) + ".")
        if outputs:
            self._blank()
            longest = max(map(len, outputs))
            for name, place in outputs.items():
                self._line([(f"  {name:<{longest}}  ", "dim"), (escape_text(place), "")])
        if self._lines >= (self._console.height if self._console.is_terminal else _SCREEN):
            self._blank()
            self._verdict()

    def _findings(self) -> None:
        report = self._report
        shown = report.findings if self._verbose else report.findings[:_FINDINGS]
        for finding in shown:
            self._finding(finding)
        if len(report.findings) > len(shown):
            self._blank()
            more = plural(len(report.findings) - len(shown), "more finding")
            self._wrapped(f"and {more}; `--verbose` and the reports have them all")
        if shown:
            self._blank()
            self._wrapped(f"Cause, example and remedy: `writeaudit explain {shown[0].rule}`.", style="dim")

    def _places(self) -> None:
        """Say what was written where: by zone, and by mount."""
        report = self._report
        least = report.status is Status.INCOMPLETE
        zones = [row for row in zone_rows(report) if row.refused or any(row.verdicts[v] for v in _SHOWN)]
        if zones:
            self._blank()
            if least:
                self._wrapped("At least, as far as was recorded:", style="dim")
            self._table(
                ("zone", "access"),
                [
                    (
                        (show_zone(row.name) if row.zone else row.name, row.access),
                        row,
                    )
                    for row in zones
                ],
            )
        mounts = [row for row in mount_rows(report) if row.changes or row.refused]
        if len(mounts) > 1 or any(row.refused for row in mounts):
            self._blank()
            self._table(
                ("mount", "type"),
                [
                    (
                        ("unknown", "")
                        if row.mount is None
                        else (escape_path(row.mount.mountpoint), escape_text(row.mount.fstype)),
                        row,
                    )
                    for row in mounts
                ],
            )

    def _verdict(self) -> None:
        style = f"bold {_COLOURS[self._report.outcome]}"
        self._wrapped(verdict(self._report), style=style, first="writeaudit: ", rest=0)

    def _frames(self) -> None:
        rows = frame_rows(self._report)
        for row in rows[:_FRAMES]:
            self._blank()
            self._wrapped(describe_frame(row))
        if len(rows) > _FRAMES:
            self._blank()
            self._wrapped(f"and {len(rows) - _FRAMES:,} more containers and sandboxes; see the reports")

    def _finding(self, finding: Finding) -> None:
        self._blank()
        mark = _MARKS[finding.severity]
        self._line(
            [
                (f"{finding.severity} ", mark),
                (f"{finding.rule} ", "bold"),
                (escape_text(finding.title), "bold"),
            ]
        )
        self._wrapped(finding.message, indent=_INDENT)
        if len(finding.actors) == 1 and finding.severity is not Severity.NOTE:
            self._wrapped(f"By {finding.actors[0].describe_actor()}.", indent=_INDENT)
        if self._verbose:
            self._reasons(finding)
        elif finding.severity is Severity.NOTE and not finding.details.get("unjudged"):
            return
        for line in finding.advice:
            self._wrapped(line, indent=_INDENT, first=self._arrow)

    def _reasons(self, finding: Finding) -> None:
        """Show why it is so, and the first events that prove it."""
        if finding.cause:
            self._wrapped(finding.cause, indent=_INDENT, style="dim")
        for event, _judged in self._report.find(finding.evidence[:_PROOF]).values():
            source = "" if event.source is None else f" from {quote_name(event.source)}"
            self._wrapped(
                f"event {event.seq}, pid {event.pid}: {event.op} {quote_name(event.path)}{source}: "
                f"{event.result}",
                indent=_INDENT,
                style="dim",
            )

    def _table(
        self, names: tuple[str, str], rows: Sequence[tuple[tuple[str, str], ZoneRow | MountRow]]
    ) -> None:
        """Print rows as a table if it is as wide as the terminal at most, as a sentence each if not.

        So no name is broken, and no line begins in the middle of one.
        """
        head = (*names, *_FIGURES)
        cells = [
            (
                *words,
                f"{row.extent.files:,}",
                size(row.extent.bytes),
                f"{row.verdicts[Verdict.VIOLATION]:,}",
                f"{row.refused:,}",
            )
            for words, row in rows
        ]
        widths = [max(cell_len(line[number]) for line in (head, *cells)) for number in range(len(head))]
        if sum(widths) + 2 * (len(widths) - 1) > self._console.width:
            for (name, kind), row in rows:
                self._wrapped(
                    f"{names[0]} {name}{f' ({kind})' if kind else ''}: "
                    f"{plural(row.extent.files, 'file')} changed, {size(row.extent.bytes)} written, "
                    f"{plural(row.verdicts[Verdict.VIOLATION], 'violation')}, {row.refused:,} refused",
                    indent=0,
                )
            return
        self._line(_align(head, widths, ("dim",) * len(head)))
        for line, (_words, row) in zip(cells, rows, strict=True):
            bad = "bold red" if row.verdicts[Verdict.VIOLATION] else "dim"
            self._line(_align(line, widths, ("", "", "", "", bad, "yellow" if row.refused else "dim")))

    def _blank(self) -> None:
        self._console.print()
        self._lines += 1

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

        whole = Text.assemble(*((disarm_text(text), style) for text, style in pieces))
        if _is_command(whole.plain):
            whole = Text("> ").append_text(whole)
        self._console.print(whole, soft_wrap=True)
        self._lines += 1 + max(whole.cell_len - 1, 0) // max(self._console.width, 1)


_FIGURES = ("files changed", "written", "violations", "refused")


def _align(line: Sequence[str], widths: Sequence[int], styles: Sequence[str]) -> list[tuple[str, str]]:
    """Return the cells of a line as pieces: two columns of words, then figures to the right."""
    pieces = []
    for number, (text, width, style) in enumerate(zip(line, widths, styles, strict=True)):
        room = " " * (width - cell_len(text))
        gap = "  " if number else ""
        pieces.append((f"{gap}{text}{room}" if number < 2 else f"{gap}{room}{text}", style))
    return pieces


def cell_len(text: str) -> int:
    """Return how many columns of a terminal a text takes."""
    from rich.cells import cell_len as measure  # noqa: PLC0415

    return measure(text)


_SHOWN = (Verdict.ALLOWED, Verdict.VIOLATION, Verdict.ATTEMPT, Verdict.UNPLACED)


def fill(prose: str, width: int) -> Iterator[list[tuple[bool, str]]]:
    """Yield lines of (is code, text) pieces, none longer than ``width`` unless one word is.

    Breaks only at spaces outside code, so a path or a command to copy stays whole. The
    backticks around code are kept: without colour they are what marks it.
    """
    line: list[tuple[bool, str]] = []
    used = 0
    for word in _words(prose):
        length = sum(len(text) for _code, text in word)
        if line and used + 1 + length > width and not _begins_command(word):
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


def disarm_text(text: str) -> str:
    """Return text in which nothing is a command to a CI service that looks for commands within lines."""
    return _RUNNER.sub(r"\\x23#", text)


def disarm_line(text: str) -> str:
    """Return a line that is no command to a CI service, whatever a program chose of it."""
    text = disarm_text(text)
    return f"> {text}" if _is_command(text) else text


def _is_command(line: str) -> bool:
    return line.lstrip().startswith(_COMMAND)


def _begins_command(word: Sequence[tuple[bool, str]]) -> bool:
    """Whether a CI service could take a line that begins with a word for a command to itself."""
    is_code, text = word[0]
    return not is_code and text.startswith(_COMMAND)


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
