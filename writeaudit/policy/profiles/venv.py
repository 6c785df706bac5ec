"""python -m venv: the directories that are named, and pip's cache for --upgrade-deps."""

from __future__ import annotations

from writeaudit.policy.profiles.context import ProfileContext
from writeaudit.policy.profiles.python_tools import add_bytecode, pip_cache

_WITH_VALUE = frozenset({"--prompt"})


def add_zones(context: ProfileContext) -> None:
    """Add the zones of a venv command."""
    context.add_zone("cache", pip_cache(context))
    context.add_zone(
        "venv", *(context.make_absolute(place) for place in context.list_operands(_WITH_VALUE) or [".venv"])
    )
    add_bytecode(context)
