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


def gather(context: ProfileContext) -> None:
    """Add the zones of a go command."""
    if place := context.option("-C"):
        context.cwd = context.path(place)
    config = context.xdg("XDG_CONFIG_HOME", ".config")
    own = os.path.join(config, "go", "env")

    def setting(name: str) -> str | None:
        return context.env.get(name) or context.setting(own, name, "=")

    paths = (setting("GOPATH") or os.path.join(context.home, "go")).split(":")
    modules = setting("GOMODCACHE") or os.path.join(paths[0], "pkg", "mod")
    cache = setting("GOCACHE") or os.path.join(context.xdg("XDG_CACHE_HOME", ".cache"), "go-build")
    context.zone("cache", modules, os.path.join(paths[0], "pkg", "sumdb"), cache)
    if temporary := setting("GOTMPDIR"):
        context.zone("cache", context.path(temporary))
    context.zone("state", os.path.join(config, "go"))
    root = context.nearest("go.work") or context.nearest("go.mod") or context.cwd
    words = context.operands(_WITH_VALUE)
    command = words[0] if words else ""
    context.protected("project", root)
    if place := context.option("-o"):
        context.zone("output", context.path(place), context.path(place) + _PROBE)
    elif command in ("build", "test", "install"):
        # A program is called after its module or directory, and lies in the working directory.
        names = {os.path.basename(context.cwd), *_module_names(context)}
        names |= {os.path.basename(os.path.normpath(word)).removesuffix(".go") for word in words[1:]}
        for name in sorted(filter(None, names)):
            context.zone("output", os.path.join(context.cwd, name), os.path.join(context.cwd, name) + _PROBE)
        context.zone("output", patterns=[each + b"/*.test" for each in context.patterns(context.cwd)])
    if command == "install":
        context.zone("programs", context.path(setting("GOBIN") or os.path.join(paths[0], "bin")))
    if command in ("get", "mod", "work"):
        names = {"go.mod", "go.sum", "go.work", "go.work.sum"}
        context.zone(
            "lockfile", *(os.path.join(place, name) for place in {root, context.cwd} for name in names)
        )
        if words[1:2] == ["vendor"]:
            context.zone("vendor", os.path.join(root, "vendor"))
    if place := context.option("-coverprofile"):
        context.zone("output", context.path(place))


def _module_names(context: ProfileContext) -> list[str]:
    root = context.nearest("go.mod")
    if root is None:
        return []
    name = context.setting(os.path.join(root, "go.mod"), "module", " ")
    return [os.path.basename(name)] if name else []
