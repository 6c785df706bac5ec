"""Built-in profiles: the tool is recognised from its command line, its profile finds the zones.

A profile has two halves. The tool says where things are, the mode says what may be done
there: ``install`` (cache, environment and temporary files are writable, nothing else) or
``frozen`` (temporary files only).
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from writeaudit.errors import PolicyError
from writeaudit.judgement import Policy
from writeaudit.policy.profiles.command import MODULES, TOOLS, recognise_tool
from writeaudit.policy.profiles.context import Mode, ProfileContext
from writeaudit.policy.zones import with_devices
from writeaudit.text import nearest

_TOOLS = (
    *[
        "uv",
        "pip",
        "poetry",
        "pdm",
        "pipenv",
        "venv",
        "virtualenv",
        "tox",
        "nox",
        "hatch",
        "pipx",
        "pre-commit",
        "build",
        "conda",
        "mamba",
        "pixi",
    ],
    *[
        "npm",
        "pnpm",
        "yarn",
        "bun",
        "cargo",
        "go",
        "gem",
        "bundler",
        "composer",
        "git",
        "make",
        "cmake",
        "ninja",
        "ccache",
        "sccache",
    ],
    *["apt", "dpkg", "debootstrap", "generic"],
)
_MODULES = {
    "pre-commit": "pre_commit",
    "mamba": "conda",
    "bundler": "gem",
    "ninja": "cmake",
    "sccache": "ccache",
    "dpkg": "apt",
    "debootstrap": "apt",
}
"""Each tool is a module of this package (of its own name, else that given here) with a function
``add_zones``, imported when it is needed."""

_USUAL = {
    "uv": "sync",
    "cargo": "build",
    "go": "build",
    "git": "status",
    "make": "all",
    "pre-commit": "run",
    "tox": "run",
}
"""What a tool is asked to do if nobody says; ``install`` for the others."""


def _load_profile(tool: str) -> Callable[[ProfileContext], None]:
    module = importlib.import_module(f"{__name__}.{_MODULES.get(tool, tool)}")
    add_zones: Callable[[ProfileContext], None] = module.add_zones
    return add_zones


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


class Found(NamedTuple):
    """A profile's policy for a command, and where it looked."""

    policy: Policy
    variables: frozenset[str]
    """Names of the variables that were asked for."""
    files: tuple[str, ...]
    """Paths of the settings files that were looked for."""


def discover_policy(
    command: Sequence[bytes], cwd: bytes, env: Mapping[str, str], *, profile: str | None = None
) -> Policy:
    """Return the policy for `command` when it runs in `cwd` with `env`; see `survey_command`."""
    return survey_command(command, cwd, env, profile=profile).policy


def survey_command(
    command: Sequence[bytes], cwd: bytes, env: Mapping[str, str], *, profile: str | None = None
) -> Found:
    """Return the policy for `command` when it runs in `cwd` with `env`, and what it was found by.

    Reads configuration files and looks at what exists (a .venv, a project's root); changes
    nothing. Raises `PolicyError` for an unknown `profile`.
    """
    tool, mode = check_profile(profile) if profile is not None else (None, Mode.INSTALL)
    run = recognise_tool(command, os.path.abspath(cwd), env)
    if tool not in (None, "generic", run.tool):
        # Somewhere behind the command, a Makefile say, stands the tool: at its most usual work, as it seems.
        run = run._replace(tool=tool, program=tool, args=(_USUAL.get(tool, "install"),))
    context = ProfileContext(run, mode)
    context.add_temporary()
    tool = tool or run.tool
    _load_profile(tool)(context)
    name = f"{tool}/{mode.value}"
    nobody_said = profile is None and tool == "generic"
    remarks = tuple(dict.fromkeys(context.ignored))
    policy = Policy(name, f"profile {name}", context.list_zones(), tool, nobody_said, remarks=remarks)
    return Found(with_devices(policy), frozenset(context.asked), tuple(dict.fromkeys(context.read)))


class About(NamedTuple):
    """What a profile is for."""

    name: str
    programs: tuple[str, ...]
    summary: str
    """Half a sentence."""


def describe_profile(name: str) -> About:
    """Return what the profile of a tool is for."""
    programs = tuple(program for program, tool in TOOLS.items() if tool == name)
    programs += tuple(f"python -m {module}" for module, tool in MODULES.items() if tool == name)
    module = importlib.import_module(f"{__name__}.{_MODULES.get(name, name)}")
    first = (module.__doc__ or "").strip().partition("\n")[0]
    return About(name, programs, first.partition(": ")[2] or first)


def usual_command(name: str) -> tuple[bytes, ...]:
    """Return the command that a profile is shown for if nobody names one."""
    program = next((program for program, tool in TOOLS.items() if tool == name), name)
    return os.fsencode(program), os.fsencode(_USUAL.get(name, "install"))


def list_tools() -> tuple[str, ...]:
    """Return the profiles of tools, without the modes."""
    return tuple(_TOOLS)
