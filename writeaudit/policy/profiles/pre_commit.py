"""pre-commit: hooks and their environments below PRE_COMMIT_HOME; `run` lets hooks change the files."""

from __future__ import annotations

import os

from writeaudit.policy.profiles.context import ProfileContext
from writeaudit.policy.profiles.git import git_directories
from writeaudit.policy.profiles.python_tools import BELOW, add_bytecode, below_python_tools

_WITH_VALUE = frozenset(
    [
        "-c",
        "--config",
        "--color",
        "-t",
        "--hook-type",
        "--hook-stage",
        "--files",
        "--repo",
        "--rev",
        "-j",
        "--jobs",
    ]
)


def add_zones(context: ProfileContext) -> None:
    """Add the zones of a pre-commit command."""
    given = context.env.get("PRE_COMMIT_HOME")
    default = os.path.join(context.xdg_directory("XDG_CACHE_HOME", ".cache"), "pre-commit")
    context.add_zone("cache", context.make_absolute(given, tilde=True) if given else default)
    below_python_tools(context)
    caches = context.xdg_directory("XDG_CACHE_HOME", ".cache")
    # Hooks of other languages bring installers of their own.
    context.add_zone(
        BELOW,
        os.path.join(context.home, ".npm"),
        os.path.join(caches, "go-build"),
        os.path.join(context.home, "go", "pkg"),
        os.path.join(caches, "mypy"),
        os.path.join(caches, "ruff"),
        os.path.join(caches, "black"),
    )
    root = context.find_nearest(".git", ".pre-commit-config.yaml") or context.cwd
    words = context.list_operands(_WITH_VALUE)
    git = git_directories(root)
    if words[:1] in (["install"], ["uninstall"], ["init-templatedir"]):
        hooks = words[1:] if words[0] == "init-templatedir" else []
        context.add_zone("repository", *git, *(context.make_absolute(place) for place in hooks))
        context.protect_paths("project", root)
    elif words[:1] in (["run"], []):
        context.add_zone("repository", *git)
        context.add_zone("project", root)
    else:
        context.protect_paths("project", root)
        context.add_zone("repository", *git)
        if words[:1] in (["autoupdate"], ["migrate-config"]):
            context.add_zone("lockfile", os.path.join(root, ".pre-commit-config.yaml"))
    add_bytecode(context)
