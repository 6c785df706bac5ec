"""The resolver: operands become paths, mounts and identities; events teach it names."""

from __future__ import annotations

import os
import stat
import time

import pytest

from tests.support.raw_events import at, raw
from writeaudit.audit import Mount
from writeaudit.events import OK, Access, Certainty, Doubt, FsEvent, Op, Operand, RawEvent
from writeaudit.resolve.names import birth_time
from writeaudit.resolve.resolver import Resolver

_LATER = 1 << 62
"""A time at which everything that was ever read from the disk has long been so."""


def test_events_are_numbered_and_timed_from_the_start(resolver: Resolver, here: bytes) -> None:
    first = resolver.resolve_event(raw(Op.MKDIR, at(here, b"a")))
    second = resolver.resolve_event(raw(Op.MKDIR, at(here, b"b"), time_ns=2000))
    early = resolver.resolve_event(raw(Op.MKDIR, at(here, b"c"), time_ns=10))
    assert [(event.seq, event.time_ns) for event in (first, second, early)] == [(1, 500), (2, 1000), (3, 0)]


def test_relative_name_with_a_symlink_in_it(resolver: Resolver, here: bytes) -> None:
    os.mkdir(here + b"/real")
    os.symlink(b"real", here + b"/link")
    event = resolver.resolve_event(raw(Op.MKDIR, at(here, b"link/new")))
    assert (event.path, event.seen_as, event.certainty) == (
        here + b"/real/new",
        b"link/new",
        Certainty.RESOLVED,
    )


def test_plain_relative_name_has_no_other_spelling(resolver: Resolver, here: bytes) -> None:
    assert resolver.resolve_event(raw(Op.MKDIR, at(here, b"new"))).seen_as is None


def test_open_file_keeps_the_kernels_word(resolver: Resolver) -> None:
    operand = Operand(b"/some/file", None, dev=os.makedev(7, 8), ino=99, fmt=stat.S_IFREG)
    event = resolver.resolve_event(
        raw(Op.OPEN, operand, access=Access.WRITE, flags=("creat",), created=True, spelled=b"../file")
    )
    assert (event.path, event.certainty, event.dev, event.ino, event.fmt) == (
        b"/some/file", Certainty.KERNEL, os.makedev(7, 8), 99, stat.S_IFREG,
    )  # fmt: skip
    assert event.created
    assert event.seen_as == b"../file"
    assert event.mount is not None, "the mount of a path is looked up where the backend does not say"


def test_identity_of_a_name_is_looked_up(resolver: Resolver, here: bytes) -> None:
    os.mkdir(here + b"/made")
    status = os.stat(here + b"/made")
    event = resolver.resolve_event(raw(Op.MKDIR, at(here, b"made"), mode=0o755))
    assert (event.dev, event.ino, event.fmt) == (status.st_dev, status.st_ino, stat.S_IFDIR)


def test_both_sides_of_a_link_have_an_identity(resolver: Resolver, here: bytes) -> None:
    for name in (b"old", b"new"):
        if name == b"old":
            with open(here + b"/old", "wb"):
                pass
        else:
            os.link(here + b"/old", here + b"/new")
    event = resolver.resolve_event(raw(Op.LINK, at(here, b"new"), source=at(here, b"old")))
    assert (event.path, event.source) == (here + b"/new", here + b"/old")
    assert event.ino == event.source_ino == os.stat(here + b"/old").st_ino
    assert event.mount == event.source_mount is not None


def test_old_name_of_a_rename_has_the_identity_of_the_new(resolver: Resolver, here: bytes) -> None:
    with open(here + b"/new", "wb"):
        pass
    event = resolver.resolve_event(raw(Op.RENAME, at(here, b"new"), source=at(here, b"old")))
    assert event.source_ino == event.ino == os.stat(here + b"/new").st_ino


def test_failed_call_has_the_device_of_its_directory(resolver: Resolver, here: bytes) -> None:
    event = resolver.resolve_event(raw(Op.MKDIR, at(here, b"no"), result="EROFS"))
    assert (event.dev, event.ino, event.result) == (os.stat(here).st_dev, None, "EROFS")


