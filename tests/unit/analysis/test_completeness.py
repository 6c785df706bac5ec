"""WA901 to WA904: what the audit did not see."""

from __future__ import annotations

import pytest

from tests.support.analysis_streams import Stream, analyzed, run_info
from writeaudit.audit import BlindSpot, Completeness
from writeaudit.events import Access, Certainty, Doubt, Op
from writeaudit.judgement import Severity


def test_a_complete_audit_has_no_gaps() -> None:
    stream = Stream()
    stream.create(b"/a")
    assert analyzed(stream) == []


def test_lost_events() -> None:
    kinds = {"event": 12, "total": 3, "exit": 1, "mount": 0}
    seen = Completeness(lost_events=16, lost=kinds, emitted={"event": 20, "total": 9, "exit": 4})
    (found,) = analyzed(Stream(), completeness=seen)
    assert (found.rule, found.count, found.severity) == ("WA901", 12, Severity.WARNING)
    assert found.message.startswith(
        "12 of 20 events and 4 other records were lost (bytes written 3, processes that ended 1);"
    )


@pytest.mark.parametrize(
    ("used", "advised"), [(0, "64M"), (4096, "16K"), (16 << 20, "64M"), (1 << 30, "2G"), (2 << 30, "")]
)
def test_remedy_for_losses_names_a_larger_buffer(used: int, advised: str) -> None:
    lost = Completeness(lost_events=1, lost={"event": 1})
    (found,) = analyzed(Stream(), completeness=lost, run=run_info(backend="ebpf", buffer_bytes=used))
    assert (f"`--buffer {advised}`" in found.advice[0]) == bool(advised)
    assert any("`--backend strace`" in line for line in found.advice)


def test_remedy_for_lines_of_strace_is_no_buffer() -> None:
    (found,) = analyzed(Stream(), completeness=Completeness(lost_events=1, lost={"unparsed": 1}))
    assert found.message.startswith("1 event was lost;")
    assert "--buffer" not in "".join(found.advice)


def test_a_recording_that_breaks_off() -> None:
    (found,) = analyzed(Stream(), completeness=Completeness(finished=False))
    assert (found.rule, found.title) == ("WA901", "recording breaks off")


def test_one_finding_for_each_blind_spot() -> None:
    spots = (BlindSpot("io_uring", "Not seen.", 3), BlindSpot("x32", "Harmless.", incomplete=False))
    found = analyzed(Stream(), completeness=Completeness(blind_spots=spots))
    assert [(each.rule, each.title, each.count, each.severity) for each in found] == [
        ("WA902", "blind spot: io_uring", 3, Severity.WARNING),
        ("WA902", "blind spot: x32", 1, Severity.NOTE),
    ]


def test_changes_to_a_path_known_as_text_only() -> None:
    stream = Stream()
    lexical = Certainty.LEXICAL
    stream.add(Op.UNLINK, b"/tmp/gone", certainty=lexical)
    stream.add(Op.OPEN, b"/tmp/read", access=Access.READ, certainty=lexical)
    stream.add(Op.OPEN, b"/tmp/written", access=Access.READ_WRITE, certainty=lexical)
    stream.add(Op.MKDIR, b"/tmp/refused", result="EEXIST", certainty=lexical)
    (found,) = analyzed(stream, completeness=Completeness(unresolved=4))
    assert (found.rule, found.severity, found.evidence) == ("WA903", Severity.WARNING, (1, 3))
    assert "2 changes went to a path known as text only" in found.message
    assert found.details["examples"] == ["/tmp/gone", "/tmp/written"]


def test_uncertain_reads_are_a_note() -> None:
    (found,) = analyzed(Stream(), completeness=Completeness(unresolved=4))
    assert (found.rule, found.severity, found.count) == ("WA903", Severity.NOTE, 4)


def test_names_with_bytes_missing() -> None:
    (found,) = analyzed(Stream(), completeness=Completeness(truncated=1))
    assert (found.rule, found.severity) == ("WA903", Severity.WARNING)
    assert "1 path could not be read in full" in found.message


def test_survivors() -> None:
    (found,) = analyzed(Stream(), completeness=Completeness(survivors=(41, 42)))
    assert (found.rule, found.count) == ("WA904", 2)
    assert "2 processes still ran when the audit ended: pid 41; pid 42." in found.message


def test_each_reason_for_doubt_has_its_own_sentence() -> None:
    stream = Stream()
    stream.create(b"/a")
    stream.events[-1] = stream.events[-1]._replace(certainty=Certainty.LEXICAL)
    sentences = set()
    for doubt in Doubt:
        name = str(doubt.name).lower()
        (found,) = analyzed(stream, completeness=Completeness(unresolved=1, doubts={name: 1}))
        assert found.details["doubts"] == {name: 1}
        assert found.cause.endswith(" (1 change).")
        assert ("long" in found.cause) == (doubt is Doubt.UNREADABLE)
        sentences.add(found.cause)
    assert len(sentences) == len(Doubt)


def test_reasons_are_told_by_how_often_they_came_up() -> None:
    known = Completeness(unresolved=4, doubts={"gone": 1, "detached_mount": 3})
    (found,) = analyzed(Stream(), completeness=known)
    assert found.cause == (
        "The path may begin at the root of a mount that is attached nowhere (3 changes); "
        "a directory on the path was gone before it could be looked up (1 change)."
    )
