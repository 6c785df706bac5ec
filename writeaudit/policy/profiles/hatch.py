"""hatch: environments and Pythons in its data directory, pip or uv and virtualenv below."""

from __future__ import annotations

import os

from writeaudit.policy.profiles.context import ProfileContext, get_table, get_text
from writeaudit.policy.profiles.python_tools import below_python_tools, build_output

_WITH_VALUE = frozenset(
    ["-e", "--env", "-p", "--project", "--color", "--data-dir", "--cache-dir", "--config", "-t", "--target"]
)


def add_zones(context: ProfileContext) -> None:
    """Add the zones of a hatch command."""
    data = context.last_option("--data-dir") or context.env.get("HATCH_DATA_DIR")
    cache = context.last_option("--cache-dir") or context.env.get("HATCH_CACHE_DIR")
    given = context.last_option("--config") or context.env.get("HATCH_CONFIG")
    config = (
        context.make_absolute(given)
        if given
        else os.path.join(context.xdg_directory("XDG_CONFIG_HOME", ".config"), "hatch", "config.toml")
    )
    settings = get_table(context.read_toml(config), "dirs") or {}
    cache = cache or get_text(settings, "cache")
    data = data or get_text(settings, "data")
    caches = os.path.join(context.xdg_directory("XDG_CACHE_HOME", ".cache"), "hatch")
    home = (
        context.make_absolute(data, tilde=True)
        if data
        else os.path.join(context.xdg_directory("XDG_DATA_HOME", ".local/share"), "hatch")
    )
    context.add_zone("cache", context.make_absolute(cache, tilde=True) if cache else caches)
    below_python_tools(context)
    own = context.env.get("HATCH_ENV_TYPE_VIRTUAL_PATH") or get_text(settings, "env", "virtual")
    root = context.find_nearest("pyproject.toml", "setup.py") or context.cwd
    context.add_zone("venv", home, *([context.make_absolute(own, base=root, tilde=True)] if own else []))
    # The first run of all writes the configuration file.
    context.add_zone("state", os.path.dirname(config) if not given else config)
    words = context.list_operands(_WITH_VALUE)
    if words[:1] == ["new"]:
        context.add_zone("project", *(context.make_absolute(word) for word in (words[1:] or ["."])))
        return
    context.protect_paths("project", root)
    build_output(context, root, tests=True)
    if words[:1] == ["build"]:
        context.add_zone(
            "output", context.make_absolute(words[1]) if words[1:] else os.path.join(root, "dist")
        )
    if words[:1] == ["version"] and words[1:]:
        context.add_zone("lockfile", os.path.join(root, "pyproject.toml"))
        context.add_zone(
            "lockfile",
            patterns=[
                pattern + each
                for pattern in context.patterns_for(root)
                for each in (b"/**/__about__.py", b"/**/__init__.py", b"/**/_version.py")
            ],
        )