def test_symlink_keeps_its_text(resolver: Resolver, here: bytes) -> None:
    event = resolver.resolve_event(raw(Op.SYMLINK, at(here, b"l"), target_text=b"../any\xff text"))
    assert (event.path, event.source) == (here + b"/l", b"../any\xff text")


def test_names_that_events_made_count_before_the_disk(resolver: Resolver, here: bytes) -> None:
    # All of it is gone again by the time that it is looked at.
    resolver.resolve_event(raw(Op.MKDIR, at(here, b"d")))
    resolver.resolve_event(raw(Op.SYMLINK, at(here, b"l"), target_text=b"d"))
    event = resolver.resolve_event(raw(Op.MKDIR, at(here, b"l/sub")))
    assert (event.path, event.certainty) == (here + b"/d/sub", Certainty.RESOLVED)
    resolver.resolve_event(raw(Op.UNLINK, at(here, b"l")))
    resolver.resolve_event(raw(Op.RENAME, at(here, b"l"), source=at(here, b"d")))
    event = resolver.resolve_event(raw(Op.UNLINK, at(here, b"l/file")))
    assert (event.path, event.certainty) == (here + b"/l/file", Certainty.RESOLVED)


def test_failed_calls_teach_nothing(resolver: Resolver, here: bytes) -> None:
    resolver.resolve_event(raw(Op.SYMLINK, at(here, b"l"), target_text=b"/etc", result="EEXIST"))
    os.mkdir(here + b"/l")
    assert resolver.resolve_event(raw(Op.MKDIR, at(here, b"l/x"))).path == here + b"/l/x"


def test_hard_link_to_a_symlink_is_a_symlink(resolver: Resolver, here: bytes) -> None:
    os.mkdir(here + b"/d")
    os.symlink(b"d", here + b"/l")
    os.link(here + b"/l", here + b"/second", follow_symlinks=False)
    resolver.resolve_event(raw(Op.LINK, at(here, b"second"), source=at(here, b"l")))
    assert resolver.resolve_event(raw(Op.MKDIR, at(here, b"second/x"))).path == here + b"/d/x"


def test_directory_that_is_gone_makes_the_path_text(resolver: Resolver, here: bytes) -> None:
    event = resolver.resolve_event(raw(Op.MKDIR, at(here, b"gone/x")))
    assert (event.path, event.certainty) == (here + b"/gone/x", Certainty.LEXICAL)
    assert resolver.unresolved == 1


def test_look_ahead_knows_directories_that_go(resolver: Resolver, here: bytes) -> None:
    make = raw(Op.MKDIR, at(here, b"gone/x"))
    remove = raw(Op.RMDIR, at(here, b"gone"))
    resolver.look_ahead([make, remove])
    assert resolver.resolve_event(make).certainty is Certainty.RESOLVED
    assert resolver.unresolved == 0


def test_look_ahead_is_taken_in_by_no_text(resolver: Resolver, here: bytes) -> None:
    """A rename that seems to lead to ``a/new`` leads out of ``a`` by a symlink."""
    os.makedirs(here + b"/a/b")
    os.symlink(b"..", here + b"/a/up")
    os.symlink(b"b", here + b"/a/new")
    asks = raw(Op.OPEN, at(here, b"a/gone"), result="ENOENT", follow=True)
    moves = raw(Op.RENAME, at(here, b"a/up/../new"), source=at(here, b"a/gone"))
    resolver.look_ahead([asks, moves])
    assert resolver.resolve_event(asks).path == here + b"/a/b"
    resolver.resolve_event(moves)
    assert resolver.take_doubtful() == [1]


@pytest.mark.parametrize(("result", "access", "counts"), [(OK, "w", 1), ("ENOENT", "w", 0), (OK, "r", 0)])
def test_only_changes_that_happened_count_as_unresolved(
    resolver: Resolver, here: bytes, result: str, access: str, counts: int
) -> None:
    resolver.resolve_event(raw(Op.OPEN, at(here, b"gone/x"), result=result, access=Access(access)))
    assert resolver.unresolved == counts


