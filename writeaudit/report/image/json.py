"""An image as JSON: the document of a run (docs/report.md); ``run`` and ``policy`` are null."""

from __future__ import annotations

import json
from collections.abc import Iterator

from writeaudit.container_image import Fact, Image
from writeaudit.judgement import Verdict
from writeaudit.report.batches import batches
from writeaudit.report.image.view import ImageReport
from writeaudit.report.json.writer import (
    SCHEMA_VERSION,
    describe_completeness,
    describe_finding,
)
from writeaudit.text import escape_path


def _dump(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(", ", ": "))


def render(report: ImageReport) -> Iterator[str]:
    """Yield the report as pieces of one JSON document."""
    yield "{\n"
    yield f'"schema_version": "{SCHEMA_VERSION}",\n'
    yield f'"tool": {_dump({"name": "writeaudit", "version": report.tool_version})},\n'
    yield '"run": null,\n'
    yield f'"summary": {_dump(_describe_summary(report))},\n'
    yield f'"completeness": {_dump(describe_completeness(report.completeness))},\n'
    yield '"policy": null,\n'
    yield '"findings": [\n'
    yield ",\n".join(_dump(describe_finding(finding)) for finding in report.findings)
    yield "],\n"
    yield '"image": {'
    yield _dump(describe_image(report.image, report.remarks))[1:-1]
    yield ',\n"facts": ['
    for number, batch in enumerate(batches(map(_describe_fact, report.image.facts))):
        yield batch if number else "\n" + batch
    yield "]},\n"
    yield ",\n".join(f'"{name}": []' for name in _OF_RUNS)
    yield "\n}\n"


_OF_RUNS = ("binaries", "links", "mounts", "frames", "processes", "files", "events")


def _describe_summary(report: ImageReport) -> dict[str, object]:
    return {
        "status": report.status,
        "outcome": {"failed": False, "likely_cause": None, "explanation": None, "pid": None},
        "verdicts": dict.fromkeys(Verdict, 0),
        "zones": {},
        "severities": dict(report.severities),
        "events": 0,
        "files": report.image.files,
        "fail_on": list(report.fail_on),
        "failing": sorted({finding.rule for finding in report.failing}),
    }


def describe_image(image: Image, remarks: tuple[str, ...]) -> dict[str, object]:
    """Return all but the facts."""
    return {
        "source": image.source,
        "kind": image.kind,
        "digest": image.digest or None,
        "platform": image.platform or None,
        "user": image.user,
        "env": list(image.env),
        "command": list(image.command),
        "working_dir": image.working_dir,
        "layers": [
            {
                "digest": layer.digest or None,
                "size": layer.size,
                "created_by": layer.created_by,
                "step": layer.step,
                "media_type": layer.media_type or None,
                "entries": layer.entries,
                "content_bytes": layer.content,
                "damaged": layer.damaged or None,
            }
            for layer in image.layers
        ],
        "history": [{"created_by": step.created_by, "layer": step.layer} for step in image.steps],
        "files": image.files,
        "directories": image.directories,
        "content_bytes": image.content,
        "wasted_bytes": {"hidden": image.waste.hidden, "repeated": image.waste.repeated},
        "hardening": {str(kind): count for kind, count in sorted(image.hardening.items())},
        "remarks": list(remarks),
    }


def _describe_fact(fact: Fact) -> str:
    return _dump(
        {
            "kind": str(fact.kind),
            "path": None if fact.path is None else escape_path(fact.path),
            "layer": fact.layer,
            "detail": fact.detail,
            "bytes": fact.bytes,
        }
    )
