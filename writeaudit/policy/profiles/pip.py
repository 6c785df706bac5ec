"""pip: the environment of the interpreter that runs it; no links, one cache."""

from __future__ import annotations

import os

from writeaudit.policy.profiles.context import ProfileContext
from writeaudit.policy.profiles.python_tools import (
    build_output,
    bytecode,
    configured_pip_cache,
    is_built,
    rustup,
)

_COMMANDS_THAT_BUILD = frozenset({"install", "wheel", "download"})


def gather(context: ProfileContext) -> None:
    """Add the zones of a pip command."""
    cache = context.option("--cache-dir") or context.env.get("PIP_CACHE_DIR") or configured_pip_cache(context)
    if (report := context.option("--report", "--log")) and report != "-":
        context.zone("output", context.path(report))
    if (place := context.option("-w", "--wheel-dir", "-d", "--dest")) is not None:
        context.zone("output", context.path(place))
    elif set(context.run.args) & {"wheel", "download"}:
        archives = (b"/*.whl", b"/*.tar.gz", b"/*.zip")
        here = context.patterns(context.cwd)
        context.zone("output", patterns=[pattern + each for pattern in here for each in archives])
    if not (context.flag("--no-cache-dir") or context.truthy("PIP_NO_CACHE_DIR")):
        default = os.path.join(context.xdg("XDG_CACHE_HOME", ".cache"), "pip")
        context.zone("cache", context.path(cache, tilde=True) if cache else default)
    context.zone("venv", *environment(context))
    bytecode(context)
    rustup(context)
    for place in _local_projects(context):
        build_output(context, place)
    if any(
        os.path.exists(os.path.join(context.cwd, name))
        for name in ("pyproject.toml", "setup.py", "setup.cfg")
    ):
        context.protected("project", context.cwd)


def environment(context: ProfileContext) -> list[str]:
    """Return where a pip command installs."""
    for names, variable in (
        (("--target", "-t"), "PIP_TARGET"),
        (("--prefix",), "PIP_PREFIX"),
        (("--root",), "PIP_ROOT"),
    ):
        if place := context.option(*names) or context.env.get(variable):
            return [context.path(place, tilde=True)]
    if context.flag("--user") or context.truthy("PIP_USER"):
        base = context.env.get("PYTHONUSERBASE")
        if base:
            return [context.path(base, tilde=True)]
        local = os.path.join(context.home, ".local")
        return [os.path.join(local, part) for part in ("bin", "lib", "include", "share", "etc")]
    asked = context.option("--python") or context.env.get("PIP_PYTHON")
    if asked:
        place = context.program(asked) if "/" not in asked else context.path(asked)
        if place is not None:
            return [place] if os.path.isdir(place) else context.python_environment(place)
    program = context.program(context.run.program) if context.run.tool == "pip" else None
    return context.python_environment(program or context.program("python3") or "/usr/bin/python3")


def _local_projects(context: ProfileContext) -> list[str]:
    """Return the directories whose projects the command builds and installs: ``.``, ``-e ./lib``, …"""
    words = [word.partition("[")[0] for word in context.run.args]
    if not set(words) & _COMMANDS_THAT_BUILD:
        return []
    places = [context.path(word.removeprefix("--editable=")) for word in words if not word.startswith("--r")]
    return [place for place in dict.fromkeys(places) if os.path.isdir(place) and is_built(context, place)]
