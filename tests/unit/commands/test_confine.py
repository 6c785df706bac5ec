"""What `confine` says of a recording's places, and of what it hands on."""

from __future__ import annotations

import pytest

from writeaudit.commands.confine import describe_wide_places
from writeaudit.confine.writable import Kind, Place
from writeaudit.judgement import Policy, Zone, ZoneAccess

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
