"""build (python -m build, pyproject-build): an environment in the temporary directory, results in dist."""

from __future__ import annotations

import os

from writeaudit.policy.profiles.context import ProfileContext
from writeaudit.policy.profiles.python_tools import add_bytecode, below_python_tools, build_output

_WITH_VALUE = frozenset(
    ["-o", "--outdir", "-C", "--config-setting", "--config-json", "--installer", "--env-dir"]
)


def add_zones(context: ProfileContext) -> None:
    """Add the zones of a build command."""
    below_python_tools(context)
    words = context.list_operands(_WITH_VALUE)
    root = context.make_absolute(words[0]) if words else context.cwd
    place = context.last_option("-o", "--outdir")
    context.protect_paths("project", root)
    context.add_zone("output", context.make_absolute(place) if place else os.path.join(root, "dist"))
    build_output(context, root)
    add_bytecode(context)
