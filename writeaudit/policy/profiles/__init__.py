"""Built-in profiles: the tool is recognised from its command line, its profile finds the zones.

A profile has two halves. The tool says where things are, the mode says what may be done
there: ``install`` (cache, environment and temporary files are writable, nothing else) or
``frozen`` (temporary files only).
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Mapping, Sequence

from writeaudit.errors import PolicyError
from writeaudit.judgement import Policy
from writeaudit.policy.profiles.command import recognise
from writeaudit.policy.profiles.context import Context, Mode
from writeaudit.policy.zones import with_devices
from writeaudit.text import nearest

_TOOLS = ("uv", "pip", "poetry", "pdm", "pipenv", "conda", "npm", "pnpm", "bun", "cargo", "generic")
"""Each is a module of this package with a function ``gather``, imported when it is needed."""

_USUAL = {"uv": "sync", "cargo": "build"}
"""What a tool is asked to do if nobody says; ``install`` for the others."""


def _gather(tool: str) -> Callable[[Context], None]:
    gather: Callable[[Context], None] = importlib.import_module(f"{__name__}.{tool}").gather
    return gather


_MODES = tuple(mode.value for mode in Mode)


def known_profiles() -> tuple[str, ...]:
    """Return every profile's name: the modes, then the tools (which may be followed by /MODE)."""
    return (*_MODES, *_TOOLS)


def check_profile(name: str) -> tuple[str | None, Mode]:
    """Split ``MODE``, ``TOOL`` or ``TOOL/MODE``; a tool of None is to be recognised.

    Raises `PolicyError` for an unknown one, with the known ones in its hint.
    """
    tool, slash, mode = name.partition("/")
    if not slash and tool in _MODES:
        return None, Mode(tool)
    if tool in _TOOLS and (mode in _MODES or not slash):
        return tool, Mode(mode or Mode.INSTALL)
    wrong, allowed = (mode, list(_MODES)) if tool in _TOOLS else (tool, list(known_profiles()))
    close = nearest(wrong, allowed)
    raise PolicyError(
        f"unknown profile {name!r}",
        hint=(f"Did you mean {close!r}? " if close else "")
        + f"Known are {' and '.join(_MODES)}, a tool ({', '.join(_TOOLS)}), or both, such as uv/frozen.",
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
    if tool not in (None, "generic", run.tool):
        # Somewhere behind the command, a Makefile say, stands the tool: at its most usual work, as it seems.
        run = run._replace(tool=tool, program=tool, args=(_USUAL.get(tool, "install"),))
    context = Context(run, mode)
    context.temporary()
    tool = tool or run.tool
    _gather(tool)(context)
    name = f"{tool}/{mode.value}"
    return with_devices(Policy(name, f"profile {name}", context.zones(), tool))
