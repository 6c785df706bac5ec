"""cargo: the registry in CARGO_HOME is the cache, the target directory is what a build fills."""

from __future__ import annotations

import os

from writeaudit.policy.profiles.context import Context, table, text

_PURPOSE = frozenset({"add", "remove", "rm", "update", "generate-lockfile", "init", "new"})


def gather(context: Context) -> None:
    """Add the zones of a cargo command."""
    if directory := context.option("-C"):
        context.cwd = context.path(directory)
    given = context.env.get("CARGO_HOME")
    home = context.path(given) if given else os.path.join(context.home, ".cargo")
    names = ("registry", "git", ".package-cache", ".package-cache-mutate", ".global-cache")
    # SQLite keeps a journal beside its database.
    context.zone("cache", *(os.path.join(home, name) for name in (*names, ".global-cache-journal")))
    words = [arg for arg in context.run.args if not arg.startswith(("-", "+"))][:1]
    if words in (["install"], ["uninstall"]):
        place = context.option("--root") or context.env.get("CARGO_INSTALL_ROOT")
        top = context.path(place) if place else home
        context.zone(
            "programs", *(os.path.join(top, name) for name in ("bin", ".crates.toml", ".crates2.json"))
        )
    manifest = context.option("--manifest-path")
    root = _workspace(context, os.path.dirname(context.path(manifest)) if manifest else context.cwd)
    configured = _configured_target(context, root)
    target = context.option("--target-dir") or context.env.get("CARGO_TARGET_DIR") or configured
    if target:
        context.zone("target", context.path(target))
    if root is None:
        return
    if not target:
        context.zone("target", os.path.join(root, "target"))
    context.protected("project", root)
    if set(words) & _PURPOSE:
        context.zone("lockfile", os.path.join(root, "Cargo.lock"), os.path.join(root, "Cargo.toml"))


def _workspace(context: Context, start: str) -> str | None:
    nearest = context.nearest("Cargo.toml", start=start)
    if nearest is None:
        return None
    for directory in context.upwards(nearest):
        if table(context.toml(directory, "Cargo.toml"), "workspace") is not None:
            return directory
    return nearest


def _configured_target(context: Context, root: str | None) -> str | None:
    for directory in context.upwards(root):
        for name in ("config.toml", "config"):
            value = text(context.toml(directory, ".cargo", name), "build", "target-dir")
            if value:
                return os.path.join(directory, value)
    return None
