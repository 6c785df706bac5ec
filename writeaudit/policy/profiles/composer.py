"""composer: vendor in the project, a cache and a home below the user's."""

from __future__ import annotations

import json
import os

from writeaudit.policy.profiles.context import ProfileContext

_LOCKS = frozenset(
    [
        "install",
        "i",
        "update",
        "u",
        "upgrade",
        "require",
        "r",
        "remove",
        "rm",
        "init",
        "create-project",
        "dump-autoload",
    ]
)
_CHANGES = frozenset(["require", "r", "remove", "rm", "init", "config", "bump"])
_WITH_VALUE = frozenset(["-d", "--working-dir", "--prefer-install", "--repository", "--stability", "-s"])


def add_zones(context: ProfileContext) -> None:
    """Add the zones of a composer command."""
    if place := context.last_option("-d", "--working-dir"):
        context.cwd = context.make_absolute(place)
    given = context.env.get("COMPOSER_HOME")
    old = os.path.join(context.home, ".composer")
    home = (
        context.make_absolute(given)
        if given
        else os.path.join(context.xdg_directory("XDG_CONFIG_HOME", ".config"), "composer")
    )
    homes = [home, *([old] if not given else [])]
    cache = context.env.get("COMPOSER_CACHE_DIR")
    default = os.path.join(context.xdg_directory("XDG_CACHE_HOME", ".cache"), "composer")
    context.add_zone(
        "cache",
        context.make_absolute(cache) if cache else default,
        *(os.path.join(h, "cache") for h in homes),
    )
    context.add_zone(
        "state", *homes, os.path.join(context.xdg_directory("XDG_DATA_HOME", ".local/share"), "composer")
    )
    words = context.list_operands(_WITH_VALUE)
    if words[:1] == ["global"]:
        return
    if words[:1] == ["create-project"] and words[1:]:
        name = words[2] if words[2:] else os.path.basename(words[1])
        context.add_zone("project", context.make_absolute(name))
        return
    file = context.env.get("COMPOSER")
    manifest = (
        context.make_absolute(file)
        if file
        else os.path.join(context.find_nearest("composer.json") or context.cwd, "composer.json")
    )
    root = os.path.dirname(manifest)
    config = {k: context.project_text(v, manifest) for k, v in _read_config(manifest).items()}
    vendor = context.env.get("COMPOSER_VENDOR_DIR") or config.get("vendor-dir") or "vendor"
    context.add_zone("vendor", context.make_absolute(vendor, base=root))
    if programs := context.env.get("COMPOSER_BIN_DIR") or config.get("bin-dir"):
        context.add_zone("vendor", context.make_absolute(programs, base=root))
    context.protect_paths("project", root)
    word = words[0] if words else "install"
    if word in _LOCKS:
        context.add_zone("lockfile", manifest.removesuffix(".json") + ".lock")
    if word in _CHANGES:
        context.add_zone("lockfile", manifest)


def _read_config(manifest: str) -> dict[str, str]:
    try:
        with open(manifest, encoding="utf-8") as file:
            found = json.load(file)
    except (OSError, ValueError, RecursionError):
        return {}
    config = found.get("config") if isinstance(found, dict) else None
    return {k: v for k, v in config.items() if isinstance(v, str)} if isinstance(config, dict) else {}
