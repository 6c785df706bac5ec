"""pdm: an environment in the project (.venv or __pypackages__), or one that is kept centrally."""

from __future__ import annotations

import os

from writeaudit.policy.profiles.context import ProfileContext, table, text
from writeaudit.policy.profiles.python_tools import below_python_tools, build_output, bytecode, is_built

_PURPOSE = frozenset({"add", "remove", "lock", "update", "init"})
_WITH_VALUE = frozenset({"-p", "--project", "-c", "--config", "-G", "--group", "-L", "--lockfile"})


def gather(context: ProfileContext) -> None:
    """Add the zones of a pdm command."""
    given = context.option("--project", "-p") or context.env.get("PDM_PROJECT")
    root = context.path(given) if given else context.nearest("pyproject.toml")
    config = context.env.get("PDM_CONFIG_FILE") or os.path.join(
        context.xdg("XDG_CONFIG_HOME", ".config"), "pdm", "config.toml"
    )
    settings = [context.toml(root, "pdm.toml") if root else None, context.toml(config)]
    cache = context.env.get("PDM_CACHE_DIR") or next(
        (v for s in settings if (v := text(s, "cache_dir"))), None
    )
    default = os.path.join(context.xdg("XDG_CACHE_HOME", ".cache"), "pdm")
    context.zone("cache", context.path(cache, tilde=True) if cache else default)
    below_python_tools(context)
    context.zone("venv", *_environments(context, root, settings))
    context.zone(
        "state", os.path.join(context.xdg("XDG_STATE_HOME", ".local/state"), "pdm"), os.path.dirname(config)
    )
    words = context.operands(_WITH_VALUE)
    if words[:1] == ["new"] and words[1:]:
        context.zone("project", context.path(words[1]))
    if root is not None:
        context.protected("project", root)
        # Every command may note the chosen interpreter here; it is no part of the sources.
        context.zone("state", os.path.join(root, ".pdm-python"))
        if words[:1] in (["build"], ["publish"]):
            place = context.option("-d", "--dest")
            context.zone("output", context.path(place) if place else os.path.join(root, "dist"))
        if is_built(context, root):
            build_output(context, root)
        if set(context.operands(_WITH_VALUE)[:1]) & _PURPOSE:
            context.zone("lockfile", os.path.join(root, "pdm.lock"), os.path.join(root, "pyproject.toml"))
    elif words[:1] == ["init"]:
        context.zone("project", context.cwd)
    bytecode(context)


def _environments(
    context: ProfileContext, root: str | None, settings: list[dict[str, object] | None]
) -> list[str]:
    active = context.env.get("VIRTUAL_ENV")
    if active and not context.truthy("PDM_IGNORE_ACTIVE_VENV"):
        return [context.path(active)]
    central = os.path.join(context.xdg("XDG_DATA_HOME", ".local/share"), "pdm", "venvs")
    venv = [table(data, "venv") or {} for data in settings]
    central = context.env.get("PDM_VENV_LOCATION") or next(
        (v for t in venv if (v := text(t, "location"))), central
    )
    inside = next((t["in_project"] for t in venv if "in_project" in t), True)
    if context.env.get("PDM_VENV_IN_PROJECT"):
        inside = context.truthy("PDM_VENV_IN_PROJECT")
    if root is None or inside is False:
        return [context.path(central, tilde=True)]
    if os.path.isdir(os.path.join(root, "__pypackages__")):
        return [os.path.join(root, "__pypackages__")]
    return [os.path.join(root, ".venv")]
