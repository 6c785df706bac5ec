"""hatch: environments and Pythons in its data directory, pip or uv and virtualenv below."""

from __future__ import annotations

import os

from writeaudit.policy.profiles.context import ProfileContext, table, text
from writeaudit.policy.profiles.python_tools import below_python_tools, build_output

_WITH_VALUE = frozenset(
    ["-e", "--env", "-p", "--project", "--color", "--data-dir", "--cache-dir", "--config", "-t", "--target"]
)


def gather(context: ProfileContext) -> None:
    """Add the zones of a hatch command."""
    data = context.option("--data-dir") or context.env.get("HATCH_DATA_DIR")
    cache = context.option("--cache-dir") or context.env.get("HATCH_CACHE_DIR")
    given = context.option("--config") or context.env.get("HATCH_CONFIG")
    config = (
        context.path(given)
        if given
        else os.path.join(context.xdg("XDG_CONFIG_HOME", ".config"), "hatch", "config.toml")
    )
    settings = table(context.toml(config), "dirs") or {}
    cache = cache or text(settings, "cache")
    data = data or text(settings, "data")
    caches = os.path.join(context.xdg("XDG_CACHE_HOME", ".cache"), "hatch")
    home = (
        context.path(data, tilde=True)
        if data
        else os.path.join(context.xdg("XDG_DATA_HOME", ".local/share"), "hatch")
    )
    context.zone("cache", context.path(cache, tilde=True) if cache else caches)
    below_python_tools(context)
    own = context.env.get("HATCH_ENV_TYPE_VIRTUAL_PATH") or text(settings, "env", "virtual")
    root = context.nearest("pyproject.toml", "setup.py") or context.cwd
    context.zone("venv", home, *([context.path(own, base=root, tilde=True)] if own else []))
    # The first run of all writes the configuration file.
    context.zone("state", os.path.dirname(config) if not given else config)
    words = context.operands(_WITH_VALUE)
    if words[:1] == ["new"]:
        context.zone("project", *(context.path(word) for word in (words[1:] or ["."])))
        return
    context.protected("project", root)
    build_output(context, root, tests=True)
    if words[:1] == ["build"]:
        context.zone("output", context.path(words[1]) if words[1:] else os.path.join(root, "dist"))
    if words[:1] == ["version"] and words[1:]:
        context.zone("lockfile", os.path.join(root, "pyproject.toml"))
        context.zone(
            "lockfile",
            patterns=[
                pattern + each
                for pattern in context.patterns(root)
                for each in (b"/**/__about__.py", b"/**/__init__.py", b"/**/_version.py")
            ],
        )
