"""The tree of what is known of names."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from writeaudit.resolve import tree as tree_module
from writeaudit.resolve.basis import LATE_NS, SLACK_NS, Basis
from writeaudit.resolve.nodes import Kind
from writeaudit.resolve.tree import Tree


def _tree(*directories: bytes) -> Tree:
    tree = Tree()
    tree.begin(1, 1)
    for directory in directories:
        tree.made(directory, Kind.DIRECTORY)
    tree.begin(2, 2)
    return tree


def _claims(tree: Tree, identity: int | None = None) -> list[Basis]:
    """Let four events rest on one name each, one of them for its file's ``identity``."""
    bases = []
    for number in range(4):
        tree.begin(3 + number, 1000)
        tree.claim(tree.node(b"/m/%d" % number), 1000, identity=number == identity)
        bases.append(tree.basis)
    return bases


@pytest.mark.parametrize("new", [b"/m/a/b", b"/m//a/b", b"m/a/b/", b"/m/a//"])
def test_directory_that_cannot_have_moved_into_itself(new: bytes) -> None:
    """However it is spelled: the tree must not come to hold itself."""
    tree = _tree(b"/m", b"/m/a")
    tree.renamed(b"/m/a", new, gone=True, directory_ns=2)
    assert [basis.seq for basis in tree.failed()] == [2]
    assert tree.kind(b"/m/a") is Kind.UNKNOWN
    tree.removed(b"/m/a", directory=True)


@pytest.mark.parametrize(("one", "other"), [(b"/m", b"/m/a"), (b"/m/a", b"/m"), (b"/", b"/m")])
def test_names_one_in_the_other_cannot_have_been_exchanged(one: bytes, other: bytes) -> None:
    tree = _tree(b"/m", b"/m/a")
    tree.exchanged(one, other)
    assert len(tree.failed()) == 1
    tree.removed(b"/m", directory=True)


def test_name_may_be_exchanged_with_itself() -> None:
    tree = _tree(b"/m", b"/m/a")
    tree.exchanged(b"/m", b"/m")
    assert tree.failed() == []
    assert tree.kind(b"/m/a") is Kind.DIRECTORY


def test_names_without_anything_below_them_share_nothing() -> None:
    tree = _tree(b"/m", b"/n")
    tree.made(b"/m/f", Kind.OTHER)
    assert tree.kind(b"/m/f") is Kind.OTHER
    assert tree.kind(b"/n/f") is Kind.UNKNOWN


def test_directory_takes_along_what_is_known_below_it() -> None:
    tree = _tree(b"/m", b"/m/a")
    tree.made(b"/m/a/f", Kind.OTHER)
    tree.begin(3, 3)
    tree.renamed(b"/m/a", b"/m/b", gone=True, directory_ns=3)
    assert tree.kind(b"/m/b/f") is Kind.OTHER
    assert tree.kind(b"/m/a") is Kind.ABSENT
    assert tree.kind(b"/m/a/f") is Kind.UNKNOWN


@pytest.mark.parametrize("teaches", [True, False])
def test_claim_is_kept_while_what_was_taught_around_it_may_prove_wrong(teaches: bool) -> None:
    tree = _tree(b"/m")
    first = tree.basis
    tree.claim(tree.node(b"/m/a"), 1000)
    tree.begin(3, 1000)
    # What this one changed may have been /m/a, if what it rests on was read too late.
    tree.claim(tree.node(b"/n"), 1000 + 3 * LATE_NS)
    tree.basis.teaches = teaches
    tree.begin(4, 1000 + 2 * LATE_NS)
    tree.touch_any([b"a"], 1000)
    assert tree.failed() == ([first] if teaches else [])


def test_claims_go_when_nothing_can_speak_against_them_any_more() -> None:
    tree = _tree(b"/m")
    tree.claim(tree.node(b"/m/a"), 1000)
    tree.basis.teaches = True
    tree.begin(3, 1000 + LATE_NS + 1)
    tree.touch_any([b""], 0)
    assert tree.failed() == []


def test_event_that_comes_late_speaks_against_what_was_read_after_it() -> None:
    """A processor may stand still between the end of a call and the record of it."""
    tree = _tree(b"/m")
    looked_ns = 1000 + SLACK_NS
    tree.claim(tree.node(b"/m/a"), looked_ns)
    first = tree.basis
    tree.begin(3, looked_ns + LATE_NS)
    tree.begin(4, looked_ns)
    tree.removed(b"/m/a", directory=False)
    assert tree.failed() == [first]


@pytest.mark.parametrize("lasted_ns", [0, 3 * SLACK_NS])
def test_call_that_lasted_may_have_taken_effect_at_its_beginning(lasted_ns: int) -> None:
    tree = _tree(b"/m")
    tree.claim(tree.node(b"/m/a"), 1000)
    first = tree.basis
    tree.begin(3, 1000 + 2 * SLACK_NS, lasted_ns)
    assert tree.recent(1000) is bool(lasted_ns)
    tree.removed(b"/m/a", directory=False)
    assert tree.failed() == ([first] if lasted_ns else [])


