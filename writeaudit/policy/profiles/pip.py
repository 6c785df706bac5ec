"""pip: the environment of the interpreter that runs it; no links, one cache."""

from __future__ import annotations

import os

from writeaudit.policy.profiles.context import ProfileContext
from writeaudit.policy.profiles.python_tools import (
    add_bytecode,
    add_rustup,
    build_output,
    configured_pip_cache,
    is_built,
)

_COMMANDS_THAT_BUILD = frozenset({"install", "wheel", "download"})


def add_zones(context: ProfileContext) -> None:
    """Add the zones of a pip command."""
    cache = (
        context.last_option("--cache-dir")
        or context.env.get("PIP_CACHE_DIR")
        or configured_pip_cache(context)
    )
    if (report := context.last_option("--report", "--log")) and report != "-":
        context.add_zone("output", context.make_absolute(report))
    if (place := context.last_option("-w", "--wheel-dir", "-d", "--dest")) is not None:
        context.add_zone("output", context.make_absolute(place))
    elif set(context.run.args) & {"wheel", "download"}:
        archives = (b"/*.whl", b"/*.tar.gz", b"/*.zip")
        here = context.patterns_for(context.cwd)
        context.add_zone("output", patterns=[pattern + each for pattern in here for each in archives])
    if not (context.has_flag("--no-cache-dir") or context.is_truthy("PIP_NO_CACHE_DIR")):
        default = os.path.join(context.xdg_directory("XDG_CACHE_HOME", ".cache"), "pip")
        context.add_zone("cache", context.make_absolute(cache, tilde=True) if cache else default)
    context.add_zone("venv", *find_environment(context))
    add_bytecode(context)
    add_rustup(context)
    for place in _local_projects(context):
        build_output(context, place)
    if any(
        os.path.exists(os.path.join(context.cwd, name))
        for name in ("pyproject.toml", "setup.py", "setup.cfg")
    ):
        context.protect_paths("project", context.cwd)


def find_environment(context: ProfileContext) -> list[str]:
    """Return where a pip command installs."""
    for names, variable in (
        (("--target", "-t"), "PIP_TARGET"),
        (("--prefix",), "PIP_PREFIX"),
        (("--root",), "PIP_ROOT"),
    ):
        if place := context.last_option(*names) or context.env.get(variable):
            return [context.make_absolute(place, tilde=True)]
    if context.has_flag("--user") or context.is_truthy("PIP_USER"):
        base = context.env.get("PYTHONUSERBASE")
        if base:
            return [context.make_absolute(base, tilde=True)]
        local = os.path.join(context.home, ".local")
        return [os.path.join(local, part) for part in ("bin", "lib", "include", "share", "etc")]
    asked = context.last_option("--python") or context.env.get("PIP_PYTHON")
    if asked:
        place = context.find_program(asked) if "/" not in asked else context.make_absolute(asked)
        if place is not None:
            return [place] if os.path.isdir(place) else context.python_environment(place)
    program = context.find_program(context.run.program) if context.run.tool == "pip" else None
    return context.python_environment(program or context.find_program("python3") or "/usr/bin/python3")


def _local_projects(context: ProfileContext) -> list[str]:
    """Return the directories whose projects the command builds and installs: ``.``, ``-e ./lib``, …"""
    words = [word.partition("[")[0] for word in context.run.args]
    if not set(words) & _COMMANDS_THAT_BUILD:
        return []
    places = [
        context.make_absolute(word.removeprefix("--editable="))
        for word in words
        if not word.startswith("--r")
    ]
    return [place for place in dict.fromkeys(places) if os.path.isdir(place) and is_built(context, place)]
