"""poetry: POETRY_CACHE_DIR holds packages and, unless told otherwise, virtual environments."""

from __future__ import annotations

import os

from writeaudit.policy.profiles.context import FromProject, ProfileContext, get_table, get_text
from writeaudit.policy.profiles.python_tools import add_bytecode, below_python_tools, build_output, is_built

_PURPOSE = frozenset({"add", "remove", "lock", "update", "init", "version", "self"})
_WITH_VALUE = frozenset(
    {"-C", "--directory", "-P", "--project", "-E", "--extras", "--with", "--without", "--only", "-G"}
)


def add_zones(context: ProfileContext) -> None:
    """Add the zones of a poetry command."""
    if directory := context.last_option("--directory", "-C"):
        context.cwd = context.make_absolute(directory)
    project = context.last_option("--project", "-P")
    root = context.find_nearest("pyproject.toml", start=context.make_absolute(project) if project else None)
    home = context.env.get("POETRY_CONFIG_DIR") or os.path.join(
        context.xdg_directory("XDG_CONFIG_HOME", ".config"), "pypoetry"
    )
    settings = [
        context.read_toml(root, "poetry.toml") if root else None,
        context.read_toml(home, "config.toml"),
    ]
    cache = context.env.get("POETRY_CACHE_DIR") or next(
        (v for s in settings if (v := get_text(s, "cache-dir"))), None
    )
    cache = (
        context.make_absolute(cache, tilde=True)
        if cache
        else os.path.join(context.xdg_directory("XDG_CACHE_HOME", ".cache"), "pypoetry")
    )
    context.add_zone("cache", cache)
    below_python_tools(context)
    context.add_zone("venv", *_list_environments(context, root, cache, settings))
    context.add_zone("state", home)
    words = context.list_operands(_WITH_VALUE)
    if words[:1] in (["new"], ["init"]):
        context.add_zone("project", context.make_absolute(words[1]) if words[1:] else context.cwd)
    elif root is not None:
        context.protect_paths("project", root)
        if words[:1] == ["build"]:
            place = context.last_option("-o", "--output")
            context.add_zone("output", context.make_absolute(place) if place else os.path.join(root, "dist"))
        if is_built(context, root):
            build_output(context, root)
        if set(context.list_operands(_WITH_VALUE)[:1]) & _PURPOSE:
            context.add_zone(
                "lockfile", os.path.join(root, "poetry.lock"), os.path.join(root, "pyproject.toml")
            )
    add_bytecode(context)


def _format_setting(setting: str, value: str) -> str:
    return setting.mark_text(value) if isinstance(setting, FromProject) else value


def _list_environments(
    context: ProfileContext, root: str | None, cache: str, settings: list[dict[str, object] | None]
) -> list[str]:
    if active := context.env.get("VIRTUAL_ENV"):
        return [context.make_absolute(active)]
    configured = [get_table(data, "virtualenvs") or {} for data in settings]
    own = next((data["in-project"] for data in configured if "in-project" in data), None)
    if root is not None:
        inside = os.path.join(root, ".venv")
        if context.env.get("POETRY_VIRTUALENVS_IN_PROJECT"):
            own = context.is_truthy("POETRY_VIRTUALENVS_IN_PROJECT")
        if own is True or (own is None and os.path.isdir(inside)):
            return [inside]
    place = context.env.get("POETRY_VIRTUALENVS_PATH") or next(
        (v for c in configured if (v := get_text(c, "path"))), None
    )
    if place:
        return [
            context.make_absolute(_format_setting(place, place.replace("{cache-dir}", cache)), tilde=True)
        ]
    return [os.path.join(cache, "virtualenvs")]
