"""An image as SARIF 2.1.0: a result for each finding and path; paths are relative to the image's root."""

from __future__ import annotations

import json
from collections.abc import Iterator
from urllib.parse import quote_from_bytes

from writeaudit.judgement import Finding
from writeaudit.report.image.view import ImageReport, list_image_gaps
from writeaudit.report.sarif import (
    LEVELS,
    MOST_RESULTS,
    SCHEMA,
    VERSION,
    describe_notification,
    describe_tool,
    fingerprint,
)
from writeaudit.rules import RULES
from writeaudit.text import unescape_path

_ROOT = "IMAGE"


def render(report: ImageReport) -> Iterator[str]:
    """Yield the report as one SARIF document."""
    results = [result for finding in report.findings for result in _list_results(finding)]
    notes = [
        describe_notification("incomplete", "error", gap) for gap in list_image_gaps(report.completeness)
    ]
    if len(results) > MOST_RESULTS:
        text = f"{len(results) - MOST_RESULTS:,} results of lower severity are left out."
        notes.append(describe_notification("cut", "warning", text))
    run = {
        "tool": describe_tool(report.tool_version),
        "invocations": [
            {
                "executionSuccessful": report.completeness.complete,
                "toolExecutionNotifications": notes,
                "properties": {"image": report.image.source, "status": report.status},
            }
        ],
        "originalUriBaseIds": {_ROOT: {"description": {"text": "the root directory of the image"}}},
        "automationDetails": {"id": "writeaudit/image/"},
        "columnKind": "unicodeCodePoints",
        "results": results[:MOST_RESULTS],
    }
    yield json.dumps({"$schema": SCHEMA, "version": VERSION, "runs": [run]}, ensure_ascii=False)
    yield "\n"


def _list_results(finding: Finding) -> Iterator[dict[str, object]]:
    examples = finding.details.get("examples")
    paths: list[bytes | None] = [None]
    if isinstance(examples, list) and examples:
        paths = list(dict.fromkeys(unescape_path(str(each["path"])) for each in examples))
    advice = "".join(f"\n→ {line}" for line in finding.advice)
    numbers = {rule.id: number for number, rule in enumerate(RULES)}
    for path in paths:
        result: dict[str, object] = {
            "ruleId": finding.rule,
            "ruleIndex": numbers[finding.rule],
            "level": LEVELS[finding.severity],
            "kind": "fail",
            "message": {"text": f"{finding.message}{advice}"},
            "partialFingerprints": {"place/v1": fingerprint(finding.rule + finding.title, path, b"/")},
            "properties": {"count": finding.count, "files": finding.files, "bytes": finding.bytes},
        }
        if path is not None:
            place = {"uri": quote_from_bytes(path.lstrip(b"/"), safe="/") or ".", "uriBaseId": _ROOT}
            result["locations"] = [{"physicalLocation": {"artifactLocation": place}}]
        yield result
