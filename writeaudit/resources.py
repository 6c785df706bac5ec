"""Finds what the program reads at run time and what is no Python.

In a checkout these files stand beside the package (``reports/templates``, ``probes``,
``docs/rules``, ``build/*.bpf.o``); a wheel carries them inside it, under
``writeaudit/_resources`` (hatch_build.py puts them there). No other module looks for them.
"""

from __future__ import annotations

import os

from writeaudit.errors import WriteauditError

TYPE_CHECKING = False  # as in cli.py, and no pathlib: this comes before the programs are loaded
if TYPE_CHECKING:
    from pathlib import Path

_PACKAGE = os.path.dirname(os.path.realpath(__file__))
_INSTALLED = os.path.join(_PACKAGE, "_resources")
_CHECKOUT = os.path.dirname(_PACKAGE)


class ResourceMissing(WriteauditError):
    """A file that belongs to writeaudit is not where it should be."""


def templates_directory() -> Path:
    """Return the directory of the report templates. Raises `ResourceMissing`."""
    return _find_directory("report templates", "templates", "reports/templates")


def probe_sources() -> Path:
    """Return the directory of the probes' C sources. Raises `ResourceMissing`."""
    return _find_directory("probe sources", "probes", "probes")


def probe_objects(names: tuple[str, ...]) -> tuple[str, ...]:
    """Return the paths of compiled CO-RE objects, in the same order. Raises `ResourceMissing`."""
    return tuple(
        _find_path("compiled probes", name, f"build/{name}", "in a checkout: make probes") for name in names
    )


def rule_pages() -> Path:
    """Return the directory that holds one Markdown page per rule. Raises `ResourceMissing`."""
    return _find_directory("rule pages", "rules", "docs/rules")


def _find_directory(what: str, installed: str, checkout: str) -> Path:
    from pathlib import Path  # noqa: PLC0415 - start-up

    return Path(_find_path(what, installed, checkout))


def _find_path(what: str, installed: str, checkout: str, hint: str = "install writeaudit again") -> str:
    candidates = (os.path.join(_INSTALLED, installed), os.path.join(_CHECKOUT, checkout))
    for candidate in candidates:
        if os.path.exists(candidate):
            return candidate
    raise ResourceMissing(f"{what} not found: neither {candidates[0]} nor {candidates[1]} exists", hint=hint)
