"""pipenv: environments in WORKON_HOME or in the project, pip underneath."""

from __future__ import annotations

import os

from writeaudit.policy.profiles.context import ProfileContext
from writeaudit.policy.profiles.python_tools import add_bytecode, below_python_tools

_PURPOSE = frozenset({"install", "uninstall", "lock", "update", "upgrade"})
_WITH_VALUE = frozenset(
    {"-p", "--python", "-i", "--index", "-r", "--requirements", "--categories", "--extra-pip-args"}
)


def add_zones(context: ProfileContext) -> None:
    """Add the zones of a pipenv command."""
    given = context.env.get("PIPENV_PIPFILE")
    pipfile = (
        context.make_absolute(given)
        if given
        else os.path.join(context.find_nearest("Pipfile") or context.cwd, "Pipfile")
    )
    root = os.path.dirname(pipfile)
    caches = context.xdg_directory("XDG_CACHE_HOME", ".cache")
    own = context.env.get("PIPENV_CACHE_DIR")
    context.add_zone("cache", context.make_absolute(own) if own else os.path.join(caches, "pipenv"))
    below_python_tools(context)
    context.add_zone("venv", _find_environments(context, root))
    context.protect_paths("project", root)
    words = context.list_operands(_WITH_VALUE)[:1]
    if set(words) & _PURPOSE and not context.has_flag("--deploy", "--ignore-pipfile"):
        context.add_zone("lockfile", pipfile, pipfile + ".lock")
    add_bytecode(context)


def _find_environments(context: ProfileContext, root: str) -> str:
    active = context.env.get("VIRTUAL_ENV")
    if active and not context.is_truthy("PIPENV_IGNORE_VIRTUALENVS"):
        return context.make_absolute(active)
    inside = os.path.join(root, ".venv")
    asked = context.env.get("PIPENV_VENV_IN_PROJECT")
    if context.is_truthy("PIPENV_VENV_IN_PROJECT") or (not asked and os.path.isdir(inside)):
        return inside
    if home := context.env.get("WORKON_HOME"):
        return context.make_absolute(home, tilde=True)
    return os.path.join(context.xdg_directory("XDG_DATA_HOME", ".local/share"), "virtualenvs")
