"""nox: environments in .nox, made by virtualenv and filled by pip (or both by uv)."""

from __future__ import annotations

import os

from writeaudit.policy.profiles.context import ProfileContext
from writeaudit.policy.profiles.python_tools import below_python_tools, build_output, bytecode


def gather(context: ProfileContext) -> None:
    """Add the zones of a nox command."""
    given = context.option("-f", "--noxfile")
    root = os.path.dirname(context.path(given)) if given else context.nearest("noxfile.py") or context.cwd
    below_python_tools(context)
    place = context.option("--envdir")
    context.zone("venv", context.path(place) if place else os.path.join(root, ".nox"))
    context.protected("project", root)
    build_output(context, root, tests=True)
    bytecode(context)