def test_call_that_began_after_the_look_changed_nothing_before_it() -> None:
    tree = _tree(b"/m")
    tree.claim(tree.node(b"/m/a"), 1000)
    tree.begin(3, 1200, 100)
    assert not tree.recent(1000)
    tree.removed(b"/m/a", directory=False)
    assert tree.failed() == []


def test_claims_beyond_what_is_kept_prove_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree_module, "_MOST", 2)
    tree = _tree(b"/m")
    bases = _claims(tree, identity=1)
    tree.begin(9, 1000)
    assert tree.failed() == [bases[0]]
    assert [basis.broken for basis in bases] == [True, False, False, False]
    assert not any(basis.unidentified for basis in bases)


@pytest.mark.parametrize(
    ("then", "fails"),
    [
        (lambda tree: tree.removed(b"/m/old", directory=False), True),
        (lambda tree: tree.seen(b"/m/old", Kind.OTHER), True),
        (lambda tree: tree.renamed(b"/m/old", b"/m/another", gone=True), True),
        (lambda tree: tree.exchanged(b"/m/another", b"/m/old"), True),
        (lambda tree: tree.made(b"/m/old", Kind.OTHER), False),
        (lambda tree: tree.removed(b"/m/new", directory=False), False),
    ],
    ids=["unlink", "open", "rename", "exchange", "made", "another"],
)
@pytest.mark.parametrize("gone_ns", [0, 1000])
def test_old_name_that_was_gone_only_later(then: Callable[[Tree], object], fails: bool, gone_ns: int) -> None:
    """rename(2) does nothing where both names are one file; the old one may go afterwards."""
    tree = _tree(b"/m")
    tree.begin(3, 900)
    renaming = tree.basis
    tree.renamed(b"/m/old", b"/m/new", gone=True, gone_ns=gone_ns)
    tree.begin(4, 950)
    then(tree)
    assert tree.failed() == ([renaming] if fails and gone_ns else [])


def test_what_is_mounted_on_a_name_is_not_its_file() -> None:
    tree = _tree(b"/m")
    first, second = _claims(tree, identity=0)[:2]
    tree.begin(9, 1000)
    tree.covered(b"/m/0")
    tree.covered(b"/m/1")
    tree.covered(b"/m/none")
    assert tree.failed() == [first]
    assert (first.unidentified, first.broken, second.broken) == (True, False, False)


def test_many_moves_that_nobody_can_follow_cost_little_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree_module, "_CREDIT", 11)
    tree = _tree(b"/m")
    bases = _claims(tree)
    tree.touch_any([b"x"], 1000)
    tree.touch_any([b"3"], 1000)
    assert tree.failed() == [bases[3]]
    # 8 of the credit are spent: the third search, among the three that are left, is the last.
    tree.touch_any([b"x"], 1000)
    assert tree.failed() == []
    tree.touch_any([b"x"], 1000)
    assert tree.failed() == bases[:3]


@pytest.mark.parametrize("exchanged", [True, False])
def test_what_was_thought_to_be_gone_and_moves_is_unknown(exchanged: bool) -> None:
    tree = _tree(b"/m", b"/n")
    tree.removed(b"/m", directory=False)
    if exchanged:
        tree.exchanged(b"/m", b"/n")
    else:
        tree.renamed(b"/m", b"/n", gone=True)
    assert tree.kind(b"/n") is Kind.UNKNOWN


def test_files_that_nothing_rests_on_are_forgotten_once_they_are_many(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tree_module, "_MOST_NAMES", 100)
    tree = _tree(b"/m", b"/m/empty")
    tree.made(b"/m/link", Kind.SYMLINK, b"to")
    claimed = tree.node(b"/m/claimed")
    tree.claim(claimed, 5)
    basis = tree.basis
    for number in range(200):
        tree.made(b"/m/d/%d" % number, Kind.OTHER)
    assert tree.kind(b"/m/d/150") is Kind.OTHER
    version = tree.version
    tree.begin(3, 3)
    assert tree.version > version
    assert [tree.kind(b"/m/d/%d" % number) for number in (0, 150)] == [Kind.UNKNOWN] * 2
    assert tree.kind(b"/m/empty") is Kind.DIRECTORY
    assert tree.kind(b"/m/link") is Kind.SYMLINK
    assert tree.node(b"/m/claimed") is claimed
    # The names that are left are still those of the tree.
    tree.renamed(b"/m", b"/n", gone=True, directory_ns=0)
    assert tree.kind(b"/n/link") is Kind.SYMLINK
    assert basis in tree.failed()
    tree.made(b"/n/d/0", Kind.OTHER)
    assert tree.kind(b"/n/d/0") is Kind.OTHER
