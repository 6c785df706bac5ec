"""yarn, 1 and berry (2 and later): node_modules or Plug'n'Play files in the project, a cache outside."""

from __future__ import annotations

import os

from writeaudit.policy.profiles.context import ProfileContext
from writeaudit.policy.profiles.npm import add_modules, javascript_caches

_CHANGE_WORDS = "install add remove upgrade up set dedupe import init link unlink unplug rebuild dlx version"
_CHANGES = frozenset(_CHANGE_WORDS.split())
_PLUG_AND_PLAY = (
    ".pnp.cjs", ".pnp.js", ".pnp.loader.mjs", ".pnp.data.json", ".yarn/unplugged", ".yarn/install-state.gz",
    ".yarn/build-state.yml", ".yarn/__virtual__", ".yarn/$$virtual", ".yarn/cache",
)  # fmt: skip


def add_zones(context: ProfileContext) -> None:
    """Add the zones of a yarn command."""
    if directory := context.last_option("--cwd"):
        context.cwd = context.make_absolute(directory)
    root = (
        context.find_nearest("yarn.lock", ".yarnrc.yml")
        or context.find_nearest("package.json")
        or context.cwd
    )
    settings = os.path.join(root, ".yarnrc.yml")
    # yarn 1 gives root another home: its constant, not a setting.
    homes = [context.home, *(["/usr/local/share"] if context.is_root else [])]
    caches = [os.path.join(home, ".cache", "yarn") for home in homes]
    if place := context.env.get("XDG_CACHE_HOME"):
        caches = [os.path.join(place, "yarn")]
    one = context.last_option("--cache-folder") or context.env.get("YARN_CACHE_FOLDER")
    one = one or context.read_setting(os.path.join(root, ".yarnrc"), "cache-folder", " ")
    one = one or context.read_setting(os.path.join(context.home, ".yarnrc"), "cache-folder", " ")
    one = one or context.read_setting(settings, "cacheFolder", ":")
    everything = context.env.get("YARN_GLOBAL_FOLDER") or context.read_setting(settings, "globalFolder", ":")
    berry = (
        context.make_absolute(everything, base=root, tilde=True)
        if everything
        else os.path.join(context.home, ".yarn")
    )
    context.add_zone(
        "cache", *([context.make_absolute(one, base=root, tilde=True)] if one else caches), berry
    )
    javascript_caches(context)
    context.add_zone(
        "state",
        *(os.path.join(home, ".yarnrc") for home in homes),
        *(os.path.join(home, ".config", "yarn") for home in homes),
        *(os.path.join(home, ".local", "share", "yarn") for home in homes),
    )
    add_modules(
        context, ["package.json", "yarn.lock", ".yarnrc.yml", ".gitattributes", ".gitignore"], _CHANGES
    )
    context.add_zone("node_modules", *(os.path.join(root, name) for name in _PLUG_AND_PLAY))
    if context.run.args[:1] == ("set",):
        context.add_zone("lockfile", os.path.join(root, ".yarn", "releases"))
