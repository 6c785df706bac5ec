"""What is known of the installers: the only table of analysis that names them.

The settings are those of the tools' own documentation; the lists of files that are never
linked were read off real runs.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from writeaudit.audit import RunInfo
from writeaudit.judgement import Policy
from writeaudit.text import escape_path

_DIST_INFO = re.compile(
    rb"\.dist-info/(?:RECORD|INSTALLER|REQUESTED|direct_url\.json|uv_cache\.json|uv_build\.json)\Z"
)


_STORE_VERSION = re.compile(rb"/v([0-9]{1,3})(?:/|\Z)")


class Older(NamedTuple):
    """The settings of earlier versions."""

    name: str
    """Which ones: ``pnpm before 11``."""
    cache_setting: str
    copy_setting: str
    clone_setting: str


class Installer(NamedTuple):
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

    older: Older | None = None
    """What earlier versions are told by, where which version ran is not known."""
    versions: tuple[int, Older] | None = None
    """The first version of the store (``…/store/v11``) that these settings hold for, and those before."""

    def without_cache(self, run: RunInfo, policy: Policy) -> str | None:
        """Return the option or variable that took the cache away for a run, to be shown; None if none did."""
        caches = [pattern for zone in policy.zones if zone.name == "cache" for pattern in zone.patterns]
        temporary = not caches or all(pattern.endswith(b"/.tmp??????") for pattern in caches)
        for option in self.no_cache_options:
            # The short one may as well belong to what the tool runs (`uv run pytest -n 4`).
            if option in run.command and (temporary or option.startswith(b"--")):
                return f"`{escape_path(option)}`"
        variable = self.no_cache_variable
        if variable and run.env.get(variable, "").lower() in {"1", "true", "yes", "on", "y", "t"}:
            return f"`{variable}`"
        return None

    def of_version(self, *paths: bytes) -> Installer:
        """Return what is known of the version that uses these files of its store."""
        if self.versions is None:
            return self
        first, before = self.versions
        for path in paths:
            found = _STORE_VERSION.search(path)
            if found is not None and int(found[1]) < first:
                return self._replace(
                    cache_setting=before.cache_setting,
                    copy_setting=before.copy_setting,
                    clone_setting=before.clone_setting,
                )
            if found is not None:
                return self
        return self._replace(older=before)


_UV = Installer(
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
        Installer(
            name="pdm",
            cache_setting="pdm config cache_dir {}",
            cache_directory=".pdm-cache",
            copy_setting="pdm config install.cache false",
            never_linked=_DIST_INFO,
        ),
        Installer(
            name="conda",
            cache_setting="CONDA_PKGS_DIRS={}",
            cache_directory=".conda-pkgs",
            copy_setting="conda config --set always_copy true",
        ),
        Installer(
            name="pnpm",
            cache_setting="pnpm_config_store_dir={}",
            cache_directory=".pnpm-store",
            copy_setting="pnpm_config_package_import_method=copy",
            clone_setting="pnpm_config_package_import_method=clone",
            versions=(
                11,
                Older(
                    "pnpm before 11",
                    "npm_config_store_dir={}",
                    "npm_config_package_import_method=copy",
                    "npm_config_package_import_method=clone",
                ),
            ),
        ),
        Installer(
            name="bun",
            cache_setting="BUN_INSTALL_CACHE_DIR={}",
            cache_directory=".bun-cache",
            copy_setting="bun install --backend=copyfile",
        ),
        Installer(name="cargo", copy_setting="CARGO_INCREMENTAL=0"),
        Installer(
            name="ccache",
            cache_setting="CCACHE_DIR={}",
            cache_directory=".ccache",
            copy_setting="CCACHE_NOHARDLINK=1",
        ),
        Installer(name="mamba", cache_setting="CONDA_PKGS_DIRS={}", cache_directory=".conda-pkgs"),
        *(
            Installer(name=name, cache_setting=setting, cache_directory=f".{name}-cache")
            for name, setting in (
                ("pip", "PIP_CACHE_DIR={}"),
                ("poetry", "POETRY_CACHE_DIR={}"),
                ("pipenv", "PIPENV_CACHE_DIR={}"),
                ("npm", "npm_config_cache={}"),
                ("yarn", "YARN_CACHE_FOLDER={}"),
                ("hatch", "HATCH_CACHE_DIR={}"),
                ("pre-commit", "PRE_COMMIT_HOME={}"),
                ("composer", "COMPOSER_CACHE_DIR={}"),
                ("go", "GOMODCACHE={}"),
                ("sccache", "SCCACHE_DIR={}"),
            )
        ),
    )
}

_UNKNOWN = Installer(name="generic", never_linked=_DIST_INFO)


def installer_of(policy: Policy) -> Installer:
    """Return what is known of the policy's tool; nearly nothing for one without an entry."""
    return _TOOLS.get(policy.tool, _UNKNOWN)
