"""pipenv: environments in WORKON_HOME or in the project, pip underneath."""

from __future__ import annotations

import os

from writeaudit.policy.profiles.context import ProfileContext
from writeaudit.policy.profiles.python_tools import below_python_tools, bytecode

_PURPOSE = frozenset({"install", "uninstall", "lock", "update", "upgrade"})
_WITH_VALUE = frozenset(
    {"-p", "--python", "-i", "--index", "-r", "--requirements", "--categories", "--extra-pip-args"}
)


def gather(context: ProfileContext) -> None:
    """Add the zones of a pipenv command."""
    given = context.env.get("PIPENV_PIPFILE")
    pipfile = (
        context.path(given) if given else os.path.join(context.nearest("Pipfile") or context.cwd, "Pipfile")
    )
    root = os.path.dirname(pipfile)
    caches = context.xdg("XDG_CACHE_HOME", ".cache")
    own = context.env.get("PIPENV_CACHE_DIR")
    context.zone("cache", context.path(own) if own else os.path.join(caches, "pipenv"))
    below_python_tools(context)
    context.zone("venv", _environments(context, root))
    context.protected("project", root)
    words = context.operands(_WITH_VALUE)[:1]
    if set(words) & _PURPOSE and not context.flag("--deploy", "--ignore-pipfile"):
        context.zone("lockfile", pipfile, pipfile + ".lock")
    bytecode(context)


def _environments(context: ProfileContext, root: str) -> str:
    active = context.env.get("VIRTUAL_ENV")
    if active and not context.truthy("PIPENV_IGNORE_VIRTUALENVS"):
        return context.path(active)
    inside = os.path.join(root, ".venv")
    asked = context.env.get("PIPENV_VENV_IN_PROJECT")
    if context.truthy("PIPENV_VENV_IN_PROJECT") or (not asked and os.path.isdir(inside)):
        return inside
    if home := context.env.get("WORKON_HOME"):
        return context.path(home, tilde=True)
    return os.path.join(context.xdg("XDG_DATA_HOME", ".local/share"), "virtualenvs")
