from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import re
import tracemalloc
from collections.abc import Iterator, Sequence
from html.parser import HTMLParser
from typing import Any, overload

import pytest

from tests.unit import report_samples as samples
from writeaudit.audit import Process
from writeaudit.events import Access, Certainty, FsEvent, Op
from writeaudit.judgement import FileSummary, Finding, Net, Severity, Verdict
from writeaudit.report import html
from writeaudit.report.htmldata import Embedded, Limits, data, ranked, shape
from writeaudit.report.htmlpage import process_tree
from writeaudit.report.view import Report, only_looked
from writeaudit.text import show

VOID = {"meta", "input", "br", "wbr", "img", "link"}


class Page(HTMLParser):
    """What a browser would see: elements with their attributes, and the text of each."""

    def __init__(self, report: Report, limits: Limits | None = None) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
        self._stack: list[str] = []
        self.source = "".join(html.render(report, limits))
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
    def data(self) -> Any:
        return json.loads(self.texts["script"][0])

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
            f"wrote {show(item.path)}",
            1,
            evidence=(item.seq,),
            cause=show(item.path),
            advice=(show(item.path),),
            details={
                "place": show(item.path),
                "source_mount": {"mountpoint": show(item.path), "dev": "0:1"},
                "target_mount": {},
                "examples": [show(item.path), {"path": show(item.path), "source": show(item.path)}],
            },
        )
        for item in events
    ]
    return samples.report(events, findings=findings)


def test_no_name_becomes_markup() -> None:
    harmless, page = Page(samples.report()), Page(hostile())
    assert {tag for tag, _attrs in page.elements} <= {tag for tag, _attrs in harmless.elements} | {
        "article", "div", "header", "h3", "h4", "li", "table", "bdi", "a", "p", "dl", "dt", "dd", "span",
    }  # fmt: skip
    assert [tag for tag, _attrs in page.elements].count("script") == 2
    assert not any(tag in {"img", "i"} and "src" in attrs for tag, attrs in page.elements)
    for _tag, attrs in page.elements:
        assert not any(name.startswith("on") or name in {"style", "src"} for name in attrs)


def test_every_hostile_name_can_be_read() -> None:
    page = Page(hostile())
    for name in samples.HOSTILE:
        assert show(b"/srv/" + name) in page.body
    listed = [page.data["dirs"][row[0]] + row[1] for row in page.data["files"]]
    assert sorted(listed) == sorted(show(b"/srv/" + name) for name in samples.HOSTILE)


def test_data_block_is_plain_ascii_without_markup() -> None:
    block = Page(hostile()).texts["script"][0]
    assert block.isascii()
    assert not set("<>&") & set(block)


def test_policy_names_the_hashes_of_style_and_script() -> None:
    page = Page(hostile())
    for tag, text in (("style", page.texts["style"][0]), ("script", page.texts["script"][1])):
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
    assert not re.search(r"https?://|@import|url\(", page.source)


def test_ids_are_unique_and_links_lead_somewhere() -> None:
    page = Page(samples.report(findings=[samples.link_finding()]))
    ids = [attrs["id"] for _tag, attrs in page.elements if "id" in attrs]
    assert len(ids) == len(set(ids))
    seqs = {row[0] for row in page.data["events"]}
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


def test_reads_are_counted_and_not_listed() -> None:
    page = Page(samples.report())
    reads = sum(1 for event in samples.install_events() if event.access == "r")
    assert len(page.data["events"]) == len(samples.install_events()) - reads
    assert f"{reads} opens for reading only are counted" in page.data["embedded"]


def test_what_is_left_out_is_said_and_evidence_stays() -> None:
    report = samples.report(findings=[samples.link_finding()])
    page = Page(report, Limits(files=200, events=3))
    assert "Left out of this page" in page.data["embedded"]
    assert {1, 11} <= {row[0] for row in page.data["events"]}
    few = Page(report, Limits(files=4, events=100))
    assert len(few.data["files"]) == 4
    assert f"{len(report.files) - 4} paths" in few.data["embedded"]


@pytest.mark.parametrize("limit", [0, 1, 3, 7, 1000])
@pytest.mark.parametrize("files", [0, 4, 1000])
@pytest.mark.parametrize("evidence", [(), (1, 2), (2, 13, 14), (999,)], ids=str)
def test_counts_of_what_is_left_out_add_up(limit: int, files: int, evidence: tuple[int, ...]) -> None:
    """Reading stops early where nothing more can be listed; the counts are of all events nevertheless."""
    events = samples.install_events()
    finding = dataclasses.replace(samples.link_finding(), evidence=evidence)
    report = samples.report(events, findings=[finding] if evidence else [])
    embedded = Embedded()
    text = "".join(data(report, embedded, Limits(files=files, events=limit)))
    listed = {(file.path, file.mount) for file in list(ranked(report))[:files]}
    rows: list[int] = []
    reads = left_out = 0
    for event, judged in report.judged_events():
        if event.seq not in evidence and only_looked(event, judged):
            reads += 1
        elif (event.path, event.mount) in listed and (event.seq in evidence or len(rows) < limit):
            rows.append(event.seq)
        else:
            left_out += 1
    assert [row[0] for row in json.loads(text)["events"]] == rows
    assert (embedded.events, embedded.events_added_up, embedded.events_left_out) == (
        len(rows),
        reads,
        left_out,
    )
    assert embedded.files + embedded.files_left_out == len(report.files)


