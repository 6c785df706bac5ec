"""The tree of what is known of names."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from writeaudit.resolve.names import cache as tree_module
from writeaudit.resolve.names.cache import NameCache
from writeaudit.resolve.names.evidence import LATE_NS, SLACK_NS, Evidence
from writeaudit.resolve.names.nodes import NameKind


def _cache(*directories: bytes) -> NameCache:
    cache = NameCache()
    cache.begin_event(1, 1)
    for directory in directories:
        cache.note_made(directory, NameKind.DIRECTORY)
    cache.begin_event(2, 2)
    return cache


def _assume(cache: NameCache, identity: int | None = None) -> list[Evidence]:
    """Let four events rest on one name each, one of them for its file's ``identity``."""
    group = []
    for number in range(4):
        cache.begin_event(3 + number, 1000)
        cache.assume_unchanged(cache.get_node(b"/m/%d" % number), 1000, identity=number == identity)
        group.append(cache.evidence)
    return group


@pytest.mark.parametrize("new", [b"/m/a/b", b"/m//a/b", b"m/a/b/", b"/m/a//"])
def test_directory_that_cannot_have_moved_into_itself(new: bytes) -> None:
    """However it is spelled: the tree must not come to hold itself."""
    cache = _cache(b"/m", b"/m/a")
    cache.note_renamed(b"/m/a", new, gone=True, directory_ns=2)
    assert [evidence.seq for evidence in cache.take_failed()] == [2]
    assert cache.kind_of(b"/m/a") is NameKind.UNKNOWN
    cache.note_removed(b"/m/a", directory=True)


@pytest.mark.parametrize(("one", "other"), [(b"/m", b"/m/a"), (b"/m/a", b"/m"), (b"/", b"/m")])
def test_names_one_in_the_other_cannot_have_been_exchanged(one: bytes, other: bytes) -> None:
    cache = _cache(b"/m", b"/m/a")
    cache.note_exchanged(one, other)
    assert len(cache.take_failed()) == 1
    cache.note_removed(b"/m", directory=True)


def test_name_may_be_exchanged_with_itself() -> None:
    cache = _cache(b"/m", b"/m/a")
    cache.note_exchanged(b"/m", b"/m")
    assert cache.take_failed() == []
    assert cache.kind_of(b"/m/a") is NameKind.DIRECTORY


def test_names_without_anything_below_them_share_nothing() -> None:
    cache = _cache(b"/m", b"/n")
    cache.note_made(b"/m/f", NameKind.OTHER)
    assert cache.kind_of(b"/m/f") is NameKind.OTHER
    assert cache.kind_of(b"/n/f") is NameKind.UNKNOWN


def test_directory_takes_along_what_is_known_below_it() -> None:
    cache = _cache(b"/m", b"/m/a")
    cache.note_made(b"/m/a/f", NameKind.OTHER)
    cache.begin_event(3, 3)
    cache.note_renamed(b"/m/a", b"/m/b", gone=True, directory_ns=3)
    assert cache.kind_of(b"/m/b/f") is NameKind.OTHER
    assert cache.kind_of(b"/m/a") is NameKind.ABSENT
    assert cache.kind_of(b"/m/a/f") is NameKind.UNKNOWN


@pytest.mark.parametrize("teaches", [True, False])
def test_claim_is_kept_while_what_was_taught_around_it_may_prove_wrong(teaches: bool) -> None:
    cache = _cache(b"/m")
    first = cache.evidence
    cache.assume_unchanged(cache.get_node(b"/m/a"), 1000)
    cache.begin_event(3, 1000)
    # What this one changed may have been /m/a, if what it rests on was read too late.
    cache.assume_unchanged(cache.get_node(b"/n"), 1000 + 3 * LATE_NS)
    cache.evidence.teaches = teaches
    cache.begin_event(4, 1000 + 2 * LATE_NS)
    cache.touch_any([b"a"], 1000)
    assert cache.take_failed() == ([first] if teaches else [])


def test_claims_go_when_nothing_can_speak_against_them_any_more() -> None:
    cache = _cache(b"/m")
    cache.assume_unchanged(cache.get_node(b"/m/a"), 1000)
    cache.evidence.teaches = True
    cache.begin_event(3, 1000 + LATE_NS + 1)
    cache.touch_any([b""], 0)
    assert cache.take_failed() == []


def test_event_that_comes_late_speaks_against_what_was_read_after_it() -> None:
    """A processor may stand still between the end of a call and the record of it."""
    cache = _cache(b"/m")
    looked_ns = 1000 + SLACK_NS
    cache.assume_unchanged(cache.get_node(b"/m/a"), looked_ns)
    first = cache.evidence
    cache.begin_event(3, looked_ns + LATE_NS)
    cache.begin_event(4, looked_ns)
    cache.note_removed(b"/m/a", directory=False)
    assert cache.take_failed() == [first]


@pytest.mark.parametrize("lasted_ns", [0, 3 * SLACK_NS])
def test_call_that_lasted_may_have_taken_effect_at_its_beginning(lasted_ns: int) -> None:
    cache = _cache(b"/m")
    cache.assume_unchanged(cache.get_node(b"/m/a"), 1000)
    first = cache.evidence
    cache.begin_event(3, 1000 + 2 * SLACK_NS, lasted_ns)
    assert cache.is_recent(1000) is bool(lasted_ns)
    cache.note_removed(b"/m/a", directory=False)
    assert cache.take_failed() == ([first] if lasted_ns else [])


