"""tox: environments in .tox, made by virtualenv and filled by pip (or both by uv)."""

from __future__ import annotations

import os

from writeaudit.policy.profiles.context import ProfileContext, get_text
from writeaudit.policy.profiles.python_tools import add_bytecode, below_python_tools, build_output

_FILES = ("tox.toml", "tox.ini", "setup.cfg", "pyproject.toml")


def add_zones(context: ProfileContext) -> None:
    """Add the zones of a tox command."""
    root = _find_root(context)
    below_python_tools(context)
    work = (
        context.last_option("--workdir")
        or context.env.get("TOX_WORK_DIR")
        or _read_configured_directory(context, root)
    )
    context.add_zone("venv", context.make_absolute(work, base=root) if work else os.path.join(root, ".tox"))
    context.protect_paths("project", root)
    build_output(context, root, tests=True)
    add_bytecode(context)


def _find_root(context: ProfileContext) -> str:
    if given := context.last_option("--root"):
        return context.make_absolute(given)
    if given := context.last_option("-c", "--conf") or context.env.get("TOX_CONFIG_FILE"):
        place = context.make_absolute(given)
        return place if os.path.isdir(place) else os.path.dirname(place)
    return context.find_nearest(*_FILES) or context.cwd


def _read_configured_directory(context: ProfileContext, root: str) -> str | None:
    settings = (
        get_text(context.read_toml(root, "tox.toml"), "work_dir"),
        get_text(context.read_toml(root, "pyproject.toml"), "tool", "tox", "work_dir"),
    )
    config = context.read_ini(os.path.join(root, "setup.cfg"), os.path.join(root, "tox.ini"))
    values = [config.get(s, k, fallback=None) for s in ("tox", "tox:tox") for k in ("work_dir", "toxworkdir")]
    found = next((value for value in (*settings, *values) if value), None)
    if not found:
        return None
    place = found.replace("{toxinidir}", root).replace("{tox_root}", root).replace("{/}", "/")
    return context.project_text(place, os.path.join(root, "tox.ini"))