class _Unread:
    """Events that fail when they are read beyond one of them."""

    def __init__(self, events: Sequence[FsEvent], last: int) -> None:
        self.events, self.last = events, last

    def __iter__(self) -> Iterator[FsEvent]:
        for event in self.events:
            assert event.seq <= self.last, "read in vain"
            yield event


def test_events_are_not_read_in_vain() -> None:
    events = samples.install_events(20, 20)
    for evidence, last in (((), 6), ((1, 30), 31)):
        finding = dataclasses.replace(samples.link_finding(), evidence=evidence)
        report = samples.report(events, findings=[finding] if evidence else [])
        page = Page(samples.reading(report, _Unread(events, last)), Limits(events=3))
        assert len(page.data["events"]) == 3 + (30 in evidence)


def test_every_byte_is_escaped_as_it_must_be() -> None:
    names = [b"/%c/%c" % (byte, byte) for byte in range(256) if byte != 0x2F]
    names += [f"/x{character}/y{character}".encode() for character in "\x85\u00e9\u2028\u202e\U0001f600"]
    events = [
        samples.event(number, Op.SYMLINK, name, source=name, seen_as=name)
        for number, name in enumerate(names, 1)
    ]
    page = Page(samples.report(events))
    block = page.texts["script"][0]
    assert all(character == "\n" or (character.isascii() and character.isprintable()) for character in block)
    assert not set("<>&") & set(block)
    files = page.data["files"]
    for name, row in zip(names, page.data["events"], strict=True):
        directory, last = files[row[3]][:2]
        assert page.data["dirs"][directory] + last == row[7] == row[11] == show(name)


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
    data = Page(samples.report(events)).data
    for event, row in zip(events, data["events"], strict=True):
        assert data["ops"][row[4]] == event.op
        assert data["results"][row[5]] == event.result
        assert data["verdicts"][row[6]] == samples.judge(event).verdict
        assert data["shapes"][row[10]] == shape(event)


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
        return FileSummary(b"/srv/%06d" % index + b"x" * 100, 30, None, verdict, Net.CREATED, {"open": 1}, 1)


def test_ranking_very_many_paths_keeps_none_of_them() -> None:
    report = dataclasses.replace(samples.report([]), files=_MadeWhenAsked())
    tracemalloc.start()
    try:
        text = "".join(data(report, Embedded(), Limits(files=100)))
        _now, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    found = json.loads(text)
    names = [found["dirs"][row[0]] + found["files"][number][1] for number, row in enumerate(found["files"])]
    assert [name[5:11] for name in names[:60]] == [f"{number:06}" for number in range(999, 60_000, 1000)]
    assert [name[5:11] for name in names[60:]] == [f"{number:06}" for number in range(40)]
    assert peak < 4_000_000  # 60,000 summaries would take 20 MB


def test_worst_paths_come_first() -> None:
    page = Page(samples.report(samples.install_events() + samples.hostile_events(100)))
    assert [row[3] for row in page.data["files"]] == sorted(row[3] for row in page.data["files"])
    assert page.data["verdicts"][page.data["files"][0][3]] == "violation"


def test_sources_name_their_rows() -> None:
    data = Page(samples.report()).data
    copy = next(row for row in data["events"] if data["ops"][row[4]] == "copy")
    source = data["files"][copy[7]]
    assert data["dirs"][source[0]] + source[1] == show(samples.CACHE + b"/p0/f0.py")


def test_right_to_left_components_are_isolated_one_by_one() -> None:
    shown = html.path("/srv/מסמך/קובץ".encode())
    assert '<bdi dir="ltr">מסמך</bdi>/' in shown
    assert '<bdi dir="ltr">קובץ</bdi>' in shown


def test_escapes_are_set_apart() -> None:
    assert html.escapes(r"a\x1b\x0a\\<") == (
        'a<span class="esc">\\x1b\\x0a</span><span class="esc">\\\\</span>&lt;'
    )


def test_process_tree_survives_rings_and_reuse() -> None:
    def life(pid: int, ppid: int, start: int) -> Process:
        return Process(pid, ppid, b"/bin/x", (b"x",), start, start + 1, 0)

    rows = process_tree([life(1, 2, 0), life(2, 1, 1), life(3, 0, 2), life(3, 0, 3), life(4, 3, 4)])
    assert [(row.process.pid, row.depth) for row in rows] == [(3, 0), (3, 0), (4, 1), (1, 0), (2, 1)]
