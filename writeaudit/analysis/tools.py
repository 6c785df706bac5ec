"""What is known of the installers: the only table of analysis that names them.

The settings are those of the tools' own documentation; the lists of files that are never
linked were read off real runs.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from typing import NamedTuple

from writeaudit.audit import Process
from writeaudit.judgement import Policy

_DIST_INFO = re.compile(
    rb"\.dist-info/(?:RECORD|INSTALLER|REQUESTED|direct_url\.json|uv_cache\.json|uv_build\.json)\Z"
)


class Tool(NamedTuple):
    """One installer, as far as links and caches are concerned."""

    name: str
    cache_setting: str | None = None
    """The setting that moves its cache or store; ``{}`` stands for the new place."""
    cache_directory: str = ""
    """Name for an example cache directory beside the environment."""
    copy_setting: str | None = None
    """The setting that asks for copies, so that no link is tried."""
    clone_setting: str | None = None
    """The setting that asks for reflinks."""
    no_cache_options: tuple[bytes, ...] = ()
    """Options that put the cache into the temporary directory for one run."""
    no_cache_variable: str | None = None
    """The environment variable that does the same."""
    never_linked: re.Pattern[bytes] | None = None
    """Searched for in the name of a file: those that are copied or generated, link mode or not."""


_UV = Tool(
    name="uv",
    cache_setting="UV_CACHE_DIR={}",
    cache_directory=".uv-cache",
    copy_setting="UV_LINK_MODE=copy",
    clone_setting="UV_LINK_MODE=clone",
    no_cache_options=(b"--no-cache", b"--no-cache-dir", b"-n"),
    no_cache_variable="UV_NO_CACHE",
    # uv always copies RECORD, because it adds lines to it; the others it writes itself.
    never_linked=_DIST_INFO,
)

_TOOLS = {
    tool.name: tool
    for tool in (
        _UV,
        Tool(
            name="pdm",
            cache_setting="pdm config cache_dir {}",
            cache_directory=".pdm-cache",
            copy_setting="pdm config install.cache false",
            never_linked=_DIST_INFO,
        ),
        Tool(
            name="conda",
            cache_setting="CONDA_PKGS_DIRS={}",
            cache_directory=".conda-pkgs",
            copy_setting="conda config --set always_copy true",
        ),
        Tool(
            name="pnpm",
            cache_setting="npm_config_store_dir={}",
            cache_directory=".pnpm-store",
            copy_setting="npm_config_package_import_method=copy",
            clone_setting="npm_config_package_import_method=clone",
        ),
        Tool(
            name="bun",
            cache_setting="BUN_INSTALL_CACHE_DIR={}",
            cache_directory=".bun-cache",
            copy_setting="bun install --backend=copyfile",
        ),
        Tool(name="cargo", copy_setting="CARGO_INCREMENTAL=0"),
    )
}

_UNKNOWN = Tool(name="generic", never_linked=_DIST_INFO)


_PROGRAMS = {"uvx": "uv", "pip3": "pip", "npx": "npm", "bunx": "bun"}
_PROGRAMS |= {name: name for name in (*_TOOLS, "pip", "poetry", "pipenv", "npm")}
"""Installers that have a profile, by the names of their programs."""


def installer_among(processes: Iterable[Process]) -> str | None:
    """Return the profile of the first installer that ran, None if there was none."""
    for process in processes:
        # A script's interpreter comes first, and the script after it.
        for word in (process.exe, *process.argv[:2]):
            profile = _PROGRAMS.get(os.fsdecode(os.path.basename(word)))
            if profile is not None:
                return profile
        if process.argv[1:3] == (b"-m", b"pip"):
            return "pip"
    return None


def tool_of(policy: Policy) -> Tool:
    """Return what is known of the policy's tool; nearly nothing for one without an entry."""
    return _TOOLS.get(policy.tool, _UNKNOWN)
