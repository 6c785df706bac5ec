"""bun: a global cache that node_modules is hard-linked from."""

from __future__ import annotations

import os

from writeaudit.policy.profiles.context import Context, text
from writeaudit.policy.profiles.npm import modules

_CHANGES = frozenset({"install", "i", "add", "a", "update", "remove", "rm", "link", "unlink", "init"})


def gather(context: Context) -> None:
    """Add the zones of a bun command."""
    root = context.nearest("package.json") or context.cwd
    settings = [context.toml(root, "bunfig.toml"), context.toml(context.home, ".bunfig.toml")]
    cache = context.option("--cache-dir") or context.env.get("BUN_INSTALL_CACHE_DIR")
    cache = cache or next((v for s in settings if (v := text(s, "install", "cache", "dir"))), None)
    home = context.env.get("BUN_INSTALL") or os.path.join(context.home, ".bun")
    context.zone(
        "cache", context.path(cache, tilde=True) if cache else os.path.join(home, "install", "cache")
    )
    if context.flag("-g", "--global"):
        context.zone("node_modules", os.path.join(home, "install", "global"), os.path.join(home, "bin"))
        return
    modules(context, ["package.json", "bun.lock", "bun.lockb"], _CHANGES)
