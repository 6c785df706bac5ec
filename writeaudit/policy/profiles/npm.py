"""npm: one content-addressed cache with logs beside it; node_modules in the project or the prefix."""

from __future__ import annotations

import os

from writeaudit.policy.profiles.context import ProfileContext
from writeaudit.policy.profiles.python_tools import BELOW

_CHANGE_WORDS = "install i in add update up upgrade uninstall un remove rm r dedupe audit init pkg version"
_CHANGES = frozenset(_CHANGE_WORDS.split())


def add_zones(context: ProfileContext) -> None:
    """Add the zones of an npm command."""
    place = read_setting(context, "cache") or os.path.join(context.home, ".npm")
    context.add_zone("cache", context.make_absolute(place, tilde=True))
    javascript_caches(context)
    add_modules(context, ["package.json", "package-lock.json", "npm-shrinkwrap.json"], _CHANGES)


def javascript_caches(context: ProfileContext) -> None:
    """Add the caches of what stands below: corepack, node-gyp, and node's own compile cache."""
    caches = context.xdg_directory("XDG_CACHE_HOME", ".cache")
    corepack = context.env.get("COREPACK_HOME")
    context.add_zone(
        BELOW,
        context.make_absolute(corepack) if corepack else os.path.join(caches, "node"),
        os.path.join(caches, "node-gyp"),
        os.path.join(context.home, ".node-gyp"),
    )
    if compiled := context.env.get("NODE_COMPILE_CACHE"):
        context.add_zone(BELOW, context.make_absolute(compiled))


def read_setting(context: ProfileContext, name: str) -> str | None:
    """Return an npm setting: the option, npm_config_NAME in any case, the project's and the user's .npmrc."""
    if given := context.last_option(f"--{name}"):
        return given
    wanted = f"npm_config_{name.replace('-', '_')}"
    for variable, value in context.env.items():
        if variable.lower().replace("-", "_") == wanted and value:
            return value
    root = context.find_nearest("package.json", "node_modules")
    files = [os.path.join(root, ".npmrc")] if root else []
    own = context.env.get("NPM_CONFIG_USERCONFIG") or os.path.join(context.home, ".npmrc")
    for path in (*files, own):
        try:
            with open(path, encoding="utf-8", errors="surrogateescape") as file:
                lines = file.read().splitlines()
        except OSError:
            continue
        for line in lines:
            key, equals, value = line.partition("=")
            if equals and key.strip() == name:
                found = value.strip().strip("\"'").replace("${HOME}", context.home)
                return context.project_text(found, path)
    return None


def add_modules(context: ProfileContext, manifests: list[str], changes: frozenset[str]) -> None:
    """Add node_modules, the project around it, and the manifests if the command is about them."""
    if directory := context.last_option("--prefix", "-C", "--dir", "--cwd"):
        context.cwd = context.make_absolute(directory)
    if context.has_flag("-g", "--global"):
        program = context.find_program("node") or "/usr/local/bin/node"
        prefix = read_setting(context, "prefix") or os.path.dirname(
            os.path.dirname(os.path.realpath(program))
        )
        prefix = context.make_absolute(prefix, tilde=True)
        context.add_zone(
            "node_modules", os.path.join(prefix, "lib", "node_modules"), os.path.join(prefix, "bin")
        )
        return
    root = context.find_nearest("package.json", "node_modules") or context.cwd
    context.add_zone("node_modules", os.path.join(root, "node_modules"))
    # Workspaces have a node_modules of their own in each member.
    context.add_zone(
        "node_modules", patterns=[pattern + b"/**/node_modules" for pattern in context.patterns_for(root)]
    )
    context.protect_paths("project", root)
    word = next((arg for arg in context.run.args if not arg.startswith("-")), "install")
    if word in changes and not context.has_flag("--frozen-lockfile", "--no-save"):
        context.add_zone("lockfile", *(os.path.join(root, name) for name in manifests))
