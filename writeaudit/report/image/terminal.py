"""The summary of an image on standard error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TextIO

from writeaudit.container_image import FactKind
from writeaudit.judgement import Finding, Severity
from writeaudit.report.image.view import (
    ImageReport,
    describe_hardening,
    describe_image,
    describe_waste,
    list_layers,
    sum_up,
)
from writeaudit.report.terminal import fill
from writeaudit.text import escape_text, plural, size

if TYPE_CHECKING:
    from rich.console import Console

_COLOURS = {"clean": "green", "violations": "red", "incomplete": "yellow"}
_MARKS = {Severity.ERROR: "red", Severity.WARNING: "yellow", Severity.NOTE: "blue"}
_INDENT = "    "
_FINDINGS = 16
_LAYERS = 24
_HEAD = ("layer", "stored", "added", "changed", "deleted", "hidden", "build step")


def write_summary(
    report: ImageReport,
    stream: TextIO,
    outputs: Mapping[str, str] | None = None,
    *,
    verbose: bool = False,
) -> None:
    """Write the summary to ``stream``; ``outputs`` names what was written, and where.

    ``verbose``: every finding, with its cause and paths; every layer.
    """
    from rich.console import Console  # noqa: PLC0415 - 40 ms

    width = None if stream.isatty() else 80
    console = Console(file=stream, width=width, highlight=False, emoji=False, markup=False)
    _Summary(report, console, verbose).write(outputs or {})


class _Summary:
    def __init__(self, report: ImageReport, console: Console, verbose: bool) -> None:
        self._verbose = verbose
        self._report = report
        self._console = console
        self._arrow = "→ " if console.encoding.startswith("utf") else "-> "

    def write(self, outputs: Mapping[str, str]) -> None:
        """Write all of it."""
        report, image = self._report, self._report.image
        self._print_prose(f"writeaudit: {sum_up(report)}", style=f"bold {_COLOURS[report.status]}")
        self._print_prose(describe_image(image), style="dim")
        for remark in report.remarks:
            self._print_prose(f"{remark[:1].upper()}{remark[1:]}.", style="dim")
        shown = len(report.findings) if self._verbose else _FINDINGS
        for finding in report.findings[:shown]:
            self._print_finding(finding)
        if len(report.findings) > shown:
            more = plural(len(report.findings) - shown, "more finding")
            self._print_prose(f"and {more}; see the reports", blank=True)
        if image.digest:
            self._print_layers()
        told = [text for text in (describe_waste(image), describe_hardening(image)) if text]
        for number, text in enumerate(told):
            self._print_prose(text, blank=number == 0)
        if outputs:
            self._console.print()
            longest = max(map(len, outputs))
            for name, place in outputs.items():
                self._print_line([(f"  {name:<{longest}}  ", "dim"), (escape_text(place), "")])

    def _print_finding(self, finding: Finding) -> None:
        self._console.print()
        mark = _MARKS[finding.severity]
        self._print_line(
            [(f"{finding.severity} ", f"bold {mark}"), (f"{finding.rule} ", "bold"), (finding.title, "bold")]
        )
        self._print_prose(finding.message, first=_INDENT)
        if self._verbose:
            self._print_proof(finding)
        if self._verbose or finding.severity is not Severity.NOTE:
            for line in finding.advice:
                self._print_prose(line, first=_INDENT + self._arrow)

    def _print_proof(self, finding: Finding) -> None:
        self._print_prose(finding.cause, first=_INDENT)
        examples = finding.details.get("examples")
        for each in examples if isinstance(examples, list) else ():
            layer = "" if each["layer"] is None else f"layer {each['layer']}"
            about = ", ".join(part for part in (layer, str(each["detail"])) if part)
            self._print_line([(f"{_INDENT}{_INDENT}{each['path']}", "cyan"), (f"  {about}", "dim")])

    def _print_layers(self) -> None:
        rows = list_layers(self._report.image)
        most = len(rows) if self._verbose else _LAYERS
        table = [_HEAD]
        for row in rows[:most]:
            changed = sum(row.changes.get(kind, 0) for kind in _CHANGED)
            table.append(
                (
                    str(row.number),
                    size(row.layer.size),
                    f"{row.changes.get(FactKind.ADDED, 0):,}",
                    f"{changed:,}",
                    f"{row.changes.get(FactKind.DELETED, 0):,}",
                    size(row.wasted) if row.wasted else "",
                    row.layer.created_by,
                )
            )
        widths = [max(map(len, column)) for column in zip(*table, strict=True)][:-1]
        room = max(12, min(self._console.width, 100) - sum(widths) - 2 * len(widths))
        self._console.print()
        for number, cells in enumerate(table):
            figures = "  ".join(cell.rjust(width) for cell, width in zip(cells, widths, strict=False))
            step = cells[-1] if len(cells[-1]) <= room else f"{cells[-1][: room - 1]}…"
            style = "dim" if number == 0 else ""
            self._print_line([(f"{figures}  {step}".rstrip(), style)])
        if len(rows) > most:
            self._print_prose(f"and {plural(len(rows) - most, 'more layer')}; see the reports")

    def _print_prose(self, prose: str, *, first: str = "", style: str = "", blank: bool = False) -> None:
        if blank:
            self._console.print()
        width = max(20, min(self._console.width, 100))
        for number, words in enumerate(fill(prose, width - len(first))):
            margin = " " * len(first) if number else first
            self._print_line(
                [(margin, ""), *((text, f"{style} cyan".strip() if code else style) for code, text in words)]
            )

    def _print_line(self, pieces: Sequence[tuple[str, str]]) -> None:
        from rich.text import Text  # noqa: PLC0415

        self._console.print(Text.assemble(*pieces), soft_wrap=True)


_CHANGED = (FactKind.OVERWRITTEN, FactKind.METADATA_ONLY, FactKind.REPLACED)
