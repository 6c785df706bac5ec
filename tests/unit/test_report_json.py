from __future__ import annotations

import dataclasses
import json
import os
import tracemalloc
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tests.unit import report_samples as samples
from writeaudit.events import Access, FsEvent, Op
from writeaudit.judgement import Net, Reason, Severity, Verdict, ZoneAccess
from writeaudit.report import jsonreport
from writeaudit.report.view import Report
from writeaudit.text import unshow

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "report.json"


@pytest.fixture(scope="module")
def validator() -> jsonschema.Draft202012Validator:
    schema = json.loads(resources.files("writeaudit.report").joinpath("schema.json").read_text("utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def parse(report: Report) -> Any:
    return json.loads("".join(jsonreport.render(report)))


@pytest.mark.parametrize(
    "report",
    [
        samples.report(findings=[samples.link_finding()]),
        samples.report(samples.hostile_events()),
        samples.report([]),
        samples.report(completeness=samples.INCOMPLETE, exit_status=None, signal=9),
        samples.report([samples.event(1, Op.CHROOT, b"/", mount=None, dev=None, ino=None)]),
    ],
    ids=["install", "hostile", "empty", "incomplete", "unknown"],
)
def test_report_matches_schema(report: Report, validator: jsonschema.Draft202012Validator) -> None:
    validator.validate(parse(report))


def test_schema_knows_the_whole_vocabulary(validator: jsonschema.Draft202012Validator) -> None:
    schema: Any = validator.schema
    definitions = schema["$defs"]
    event = definitions["event"]["properties"]
    assert set(definitions["op"]["enum"]) == set(Op)
    assert set(definitions["verdict"]["enum"]) == set(Verdict)
    assert set(definitions["severity"]["enum"]) == set(Severity)
    assert set(event["access"]["enum"]) == {*Access, None}
    assert set(event["reason"]["enum"]) == set(Reason)
    assert set(definitions["file"]["properties"]["net"]["enum"]) == set(Net)
    zones = definitions["policy"]["properties"]["zones"]["items"]["properties"]
    assert set(zones["access"]["enum"]) == set(ZoneAccess)


def test_schema_rejects_a_missing_field(validator: jsonschema.Draft202012Validator) -> None:
    parsed = parse(samples.report())
    del parsed["events"][0]["certainty"]
    assert not validator.is_valid(parsed)


def test_golden() -> None:
    """Field names are a contract. WRITEAUDIT_UPDATE_GOLDEN=1 accepts an intended change."""
    text = "".join(jsonreport.render(samples.report(findings=[samples.link_finding()])))
    if os.environ.get("WRITEAUDIT_UPDATE_GOLDEN"):
        GOLDEN.write_text(text, encoding="utf-8")
    assert text == GOLDEN.read_text(encoding="utf-8")


def test_paths_are_reversible() -> None:
    events = samples.hostile_events()
    parsed = parse(samples.report(events))
    assert [unshow(item["path"]) for item in parsed["events"]] == [item.path for item in events]


def test_summary_counts_what_is_there() -> None:
    parsed = parse(samples.report(samples.install_events() + samples.hostile_events(100)))
    summary = parsed["summary"]
    assert summary["status"] == "violations"
    assert summary["verdicts"]["violation"] == len(samples.HOSTILE)
    assert sum(summary["verdicts"].values()) == len(parsed["events"]) == summary["events"]
    assert summary["zones"]["outside"]["violation"] == len(samples.HOSTILE)
    by_mount = {mount["id"]: sum(mount["ops"].values()) for mount in parsed["mounts"]}
    assert sum(by_mount.values()) == len(parsed["events"])


def test_incomplete_is_never_clean() -> None:
    parsed = parse(samples.report(completeness=samples.INCOMPLETE))
    assert parsed["summary"]["status"] == "incomplete"
    assert parsed["completeness"]["complete"] is False
    assert parsed["completeness"]["blind_spots"][0]["kind"] == "io_uring"


def test_unknown_is_null() -> None:
    bare = FsEvent(1, 5, 1, 1, Op.UNLINK, b"/x")
    parsed = parse(samples.report([bare]))["events"][0]
    for name in ("source", "access", "mode", "bytes", "calls", "mount", "dev", "ino", "seen_as", "zone"):
        assert parsed[name] is None, name


class _Endless:
    """Many events that exist one at a time only."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __iter__(self) -> Iterator[FsEvent]:
        for seq in range(1, self.count + 1):
            yield samples.event(seq, Op.UNLINK, samples.VENV + b"/%d" % seq)


def test_events_are_streamed() -> None:
    report = samples.report([])
    audit = dataclasses.replace(report.audit, events=_Endless(60_000), event_count=60_000)
    pieces = jsonreport.render(dataclasses.replace(report, audit=audit))
    tracemalloc.start()
    try:
        written = sum(len(piece) for piece in pieces)
        _now, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert written > 20_000_000
    assert peak < 16_000_000
