"""make: the directory in which it works, DESTDIR and prefix, and the caches of what it may run."""

from __future__ import annotations

import os

from writeaudit.policy.profiles.ccache import compiler_caches
from writeaudit.policy.profiles.context import ProfileContext
from writeaudit.policy.profiles.python_tools import BELOW, below_python_tools

_PLACES = ("DESTDIR", "prefix", "PREFIX", "exec_prefix", "O", "BUILDDIR", "BUILD_DIR", "OUTDIR", "builddir")


def add_zones(context: ProfileContext) -> None:
    """Add the zones of a make command."""
    for place in context.all_options("-C", "--directory"):
        context.cwd = context.make_absolute(place)
    context.add_zone("work", context.cwd)
    words = dict(word.split("=", 1) for word in context.run.args if "=" in word and not word.startswith("-"))
    for name in _PLACES:
        if (value := words.get(name)) and value.startswith("/") and len(os.path.normpath(value)) > 1:
            context.add_zone("output", value)
    compiler_caches(context)
    usual_caches(context)


def usual_caches(context: ProfileContext) -> None:
    """Add the caches of the installers that build files call most."""
    below_python_tools(context)
    caches = context.xdg_directory("XDG_CACHE_HOME", ".cache")
    cargo = context.env.get("CARGO_HOME")
    cargo = context.make_absolute(cargo) if cargo else os.path.join(context.home, ".cargo")
    context.add_zone(
        BELOW,
        os.path.join(context.home, ".npm"),
        os.path.join(caches, "go-build"),
        os.path.join(context.home, "go", "pkg"),
        os.path.join(cargo, "registry"),
        os.path.join(cargo, "git"),
        os.path.join(cargo, ".package-cache"),
        os.path.join(cargo, ".global-cache"),
    )
