"""cargo: the registry in CARGO_HOME is the cache, the target directory is what a build fills."""

from __future__ import annotations

import os

from writeaudit.policy.profiles.context import ProfileContext, get_table, get_text

_PURPOSE = frozenset({"add", "remove", "rm"})
"""Commands that change the manifest."""
_SOURCES = frozenset({"fix", "fmt"})
"""Commands that change the sources."""


def add_zones(context: ProfileContext) -> None:
    """Add the zones of a cargo command."""
    if directory := context.last_option("-C"):
        context.cwd = context.make_absolute(directory)
    given = context.env.get("CARGO_HOME")
    home = context.make_absolute(given) if given else os.path.join(context.home, ".cargo")
    words = [arg for arg in context.run.args if not arg.startswith(("-", "+"))]
    if words[:1] in (["new"], ["init"]):
        context.add_zone("project", context.make_absolute(words[1]) if words[1:] else context.cwd)
    names = ("registry", "git", ".package-cache", ".package-cache-mutate", ".global-cache")
    # SQLite keeps a journal beside its database.
    context.add_zone("cache", *(os.path.join(home, name) for name in (*names, ".global-cache-journal")))
    words = words[:1]
    if words in (["install"], ["uninstall"]):
        place = context.last_option("--root") or context.env.get("CARGO_INSTALL_ROOT")
        top = context.make_absolute(place) if place else home
        context.add_zone(
            "programs", *(os.path.join(top, name) for name in ("bin", ".crates.toml", ".crates2.json"))
        )
    manifest = context.last_option("--manifest-path")
    root = _find_workspace(
        context, os.path.dirname(context.make_absolute(manifest)) if manifest else context.cwd
    )
    configured = _configured_target(context, root)
    target = context.last_option("--target-dir") or context.first_env(
        "CARGO_TARGET_DIR", "CARGO_BUILD_TARGET_DIR"
    )
    target = target or configured
    if built := context.last_option("--build-dir") or context.env.get("CARGO_BUILD_BUILD_DIR"):
        context.add_zone(
            "target", context.make_absolute(built.replace("{workspace-root}", root or context.cwd))
        )
    if target:
        context.add_zone("target", context.make_absolute(target))
    if root is None:
        return
    if not target:
        context.add_zone("target", os.path.join(root, "target"))
    if words in (["new"], ["init"]):
        return
    (context.add_zone if set(words) & _SOURCES else context.protect_paths)("project", root)
    if words == ["vendor"]:
        context.add_zone("output", os.path.join(root, "vendor"))
    # Every command brings the lock file up to date unless it is told not to.
    if not context.has_flag("--locked", "--frozen"):
        context.add_zone("lockfile", os.path.join(root, "Cargo.lock"))
    if set(words) & _PURPOSE:
        own = context.find_nearest("Cargo.toml") or root
        context.add_zone("lockfile", *(os.path.join(place, "Cargo.toml") for place in {root, own}))


def _find_workspace(context: ProfileContext, start: str) -> str | None:
    nearest = context.find_nearest("Cargo.toml", start=start)
    if nearest is None:
        return None
    for directory in context.walk_upwards(nearest):
        if get_table(context.read_toml(directory, "Cargo.toml"), "workspace") is not None:
            return directory
    return nearest


def _configured_target(context: ProfileContext, root: str | None) -> str | None:
    for directory in context.walk_upwards(root):
        for name in ("config.toml", "config"):
            value = get_text(context.read_toml(directory, ".cargo", name), "build", "target-dir")
            if value:
                return context.make_absolute(value, base=directory)
    return None
