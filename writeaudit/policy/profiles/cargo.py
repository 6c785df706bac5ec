"""cargo: the registry in CARGO_HOME is the cache, the target directory is what a build fills."""

from __future__ import annotations

import os

from writeaudit.policy.profiles.context import ProfileContext, table, text

_PURPOSE = frozenset({"add", "remove", "rm"})
"""Commands that change the manifest."""
_SOURCES = frozenset({"fix", "fmt"})
"""Commands that change the sources."""


def gather(context: ProfileContext) -> None:
    """Add the zones of a cargo command."""
    if directory := context.option("-C"):
        context.cwd = context.path(directory)
    given = context.env.get("CARGO_HOME")
    home = context.path(given) if given else os.path.join(context.home, ".cargo")
    words = [arg for arg in context.run.args if not arg.startswith(("-", "+"))]
    if words[:1] in (["new"], ["init"]):
        context.zone("project", context.path(words[1]) if words[1:] else context.cwd)
    names = ("registry", "git", ".package-cache", ".package-cache-mutate", ".global-cache")
    # SQLite keeps a journal beside its database.
    context.zone("cache", *(os.path.join(home, name) for name in (*names, ".global-cache-journal")))
    words = words[:1]
    if words in (["install"], ["uninstall"]):
        place = context.option("--root") or context.env.get("CARGO_INSTALL_ROOT")
        top = context.path(place) if place else home
        context.zone(
            "programs", *(os.path.join(top, name) for name in ("bin", ".crates.toml", ".crates2.json"))
        )
    manifest = context.option("--manifest-path")
    root = _workspace(context, os.path.dirname(context.path(manifest)) if manifest else context.cwd)
    configured = _configured_target(context, root)
    target = context.option("--target-dir") or context.first_env("CARGO_TARGET_DIR", "CARGO_BUILD_TARGET_DIR")
    target = target or configured
    if built := context.option("--build-dir") or context.env.get("CARGO_BUILD_BUILD_DIR"):
        context.zone("target", context.path(built.replace("{workspace-root}", root or context.cwd)))
    if target:
        context.zone("target", context.path(target))
    if root is None:
        return
    if not target:
        context.zone("target", os.path.join(root, "target"))
    if words in (["new"], ["init"]):
        return
    (context.zone if set(words) & _SOURCES else context.protected)("project", root)
    if words == ["vendor"]:
        context.zone("output", os.path.join(root, "vendor"))
    # Every command brings the lock file up to date unless it is told not to.
    if not context.flag("--locked", "--frozen"):
        context.zone("lockfile", os.path.join(root, "Cargo.lock"))
    if set(words) & _PURPOSE:
        own = context.nearest("Cargo.toml") or root
        context.zone("lockfile", *(os.path.join(place, "Cargo.toml") for place in {root, own}))


def _workspace(context: ProfileContext, start: str) -> str | None:
    nearest = context.nearest("Cargo.toml", start=start)
    if nearest is None:
        return None
    for directory in context.upwards(nearest):
        if table(context.toml(directory, "Cargo.toml"), "workspace") is not None:
            return directory
    return nearest


def _configured_target(context: ProfileContext, root: str | None) -> str | None:
    for directory in context.upwards(root):
        for name in ("config.toml", "config"):
            value = text(context.toml(directory, ".cargo", name), "build", "target-dir")
            if value:
                return context.path(value, base=directory)
    return None
