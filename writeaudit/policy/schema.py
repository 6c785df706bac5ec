"""The TOML policy file, `--zone` options, and a policy as it is kept in a recording."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NoReturn

from writeaudit.errors import PolicyError, UsageError
from writeaudit.judgement import Policy, Zone, ZoneAccess
from writeaudit.policy.expand import Surroundings, expand
from writeaudit.policy.profiles import check_profile, discover
from writeaudit.policy.profiles.command import recognise
from writeaudit.policy.zones import with_devices
from writeaudit.text import nearest, show, unshow

_TOP_KEYS = ("name", "profile", "zones")
_ZONE_KEYS = ("name", "access", "patterns")
_PATTERN_KEYS = ("patterns", "paths", "path", "pattern")
_ACCESS_WORDS = tuple(access.value for access in ZoneAccess)
_MEANT = {
    "ro": "r read read-only readonly read_only",
    "rw": "w wr write writable read-write readwrite read_write allow all",
    "none": "no off deny denied forbid forbidden hidden nothing false 0",
}
_NEARLY = {word: access for access, words in _MEANT.items() for word in words.split()}
_ZONE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*")
_SYNTAX = r"(?s)(?P<what>.*) \(at (?:line (?P<line>\d+), column (?P<column>\d+)|end of document)\)"
_ZONE_OPTION_HINT = "Write --zone NAME=PATH:ro, :rw or :none; for example --zone cache=~/.cache/uv:ro"
_LARGEST = 1 << 20


def _nearest(word: str, allowed: Iterable[str]) -> str:
    close = nearest(word.lower(), allowed, cutoff=0.5)
    return f"Did you mean {close!r}? " if close else ""


class _File:
    """One policy file while it is read; knows how to complain."""

    def __init__(self, path: str, text: str) -> None:
        from writeaudit.policy.toml_lines import Lines  # noqa: PLC0415 - start-up

        self.path = path
        self.lines = Lines(text)

    def fail(self, what: str, *where: str | int, hint: str) -> NoReturn:
        raise PolicyError(f"{self.path}:{self.lines.of(*where)}: {what}", hint=hint)


def load(
    path: str,
    env: Mapping[str, str],
    cwd: bytes,
    home: str | bytes,
    *,
    command: Sequence[bytes] = (),
    profile: str | None = None,
    named: set[str] | None = None,
) -> Policy:
    """Return the policy in the TOML file `path` (docs/policy.md).

    `env`, `cwd` and `home` are those of the audited command: patterns are relative to its
    working directory, not to the file. With a profile, in the file or (first) in
    `profile`, the file's zones are laid over those found for `command`. `named` takes the
    names of the variables that the file asks for.

    Raises `PolicyError`; its message begins with file and line.
    """
    text = _read(path)
    data = _parse(path, text)
    file = _File(path, text)
    for key in data:
        if key not in _TOP_KEYS:
            file.fail(
                f"unknown key {key!r}",
                key,
                hint=f"{_nearest(key, _TOP_KEYS)}Allowed at the top are name, profile and zones.",
            )
    name = data.get("name", os.path.basename(path).removesuffix(".toml"))
    if not isinstance(name, str) or not name:
        file.fail(f"name is {_kind(name)}", "name", hint='Write a text: name = "ci"')
    chosen = data.get("profile")
    if chosen is not None:
        if not isinstance(chosen, str):
            file.fail(f"profile is {_kind(chosen)}", "profile", hint='Write profile = "install" or "frozen".')
        try:
            check_profile(chosen)
        except PolicyError as error:
            file.fail(error.message, "profile", hint=error.hint or "")
    zones = _zones(file, data.get("zones", []), Surroundings(env, cwd, os.fsencode(home), named))
    over = profile if profile is not None else chosen
    if over is None:
        if not zones:
            file.fail(
                "the policy has no zones, so every write would break it",
                hint='Add a [[zones]] table with name, access and patterns, or profile = "install".',
            )
        tool = recognise(command, os.path.abspath(cwd), env).tool
        return with_devices(Policy(name, path, tuple(zones), tool))
    base = discover(command, cwd, env, profile=over)
    return Policy(name, f"{path} over {base.source}", _laid_over(base.zones, zones), base.tool)


def overlay(
    policy: Policy,
    zone_options: Sequence[str],
    env: Mapping[str, str],
    cwd: bytes,
    home: str | bytes,
    *,
    named: set[str] | None = None,
) -> Policy:
    """Return `policy` with the zones of ``--zone NAME=PATH:ACCESS`` options laid over it.

    Options with one name add their paths together; together they replace the policy's
    zone of that name. `named`: see `load`. Raises `UsageError`.
    """
    if not zone_options:
        return policy
    where = Surroundings(env, cwd, os.fsencode(home), named)
    zones: dict[str, Zone] = {}
    for option in zone_options:
        name, path, access = _zone_option(option)
        try:
            patterns = expand(path, where)
        except PolicyError as error:
            raise UsageError(f"--zone {option!r}: {error.message}", hint=error.hint) from error
        before = zones.get(name)
        if before is not None and before.access is not access:
            raise UsageError(
                f"--zone {option!r}: zone {name!r} was given as {before.access.value} before",
                hint="A zone has one access; give the other paths another NAME.",
            )
        zones[name] = Zone(name, access, (*(before.patterns if before else ()), *patterns))
    laid = _laid_over(policy.zones, zones.values())
    return with_devices(Policy(policy.name, f"{policy.source}, --zone", laid, policy.tool))


def to_json(policy: Policy) -> dict[str, object]:
    """Return `policy` as JSON-able values, for a recording; `from_json` reads it back."""
    return {
        "name": policy.name,
        "source": policy.source,
        "tool": policy.tool,
        "zones": [
            {
                "name": zone.name,
                "access": zone.access.value,
                "patterns": [show(pattern) for pattern in zone.patterns],
            }
            for zone in policy.zones
        ],
    }


def from_json(data: Mapping[str, object]) -> Policy:
    """Return the policy that `to_json` was given. Raises `PolicyError` if `data` is not such a one."""
    zones: list[Zone] = []
    entries = data.get("zones")
    for entry in entries if isinstance(entries, list) else [None]:
        patterns = entry.get("patterns") if isinstance(entry, dict) else None
        if (
            not isinstance(entry, dict)
            or not isinstance(patterns, list)
            or entry.get("access") not in _ACCESS_WORDS
        ):
            raise PolicyError(
                "the policy that was kept with the recording is damaged",
                hint="Judge again by another one: writeaudit check RECORDING --policy FILE",
            )
        kept = tuple(unshow(str(pattern)) for pattern in patterns)
        zones.append(Zone(str(entry.get("name")), ZoneAccess(entry["access"]), kept))
    return Policy(
        str(data.get("name")), str(data.get("source")), tuple(zones), str(data.get("tool", "generic"))
    )


def _laid_over(base: Sequence[Zone], zones: Iterable[Zone]) -> tuple[Zone, ...]:
    merged = {zone.name: zone for zone in base}
    merged.update((zone.name, zone) for zone in zones)
    return tuple(merged.values())


def _read(path: str) -> str:
    try:
        with open(path, "rb") as file:
            raw = file.read(_LARGEST + 1)
    except OSError as error:
        raise PolicyError(
            f"cannot read the policy {path}: {error.strerror or error}",
            hint="Give --policy the path of a TOML file; docs/policy.md shows one.",
        ) from error
    if len(raw) > _LARGEST:
        raise PolicyError(f"{path}: larger than 1 MiB, this is no policy", hint="docs/policy.md shows one.")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise PolicyError(
            f"{path}:{line}: not UTF-8, which TOML has to be", hint="Save it as UTF-8."
        ) from error


def _parse(path: str, text: str) -> dict[str, object]:
    import tomllib  # noqa: PLC0415 - start-up: most runs have no policy file

    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = re.match(_SYNTAX, str(error))
        what = found["what"] if found else str(error)
        if found and found["line"]:
            where = f"{path}:{found['line']}:{found['column']}"
        else:
            last = text.count("\n") + (not text.endswith("\n"))
            where = f"{path}:{max(last, 1)}:{len(text) - text.rfind(chr(10), 0, -1)}"
        raise PolicyError(
            f"{where}: not TOML: {what[:1].lower()}{what[1:]}",
            hint='Texts stand in quotes and lists in brackets: patterns = ["~/.cache/uv"]',
        ) from error
    except RecursionError as error:
        raise PolicyError(
            f"{path}: nested too deeply for a policy", hint="docs/policy.md shows one."
        ) from error


def _zones(file: _File, zones: object, where: Surroundings) -> list[Zone]:
    found: list[Zone] = []
    first_line: dict[str, int] = {}
    if isinstance(zones, list):
        tables: list[tuple[str | int, object]] = list(enumerate(zones))
    elif isinstance(zones, dict):
        tables = list(zones.items())
    else:
        file.fail(f"zones is {_kind(zones)}", "zones", hint="Write [[zones]] tables, one for each zone.")
    for key, table in tables:
        if not isinstance(table, dict):
            file.fail(
                f"zone {key!r} is {_kind(table)}",
                "zones",
                key,
                hint='A zone is a table: [zones.cache], then access = "ro" and patterns = ["~/.cache/uv"].',
            )
        zone = _zone(file, key, table, where)
        if zone.name in first_line:
            file.fail(
                f"zone {zone.name!r} stands here a second time (first on line {first_line[zone.name]})",
                "zones",
                key,
                hint="Put all of its patterns into one list, or give it another name.",
            )
        first_line[zone.name] = file.lines.of("zones", key)
        found.append(zone)
    return found


def _zone(file: _File, key: str | int, table: Mapping[str, object], where: Surroundings) -> Zone:
    shown = f"zone {table.get('name', key)!r}" if isinstance(key, int) else f"zone {key!r}"
    for word in table:
        if word not in (*_ZONE_KEYS, *_PATTERN_KEYS):
            file.fail(
                f"unknown key {word!r} in {shown}",
                "zones",
                key,
                word,
                hint=f"{_nearest(word, (*_ZONE_KEYS, *_PATTERN_KEYS))}"
                "Allowed in a zone are name, access and patterns (or path, paths).",
            )
    name = table.get("name", key if isinstance(key, str) else None)
    if name is None:
        file.fail(f"zone number {int(key) + 1} has no name", "zones", key, hint='Add name = "cache".')
    if not isinstance(name, str) or not name or not name.isprintable():
        file.fail(f"the name of {shown} is {_kind(name)}", "zones", key, "name", hint='Write name = "cache".')
    access = _access(file, shown, key, table)
    return Zone(name, access, _patterns(file, shown, key, table, where))


def _access(file: _File, shown: str, key: str | int, table: Mapping[str, object]) -> ZoneAccess:
    word = table.get("access")
    if word is None:
        file.fail(f"{shown} has no access", "zones", key, hint='Add access = "ro", "rw" or "none".')
    if word not in _ACCESS_WORDS:
        near = ""
        if isinstance(word, str):
            meant = _NEARLY.get(word.lower())
            near = f"Did you mean {meant!r}? " if meant else _nearest(word, _ACCESS_WORDS)
        file.fail(
            f"{shown} has the unknown access {word!r}",
            "zones",
            key,
            "access",
            hint=f'{near}Allowed are "ro" (read only), "rw" (read and write) and "none".',
        )
    return ZoneAccess(str(word))


def _patterns(
    file: _File, shown: str, key: str | int, table: Mapping[str, object], where: Surroundings
) -> tuple[bytes, ...]:
    given = [word for word in table if word in _PATTERN_KEYS]
    example = 'Add patterns = ["~/.cache/uv"].'
    if not given:
        file.fail(f"{shown} has no patterns", "zones", key, hint=example)
    if len(given) > 1:
        file.fail(
            f"{shown} has both {given[0]} and {given[1]}",
            "zones",
            key,
            given[1],
            hint="They mean the same: put all of them into patterns.",
        )
    (word,) = given
    value = table[word]
    spellings = [value] if isinstance(value, str) else value
    if not isinstance(spellings, list) or not spellings:
        file.fail(f"{word} of {shown} is {_kind(value)}", "zones", key, word, hint=example)
    patterns: dict[bytes, None] = {}
    for index, spelling in enumerate(spellings):
        place: tuple[str | int, ...] = ("zones", key, word, index)
        if not isinstance(spelling, str):
            file.fail(f"a pattern of {shown} is {_kind(spelling)}", *place, hint=example)
        try:
            patterns.update(dict.fromkeys(expand(spelling, where)))
        except PolicyError as error:
            file.fail(f"{shown}: {error.message}", *place, hint=error.hint or "")
    return tuple(patterns)


def _zone_option(option: str) -> tuple[str, str, ZoneAccess]:
    """Split NAME=PATH:ACCESS: at the first equals sign and the last colon, for PATH may hold both."""
    name, equals, rest = option.partition("=")
    path, colon, word = rest.rpartition(":")
    if not equals or not _ZONE_NAME.fullmatch(name):
        raise UsageError(f"--zone {option!r}: no NAME= before the path", hint=_ZONE_OPTION_HINT)
    if not colon or word not in _ACCESS_WORDS:
        meant = _NEARLY.get(word.lower(), "")
        near = f" (did you mean :{meant}?)" if colon and meant else ""
        raise UsageError(
            f"--zone {option!r}: it does not end in :ro, :rw or :none{near}", hint=_ZONE_OPTION_HINT
        )
    if not path:
        raise UsageError(f"--zone {option!r}: no path", hint=_ZONE_OPTION_HINT)
    return name, path, ZoneAccess(word)


def _kind(value: object) -> str:
    match value:
        case None:
            return "missing"
        case bool():
            return "a truth value"
        case "":
            return "an empty text"
        case []:
            return "an empty list"
        case str():
            return f"the text {value!r}"
        case int() | float():
            return "a number"
        case list():
            return "a list"
        case dict():
            return "a table"
        case _:
            return f"a {type(value).__name__}"
