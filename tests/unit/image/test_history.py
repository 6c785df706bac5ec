"""What becomes of a path over the layers: images made by hand, with known answers."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.container_images import Layer
from tests.support.read_images import Told, read_layers, tell
from writeaudit.container_image import HISTORY, FactKind

BASE: list[Told] = [("added", "/a/x", 0), ("added", "/a/y", 0)]


def _base() -> Layer:
    return Layer().file("a/x", b"one").file("a/y", b"two")


@pytest.mark.parametrize(
    ("upper", "told"),
    [
        (Layer().file("a/x", b"other"), [("overwritten", "/a/x", 1)]),
        (Layer().file("a/x", b"one", mode=0o600), [("metadata-only", "/a/x", 1)]),
        (Layer().file("a/x", b"one", uid=7), [("metadata-only", "/a/x", 1)]),
        (Layer().file("a/x", b"one", mtime=9), [("metadata-only", "/a/x", 1)]),
        (Layer().symlink("a/x", "y"), [("replaced", "/a/x", 1)]),
        (Layer().directory("a/x"), [("replaced", "/a/x", 1)]),
        (Layer().whiteout("a/x"), [("deleted", "/a/x", 1)]),
        (Layer().whiteout("a"), [("deleted", "/a/x", 1), ("deleted", "/a/y", 1)]),
        (
            Layer().opaque("a").file("a/z", b"new"),
            [("deleted", "/a/x", 1), ("deleted", "/a/y", 1), ("added", "/a/z", 1)],
        ),
        # Whiteouts hold for lower layers alone, wherever in the layer they stand.
        (
            Layer().file("a/z", b"new").opaque("a"),
            [("deleted", "/a/x", 1), ("deleted", "/a/y", 1), ("added", "/a/z", 1)],
        ),
        (Layer().file("a/x", b"other").whiteout("a/x"), [("overwritten", "/a/x", 1)]),
        (
            Layer().file("a", b"file"),
            [("deleted", "/a/x", 1), ("deleted", "/a/y", 1), ("added", "/a", 1)],
        ),
        (Layer().hard_link("b", "a/x"), [("added", "/b", 1)]),
        (Layer().hard_link("b", "c").file("c", b"late"), [("added", "/b", 1), ("added", "/c", 1)]),
        (Layer().hard_link("a/y", "a/x"), [("overwritten", "/a/y", 1)]),
        (Layer().whiteout("never/there"), []),
        (Layer().file("a/.wh..wh.plnk", b"of aufs"), []),
        (Layer().file("./a//x", b"other"), [("overwritten", "/a/x", 1)]),
        (Layer().file("/a/x", b"other"), [("overwritten", "/a/x", 1)]),
    ],
    ids=lambda value: "" if isinstance(value, Layer) else "-".join(kind for kind, *_ in value) or "nothing",
)
def test_history_of_a_path(tmp_path: Path, upper: Layer, told: list[Told]) -> None:
    read = read_layers(tmp_path, _base(), upper)
    assert sorted(tell(read, *HISTORY)) == sorted([*BASE, *told])
    assert read.problems == ()


def test_a_directory_whose_mode_changes_is_metadata(tmp_path: Path) -> None:
    read = read_layers(
        tmp_path, Layer().directory("d"), Layer().directory("d"), Layer().directory("d", mode=0o700)
    )
    assert tell(read, *HISTORY) == [("added", "/d", 0), ("metadata-only", "/d", 2)]


def test_parents_are_resolved_through_symlinks_of_lower_layers(tmp_path: Path) -> None:
    lower = Layer().directory("usr/lib").symlink("lib", "usr/lib").symlink("run", "/var/run")
    read = read_layers(tmp_path, lower, Layer().file("lib/x", b"1").file("run/pid", b"2"))
    assert tell(read, FactKind.ADDED)[-2:] == [("added", "/usr/lib/x", 1), ("added", "/var/run/pid", 1)]


def test_build_steps_that_made_no_layer_are_counted(tmp_path: Path) -> None:
    history = [
        {"created_by": "ADD rootfs.tar /"},
        {"created_by": "ENV A=1", "empty_layer": True},
        {"created_by": "RUN rm x"},
    ]
    read = read_layers(tmp_path, Layer().file("x", b"1"), Layer().whiteout("x"), history=history)
    assert [(layer.created_by, layer.step) for layer in read.image.layers] == [
        ("ADD rootfs.tar /", 0),
        ("RUN rm x", 2),
    ]
    assert read.remarks == ()


def test_a_history_that_does_not_fit_is_no_guess(tmp_path: Path) -> None:
    read = read_layers(tmp_path, Layer().file("x", b"1"), history=[{"created_by": "a"}, {"created_by": "b"}])
    assert read.image.layers[0].created_by == ""
    assert any("which step made which is not known" in remark for remark in read.remarks)


def test_waste_counts_each_byte_once(tmp_path: Path) -> None:
    lower = Layer().file("chmod", b"c" * 100).file("gone", b"g" * 50).file("kept", b"k" * 30)
    upper = Layer().file("chmod", b"c" * 100, mode=0o755).whiteout("gone").file("copy", b"k" * 30)
    read = read_layers(tmp_path, lower, upper)
    assert read.image.waste == (150, 30)
    assert tell(read, FactKind.BYTES_AGAIN, FactKind.SAME_BYTES) == [
        ("bytes-again", "/chmod", 1),
        ("same-bytes", "/copy", 1),
    ]
    assert sorted(tell(read, FactKind.WASTED)) == [("wasted", "/chmod", 0), ("wasted", "/gone", 0)]


def test_hard_links_are_no_waste_and_keep_a_file_alive(tmp_path: Path) -> None:
    lower = Layer().file("a", b"x" * 40).hard_link("b", "a")
    read = read_layers(tmp_path, lower, Layer().whiteout("a"))
    assert read.image.waste.total == 0
    assert read.image.content == 40
