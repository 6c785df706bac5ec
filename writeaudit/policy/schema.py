"""The TOML policy file, `--zone` options, and a policy as it is kept in a recording."""

from __future__ import annotations

import contextlib
import copy
import datetime as dt
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, NoReturn

from writeaudit.errors import PolicyError, UsageError
from writeaudit.judgement import Exemption, Policy, Zone, ZoneAccess
from writeaudit.policy.expand import Surroundings, expand_spelling
from writeaudit.policy.profiles import check_profile, discover_policy
from writeaudit.policy.profiles.command import recognise_tool
from writeaudit.policy.zones import ZoneMatcher, check_pattern, literal_directory, with_devices
from writeaudit.rules import RULES, group_aliases, number_groups, rule, rules_named
from writeaudit.text import escape_path, nearest, unescape_path

_TOP_KEYS = ("name", "profile", "extends", "zones", "severity", "exceptions", "container")
_ZONE_KEYS = ("name", "access", "patterns", "when")
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
_DEEPEST = 8
"""So many policies may extend one another."""
_SETTINGS = frozenset({"backend", "buffer", "fail-on", "linger", "profile"})
"""Keys of a project's table that stand for options of the command line."""
_EXCEPTION_KEYS = ("reason", "rules", "until")
_SEVERITIES = ("error", "warning", "note", "off")
_RULE = re.compile(r"WA[0-9]{3}")


def _suggest_word(word: str, allowed: Iterable[str]) -> str:
    close = nearest(word.lower(), allowed, cutoff=0.5)
    return f"Did you mean {close!r}? " if close else ""


class _File:
    """One policy while it is read; knows how to complain."""

    def at_table(self, name: str) -> _File:
        """Return the same file, for one of its tables: where things stand is counted from there."""
        inner = copy.copy(self)
        inner._prefix = (*self._prefix, name)
        return inner

    def __init__(self, path: str, text: str, prefix: tuple[str, ...] = ()) -> None:
        from writeaudit.policy.toml_lines import Lines  # noqa: PLC0415 - start-up

        self.path = path
        self.lines = Lines(text)
        self._prefix = prefix
        """The table of the file that holds the policy; empty for all of it."""

    @property
    def default_name(self) -> str:
        """What a policy is called that has no name: as its file is."""
        return os.path.basename(self.path).removesuffix(".toml")

    def line_of(self, *where: str | int) -> int:
        """Return the line of something in the policy."""
        return self.lines.line_of(*self._prefix, *where)

    def fail(self, what: str, *where: str | int, hint: str) -> NoReturn:
        raise PolicyError(f"{self.path}:{self.line_of(*where)}: {what}", hint=hint)


