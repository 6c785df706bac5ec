"""pnpm: a store that node_modules is linked or cloned from."""

from __future__ import annotations

import os

from writeaudit.policy.profiles.context import ProfileContext
from writeaudit.policy.profiles.npm import add_modules, javascript_caches, read_setting

_CHANGE_WORDS = "install i add update up upgrade remove rm uninstall un dedupe import init"
_CHANGES = frozenset(_CHANGE_WORDS.split())


def add_zones(context: ProfileContext) -> None:
    """Add the zones of a pnpm command."""
    root = context.find_nearest("pnpm-workspace.yaml") or context.find_nearest("package.json") or context.cwd
    store = _read_setting(context, root, "store-dir", "storeDir")
    if store:
        stores = [context.make_absolute(store, base=root, tilde=True)]
    elif home := context.env.get("PNPM_HOME"):
        stores = [os.path.join(home, "store")]
    else:
        stores = [os.path.join(context.xdg_directory("XDG_DATA_HOME", ".local/share"), "pnpm", "store")]
    if not store and (other := _store_of_mount(root, stores[0])):
        stores.append(other)
    cache = _read_setting(context, root, "cache-dir", "cacheDir")
    caches = context.xdg_directory("XDG_CACHE_HOME", ".cache")
    context.add_zone(
        "cache",
        *stores,
        context.make_absolute(cache, base=root, tilde=True) if cache else os.path.join(caches, "pnpm"),
    )
    javascript_caches(context)
    state = _read_setting(context, root, "state-dir", "stateDir")
    default = os.path.join(context.xdg_directory("XDG_STATE_HOME", ".local/state"), "pnpm")
    context.add_zone("state", context.make_absolute(state, base=root, tilde=True) if state else default)
    for name, key in (("modules-dir", "modulesDir"), ("virtual-store-dir", "virtualStoreDir")):
        if place := _read_setting(context, root, name, key):
            context.add_zone("node_modules", context.make_absolute(place, base=root, tilde=True))
    # It makes files here, and links them to each other, to learn on which mounts links work.
    above = dict.fromkeys(
        place
        for start in (root, *stores)
        for each in context.walk_upwards(start)
        for place in context.patterns_for(each)
    )
    context.add_zone("tmp", patterns=[place.rstrip(b"/") + b"/_tmp_*" for place in above])
    add_modules(context, ["package.json", "pnpm-lock.yaml", "pnpm-workspace.yaml"], _CHANGES)


def _read_setting(context: ProfileContext, root: str, name: str, key: str) -> str | None:
    """Return a setting of pnpm: 11 and later read pnpm_config_*, 10 and later pnpm-workspace.yaml."""
    if given := context.last_option(f"--{name}"):
        return given
    wanted = f"pnpm_config_{name.replace('-', '_')}"
    for variable, value in context.env.items():
        if variable.lower() == wanted and value:
            return value
    own = os.path.join(context.xdg_directory("XDG_CONFIG_HOME", ".config"), "pnpm")
    return (
        context.read_setting(os.path.join(root, "pnpm-workspace.yaml"), key, ":")
        or context.read_setting(os.path.join(own, "config.yaml"), key, ":")
        or read_setting(context, name)
        or context.read_setting(os.path.join(own, "rc"), name, "=")
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
