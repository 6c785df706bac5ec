"""ccache and sccache: a compiler behind a cache; also what other build tools need to know of both."""

from __future__ import annotations

import os

from writeaudit.policy.profiles.context import ProfileContext


def add_zones(context: ProfileContext) -> None:
    """Add the zones of a command that runs a compiler through ccache or sccache."""
    compiler_caches(context)
    # A compiler writes where -o says, else (and much beside it) into the working directory.
    context.add_zone("output", context.cwd)
    if place := context.last_option("-o"):
        context.add_zone("output", os.path.dirname(context.make_absolute(place)))


def compiler_caches(context: ProfileContext) -> None:
    """Add the caches of ccache and sccache to the zone ``cache``."""
    caches = context.xdg_directory("XDG_CACHE_HOME", ".cache")
    old = os.path.join(context.home, ".ccache")
    given = context.env.get("CCACHE_DIR") or _read_configured_directory(context, old)
    if given:
        ccache = [context.make_absolute(given, tilde=True)]
    else:
        ccache = [os.path.join(caches, "ccache"), *([old] if os.path.isdir(old) else [])]
    if temporary := context.env.get("CCACHE_TEMPDIR"):
        ccache.append(context.make_absolute(temporary))
    elif runtime := context.env.get("XDG_RUNTIME_DIR"):
        ccache.append(os.path.join(runtime, "ccache-tmp"))
    own = context.env.get("SCCACHE_DIR")
    context.add_zone("cache", *ccache, context.make_absolute(own) if own else os.path.join(caches, "sccache"))
    context.add_zone("state", os.path.join(context.xdg_directory("XDG_CONFIG_HOME", ".config"), "ccache"))


def _read_configured_directory(context: ProfileContext, old: str) -> str | None:
    own = context.env.get("CCACHE_CONFIGPATH")
    places = [
        context.make_absolute(own) if own else "",
        os.path.join(context.xdg_directory("XDG_CONFIG_HOME", ".config"), "ccache", "ccache.conf"),
        os.path.join(old, "ccache.conf"),
        "/etc/ccache.conf",
    ]
    return next((value for place in places if (value := context.read_setting(place, "cache_dir", "="))), None)
