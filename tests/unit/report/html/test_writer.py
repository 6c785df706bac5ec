from __future__ import annotations

import base64
import dataclasses
import hashlib
import re
import tracemalloc
from collections.abc import Sequence
from functools import cached_property
from html.parser import HTMLParser
from typing import overload

import pytest

from tests.support import report_samples as samples
from tests.support.unpacked import UnpackedEvent, UnpackedFile, unpack
from writeaudit.events import Access, Certainty, Op
from writeaudit.judgement import FileSummary, Finding, NetEffect, Severity, Verdict
from writeaudit.report.html import writer
from writeaudit.report.html.pack import describe_shape, ranked_files
from writeaudit.report.view import Report
from writeaudit.text import escape_path

VOID = {"meta", "input", "br", "wbr", "img", "link"}


class Page(HTMLParser):
    """What a browser would see: elements with their attributes, and the text of each."""

    def __init__(self, report: Report) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
        self._stack: list[str] = []
        self.source = "".join(writer.render(report))
        self.feed(self.source)
        self.close()
        assert not self._stack, f"left open: {self._stack}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._stack.append(tag)
            self.texts.setdefault(tag, []).append("")

    def handle_endtag(self, tag: str) -> None:
        assert self._stack.pop() == tag

    def handle_data(self, data: str) -> None:
        for tag in set(self._stack):
            self.texts[tag][-1] += data

    @property
    def files(self) -> list[UnpackedFile]:
        return self.unpacked[0]

    @property
    def events(self) -> list[UnpackedEvent]:
        return self.unpacked[1]

    @cached_property
    def unpacked(self) -> tuple[list[UnpackedFile], list[UnpackedEvent]]:
        return unpack(*self.texts["script"][:2])

    @property
    def body(self) -> str:
        return "".join(self.texts["main"])

    @property
    def policy(self) -> str:
        return next(a["content"] or "" for t, a in self.elements if a.get("http-equiv"))


def hostile() -> Report:
    events = samples.hostile_events()
    findings = [
        Finding(
            "WA202",
            "<i>title</i>",
            Severity.ERROR,
            f"wrote {escape_path(item.path)}",
            1,
            evidence=(item.seq,),
            cause=escape_path(item.path),
            advice=(escape_path(item.path),),
            details={
                "place": escape_path(item.path),
                "source_mount": {"mountpoint": escape_path(item.path), "dev": "0:1"},
                "target_mount": {},
                "examples": [
                    escape_path(item.path),
                    {"path": escape_path(item.path), "source": escape_path(item.path)},
                ],
            },
        )
        for item in events
    ]
    return samples.report(events, findings=findings)


def test_no_name_becomes_markup() -> None:
    harmless, page = Page(samples.report()), Page(hostile())
    assert {tag for tag, _attrs in page.elements} <= {tag for tag, _attrs in harmless.elements} | {
        "article", "div", "header", "h3", "h4", "li", "ol", "table", "bdi", "a", "p", "dl", "dt", "dd",
        "span", "button", "pre", "svg", "g", "rect", "text", "title", "path", "section", "summary", "details",
    }  # fmt: skip
    assert [tag for tag, _attrs in page.elements].count("script") == 3
    assert not any(tag in {"img", "i"} and "src" in attrs for tag, attrs in page.elements)
    for _tag, attrs in page.elements:
        assert not any(name.startswith("on") or name in {"style", "src"} for name in attrs)


def test_every_hostile_name_can_be_read() -> None:
    page = Page(hostile())
    for name in samples.HOSTILE:
        assert escape_path(b"/srv/" + name) in page.body
    assert sorted(file.path for file in page.files) == sorted(
        escape_path(b"/srv/" + name) for name in samples.HOSTILE
    )


def test_data_block_is_plain_ascii_without_markup() -> None:
    block = Page(hostile()).texts["script"][0]
    assert block.isascii()
    assert not set("<>&") & set(block)


def test_policy_names_the_hashes_of_style_and_script() -> None:
    page = Page(hostile())
    for tag, text in (("style", page.texts["style"][0]), ("script", page.texts["script"][2])):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in page.policy
    assert page.policy.startswith("default-src 'none'; ")
    assert "base-uri 'none'" in page.policy
    assert "form-action 'none'" in page.policy
    assert "unsafe" not in page.policy


def test_page_refers_to_nothing_outside() -> None:
    page = Page(samples.report(findings=[samples.link_finding()]))
    for _tag, attrs in page.elements:
        assert (attrs.get("href") or "#").startswith("#")
    assert not re.search(r"https?://|@import|url\((?!#)", page.source)


def test_ids_are_unique_and_links_lead_somewhere() -> None:
    page = Page(samples.report(findings=[samples.link_finding()]))
    ids = [attrs["id"] for _tag, attrs in page.elements if "id" in attrs]
    assert len(ids) == len(set(ids))
    seqs = {event.seq for event in page.events}
    for _tag, attrs in page.elements:
        target = (attrs.get("href") or "")[1:]
        if event := re.fullmatch(r"event-(\d+)", target):
            assert int(event[1]) in seqs
        elif target:
            assert target in ids


@pytest.mark.parametrize("complete", [True, False])
def test_first_words_are_the_verdict(complete: bool) -> None:
    page = Page(samples.report(completeness=None if complete else samples.INCOMPLETE))
    first = page.texts["h1"][0]
    assert first.startswith("Clean:" if complete else "Incomplete:")
    if not complete:
        assert "cannot be called clean" in first


