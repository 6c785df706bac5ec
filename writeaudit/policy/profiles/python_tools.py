"""What stands below most Python tools: pip's cache, virtualenv's store, uv's cache, bytecode, builds."""

from __future__ import annotations

import os
import re

from writeaudit.policy.profiles.context import ProfileContext, get_table, get_text

BELOW = "tool-caches"
"""The zone for caches of other tools that the tool runs."""
_TEST_OUTPUT = (
    ".pytest_cache", ".mypy_cache", ".ruff_cache", ".hypothesis", ".coverage", ".coverage.*", "coverage.xml",
    "htmlcov", ".cache", "junit*.xml",
)  # fmt: skip


def pip_cache(context: ProfileContext) -> str:
    """Return pip's cache."""
    cache = context.env.get("PIP_CACHE_DIR") or configured_pip_cache(context)
    default = os.path.join(context.xdg_directory("XDG_CACHE_HOME", ".cache"), "pip")
    return context.make_absolute(cache, tilde=True) if cache else default


def configured_pip_cache(context: ProfileContext) -> str | None:
    """Return the cache that pip's configuration files name."""
    own = context.env.get("PIP_CONFIG_FILE")
    config = context.read_ini(
        "/etc/pip.conf",
        os.path.join(context.home, ".pip", "pip.conf"),
        os.path.join(context.xdg_directory("XDG_CONFIG_HOME", ".config"), "pip", "pip.conf"),
        *([os.path.join(context.env["VIRTUAL_ENV"], "pip.conf")] if context.env.get("VIRTUAL_ENV") else []),
        *([own] if own and own != os.devnull else []),
    )
    for section in ("install", "global"):
        for key in ("cache-dir", "cache_dir"):
            if value := config.get(section, key, fallback=None):
                return value
    return None


def uv_cache(context: ProfileContext) -> str:
    """Return uv's cache, for tools that run uv if they find it."""
    given = context.env.get("UV_CACHE_DIR")
    default = os.path.join(context.xdg_directory("XDG_CACHE_HOME", ".cache"), "uv")
    return context.make_absolute(given) if given else default


def virtualenv_store(context: ProfileContext) -> list[str]:
    """Return where virtualenv keeps seed wheels and what it knows of interpreters.

    Under the data directory up to 20.2x, under the cache directory since.
    """
    if given := context.env.get("VIRTUALENV_OVERRIDE_APP_DATA"):
        return [context.make_absolute(given, tilde=True)]
    return [
        os.path.join(context.xdg_directory("XDG_CACHE_HOME", ".cache"), "virtualenv"),
        os.path.join(context.xdg_directory("XDG_DATA_HOME", ".local/share"), "virtualenv"),
    ]


def below_python_tools(context: ProfileContext) -> None:
    """Add the caches of pip, virtualenv and uv, which the tool runs."""
    context.add_zone(BELOW, pip_cache(context), uv_cache(context), *virtualenv_store(context))
    # What uv installs on the way: Pythons, and environments of tools.
    context.add_zone(BELOW, os.path.join(context.xdg_directory("XDG_DATA_HOME", ".local/share"), "uv"))
    add_rustup(context)


def add_rustup(context: ProfileContext) -> None:
    """Add what rustup notes when pip asks `rustc` for its version, and that is rustup's."""
    own = context.env.get("RUSTUP_HOME")
    # tox and its like do not hand the variable on.
    homes = [os.path.join(context.home, ".rustup"), *([context.make_absolute(own)] if own else [])]
    context.add_zone(BELOW, *(os.path.join(home, "settings.toml") for home in homes))


def add_bytecode(context: ProfileContext) -> None:
    """Add the bytecode of the tool itself: who installed it may have left compiling to the first run."""
    if prefix := context.env.get("PYTHONPYCACHEPREFIX"):
        context.add_zone("bytecode", context.make_absolute(prefix))
    program = context.find_program(context.run.program)
    if program is None or context.is_truthy("PYTHONDONTWRITEBYTECODE"):
        return
    for start in dict.fromkeys((program, os.path.realpath(program))):
        prefix = os.path.dirname(os.path.dirname(start))
        if prefix in ("", "/") or context.covers_path(prefix):
            continue
        # On Debian every program's code is in dist-packages below /usr/lib/python3.
        patterns = [pattern + b"/lib/**/__pycache__" for pattern in context.patterns_for(prefix)]
        context.add_zone("bytecode", patterns=patterns)


def build_output(context: ProfileContext, root: str, *, tests: bool = False) -> None:
    """Add what building a project leaves in it (setuptools), and what testing it does."""
    names = ["build", "*.egg-info", "src/*.egg-info", ".eggs", ".pdm-build", "__pycache__", "**/__pycache__"]
    names += [f"{name}-[0-9]*" for name in _project_names(context, root)]
    if tests:
        names += _TEST_OUTPUT
    context.add_zone(
        "output",
        patterns=[pattern + b"/" + name.encode() for pattern in context.patterns_for(root) for name in names],
    )


def _project_names(context: ProfileContext, root: str) -> list[str]:
    """Return how setuptools may spell a project's name in the directory from which it makes an sdist."""
    name = get_text(context.read_toml(root, "pyproject.toml"), "project", "name")
    if name is None or any(char in "*?[/" for char in name):
        return ["*"]
    plain = re.sub(r"[-_.]+", "-", name)
    return sorted({name, plain, plain.replace("-", "_"), plain.lower().replace("-", "_"), plain.lower()})


def is_built(context: ProfileContext, root: str) -> bool:
    """Whether installing the project at `root` means to build it."""
    if any(os.path.exists(os.path.join(root, name)) for name in ("setup.py", "setup.cfg")):
        return True
    return get_table(context.read_toml(root, "pyproject.toml"), "build-system") is not None
