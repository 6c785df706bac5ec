"""Names: what a spelling stands for, by a tree that the test makes up."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from writeaudit.events import Certainty
from writeaudit.resolve.basis import Basis
from writeaudit.resolve.names import Names
from writeaudit.resolve.nodes import Kind
from writeaudit.resolve.tree import Tree

RESOLVED, LEXICAL = Certainty.RESOLVED, Certainty.LEXICAL

TREE: dict[bytes, bytes | None] = {
    # None: a directory or file, else what the symlink holds.
    b"/w": None, b"/w/dir": None, b"/w/dir/sub": None, b"/w/file": None, b"/w/dir/file": None,
    b"/w/rel": b"dir", b"/w/abs": b"/w/dir/sub", b"/w/up": b"../w/dir", b"/w/chain": b"rel/sub",
    b"/w/loop": b"loop", b"/w/ping": b"pong", b"/w/pong": b"ping", b"/w/dangling": b"nowhere/at/all",
    b"/w/dots": b"./dir/../dir//sub/.", b"/w/tofile": b"file", b"/w/root": b"/",
    b"/jail": None, b"/jail/etc": None, b"/jail/link": b"/etc", b"/jail/out": b"../../..", b"/etc": None,
}  # fmt: skip


class Disk:
    """Answers as readlink(2) would, and counts how often it is asked."""

    def __init__(self, tree: dict[bytes, bytes | None]) -> None:
        self.tree = dict(tree)
        self.asked: list[bytes] = []

    def read_link(self, path: bytes) -> bytes:
        self.asked.append(path)
        if path not in self.tree:
            raise OSError(errno.ENOENT, "gone")
        target = self.tree[path]
        if target is None:
            raise OSError(errno.EINVAL, "no symlink")
        return target


@pytest.fixture
def disk() -> Disk:
    return Disk(TREE)


_LATER = 1 << 62
"""A time at which everything that was ever read from the disk has long been so."""


def _names(disk: Disk, time_ns: int = _LATER) -> Names:
    """Return names at the time of an event."""
    made = Names(disk.read_link)
    made.tree.begin(1, time_ns)
    return made


@pytest.fixture
def names(disk: Disk) -> Names:
    return _names(disk)


@pytest.mark.parametrize(
    ("name", "path"),
    [
        (b"file", b"/w/file"),
        (b"/w/file", b"/w/file"),
        (b"./dir/./file", b"/w/dir/file"),
        (b"dir//file", b"/w/dir/file"),
        (b"dir/sub/../file", b"/w/dir/file"),
        (b"../w/file", b"/w/file"),
        (b"/../../w/file", b"/w/file"),
        (b"rel/file", b"/w/dir/file"),
        (b"abs/../file", b"/w/dir/file"),  # of the directory that the link leads to
        (b"up/file", b"/w/dir/file"),
        (b"chain/new", b"/w/dir/sub/new"),
        (b"dots/new", b"/w/dir/sub/new"),
        (b"root/etc", b"/etc"),
        (b".", b"/w"),
        (b"..", b"/"),
        (b"dir/", b"/w/dir"),
        (b"rel/", b"/w/dir"),
        (b"/", b"/"),
        (b"dir/..", b"/w"),
        (b"rel/..", b"/w"),
        (b"new", b"/w/new"),
        (b"new\xff\n", b"/w/new\xff\n"),
    ],
)
def test_spelling(names: Names, name: bytes, path: bytes) -> None:
    assert names.resolve(b"/w", name, follow=False) == (path, RESOLVED)


@pytest.mark.parametrize(
    ("name", "follow", "path"),
    [
        (b"rel", False, b"/w/rel"),
        (b"rel", True, b"/w/dir"),
        (b"chain", True, b"/w/dir/sub"),
        (b"tofile", True, b"/w/file"),
        (b"tofile", False, b"/w/tofile"),
        (b"dir/new", True, b"/w/dir/new"),
        (b"root", True, b"/"),
    ],
)
def test_last_component_is_followed_on_request(names: Names, name: bytes, follow: bool, path: bytes) -> None:
    assert names.resolve(b"/w", name, follow=follow) == (path, RESOLVED)


@pytest.mark.parametrize("name", [b"loop", b"ping", b"loop/x", b"pong/x/y"])
def test_loops_end(names: Names, name: bytes) -> None:
    _path, certainty = names.resolve(b"/w", name, follow=True)
    assert certainty is LEXICAL


@pytest.mark.parametrize("number", [errno.ELOOP, errno.EACCES])
def test_error_of_the_disk_is_no_answer(number: int) -> None:
    def read_link(path: bytes) -> bytes:
        raise OSError(number, "")

    assert Names(read_link).resolve(b"/w", b"any/x", follow=False) == (b"/w/any/x", LEXICAL)


def test_dangling_symlink_leads_to_what_it_names(names: Names) -> None:
    # An open with O_CREAT makes the file there, if only its directory exists.
    assert names.resolve(b"/w", b"dangling", follow=True) == (b"/w/nowhere/at/all", LEXICAL)


def test_absent_directory_on_the_way_makes_it_text(names: Names) -> None:
    assert names.resolve(b"/w", b"gone/file", follow=False) == (b"/w/gone/file", LEXICAL)
    assert names.resolve(b"/w", b"gone/../file", follow=False) == (b"/w/file", LEXICAL)


def test_root_of_a_chroot_cannot_be_left(names: Names) -> None:
    def inside(name: bytes) -> bytes:
        return names.resolve(b"/jail", name, follow=False, root=b"/jail")[0]

    assert inside(b"/etc/x") == b"/jail/etc/x"
    assert inside(b"link/x") == b"/jail/etc/x"
    assert inside(b"out/etc/x") == b"/jail/etc/x"
    assert inside(b"../../etc/x") == b"/jail/etc/x"
    # What was learnt inside says nothing of the same text outside.
    assert names.resolve(b"/jail", b"link/x", follow=False)[0] == b"/etc/x"
    assert inside(b"link/x") == b"/jail/etc/x"


def test_disk_is_asked_once_a_name(names: Names, disk: Disk) -> None:
    for _ in range(3):
        for file in (b"one", b"two"):
            names.resolve(b"/w", b"rel/sub/" + file, follow=False)
    assert len(disk.asked) == len(set(disk.asked))


def test_symlink_that_was_made_is_followed_though_it_is_gone(names: Names) -> None:
    names.tree.made(b"/w/fresh", Kind.SYMLINK, b"dir")
    assert names.resolve(b"/w", b"fresh/x", follow=False) == (b"/w/dir/x", RESOLVED)
    names.tree.removed(b"/w/fresh", directory=True)
    assert names.resolve(b"/w", b"fresh/x", follow=False) == (b"/w/fresh/x", LEXICAL)
    names.tree.made(b"/w/fresh", Kind.DIRECTORY)
    assert names.resolve(b"/w", b"fresh/x", follow=False) == (b"/w/fresh/x", RESOLVED)


def test_directory_becomes_a_symlink(names: Names) -> None:
    assert names.resolve(b"/w", b"dir/sub/x", follow=False)[0] == b"/w/dir/sub/x"
    names.tree.removed(b"/w/dir/sub", directory=True)
    names.tree.made(b"/w/dir/sub", Kind.SYMLINK, b"/etc")
    assert names.resolve(b"/w", b"dir/sub/x", follow=False)[0] == b"/etc/x"


def test_renamed_symlink(names: Names) -> None:
    assert names.resolve(b"/w", b"rel/x", follow=False)[0] == b"/w/dir/x"
    names.tree.renamed(b"/w/rel", b"/w/other", gone=True)
    assert names.resolve(b"/w", b"other/x", follow=False)[0] == b"/w/dir/x"


def test_renamed_directory_takes_what_is_known_below_it(names: Names, disk: Disk) -> None:
    names.tree.made(b"/w/dir/link", Kind.SYMLINK, b"/etc")
    disk.tree[b"/w/moved"] = None
    names.tree.renamed(b"/w/dir", b"/w/moved", gone=True)
    assert names.resolve(b"/w", b"moved/link/x", follow=False) == (b"/etc/x", RESOLVED)
    assert names.tree.kind(b"/w/dir") is Kind.ABSENT
    names.tree.made(b"/w/dir", Kind.DIRECTORY)
    names.tree.made(b"/w/dir/link", Kind.DIRECTORY)
    assert names.resolve(b"/w", b"dir/link/x", follow=False) == (b"/w/dir/link/x", RESOLVED)


def test_directory_of_the_disk_is_renamed_away_with_its_symlinks(disk: Disk) -> None:
    disk.tree[b"/w/dir/link"] = b"/etc"
    names = _names(disk)
    assert names.resolve(b"/w", b"dir/link/x", follow=False)[0] == b"/etc/x"
    names.tree.renamed(b"/w/dir", b"/w/moved", gone=True)
    names.tree.made(b"/w/dir", Kind.DIRECTORY)
    names.tree.made(b"/w/dir/link", Kind.DIRECTORY)
    assert names.resolve(b"/w", b"dir/link/x", follow=False)[0] == b"/w/dir/link/x"


def test_name_renamed_onto_a_symlink_replaces_it(names: Names) -> None:
    names.tree.made(b"/w/new", Kind.DIRECTORY)
    assert names.resolve(b"/w", b"rel/x", follow=False)[0] == b"/w/dir/x"
    names.tree.made(b"/w/link2", Kind.SYMLINK, b"/etc")
    names.tree.renamed(b"/w/link2", b"/w/rel", gone=True)
    assert names.resolve(b"/w", b"rel/x", follow=False)[0] == b"/etc/x"


def test_file_renamed_onto_a_symlink_replaces_it(names: Names) -> None:
    assert names.resolve(b"/w", b"tofile", follow=True)[0] == b"/w/file"
    names.tree.made(b"/w/plain", Kind.OTHER)
    names.tree.renamed(b"/w/plain", b"/w/tofile", gone=True)
    assert names.resolve(b"/w", b"tofile", follow=True)[0] == b"/w/tofile"


def test_exchanged_names_change_what_they_lead_to(names: Names) -> None:
    names.tree.made(b"/w/a", Kind.SYMLINK, b"/etc")
    names.tree.made(b"/w/b", Kind.DIRECTORY)
    names.tree.exchanged(b"/w/a", b"/w/b")
    assert names.resolve(b"/w", b"a/x", follow=False)[0] == b"/w/a/x"
    assert names.resolve(b"/w", b"b/x", follow=False)[0] == b"/etc/x"


def test_exchanged_name_that_was_never_looked_at(names: Names) -> None:
    # /w/rel is a symlink on the disk before the exchange; afterwards the disk shows it as /w/b.
    names.tree.made(b"/w/b", Kind.DIRECTORY)
    names.tree.exchanged(b"/w/rel", b"/w/b")
    assert names.tree.kind(b"/w/rel") is Kind.DIRECTORY
    assert names.tree.kind(b"/w/b") is Kind.UNKNOWN


def test_rename_onto_itself_changes_nothing(names: Names) -> None:
    names.tree.made(b"/w/a", Kind.SYMLINK, b"/etc")
    names.tree.renamed(b"/w/a", b"/w/a", gone=True)
    assert names.resolve(b"/w", b"a/x", follow=False)[0] == b"/etc/x"


def test_mounts_that_changed_make_it_look_again(names: Names, disk: Disk) -> None:
    assert names.resolve(b"/w", b"rel/x", follow=False)[0] == b"/w/dir/x"
    disk.tree[b"/w/rel"] = None
    names.tree.forget_all()
    assert names.resolve(b"/w", b"rel/x", follow=False)[0] == b"/w/rel/x"


def test_more_than_forty_symlinks_are_too_many() -> None:
    tree: dict[bytes, bytes | None] = {b"/l%d" % number: b"l%d" % (number + 1) for number in range(50)}
    tree[b"/l50"] = None
    names = _names(Disk(tree))
    assert names.resolve(b"/", b"l11", follow=True) == (b"/l50", RESOLVED)
    assert names.resolve(b"/", b"l5", follow=True)[1] is LEXICAL


def test_agrees_with_the_system(tmp_path: Path) -> None:
    (tmp_path / "a/b/c").mkdir(parents=True)
    (tmp_path / "a/link").symlink_to("b")
    (tmp_path / "a/b/up").symlink_to("..")
    (tmp_path / "a/abs").symlink_to(tmp_path / "a/b/c")
    start = os.fsencode(os.path.realpath(tmp_path))
    for name in (
        "a/link/c",
        "a/link/up/link/c",
        "a/abs/../up/abs",
        "./a/../a/link/../b/c",
        "a/b/up/b/up/abs",
    ):
        expected = os.fsencode(os.path.realpath(tmp_path / name))
        assert Names().resolve(start, name.encode(), follow=True) == (expected, RESOLVED), name


# What was read from the disk too late.


def _uses(names: Names, name: bytes) -> Basis:
    """Resolve a name for the event at hand."""
    names.resolve(b"/w", name, follow=False)
    return names.tree.basis


def test_symlink_that_was_read_after_it_changed_is_a_failed_claim(disk: Disk) -> None:
    names = _names(disk, 1000)
    basis = _uses(names, b"rel/x")
    names.tree.begin(2, 2000)
    names.tree.removed(b"/w/rel", directory=False)
    assert names.tree.failed() == [basis]
    assert names.tree.failed() == []


def test_cached_directory_bears_every_event_that_used_it(disk: Disk) -> None:
    names = _names(disk, 1000)
    uses = [_uses(names, b"rel/x")]
    for seq in (2, 3):
        names.tree.begin(seq, 1000 + seq)
        uses.append(_uses(names, b"rel/y"))
    names.tree.begin(4, 2000)
    names.tree.renamed(b"/w/file", b"/w/dir", gone=True)
    assert names.tree.failed() == uses


@pytest.mark.parametrize(
    ("change", "fails"),
    [
        (lambda tree: tree.removed(b"/w/dir", directory=True), False),
        (lambda tree: tree.made(b"/w/dir", Kind.DIRECTORY), False),
        (lambda tree: tree.renamed(b"/w/dir", b"/w/new", gone=True, directory_ns=2000), False),
        (lambda tree: tree.removed(b"/w/dir", directory=False), True),
        (lambda tree: tree.renamed(b"/w/new", b"/w/dir", gone=True), True),
        (lambda tree: tree.exchanged(b"/w/dir", b"/w/new"), True),
        (lambda tree: tree.removed(b"/w/file", directory=False), False),
    ],
    ids=["rmdir", "mkdir", "moved", "unlink", "replaced", "exchanged", "another"],
)
def test_directory_may_prove_to_have_been_one(
    disk: Disk, change: Callable[[Tree], None], fails: bool
) -> None:
    names = _names(disk, 1000)
    _uses(names, b"dir/x")
    names.tree.begin(2, 2000)
    change(names.tree)
    assert bool(names.tree.failed()) is fails


@pytest.mark.parametrize("ok", [True, False])
def test_name_that_a_call_led_through_was_there(disk: Disk, ok: bool) -> None:
    """Who removed it before it was made must have been taken for somebody else."""
    names = _names(disk, 1000)
    names.tree.basis.ok = ok
    basis = _uses(names, b"dir/x")
    _uses(names, b"dir/sub/x")
    names.tree.begin(2, 2000)
    names.tree.removed(b"/w/dir/sub", directory=True)
    names.tree.made(b"/w/dir/sub", Kind.DIRECTORY)
    assert names.tree.failed() == []
    names.tree.made(b"/w/dir", Kind.DIRECTORY)
    assert names.tree.failed() == ([basis] if ok else [])


@pytest.mark.parametrize("directory", [True, False])
def test_directory_under_the_new_name_may_be_a_younger_one(disk: Disk, directory: bool) -> None:
    """It speaks for what was read under the old name as long as nothing changes the new one."""
    names = _names(disk, 1000)
    basis = _uses(names, b"dir/x")
    names.tree.begin(2, 2000)
    names.tree.renamed(b"/w/dir", b"/w/new", gone=True, directory_ns=5000)
    names.tree.begin(3, 3000)
    names.tree.removed(b"/w/new", directory=directory)
    assert names.tree.failed() == ([] if directory else [basis])


def test_change_of_a_directory_above_speaks_against_what_was_read(disk: Disk) -> None:
    names = _names(disk, 1000)
    basis = _uses(names, b"dir/sub/x")
    names.tree.begin(2, 2000)
    names.tree.exchanged(b"/w/dir", b"/w/new")
    assert names.tree.failed() == [basis]


def test_what_was_read_long_before_a_change_was_right(disk: Disk) -> None:
    names = _names(disk, 1000)
    _uses(names, b"rel/x")
    names.tree.begin(2, _LATER)
    names.tree.removed(b"/w/rel", directory=False)
    assert names.tree.failed() == []


def test_what_was_read_too_late_does_not_move_with_a_name(disk: Disk) -> None:
    names = _names(disk, 1000)
    _uses(names, b"rel/x")
    names.tree.begin(2, 2000)
    disk.tree[b"/w/moved"] = None
    names.tree.renamed(b"/w/rel", b"/w/moved", gone=True)
    assert names.resolve(b"/w", b"moved/x", follow=False) == (b"/w/moved/x", RESOLVED)


def test_old_name_stays_if_both_were_one_file(names: Names) -> None:
    names.tree.made(b"/w/a", Kind.SYMLINK, b"/etc")
    names.tree.made(b"/w/b", Kind.SYMLINK, b"/etc")
    names.tree.renamed(b"/w/a", b"/w/b", gone=False)
    assert names.resolve(b"/w", b"a/x", follow=False) == (b"/etc/x", RESOLVED)


def test_nothing_is_known_of_an_old_name_that_may_be_there_still(names: Names) -> None:
    names.tree.made(b"/w/a", Kind.SYMLINK, b"/etc")
    names.tree.renamed(b"/w/a", b"/w/b", gone=None)
    assert names.tree.kind(b"/w/a") is Kind.UNKNOWN
    assert names.tree.kind(b"/w/b") is Kind.SYMLINK


@pytest.mark.parametrize("way", ["down", "up", "exchange"])
def test_directory_cannot_move_into_itself(names: Names, way: str) -> None:
    names.tree.made(b"/w/a/b/c", Kind.OTHER)
    if way == "exchange":
        names.tree.exchanged(b"/w/a", b"/w/a/b")
    else:
        old, new = (b"/w/a", b"/w/a/b") if way == "down" else (b"/w/a/b", b"/w/a")
        names.tree.renamed(old, new, gone=True)
    assert names.tree.failed() == [names.tree.basis]
    assert names.tree.kind(b"/w/a/b/c") is Kind.UNKNOWN
