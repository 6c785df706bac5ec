"""pnpm: a store that node_modules is linked or cloned from."""

from __future__ import annotations

import os

from writeaudit.policy.profiles.context import Context
from writeaudit.policy.profiles.npm import modules, setting

_CHANGE_WORDS = "install i add update up upgrade remove rm uninstall un dedupe import init"
_CHANGES = frozenset(_CHANGE_WORDS.split())


def gather(context: Context) -> None:
    """Add the zones of a pnpm command."""
    store = setting(context, "store-dir")
    if store:
        stores = [context.path(store, tilde=True)]
    elif home := context.env.get("PNPM_HOME"):
        stores = [os.path.join(home, "store")]
    else:
        stores = [os.path.join(context.xdg("XDG_DATA_HOME", ".local/share"), "pnpm", "store")]
    root = context.nearest("pnpm-workspace.yaml") or context.nearest("package.json") or context.cwd
    if not store and (other := _store_of_mount(root, stores[0])):
        stores.append(other)
    caches = context.xdg("XDG_CACHE_HOME", ".cache")
    context.zone("cache", *stores, os.path.join(caches, "pnpm"))
    context.zone("state", os.path.join(context.xdg("XDG_STATE_HOME", ".local/state"), "pnpm"))
    modules(context, ["package.json", "pnpm-lock.yaml", "pnpm-workspace.yaml"], _CHANGES)


def _store_of_mount(root: str, store: str) -> str | None:
    """Return the store that pnpm makes at the top of the project's disk when it is not the store's own."""
    existing = store
    while not os.path.exists(existing):
        existing = os.path.dirname(existing)
    try:
        if os.stat(existing).st_dev == os.stat(root).st_dev:
            return None
    except OSError:
        return None
    top = os.path.realpath(root)
    while not os.path.ismount(top):
        top = os.path.dirname(top)
    return os.path.join(top, ".pnpm-store")
