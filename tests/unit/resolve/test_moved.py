"""Names that led elsewhere, or nowhere, once the call had returned."""

from __future__ import annotations

import os
import time

import pytest

from tests.support.raw_events import at, raw
from writeaudit.audit import Mount
from writeaudit.events import NO_DOUBT, Access, Certainty, Doubt, Op, Operand
from writeaudit.resolve.resolver import Resolver


def _taken_away(resolver: Resolver, point: bytes) -> Operand:
    """Let a tmpfs be met, mounted; then again, in no namespace. Returns its directory ``/sub``."""
    dev = os.makedev(0, 4094)
    own = resolver.registry.own_ns
    resolver.mount_seen(Mount(900_002, own, dev, "tmpfs", b"x", b"/", point, ("rw",), 1, True))
    resolver.mount_seen(Mount(900_002, 0, dev, "tmpfs", b"x", b"/", b"/", ("rw",), 900_002, False))
    return Operand(b"/sub", None, 900_002, dev=dev, ino=9, inner=len(b"/sub"), detached=True)


def test_file_of_a_mount_that_was_taken_away_is_called_as_before(resolver: Resolver, here: bytes) -> None:
    directory = _taken_away(resolver, here)
    file = directory._replace(base=b"/sub/f", inner=len(b"/sub/f"))
    event = resolver.resolve_event(raw(Op.WRITE, file))
    assert (event.path, event.mount, event.ino) == (here + b"/sub/f", 900_002, 9)
    assert (event.flags, event.certainty) == (("deleted",), Certainty.KERNEL)
    # The fast way of opens says the same.
    opened = resolver.resolve_event(raw(Op.OPEN, file, access=Access.WRITE, flags=("creat",), created=True))
    assert (opened.path, opened.flags, opened.created) == (here + b"/sub/f", ("creat", "deleted"), True)


def test_what_happens_in_a_mount_that_was_taken_away_says_nothing_of_its_old_place(
    resolver: Resolver, here: bytes
) -> None:
    directory = _taken_away(resolver, here)._replace(dev=None, ino=None)
    os.mkdir(here + b"/sub")
    os.symlink(here, here + b"/sub/name")
    event = resolver.resolve_event(raw(Op.MKDIR, directory._replace(name=b"name")))
    assert (event.path, event.certainty) == (here + b"/sub/name", Certainty.RESOLVED)
    assert event.ino is None
    assert resolver.resolve_event(raw(Op.MKDIR, at(here, b"sub/name/x"))).path == here + b"/x"


@pytest.mark.parametrize("name", [b"a/b", b"..", b"../x"])
def test_name_that_leads_on_in_a_mount_that_was_taken_away_is_text(
    resolver: Resolver, here: bytes, name: bytes
) -> None:
    directory = _taken_away(resolver, here)._replace(dev=None, ino=None)
    event = resolver.resolve_event(raw(Op.MKDIR, directory._replace(name=name)))
    assert event.certainty is Certainty.LEXICAL


# What a call moved, and led through itself.


@pytest.mark.parametrize("op", [Op.EXCHANGE, Op.RENAME])
def test_rename_of_a_symlink_through_itself(resolver: Resolver, here: bytes, op: Op) -> None:
    """``l`` was a symlink to ``.``, so ``l/l`` was itself; now it is what came in its place."""
    if op is Op.EXCHANGE:
        os.makedirs(here + b"/l/l")
    else:
        with open(here + b"/l", "wb"):
            pass
    event = resolver.resolve_event(
        raw(op, at(here, b"l/l"), source=at(here, b"other"), time_ns=time.monotonic_ns())
    )
    assert event.certainty is Certainty.LEXICAL


@pytest.mark.parametrize("op", [Op.EXCHANGE, Op.RENAME])
def test_rename_below_a_directory_of_the_same_name(resolver: Resolver, here: bytes, op: Op) -> None:
    now = time.monotonic_ns()
    if op is Op.EXCHANGE:
        resolver.resolve_event(raw(Op.MKDIR, at(here, b"l"), time_ns=now))  # else nobody can tell
    os.makedirs(here + b"/l/l")
    event = resolver.resolve_event(raw(op, at(here, b"l/l"), source=at(here, b"other"), time_ns=now))
    assert (event.path, event.certainty) == (here + b"/l/l", Certainty.RESOLVED)


@pytest.mark.parametrize("known", [b"old", b"new"])
def test_directory_that_came_later_does_not_tell_what_was_renamed(
    resolver: Resolver, here: bytes, known: bytes
) -> None:
    """If both names were links to one symlink, the old one is there still."""
    resolver.resolve_event(raw(Op.SYMLINK, at(here, known), target_text=b"x"))
    os.mkdir(here + b"/new")
    resolver.resolve_event(raw(Op.RENAME, at(here, b"new"), source=at(here, b"old")))
    os.symlink(b"x", here + b"/old")
    event = resolver.resolve_event(raw(Op.MKDIR, at(here, b"old/sub")))
    assert event.path == here + b"/x/sub"


