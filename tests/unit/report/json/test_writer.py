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

from tests.support import report_samples as samples
from writeaudit.events import Access, Certainty, FsEvent, Op
from writeaudit.judgement import Came, FileSummary, NetEffect, Origin, Reason, Severity, Verdict, ZoneAccess
from writeaudit.report.json import writer
from writeaudit.report.view import Report, Tally, build
from writeaudit.text import escape_path, unescape_path

GOLDEN = Path(__file__).resolve().parents[3] / "golden" / "report.json"


@pytest.fixture(scope="module")
def validator() -> jsonschema.Draft202012Validator:
    schema = json.loads(resources.files("writeaudit.report.json").joinpath("schema.json").read_text("utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def parse(report: Report) -> Any:
    return json.loads("".join(writer.render(report)))


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
    assert set(definitions["file"]["properties"]["net"]["enum"]) == set(NetEffect)
    zones = definitions["policy"]["properties"]["zones"]["items"]["properties"]
    assert set(zones["access"]["enum"]) == set(ZoneAccess)


def test_schema_rejects_a_missing_field(validator: jsonschema.Draft202012Validator) -> None:
    parsed = parse(samples.report())
    del parsed["events"][0]["certainty"]
    assert not validator.is_valid(parsed)


def test_golden() -> None:
    """Field names are a contract. WRITEAUDIT_UPDATE_GOLDEN=1 accepts an intended change."""
    text = "".join(writer.render(samples.report(findings=[samples.link_finding()])))
    if os.environ.get("WRITEAUDIT_UPDATE_GOLDEN"):
        GOLDEN.write_text(text, encoding="utf-8")
    assert text == GOLDEN.read_text(encoding="utf-8")


def test_paths_are_reversible() -> None:
    events = samples.hostile_events()
    parsed = parse(samples.report(events))
    assert [unescape_path(item["path"]) for item in parsed["events"]] == [item.path for item in events]


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


_FIELDS = [
    samples.event(1, Op.OPEN, b"/a", access=Access.WRITE, flags=("creat",), created=True, mode=0),
    samples.event(2, Op.OPEN, b"/a", access=Access.WRITE, flags=("creat",), created=False, mode=0),
    samples.event(3, Op.OPEN, b"/a", access=Access.WRITE, flags=("creat",), created=True, mode=None),
    samples.event(4, Op.OPEN, b"/a", access=None, flags=(), created=True, mode=0o644),
    samples.event(5, Op.WRITE, b"/a", bytes=0, calls=0),
    samples.event(6, Op.WRITE, b"/a", bytes=None, calls=None),
    samples.event(7, Op.WRITE, b"/a", bytes=7, calls=1, pid=5, tid=6),
    samples.event(8, Op.SETXATTR, b"/a", flags=('xattr="a,\u00e9\\\\x0a',)),
    samples.event(9, Op.COPY, b"/a", source=b"/a", source_mount=35, mount=30),
    samples.event(10, Op.COPY, b"/a", source=b"/a", source_mount=30, mount=35),
    samples.event(11, Op.COPY, b"/a", source=b"/b", source_dev=1, source_ino=2),
    samples.event(12, Op.COPY, b"/b", source=b"/a", source_dev=None, source_ino=0, ino=None),
    samples.event(13, Op.COPY, b"/b", source=None, seen_as=b"../b\n"),
    samples.event(14, Op.RENAME, b"/b", source=b"", certainty=Certainty.LEXICAL),
    samples.event(15, Op.RENAME, b"", source=b"/b", certainty=Certainty.KERNEL, dev=None),
    samples.event(16, Op.RENAME, b"/b", source=b"/b", result="EROFS", mount=None),
    samples.event(17, Op.RENAME, samples.VENV + b"/b", source=b"/b", dev=0),
    samples.event(18, Op.UNLINK, b"/b"),
    samples.event(19, Op.UNLINK, b"/b", mount=35),
    samples.event(20, Op.UNLINK, b"/b", dev=1),
    samples.event(21, Op.UNLINK, b"/b", certainty=Certainty.LEXICAL),
    samples.event(22, Op.UNLINK, samples.VENV + b"/b"),
]
"""Neighbours that differ in one field or two."""


def _as_written(event: FsEvent) -> dict[str, Any]:
    """What the JSON report must say of an event, field by field."""

    def shown(raw: bytes | None) -> str | None:
        return None if raw is None else escape_path(raw)

    def device(dev: int | None) -> str | None:
        return None if dev is None else f"{os.major(dev)}:{os.minor(dev)}"

    judged = samples.judge(event)
    return {
        **{name: getattr(event, name) for name in ("seq", "time_ns", "pid", "tid", "created", "mode")},
        **{name: getattr(event, name) for name in ("bytes", "calls", "mount", "source_mount", "ino")},
        **{name: getattr(event, name) for name in ("source_ino", "op", "access", "result", "certainty")},
        **{name: shown(getattr(event, name)) for name in ("path", "source", "seen_as")},
        "flags": list(event.flags),
        "dev": device(event.dev),
        "source_dev": device(event.source_dev),
        "zone": judged.zone,
        "verdict": judged.verdict,
        "reason": judged.reason,
    }


@pytest.mark.parametrize("kept", [None, 1], ids=["remembered", "forgotten at once"])
def test_events_keep_their_fields_apart(kept: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is made into text once is used for no event that differs in any of it."""
    if kept is not None:
        monkeypatch.setattr(writer, "_KEPT_KINDS", kept)
    events = [event._replace(seq=number) for number, event in enumerate(_FIELDS * 2 + _FIELDS[::-1], 1)]
    assert parse(samples.report(events))["events"] == [_as_written(event) for event in events]


@pytest.mark.parametrize("kept", [None, 1], ids=["remembered", "forgotten at once"])
def test_files_keep_their_fields_apart(kept: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    if kept is not None:
        monkeypatch.setattr(writer, "_KEPT_KINDS", kept)
    plain = FileSummary(b"/a", 30, "venv", Verdict.ALLOWED, NetEffect.CREATED, {"open": 1, "write": 2}, 5)
    differing: list[dict[str, Any]] = [
        {},
        {"path": b"/<b>\xff"},
        {"mount": None},
        {"mount": 35},
        {"zone": None},
        {"zone": 'a"b'},
        {"verdict": Verdict.VIOLATION},
        {"net": NetEffect.MODIFIED},
        {"ops": {"write": 2, "open": 1}},
        {"ops": {"open": 2, "write": 1}},
        {"ops": {}},
        {"bytes_written": 0},
        {"directory": True},
        {"origin": Origin(Came.COPIED, 30)},
        {"origin": Origin(Came.COPIED, 35)},
        {"origin": Origin(Came.WRITTEN)},
    ]
    files = [dataclasses.replace(plain, **changed) for changed in (*differing, *reversed(differing))]
    text = "".join(writer.render(dataclasses.replace(samples.report([]), files=files)))
    parsed = json.loads(text)["files"]
    expected = [{**dataclasses.asdict(file), "path": escape_path(file.path)} for file in files]
    for row in expected:
        origin = row.pop("origin") or (None, None)
        row |= {"came": origin[0], "source_mount": origin[1]}
    assert parsed == expected
    assert [list(file["ops"]) for file in parsed] == [list(file.ops) for file in files]


def test_every_byte_and_character_is_escaped_as_it_must_be() -> None:
    names = [b"/%c" % byte for byte in range(256) if byte != 0x2F]
    names += [f"/x{character}".encode() for character in "\x85\u00e9\u2028\u202e\ufeff\U0001f600"]
    events = [
        samples.event(number, Op.RENAME, name, source=name, seen_as=name)
        for number, name in enumerate(names, 1)
    ]
    text = "".join(writer.render(samples.report(events)))
    assert all(character == "\n" or character.isprintable() for character in text)
    for name, item in zip(names, json.loads(text)["events"], strict=True):
        assert item["path"] == item["source"] == item["seen_as"] == escape_path(name)


class _Endless:
    """Many events that exist one at a time only."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __iter__(self) -> Iterator[FsEvent]:
        for seq in range(1, self.count + 1):
            yield samples.event(seq, Op.UNLINK, samples.VENV + b"/%d" % seq)


def test_events_are_streamed() -> None:
    events, tally, bare = _Endless(60_000), Tally(), samples.report([])
    for event in events:
        tally.add_event(event, samples.judge(event))
    report = build(samples.reading(bare, events).audit, bare.policy, (), (), tally)
    pieces = writer.render(report)
    tracemalloc.start()
    try:
        written = sum(len(piece) for piece in pieces)
        _now, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert written > 20_000_000
    assert peak < 16_000_000
