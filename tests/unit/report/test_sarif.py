"""The SARIF report: its form, its places, and fingerprints that survive random names."""

from __future__ import annotations

import json
from typing import Any

from sarif_pydantic import Sarif

from tests.support import report_samples as samples
from writeaudit.judgement import Finding, Severity
from writeaudit.report import sarif
from writeaudit.rules import RULES


def _document(**fields: object) -> dict[str, Any]:
    document = json.loads("".join(sarif.render(samples.report(**fields))))  # type: ignore[arg-type]
    Sarif.model_validate(document)
    run: dict[str, Any] = document["runs"][0]
    return run


def _outside(*seqs: int, severity: Severity = Severity.ERROR) -> Finding:
    return Finding("WA202", "write outside every zone", severity, "wrote", len(seqs), evidence=seqs)


def test_result_for_each_finding_and_place() -> None:
    events = samples.hostile_events()
    run = _document(events=events, findings=[_outside(1, 2, 2, 3), samples.link_finding()])
    assert [result["ruleId"] for result in run["results"]] == ["WA202", "WA202", "WA202", "WA101", "WA101"]
    first = run["results"][0]
    assert first["level"] == "error"
    assert RULES[first["ruleIndex"]].id == "WA202"
    uri = first["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
    assert uri == "file:///srv/%3C/script%3E%3Cscript%3Ealert%281%29%3C/script%3E"


def test_places_in_the_project_are_relative_to_it() -> None:
    run = _document(findings=[_outside(1)])
    place = run["results"][0]["locations"][0]["physicalLocation"]["artifactLocation"]
    assert place == {"uri": ".venv/p0/f0.py", "uriBaseId": "PROJECT"}
    assert run["originalUriBaseIds"]["PROJECT"]["uri"] == "file:///home/ada/src/"


def test_incomplete_audit_is_no_success() -> None:
    (invocation,) = _document(completeness=samples.INCOMPLETE)["invocations"]
    assert invocation["executionSuccessful"] is False
    texts = [note["message"]["text"] for note in invocation["toolExecutionNotifications"]]
    assert "12 of 20 events were lost" in texts
    (invocation,) = _document()["invocations"]
    assert invocation["executionSuccessful"] is True
    assert invocation["exitCode"] == 0


def test_fingerprints_survive_random_names() -> None:
    def of(name: bytes) -> str:
        return sarif.fingerprint("WA202", b"/p/" + name, b"/p")

    assert of(b"a/.tmpAb3xQ9/x") == of(b"a/.tmpZz81Kd/x")
    assert of(b"pip-unpack-0a1b2c3d/x") == of(b"pip-unpack-9f8e7d6c/x")
    assert of(b"lock.1234") == of(b"lock.99")
    assert of(b"a/x") != of(b"b/x")
    assert of(b"a/x") != sarif.fingerprint("WA201", b"/p/a/x", b"/p")


def test_most_severe_results_are_kept(monkeypatch: Any) -> None:
    monkeypatch.setattr(sarif, "MOST_RESULTS", 2)
    findings = [_outside(4, 5, severity=Severity.NOTE), _outside(1, 2, 3)]
    run = _document(events=samples.hostile_events(), findings=findings)
    assert [result["level"] for result in run["results"]] == ["error", "error"]
    notes = run["invocations"][0]["toolExecutionNotifications"]
    assert any("3 results of lower severity are left out" in note["message"]["text"] for note in notes)


def test_finding_without_a_place_is_a_result_too() -> None:
    run = _document(findings=[Finding("WA901", "events lost", Severity.WARNING, "lost", 1)])
    assert "locations" not in run["results"][0]
