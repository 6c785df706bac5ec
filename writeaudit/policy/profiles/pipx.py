"""pipx: an environment for each application below PIPX_HOME, links to their programs beside it."""

from __future__ import annotations

import os

from writeaudit.policy.profiles.context import ProfileContext
from writeaudit.policy.profiles.python_tools import add_bytecode, below_python_tools


def add_zones(context: ProfileContext) -> None:
    """Add the zones of a pipx command."""
    everybody = context.has_flag("--global")
    share = context.xdg_directory("XDG_DATA_HOME", ".local/share")
    given = context.env.get("PIPX_GLOBAL_HOME" if everybody else "PIPX_HOME")
    old = os.path.join(context.home, ".local", "pipx")
    if given:
        homes = [context.make_absolute(given, tilde=True)]
    elif everybody:
        homes = ["/opt/pipx"]
    else:
        homes = [os.path.join(share, "pipx"), *([old] if os.path.isdir(old) else [])]
    below_python_tools(context)
    context.add_zone("cache", os.path.join(context.xdg_directory("XDG_CACHE_HOME", ".cache"), "pipx"))
    shared = context.env.get("PIPX_SHARED_LIBS")
    context.add_zone("venv", *homes, *([context.make_absolute(shared, tilde=True)] if shared else []))
    context.add_zone("state", os.path.join(context.xdg_directory("XDG_STATE_HOME", ".local/state"), "pipx"))
    names = (
        ("PIPX_GLOBAL_BIN_DIR", "/usr/local/bin", "PIPX_GLOBAL_MAN_DIR", "/usr/local/share/man")
        if everybody
        else (
            "PIPX_BIN_DIR", os.path.join(context.home, ".local", "bin"),
            "PIPX_MAN_DIR", os.path.join(context.home, ".local", "share", "man"),
        )
    )  # fmt: skip
    for variable, default in (names[:2], names[2:]):
        place = context.env.get(variable)
        context.add_zone("programs", context.make_absolute(place, tilde=True) if place else default)
    add_bytecode(context)
