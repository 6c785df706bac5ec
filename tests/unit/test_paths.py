"""Paths as text: what lies below a directory, and the last component."""

from __future__ import annotations

import pytest

from writeaudit.paths import last_component, last_name, parent_directory, path_suffix


@pytest.mark.parametrize(
    ("path", "component", "name", "parent"),
    [
        (b"/a/b", b"b", b"b", b"/a"),
        (b"/a", b"a", b"a", b"/"),
        (b"/", b"", b"", b"/"),
        (b"/a/b/", b"", b"b", b"/a/b"),
        (b"/a//", b"", b"a", b"/a/"),
        (b"/a/..", b"..", b"..", b"/a"),
    ],
)
def test_a_path_is_taken_apart(path: bytes, component: bytes, name: bytes, parent: bytes) -> None:
    assert (last_component(path), last_name(path), parent_directory(path)) == (component, name, parent)


@pytest.mark.parametrize("name", [b"n", b"", b"pipe:[4]"])
def test_a_name_without_a_slash_is_its_own_last_component(name: bytes) -> None:
    assert last_component(name) == last_name(name) == name


@pytest.mark.parametrize(
    ("path", "directory", "rest"),
    [
        (b"/a/b", b"/a", b"/b"),
        (b"/a", b"/a", b""),
        (b"/ab", b"/a", None),
        (b"/", b"/", b""),
        (b"/a", b"/", b"/a"),
    ],
)
def test_what_lies_below_a_directory(path: bytes, directory: bytes, rest: bytes | None) -> None:
    assert path_suffix(path, directory) == rest
