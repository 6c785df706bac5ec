"""virtualenv: the environment that is named; a store of seed packages (its application data)."""

from __future__ import annotations

import os

from writeaudit.policy.profiles.context import ProfileContext
from writeaudit.policy.profiles.python_tools import bytecode, pip_cache, rustup, virtualenv_store

_WITH_VALUE = frozenset(
    [
        "-p",
        "--python",
        "--try-first-with",
        "--discovery",
        "--creator",
        "--seeder",
        "--activators",
        "--app-data",
        "--prompt",
        "--extra-search-dir",
        "--pip",
        "--setuptools",
        "--wheel",
        "--with-traceback",
    ]
)


def gather(context: ProfileContext) -> None:
    """Add the zones of a virtualenv command."""
    own = context.option("--app-data")
    store = [context.path(own, tilde=True)] if own and "/" in own else virtualenv_store(context)
    context.zone("cache", *store, pip_cache(context))
    places = context.operands(_WITH_VALUE) or [context.env.get("VIRTUALENV_DEST") or ".venv"]
    context.zone("venv", *(context.path(place) for place in places))
    context.zone("state", os.path.join(context.xdg("XDG_CONFIG_HOME", ".config"), "virtualenv"))
    rustup(context)  # pip looks for newer seed packages in the background
    bytecode(context)
