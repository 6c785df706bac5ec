"""Policy files, --zone options, and the policy in a recording."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from writeaudit.errors import PolicyError, UsageError
from writeaudit.judgement import Policy, Zone, ZoneAccess
from writeaudit.policy import from_json, load_policy, overlay_zones, to_json
from writeaudit.policy.toml_lines import Lines

ENV = {"CACHE": "/the/cache", "HOME": "/nowhere/home"}


def read(tmp_path: Path, text: str, *, profile: str | None = None, named: set[str] | None = None) -> Policy:
    path = tmp_path / "policy.toml"
    path.write_text(text)
    command = [b"uv", b"sync"]
    return load_policy(
        str(path), ENV, b"/nowhere/cwd", "/nowhere/home", command=command, profile=profile, named=named
    )


def zones(policy: Policy) -> dict[str, tuple[str, tuple[bytes, ...]]]:
    return {zone.name: (zone.access.value, zone.patterns) for zone in policy.zones if zone.name != "devices"}


@pytest.mark.parametrize(
    "text",
    [
        '[[zones]]\nname="c"\naccess="ro"\npatterns=["$CACHE","x"]\n',
        '[[zones]]\nname="c"\naccess="ro"\npaths=["$CACHE","x"]\n',
        '[zones.c]\naccess="ro"\npattern=["$CACHE","x"]\n',
        'zones = [{name="c", access="ro", path=["$CACHE","x"]}]\n',
        'zones.c = {access="ro", patterns=["$CACHE","x"]}\n',
        '\ufeff[zones]\nc.access="ro"\nc.patterns=["$CACHE","x"]\n',
    ],
)
def test_spellings(tmp_path: Path, text: str) -> None:
    policy = read(tmp_path, text)
    assert zones(policy) == {"c": ("ro", (b"/the/cache", b"/nowhere/cwd/x"))}
    assert policy.name == "policy"
    assert policy.zones[-1].name == "devices"


def test_over_a_profile(tmp_path: Path) -> None:
    policy = read(tmp_path, 'name="ci"\nprofile="frozen"\n[zones.cache]\naccess="none"\npath="/c"\n')
    assert policy.name == "ci"
    assert policy.tool == "uv"
    assert zones(policy)["cache"] == ("none", (b"/c",))
    assert zones(policy)["tmp"][0] == "rw"
    assert "uv/frozen" in policy.source
    assert zones(read(tmp_path, '[zones.x]\naccess="ro"\npath="/c"\n', profile="install"))["cache"][0] == "rw"


@pytest.mark.parametrize(
    ("text", "line", "says", "hint"),
    [
        ('nam = "x"\n', ":1:", "unknown key 'nam'", "'name'"),
        ('\n[[zones]]\nname="c"\nacces="ro"\n', ":4:", "unknown key 'acces' in zone 'c'", "'access'"),
        ('[[zones]]\nname="c"\naccess="r"\npath="/x"\n', ":3:", "unknown access 'r'", "'ro'"),
        ('[[zones]]\nname="c"\naccess="nome"\npath="/x"\n', ":3:", "unknown access 'nome'", "'none'"),
        ('[[zones]]\nname="c"\naccess=5\npath="/x"\n', ":3:", "unknown access 5", '"rw"'),
        ('[[zones]]\nname="c"\naccess="ro"\n', ":1:", "no patterns", "patterns"),
        ('[[zones]]\naccess="ro"\npath="/"\n', ":1:", "no name", "name"),
        ('[zones.c]\npath="/"\n', ":1:", "no access", "access"),
        ('[zones.c]\naccess="ro"\npath="/"\npaths=["/"]\n', ":4:", "both path and paths", "patterns"),
        ('[zones.c]\naccess="ro"\npatterns=[\n "/a",\n "$NO/x",\n]\n', ":5:", "$NO is not set", ":-"),
        ('[zones.c]\naccess="ro"\npatterns=[\n "/a",\n 7,\n]\n', ":5:", "a number", "patterns"),
        ('[zones.c]\naccess="ro"\npatterns=[]\n', ":3:", "an empty list", "patterns"),
        ('profile="instal"\n', ":1:", "unknown profile 'instal'", "'install'"),
        ('name=""\nprofile="install"\n', ":1:", "name is", "name"),
        ('name="x"\n', ":1:", "no zones", "[[zones]]"),
        ('zones="x"\n', ":1:", "zones is the text", "[[zones]]"),
        (
            'zones = [\n {name="a", access="ro", path="/"},\n {name="b", acces="ro"},\n]\n',
            ":3:",
            "'acces'",
            "access",
        ),
        (
            '[[zones]]\nname="a"\naccess="ro"\npath="/"\n[[zones]]\nname="a"\naccess="ro"\npath="/"\n',
            ":5:",
            "line 1",
            "",
        ),
        ("[zones]\na = 3\n", ":2:", "zone 'a' is a number", "table"),
        ('name = "x"\n[zones.c\n', ":2:9", "not TOML", ""),
        ("name = \n", ":1:8", "not TOML", ""),
        ('name = "x', ":1:", "not TOML", ""),
    ],
)
def test_mistakes(tmp_path: Path, text: str, line: str, says: str, hint: str) -> None:
    with pytest.raises(PolicyError) as caught:
        read(tmp_path, text)
    message = caught.value.message
    assert message.startswith(f"{tmp_path}/policy.toml{line}"), message
    assert says in message
    assert caught.value.hint
    assert hint in caught.value.hint
    assert caught.value.status == 2


def test_unreadable(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match="No such file"):
        load_policy(str(tmp_path / "no"), {}, b"/", "/")
    (tmp_path / "latin").write_bytes(b'a = 1\nname = "\xe9"\n')
    with pytest.raises(PolicyError, match="latin:2: not UTF-8"):
        load_policy(str(tmp_path / "latin"), {}, b"/", "/")


def test_zone_options() -> None:
    base = Policy("p", "s", (Zone("cache", ZoneAccess.READ_WRITE, (b"/old",)),))
    options = ["cache=/a:b=c:ro", "cache=~/x:ro", "new=$CACHE/*:none"]
    policy = overlay_zones(base, options, ENV, b"/nowhere/cwd", b"/nowhere/home")
    assert zones(policy) == {
        "cache": ("ro", (b"/a:b=c", b"/nowhere/home/x")),
        "new": ("none", (b"/the/cache/*",)),
    }
    assert overlay_zones(base, [], ENV, b"/", "/") is base


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["cache"], "no NAME="),
        (["=/x:ro"], "no NAME="),
        (["c=/x"], ":ro, :rw or :none"),
        (["c=/x:read-only"], "did you mean :ro?"),
        (["c=:ro"], "no path"),
        (["c=$NO:ro"], "$NO is not set"),
        (["c=/x:ro", "c=/y:rw"], "was given as ro"),
    ],
)
def test_bad_zone_options(options: list[str], says: str) -> None:
    with pytest.raises(UsageError) as caught:
        overlay_zones(Policy("p", "s", ()), options, ENV, b"/", "/")
    assert says in caught.value.message
    assert caught.value.hint


def test_json_round_trip() -> None:
    policy = Policy("p\u00e9", "s", (Zone("z", ZoneAccess.NONE, (b"/a\xff\n\\", b"/b/*")),), "uv")
    assert from_json(json.loads(json.dumps(to_json(policy)))) == policy


@pytest.mark.parametrize("data", [{}, {"zones": [1]}, {"zones": [{"patterns": [], "access": "x"}]}])
def test_damaged_json(data: dict[str, object]) -> None:
    with pytest.raises(PolicyError, match="damaged"):
        from_json(data)


TEXTS = st.text("ab .\"'\\#[]{}=,\u00e9\n", max_size=5)
VALUES = st.recursive(
    TEXTS | st.integers() | st.booleans(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)


def write(value: object) -> str:
    """Write a value as TOML, lists over several lines."""
    match value:
        case bool():
            return "true" if value else "false"
        case list():
            return "[\n" + ",\n".join(write(item) for item in value) + ",\n]" if value else "[]"
        case dict():
            return "{" + ", ".join(f"{json_key(key)} = {write(item)}" for key, item in value.items()) + "}"
        case str():
            return json_key(value)
        case _:
            return str(value)


def json_key(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


@given(st.dictionaries(TEXTS, VALUES, max_size=5))
def test_every_key_is_found_on_its_line(data: dict[str, object]) -> None:
    text, expected = "# a comment\n\n", {}
    for key, value in data.items():
        expected[key] = text.count("\n") + 1
        text += f"{json_key(key)} = {write(value)}  # [ {{ ' \"\n"
    assert tomllib.loads(text).keys() == data.keys()
    lines = Lines(text)
    assert {key: lines.line_of(key) for key in data} == expected


def test_lines_of_tables() -> None:
    text = (
        "a = \"\"\"\nx\n\"\"\"\n[[z]]\nn = 1\n[z.sub]\nk = '''\n]'''\n[[z]]\nn = 2\n"
        'm = { p = [1,\n 2], q.r = 1979-05-27 07:32:00 }\n[other."quo ted"]\nv = 1'
    )
    tomllib.loads(text.replace("[1,\n 2]", "[1, 2]"))
    lines = Lines(text)
    assert lines.line_of("z", 0, "n") == 5
    assert lines.line_of("z", 0, "sub", "k") == 7
    assert lines.line_of("z", 1, "n") == 10
    assert lines.line_of("z", 1, "m", "p", 1) == 12
    assert lines.line_of("z", 1, "m", "q", "r") == 12
    assert lines.line_of("other", "quo ted", "v") == 14
    assert lines.line_of("z", 1, "unknown") == 9
