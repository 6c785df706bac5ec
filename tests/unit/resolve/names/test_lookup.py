"""Names: what a spelling stands for, by a tree that the test makes up."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from tests.support.made_up_disk import Disk, names_of
from writeaudit.events import Certainty
from writeaudit.resolve.names.lookup import NameResolver
from writeaudit.resolve.names.nodes import NameKind

RESOLVED, LEXICAL = Certainty.RESOLVED, Certainty.LEXICAL


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
def test_spelling(names: NameResolver, name: bytes, path: bytes) -> None:
    assert names.resolve_name(b"/w", name, follow=False) == (path, RESOLVED)


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
def test_last_component_is_followed_on_request(
    names: NameResolver, name: bytes, follow: bool, path: bytes
) -> None:
    assert names.resolve_name(b"/w", name, follow=follow) == (path, RESOLVED)


@pytest.mark.parametrize("name", [b"loop", b"ping", b"loop/x", b"pong/x/y"])
def test_loops_end(names: NameResolver, name: bytes) -> None:
    _path, certainty = names.resolve_name(b"/w", name, follow=True)
    assert certainty is LEXICAL


@pytest.mark.parametrize("number", [errno.ELOOP, errno.EACCES])
def test_error_of_the_disk_is_no_answer(number: int) -> None:
    def read_link(path: bytes) -> bytes:
        raise OSError(number, "")

    assert NameResolver(read_link).resolve_name(b"/w", b"any/x", follow=False) == (b"/w/any/x", LEXICAL)


def test_dangling_symlink_leads_to_what_it_names(names: NameResolver) -> None:
    # An open with O_CREAT makes the file there, if only its directory exists.
    assert names.resolve_name(b"/w", b"dangling", follow=True) == (b"/w/nowhere/at/all", LEXICAL)


@pytest.mark.parametrize("link", [b"self", b"thread-self", b"7/cwd", b"7/root", b"7/fd/3", b"7/task/8/cwd"])
def test_links_of_proc_that_pass_are_not_asked(disk: Disk, link: bytes) -> None:
    """What they lead to now, and for us, says nothing of what they led to for the process."""
    disk.cache |= {b"/w/by-proc": b"/proc/" + link, b"/proc": None, b"/proc/7": None, b"/proc/7/task": None}
    disk.cache |= {b"/proc/7/fd": None, b"/proc/7/task/8": None, b"/proc/" + link: b"/w/dir"}
    assert names_of(disk).resolve_name(b"/w", b"by-proc/x", follow=False) == (
        b"/proc/" + link + b"/x",
        LEXICAL,
    )


def test_absent_directory_on_the_way_makes_it_text(names: NameResolver) -> None:
    assert names.resolve_name(b"/w", b"gone/file", follow=False) == (b"/w/gone/file", LEXICAL)
    assert names.resolve_name(b"/w", b"gone/../file", follow=False) == (b"/w/file", LEXICAL)


def test_root_of_a_chroot_cannot_be_left(names: NameResolver) -> None:
    def inside(name: bytes) -> bytes:
        return names.resolve_name(b"/jail", name, follow=False, root=b"/jail")[0]

    assert inside(b"/etc/x") == b"/jail/etc/x"
    assert inside(b"link/x") == b"/jail/etc/x"
    assert inside(b"out/etc/x") == b"/jail/etc/x"
    assert inside(b"../../etc/x") == b"/jail/etc/x"
    # What was learnt inside says nothing of the same text outside.
    assert names.resolve_name(b"/jail", b"link/x", follow=False)[0] == b"/etc/x"
    assert inside(b"link/x") == b"/jail/etc/x"


def test_disk_is_asked_once_a_name(names: NameResolver, disk: Disk) -> None:
    for _ in range(3):
        for file in (b"one", b"two"):
            names.resolve_name(b"/w", b"rel/sub/" + file, follow=False)
    assert len(disk.asked) == len(set(disk.asked))


def test_symlink_that_was_made_is_followed_though_it_is_gone(names: NameResolver) -> None:
    names.cache.note_made(b"/w/fresh", NameKind.SYMLINK, b"dir")
    assert names.resolve_name(b"/w", b"fresh/x", follow=False) == (b"/w/dir/x", RESOLVED)
    names.cache.note_removed(b"/w/fresh", directory=True)
    assert names.resolve_name(b"/w", b"fresh/x", follow=False) == (b"/w/fresh/x", LEXICAL)
    names.cache.note_made(b"/w/fresh", NameKind.DIRECTORY)
    assert names.resolve_name(b"/w", b"fresh/x", follow=False) == (b"/w/fresh/x", RESOLVED)


def test_directory_becomes_a_symlink(names: NameResolver) -> None:
    assert names.resolve_name(b"/w", b"dir/sub/x", follow=False)[0] == b"/w/dir/sub/x"
    names.cache.note_removed(b"/w/dir/sub", directory=True)
    names.cache.note_made(b"/w/dir/sub", NameKind.SYMLINK, b"/etc")
    assert names.resolve_name(b"/w", b"dir/sub/x", follow=False)[0] == b"/etc/x"


def test_hard_link_to_a_symlink_takes_the_place_of_a_file(names: NameResolver, disk: Disk) -> None:
    names.cache.note_made(b"/w/new", NameKind.OTHER)
    assert names.resolve_name(b"/w", b"new/x", follow=False) == (b"/w/new/x", RESOLVED)
    names.cache.note_removed(b"/w/new", directory=False)
    names.cache.note_made(b"/w/new", NameKind.UNKNOWN)
    disk.cache[b"/w/new"] = b"dir"
    assert names.resolve_name(b"/w", b"new/x", follow=False) == (b"/w/dir/x", RESOLVED)


def test_renamed_symlink(names: NameResolver) -> None:
    assert names.resolve_name(b"/w", b"rel/x", follow=False)[0] == b"/w/dir/x"
    names.cache.note_renamed(b"/w/rel", b"/w/other", gone=True)
    assert names.resolve_name(b"/w", b"other/x", follow=False)[0] == b"/w/dir/x"


def test_renamed_directory_takes_what_is_known_below_it(names: NameResolver, disk: Disk) -> None:
    names.cache.note_made(b"/w/dir/link", NameKind.SYMLINK, b"/etc")
    disk.cache[b"/w/moved"] = None
    names.cache.note_renamed(b"/w/dir", b"/w/moved", gone=True)
    assert names.resolve_name(b"/w", b"moved/link/x", follow=False) == (b"/etc/x", RESOLVED)
    assert names.cache.kind_of(b"/w/dir") is NameKind.ABSENT
    names.cache.note_made(b"/w/dir", NameKind.DIRECTORY)
    names.cache.note_made(b"/w/dir/link", NameKind.DIRECTORY)
    assert names.resolve_name(b"/w", b"dir/link/x", follow=False) == (b"/w/dir/link/x", RESOLVED)


def test_directory_of_the_disk_is_renamed_away_with_its_symlinks(disk: Disk) -> None:
    disk.cache[b"/w/dir/link"] = b"/etc"
    names = names_of(disk)
    assert names.resolve_name(b"/w", b"dir/link/x", follow=False)[0] == b"/etc/x"
    names.cache.note_renamed(b"/w/dir", b"/w/moved", gone=True)
    names.cache.note_made(b"/w/dir", NameKind.DIRECTORY)
    names.cache.note_made(b"/w/dir/link", NameKind.DIRECTORY)
    assert names.resolve_name(b"/w", b"dir/link/x", follow=False)[0] == b"/w/dir/link/x"


def test_name_renamed_onto_a_symlink_replaces_it(names: NameResolver) -> None:
    names.cache.note_made(b"/w/new", NameKind.DIRECTORY)
    assert names.resolve_name(b"/w", b"rel/x", follow=False)[0] == b"/w/dir/x"
    names.cache.note_made(b"/w/link2", NameKind.SYMLINK, b"/etc")
    names.cache.note_renamed(b"/w/link2", b"/w/rel", gone=True)
    assert names.resolve_name(b"/w", b"rel/x", follow=False)[0] == b"/etc/x"


def test_file_renamed_onto_a_symlink_replaces_it(names: NameResolver) -> None:
    assert names.resolve_name(b"/w", b"tofile", follow=True)[0] == b"/w/file"
    names.cache.note_made(b"/w/plain", NameKind.OTHER)
    names.cache.note_renamed(b"/w/plain", b"/w/tofile", gone=True)
    assert names.resolve_name(b"/w", b"tofile", follow=True)[0] == b"/w/tofile"


def test_exchanged_names_change_what_they_lead_to(names: NameResolver) -> None:
    names.cache.note_made(b"/w/a", NameKind.SYMLINK, b"/etc")
    names.cache.note_made(b"/w/b", NameKind.DIRECTORY)
    names.cache.note_exchanged(b"/w/a", b"/w/b")
    assert names.resolve_name(b"/w", b"a/x", follow=False)[0] == b"/w/a/x"
    assert names.resolve_name(b"/w", b"b/x", follow=False)[0] == b"/etc/x"


def test_exchanged_name_that_was_never_looked_at(names: NameResolver) -> None:
    # /w/rel is a symlink on the disk before the exchange; afterwards the disk shows it as /w/b.
    names.cache.note_made(b"/w/b", NameKind.DIRECTORY)
    names.cache.note_exchanged(b"/w/rel", b"/w/b")
    assert names.cache.kind_of(b"/w/rel") is NameKind.DIRECTORY
    assert names.cache.kind_of(b"/w/b") is NameKind.UNKNOWN


def test_rename_onto_itself_changes_nothing(names: NameResolver) -> None:
    names.cache.note_made(b"/w/a", NameKind.SYMLINK, b"/etc")
    names.cache.note_renamed(b"/w/a", b"/w/a", gone=True)
    assert names.resolve_name(b"/w", b"a/x", follow=False)[0] == b"/etc/x"


def test_mounts_that_changed_make_it_look_again(names: NameResolver, disk: Disk) -> None:
    assert names.resolve_name(b"/w", b"rel/x", follow=False)[0] == b"/w/dir/x"
    disk.cache[b"/w/rel"] = None
    names.cache.forget_all()
    assert names.resolve_name(b"/w", b"rel/x", follow=False)[0] == b"/w/rel/x"


def test_more_than_forty_symlinks_are_too_many() -> None:
    cache: dict[bytes, bytes | None] = {b"/l%d" % number: b"l%d" % (number + 1) for number in range(50)}
    cache[b"/l50"] = None
    names = names_of(Disk(cache))
    assert names.resolve_name(b"/", b"l11", follow=True) == (b"/l50", RESOLVED)
    assert names.resolve_name(b"/", b"l5", follow=True)[1] is LEXICAL


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
        assert NameResolver().resolve_name(start, name.encode(), follow=True) == (expected, RESOLVED), name


@pytest.mark.parametrize(
    ("name", "path", "certain"),
    [
        (b"d/f", b"/jail/w/d/f", True),
        (b"d/../f", b"/jail/w/f", True),
        (b"near/f", b"/jail/w/d/f", True),
        (b"far/f", b"/jail/w/far/f", False),
        (b"../f", b"/jail/w/f", False),
        (b"d/../../../f", b"/jail/w/f", False),
        (b"..", b"/jail/w", False),
        (b"d/..", b"/jail/w", True),
    ],
)
def test_names_of_a_process_whose_root_is_not_known(name: bytes, path: bytes, certain: bool) -> None:
    links = {b"/jail/w/near": b"d", b"/jail/w/far": b"/d"}

    def read(place: bytes) -> bytes:
        if place in links:
            return links[place]
        raise OSError(errno.EINVAL, "no symlink")

    found = NameResolver(read).resolve_name(b"/jail/w", name, follow=False, root=None)
    assert found == (path, Certainty.RESOLVED if certain else Certainty.LEXICAL)