@pytest.mark.parametrize("result", ["EEXIST", "EISDIR", "ENOTEMPTY"])
def test_refusal_for_what_was_thought_absent_is_taken_for_what_it_says(
    resolver: Resolver, here: bytes, result: str
) -> None:
    resolver.resolve_event(raw(Op.UNLINK, at(here, b"l")))
    resolver.resolve_event(raw(Op.SYMLINK, at(here, b"other"), target_text=b"real"))
    os.symlink(b"elsewhere", here + b"/other")
    os.symlink(b"real", here + b"/l")
    refused = resolver.resolve_event(raw(Op.RENAME, at(here, b"l"), source=at(here, b"z"), result=result))
    assert refused.certainty is Certainty.LEXICAL
    # All that was known is forgotten: it may be as wrong.
    assert resolver.resolve_event(raw(Op.MKDIR, at(here, b"l/x"))).path == here + b"/real/x"
    assert resolver.resolve_event(raw(Op.MKDIR, at(here, b"other/x"))).path == here + b"/elsewhere/x"


def test_refusal_for_the_slash_alone_says_nothing(resolver: Resolver, here: bytes) -> None:
    resolver.resolve_event(raw(Op.UNLINK, at(here, b"l")))
    resolver.resolve_event(
        raw(Op.OPEN, at(here, b"l/"), access=Access.WRITE, flags=("creat",), created=False, result="EISDIR")
    )
    os.symlink(b"real", here + b"/l")
    assert resolver.resolve_event(raw(Op.MKDIR, at(here, b"l/x"))).path == here + b"/l/x"


@pytest.mark.parametrize("linked", [b"old", b"new"])
def test_two_names_of_one_file_that_came_later_do_not_tell_that_a_rename_did_nothing(
    resolver: Resolver, here: bytes, linked: bytes
) -> None:
    """A directory was renamed; by the time of the look both names are links to another file."""
    with open(here + b"/new", "wb"):
        pass
    os.link(here + b"/new", here + b"/old")
    now = time.monotonic_ns()
    resolver.resolve_event(raw(Op.RENAME, at(here, b"new"), source=at(here, b"old"), time_ns=now))
    assert resolver.take_doubtful() == []
    resolver.resolve_event(raw(Op.LINK, at(here, linked), source=at(here, b"else"), time_ns=now))
    assert resolver.take_doubtful() == [1]


@pytest.mark.parametrize("moved", [True, False])
def test_exchange_that_moved_the_directory_that_its_own_name_began_at(
    resolver: Resolver, here: bytes, moved: bool
) -> None:
    """The name led through a symlink of that directory; looked up where it is now, it leads elsewhere."""
    for name in (b"/one", b"/two", b"/two/sub"):
        os.mkdir(here + name)
    resolver.resolve_event(
        raw(Op.OPEN, at(here, b"two/link"), access=Access.WRITE, created=True, flags=("creat",))
    )
    if moved:
        # `link` was a symlink to `..` in what was called `one` until now.
        os.symlink(b"..", here + b"/two/link")
        source = Operand(here + b"/two", b"link/two", inner=len(here) + 4)
    else:
        source = Operand(here + b"/two", b"sub/two", inner=len(here) + 4)
        os.mkdir(here + b"/two/sub/two")
    # That it moved shows by its ctime.
    time_ns = time.monotonic_ns() + (0 if moved else 1_000_000_000)
    event = resolver.resolve_event(raw(Op.EXCHANGE, at(here, b"one"), source=source, time_ns=time_ns))
    assert (event.certainty is Certainty.LEXICAL) is moved


@pytest.mark.parametrize("op", [Op.RENAME, Op.EXCHANGE])
def test_file_of_the_same_name_as_a_directory_that_has_just_changed(
    resolver: Resolver, here: bytes, op: Op
) -> None:
    """``mkdir foo && cd foo && mkdir new old && mv old/foo new/foo`` moves no directory."""
    os.makedirs(here + b"/foo/new")
    os.mkdir(here + b"/foo/old")
    with open(here + b"/foo/new/foo", "wb"):
        pass
    base = Operand(here + b"/foo", None, inner=len(here) + 4)
    target, source = base._replace(name=b"new/foo"), base._replace(name=b"old/foo")
    event = resolver.resolve_event(raw(op, target, source=source, time_ns=time.monotonic_ns()))
    assert (event.path, event.source) == (here + b"/foo/new/foo", here + b"/foo/old/foo")
    assert (event.certainty is Certainty.LEXICAL) is (op is Op.EXCHANGE)


@pytest.mark.parametrize("name", [b"new", b".", b"sub/new"])
@pytest.mark.parametrize("guessed", [True, False])
def test_directory_that_was_guessed_vouches_for_nothing(
    resolver: Resolver, name: bytes, guessed: bool
) -> None:
    foreign = Mount(900_001, 99, os.makedev(0, 4095), "tmpfs", b"x", b"/", b"/private", ("rw",), 1, False)
    resolver.mount_seen(foreign)
    operand = Operand(
        b"/private", name, 900_001, 99, inner=0, doubt=Doubt.UNCERTAIN_BASE if guessed else NO_DOUBT
    )
    event = resolver.resolve_event(raw(Op.CHMOD, operand))
    assert (event.certainty is Certainty.LEXICAL) is (guessed or b"/" in name)
