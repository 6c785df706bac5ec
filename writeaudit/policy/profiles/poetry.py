"""poetry: POETRY_CACHE_DIR holds packages and, unless told otherwise, virtual environments."""

from __future__ import annotations

import os

from writeaudit.policy.profiles.context import FromProject, ProfileContext, table, text
from writeaudit.policy.profiles.python_tools import below_python_tools, build_output, bytecode, is_built

_PURPOSE = frozenset({"add", "remove", "lock", "update", "init", "version", "self"})
_WITH_VALUE = frozenset(
    {"-C", "--directory", "-P", "--project", "-E", "--extras", "--with", "--without", "--only", "-G"}
)


def gather(context: ProfileContext) -> None:
    """Add the zones of a poetry command."""
    if directory := context.option("--directory", "-C"):
        context.cwd = context.path(directory)
    project = context.option("--project", "-P")
    root = context.nearest("pyproject.toml", start=context.path(project) if project else None)
    home = context.env.get("POETRY_CONFIG_DIR") or os.path.join(
        context.xdg("XDG_CONFIG_HOME", ".config"), "pypoetry"
    )
    settings = [context.toml(root, "poetry.toml") if root else None, context.toml(home, "config.toml")]
    cache = context.env.get("POETRY_CACHE_DIR") or next(
        (v for s in settings if (v := text(s, "cache-dir"))), None
    )
    cache = (
        context.path(cache, tilde=True)
        if cache
        else os.path.join(context.xdg("XDG_CACHE_HOME", ".cache"), "pypoetry")
    )
    context.zone("cache", cache)
    below_python_tools(context)
    context.zone("venv", *_environments(context, root, cache, settings))
    context.zone("state", home)
    words = context.operands(_WITH_VALUE)
    if words[:1] in (["new"], ["init"]):
        context.zone("project", context.path(words[1]) if words[1:] else context.cwd)
    elif root is not None:
        context.protected("project", root)
        if words[:1] == ["build"]:
            place = context.option("-o", "--output")
            context.zone("output", context.path(place) if place else os.path.join(root, "dist"))
        if is_built(context, root):
            build_output(context, root)
        if set(context.operands(_WITH_VALUE)[:1]) & _PURPOSE:
            context.zone("lockfile", os.path.join(root, "poetry.lock"), os.path.join(root, "pyproject.toml"))
    bytecode(context)


def _of(setting: str, value: str) -> str:
    return setting.of(value) if isinstance(setting, FromProject) else value


def _environments(
    context: ProfileContext, root: str | None, cache: str, settings: list[dict[str, object] | None]
) -> list[str]:
    if active := context.env.get("VIRTUAL_ENV"):
        return [context.path(active)]
    configured = [table(data, "virtualenvs") or {} for data in settings]
    own = next((data["in-project"] for data in configured if "in-project" in data), None)
    if root is not None:
        inside = os.path.join(root, ".venv")
        if context.env.get("POETRY_VIRTUALENVS_IN_PROJECT"):
            own = context.truthy("POETRY_VIRTUALENVS_IN_PROJECT")
        if own is True or (own is None and os.path.isdir(inside)):
            return [inside]
    place = context.env.get("POETRY_VIRTUALENVS_PATH") or next(
        (v for c in configured if (v := text(c, "path"))), None
    )
    if place:
        return [context.path(_of(place, place.replace("{cache-dir}", cache)), tilde=True)]
    return [os.path.join(cache, "virtualenvs")]
