"""build (python -m build, pyproject-build): an environment in the temporary directory, results in dist."""

from __future__ import annotations

import os

from writeaudit.policy.profiles.context import ProfileContext
from writeaudit.policy.profiles.python_tools import below_python_tools, build_output, bytecode

_WITH_VALUE = frozenset(
    ["-o", "--outdir", "-C", "--config-setting", "--config-json", "--installer", "--env-dir"]
)


def gather(context: ProfileContext) -> None:
    """Add the zones of a build command."""
    below_python_tools(context)
    words = context.operands(_WITH_VALUE)
    root = context.path(words[0]) if words else context.cwd
    place = context.option("-o", "--outdir")
    context.protected("project", root)
    context.zone("output", context.path(place) if place else os.path.join(root, "dist"))
    build_output(context, root)
    bytecode(context)