def test_call_that_began_after_the_look_changed_nothing_before_it() -> None:
    cache = _cache(b"/m")
    cache.assume_unchanged(cache.get_node(b"/m/a"), 1000)
    cache.begin_event(3, 1200, 100)
    assert not cache.is_recent(1000)
    cache.note_removed(b"/m/a", directory=False)
    assert cache.take_failed() == []


def test_claims_beyond_what_is_kept_prove_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree_module, "_MOST", 2)
    cache = _cache(b"/m")
    group = _assume(cache, identity=1)
    cache.begin_event(9, 1000)
    assert cache.take_failed() == [group[0]]
    assert [evidence.broken for evidence in group] == [True, False, False, False]
    assert not any(evidence.unidentified for evidence in group)


@pytest.mark.parametrize(
    ("then", "fails"),
    [
        (lambda cache: cache.note_removed(b"/m/old", directory=False), True),
        (lambda cache: cache.note_seen(b"/m/old", NameKind.OTHER), True),
        (lambda cache: cache.note_renamed(b"/m/old", b"/m/another", gone=True), True),
        (lambda cache: cache.note_exchanged(b"/m/another", b"/m/old"), True),
        (lambda cache: cache.note_made(b"/m/old", NameKind.OTHER), False),
        (lambda cache: cache.note_removed(b"/m/new", directory=False), False),
    ],
    ids=["unlink", "open", "rename", "exchange", "made", "another"],
)
@pytest.mark.parametrize("gone_ns", [0, 1000])
def test_old_name_that_was_gone_only_later(
    then: Callable[[NameCache], object], fails: bool, gone_ns: int
) -> None:
    """rename(2) does nothing where both names are one file; the old one may go afterwards."""
    cache = _cache(b"/m")
    cache.begin_event(3, 900)
    renaming = cache.evidence
    cache.note_renamed(b"/m/old", b"/m/new", gone=True, gone_ns=gone_ns)
    cache.begin_event(4, 950)
    then(cache)
    assert cache.take_failed() == ([renaming] if fails and gone_ns else [])


def test_what_is_mounted_on_a_name_is_not_its_file() -> None:
    cache = _cache(b"/m")
    first, second = _assume(cache, identity=0)[:2]
    cache.begin_event(9, 1000)
    cache.note_covered(b"/m/0")
    cache.note_covered(b"/m/1")
    cache.note_covered(b"/m/none")
    assert cache.take_failed() == [first]
    assert (first.unidentified, first.broken, second.broken) == (True, False, False)


def test_many_moves_that_nobody_can_follow_cost_little_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree_module, "_CREDIT", 11)
    cache = _cache(b"/m")
    group = _assume(cache)
    cache.touch_any([b"x"], 1000)
    cache.touch_any([b"3"], 1000)
    assert cache.take_failed() == [group[3]]
    # 8 of the credit are spent: the third search, among the three that are left, is the last.
    cache.touch_any([b"x"], 1000)
    assert cache.take_failed() == []
    cache.touch_any([b"x"], 1000)
    assert cache.take_failed() == group[:3]


@pytest.mark.parametrize("exchanged", [True, False])
def test_what_was_thought_to_be_gone_and_moves_is_unknown(exchanged: bool) -> None:
    cache = _cache(b"/m", b"/n")
    cache.note_removed(b"/m", directory=False)
    if exchanged:
        cache.note_exchanged(b"/m", b"/n")
    else:
        cache.note_renamed(b"/m", b"/n", gone=True)
    assert cache.kind_of(b"/n") is NameKind.UNKNOWN


def test_files_that_nothing_rests_on_are_forgotten_once_they_are_many(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tree_module, "_MOST_NAMES", 100)
    cache = _cache(b"/m", b"/m/empty")
    cache.note_made(b"/m/link", NameKind.SYMLINK, b"to")
    claimed = cache.get_node(b"/m/claimed")
    cache.assume_unchanged(claimed, 5)
    evidence = cache.evidence
    for number in range(200):
        cache.note_made(b"/m/d/%d" % number, NameKind.OTHER)
    assert cache.kind_of(b"/m/d/150") is NameKind.OTHER
    version = cache.version
    cache.begin_event(3, 3)
    assert cache.version > version
    assert [cache.kind_of(b"/m/d/%d" % number) for number in (0, 150)] == [NameKind.UNKNOWN] * 2
    assert cache.kind_of(b"/m/empty") is NameKind.DIRECTORY
    assert cache.kind_of(b"/m/link") is NameKind.SYMLINK
    assert cache.get_node(b"/m/claimed") is claimed
    # The names that are left are still those of the tree.
    cache.note_renamed(b"/m", b"/n", gone=True, directory_ns=0)
    assert cache.kind_of(b"/n/link") is NameKind.SYMLINK
    assert evidence in cache.take_failed()
    cache.note_made(b"/n/d/0", NameKind.OTHER)
    assert cache.kind_of(b"/n/d/0") is NameKind.OTHER
