"""pnpm: a store that node_modules is linked or cloned from."""

from __future__ import annotations

import os

from writeaudit.policy.profiles.context import ProfileContext
from writeaudit.policy.profiles.npm import javascript_caches, modules, setting

_CHANGE_WORDS = "install i add update up upgrade remove rm uninstall un dedupe import init"
_CHANGES = frozenset(_CHANGE_WORDS.split())


def gather(context: ProfileContext) -> None:
    """Add the zones of a pnpm command."""
    root = context.nearest("pnpm-workspace.yaml") or context.nearest("package.json") or context.cwd
    store = _setting(context, root, "store-dir", "storeDir")
    if store:
        stores = [context.path(store, base=root, tilde=True)]
    elif home := context.env.get("PNPM_HOME"):
        stores = [os.path.join(home, "store")]
    else:
        stores = [os.path.join(context.xdg("XDG_DATA_HOME", ".local/share"), "pnpm", "store")]
    if not store and (other := _store_of_mount(root, stores[0])):
        stores.append(other)
    cache = _setting(context, root, "cache-dir", "cacheDir")
    caches = context.xdg("XDG_CACHE_HOME", ".cache")
    context.zone(
        "cache",
        *stores,
        context.path(cache, base=root, tilde=True) if cache else os.path.join(caches, "pnpm"),
    )
    javascript_caches(context)
    state = _setting(context, root, "state-dir", "stateDir")
    default = os.path.join(context.xdg("XDG_STATE_HOME", ".local/state"), "pnpm")
    context.zone("state", context.path(state, base=root, tilde=True) if state else default)
    for name, key in (("modules-dir", "modulesDir"), ("virtual-store-dir", "virtualStoreDir")):
        if place := _setting(context, root, name, key):
            context.zone("node_modules", context.path(place, base=root, tilde=True))
    # It makes files here, and links them to each other, to learn on which mounts links work.
    above = dict.fromkeys(
        place
        for start in (root, *stores)
        for each in context.upwards(start)
        for place in context.patterns(each)
    )
    context.zone("tmp", patterns=[place.rstrip(b"/") + b"/_tmp_*" for place in above])
    modules(context, ["package.json", "pnpm-lock.yaml", "pnpm-workspace.yaml"], _CHANGES)


def _setting(context: ProfileContext, root: str, name: str, key: str) -> str | None:
    """Return a setting of pnpm: 11 and later read pnpm_config_*, 10 and later pnpm-workspace.yaml."""
    if given := context.option(f"--{name}"):
        return given
    wanted = f"pnpm_config_{name.replace('-', '_')}"
    for variable, value in context.env.items():
        if variable.lower() == wanted and value:
            return value
    own = os.path.join(context.xdg("XDG_CONFIG_HOME", ".config"), "pnpm")
    return (
        context.setting(os.path.join(root, "pnpm-workspace.yaml"), key, ":")
        or context.setting(os.path.join(own, "config.yaml"), key, ":")
        or setting(context, name)
        or context.setting(os.path.join(own, "rc"), name, "=")
    )


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
