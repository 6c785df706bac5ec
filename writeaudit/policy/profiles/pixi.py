"""pixi: environments in .pixi beside the manifest, one cache (rattler's), uv below for PyPI packages."""

from __future__ import annotations

import os

from writeaudit.policy.profiles.context import ProfileContext, get_table
from writeaudit.policy.profiles.python_tools import below_python_tools

_CHANGES = frozenset(
    [
        "add",
        "remove",
        "upgrade",
        "update",
        "lock",
        "install",
        "init",
        "workspace",
        "project",
        "task",
        "shell",
        "run",
        "import",
    ]
)


def add_zones(context: ProfileContext) -> None:
    """Add the zones of a pixi command."""
    given = context.first_env("PIXI_CACHE_DIR", "RATTLER_CACHE_DIR")
    caches = context.xdg_directory("XDG_CACHE_HOME", ".cache")
    places = (
        [context.make_absolute(given)]
        if given
        else [os.path.join(caches, "rattler"), os.path.join(caches, "pixi")]
    )
    context.add_zone("cache", *places)
    below_python_tools(context)
    home = context.env.get("PIXI_HOME")
    home = context.make_absolute(home, tilde=True) if home else os.path.join(context.home, ".pixi")
    words = [word for word in context.run.args if not word.startswith("-")]
    if words[:1] in (["global"], ["g"]):
        context.add_zone("tool", home)
        return
    context.add_zone(
        "state",
        os.path.join(context.xdg_directory("XDG_CONFIG_HOME", ".config"), "pixi"),
        os.path.join(home, "config.toml"),
    )
    manifest = context.last_option("--manifest-path")
    root = os.path.dirname(context.make_absolute(manifest)) if manifest else _find_root(context)
    context.add_zone("venv", os.path.join(root, ".pixi"))
    context.protect_paths("project", root)
    if set(words[:1]) & _CHANGES and not context.has_flag("--frozen", "--locked"):
        context.add_zone("lockfile", os.path.join(root, "pixi.lock"))
    if words[:1] in (["add"], ["remove"], ["upgrade"], ["init"], ["workspace"], ["project"], ["task"]):
        names = ("pixi.toml", "pyproject.toml", ".gitignore", ".gitattributes")
        context.add_zone("lockfile", *(os.path.join(root, name) for name in names))


def _find_root(context: ProfileContext) -> str:
    for directory in context.walk_upwards():
        if os.path.exists(os.path.join(directory, "pixi.toml")):
            return directory
        if get_table(context.read_toml(directory, "pyproject.toml"), "tool", "pixi") is not None:
            return directory
    return context.cwd
