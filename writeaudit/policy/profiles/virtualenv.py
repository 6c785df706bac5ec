"""virtualenv: the environment that is named; a store of seed packages (its application data)."""

from __future__ import annotations

import os

from writeaudit.policy.profiles.context import ProfileContext
from writeaudit.policy.profiles.python_tools import add_bytecode, add_rustup, pip_cache, virtualenv_store

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


def add_zones(context: ProfileContext) -> None:
    """Add the zones of a virtualenv command."""
    own = context.last_option("--app-data")
    store = [context.make_absolute(own, tilde=True)] if own and "/" in own else virtualenv_store(context)
    context.add_zone("cache", *store, pip_cache(context))
    places = context.list_operands(_WITH_VALUE) or [context.env.get("VIRTUALENV_DEST") or ".venv"]
    context.add_zone("venv", *(context.make_absolute(place) for place in places))
    context.add_zone("state", os.path.join(context.xdg_directory("XDG_CONFIG_HOME", ".config"), "virtualenv"))
    add_rustup(context)  # pip looks for newer seed packages in the background
    add_bytecode(context)
