"""Mounts whose directories move, and tables that are read too late to say when."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import pytest

from writeaudit.events import OK, Access, Certainty, FsEvent, Op, Operand, RawEvent
from writeaudit.resolve.mounts import namespaces
from writeaudit.resolve.mounts.registry import mountinfo_of
from writeaudit.resolve.resolver import Resolver

_LATER = 1 << 62
"""A time at which everything that was ever read from the disk has long been so."""


def _raw(op: Op, path: Operand, result: str = OK, time_ns: int = 1500) -> RawEvent:
    return RawEvent(time_ns, 10, 10, op, result, path, follow=False)


class Mounted:
    """``d`` is mounted on ``m``: a table that a test makes up."""

    def __init__(self, resolver: Resolver, here: bytes, patch: pytest.MonkeyPatch) -> None:
        self.resolver, self.here = resolver, here
        self._top = resolver.registry.own.mount_of(here)
        self._info = mountinfo_of("self") or b""
        patch.setattr(namespaces, "mountinfo_of", lambda _pid, _privileged: self.text)
        self.lies_at(b"d")
        resolver.registry.read_table(resolver.registry.own_ns, self.text)

    def lies_at(self, name: bytes) -> None:
        """Let what is mounted be called otherwise from here on."""
        top, here = self._top, self.here
        assert top is not None
        inside = top.root.rstrip(b"/") + here.removeprefix(top.mountpoint.rstrip(b"/"))
        self.text = self._info + b"999999 %d %d:%d %s/%s %s/m rw - ext4 x rw\n" % (
            top.id, os.major(top.dev), os.minor(top.dev), inside, name, here,
        )  # fmt: skip

    @property
    def name(self) -> bytes:
        """What the mounted directory is called, as far as the resolver knows."""
        found = self.resolver.registry.own.mount_of(self.here + b"/m")
        assert found is not None
        return found.root.rpartition(self.here.rpartition(b"/")[2] + b"/")[2]

    def move(self, old: bytes, new: bytes, op: Op = Op.RENAME, time_ns: int = 0) -> FsEvent:
        """Resolve that something was renamed, just now unless said otherwise."""
        raw = _raw(op, Operand(self.here, new))._replace(source=Operand(self.here, old))
        return self.resolver.resolve_event(raw._replace(time_ns=time_ns or time.monotonic_ns()))


@pytest.fixture
def mounted(here: bytes, monkeypatch: pytest.MonkeyPatch) -> Iterator[Mounted]:
    resolver = Resolver(started_ns=1000)
    yield Mounted(resolver, here, monkeypatch)
    resolver.close()


@pytest.mark.parametrize("op", [Op.RENAME, Op.EXCHANGE])
def test_mounted_directory_moves(mounted: Mounted, op: Op) -> None:
    assert mounted.name == b"d"
    mounted.move(b"d", b"new", op)
    assert mounted.name == b"new"


def test_mounted_directory_that_is_removed_is_not_its_successor(mounted: Mounted, here: bytes) -> None:
    resolver = mounted.resolver
    resolver.resolve_event(_raw(Op.RMDIR, Operand(here, b"d")))
    assert mounted.name == b"d//deleted"
    resolver.resolve_event(_raw(Op.MKDIR, Operand(here, b"d")))
    resolver.resolve_event(_raw(Op.SYMLINK, Operand(here, b"d/l"))._replace(target_text=b"/etc"))
    event = resolver.resolve_event(_raw(Op.MKDIR, Operand(here, b"m/l/x"), result="ENOENT"))
    assert event.path == here + b"/m/l/x"
    mounted.move(b"other", b"d")
    assert mounted.name == b"d//deleted"


def test_mounted_directory_is_replaced(mounted: Mounted) -> None:
    mounted.move(b"other", b"d")
    assert mounted.name == b"d//deleted"


@pytest.mark.parametrize("op", [Op.RENAME, Op.EXCHANGE])
def test_table_that_shows_a_move_already_does_not_move_again(mounted: Mounted, op: Op) -> None:
    """It was read because of a move that nobody knows; by then another one had happened."""
    mounted.lies_at(b"later")
    assert mounted.move(b"gone/d", b"gone/x").certainty is Certainty.LEXICAL
    mounted.move(b"d", b"later", op)
    assert mounted.name == b"later"
    mounted.move(b"later", b"last", time_ns=_LATER)
    assert mounted.name == b"last"


def test_names_that_a_table_led_to_too_early_are_doubtful(mounted: Mounted, here: bytes) -> None:
    """``m/a`` is taken for ``later/a``, which it becomes only then; calls that failed are no exception."""
    resolver = mounted.resolver
    mounted.lies_at(b"later")
    mounted.move(b"gone/d", b"gone/x")
    now = time.monotonic_ns()
    resolver.resolve_event(_raw(Op.MKDIR, Operand(here, b"later"), time_ns=now))
    resolver.resolve_event(
        _raw(Op.SYMLINK, Operand(here + b"/later", b"a"), time_ns=now)._replace(target_text=b"/etc")
    )
    raw = _raw(Op.MKDIR, Operand(here, b"m/a/x"), time_ns=now)
    made, failed = resolver.resolve_event(raw), resolver.resolve_event(raw._replace(result="EEXIST"))
    assert {made.path, failed.path} == {b"/etc/x"}
    assert resolver.take_doubtful() == []
    mounted.move(b"d", b"later", Op.EXCHANGE, now)
    assert resolver.take_doubtful() == [made.seq, failed.seq]


def test_move_of_something_else_leaves_mounts_alone(mounted: Mounted) -> None:
    mounted.lies_at(b"elsewhere")
    mounted.move(b"gone/y", b"gone/z")
    mounted.move(b"y", b"z")
    assert mounted.name == b"d"


@pytest.mark.parametrize(
    ("spelled", "certainty"), [(b"d", Certainty.LEXICAL), (b"/", Certainty.KERNEL), (b"..", Certainty.KERNEL)]
)
def test_file_that_was_moved_out_of_its_mount(mounted: Mounted, spelled: bytes, certainty: Certainty) -> None:
    """The kernel calls it the root directory, which others are as well."""
    raw = _raw(Op.OPEN, Operand(b"/", None))._replace(spelled=spelled, access=Access.READ)
    event = mounted.resolver.resolve_event(raw)
    assert (event.certainty, event.ino is None) == (certainty, certainty is Certainty.LEXICAL)