def load_policy(
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
    where = Surroundings(env, cwd, os.fsencode(home), named)
    text = _read_text(path)
    rules = _read_rules(_File(path, text), _parse_toml(path, text), where, (os.path.realpath(path),))
    over = profile if profile is not None else rules.profile
    if over is None:
        if not rules.zones:
            rules.file.fail(
                "the policy has no zones, so every write would break it",
                hint='Add a [[zones]] table with name, access and patterns, or profile = "install".',
            )
        tool = recognise_tool(command, os.path.abspath(cwd), env).tool
        base = Policy("", "", (), tool)
        source = path
    else:
        base = discover_policy(command, cwd, env, profile=over)
        source = f"{path} over {base.source}"
    return with_devices(
        Policy(
            rules.name,
            source,
            _laid_over(base.zones, rules.zones),
            base.tool,
            remarks=(*base.remarks, *rules.remarks),
            severities=tuple(rules.severities.items()),
            exemptions=tuple(rules.exemptions),
            container_zones=tuple(rules.container_zones),
        )
    )


class _Rules(NamedTuple):
    """What one policy says, with all that it extends."""

    file: _File
    name: str
    profile: str | None
    zones: Sequence[Zone]
    severities: Mapping[str, str]
    exemptions: Sequence[Exemption]
    remarks: Sequence[str]
    container_zones: Sequence[Zone]


def _read_rules(
    file: _File, data: Mapping[str, object], where: Surroundings, above: tuple[str, ...]
) -> _Rules:
    """Read a policy's table. ``above``: the files that led to it, to find those that extend each other."""
    for key in data:
        if key not in _TOP_KEYS:
            file.fail(
                f"unknown key {key!r}",
                key,
                hint=f"{_suggest_word(key, _TOP_KEYS)}Allowed at the top are {', '.join(_TOP_KEYS[:-1])} and "
                f"{_TOP_KEYS[-1]}.",
            )
    name = data.get("name", file.default_name)
    if not isinstance(name, str) or not name:
        file.fail(f"name is {_describe_value(name)}", "name", hint='Write a text: name = "ci"')
    profile, bases = _read_extends(file, data, where, above)
    zones: dict[str, Zone] = {}
    severities: dict[str, str] = {}
    exemptions: list[Exemption] = []
    remarks: list[str] = []
    inside: dict[str, Zone] = {}
    for base in bases:
        profile = profile if profile is not None else base.profile
        zones.update((zone.name, zone) for zone in base.zones)
        inside.update((zone.name, zone) for zone in base.container_zones)
        severities.update(base.severities)
        exemptions += base.exemptions
        remarks += base.remarks
    zones.update((zone.name, zone) for zone in _read_zones(file, data.get("zones", []), where))
    severities.update(_read_severities(file, data.get("severity", {})))
    found, expired = _read_exemptions(file, data.get("exceptions", []), where)
    inside.update((zone.name, zone) for zone in _read_container(file, data.get("container", {})))
    return _Rules(
        file,
        name,
        profile,
        list(zones.values()),
        severities,
        [*exemptions, *found],
        [*remarks, *expired],
        list(inside.values()),
    )


def _read_extends(
    file: _File, data: Mapping[str, object], where: Surroundings, above: tuple[str, ...]
) -> tuple[str | None, list[_Rules]]:
    """Return the profile that a policy names, and the policies of the files that it extends."""
    hint = 'Write extends = "uv/frozen", the path of a policy file, or a list of both.'
    profile: str | None = None
    bases: list[_Rules] = []
    words: list[tuple[object, tuple[str | int, ...]]] = []
    if "profile" in data:
        chosen = data["profile"]
        if not isinstance(chosen, str):
            file.fail(
                f"profile is {_describe_value(chosen)}",
                "profile",
                hint='Write profile = "install" or "frozen".',
            )
        words.append((chosen, ("profile",)))
    extends = data.get("extends", [])
    for number, word in enumerate(extends if isinstance(extends, list) else [extends]):
        words.append((word, ("extends", number) if isinstance(extends, list) else ("extends",)))
    for word, at in words:
        if not isinstance(word, str) or not word:
            file.fail(f"extends is {_describe_value(word)}", *at, hint=hint)
        if at != ("profile",) and word.endswith(".toml"):
            bases.append(_other_file(file, word, at, where, above))
            continue
        try:
            check_profile(word)
        except PolicyError as error:
            file.fail(error.message, *at, hint=error.hint or "")
        if profile is not None and profile != word:
            file.fail(f"a second profile, {word!r} beside {profile!r}", *at, hint="Name one of them.")
        profile = word
    return profile, bases


def _other_file(
    file: _File, word: str, at: tuple[str | int, ...], where: Surroundings, above: tuple[str, ...]
) -> _Rules:
    path = os.path.join(os.path.dirname(file.path), word)
    if os.path.realpath(path) in above:
        file.fail(f"{word} extends this file", *at, hint="Policies cannot extend each other in a circle.")
    if len(above) >= _DEEPEST:
        file.fail("too many policies extend one another", *at, hint="Put them together.")
    try:
        text = _read_text(path)
    except PolicyError as error:
        file.fail(error.message, *at, hint="A path in extends is relative to this file.")
    return _read_rules(_File(path, text), _parse_toml(path, text), where, (*above, os.path.realpath(path)))


def _read_severities(file: _File, table: object) -> dict[str, str]:
    """Return the severity of each rule that a policy names, groups and aliases taken apart."""
    hint = 'Write [severity], then WA203 = "error" or WA1xx = "off".'
    if not isinstance(table, dict):
        file.fail(f"severity is {_describe_value(table)}", "severity", hint=hint)
    found: dict[str, str] = {}
    # Groups first, whatever their place: a single rule is the exception to its group.
    for word in sorted(table, key=lambda each: bool(_RULE.fullmatch(each.upper()))):
        value = table[word]
        rules = rules_named(word)
        if not rules:
            file.fail(f"severity does not know {word!r}", "severity", word, hint=_rule_hint(word))
        if value not in _SEVERITIES:
            file.fail(
                f"the severity of {word} is {_describe_value(value)}",
                "severity",
                word,
                hint=f"Allowed are {', '.join(_SEVERITIES)}.",
            )
        found.update(dict.fromkeys(rules, str(value)))
    return found


def _rule_hint(word: str) -> str:
    aliases = group_aliases()
    near = _suggest_word(word, (*aliases, *number_groups(), *(rule.id for rule in RULES)))
    return f"{near}Allowed are rules (WA201), groups (WA2xx) and {', '.join(aliases)}."


def _read_exemptions(file: _File, tables: object, where: Surroundings) -> tuple[list[Exemption], list[str]]:
    """Return the exceptions that hold today, and a sentence for each that has expired."""
    if not isinstance(tables, list):
        file.fail(
            f"exceptions is {_describe_value(tables)}", "exceptions", hint="Write [[exceptions]] tables."
        )
    found: list[Exemption] = []
    expired: list[str] = []
    for number, table in enumerate(tables):
        at = ("exceptions", number)
        shown = f"exception number {number + 1}"
        if not isinstance(table, dict):
            file.fail(f"{shown} is {_describe_value(table)}", *at, hint="Write [[exceptions]] tables.")
        for word in table:
            if word not in (*_EXCEPTION_KEYS, *_PATTERN_KEYS):
                file.fail(
                    f"unknown key {word!r} in {shown}",
                    *at,
                    word,
                    hint=f"{_suggest_word(word, (*_EXCEPTION_KEYS, 'paths'))}Allowed are paths, rules, "
                    "reason and until.",
                )
        reason = table.get("reason")
        if not isinstance(reason, str) or not reason.strip():
            file.fail(
                f"{shown} has no reason", *at, hint='Say why: reason = "the build writes its version file"'
            )
        patterns = _read_patterns(file, shown, at, table, where)
        rules = _excepted_rules(file, shown, at, table)
        until = _read_until(file, shown, at, table.get("until"))
        if until is not None and until < dt.datetime.now(tz=dt.UTC).date():
            expired.append(
                f"an exception of {file.path} expired on {until}, and holds no longer: {reason.strip()}"
            )
            continue
        found.append(Exemption(patterns, reason.strip(), rules, "" if until is None else str(until)))
    return found, expired


def _excepted_rules(
    file: _File, shown: str, at: tuple[str | int, ...], table: Mapping[str, object]
) -> tuple[str, ...]:
    given = table.get("rules", [])
    words = [given] if isinstance(given, str) else given
    if not isinstance(words, list):
        file.fail(
            f"rules of {shown} is {_describe_value(given)}", *at, "rules", hint='Write rules = ["WA201"].'
        )
    found: dict[str, None] = {}
    for word in words:
        rules = rules_named(word) if isinstance(word, str) else ()
        if not rules:
            file.fail(f"{shown} does not know {word!r}", *at, "rules", hint=_rule_hint(str(word)))
        found.update(dict.fromkeys(rules))
    return tuple(found)


def _read_until(file: _File, shown: str, at: tuple[str | int, ...], value: object) -> dt.date | None:
    found: dt.date | None = None
    if isinstance(value, str):
        with contextlib.suppress(ValueError):
            found = dt.date.fromisoformat(value)
    elif isinstance(value, dt.datetime):
        found = value.date()
    elif isinstance(value, dt.date):
        found = value
    if found is None and value is not None:
        file.fail(
            f"until of {shown} is {_describe_value(value)}",
            *at,
            "until",
            hint="Write until = 2026-12-31: the last day on which it holds.",
        )
    return found


def with_project(
    policy: Policy,
    env: Mapping[str, str],
    cwd: bytes,
    home: str | bytes,
    *,
    named: set[str] | None = None,
) -> Policy:
    """Return `policy` narrowed by what ``[tool.writeaudit]`` of the project around `cwd` says.

    The nearest pyproject.toml that has such a table counts. It comes with the project, so it can
    forbid and never allow: what would is left out, and said in the policy's remarks. Raises `PolicyError`.
    """
    found = _project_table(os.fsdecode(cwd))
    if found is None:
        return policy
    path, text, table = found
    file = _File(path, text, ("tool", "writeaudit"))
    table = {key: value for key, value in table.items() if key not in _SETTINGS}
    rules = _read_rules(file, table, Surroundings(env, cwd, os.fsencode(home), named), ())
    remarks: list[str] = []
    if policy.is_open and rules.zones:
        # Nobody had said anything: to say something is to narrow.
        narrowed = policy._replace(zones=_laid_over(policy.zones, rules.zones), is_open=False)
    else:
        narrowed = _narrow_policy(policy, rules.zones, path, remarks)
    forbidding = [zone for zone in rules.container_zones if zone.access is not ZoneAccess.READ_WRITE]
    if len(forbidding) < len(rules.container_zones):
        remarks.append(
            f"{path} has writable container zones: ignored, for a project can forbid and not allow"
        )
    if rules.exemptions:
        remarks.append(f"{path} has exceptions: ignored, for a project can forbid and not allow")
    severities = dict(policy.severities)
    ranks = {word: rank for rank, word in enumerate(("off", "note", "warning", "error"))}
    for rule_id, word in rules.severities.items():
        usual = severities.get(rule_id, rule(rule_id).severity.value)
        if ranks[word] < ranks[usual]:
            remarks.append(f"{path} makes {rule_id} {word}: ignored, for a project can only make it graver")
        else:
            severities[rule_id] = word
    return narrowed._replace(
        source=f"{policy.source}, {path}",
        severities=tuple(severities.items()),
        remarks=(*policy.remarks, *rules.remarks, *remarks),
        container_zones=_laid_over(forbidding, policy.container_zones),
    )


def _project_table(cwd: str) -> tuple[str, str, dict[str, object]] | None:
    """Return the nearest pyproject.toml with a table for writeaudit, its text and the table."""
    directory = os.path.abspath(cwd)
    while True:
        path = os.path.join(directory, "pyproject.toml")
        if os.path.isfile(path):
            text = ""
            table: object = None
            with contextlib.suppress(PolicyError):  # the tool that it is for will say what is wrong
                text = _read_text(path)
                table = _parse_toml(path, text).get("tool")
            own = table.get("writeaudit") if isinstance(table, dict) else None
            if isinstance(own, dict):
                return path, text, own
        above = os.path.dirname(directory)
        if above == directory:
            return None
        directory = above


def _narrow_policy(policy: Policy, zones: Iterable[Zone], path: str, remarks: list[str]) -> Policy:
    """Return the policy with those zones of a project that forbid something."""
    matcher = ZoneMatcher(policy.zones)
    closed = [
        literal_directory(pattern)
        for zone in policy.zones
        if zone.access is ZoneAccess.NONE
        for pattern in zone.patterns
    ]
    taken = {zone.name for zone in policy.zones}
    added: list[Zone] = []
    for zone in zones:
        if zone.access is ZoneAccess.READ_WRITE:
            inside = (matcher.find_zone(literal_directory(pattern)) for pattern in zone.patterns)
            if not all(found is not None and found.access is ZoneAccess.READ_WRITE for found in inside):
                remarks.append(
                    f"{path} declares zone {zone.name} rw: ignored, for a project can forbid and not allow"
                )
            continue
        access = zone.access
        parts = [literal_directory(pattern) for pattern in zone.patterns]
        if any(_paths_overlap(part, other) for part in parts for other in closed):
            access = ZoneAccess.NONE  # what may not be read stays so
        name = zone.name if zone.name not in taken else f"{zone.name}-of-project"
        taken.add(name)
        added.append(Zone(name, access, zone.patterns, zone.program))
    return policy._replace(zones=(*policy.zones, *added))


def _paths_overlap(one: bytes, other: bytes) -> bool:
    """Whether one path is the other or lies around it."""
    a, b = one.rstrip(b"/") + b"/", other.rstrip(b"/") + b"/"
    return a.startswith(b) or b.startswith(a)


def overlay_zones(
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
    zone of that name. `named`: see `load_policy`. Raises `UsageError`.
    """
    if not zone_options:
        return policy
    where = Surroundings(env, cwd, os.fsencode(home), named)
    zones: dict[str, Zone] = {}
    for option in zone_options:
        name, path, access = _zone_option(option)
        try:
            patterns = expand_spelling(path, where)
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
    return with_devices(policy._replace(source=f"{policy.source}, --zone", zones=laid, is_open=False))


def to_json(policy: Policy) -> dict[str, object]:
    """Return `policy` as JSON-able values, for a recording; `from_json` reads it back."""
    return {
        "name": policy.name,
        "source": policy.source,
        "tool": policy.tool,
        "open": policy.is_open,
        "zones": [_zone_to_json(zone) for zone in policy.zones],
        **(
            {"container_zones": [_zone_to_json(zone) for zone in policy.container_zones]}
            if policy.container_zones
            else {}
        ),
        "remarks": list(policy.remarks),
        "severities": dict(policy.severities),
        "exceptions": [
            {
                "paths": [escape_path(pattern) for pattern in each.patterns],
                "reason": each.reason,
                "rules": list(each.rules),
                "until": each.until,
            }
            for each in policy.exemptions
        ],
    }


def _zone_to_json(zone: Zone) -> dict[str, object]:
    return {
        "name": zone.name,
        "access": zone.access.value,
        "patterns": [escape_path(pattern) for pattern in zone.patterns],
        **({"program": zone.program} if zone.program is not None else {}),
    }


def _zones_from_json(entries: object) -> tuple[Zone, ...]:
    zones: list[Zone] = []
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
        kept = tuple(unescape_path(str(pattern)) for pattern in patterns)
        program = entry.get("program")
        zones.append(
            Zone(
                str(entry.get("name")),
                ZoneAccess(entry["access"]),
                kept,
                program if isinstance(program, str) else None,
            )
        )
    return tuple(zones)


def from_json(data: Mapping[str, object]) -> Policy:
    """Return the policy that `to_json` was given. Raises `PolicyError` if `data` is not such a one."""
    exceptions = data.get("exceptions")
    kept_exceptions = exceptions if isinstance(exceptions, list) else []
    return Policy(
        str(data.get("name")),
        str(data.get("source")),
        _zones_from_json(data.get("zones")),
        str(data.get("tool", "generic")),
        data.get("open") is True,
        _text_items(data.get("remarks")),
        tuple((str(k), str(v)) for k, v in _dict_items(data.get("severities"))),
        tuple(
            Exemption(
                tuple(unescape_path(path) for path in _text_items(each.get("paths"))),
                str(each.get("reason")),
                _text_items(each.get("rules")),
                str(each.get("until") or ""),
            )
            for each in kept_exceptions
            if isinstance(each, dict)
        ),
        _zones_from_json(data.get("container_zones", [])),
    )


def _text_items(value: object) -> tuple[str, ...]:
    return tuple(map(str, value)) if isinstance(value, list) else ()


def _dict_items(value: object) -> Iterable[tuple[object, object]]:
    return value.items() if isinstance(value, dict) else ()


def _laid_over(base: Sequence[Zone], zones: Iterable[Zone]) -> tuple[Zone, ...]:
    merged = {zone.name: zone for zone in base}
    merged.update((zone.name, zone) for zone in zones)
    return tuple(merged.values())


def _read_text(path: str) -> str:
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


def _parse_toml(path: str, text: str) -> dict[str, object]:
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


def _read_container(file: _File, table: object) -> list[Zone]:
    """Return the zones of what containers have on mounts of their own."""
    hint = 'Write [container.zones.data], then access = "rw" and patterns = ["/var/lib/app"].'
    if not isinstance(table, dict):
        file.fail(f"container is {_describe_value(table)}", "container", hint=hint)
    for word in table:
        if word != "zones":
            file.fail(f"unknown key {word!r} in container", "container", word, hint=hint)
    return _read_zones(file.at_table("container"), table.get("zones", []), None)


def _read_zones(file: _File, zones: object, where: Surroundings | None) -> list[Zone]:
    """Return zones; without surroundings those of containers, whose patterns are paths in these."""
    found: list[Zone] = []
    first_line: dict[str, int] = {}
    if isinstance(zones, list):
        tables: list[tuple[str | int, object]] = list(enumerate(zones))
    elif isinstance(zones, dict):
        tables = list(zones.items())
    else:
        file.fail(
            f"zones is {_describe_value(zones)}", "zones", hint="Write [[zones]] tables, one for each zone."
        )
    for key, table in tables:
        if not isinstance(table, dict):
            file.fail(
                f"zone {key!r} is {_describe_value(table)}",
                "zones",
                key,
                hint='A zone is a table: [zones.cache], then access = "ro" and patterns = ["~/.cache/uv"].',
            )
        zone = _read_zone(file, key, table, where)
        if zone.name in first_line:
            file.fail(
                f"zone {zone.name!r} stands here a second time (first on line {first_line[zone.name]})",
                "zones",
                key,
                hint="Put all of its patterns into one list, or give it another name.",
            )
        first_line[zone.name] = file.line_of("zones", key)
        found.append(zone)
    return found


def _read_zone(file: _File, key: str | int, table: Mapping[str, object], where: Surroundings | None) -> Zone:
    shown = f"zone {table.get('name', key)!r}" if isinstance(key, int) else f"zone {key!r}"
    for word in table:
        if word not in (*_ZONE_KEYS, *_PATTERN_KEYS):
            file.fail(
                f"unknown key {word!r} in {shown}",
                "zones",
                key,
                word,
                hint=f"{_suggest_word(word, (*_ZONE_KEYS, *_PATTERN_KEYS))}"
                "Allowed in a zone are name, access, patterns (or path, paths) and when.",
            )
    name = table.get("name", key if isinstance(key, str) else None)
    if name is None:
        file.fail(f"zone number {int(key) + 1} has no name", "zones", key, hint='Add name = "cache".')
    if not isinstance(name, str) or not name or not name.isprintable():
        file.fail(
            f"the name of {shown} is {_describe_value(name)}",
            "zones",
            key,
            "name",
            hint='Write name = "cache".',
        )
    access = _read_access(file, shown, key, table)
    patterns = _read_patterns(file, shown, ("zones", key), table, where)
    return Zone(name, access, patterns, _read_program(file, shown, key, table))


def _read_program(file: _File, shown: str, key: str | int, table: Mapping[str, object]) -> str | None:
    """Return the name of the program for which alone a zone holds."""
    when = table.get("when")
    if when is None:
        return None
    hint = 'Write when = { exe = "uv" }: the name of a program, which may hold wildcards.'
    if not isinstance(when, dict):
        file.fail(f"when of {shown} is {_describe_value(when)}", "zones", key, "when", hint=hint)
    for word in when:
        if word != "exe":
            file.fail(f"unknown condition {word!r} in {shown}", "zones", key, "when", hint=hint)
    program = when.get("exe")
    if not isinstance(program, str) or not program:
        file.fail(f"exe of {shown} is {_describe_value(program)}", "zones", key, "when", hint=hint)
    return program


def _read_access(file: _File, shown: str, key: str | int, table: Mapping[str, object]) -> ZoneAccess:
    word = table.get("access")
    if word is None:
        file.fail(f"{shown} has no access", "zones", key, hint='Add access = "ro", "rw" or "none".')
    if word not in _ACCESS_WORDS:
        near = ""
        if isinstance(word, str):
            meant = _NEARLY.get(word.lower())
            near = f"Did you mean {meant!r}? " if meant else _suggest_word(word, _ACCESS_WORDS)
        file.fail(
            f"{shown} has the unknown access {word!r}",
            "zones",
            key,
            "access",
            hint=f'{near}Allowed are "ro" (read only), "rw" (read and write) and "none".',
        )
    return ZoneAccess(str(word))


def _read_patterns(
    file: _File,
    shown: str,
    at: tuple[str | int, ...],
    table: Mapping[str, object],
    where: Surroundings | None,
) -> tuple[bytes, ...]:
    given = [word for word in table if word in _PATTERN_KEYS]
    example = 'Add patterns = ["~/.cache/uv"].'
    if not given:
        file.fail(f"{shown} has no patterns", *at, hint=example)
    if len(given) > 1:
        file.fail(
            f"{shown} has both {given[0]} and {given[1]}",
            *at,
            given[1],
            hint="They mean the same: put all of them into patterns.",
        )
    (word,) = given
    value = table[word]
    spellings = [value] if isinstance(value, str) else value
    if not isinstance(spellings, list) or not spellings:
        file.fail(f"{word} of {shown} is {_describe_value(value)}", *at, word, hint=example)
    patterns: dict[bytes, None] = {}
    for index, spelling in enumerate(spellings):
        place: tuple[str | int, ...] = (*at, word, index)
        if not isinstance(spelling, str):
            file.fail(f"a pattern of {shown} is {_describe_value(spelling)}", *place, hint=example)
        try:
            found = [_inner_pattern(spelling)] if where is None else expand_spelling(spelling, where)
            patterns.update(dict.fromkeys(found))
        except PolicyError as error:
            file.fail(f"{shown}: {error.message}", *place, hint=error.hint or "")
    return tuple(patterns)


def _inner_pattern(spelling: str) -> bytes:
    """Return a pattern for paths in a container, about whose variables and symlinks nobody knows here."""
    pattern = os.fsencode(spelling)
    if not pattern.startswith(b"/") or {b".", b".."} & {*pattern.split(b"/")} or b"\0" in pattern:
        raise PolicyError(
            f"{spelling!r} is no absolute path",
            hint="Write the path as the container has it: /var/lib/app. It knows neither ~ nor variables.",
        )
    pattern = b"/" + b"/".join(name for name in pattern.split(b"/") if name)
    check_pattern(pattern)
    return pattern


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


def _describe_value(value: object) -> str:
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
