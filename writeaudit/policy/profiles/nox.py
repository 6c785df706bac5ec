"""nox: environments in .nox, made by virtualenv and filled by pip (or both by uv)."""

from __future__ import annotations

import os

from writeaudit.policy.profiles.context import ProfileContext
from writeaudit.policy.profiles.python_tools import add_bytecode, below_python_tools, build_output


def add_zones(context: ProfileContext) -> None:
    """Add the zones of a nox command."""
    given = context.last_option("-f", "--noxfile")
    root = (
        os.path.dirname(context.make_absolute(given))
        if given
        else context.find_nearest("noxfile.py") or context.cwd
    )
    below_python_tools(context)
    place = context.last_option("--envdir")
    context.add_zone("venv", context.make_absolute(place) if place else os.path.join(root, ".nox"))
    context.protect_paths("project", root)
    build_output(context, root, tests=True)
    add_bytecode(context)
