"""conda, mamba, micromamba: a package cache and environments below one root prefix, hard links between."""

from __future__ import annotations

import os

from writeaudit.policy.profiles.context import ProfileContext
from writeaudit.policy.profiles.python_tools import bytecode, pip_cache


def gather(context: ProfileContext) -> None:
    """Add the zones of a conda command."""
    root = _root(context)
    packages = context.env.get("CONDA_PKGS_DIRS")
    caches = [context.path(place, tilde=True) for place in packages.split(",")] if packages else []
    if not caches:
        caches = [
            os.path.join(context.home, ".conda", "pkgs"),
            *([os.path.join(root, "pkgs")] if root else []),
        ]
    own = context.xdg("XDG_CACHE_HOME", ".cache")
    context.zone("cache", *caches, os.path.join(own, "conda"), os.path.join(own, "mamba"), pip_cache(context))
    context.zone("venv", *_environments(context, root))
    # Every install notes the environment here.
    context.zone("state", os.path.join(context.home, ".conda", "environments.txt"))
    words = context.operands(
        frozenset({"-n", "--name", "-p", "--prefix", "-c", "--channel", "-r", "-f", "--file"})
    )
    if words[:1] == ["config"]:
        context.zone("state", os.path.join(context.home, ".condarc"), os.path.join(context.home, ".mambarc"))
    bytecode(context)


def _root(context: ProfileContext) -> str | None:
    if given := context.option("--root-prefix", "-r") or context.env.get("MAMBA_ROOT_PREFIX"):
        return context.path(given, tilde=True)
    program = context.env.get("CONDA_EXE") or context.program(context.run.program)
    if program is None:
        return None
    prefix = os.path.dirname(os.path.dirname(os.path.realpath(program)))
    return prefix if os.path.isdir(os.path.join(prefix, "conda-meta")) else None


def _environments(context: ProfileContext, root: str | None) -> list[str]:
    if prefix := context.option("--prefix", "-p"):
        return [context.path(prefix, tilde=True)]
    places = context.first_env("CONDA_ENVS_DIRS", "CONDA_ENVS_PATH")
    homes = (
        [context.path(place, tilde=True) for place in places.replace(",", ":").split(":")] if places else []
    )
    homes += [os.path.join(root, "envs")] if root else []
    homes.append(os.path.join(context.home, ".conda", "envs"))
    name = context.option("--name", "-n")
    if name and name != "base":
        return [os.path.join(home, name) for home in homes]
    if active := context.env.get("CONDA_PREFIX"):
        return [context.path(active)]
    return [root] if root else homes
