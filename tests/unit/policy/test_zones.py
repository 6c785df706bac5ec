"""Patterns and which zone wins."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from writeaudit.errors import PolicyError
from writeaudit.judgement import Policy, Zone, ZoneAccess
from writeaudit.policy.expand import Surroundings, expand_spelling
from writeaudit.policy.zones import ZoneMatcher, escape_pattern, with_devices, with_inherited

RO, RW, NONE = ZoneAccess.READ_ONLY, ZoneAccess.READ_WRITE, ZoneAccess.NONE


def names(*zones: tuple[str, ZoneAccess, list[bytes]]) -> ZoneMatcher:
    return ZoneMatcher(tuple(Zone(name, access, tuple(patterns)) for name, access, patterns in zones))


def zone_at(matcher: ZoneMatcher, path: bytes) -> str | None:
    zone = matcher.find_zone(path)
    return zone.name if zone is not None else None


@pytest.mark.parametrize(
    ("path", "zone"),
    [
        (b"/p", "project"),
        (b"/p/a", "project"),
        (b"/p/.venv", "venv"),
        (b"/p/.venv/bin/x", "venv"),
        (b"/p/.venv2", "project"),
        (b"/pp", None),
        (b"/", None),
        (b"relative/.venv", None),
        (b"", None),
        (b"/p/.venv/lib/__pycache__/x.pyc", "pyc"),
        (b"/home/u/.cache/uv/x", "cache"),
        (b"/home/v/.cache", "cache"),
        (b"/home/v/w/.cache", None),
        (b"/data/a1/x", "class"),
        (b"/data/b1/x", None),
        (b"/mid/x/y/secret/z", "secret"),
        (b"/mid/secret", "secret"),
        (b"/mid/x", None),
        (b"/all/a/b/fixed/c", "fixed"),
    ],
)
def test_longest_match(path: bytes, zone: str | None) -> None:
    matcher = names(
        ("project", RO, [b"/p"]),
        ("venv", RW, [b"/p/.venv"]),
        ("pyc", RW, [b"/**/__pycache__"]),
        ("cache", RO, [b"/home/*/.cache"]),
        ("class", RO, [b"/data/a[0-9]"]),
        ("secret", NONE, [b"/mid/**/secret"]),
        ("all", RW, [b"/all/**"]),
        ("fixed", RO, [b"/all/a/b"]),
    )
    assert zone_at(matcher, path) == zone
    assert zone_at(matcher, path) == zone, "the second time from memory"


def test_equal_lengths() -> None:
    by_bytes = names(("literal", RW, [b"/home/u"]), ("wild", NONE, [b"/home/*"]))
    assert zone_at(by_bytes, b"/home/u/x") == "literal"
    stricter = names(("ro", RO, [b"/a"]), ("none", NONE, [b"/a"]), ("rw", RW, [b"/a"]))
    assert zone_at(stricter, b"/a/x") == "none"
    later = names(("one", RO, [b"/a"]), ("two", RO, [b"/a"]))
    assert zone_at(later, b"/a/x") == "two"


def test_the_root_as_a_zone() -> None:
    matcher = names(("everything", RO, [b"/"]), ("tmp", RW, [b"/tmp"]))
    assert zone_at(matcher, b"/") == "everything"
    assert zone_at(matcher, b"/etc/x") == "everything"
    assert zone_at(matcher, b"/tmp/x") == "tmp"


@given(st.lists(st.binary(min_size=1, max_size=6), min_size=1, max_size=4))
def test_an_escaped_path_matches_itself_and_what_is_below(parts: list[bytes]) -> None:
    clean = [part.replace(b"/", b"_").replace(b"\0", b"_") for part in parts]
    if any(part in (b".", b"..") for part in clean):
        return
    path = b"/" + b"/".join(clean)
    matcher = names(("it", RW, [escape_pattern(path)]))
    assert zone_at(matcher, path) == "it"
    assert zone_at(matcher, path + b"/below") == "it"
    assert zone_at(matcher, path + b"x") is None


@pytest.mark.parametrize("pattern", [b"relative", b"/a/**b", b"/a/[b", b"/a\0b"])
def test_bad_patterns(pattern: bytes) -> None:
    with pytest.raises(PolicyError):
        names(("bad", RO, [pattern]))


def test_devices_are_there_unless_given() -> None:
    policy = with_devices(Policy("p", "s", ()))
    matcher = ZoneMatcher(policy.zones)
    for path in (b"/dev/null", b"/dev/pts/3", b"/proc/12/comm", b"/proc/12/task/13/comm", b"/proc/1/uid_map"):
        assert zone_at(matcher, path) == "devices", path
    for path in (b"/proc/sys/kernel/x", b"/sys/x", b"/dev/sda", b"/proc/12/mem"):
        assert zone_at(matcher, path) is None, path
    own = Policy("p", "s", (Zone("devices", RO, (b"/dev",)),))
    assert with_devices(own) == own


def test_files_that_the_caller_had_opened() -> None:
    policy = Policy("p", "s", (Zone("project", RO, (b"/p",)),))
    with_log = with_inherited(policy, (b"/p/build [1].log",))
    matcher = ZoneMatcher(with_log.zones)
    assert zone_at(matcher, b"/p/build [1].log") == "inherited"
    assert zone_at(matcher, b"/p/build 1.log") == "project"
    assert with_inherited(policy, ()) == policy
    cache = Policy("p", "s", (Zone("cache", RO, (b"/c",)),))
    assert with_inherited(cache, (b"/c/log",)) == cache, "no way into a protected zone"
    assert with_inherited(cache, (b"/c/log", b"/log")).zones[-1].patterns == (b"/log",)
    own = Policy("p", "s", (Zone("inherited", RO, (b"/p",)),))
    assert with_inherited(own, (b"/p/log",)) == own


WHERE = Surroundings({"A": "/a[1]", "EMPTY": "", "REL": "rel"}, b"/cwd", b"/home/u")


@pytest.mark.parametrize(
    ("spelling", "pattern"),
    [
        ("~", b"/home/u"),
        ("~/x", b"/home/u/x"),
        ("x/y", b"/cwd/x/y"),
        (".", b"/cwd"),
        ("../x", b"/x"),
        ("$A/b", b"/a[[]1]/b"),
        ("${A}b", b"/a[[]1]b"),
        ("${NO:-/d}/b", b"/d/b"),
        ("${EMPTY:-~/d}/b", b"/home/u/d/b"),
        ("${NO:-${A}/e}", b"/a[[]1]/e"),
        ("/cost/$$5", b"/cost/$5"),
        ("$REL/*", b"/cwd/rel/*"),
        ("/a//b/./c/", b"/a/b/c"),
        ("/a=b:c", b"/a=b:c"),
    ],
)
def test_expand(spelling: str, pattern: bytes) -> None:
    assert expand_spelling(spelling, WHERE) == (pattern,)


@pytest.mark.parametrize(
    ("spelling", "says"),
    [
        ("$NO/x", "$NO is not set"),
        ("$EMPTY/x", "$EMPTY is empty"),
        ("${A", "never closed"),
        ("${A:+x}", "not understood"),
        ("a$", "dollar sign"),
        ("~root/x", "home directory"),
        ("", "empty path"),
        ("/a/b**", "**"),
    ],
)
def test_expand_refuses(spelling: str, says: str) -> None:
    with pytest.raises(PolicyError) as caught:
        expand_spelling(spelling, WHERE)
    assert says in caught.value.message
    assert caught.value.hint


def test_symlinks_are_resolved_and_the_spelling_kept(tmp_path: Path) -> None:
    real = Path(os.path.realpath(tmp_path))
    (real / "there").mkdir()
    (real / "link").symlink_to("there")
    there, link = os.fsencode(real / "there"), os.fsencode(real / "link")
    assert expand_spelling(f"{real}/link/new/*", WHERE) == (there + b"/new/*", link + b"/new/*")
    assert expand_spelling(f"{real}/link/../x", WHERE) == (os.fsencode(real / "x"),)
