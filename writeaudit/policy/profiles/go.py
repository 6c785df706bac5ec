"""go: a module cache below GOPATH, a build cache, programs in GOBIN; go.mod where it is meant to change."""

from __future__ import annotations

import os

from writeaudit.policy.profiles.context import ProfileContext

_WITH_VALUE = frozenset(
    [
        "-C",
        "-o",
        "-p",
        "-asmflags",
        "-buildmode",
        "-buildvcs",
        "-compiler",
        "-gccgoflags",
        "-gcflags",
        "-installsuffix",
        "-ldflags",
        "-mod",
        "-modfile",
        "-overlay",
        "-pgo",
        "-pkgdir",
        "-tags",
        "-toolexec",
        "-run",
        "-timeout",
        "-coverprofile",
    ]
)


_PROBE = "-go-tmp-umask"
"""Ends the name of a file that go makes beside a program, to learn the umask."""


def add_zones(context: ProfileContext) -> None:
    """Add the zones of a go command."""
    if place := context.last_option("-C"):
        context.cwd = context.make_absolute(place)
    config = context.xdg_directory("XDG_CONFIG_HOME", ".config")
    own = os.path.join(config, "go", "env")

    def read_setting(name: str) -> str | None:
        return context.env.get(name) or context.read_setting(own, name, "=")

    paths = (read_setting("GOPATH") or os.path.join(context.home, "go")).split(":")
    modules = read_setting("GOMODCACHE") or os.path.join(paths[0], "pkg", "mod")
    cache = read_setting("GOCACHE") or os.path.join(
        context.xdg_directory("XDG_CACHE_HOME", ".cache"), "go-build"
    )
    context.add_zone("cache", modules, os.path.join(paths[0], "pkg", "sumdb"), cache)
    if temporary := read_setting("GOTMPDIR"):
        context.add_zone("cache", context.make_absolute(temporary))
    context.add_zone("state", os.path.join(config, "go"))
    root = context.find_nearest("go.work") or context.find_nearest("go.mod") or context.cwd
    words = context.list_operands(_WITH_VALUE)
    command = words[0] if words else ""
    context.protect_paths("project", root)
    if place := context.last_option("-o"):
        context.add_zone("output", context.make_absolute(place), context.make_absolute(place) + _PROBE)
    elif command in ("build", "test", "install"):
        # A program is called after its module or directory, and lies in the working directory.
        names = {os.path.basename(context.cwd), *_module_names(context)}
        names |= {os.path.basename(os.path.normpath(word)).removesuffix(".go") for word in words[1:]}
        for name in sorted(filter(None, names)):
            context.add_zone(
                "output", os.path.join(context.cwd, name), os.path.join(context.cwd, name) + _PROBE
            )
        context.add_zone("output", patterns=[each + b"/*.test" for each in context.patterns_for(context.cwd)])
    if command == "install":
        context.add_zone(
            "programs", context.make_absolute(read_setting("GOBIN") or os.path.join(paths[0], "bin"))
        )
    if command in ("get", "mod", "work"):
        names = {"go.mod", "go.sum", "go.work", "go.work.sum"}
        context.add_zone(
            "lockfile", *(os.path.join(place, name) for place in {root, context.cwd} for name in names)
        )
        if words[1:2] == ["vendor"]:
            context.add_zone("vendor", os.path.join(root, "vendor"))
    if place := context.last_option("-coverprofile"):
        context.add_zone("output", context.make_absolute(place))


def _module_names(context: ProfileContext) -> list[str]:
    root = context.find_nearest("go.mod")
    if root is None:
        return []
    name = context.read_setting(os.path.join(root, "go.mod"), "module", " ")
    return [os.path.basename(name)] if name else []
