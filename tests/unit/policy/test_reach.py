"""What a policy allows to every program: never more than the verdicts on what one does."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from writeaudit.errors import PolicyError
from writeaudit.events import Access, FsEvent, Op
from writeaudit.judgement import Exemption, Policy, Verdict, Zone, ZoneAccess
from writeaudit.policy import Classifier
from writeaudit.policy.reach import PolicyReach, Start
from writeaudit.policy.zones import escape_pattern

RO, RW, NONE = ZoneAccess.READ_ONLY, ZoneAccess.READ_WRITE, ZoneAccess.NONE
_NO_DEVICES = Zone("devices", RO, ())
"""Takes the built-in zone away."""


def reach_of(*zones: Zone, exemptions: tuple[Exemption, ...] = ()) -> PolicyReach:
    return PolicyReach(Policy("p", "test", (*zones, _NO_DEVICES), exemptions=exemptions))


def zone(access: ZoneAccess, *patterns: bytes, name: str = "", program: str | None = None) -> Zone:
    return Zone(name or access.value, access, patterns, program)


def test_access_is_that_of_the_longest_match() -> None:
    reach = reach_of(
        zone(RW, b"/w"),
        zone(RO, b"/w/a"),
        zone(RW, b"/w/a/b"),
        zone(NONE, b"/w/a/b/c"),
        zone(RO, b"/w/*.key"),
    )
    expected = {
        b"/": None, b"/x": None, b"/w": RW, b"/w/new": RW, b"/w/a": RO, b"/w/a/x": RO, b"/w/a/b/x": RW,
        b"/w/a/b/c": NONE, b"/w/a/b/c/d/e": NONE, b"/w/a.key": RO, b"/wa": None, b"relative": None,
    }  # fmt: skip
    assert {path: reach.access_at(path) for path in expected} == expected


def test_what_lies_below() -> None:
    reach = reach_of(zone(RW, b"/w"), zone(RO, b"/w/a"), zone(RW, b"/w/a/b"), zone(NONE, b"/w/a/b/c"))
    assert reach.accesses_below(b"/") == {RW, RO, NONE}
    assert reach.accesses_below(b"/w") == {RO, RW, NONE}
    assert reach.accesses_below(b"/w/") == {RO, RW, NONE}
    assert reach.accesses_below(b"/w/a/b") == {NONE}
    assert reach.accesses_below(b"/w/a/b/c") == frozenset()
    assert reach.accesses_below(b"/w/other") == frozenset()


def test_a_pattern_anywhere_may_lie_below_everything() -> None:
    reach = reach_of(zone(RW, b"/w"), zone(RO, b"/**/.git"))
    for directory in (b"/", b"/w", b"/w/.git", b"/w/x/y/z"):
        assert RO in reach.accesses_below(directory), directory


@pytest.mark.parametrize(
    ("pattern", "start"),
    [
        (b"/w/d", (b"/w/d", True)),
        (b"/w/d/", (b"/w/d", True)),
        (b"/", (b"/", True)),
        (b"/**", (b"/", False)),
        (b"/w/v[0-9]*", (b"/w", False)),
        (b"/*/d", (b"/", False)),
        (b"/w/**/d", (b"/w", False)),
        (escape_pattern(b"/w/a*b[c]?"), (b"/w/a*b[c]?", True)),
        (b"/w/\xff\n \\", (b"/w/\xff\n \\", True)),
    ],
)
def test_where_to_begin(pattern: bytes, start: tuple[bytes, bool]) -> None:
    assert reach_of(zone(RW, pattern)).starts == (Start(*start, "rw", built_in=False),)


def test_protected_zones_are_no_starts() -> None:
    assert reach_of(zone(RO, b"/a"), zone(NONE, b"/b")).starts == ()


def test_only_the_devices_that_nobody_asked_for_are_built_in() -> None:
    built_in = PolicyReach(Policy("p", "test", ()))
    assert {b"/dev/null", b"/proc"} <= {start.path for start in built_in.starts}
    assert all(start.built_in for start in built_in.starts)
    own = PolicyReach(Policy("p", "test", (zone(RW, b"/dev/null", name="devices"),)))
    assert own.starts == (Start(b"/dev/null", True, "devices", built_in=False),)


def test_places_are_hidden_only_by_a_zone_with_a_place() -> None:
    assert reach_of(zone(NONE, b"/s")).hides_places
    assert reach_of(zone(NONE, b"/s", program="sh")).hides_places
    assert not reach_of(zone(NONE), zone(RW, b"/w")).hides_places


def test_a_relative_pattern_is_refused() -> None:
    with pytest.raises(PolicyError, match="not absolute"):
        reach_of(zone(RW, b"w"))
    with pytest.raises(PolicyError, match="NUL"):
        reach_of(zone(RW, b"/w\0"))


# -- zones of one program ---------------------------------------------------------------------------


def test_a_writable_zone_of_one_program_is_nobodys() -> None:
    reach = reach_of(zone(RW, b"/d", name="d\x1b[1m", program="s\nh"))
    assert reach.access_at(b"/d/x") is None
    assert reach.starts == ()
    assert reach.remarks == (
        r"the zone d\x1b[1m is for s\x0ah only, which cannot be enforced: nobody may write there",
    )


def test_a_protected_zone_of_one_program_protects_from_all() -> None:
    reach = reach_of(zone(RW, b"/w"), zone(RO, b"/w/keep", name="keep", program="sh"))
    assert reach.access_at(b"/w/keep/x") is RO
    assert reach.accesses_below(b"/w") == {RO}
    assert reach.zone_name(b"/w/keep/x") == "zone keep (ro)"
    assert "it holds for every program" in reach.remarks[0]


def test_a_read_only_zone_of_one_program_does_not_open_what_others_may_not_read() -> None:
    reach = reach_of(zone(NONE, b"/s", name="secret"), zone(RO, b"/s/agent", program="ssh-agent"))
    assert reach.access_at(b"/s/agent/key") is NONE
    assert reach.zone_name(b"/s/agent/key") == "zone secret (none)"


# -- exceptions -------------------------------------------------------------------------------------


def test_an_exception_from_the_rules_of_zones_allows_everything_below_its_place() -> None:
    reach = reach_of(
        zone(RO, b"/p"), zone(NONE, b"/p/s"), exemptions=(Exemption((b"/p/x", b"/p/s/x"), "why"),)
    )
    assert reach.access_at(b"/p/x/y") is RW
    assert reach.access_at(b"/p/s/x") is RW
    assert reach.access_at(b"/p/s/y") is NONE
    assert reach.accesses_below(b"/p") == {NONE, RW, RO}
    assert {start.path for start in reach.starts} == {b"/p/x", b"/p/s/x"}


@pytest.mark.parametrize(
    ("rules", "path", "access"),
    [
        (("WA202",), b"/p/x", RO),
        (("WA201",), b"/p/x", RW),
        (("WA201",), b"/out/x", None),
        (("WA202",), b"/out/x", RW),
        (("WA203", "WA305"), b"/out/x", None),
        (("WA203", "WA305"), b"/p/x", RO),
        (("WA201",), b"/s/x", NONE),
        (("WA201", "WA202"), b"/s/x", NONE),
        (("WA204",), b"/s/x", RO),
        (("WA201", "WA204"), b"/s/x", RW),
    ],
)
def test_an_exception_from_one_rule_allows_what_that_rule_is_about(
    rules: tuple[str, ...], path: bytes, access: ZoneAccess | None
) -> None:
    excepted = Exemption((b"/p/x", b"/out/x", b"/s/x"), "why", rules)
    reach = reach_of(zone(RO, b"/p"), zone(NONE, b"/s"), exemptions=(excepted,))
    assert reach.access_at(path) is access


def test_an_exception_that_opens_nothing_is_said() -> None:
    excepted = Exemption((b"/s/\x1b", b"/s/*/x", b"/p"), "why", ("WA201",))
    reach = reach_of(zone(NONE, b"/s"), zone(RO, b"/p"), exemptions=(excepted,))
    assert reach.remarks == (
        r"exception 1 opens nothing at /s/\x1b, which may not be read: it would need WA204 as well",
    )


# -- against the verdicts ----------------------------------------------------------------------------

_NAMES = (b"a", b"b", b"c")
_PATHS = [b"/" + b"/".join(parts) for depth in (1, 2, 3) for parts in itertools.product(_NAMES, repeat=depth)]
_PATTERNS = st.lists(st.sampled_from([*_NAMES, b"*", b"**", b"[ab]"]), min_size=0, max_size=3).map(
    lambda parts: b"/" + b"/".join(parts)
)
_PROGRAMS = ("sh", "uv")
_ZONES = st.lists(
    st.builds(
        Zone,
        st.sampled_from(["x", "y", "z"]),
        st.sampled_from(list(ZoneAccess)),
        st.tuples(_PATTERNS),
        st.sampled_from([None, None, *_PROGRAMS]),
    ),
    max_size=5,
)
_EXEMPTIONS = st.lists(
    st.builds(
        Exemption,
        st.tuples(_PATTERNS),
        st.just("why"),
        st.lists(st.sampled_from(["WA201", "WA202", "WA203", "WA204"]), max_size=2).map(tuple),
    ),
    max_size=2,
)


def _verdicts(classifier: Classifier, path: bytes) -> tuple[bool, bool]:
    """Return whether a program may write and read a path, as its verdicts say."""
    event = FsEvent(1, 0, 1, 1, Op.OPEN, path, access=Access.READ_WRITE)
    writes = classifier.judge(event).verdict is Verdict.ALLOWED
    reads = classifier.judge(event._replace(access=Access.READ)).verdict is not Verdict.VIOLATION
    return writes, reads


def _classifiers_of_programs(policy: Policy) -> list[Classifier]:
    """Return what judges by the policy as each set of programs has it that one process may run."""
    return [
        Classifier(policy._replace(zones=tuple(z for z in policy.zones if z.program in (None, *held))))
        for held in ((), ("sh",), ("uv",), _PROGRAMS)
    ]


@given(_ZONES, _EXEMPTIONS)
def test_nothing_is_allowed_that_a_verdict_forbids(zones: list[Zone], exemptions: list[Exemption]) -> None:
    policy = Policy("p", "test", (*zones, _NO_DEVICES), exemptions=tuple(exemptions))
    reach = PolicyReach(policy)
    every = _classifiers_of_programs(policy)
    for path in _PATHS:
        access = reach.access_at(path)
        answers = [_verdicts(each, path) for each in every]
        may_write, may_read = (all(side) for side in zip(*answers, strict=True))
        assert (access is not NONE) <= may_read, path
        assert (access is RW) <= (may_write and may_read), path
        if all(each.program is None for each in zones):
            assert (access is RW) == (may_write and may_read), path


@given(_ZONES, _EXEMPTIONS)
def test_nothing_below_a_directory_is_forgotten(zones: list[Zone], exemptions: list[Exemption]) -> None:
    reach = reach_of(*zones, exemptions=tuple(exemptions))
    hidden = NONE in (reach.access_at(b"/"), *reach.accesses_below(b"/"))
    assert reach.hides_places >= hidden
    for directory in (b"/", b"/a", b"/b", b"/a/b"):
        expected = {reach.access_at(directory) or RO, *reach.accesses_below(directory)}
        for path in _PATHS:
            if path.startswith(directory.rstrip(b"/") + b"/"):
                assert (reach.access_at(path) or RO) in expected, (directory, path)


@given(_ZONES, _EXEMPTIONS)
def test_every_writable_place_lies_below_a_start(zones: list[Zone], exemptions: list[Exemption]) -> None:
    reach = reach_of(*zones, exemptions=tuple(exemptions))
    starts = {start.path.rstrip(b"/") + b"/" for start in reach.starts}
    for path in _PATHS:
        if reach.access_at(path) is RW:
            assert any((path + b"/").startswith(start) for start in starts), path
