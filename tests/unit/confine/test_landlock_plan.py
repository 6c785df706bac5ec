"""From policies to rules, on made-up disks: never more than the policy allows; what is less is said."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.landlock_disk import MadeUpDisk, granted_at
from writeaudit.confine import landlock_plan
from writeaudit.confine.landlock_plan import Grant, Kind, Plan, Rule, plan_rules
from writeaudit.errors import UsageError
from writeaudit.judgement import Exemption, Policy, Zone, ZoneAccess
from writeaudit.policy import PolicyReach

RO, RW, NONE = ZoneAccess.READ_ONLY, ZoneAccess.READ_WRITE, ZoneAccess.NONE
READ, WRITE = Grant.READ, Grant.WRITE
_NO_DEVICES = Zone("devices", RO, ())


def zone(access: ZoneAccess, *patterns: bytes, program: str | None = None) -> Zone:
    return Zone(access.value, access, patterns, program)


def plan(disk: MadeUpDisk, *zones: Zone) -> Plan:
    reach = PolicyReach(Policy("p", "test", (*zones, _NO_DEVICES)))
    return plan_rules(reach, disk, privileged=False)


def rules_of(found: Plan) -> dict[bytes, Grant]:
    return {rule.path: rule.grant for rule in found.rules}


def remark_on(found: Plan, word: str) -> str:
    (remark,) = (each for each in found.remarks if word in each)
    return remark


# -- zones within each other ------------------------------------------------------------------------


def test_a_writable_directory_is_one_rule() -> None:
    found = plan(MadeUpDisk(b"/w/a/b/", b"/w/f", b"/x/"), zone(RW, b"/w"))
    assert found == Plan((Rule(b"/w", True, WRITE),), handles_reading=False, remarks=())


def test_without_a_writable_zone_nothing_is_granted() -> None:
    assert plan(MadeUpDisk(b"/w/", b"/p/"), zone(RO, b"/p")) == Plan((), False, ())


def test_a_protected_place_in_a_writable_one_leaves_its_neighbours() -> None:
    disk = MadeUpDisk(b"/w/keep/f", b"/w/other/", b"/w/file", b"/w/link@")
    found = plan(disk, zone(RW, b"/w"), zone(RO, b"/w/keep"))
    assert found.rules == (Rule(b"/w/file", False, WRITE), Rule(b"/w/other", True, WRITE))
    assert remark_on(found, "no names can be made").startswith("in /w no names")


def test_zones_nested_three_deep() -> None:
    disk = MadeUpDisk(b"/w/a/b/c/f", b"/w/a/b/g", b"/w/a/h", b"/w/i", b"/w/a/b/c/d/j")
    found = plan(disk, zone(RW, b"/w"), zone(RO, b"/w/a"), zone(RW, b"/w/a/b"), zone(RO, b"/w/a/b/c"),
                 zone(RW, b"/w/a/b/c/d"))  # fmt: skip
    assert rules_of(found) == {b"/w/i": WRITE, b"/w/a/b/g": WRITE, b"/w/a/b/c/d": WRITE}
    assert remark_on(found, "no names can be made").startswith("in /w, /w/a/b no names")


def test_a_protected_name_that_is_not_there_keeps_its_directory_from_a_rule() -> None:
    found = plan(MadeUpDisk(b"/w/sub/"), zone(RW, b"/w"), zone(RO, b"/w/.git"))
    assert rules_of(found) == {b"/w/sub": WRITE}


def test_a_protected_name_deep_below_what_is_not_there() -> None:
    # Else the command could make /w/a, and /w/a/keep in it.
    found = plan(MadeUpDisk(b"/w/sub/"), zone(RW, b"/w"), zone(RO, b"/w/a/b/keep"))
    assert rules_of(found) == {b"/w/sub": WRITE}


def test_of_equal_zones_the_stricter_counts() -> None:
    assert plan(MadeUpDisk(b"/w/"), zone(RW, b"/w"), zone(RO, b"/w")).rules == ()


def test_a_name_that_begins_alike_is_another() -> None:
    assert rules_of(plan(MadeUpDisk(b"/w/", b"/ww/f"), zone(RW, b"/w"))) == {b"/w": WRITE}


def test_the_root_directory_as_a_writable_zone() -> None:
    found = plan(MadeUpDisk(b"/w/"), zone(RW, b"/"))
    assert found == Plan((Rule(b"/", True, WRITE),), False, ())


# -- patterns ---------------------------------------------------------------------------------------


def test_a_pattern_covers_what_is_there() -> None:
    disk = MadeUpDisk(b"/p/v1/", b"/p/v2", b"/p/x/", b"/p/v3@")
    found = plan(disk, zone(RW, b"/p/v[0-9]"))
    assert found.rules == (Rule(b"/p/v1", True, WRITE), Rule(b"/p/v2", False, WRITE))
    assert found.remarks == (
        "of the patterns below /p only what is there now can be written: Landlock knows no patterns",
    )


def test_nothing_is_made_for_a_pattern() -> None:
    disk = MadeUpDisk(b"/p/")
    assert plan(disk, zone(RW, b"/p/v[0-9]"), zone(RW, b"/q/*/d")).rules == ()
    assert disk.made == []


def test_a_pattern_in_a_writable_directory_needs_no_words() -> None:
    assert plan(MadeUpDisk(b"/w/v1/"), zone(RW, b"/w"), zone(RW, b"/w/v*")).remarks == ()
    assert plan(MadeUpDisk(b"/w/v1/"), zone(RW, b"/"), zone(RW, b"/w/v*")).remarks == ()


def test_a_protected_pattern_keeps_what_may_come_to_match_it() -> None:
    disk = MadeUpDisk(b"/w/a.key", b"/w/b", b"/w/sub/")
    found = plan(disk, zone(RW, b"/w"), zone(RO, b"/w/*.key"))
    assert rules_of(found) == {b"/w/b": WRITE, b"/w/sub": WRITE}


def test_a_protected_pattern_of_any_depth_leaves_files_only() -> None:
    disk = MadeUpDisk(b"/w/sub/.git/config", b"/w/sub/f", b"/w/empty/")
    found = plan(disk, zone(RW, b"/w"), zone(RO, b"/w/**/.git"))
    assert rules_of(found) == {b"/w/sub/f": WRITE}


# -- what is not there ------------------------------------------------------------------------------


def test_a_missing_directory_is_made() -> None:
    disk = MadeUpDisk(b"/h/")
    found = plan(disk, zone(RW, b"/h/.cache/uv"))
    assert (disk.made, rules_of(found)) == ([b"/h/.cache/uv"], {b"/h/.cache/uv": WRITE})
    assert found.remarks == ("made the directory /h/.cache/uv, for a rule needs one that is there",)


@pytest.mark.parametrize("name", [b"uv.lock", b".bashrc", b"history", b"Cargo.LOCK", b"a.b\n", b"Makefile"])
def test_a_missing_file_is_not_made(name: bytes) -> None:
    disk = MadeUpDisk(b"/h/")
    found = plan(disk, zone(RW, b"/h/" + name))
    assert (disk.made, found.rules) == ([], ())
    assert "is not there, and cannot be made: a rule needs a file" in remark_on(found, "/h/")


@pytest.mark.parametrize("name", [b".venv", b"node_modules", b"target", b".x"])
def test_what_is_named_like_a_directory(name: bytes) -> None:
    disk = MadeUpDisk(b"/h/")
    plan(disk, zone(RW, b"/h/" + name))
    assert disk.made == [b"/h/" + name]


def test_a_missing_file_in_a_writable_directory_needs_no_words() -> None:
    disk = MadeUpDisk(b"/w/")
    found = plan(disk, zone(RW, b"/w/uv.lock"), zone(RW, b"/w"))
    assert (rules_of(found), found.remarks, disk.made) == ({b"/w": WRITE}, (), [])


def test_why_a_directory_could_not_be_made() -> None:
    found = plan(MadeUpDisk(b"/h/", failure="Permission denied"), zone(RW, b"/h/cache"))
    assert found == Plan((), False, ("/h/cache is not there, and cannot be made: Permission denied",))


def test_a_missing_place_that_a_stricter_zone_takes_is_not_made() -> None:
    disk = MadeUpDisk(b"/h/")
    plan(disk, zone(RW, b"/h/cache"), zone(RO, b"/h/cache"))
    assert disk.made == []


# -- what is no directory ---------------------------------------------------------------------------


@pytest.mark.parametrize("path", [b"/w/way", b"/w/way/in", b"/w/way/in/f"])
def test_a_zone_through_a_symlink_grants_nothing(path: bytes) -> None:
    # The policy holds the name without symlinks as well.
    disk = MadeUpDisk(b"/w/way@", b"/w/way/in/f")
    assert plan(disk, zone(RW, path)) == Plan((), False, ())
    assert disk.made == []


def test_symlinks_that_are_found_get_no_rule_and_are_not_followed() -> None:
    disk = MadeUpDisk(b"/w/keep/", b"/w/way@", b"/w/way/f", b"/w/d/")
    assert rules_of(plan(disk, zone(RW, b"/w"), zone(RO, b"/w/keep"))) == {b"/w/d": WRITE}
    assert b"/w/way" not in disk.listed


def test_a_file_as_a_zone() -> None:
    assert plan(MadeUpDisk(b"/w/f"), zone(RW, b"/w/f")).rules == (Rule(b"/w/f", False, WRITE),)


def test_a_file_that_the_policy_takes_for_a_directory() -> None:
    assert plan(MadeUpDisk(b"/w/f"), zone(RW, b"/w/f"), zone(RO, b"/w/f/keep")).rules == (
        Rule(b"/w/f", False, WRITE),
    )


def test_other_names_of_a_file_are_said() -> None:
    disk = MadeUpDisk(b"/w/f", b"/w/g", b"/w/keep", links={b"/w/f": 2, b"/w/keep": 2})
    found = plan(disk, zone(RW, b"/w"), zone(RO, b"/w/keep"))
    assert remark_on(found, "other names").startswith("/w/f: other names of the same file")


# -- other names of what is protected: mounts, hard links, file systems that ignore case --------------


def test_a_protected_directory_under_another_name() -> None:
    disk = MadeUpDisk(b"/srv/keep/f", b"/w/x/f", b"/w/y/", same={b"/w/x": b"/srv/keep"})
    found = plan(disk, zone(RW, b"/w/x"), zone(RW, b"/w/y"), zone(RO, b"/srv/keep"))
    assert rules_of(found) == {b"/w/y": WRITE}
    assert found.remarks == ("/w/x is the same as /srv/keep: it is protected as zone ro (ro) says",)


def test_another_spelling_of_a_protected_directory() -> None:
    disk = MadeUpDisk(b"/w/KEEP/f", b"/w/other/", b"/w/keep/", same={b"/w/keep": b"/w/KEEP"})
    found = plan(disk, zone(RW, b"/w"), zone(RO, b"/w/keep"))
    assert rules_of(found) == {b"/w/other": WRITE}


def test_a_directory_around_a_protected_one_under_another_name() -> None:
    disk = MadeUpDisk(b"/srv/a/keep/", b"/data/a/keep/f", b"/data/b/", same={
        b"/data": b"/srv", b"/data/a": b"/srv/a", b"/data/a/keep": b"/srv/a/keep"})  # fmt: skip
    found = plan(disk, zone(RW, b"/data"), zone(RO, b"/srv/a/keep"))
    assert rules_of(found) == {b"/data/b": WRITE}


def test_a_protected_name_that_is_not_there_under_another_directory() -> None:
    disk = MadeUpDisk(b"/srv/b/", b"/data/b/", same={b"/data": b"/srv", b"/data/b": b"/srv/b"})
    assert rules_of(plan(disk, zone(RW, b"/data"), zone(RO, b"/srv/keep"))) == {b"/data/b": WRITE}


def test_a_protected_file_under_another_name() -> None:
    disk = MadeUpDisk(b"/srv/keep", b"/w/f", links={b"/w/f": 2}, same={b"/w/f": b"/srv/keep"})
    found = plan(disk, zone(RW, b"/w/f"), zone(RO, b"/srv/keep"))
    assert found.rules == ()
    assert "/w/f is the same as /srv/keep" in found.remarks[0]


def test_a_place_inside_a_protected_one_under_another_name() -> None:
    disk = MadeUpDisk(b"/srv/keep/sub/", b"/w/x/sub/", b"/w/x/tmp/", same={b"/w/x": b"/srv/keep"})
    zones = (zone(RW, b"/w/x/sub", b"/w/x/tmp", b"/w/x/new"), zone(RO, b"/srv/keep"))
    found = plan(disk, *zones, zone(RW, b"/srv/keep/tmp"))
    assert rules_of(found) == {b"/w/x/tmp": WRITE, b"/srv/keep/tmp": WRITE}
    assert "/w/x/sub is the same as /srv/keep/sub: it is protected as zone ro (ro) says" in found.remarks
    assert b"/w/x/new" not in disk.made


def test_a_protected_place_goes_before_a_directory_that_is_above_one() -> None:
    disk = MadeUpDisk(b"/srv/keep/", b"/data/", b"/w/f", same={b"/data": b"/srv", b"/w": b"/srv"})
    found = plan(disk, zone(RO, b"/srv/keep"), zone(RO, b"/data"), zone(RW, b"/w"))
    assert found.rules == ()


def test_a_hidden_directory_under_another_name() -> None:
    disk = MadeUpDisk(b"/h/secret/", b"/x/", b"/y/", same={b"/x": b"/h/secret"})
    found = plan(disk, zone(NONE, b"/h/secret"))
    assert rules_of(found) == {b"/y": READ}


def test_a_directory_that_is_excepted_where_it_has_another_name() -> None:
    disk = MadeUpDisk(b"/srv/keep/f", b"/w/x/", same={b"/w/x": b"/srv/keep"})
    policy = Policy("p", "t", (zone(RW, b"/w"), zone(RO, b"/srv/keep"), _NO_DEVICES),
                    exemptions=(Exemption((b"/srv/keep",), "why"),))  # fmt: skip
    found = plan_rules(PolicyReach(policy), disk, privileged=False)
    assert rules_of(found) == {b"/w": WRITE, b"/srv/keep": WRITE}


def test_a_directory_that_cannot_be_listed() -> None:
    disk = MadeUpDisk(b"/w/keep/", b"/w/d/f", unreadable=(b"/w",))
    found = plan(disk, zone(RW, b"/w"), zone(RO, b"/w/keep"))
    assert found.rules == ()
    assert remark_on(found, "looked into") == "/w cannot be looked into: nothing is granted below"


def test_hostile_names_are_taken_as_they_are_and_escaped() -> None:
    names = (b"\xff\n\x1b[1m", b"*", b"[a]", b" ", b"...", b"a\\b", "\u202e".encode(), b"x" * 255)
    disk = MadeUpDisk(*(b"/w/" + name + b"/" for name in names), b"/w/" + names[0] + b"/keep/")
    found = plan(disk, zone(RW, b"/w"), zone(RO, b"/w/" + names[0].replace(b"[", b"[[]") + b"/keep"))
    assert rules_of(found) == {b"/w/" + name: WRITE for name in names[1:]}
    assert r"\xff\x0a\x1b[1m" in remark_on(found, "no names can be made")
    assert "\x1b" not in "".join(found.remarks)


def test_a_star_in_a_name_is_no_pattern_when_it_is_quoted() -> None:
    found = plan(MadeUpDisk(b"/w/*/", b"/w/a/"), zone(RW, b"/w/[*]"))
    assert (rules_of(found), found.remarks) == ({b"/w/*": WRITE}, ())


# -- places that may not be read ----------------------------------------------------------------------


def test_a_hidden_place_leaves_its_neighbours_to_be_read() -> None:
    disk = MadeUpDisk(b"/h/secret/f", b"/h/plain/", b"/etc/", b"/f")
    found = plan(disk, zone(NONE, b"/h/secret"))
    assert found.handles_reading
    assert rules_of(found) == {b"/h/plain": READ, b"/etc": READ, b"/f": READ}
    assert remark_on(found, "cannot be listed").startswith("/, /h cannot be listed")


def test_a_hidden_place_in_a_writable_one() -> None:
    disk = MadeUpDisk(b"/w/secret/f", b"/w/plain/", b"/x/")
    found = plan(disk, zone(RW, b"/w"), zone(NONE, b"/w/secret"))
    assert rules_of(found) == {b"/w/plain": READ | WRITE, b"/x": READ}
    assert granted_at(found, b"/w/secret/f") == Grant(0)


def test_a_writable_place_in_a_hidden_one_can_be_read() -> None:
    found = plan(MadeUpDisk(b"/s/w/f", b"/s/x"), zone(NONE, b"/s"), zone(RW, b"/s/w"))
    assert rules_of(found) == {b"/s/w": READ | WRITE}


def test_a_readable_place_in_a_hidden_root() -> None:
    found = plan(MadeUpDisk(b"/usr/bin/sh", b"/x"), zone(NONE, b"/"), zone(RO, b"/usr"))
    assert (rules_of(found), found.handles_reading) == ({b"/usr": READ}, True)


def test_reading_is_left_alone_without_a_hidden_place() -> None:
    assert not plan(MadeUpDisk(b"/w/"), zone(RW, b"/w"), zone(NONE)).handles_reading


def test_a_directory_on_the_way_is_not_made_in_a_hidden_place() -> None:
    disk = MadeUpDisk(b"/s/")
    found = plan(disk, zone(NONE, b"/s"), zone(RW, b"/s/a/b"))
    assert disk.made == []
    assert remark_on(found, "/s/a/b").endswith(
        "is not there, and cannot be made: /s/a lies in zone none (none)"
    )


# -- zones of one program -----------------------------------------------------------------------------


def test_zones_of_one_program() -> None:
    disk = MadeUpDisk(b"/d/", b"/w/keep/", b"/w/f")
    found = plan(disk, zone(RW, b"/d", program="sh"), zone(RW, b"/w"), zone(RO, b"/w/keep", program="uv"))
    assert rules_of(found) == {b"/w/f": WRITE}
    assert "nobody may write there" in found.remarks[0]
    assert "holds for every program" in found.remarks[1]


# -- /proc and the devices ----------------------------------------------------------------------------


def _with_devices(disk: MadeUpDisk, *zones: Zone, privileged: bool = False) -> Plan:
    return plan_rules(PolicyReach(Policy("p", "test", zones)), disk, privileged=privileged)


def test_devices_can_be_written_and_are_not_made() -> None:
    disk = MadeUpDisk(b"/dev/null", b"/dev/pts/0", b"/dev/stdout@", b"/dev/sda")
    assert _with_devices(disk).rules == (
        Rule(b"/dev/null", False, WRITE), Rule(b"/dev/pts", True, WRITE),
    )  # fmt: skip
    assert disk.made == []


_PROC_DISK = (b"/proc/1/comm", b"/proc/sys/kernel/", b"/w/")


def test_ordinary_users_open_files_of_processes_and_root_does_not() -> None:
    assert rules_of(_with_devices(MadeUpDisk(*_PROC_DISK))) == {b"/proc": Grant.WRITE_ONLY_FILES}
    assert rules_of(_with_devices(MadeUpDisk(*_PROC_DISK), privileged=True)) == {}
    assert _with_devices(MadeUpDisk(*_PROC_DISK), privileged=True).remarks == ()
    assert _with_devices(MadeUpDisk(b"/w/")).rules == ()


@pytest.mark.parametrize(
    "protecting", [zone(RO, b"/proc"), zone(NONE, b"/proc/sys"), zone(RO, b"/"), zone(RO, b"/**/sys")]
)
def test_files_of_processes_are_left_where_something_protects_proc(protecting: Zone) -> None:
    found = _with_devices(MadeUpDisk(*_PROC_DISK), protecting)
    assert b"/proc" not in {rule.path for rule in found.rules if Grant.WRITE_ONLY_FILES in rule.grant}
    assert remark_on(found, "files of processes")


def test_proc_in_a_writable_root_needs_no_words() -> None:
    found = _with_devices(MadeUpDisk(*_PROC_DISK), zone(RW, b"/"))
    assert (rules_of(found), found.remarks) == ({b"/": WRITE}, ())


# -- limits and words ---------------------------------------------------------------------------------


def test_too_many_entries_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(landlock_plan, "MOST_LOOKED_AT", 5)
    disk = MadeUpDisk(*(b"/w/%d" % number for number in range(4)), b"/w/keep/")
    assert len(plan(disk, zone(RW, b"/w"), zone(RO, b"/w/keep")).rules) == 4
    disk = MadeUpDisk(*(b"/w/%d" % number for number in range(5)), b"/w/keep/")
    with pytest.raises(UsageError, match="below /w more than 5 files"):
        plan(disk, zone(RW, b"/w"), zone(RO, b"/w/keep"))


def test_the_limit_is_one_for_all_zones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(landlock_plan, "MOST_LOOKED_AT", 5)
    disk = MadeUpDisk(*(b"/%s/%d/" % (top, number) for top in (b"v", b"w") for number in range(3)))
    with pytest.raises(UsageError, match="more than 5 files"):
        plan(disk, zone(RW, b"/v/*"), zone(RW, b"/w/*"))


def test_a_tree_of_any_depth() -> None:
    depth = 1100  # deeper than calls may be nested
    deep = b"/w" + b"/d" * depth
    found = plan(MadeUpDisk(deep + b"/"), zone(RW, b"/w"), zone(RO, deep + b"/keep"))
    assert found.rules == ()
    assert f"and {depth - 2:,} others" in remark_on(found, "no names can be made")


def test_remarks_name_a_few() -> None:
    disk = MadeUpDisk(*(b"/w/%d/keep/" % number for number in range(5)))
    found = plan(disk, zone(RW, b"/w"), zone(RO, b"/w/*/keep"))
    assert remark_on(found, "no names can be made").startswith("in /w, /w/0, /w/1 and 3 others no names")


def test_remarks_are_said_once() -> None:
    found = plan(MadeUpDisk(b"/p/"), zone(RW, b"/p/a*", b"/p/b*"), zone(RW, b"/p/a*"))
    assert len(found.remarks) == 1


# -- any policy, any disk -----------------------------------------------------------------------------

_NAMES = (b"a", b"b", b"c")
_PATHS = [b"/" + b"/".join(parts) for depth in (1, 2, 3) for parts in itertools.product(_NAMES, repeat=depth)]
_PATTERNS = st.lists(st.sampled_from([*_NAMES, b"*", b"**", b"[ab]"]), min_size=0, max_size=3).map(
    lambda parts: b"/" + b"/".join(parts)
)
_ZONES = st.lists(
    st.builds(
        Zone,
        st.sampled_from(["x", "y", "z"]),
        st.sampled_from(list(ZoneAccess)),
        st.tuples(_PATTERNS),
        st.sampled_from([None, None, "sh", "uv"]),
    ),
    max_size=5,
)
_DISKS = st.lists(
    st.tuples(st.sampled_from(_PATHS), st.sampled_from([b"", b"/", b"/", b"@"])), max_size=8
).map(lambda entries: MadeUpDisk(*(path + end for path, end in entries)))


def _parent(path: bytes) -> bytes:
    return path[: path.rfind(b"/")] or b"/"


@given(_ZONES, _DISKS)
def test_rules_grant_no_more_than_the_policy(zones: list[Zone], disk: MadeUpDisk) -> None:
    reach = PolicyReach(Policy("p", "test", (*zones, _NO_DEVICES)))
    found = plan_rules(reach, disk, privileged=False)
    for rule in found.rules:
        assert disk.find_kind(rule.path) is (Kind.DIRECTORY if rule.is_directory else Kind.FILE)
        assert not disk.leads_elsewhere(rule.path)
    for path in _PATHS:
        grant, access = granted_at(found, path), reach.access_at(path)
        assert (WRITE in grant) <= (access is RW), path
        assert (READ in grant) <= (access is not NONE), path
        assert found.handles_reading or access is not NONE, path
        if WRITE in granted_at(found, _parent(path)) and disk.find_kind(_parent(path)) is not Kind.FILE:
            # It can be made, or renamed away with all that is below it.
            below = [other for other in _PATHS if other.startswith(path + b"/")]
            assert all(reach.access_at(other) is RW for other in (path, *below)), path


@given(_ZONES, _DISKS)
def test_what_is_there_and_allowed_is_granted(zones: list[Zone], disk: MadeUpDisk) -> None:
    reach = PolicyReach(Policy("p", "test", (*zones, _NO_DEVICES)))
    found = plan_rules(reach, disk, privileged=False)
    for path in _PATHS:
        if disk.find_kind(path) is not Kind.FILE or disk.leads_elsewhere(path):
            continue
        if any(
            disk.find_kind(path[:at]) is not Kind.DIRECTORY for at in range(2, len(path)) if path[at] == 47
        ):
            continue  # below a file: the lists that are made up do not always make sense
        assert (WRITE in granted_at(found, path)) == (reach.access_at(path) is RW), path
        if found.handles_reading:
            assert (READ in granted_at(found, path)) == (reach.access_at(path) is not NONE), path
