"""pipx: an environment for each application below PIPX_HOME, links to their programs beside it."""

from __future__ import annotations

import os

from writeaudit.policy.profiles.context import ProfileContext
from writeaudit.policy.profiles.python_tools import below_python_tools, bytecode


def gather(context: ProfileContext) -> None:
    """Add the zones of a pipx command."""
    everybody = context.flag("--global")
    share = context.xdg("XDG_DATA_HOME", ".local/share")
    given = context.env.get("PIPX_GLOBAL_HOME" if everybody else "PIPX_HOME")
    old = os.path.join(context.home, ".local", "pipx")
    if given:
        homes = [context.path(given, tilde=True)]
    elif everybody:
        homes = ["/opt/pipx"]
    else:
        homes = [os.path.join(share, "pipx"), *([old] if os.path.isdir(old) else [])]
    below_python_tools(context)
    context.zone("cache", os.path.join(context.xdg("XDG_CACHE_HOME", ".cache"), "pipx"))
    shared = context.env.get("PIPX_SHARED_LIBS")
    context.zone("venv", *homes, *([context.path(shared, tilde=True)] if shared else []))
    context.zone("state", os.path.join(context.xdg("XDG_STATE_HOME", ".local/state"), "pipx"))
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
        context.zone("programs", context.path(place, tilde=True) if place else default)
    bytecode(context)