def test_truncated_operand_is_text(resolver: Resolver, here: bytes) -> None:
    event = resolver.resolve_event(raw(Op.UNLINK, at(here, b"x", doubt=Doubt.UNREADABLE), result="EFAULT"))
    assert event.certainty is Certainty.LEXICAL


def test_worse_side_decides_the_certainty(resolver: Resolver, here: bytes) -> None:
    event = resolver.resolve_event(raw(Op.RENAME, at(here, b"x"), source=at(here, b"gone/y")))
    assert event.certainty is Certainty.LEXICAL


def test_unknown_base_leaves_the_bare_name(resolver: Resolver) -> None:
    event = resolver.resolve_event(raw(Op.UNLINK, Operand(None, b"name"), result="EBADF"))
    assert (event.path, event.mount, event.certainty) == (b"name", None, Certainty.LEXICAL)


def test_file_without_a_name_says_so(resolver: Resolver) -> None:
    operand = Operand(b"/tmp/#123", None, dev=1, ino=2, deleted=True)
    assert "deleted" in resolver.resolve_event(raw(Op.WRITE, operand)).flags


def test_attribute_stands_among_the_flags(resolver: Resolver, here: bytes) -> None:
    event = resolver.resolve_event(raw(Op.SETXATTR, at(here, b"x"), xattr=b"user.a\n"))
    assert event.flags == (r"xattr=user.a\x0a",)


def test_chroot_leads_to_the_path_outside(resolver: Resolver, here: bytes) -> None:
    os.makedirs(here + b"/jail/etc")
    event = resolver.resolve_event(raw(Op.MKDIR, at(here + b"/jail", b"/etc/x")))
    assert event.path == here + b"/jail/etc/x"
    assert event.seen_as == b"/etc/x"


def test_name_in_another_namespace_gets_ours(resolver: Resolver, here: bytes) -> None:
    ours = resolver.registry.own.mount_of(here)
    assert ours is not None
    inside = here.removeprefix(ours.mountpoint.rstrip(b"/"))
    foreign = Mount(
        900_000,
        99,
        ours.dev,
        ours.fstype,
        b"x",
        (ours.root.rstrip(b"/") + inside),
        b"/mnt/view",
        ("rw",),
        1,
        False,
    )
    resolver.mount_seen(foreign)
    event = resolver.resolve_event(raw(Op.MKDIR, Operand(b"/mnt/view", b"new", 900_000, 99, inner=0)))
    assert event.path == here + b"/new"
    assert event.mount == ours.id
    opened = Operand(b"/mnt/view/sub/f", None, 900_000, 99, dev=1, ino=2, inner=len(b"/sub/f"))
    assert resolver.resolve_event(raw(Op.OPEN, opened, access=Access.WRITE)).path == here + b"/sub/f"


def test_name_that_only_another_namespace_has_stays_as_seen(resolver: Resolver) -> None:
    foreign = Mount(900_001, 99, os.makedev(0, 4095), "tmpfs", b"x", b"/", b"/private", ("rw",), 1, False)
    resolver.mount_seen(foreign)
    event = resolver.resolve_event(raw(Op.MKDIR, Operand(b"/private", b"new", 900_001, 99, inner=0)))
    assert (event.path, event.mount) == (b"/private/new", 900_001)


@pytest.mark.parametrize("known", [True, False])
def test_backend_that_cannot_tell_whether_a_file_was_made(
    resolver: Resolver, here: bytes, known: bool
) -> None:
    if known:
        resolver.resolve_event(raw(Op.UNLINK, at(here, b"f")))
    with open(here + b"/f", "wb"):
        pass
    event = resolver.resolve_event(
        raw(Op.OPEN, at(here, b"f"), access=Access.WRITE, flags=("creat",), follow=True, time_ns=_LATER)
    )
    assert event.created is known


def test_file_made_at_the_time_of_the_call_was_made_by_it(resolver: Resolver, here: bytes) -> None:
    with open(here + b"/f", "wb"):
        pass
    event = resolver.resolve_event(
        raw(
            Op.OPEN, Operand(here + b"/f", None), access=Access.WRITE, flags=("creat",), follow=True,
            time_ns=time.monotonic_ns(),
        )
    )  # fmt: skip
    assert event.created


