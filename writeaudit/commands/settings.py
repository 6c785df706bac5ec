"""Where options come from when the command line does not give them (docs/configuration.md).

The order: the command line, then a variable ``WRITEAUDIT_NAME``, then ``[tool.writeaudit]`` in the
project's pyproject.toml, then the default. The project is often what is audited, so its table can make an
audit stricter and never laxer, and cannot say where files are written.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from writeaudit.errors import UsageError

SETTINGS = (
    "backend",
    "buffer",
    "fail_on",
    "html",
    "json",
    "junit",
    "linger",
    "markdown",
    "policy_file",
    "profile",
    "quiet",
    "recording",
    "sarif",
    "sqlite",
    "sudo",
    "user",
    "verbose",
)
"""Options, by the names of their parameters, that a variable can give."""

PROJECT_KEYS = ("backend", "buffer", "fail-on", "linger", "profile")
"""Keys of ``[tool.writeaudit]`` that stand for options; other keys belong to the policy."""

_POLICY_KEYS = frozenset({"name", "extends", "zones", "severity", "exceptions"})
"""Keys of the same table that are its policy (docs/policy.md)."""
_VARIABLES = {"policy_file": "WRITEAUDIT_POLICY", "recording": "WRITEAUDIT_OUTPUT"}
_MODES = ("install", "frozen")


def variable(name: str) -> str:
    """Return the name of the variable that stands for an option."""
    return _VARIABLES.get(name, f"WRITEAUDIT_{name.upper()}")


def find_project(cwd: str) -> str | None:
    """Return the pyproject.toml of the directory or of the nearest one above it."""
    directory = os.path.abspath(cwd)
    while True:
        path = os.path.join(directory, "pyproject.toml")
        if os.path.isfile(path):
            return path
        above = os.path.dirname(directory)
        if above == directory:
            return None
        directory = above


def project_defaults(cwd: str) -> dict[str, Any]:
    """Return what the project's table says of options, by parameter. Raises UsageError.

    A file that is no TOML is the installer's business: there is nothing of ours in it.
    """
    path = find_project(cwd)
    if path is None:
        return {}
    try:
        with open(path, "rb") as file:
            text = file.read()
    except OSError:
        return {}
    if b"writeaudit" not in text:
        return {}  # most projects: nobody should wait for the parser
    import tomllib

    try:
        table = tomllib.loads(text.decode()).get("tool", {}).get("writeaudit", {})
    except (ValueError, AttributeError, RecursionError):
        return {}
    if not isinstance(table, Mapping):
        raise UsageError(f"{path}: tool.writeaudit is not a table", hint="write [tool.writeaudit]")
    return _defaults(path, table)


def _defaults(path: str, table: Mapping[str, Any]) -> dict[str, Any]:
    from writeaudit.analysis.fail_on import parse_fail_on

    found: dict[str, Any] = {}
    for key, value in table.items():
        if key in _POLICY_KEYS:
            continue
        if key == "fail-on":
            words = [value] if isinstance(value, str) else value
            if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
                raise _wrong(path, key, "a text or a list of texts")
            parse_fail_on(words)
            if any(word.strip().lower() in {"none", "never"} for each in words for word in each.split(",")):
                raise UsageError(
                    f"{path}: fail-on = {words[0]!r} would make the audit laxer, which a project cannot",
                    hint="give it on the command line: --fail-on none",
                )
            found["fail_on"] = ("error", *words)  # in addition to the default
        elif key == "profile":
            if value not in _MODES:
                raise _wrong(path, key, 'one of "install" and "frozen"')
            found["profile"] = value
        elif key in {"backend", "buffer"}:
            if not isinstance(value, str):
                raise _wrong(path, key, "a text")
            found[key] = value
        elif key == "linger":
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise _wrong(path, key, "a number of seconds")
            found[key] = value
        else:
            raise _unknown(path, key)
    return found


def _wrong(path: str, key: str, expected: str) -> UsageError:
    return UsageError(f"{path}: tool.writeaudit.{key} is not {expected}", hint="see docs/configuration.md")


def _unknown(path: str, key: str) -> UsageError:
    from writeaudit.text import nearest

    if key.replace("-", "_") in {*SETTINGS, "policy", "zone", "output"}:
        return UsageError(
            f"{path}: tool.writeaudit.{key} cannot be set by a project",
            hint=f"give it on the command line: --{key}",
        )
    near = nearest(key, PROJECT_KEYS)
    guess = f"did you mean {near}? " if near else ""
    return UsageError(
        f"{path}: there is no setting tool.writeaudit.{key}", hint=f"{guess}Keys: {', '.join(PROJECT_KEYS)}"
    )
