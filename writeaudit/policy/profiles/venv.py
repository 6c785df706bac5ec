"""python -m venv: the directories that are named, and pip's cache for --upgrade-deps."""

from __future__ import annotations

from writeaudit.policy.profiles.context import ProfileContext
from writeaudit.policy.profiles.python_tools import bytecode, pip_cache

_WITH_VALUE = frozenset({"--prompt"})


def gather(context: ProfileContext) -> None:
    """Add the zones of a venv command."""
    context.zone("cache", pip_cache(context))
    context.zone("venv", *(context.path(place) for place in context.operands(_WITH_VALUE) or [".venv"]))
    bytecode(context)
