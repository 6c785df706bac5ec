"""git: the repository, and the work tree for what checks out, merges or cleans."""

from __future__ import annotations

import os

from writeaudit.policy.profiles.context import ProfileContext

_WITH_VALUE = frozenset(
    [
        "-C",
        "-c",
        "--git-dir",
        "--work-tree",
        "--namespace",
        "--super-prefix",
        "--exec-path",
        "--config-env",
        "-b",
        "--branch",
        "--depth",
        "--reference",
        "--reference-if-able",
        "-o",
        "--origin",
        "-u",
        "--upload-pack",
        "--template",
        "--separate-git-dir",
        "-j",
        "--jobs",
        "--filter",
        "--server-option",
        "--shallow-since",
        "--shallow-exclude",
        "--initial-branch",
        "--object-format",
        "--ref-format",
        "--bundle-uri",
    ]
)
_READS = frozenset(
    [
        "fetch",
        "status",
        "log",
        "diff",
        "show",
        "ls-files",
        "ls-tree",
        "ls-remote",
        "rev-parse",
        "rev-list",
        "cat-file",
        "describe",
        "blame",
        "grep",
        "shortlog",
        "tag",
        "branch",
        "remote",
        "config",
        "gc",
        "repack",
        "prune",
        "fsck",
        "count-objects",
        "push",
        "add",
        "commit",
        "update-index",
        "write-tree",
        "commit-tree",
        "update-ref",
        "reflog",
        "maintenance",
        "pack-refs",
        "notes",
        "for-each-ref",
        "name-rev",
        "bundle",
        "archive",
    ]
)
"""Commands that leave the work tree as it is; those that write, write into the repository."""


def add_zones(context: ProfileContext) -> None:
    """Add the zones of a git command."""
    for directory in context.all_options("-C"):
        context.cwd = context.make_absolute(directory)
    words = context.list_operands(_WITH_VALUE)
    command = words[0] if words else ""
    context.add_zone("cache", os.path.join(context.xdg_directory("XDG_CACHE_HOME", ".cache"), "git"))
    if command in ("clone", "init"):
        context.add_zone("repository", _made_directory(context, command, words[1:]))
        if place := context.last_option("--separate-git-dir"):
            context.add_zone("repository", context.make_absolute(place))
        return
    given = context.last_option("--git-dir") or context.env.get("GIT_DIR")
    root = context.find_nearest(".git")
    if given:
        context.add_zone("repository", context.make_absolute(given))
    elif root is not None:
        context.add_zone("repository", *git_directories(root))
    else:  # a bare one, or none at all
        context.add_zone("repository", context.cwd)
    tree = context.last_option("--work-tree") or context.env.get("GIT_WORK_TREE")
    work = context.make_absolute(tree) if tree else root
    if work is not None:
        (context.protect_paths if command in _READS else context.add_zone)("worktree", work)
    _other_places(context, command, words)


def _other_places(context: ProfileContext, command: str, words: list[str]) -> None:
    """Add what some commands write outside the repository."""
    if command == "push":
        context.add_zone("repository", *_local_remotes(context, words[1:2]))
    if command == "worktree" and words[1:2] == ["add"] and words[2:]:
        context.add_zone("worktree", context.make_absolute(words[2]))
    if command == "config":
        if context.has_flag("--global"):
            config = context.xdg_directory("XDG_CONFIG_HOME", ".config")
            context.add_zone("state", os.path.join(context.home, ".gitconfig"), os.path.join(config, "git"))
        if context.has_flag("--system"):
            context.add_zone("state", "/etc/gitconfig")
    place = context.last_option("-o", "--output", "--output-directory")
    if command in ("archive", "format-patch", "diff") and place:
        context.add_zone("output", context.make_absolute(place))
    if command == "bundle" and words[1:2] == ["create"] and words[2:]:
        context.add_zone("output", context.make_absolute(words[2]))
    if command == "format-patch" and not place:
        context.add_zone(
            "output", patterns=[each + b"/*.patch" for each in context.patterns_for(context.cwd)]
        )


def _local_remotes(context: ProfileContext, operands: list[str]) -> list[str]:
    """Return the repositories of this machine that a push goes to."""
    root = context.find_nearest(".git")
    if operands and ("/" in operands[0] or root is None):
        places = [operands[0]]
    elif root is None:
        return []
    else:
        config = context.read_ini(os.path.join(git_directories(root)[-1], "config"))
        remotes = [section for section in config.sections() if section.startswith("remote ")]
        if operands:
            remotes = [f'remote "{operands[0]}"']
        places = [
            url
            for remote in remotes
            for key in ("pushurl", "url")
            if (url := config.get(remote, key, fallback=None))
        ]
    found = [context.make_absolute(place.removeprefix("file://"), base=root) for place in places]
    found = [place for place in found if os.path.isdir(place)]
    return [
        os.path.join(place, ".git") if os.path.isdir(os.path.join(place, ".git")) else place
        for place in found
    ]


def git_directories(root: str) -> list[str]:
    """Return the repository of the work tree `root`: .git, or what a file of that name leads to."""
    own = os.path.join(root, ".git")
    try:
        with open(own, encoding="utf-8", errors="surrogateescape") as file:
            where = file.read(4096).removeprefix("gitdir:").strip()
    except OSError:
        return [own]
    place = os.path.normpath(os.path.join(root, where))
    above, mark, _name = place.rpartition("/worktrees/")
    return [own, above if mark else place]


def _made_directory(context: ProfileContext, command: str, operands: list[str]) -> str:
    """Return the directory that `git clone` or `git init` makes."""
    if command == "init":
        return context.make_absolute(operands[0]) if operands else context.cwd
    if len(operands) > 1:
        return context.make_absolute(operands[1])
    name = operands[0].rstrip("/") if operands else ""
    name = os.path.basename(name.removesuffix("/.git").replace(":", "/")).removesuffix(".bundle")
    bare = context.has_flag("--bare", "--mirror")
    name = name.removesuffix(".git")
    return context.make_absolute(name + (".git" if bare else "")) if name else context.cwd
