"""Built-in profiles: the tool is recognised from its command line, its profile finds the zones.

A profile has two halves. The tool says where things are, the mode says what may be done
there: ``install`` (cache, environment and temporary files are writable, nothing else) or
``frozen`` (temporary files only).
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Mapping, Sequence

from writeaudit.errors import PolicyError
from writeaudit.judgement import Policy
from writeaudit.policy.profiles import bun, cargo, conda, generic, npm, pdm, pip, pipenv, pnpm, poetry, uv
from writeaudit.policy.profiles.command import recognise
from writeaudit.policy.profiles.context import Context, Mode
from writeaudit.policy.zones import with_devices

_GATHER: dict[str, Callable[[Context], None]] = {
    "uv": uv.gather,
    "pip": pip.gather,
    "poetry": poetry.gather,
    "pdm": pdm.gather,
    "pipenv": pipenv.gather,
    "conda": conda.gather,
    "npm": npm.gather,
    "pnpm": pnpm.gather,
    "bun": bun.gather,
    "cargo": cargo.gather,
    "generic": generic.gather,
}
_MODES = tuple(mode.value for mode in Mode)


def known_profiles() -> tuple[str, ...]:
    """Return every profile's name: the modes, then the tools (which may be followed by /MODE)."""
    return (*_MODES, *_GATHER)


def check_profile(name: str) -> tuple[str | None, Mode]:
    """Split ``MODE``, ``TOOL`` or ``TOOL/MODE``; a tool of None is to be recognised.

    Raises `PolicyError` for an unknown one, with the known ones in its hint.
    """
    tool, slash, mode = name.partition("/")
    if not slash and tool in _MODES:
        return None, Mode(tool)
    if tool in _GATHER and (mode in _MODES or not slash):
        return tool, Mode(mode or Mode.INSTALL)
    wrong, allowed = (mode, list(_MODES)) if tool in _GATHER else (tool, list(known_profiles()))
    close = difflib.get_close_matches(wrong, allowed, n=1)
    raise PolicyError(
        f"unknown profile {name!r}",
        hint=(f"Did you mean {close[0]!r}? " if close else "")
        + f"Known are {' and '.join(_MODES)}, a tool ({', '.join(_GATHER)}), or both, such as uv/frozen.",
    )


def discover(
    command: Sequence[bytes], cwd: bytes, env: Mapping[str, str], *, profile: str | None = None
) -> Policy:
    """Return the policy for `command` when it runs in `cwd` with `env`.

    Reads configuration files and looks at what exists (a .venv, a project's root); changes
    nothing. Raises `PolicyError` for an unknown `profile`.
    """
    tool, mode = check_profile(profile) if profile is not None else (None, Mode.INSTALL)
    run = recognise(command, os.path.abspath(cwd), env)
    context = Context(run, mode)
    context.temporary()
    tool = tool or run.tool
    _GATHER[tool](context)
    name = f"{tool}/{mode.value}"
    return with_devices(Policy(name, f"profile {name}", context.zones(), tool))
