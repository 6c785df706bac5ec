"""pip: the environment of the interpreter that runs it; no links, one cache."""

from __future__ import annotations

import os

from writeaudit.policy.profiles.context import Context


def gather(context: Context) -> None:
    """Add the zones of a pip command."""
    cache = context.option("--cache-dir") or context.env.get("PIP_CACHE_DIR") or _configured_cache(context)
    if not (context.flag("--no-cache-dir") or context.truthy("PIP_NO_CACHE_DIR")):
        default = os.path.join(context.xdg("XDG_CACHE_HOME", ".cache"), "pip")
        context.zone("cache", context.path(cache, tilde=True) if cache else default)
    context.zone("venv", *environment(context))
    if any(
        os.path.exists(os.path.join(context.cwd, name))
        for name in ("pyproject.toml", "setup.py", "setup.cfg")
    ):
        context.protected("project", context.cwd)


def _configured_cache(context: Context) -> str | None:
    own = context.env.get("PIP_CONFIG_FILE")
    config = context.ini(
        "/etc/pip.conf",
        os.path.join(context.home, ".pip", "pip.conf"),
        os.path.join(context.xdg("XDG_CONFIG_HOME", ".config"), "pip", "pip.conf"),
        *([os.path.join(context.env["VIRTUAL_ENV"], "pip.conf")] if context.env.get("VIRTUAL_ENV") else []),
        *([own] if own and own != os.devnull else []),
    )
    for section in ("install", "global"):
        for key in ("cache-dir", "cache_dir"):
            if value := config.get(section, key, fallback=None):
                return value
    return None


def environment(context: Context) -> list[str]:
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
