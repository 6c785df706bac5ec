"""A policy file that allows what a run did: its own zones, and the places that it wrote outside them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from writeaudit.judgement import FileSummary, NetEffect, Policy, Verdict, ZoneAccess
from writeaudit.places import is_too_wide, starts_or_grants
from writeaudit.text import escape_path

_BUILT_IN = frozenset({"devices", "inherited"})
_UNCHANGED = frozenset({NetEffect.READ, NetEffect.ATTEMPTED})
_MANY = 3
"""So many files of one directory are allowed by the directory's name, if it is a place of its own."""
_WILD = b"*?["


class Suggestion(NamedTuple):
    """A policy file, and what it leaves out."""

    text: str
    """TOML."""
    left_out: tuple[bytes, ...]
    """Files that start programs or grant access: they are named in a comment, and not allowed."""


def suggest_policy(
    policy: Policy, files: Iterable[FileSummary], *, name: str, cwd: bytes, home: bytes | None
) -> Suggestion:
    """Return a policy that allows what the files of a run became, and as little else as names can say."""
    changed = [
        file
        for file in files
        if file.net not in _UNCHANGED and (file.zone is None or file.verdict is Verdict.VIOLATION)
    ]
    left_out = tuple(file.path for file in changed if starts_or_grants(file.path))
    places = _places([file for file in changed if not starts_or_grants(file.path)], policy, home)
    lines = [
        "# Made by `writeaudit suggest`: it allows what that run did. Read it before you use it.",
        f"name = {quote_toml(name.encode())}",
    ]
    lines += [
        f"# Not allowed, for it starts programs or grants access: {escape_path(path)}" for path in left_out
    ]
    if places:
        lines += zone_lines(
            "written", ZoneAccess.READ_WRITE, [pattern_of(path, cwd, home) for path in places]
        )
    for zone in policy.zones:
        if zone.name not in _BUILT_IN and zone.patterns:
            patterns = [_spelled(pattern, cwd, home) for pattern in zone.patterns]
            lines += zone_lines(zone.name, zone.access, patterns)
    return Suggestion("\n".join(lines) + "\n", left_out)


def _places(files: list[FileSummary], policy: Policy, home: bytes | None) -> list[bytes]:
    """Return the files, or the directories of their own that hold them."""
    made = {
        file.path
        for file in files
        if file.net in (NetEffect.CREATED, NetEffect.TRANSIENT) and "mkdir" in file.ops
    }
    protected = _protected(policy)
    counts: dict[bytes, int] = {}
    for file in files:
        counts[os.path.dirname(file.path)] = counts.get(os.path.dirname(file.path), 0) + 1
    found: dict[bytes, None] = {}
    for file in files:
        place = file.path
        # A directory that the run made is a place of its own, and stands for all that is in it.
        while os.path.dirname(place) in made:
            place = os.path.dirname(place)
        above = os.path.dirname(place)
        passing = file.net is NetEffect.TRANSIENT and place == file.path
        if (passing or counts.get(above, 0) > _MANY) and not is_too_wide(above, home, protected):
            place = above
        found[place] = None
    return _tops(found)


def _protected(policy: Policy) -> tuple[bytes, ...]:
    zones = [zone for zone in policy.zones if zone.access is not ZoneAccess.READ_WRITE]
    return tuple(pattern for zone in zones for pattern in zone.patterns)


def _tops(paths: Mapping[bytes, None]) -> list[bytes]:
    tops: list[bytes] = []
    for path in sorted(paths, key=lambda each: each.replace(b"/", b"\0")):
        if not tops or not path.startswith(tops[-1] + b"/"):
            tops.append(path)
    return tops


def zone_lines(name: str, access: ZoneAccess, patterns: Iterable[str]) -> list[str]:
    """Return the lines of one zone; ``patterns`` are TOML texts."""
    lines = [
        "",
        "[[zones]]",
        f"name = {quote_toml(name.encode())}",
        f'access = "{access.value}"',
        "patterns = [",
    ]
    lines += [f"    {each}," for each in dict.fromkeys(patterns)]
    return [*lines, "]"]


def pattern_of(path: bytes, cwd: bytes, home: bytes | None) -> str:
    """Return the TOML text of the pattern that matches a path itself."""
    return _spelled(b"".join(b"[%c]" % byte if byte in _WILD else b"%c" % byte for byte in path), cwd, home)


def _spelled(pattern: bytes, cwd: bytes, home: bytes | None) -> str:
    """Return the TOML text of an absolute pattern, relative to the home or working directory if below."""
    begin = b""
    for directory, spelling in ((cwd, b"."), (home, b"~")):
        if directory and directory != b"/" and not any(char in _WILD for char in directory):
            if pattern == directory:
                begin, pattern = spelling, b""
            elif not begin and pattern.startswith(directory + b"/"):
                begin, pattern = spelling, pattern[len(directory) :]
    return quote_toml(begin + pattern.replace(b"$", b"$$"))


def quote_toml(raw: bytes) -> str:
    """Return a TOML basic string. A byte that is no UTF-8 becomes ``?``, which matches any one byte."""
    out: list[str] = []
    for char in raw.decode("utf-8", "surrogateescape"):
        if "\udc80" <= char <= "\udcff":
            out.append("?")
        elif char in '"\\':
            out.append(f"\\{char}")
        elif not char.isprintable():
            out.append(f"\\u{ord(char):04x}" if ord(char) < 1 << 16 else f"\\U{ord(char):08x}")
        else:
            out.append(char)
    return '"' + "".join(out) + '"'
