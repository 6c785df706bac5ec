"""What every renderer is given: sums, judgements, what was found for evidence; and lists in pieces."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Collection, Iterator, Sequence

import pytest

from tests.support import report_samples as samples
from writeaudit.events import Access, FsEvent, Op
from writeaudit.judgement import FileSummary, NetEffect, Verdict
from writeaudit.report.batches import batches
from writeaudit.report.view import Extent, Report, mount_rows, zone_rows

_EVENTS: Sequence[FsEvent] = [
    *samples.install_events(3, 5),
    *samples.hostile_events(100),
    samples.event(200, Op.OPEN, samples.CACHE + b"/x", access=Access.READ, result="ENOENT"),
    samples.event(201, Op.OPEN, samples.CACHE + b"/x", access=Access.READ_WRITE, result="ENOENT"),
    samples.event(202, Op.OPEN, samples.CACHE + b"/x", access=Access.WRITE, result="EROFS"),
    samples.event(203, Op.OPEN, b"/etc/hosts", created=True),
    samples.event(204, Op.OPEN, b"/etc/hosts", access=Access.PATH, mount=None),
    samples.event(205, Op.UNLINK, samples.VENV + b"/y", result="ENOENT"),
]


def _file(path: bytes, mount: int | None, zone: str | None, verdict: Verdict, net: NetEffect) -> FileSummary:
    return FileSummary(path, mount, zone, verdict, net, {"open": 1}, len(path))


_FILES = [
    _file(b"/a", 30, None, Verdict.VIOLATION, NetEffect.CREATED),
    _file(b"/aa", 30, "venv", Verdict.ALLOWED, NetEffect.DELETED),
    _file(b"/aaa", 35, "venv", Verdict.ALLOWED, NetEffect.TRANSIENT),
    _file(b"/b", 35, "cache", Verdict.READ, NetEffect.READ),
    _file(b"/bb", 30, "cache", Verdict.ATTEMPT, NetEffect.ATTEMPTED),
    _file(b"/c", None, "venv", Verdict.ALLOWED, NetEffect.REPLACED),
    _file(b"/cccccc", 30, None, Verdict.VIOLATION, NetEffect.MODIFIED),
]


def _with_files(files: Sequence[FileSummary]) -> Report:
    return dataclasses.replace(samples.report(_EVENTS), files=files)


def test_totals_are_those_of_the_events() -> None:
    totals = samples.report(_EVENTS).totals
    judged = [(event, samples.judge(event)) for event in _EVENTS]
    assert totals.events == len(_EVENTS)
    assert totals.verdicts == Counter(judgement.verdict for _event, judgement in judged)
    assert totals.zones == Counter((judgement.zone, judgement.verdict) for _event, judgement in judged)
    assert totals.mount_verdicts == Counter((event.mount, judgement.verdict) for event, judgement in judged)
    assert totals.mount_ops == {
        mount: Counter(str(event.op) for event in _EVENTS if event.mount == mount) for mount in (30, 35, None)
    }


def test_each_event_comes_with_its_own_judgement() -> None:
    report = samples.report(_EVENTS)
    for _again in range(2):
        assert list(report.judged_events()) == [(event, samples.judge(event)) for event in _EVENTS]


class _UpTo:
    """Events that must not be read beyond one of them."""

    def __init__(self, seq: int) -> None:
        self.seq = seq

    def __iter__(self) -> Iterator[FsEvent]:
        for event in _EVENTS:
            assert event.seq <= self.seq, "read too far"
            yield event


def test_events_are_found_by_number_without_reading_on() -> None:
    report = samples.report(_EVENTS)
    by_seq = {event.seq: event for event in _EVENTS}
    for wanted in ([], [1], [100, 3], [205]):
        found = samples.reading(report, _UpTo(max(wanted, default=0))).find(wanted)
        assert found == {seq: (by_seq[seq], samples.judge(by_seq[seq])) for seq in wanted}


@pytest.mark.parametrize("number", [0, 99, 150, 99_999])
def test_numbers_of_no_event_are_not_found(number: int) -> None:
    assert set(samples.report(_EVENTS).find([1, number])) == {1}


class _Indexed(_UpTo):
    """Events that can be had by number, and must be."""

    def __init__(self) -> None:
        super().__init__(0)

    def pick_events(self, seqs: Collection[int]) -> Iterator[FsEvent]:
        return (event for event in _EVENTS if event.seq in seqs)


def test_events_that_can_be_had_by_number_are_not_searched() -> None:
    report = samples.report(_EVENTS)
    assert samples.reading(report, _Indexed()).find([204, 3]) == report.find([3, 204])


def test_extent_of_zones_and_mounts_counts_changed_files_only() -> None:
    report = _with_files(_FILES)
    zones = {row.name: row.extent for row in zone_rows(report)}
    assert zones == {"cache": Extent(), "venv": Extent(2, 5, 1, 4), "outside every zone": Extent(2, 9)}
    mounts = {row.mount and row.mount.id: row.extent for row in mount_rows(report)}
    assert mounts == {30: Extent(3, 12), 35: Extent(0, 0, 1, 4), None: Extent(1, 2)}


def test_files_are_found_by_verdict_in_their_order() -> None:
    by_verdict = _with_files(_FILES).overview.by_verdict
    assert {verdict: list(numbers) for verdict, numbers in by_verdict.items()} == {
        verdict: [number for number, file in enumerate(_FILES) if file.verdict is verdict]
        for verdict in Verdict
    }


@pytest.mark.parametrize("count", [0, 1, 999, 1000, 1001, 2000, 2001])
def test_pieces_of_a_list_make_up_the_list(count: int) -> None:
    pieces = list(batches(str(number) for number in range(count)))
    assert "".join(pieces) == ",\n".join(str(number) for number in range(count))
    assert len(pieces) == -(-count // 1000)