@pytest.mark.parametrize("lasted_ns", [0, 500_000_000])
def test_call_that_had_to_wait_for_its_return_made_the_file_all_the_same(
    resolver: Resolver, here: bytes, lasted_ns: int
) -> None:
    with open(here + b"/f", "wb"):
        pass
    event = resolver.resolve_event(
        raw(
            Op.OPEN, Operand(here + b"/f", None), access=Access.WRITE, flags=("creat",),
            time_ns=time.monotonic_ns() + 500_000_000, lasted_ns=lasted_ns,
        )
    )  # fmt: skip
    assert event.created is (lasted_ns > 0)


def test_file_that_goes_while_it_is_asked_about_was_made_by_the_call(
    resolver: Resolver, here: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command goes on meanwhile: nothing that was seen a moment ago need be there still."""
    with open(here + b"/f", "wb"):
        pass
    ask = birth_time._statx
    assert ask is not None

    def goes(*arguments: object) -> object:
        os.unlink(here + b"/f")
        return ask(*arguments)

    monkeypatch.setattr(birth_time, "_statx", goes)
    event = resolver.resolve_event(
        raw(Op.OPEN, Operand(here + b"/f", None), access=Access.WRITE, flags=("creat",), time_ns=_LATER)
    )
    assert event.created


# What later events show to be wrong.


def test_file_of_a_name_that_was_moved_is_taken_back(resolver: Resolver, here: bytes) -> None:
    os.mkdir(here + b"/a")
    made = resolver.resolve_event(raw(Op.MKDIR, at(here, b"a")))
    assert made.ino is not None
    resolver.resolve_event(raw(Op.MKDIR, at(here, b"b"), time_ns=1600))
    assert resolver.take_unidentified() == []
    resolver.resolve_event(raw(Op.EXCHANGE, at(here, b"a"), source=at(here, b"b"), time_ns=1700))
    assert resolver.take_unidentified() == [made.seq]
    assert resolver.take_doubtful() == []


def test_file_of_a_name_that_is_left_alone_is_kept(resolver: Resolver, here: bytes) -> None:
    os.mkdir(here + b"/a")
    resolver.resolve_event(raw(Op.MKDIR, at(here, b"a")))
    resolver.resolve_event(raw(Op.RMDIR, at(here, b"a"), time_ns=_LATER))
    assert resolver.take_unidentified() == []


def test_name_without_a_file_is_not_looked_up(resolver: Resolver, here: bytes) -> None:
    with open(here + b"/f", "wb"):
        pass
    event = resolver.resolve_event(raw(Op.TRUNCATE, Operand(here + b"/f", None, deleted=True)))
    assert (event.ino, event.fmt) == (None, None)


def test_doubtful_event_takes_with_it_what_it_taught(resolver: Resolver, here: bytes) -> None:
    os.makedirs(here + b"/real")
    os.symlink(b"real", here + b"/link")
    first = resolver.resolve_event(raw(Op.SYMLINK, at(here, b"link/new"), target_text=b"/etc"))
    second = resolver.resolve_event(raw(Op.MKDIR, at(here, b"real/new/x")))
    assert (first.path, second.path) == (here + b"/real/new", b"/etc/x")
    resolver.resolve_event(raw(Op.RENAME, at(here, b"link"), source=at(here, b"other"), time_ns=1600))
    assert sorted(resolver.take_doubtful()) == [first.seq, second.seq]
    assert resolver.unresolved == 2


def test_symlink_that_is_removed_through_itself(resolver: Resolver, here: bytes) -> None:
    """``l`` led to its own directory when it was removed as ``l/l``; the disk shows what came after it."""
    os.mkdir(here + b"/l")
    failed = resolver.resolve_event(raw(Op.UNLINK, at(here, b"l/x"), result="ENOENT"))
    removed = resolver.resolve_event(raw(Op.UNLINK, at(here, b"l/l")))
    assert (failed.path, removed.path) == (here + b"/l/x", here + b"/l/l")
    assert resolver.take_doubtful() == []
    resolver.resolve_event(raw(Op.MKDIR, at(here, b"l"), time_ns=1600))
    assert sorted(resolver.take_doubtful()) == [failed.seq, removed.seq]


@pytest.mark.parametrize(
    "call",
    [
        raw(Op.RENAME, Operand(b"", b"l/../x"), source=Operand(b"", b"l")),
        raw(Op.RENAME, Operand(b"", b"l/../l"), source=Operand(b"", b"l")),
        raw(Op.EXCHANGE, Operand(b"", b"l/../l"), source=Operand(b"", b"l")),
        raw(Op.RMDIR, Operand(b"", b"l/../l")),
        raw(Op.MKDIR, Operand(b"", b"l/../l")),
    ],
    ids=["rename", "same", "exchange", "rmdir", "mkdir"],
)
def test_call_is_no_witness_for_its_own_path(resolver: Resolver, here: bytes, call: RawEvent) -> None:
    """``l`` may have been a symlink until then, and led elsewhere."""
    os.mkdir(here + b"/l")
    os.mkdir(here + b"/x")
    source = call.source and call.source._replace(base=here)
    event = resolver.resolve_event(call._replace(path=call.path._replace(base=here), source=source))
    assert event.certainty is Certainty.LEXICAL


def test_text_that_changed_a_name_makes_everything_unknown(resolver: Resolver, here: bytes) -> None:
    os.mkdir(here + b"/d")
    resolver.resolve_event(raw(Op.SYMLINK, at(here, b"l"), target_text=b"/etc"))
    os.mkdir(here + b"/l")
    # What that was, it may have been the link.
    resolver.resolve_event(raw(Op.UNLINK, at(here, b"gone/l")))
    assert resolver.resolve_event(raw(Op.MKDIR, at(here, b"l/x"))).path == here + b"/l/x"


def test_rename_between_two_names_of_a_file_does_nothing(resolver: Resolver, here: bytes) -> None:
    os.mkdir(here + b"/d")
    os.symlink(b"d", here + b"/a")
    os.link(here + b"/a", here + b"/b", follow_symlinks=False)
    os.rename(here + b"/a", here + b"/b")
    resolver.resolve_event(raw(Op.RENAME, at(here, b"b"), source=at(here, b"a"), time_ns=_LATER))
    event = resolver.resolve_event(raw(Op.MKDIR, at(here, b"a/x"), time_ns=_LATER))
    assert (event.path, event.certainty) == (here + b"/d/x", Certainty.RESOLVED)


def test_rename_of_the_directory_that_its_names_begin_at(resolver: Resolver, here: bytes) -> None:
    # From /a/x to /b/x, by a process in it: the kernel side finds it in /b/x when all is over.
    os.makedirs(here + b"/b/x")
    place = here + b"/b/x"
    event = resolver.resolve_event(
        raw(Op.RENAME, at(place, b"../../b/x", inner=0), source=at(place, b"../x", inner=0))
    )
    assert event.certainty is Certainty.LEXICAL
    event = resolver.resolve_event(
        raw(Op.RENAME, at(place, b"../new", inner=0), source=at(place, b"../old", inner=0))
    )
    assert event.certainty is Certainty.RESOLVED


def test_directory_that_a_process_removes_from_within(resolver: Resolver, here: bytes) -> None:
    """It has no name any more when the kernel side looks; the name that was given leads out of it."""
    event = resolver.resolve_event(raw(Op.RMDIR, at(here + b"/d", b"../d", deleted=True)))
    assert (event.path, event.flags) == (here + b"/d", ())


def test_fields_that_need_no_resolving_pass_through(resolver: Resolver, here: bytes) -> None:
    event = resolver.resolve_event(
        raw(Op.COPY, at(here, b"x"), bytes=7, calls=2, mode=0o640, pid=3, tid=4, result="EXDEV")
    )
    assert isinstance(event, FsEvent)
    assert (event.bytes, event.calls, event.mode, event.pid, event.tid) == (7, 2, 0o640, 3, 4)
