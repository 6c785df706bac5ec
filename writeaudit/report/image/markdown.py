"""An image as Markdown. What the image chose stands in code spans, as in `report.markdown`."""

from __future__ import annotations

from collections.abc import Iterator

from writeaudit.container_image import FactKind
from writeaudit.judgement import Severity
from writeaudit.report.image.view import (
    ImageReport,
    describe_hardening,
    describe_image,
    describe_waste,
    list_image_gaps,
    list_layers,
    sum_up,
)
from writeaudit.report.markdown import LIMIT, escape_cell, escape_code, escape_prose
from writeaudit.report.wording import code_spans
from writeaudit.text import plural, size

_SYMBOLS = {Severity.ERROR: "🔴", Severity.WARNING: "🟡", Severity.NOTE: "⚪"}
_STATUS = {"clean": "🟢", "violations": "🔴", "incomplete": "🟠"}
_FINDINGS, _LAYERS, _EXAMPLES = 30, 60, 10


def render(report: ImageReport) -> Iterator[str]:
    """Yield the report as one Markdown document that a forge takes as one comment."""
    used = 0
    for part in _list_parts(report):
        used += len(part)
        if used > LIMIT - 200:
            yield "\n_The rest is left out for length. The HTML and JSON reports have it._\n"
            return
        yield part


def _as_prose(text: str) -> str:
    return "".join(escape_code(part) if is_code else escape_prose(part) for is_code, part in code_spans(text))


def _list_parts(report: ImageReport) -> Iterator[str]:
    image = report.image
    yield f"### {_STATUS[report.status]} {_as_prose(sum_up(report))}\n\n"
    yield f"{escape_code(image.source)}: {escape_prose(describe_image(image))}\n\n"
    for text in (*report.remarks, *list_image_gaps(report.completeness)):
        yield f"- {_as_prose(text)}\n"
    if report.findings:
        yield f"\n#### {plural(len(report.findings), 'finding')}\n\n"
    for finding in report.findings[:_FINDINGS]:
        symbol = _SYMBOLS[finding.severity]
        yield f"- {symbol} **{finding.rule} {_as_prose(finding.title)}**: {_as_prose(finding.message)}\n"
        for line in finding.advice:
            yield f"  - → {_as_prose(line)}\n"
        examples = finding.details.get("examples")
        if isinstance(examples, list) and len(examples) > 3:
            shown = ", ".join(escape_code(str(each["path"]), 120) for each in examples[:_EXAMPLES])
            yield f"  - for example {shown}\n"
    if len(report.findings) > _FINDINGS:
        yield f"\n_And {len(report.findings) - _FINDINGS} more in the HTML and JSON reports._\n"
    if image.digest:
        yield "\n#### Layers\n\n| layer | stored | added | changed | deleted | hidden | build step |\n"
        yield "| ---: | ---: | ---: | ---: | ---: | ---: | --- |\n"
        for row in list_layers(image)[:_LAYERS]:
            changed = sum(row.changes.get(kind, 0) for kind in _CHANGED)
            step = escape_cell(row.layer.created_by) if row.layer.created_by else ""
            yield (
                f"| {row.number} | {size(row.layer.size)} | {row.changes.get(FactKind.ADDED, 0):,} | "
                f"{changed:,} | "
                f"{row.changes.get(FactKind.DELETED, 0):,} | {size(row.wasted)} | {step} |\n"
            )
    told = [text for text in (describe_waste(image), describe_hardening(image)) if text]
    if told:
        yield "\n" + "\n".join(escape_prose(text) for text in told) + "\n"


_CHANGED = (FactKind.OVERWRITTEN, FactKind.METADATA_ONLY, FactKind.REPLACED)
