"""What `confine` says of a recording's places, and of what is open already."""

from __future__ import annotations

import os

import pytest

from writeaudit.commands.confine import close_open_files, describe_wide_places
from writeaudit.confine import landlock_disk
from writeaudit.confine.landlock_disk import OpenFile
from writeaudit.confine.writable import Kind, Place
from writeaudit.judgement import Policy, Zone, ZoneAccess
from writeaudit.policy import PolicyReach

HOME = b"/u/ann"
RO, RW, NONE = ZoneAccess.READ_ONLY, ZoneAccess.READ_WRITE, ZoneAccess.NONE


def policy(*zones: tuple[ZoneAccess, bytes]) -> Policy:
    return Policy("p", "test", tuple(Zone(access.value, access, (pattern,)) for access, pattern in zones))


def wide(*paths: bytes, under: Policy | None = None, kind: Kind = Kind.TMPFS) -> str:
    return " ".join(describe_wide_places([Place(path, kind) for path in paths], under or policy(), HOME))


@pytest.mark.parametrize("path", [b"/", b"/u", HOME, b"/etc", b"/home/bob", b"/u/ann/.ssh", b"/w/.git/hooks"])
def test_a_directory_of_more_than_one_tool_is_said(path: bytes) -> None:
    assert f"all that is in {path.decode()} writable" in wide(path)


def test_a_place_of_its_own_needs_no_words() -> None:
    assert wide(b"/u/ann/.cache/uv", b"/srv/app/data") == ""


def test_a_file_by_itself_opens_nothing_else() -> None:
    assert wide(b"/etc", kind=Kind.BIND) == ""


def test_what_the_policy_of_the_run_allows_needs_no_words() -> None:
    assert wide(b"/tmp", under=policy((RW, b"/tmp"))) == ""
    assert wide(HOME, under=policy((RW, HOME), (RW, HOME + b"/x"))) == ""


@pytest.mark.parametrize("access", [RO, NONE])
@pytest.mark.parametrize("pattern", [b"/w/keep", b"/w/*.key", b"/w/d/**/keep"])
def test_a_protected_place_of_the_policy_inside_is_said(access: ZoneAccess, pattern: bytes) -> None:
    assert "in /w writable" in wide(b"/w", under=policy((access, pattern)))
    assert "in /w writable" in wide(b"/w", under=policy((RW, b"/w"), (access, pattern)))
    assert wide(b"/w/other", under=policy((access, b"/w/keep"))) == ""


def test_some_are_named_and_none_hurts_the_terminal() -> None:
    said = wide(*(b"/home/%d\x1b[1m" % number for number in range(5)))
    assert r"/home/0\x1b[1m, /home/1\x1b[1m, /home/2\x1b[1m and 2 others writable" in said


def _hand_on(
    monkeypatch: pytest.MonkeyPatch,
    path: bytes,
    *,
    is_there: bool = True,
    links: int = 1,
    stream: bool = False,
) -> tuple[bool, str]:
    """Hand on a descriptor of a file that is said to be so; return whether it was closed, and the note."""
    fd = os.open("/dev/null", os.O_WRONLY)
    found = OpenFile(1 if stream else fd, path, is_there, links)
    monkeypatch.setattr(landlock_disk, "find_open_files", lambda: iter([found]))
    note = "".join(close_open_files(PolicyReach(policy((RW, b"/w"), (RO, b"/w/keep")))))
    try:
        os.close(fd)
    except OSError:
        return True, note.replace(f"descriptor {fd},", "descriptor N,")
    return False, note


@pytest.mark.parametrize(
    ("path", "is_there", "links"),
    [(b"/w/f", True, 1), (b"/w/f", True, 3), (b"/w/f (deleted)", False, 0)],
)
def test_descriptors_of_writable_files_stay(
    path: bytes, is_there: bool, links: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert _hand_on(monkeypatch, path, is_there=is_there, links=links) == (False, "")


@pytest.mark.parametrize(
    ("path", "is_there", "links", "place"),
    [
        (b"/w/keep/f", True, 1, "/w/keep/f (zone ro (ro))"),
        (b"/x\n", True, 1, r"/x\x0a (no zone)"),
        (b"/x (deleted)", False, 0, "/x (deleted) (no zone)"),
        (b"/w/f (deleted)", False, 1, "/w/f (deleted) (a file that is not there now)"),
        (b"/w/f", False, 1, "/w/f (a file that is not there now)"),
    ],
)
def test_descriptors_of_other_files_are_closed(
    path: bytes, is_there: bool, links: int, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed, note = _hand_on(monkeypatch, path, is_there=is_there, links=links)
    assert closed
    assert note == f"descriptor N, open for writing on {place}, was closed"


def test_standard_streams_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    closed, note = _hand_on(monkeypatch, b"/x", stream=True)
    assert not closed
    assert note.endswith("on /x (no zone), stays open: the command can write there")
