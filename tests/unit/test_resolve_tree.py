"""The tree of what is known of names."""

from __future__ import annotations

import pytest

from writeaudit.resolve.tree import Kind, Tree


def _tree(*directories: bytes) -> Tree:
    tree = Tree()
    tree.begin(1, 1)
    for directory in directories:
        tree.made(directory, Kind.DIRECTORY)
    tree.begin(2, 2)
    return tree


@pytest.mark.parametrize("new", [b"/m/a/b", b"/m//a/b", b"m/a/b/", b"/m/a//"])
def test_directory_that_cannot_have_moved_into_itself(new: bytes) -> None:
    """However it is spelled: the tree must not come to hold itself."""
    tree = _tree(b"/m", b"/m/a")
    tree.renamed(b"/m/a", new, gone=True, directory=True)
    assert [basis.seq for basis in tree.failed()] == [2]
    assert tree.kind(b"/m/a") is Kind.UNKNOWN
    tree.removed(b"/m/a", directory=True)


@pytest.mark.parametrize(("one", "other"), [(b"/m", b"/m/a"), (b"/m/a", b"/m"), (b"/", b"/m")])
def test_names_one_in_the_other_cannot_have_been_exchanged(one: bytes, other: bytes) -> None:
    tree = _tree(b"/m", b"/m/a")
    tree.exchanged(one, other)
    assert len(tree.failed()) == 1
    tree.removed(b"/m", directory=True)


def test_names_without_anything_below_them_share_nothing() -> None:
    tree = _tree(b"/m", b"/n")
    tree.made(b"/m/f", Kind.OTHER)
    assert tree.kind(b"/m/f") is Kind.OTHER
    assert tree.kind(b"/n/f") is Kind.UNKNOWN


def test_directory_takes_along_what_is_known_below_it() -> None:
    tree = _tree(b"/m", b"/m/a")
    tree.made(b"/m/a/f", Kind.OTHER)
    tree.begin(3, 3)
    tree.renamed(b"/m/a", b"/m/b", gone=True, directory=True)
    assert tree.kind(b"/m/b/f") is Kind.OTHER
    assert tree.kind(b"/m/a") is Kind.ABSENT
    assert tree.kind(b"/m/a/f") is Kind.UNKNOWN
