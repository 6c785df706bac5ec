"""conda, mamba, micromamba: a package cache and environments below one root prefix, hard links between."""

from __future__ import annotations

import os

from writeaudit.policy.profiles.context import ProfileContext
from writeaudit.policy.profiles.python_tools import add_bytecode, pip_cache


def add_zones(context: ProfileContext) -> None:
    """Add the zones of a conda command."""
    root = _find_root(context)
    packages = context.env.get("CONDA_PKGS_DIRS")
    caches = [context.make_absolute(place, tilde=True) for place in packages.split(",")] if packages else []
    if not caches:
        caches = [
            os.path.join(context.home, ".conda", "pkgs"),
            *([os.path.join(root, "pkgs")] if root else []),
        ]
    own = context.xdg_directory("XDG_CACHE_HOME", ".cache")
    context.add_zone(
        "cache", *caches, os.path.join(own, "conda"), os.path.join(own, "mamba"), pip_cache(context)
    )
    context.add_zone("venv", *_list_environments(context, root))
    # Every install notes the environment here.
    context.add_zone("state", os.path.join(context.home, ".conda", "environments.txt"))
    words = context.list_operands(
        frozenset({"-n", "--name", "-p", "--prefix", "-c", "--channel", "-r", "-f", "--file"})
    )
    if words[:1] == ["config"]:
        context.add_zone(
            "state", os.path.join(context.home, ".condarc"), os.path.join(context.home, ".mambarc")
        )
    add_bytecode(context)


def _find_root(context: ProfileContext) -> str | None:
    if given := context.last_option("--root-prefix", "-r") or context.env.get("MAMBA_ROOT_PREFIX"):
        return context.make_absolute(given, tilde=True)
    program = context.env.get("CONDA_EXE") or context.find_program(context.run.program)
    if program is None:
        return None
    prefix = os.path.dirname(os.path.dirname(os.path.realpath(program)))
    return prefix if os.path.isdir(os.path.join(prefix, "conda-meta")) else None


def _list_environments(context: ProfileContext, root: str | None) -> list[str]:
    if prefix := context.last_option("--prefix", "-p"):
        return [context.make_absolute(prefix, tilde=True)]
    places = context.first_env("CONDA_ENVS_DIRS", "CONDA_ENVS_PATH")
    homes = (
        [context.make_absolute(place, tilde=True) for place in places.replace(",", ":").split(":")]
        if places
        else []
    )
    homes += [os.path.join(root, "envs")] if root else []
    homes.append(os.path.join(context.home, ".conda", "envs"))
    name = context.last_option("--name", "-n")
    if name and name != "base":
        return [os.path.join(home, name) for home in homes]
    if active := context.env.get("CONDA_PREFIX"):
        return [context.make_absolute(active)]
    return [root] if root else homes
