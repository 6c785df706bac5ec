"""pdm: an environment in the project (.venv or __pypackages__), or one that is kept centrally."""

from __future__ import annotations

import os

from writeaudit.policy.profiles.context import ProfileContext, get_table, get_text
from writeaudit.policy.profiles.python_tools import add_bytecode, below_python_tools, build_output, is_built

_PURPOSE = frozenset({"add", "remove", "lock", "update", "init"})
_WITH_VALUE = frozenset({"-p", "--project", "-c", "--config", "-G", "--group", "-L", "--lockfile"})


def add_zones(context: ProfileContext) -> None:
    """Add the zones of a pdm command."""
    given = context.last_option("--project", "-p") or context.env.get("PDM_PROJECT")
    root = context.make_absolute(given) if given else context.find_nearest("pyproject.toml")
    config = context.env.get("PDM_CONFIG_FILE") or os.path.join(
        context.xdg_directory("XDG_CONFIG_HOME", ".config"), "pdm", "config.toml"
    )
    settings = [context.read_toml(root, "pdm.toml") if root else None, context.read_toml(config)]
    cache = context.env.get("PDM_CACHE_DIR") or next(
        (v for s in settings if (v := get_text(s, "cache_dir"))), None
    )
    default = os.path.join(context.xdg_directory("XDG_CACHE_HOME", ".cache"), "pdm")
    context.add_zone("cache", context.make_absolute(cache, tilde=True) if cache else default)
    below_python_tools(context)
    context.add_zone("venv", *_list_environments(context, root, settings))
    context.add_zone(
        "state",
        os.path.join(context.xdg_directory("XDG_STATE_HOME", ".local/state"), "pdm"),
        os.path.dirname(config),
    )
    words = context.list_operands(_WITH_VALUE)
    if words[:1] == ["new"] and words[1:]:
        context.add_zone("project", context.make_absolute(words[1]))
    if root is not None:
        context.protect_paths("project", root)
        # Every command may note the chosen interpreter here; it is no part of the sources.
        context.add_zone("state", os.path.join(root, ".pdm-python"))
        if words[:1] in (["build"], ["publish"]):
            place = context.last_option("-d", "--dest")
            context.add_zone("output", context.make_absolute(place) if place else os.path.join(root, "dist"))
        if is_built(context, root):
            build_output(context, root)
        if set(context.list_operands(_WITH_VALUE)[:1]) & _PURPOSE:
            context.add_zone("lockfile", os.path.join(root, "pdm.lock"), os.path.join(root, "pyproject.toml"))
    elif words[:1] == ["init"]:
        context.add_zone("project", context.cwd)
    add_bytecode(context)


def _list_environments(
    context: ProfileContext, root: str | None, settings: list[dict[str, object] | None]
) -> list[str]:
    active = context.env.get("VIRTUAL_ENV")
    if active and not context.is_truthy("PDM_IGNORE_ACTIVE_VENV"):
        return [context.make_absolute(active)]
    central = os.path.join(context.xdg_directory("XDG_DATA_HOME", ".local/share"), "pdm", "venvs")
    venv = [get_table(data, "venv") or {} for data in settings]
    central = context.env.get("PDM_VENV_LOCATION") or next(
        (v for t in venv if (v := get_text(t, "location"))), central
    )
    inside = next((t["in_project"] for t in venv if "in_project" in t), True)
    if context.env.get("PDM_VENV_IN_PROJECT"):
        inside = context.is_truthy("PDM_VENV_IN_PROJECT")
    if root is None or inside is False:
        return [context.make_absolute(central, tilde=True)]
    if os.path.isdir(os.path.join(root, "__pypackages__")):
        return [os.path.join(root, "__pypackages__")]
    return [os.path.join(root, ".venv")]
