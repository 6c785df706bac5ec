"""From what a user writes as a path in a policy to absolute patterns free of symlinks."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import NamedTuple

from writeaudit.errors import PolicyError
from writeaudit.policy.zones import check_pattern, escape_pattern, literal_name

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_DEEPEST = 20
"""So many defaults may lie in one another."""


class UnsetVariable(PolicyError):
    """A variable without a default is empty or not set; ``name`` is without the dollar sign."""

    def __init__(self, name: str, state: str) -> None:
        self.name = name
        super().__init__(
            f"${name} is {state}", hint=f"Set it, or give a default: ${{{name}:-/some/directory}}."
        )


class Surroundings(NamedTuple):
    """What the spelling of a path depends on: those of the audited command, not writeaudit's own."""

    env: Mapping[str, str]
    cwd: bytes
    home: bytes
    named: set[str] | None = None
    """Takes the names of the variables that are asked for."""

    def get_variable(self, name: str) -> str | None:
        """Return the value of a variable; None if it is not set."""
        if self.named is not None:
            self.named.add(name)
        return self.env.get(name)


def expand_spelling(spelling: str, where: Surroundings) -> tuple[bytes, ...]:
    """Return the patterns that `spelling` stands for: one, or two if symlinks lead elsewhere.

    ``~`` is the home directory, ``$VAR``, ``${VAR}`` and ``${VAR:-default}`` are variables
    (an empty one counts as unset, and its value is never read as a wildcard), ``$$`` is a
    dollar sign. What is not absolute then is relative to the command's working directory.

    Raises `PolicyError` for a ``~user`` or a pattern that cannot be understood, and its
    `UnsetVariable` for a variable without value and default.
    """
    text = _substitute_variables(spelling, where)
    if text == b"~" or text.startswith(b"~/"):
        text = escape_pattern(where.home) + text[1:]
    elif text.startswith(b"~"):
        raise PolicyError(
            f"{spelling!r}: only the command's own home directory can be written with ~",
            hint="Write ~/dir or the absolute path; ./~name for a file of that name.",
        )
    if not text:
        raise PolicyError("an empty path", hint="Write . for the command's working directory.")
    pattern = os.path.join(escape_pattern(where.cwd), text)
    check_pattern(pattern)
    return resolve_pattern(pattern)


def resolve_pattern(pattern: bytes) -> tuple[bytes, ...]:
    """Return an absolute pattern as spelled and, if it differs, with its literal part resolved.

    Event paths are free of symlinks, so a zone that is spelled through one would never
    match. The spelled form stays, for paths that are known as text only and for links
    that the command itself makes anew.
    """
    components = [part for part in pattern.split(b"/") if part not in (b"", b".")]
    plain: list[bytes] = []
    for component in components:
        name = None if component == b"**" else literal_name(component)
        if name is None:
            break
        plain.append(name)
    rest = components[len(plain) :]
    prefix = b"/" + b"/".join(plain)
    real = os.path.realpath(prefix)
    resolved = _join_components(real, rest)
    if b".." in plain or b".." in rest:
        # Text alone cannot tell where .. leads when a symlink stands before it.
        return (resolved,)
    spelled = _join_components(prefix, rest)
    return (spelled,) if spelled == resolved else (resolved, spelled)


def of_path(path: bytes) -> tuple[bytes, ...]:
    """Return the patterns that cover the absolute `path`, which holds no wildcards."""
    return resolve_pattern(escape_pattern(path))


def _join_components(prefix: bytes, rest: list[bytes]) -> bytes:
    joined = b"/".join([escape_pattern(prefix).rstrip(b"/"), *rest])
    return os.path.normpath(joined) if joined else b"/"


def _substitute_variables(text: str, where: Surroundings) -> bytes:
    out = bytearray()
    pos = 0
    while (dollar := text.find("$", pos)) >= 0:
        out += os.fsencode(text[pos:dollar])
        pos = dollar + 1
        if text.startswith("$", pos):
            out += b"$"
            pos += 1
        elif text.startswith("{", pos):
            end = _find_closing_brace(text, pos)
            out += _expand_braces(text[pos + 1 : end], where, at_start=not out)
            pos = end + 1
        elif name := _NAME.match(text, pos):
            out += _require_variable(name[0], where)
            pos = name.end()
        else:
            raise PolicyError(
                f"{text!r}: a dollar sign without a variable's name",
                hint="Write $VAR, ${VAR}, ${VAR:-default}, or $$ for a dollar sign.",
            )
    out += os.fsencode(text[pos:])
    return bytes(out)


def _find_closing_brace(text: str, brace: int) -> int:
    depth = 0
    for pos in range(brace, len(text)):
        if text[pos] == "{":
            depth += 1
            if depth > _DEEPEST:
                raise PolicyError(
                    f"{text[:40]!r}…: defaults in defaults, more than {_DEEPEST} deep",
                    hint="Write ${VAR:-default}, with a plain default.",
                )
        elif text[pos] == "}":
            depth -= 1
            if depth == 0:
                return pos
    raise PolicyError(
        f"{text!r}: ${{ is never closed", hint="Write ${VAR} or ${VAR:-default}, or $$ for a dollar sign."
    )


def _expand_braces(inner: str, where: Surroundings, *, at_start: bool) -> bytes:
    name = _NAME.match(inner)
    rest = inner[name.end() :] if name else inner
    if name is None or (rest and not rest.startswith(":-")):
        raise PolicyError(
            f"'${{{inner}}}' is not understood",
            hint="Only ${VAR} and ${VAR:-default} are; $$ is a dollar sign.",
        )
    if rest and not where.get_variable(name[0]):
        default = _substitute_variables(rest[2:], where)
        if at_start and (default == b"~" or default.startswith(b"~/")):
            return escape_pattern(where.home) + default[1:]
        return default
    return _require_variable(name[0], where)


def _require_variable(name: str, where: Surroundings) -> bytes:
    value = where.get_variable(name)
    if not value:
        raise UnsetVariable(name, "empty" if value == "" else "not set")
    return escape_pattern(os.fsencode(value))
