"""The report as SARIF 2.1.0 (OASIS), which code scanning services and editors read.

A result per finding and place. Places are addresses relative to the project where they lie in it.
Fingerprints leave out what differs from run to run in random names, so that the same finding is
recognised again. An incomplete audit is a notification, and ``executionSuccessful`` is false.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from urllib.parse import quote_from_bytes

from writeaudit.judgement import Finding, Severity
from writeaudit.report.folding import fold_path
from writeaudit.report.json.writer import timestamp
from writeaudit.report.view import Report
from writeaudit.report.wording import list_gaps
from writeaudit.rules import RULES, Rule
from writeaudit.text import escape_path, escape_text

VERSION = "2.1.0"
SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
MOST_RESULTS = 25_000
"""As many results of one run are taken by code scanning services."""
PLACES_PER_FINDING = 1_000

LEVELS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.NOTE: "note"}
_PROJECT = "PROJECT"


def render(report: Report) -> Iterator[str]:
    """Yield the report as one SARIF document, as pieces of JSON."""
    results, left_out = _results(report)
    head = json.dumps({"$schema": SCHEMA, "version": VERSION}, ensure_ascii=False)
    yield head[:-1] + ', "runs": [{'
    yield f'"tool": {_dump(describe_tool(report.tool_version))},\n'
    yield f'"invocations": {_dump([_invocation(report, left_out)])},\n'
    yield f'"originalUriBaseIds": {_dump({_PROJECT: {"uri": _directory_uri(report.audit.run.cwd)}})},\n'
    yield f'"automationDetails": {_dump({"id": f"writeaudit/{escape_text(report.policy.name)}/"})},\n'
    yield '"columnKind": "unicodeCodePoints",\n"results": [\n'
    for number, result in enumerate(results):
        yield (",\n" if number else "") + _dump(result)
    yield "\n]}]}\n"


def _dump(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(", ", ": "))


def describe_tool(version: str) -> dict[str, object]:
    """Return who speaks, with all rules."""
    return {
        "driver": {
            "name": "writeaudit",
            "version": version,
            "semanticVersion": version,
            "rules": [_rule(rule) for rule in RULES],
        }
    }


def _rule(rule: Rule) -> dict[str, object]:
    name = "".join(word.capitalize() for word in re.findall(r"[A-Za-z0-9]+", rule.title))
    return {
        "id": rule.id,
        "name": name,
        "shortDescription": {"text": rule.title[:1].upper() + rule.title[1:]},
        "fullDescription": {"text": rule.summary},
        "help": {"text": f"{rule.summary} `writeaudit explain {rule.id}` has cause, example and remedy."},
        "defaultConfiguration": {"level": LEVELS[rule.severity]},
        "properties": {"tags": ["files", rule.id[:3] + "xx"]},
    }


def _invocation(report: Report, left_out: int) -> dict[str, object]:
    run = report.audit.run
    notes = [
        describe_notification("incomplete", "error", gap) for gap in list_gaps(report.audit.completeness)
    ]
    notes += [
        describe_notification(
            f"blind-spot/{escape_text(spot.kind)}",
            "warning" if spot.incomplete else "note",
            escape_text(spot.message),
        )
        for spot in report.audit.completeness.blind_spots
    ]
    if left_out:
        notes.append(
            describe_notification(
                "cut",
                "warning",
                f"{left_out:,} results of lower severity are left out; the JSON report has them all.",
            )
        )
    invocation: dict[str, object] = {
        "commandLine": " ".join(escape_path(word) for word in run.command),
        "arguments": [escape_path(word) for word in run.command[1:]],
        "startTimeUtc": timestamp(run.started),
        "endTimeUtc": timestamp(run.started + run.duration_s),
        "workingDirectory": {"uri": _directory_uri(run.cwd)},
        "executionSuccessful": report.audit.completeness.complete,
        "toolExecutionNotifications": notes,
        "properties": {
            "backend": run.backend.name,
            "kernel": escape_text(run.kernel),
            "status": str(report.status),
        },
    }
    if run.exit_status is not None:
        invocation["exitCode"] = run.exit_status
    if run.signal is not None:
        invocation["exitSignalNumber"] = run.signal
    return invocation


def describe_notification(identity: str, level: str, text: str) -> dict[str, object]:
    """Return a message about the audit itself."""
    return {"descriptor": {"id": identity}, "level": level, "message": {"text": text}}


def _results(report: Report) -> tuple[list[dict[str, object]], int]:
    """Return the results, the worst findings first, and how many are left out."""
    results: list[dict[str, object]] = []
    left_out = 0
    numbers = {rule.id: number for number, rule in enumerate(RULES)}
    paths = _paths_of_evidence(report)
    for finding in report.findings:
        places = _places(finding, paths)
        room = MOST_RESULTS - len(results)
        left_out += max(0, len(places) - room)
        results.extend(_result(report, finding, place, numbers) for place in places[:room])
    return results, left_out


def _paths_of_evidence(report: Report) -> Mapping[int, bytes]:
    wanted = {seq for finding in report.findings for seq in finding.evidence}
    return {seq: event.path for seq, (event, _judged) in report.find(wanted).items()}


def _places(finding: Finding, paths: Mapping[int, bytes]) -> list[bytes | None]:
    """Return each place that a finding names, once; one of None if it names none."""
    found: dict[bytes | None, None] = dict.fromkeys(paths[seq] for seq in finding.evidence if seq in paths)
    return list(found)[:PLACES_PER_FINDING] or [None]


def _result(
    report: Report, finding: Finding, place: bytes | None, numbers: Mapping[str, int]
) -> dict[str, object]:
    advice = "".join(f"\n→ {line}" for line in finding.advice)
    result: dict[str, object] = {
        "ruleId": finding.rule,
        "level": LEVELS[finding.severity],
        "kind": "fail",
        "message": {"text": f"{finding.message}{advice}"},
        "partialFingerprints": {"place/v1": fingerprint(finding.rule, place, report.audit.run.cwd)},
        "properties": {
            "count": finding.count,
            "files": finding.files,
            "bytes": finding.bytes,
        },
    }
    if finding.rule in numbers:
        result["ruleIndex"] = numbers[finding.rule]
    if place is not None:
        result["locations"] = [
            {"physicalLocation": {"artifactLocation": _location(place, report.audit.run.cwd)}}
        ]
    return result


def fingerprint(rule: str, place: bytes | None, project: bytes) -> str:
    """Return what tells a result from others, and is the same in the next run of the same thing.

    Random and counted parts of names (``.tmpAb3xQ9``, ``pip-unpack-x1y2z3a4``, process ids) do not count.
    """
    shown = "" if place is None else escape_path(_relative(place, project) or place)
    return hashlib.sha256(f"{rule}\0{fold_path(shown)}".encode()).hexdigest()[:32]


def _relative(place: bytes, project: bytes) -> bytes | None:
    below = project.rstrip(b"/") + b"/"
    return place[len(below) :] if place.startswith(below) and len(place) > len(below) else None


def _location(place: bytes, project: bytes) -> dict[str, object]:
    relative = _relative(place, project)
    if relative is not None:
        return {"uri": quote_from_bytes(relative, safe="/"), "uriBaseId": _PROJECT}
    return {"uri": "file://" + quote_from_bytes(place, safe="/")}


def _directory_uri(path: bytes) -> str:
    return "file://" + quote_from_bytes(path.rstrip(b"/") + b"/", safe="/")
