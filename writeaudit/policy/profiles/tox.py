"""tox: environments in .tox, made by virtualenv and filled by pip (or both by uv)."""

from __future__ import annotations

import os

from writeaudit.policy.profiles.context import ProfileContext, text
from writeaudit.policy.profiles.python_tools import below_python_tools, build_output, bytecode

_FILES = ("tox.toml", "tox.ini", "setup.cfg", "pyproject.toml")


def gather(context: ProfileContext) -> None:
    """Add the zones of a tox command."""
    root = _root(context)
    below_python_tools(context)
    work = context.option("--workdir") or context.env.get("TOX_WORK_DIR") or _configured(context, root)
    context.zone("venv", context.path(work, base=root) if work else os.path.join(root, ".tox"))
    context.protected("project", root)
    build_output(context, root, tests=True)
    bytecode(context)


def _root(context: ProfileContext) -> str:
    if given := context.option("--root"):
        return context.path(given)
    if given := context.option("-c", "--conf") or context.env.get("TOX_CONFIG_FILE"):
        place = context.path(given)
        return place if os.path.isdir(place) else os.path.dirname(place)
    return context.nearest(*_FILES) or context.cwd


def _configured(context: ProfileContext, root: str) -> str | None:
    settings = (
        text(context.toml(root, "tox.toml"), "work_dir"),
        text(context.toml(root, "pyproject.toml"), "tool", "tox", "work_dir"),
    )
    config = context.ini(os.path.join(root, "setup.cfg"), os.path.join(root, "tox.ini"))
    values = [config.get(s, k, fallback=None) for s in ("tox", "tox:tox") for k in ("work_dir", "toxworkdir")]
    found = next((value for value in (*settings, *values) if value), None)
    if not found:
        return None
    place = found.replace("{toxinidir}", root).replace("{tox_root}", root).replace("{/}", "/")
    return context.project_text(place, os.path.join(root, "tox.ini"))