def test_link_fallback_shows_both_mounts_without_script() -> None:
    body = Page(samples.report(findings=[samples.link_finding()])).body
    for expected in ("/dev/shm", "tmpfs", "0:25", "ext4", "254:1", "/srv/<from>", "2.0 KiB", "1234, 5678"):
        assert expected in body


def test_every_event_and_every_path_is_there() -> None:
    events = [*samples.install_events(30, 30), *samples.hostile_events(5000)]
    report = samples.report(events)
    page = Page(report)
    assert [file.path for file in page.files] == [escape_path(file.path) for file in report.files]
    for file, unpacked in zip(report.files, page.files, strict=True):
        assert unpacked[1:] == (
            file.zone, file.verdict.value, file.net.value, file.mount, dict(file.ops), file.bytes_written,
        )  # fmt: skip
    for (event, judged), got in zip(report.judged_events(), page.events, strict=True):
        assert (got.seq, got.pid, got.path) == (event.seq, event.pid, escape_path(event.path))
        assert got.micros == event.time_ns // 1000
        assert (got.op, got.result, got.verdict) == (event.op, event.result, judged.verdict)
        assert got.source == (None if event.source is None else escape_path(event.source))
        assert (got.bytes, got.calls) == (event.bytes, event.calls)
        assert got.shape == describe_shape(event)


def test_numbers_beyond_32_bits_stay_what_they_are() -> None:
    event = samples.event(1, Op.WRITE, samples.VENV + b"/x", bytes=1 << 40, calls=3, time_ns=1 << 50)
    files = [FileSummary(event.path, 30, "venv", Verdict.ALLOWED, NetEffect.MODIFIED, {"write": 1}, 1 << 45)]
    page = Page(dataclasses.replace(samples.report([event]), files=files))
    assert (page.events[0].bytes, page.events[0].calls) == (1 << 40, 3)
    assert page.files[0].bytes == 1 << 45


def test_every_byte_is_escaped_as_it_must_be() -> None:
    names = [b"/%c/%c" % (byte, byte) for byte in range(256) if byte != 0x2F]
    names += [f"/x{character}/y{character}".encode() for character in "\x85\u00e9\u2028\u202e\U0001f600"]
    events = [
        samples.event(number, Op.SYMLINK, name, source=name, seen_as=name)
        for number, name in enumerate(names, 1)
    ]
    page = Page(samples.report(events))
    for block in page.texts["script"][:2]:
        assert all(char == "\n" or (char.isascii() and char.isprintable()) for char in block)
        assert not set("<>&") & set(block)
    for name, event in zip(names, page.events, strict=True):
        assert event.path == event.source == event.seen_as == escape_path(name)


def test_events_that_differ_in_one_field_are_told_apart() -> None:
    base = samples.event(
        1, Op.OPEN, samples.VENV + b"/a", access=Access.WRITE, flags=("creat",), created=True
    )
    variants: list[dict[str, object]] = [
        {},
        {"mode": 0},
        {"mode": 0o755},
        {"created": False},
        {"flags": ()},
        {"access": Access.READ_WRITE},
        {"result": "EROFS"},
        {"result": "EEXIST"},
        {"certainty": Certainty.LEXICAL},
        {"op": Op.TRUNCATE},
        {"path": b"/etc/a"},
    ]
    events = [
        base._replace(seq=seq, **fields)  # type: ignore[arg-type]  # the fields' types are FsEvent's
        for seq, fields in enumerate((*variants, *reversed(variants)), 1)
    ]
    for event, row in zip(events, Page(samples.report(events)).events, strict=True):
        assert row.op == event.op
        assert row.result == event.result
        assert row.verdict == samples.judge(event).verdict
        assert row.shape == describe_shape(event)


class _MadeWhenAsked(Sequence[FileSummary]):
    """Very many files, none of which exists before it is asked for."""

    def __len__(self) -> int:
        return 60_000

    @overload
    def __getitem__(self, index: int) -> FileSummary: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[FileSummary]: ...
    def __getitem__(self, index: int | slice) -> FileSummary | Sequence[FileSummary]:
        assert isinstance(index, int), "a slice would hold them all"
        if index >= len(self):
            raise IndexError
        verdict = Verdict.VIOLATION if index % 1000 == 999 else Verdict.ALLOWED
        return FileSummary(
            b"/srv/%06d" % index + b"x" * 100, 30, None, verdict, NetEffect.CREATED, {"open": 1}, 1
        )


def test_very_many_paths_are_not_kept() -> None:
    report = dataclasses.replace(samples.report([]), files=_MadeWhenAsked())
    tracemalloc.start()
    try:
        text = "".join(writer.render(report))
        _now, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(text) < 600_000, "60,000 paths of 117 bytes"
    assert peak < 32_000_000


def test_worst_paths_come_first() -> None:
    report = samples.report(samples.install_events() + samples.hostile_events(100))
    ranks = [file.verdict for file in ranked_files(report)]
    assert ranks == sorted(ranks, key=[*Verdict].index) or ranks[0] is Verdict.VIOLATION
    assert ranks[0] is Verdict.VIOLATION


def test_right_to_left_components_are_isolated_one_by_one() -> None:
    shown = writer.path("/srv/מסמך/קובץ".encode())
    assert '<bdi dir="ltr">מסמך</bdi>/' in shown
    assert '<bdi dir="ltr">קובץ</bdi>' in shown


def test_escapes_are_set_apart() -> None:
    assert writer.escapes(r"a\x1b\x0a\\<") == (
        'a<span class="esc">\\x1b\\x0a</span><span class="esc">\\\\</span>&lt;'
    )
