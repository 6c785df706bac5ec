"""Names that are read from the disk later than the events that rest on them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.support.made_up_disk import LATER, Disk, names_of
from writeaudit.events import Certainty
from writeaudit.resolve.names.cache import NameCache
from writeaudit.resolve.names.evidence import Evidence
from writeaudit.resolve.names.lookup import NameResolver
from writeaudit.resolve.names.nodes import NameKind


def _uses(names: NameResolver, name: bytes) -> Evidence:
    """Resolve a name for the event at hand."""
    names.resolve_name(b"/w", name, follow=False)
    return names.cache.evidence


def _three_uses(names: NameResolver, first: bytes, later: bytes) -> list[Evidence]:
    """Resolve a name for one event, and another for two more; turn to a fourth."""
    uses = [_uses(names, first)]
    for seq in (2, 3):
        names.cache.begin_event(seq, 1000 + seq)
        uses.append(_uses(names, later))
    names.cache.begin_event(4, 2000)
    return uses


def test_symlink_that_was_read_after_it_changed_is_a_failed_claim(disk: Disk) -> None:
    names = names_of(disk, 1000)
    evidence = _uses(names, b"rel/x")
    names.cache.begin_event(2, 2000)
    names.cache.note_removed(b"/w/rel", directory=False)
    assert names.cache.take_failed() == [evidence]
    assert names.cache.take_failed() == []


def test_cached_directory_bears_every_event_that_used_it(disk: Disk) -> None:
    names = names_of(disk, 1000)
    uses = _three_uses(names, b"rel/x", b"rel/y")
    names.cache.note_renamed(b"/w/file", b"/w/dir", gone=True)
    assert names.cache.take_failed() == uses


def test_directory_above_bears_every_event_that_led_through_it(disk: Disk) -> None:
    names = names_of(disk, 1000)
    uses = _three_uses(names, b"dir/x", b"dir/sub/../sub/y")
    names.cache.note_removed(b"/w/dir", directory=False)
    assert sorted(names.cache.take_failed(), key=lambda evidence: evidence.seq) == uses


@pytest.mark.parametrize(
    ("change", "fails"),
    [
        (lambda cache: cache.note_removed(b"/w/dir", directory=True), False),
        (lambda cache: cache.note_made(b"/w/dir", NameKind.DIRECTORY), False),
        (lambda cache: cache.note_renamed(b"/w/dir", b"/w/new", gone=True, directory_ns=2000), False),
        (lambda cache: cache.note_removed(b"/w/dir", directory=False), True),
        (lambda cache: cache.note_renamed(b"/w/new", b"/w/dir", gone=True), True),
        (lambda cache: cache.note_exchanged(b"/w/dir", b"/w/new"), True),
        (lambda cache: cache.note_removed(b"/w/file", directory=False), False),
    ],
    ids=["rmdir", "mkdir", "moved", "unlink", "replaced", "exchanged", "another"],
)
def test_directory_may_prove_to_have_been_one(
    disk: Disk, change: Callable[[NameCache], None], fails: bool
) -> None:
    names = names_of(disk, 1000)
    _uses(names, b"dir/x")
    names.cache.begin_event(2, 2000)
    change(names.cache)
    assert bool(names.cache.take_failed()) is fails


@pytest.mark.parametrize("ok", [True, False])
def test_name_that_a_call_led_through_was_there(disk: Disk, ok: bool) -> None:
    """Who removed it before it was made must have been taken for somebody else."""
    names = names_of(disk, 1000)
    names.cache.evidence.ok = ok
    evidence = _uses(names, b"dir/x")
    _uses(names, b"dir/sub/x")
    names.cache.begin_event(2, 2000)
    names.cache.note_removed(b"/w/dir/sub", directory=True)
    names.cache.note_made(b"/w/dir/sub", NameKind.DIRECTORY)
    assert names.cache.take_failed() == []
    names.cache.note_made(b"/w/dir", NameKind.DIRECTORY)
    assert names.cache.take_failed() == ([evidence] if ok else [])


@pytest.mark.parametrize("directory", [True, False])
def test_directory_under_the_new_name_may_be_a_younger_one(disk: Disk, directory: bool) -> None:
    """It speaks for what was read under the old name as long as nothing changes the new one."""
    names = names_of(disk, 1000)
    evidence = _uses(names, b"dir/x")
    names.cache.begin_event(2, 2000)
    names.cache.note_renamed(b"/w/dir", b"/w/new", gone=True, directory_ns=5000)
    names.cache.begin_event(3, 3000)
    names.cache.note_removed(b"/w/new", directory=directory)
    assert names.cache.take_failed() == ([] if directory else [evidence])


def test_change_of_a_directory_above_speaks_against_what_was_read(disk: Disk) -> None:
    names = names_of(disk, 1000)
    evidence = _uses(names, b"dir/sub/x")
    names.cache.begin_event(2, 2000)
    names.cache.note_exchanged(b"/w/dir", b"/w/new")
    assert names.cache.take_failed() == [evidence]


def test_what_was_read_long_before_a_change_was_right(disk: Disk) -> None:
    names = names_of(disk, 1000)
    _uses(names, b"rel/x")
    names.cache.begin_event(2, LATER)
    names.cache.note_removed(b"/w/rel", directory=False)
    assert names.cache.take_failed() == []


def test_what_was_read_too_late_does_not_move_with_a_name(disk: Disk) -> None:
    names = names_of(disk, 1000)
    _uses(names, b"rel/x")
    names.cache.begin_event(2, 2000)
    disk.cache[b"/w/moved"] = None
    names.cache.note_renamed(b"/w/rel", b"/w/moved", gone=True)
    assert names.resolve_name(b"/w", b"moved/x", follow=False) == (b"/w/moved/x", Certainty.RESOLVED)


def test_old_name_stays_if_both_were_one_file(names: NameResolver) -> None:
    names.cache.note_made(b"/w/a", NameKind.SYMLINK, b"/etc")
    names.cache.note_made(b"/w/b", NameKind.SYMLINK, b"/etc")
    names.cache.note_renamed(b"/w/a", b"/w/b", gone=False)
    assert names.resolve_name(b"/w", b"a/x", follow=False) == (b"/etc/x", Certainty.RESOLVED)


def test_nothing_is_known_of_an_old_name_that_may_be_there_still(names: NameResolver) -> None:
    names.cache.note_made(b"/w/a", NameKind.SYMLINK, b"/etc")
    names.cache.note_renamed(b"/w/a", b"/w/b", gone=None)
    assert names.cache.kind_of(b"/w/a") is NameKind.UNKNOWN
    assert names.cache.kind_of(b"/w/b") is NameKind.SYMLINK


@pytest.mark.parametrize("way", ["down", "up", "exchange"])
def test_directory_cannot_move_into_itself(names: NameResolver, way: str) -> None:
    names.cache.note_made(b"/w/a/b/c", NameKind.OTHER)
    if way == "exchange":
        names.cache.note_exchanged(b"/w/a", b"/w/a/b")
    else:
        old, new = (b"/w/a", b"/w/a/b") if way == "down" else (b"/w/a/b", b"/w/a")
        names.cache.note_renamed(old, new, gone=True)
    assert names.cache.take_failed() == [names.cache.evidence]
    assert names.cache.kind_of(b"/w/a/b/c") is NameKind.UNKNOWN


def test_kernel_path_shows_that_what_is_above_it_are_directories(disk: Disk) -> None:
    """They can be gone from the disk before a name that leads through them is looked up."""
    names = names_of(disk, 1000)
    names.cache.note_shown(b"/gone/deep/file", 1000, directory=False)
    names.cache.note_shown(b"/gone/deep/sub", 1000, directory=True)
    names.cache.begin_event(2, LATER)
    assert names.resolve_name(b"/w", b"/gone/deep/file", follow=False) == (
        b"/gone/deep/file",
        Certainty.RESOLVED,
    )
    assert names.resolve_name(b"/w", b"/gone/deep/sub/x", follow=False)[1] is Certainty.RESOLVED
    assert names.resolve_name(b"/w", b"/gone/other/x", follow=False)[1] is Certainty.LEXICAL
    names.cache.begin_event(3, LATER + 1)
    names.cache.note_removed(b"/gone/deep", directory=True)
    names.cache.note_made(b"/gone/deep", NameKind.SYMLINK, b"/w/dir")
    assert names.resolve_name(b"/w", b"/gone/deep/x", follow=False) == (b"/w/dir/x", Certainty.RESOLVED)
