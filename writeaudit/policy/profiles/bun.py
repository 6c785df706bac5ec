"""bun: a global cache that node_modules is hard-linked from."""

from __future__ import annotations

import os

from writeaudit.policy.profiles.context import ProfileContext, text
from writeaudit.policy.profiles.npm import javascript_caches, modules

_CHANGES = frozenset({"install", "i", "add", "a", "update", "remove", "rm", "link", "unlink", "init"})


def gather(context: ProfileContext) -> None:
    """Add the zones of a bun command."""
    root = context.nearest("package.json") or context.cwd
    settings = [context.toml(root, "bunfig.toml"), context.toml(context.home, ".bunfig.toml")]
    cache = context.option("--cache-dir") or context.env.get("BUN_INSTALL_CACHE_DIR")
    cache = cache or next((v for s in settings if (v := text(s, "install", "cache", "dir"))), None)
    home = context.env.get("BUN_INSTALL") or os.path.join(context.home, ".bun")
    shared = context.env.get("XDG_CACHE_HOME")
    if cache:
        context.zone("cache", context.path(cache, tilde=True))
    elif shared and not context.env.get("BUN_INSTALL"):
        context.zone("cache", os.path.join(context.path(shared), ".bun", "install", "cache"))
    else:
        context.zone("cache", os.path.join(home, "install", "cache"))
    javascript_caches(context)
    if context.flag("-g", "--global"):
        context.zone("node_modules", os.path.join(home, "install", "global"), os.path.join(home, "bin"))
        return
    modules(context, ["package.json", "bun.lock", "bun.lockb"], _CHANGES)
