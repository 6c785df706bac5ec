"""bun: a global cache that node_modules is hard-linked from."""

from __future__ import annotations

import os

from writeaudit.policy.profiles.context import ProfileContext, get_text
from writeaudit.policy.profiles.npm import add_modules, javascript_caches

_CHANGES = frozenset({"install", "i", "add", "a", "update", "remove", "rm", "link", "unlink", "init"})


def add_zones(context: ProfileContext) -> None:
    """Add the zones of a bun command."""
    root = context.find_nearest("package.json") or context.cwd
    settings = [context.read_toml(root, "bunfig.toml"), context.read_toml(context.home, ".bunfig.toml")]
    cache = context.last_option("--cache-dir") or context.env.get("BUN_INSTALL_CACHE_DIR")
    cache = cache or next((v for s in settings if (v := get_text(s, "install", "cache", "dir"))), None)
    home = context.env.get("BUN_INSTALL") or os.path.join(context.home, ".bun")
    shared = context.env.get("XDG_CACHE_HOME")
    if cache:
        context.add_zone("cache", context.make_absolute(cache, tilde=True))
    elif shared and not context.env.get("BUN_INSTALL"):
        context.add_zone("cache", os.path.join(context.make_absolute(shared), ".bun", "install", "cache"))
    else:
        context.add_zone("cache", os.path.join(home, "install", "cache"))
    javascript_caches(context)
    if context.has_flag("-g", "--global"):
        context.add_zone("node_modules", os.path.join(home, "install", "global"), os.path.join(home, "bin"))
        return
    add_modules(context, ["package.json", "bun.lock", "bun.lockb"], _CHANGES)
