"""Finds what the program reads at run time and what is no Python.

In a checkout these files stand beside the package (``reports/templates``, ``probes``,
``docs/rules``, ``build/*.bpf.o``); a wheel carries them inside it, under
``writeaudit/_resources`` (hatch_build.py puts them there). No other module looks for them.
"""

from __future__ import annotations

from pathlib import Path

from writeaudit.errors import WriteauditError

_PACKAGE = Path(__file__).resolve().parent
_INSTALLED = _PACKAGE / "_resources"
_CHECKOUT = _PACKAGE.parent
_OBJECTS = ("writeaudit.direct.bpf.o", "writeaudit.bpf.o")
"""For kernels that let programs read by plain loads (6.2), and for all (5.8)."""


class ResourceMissing(WriteauditError):
    """A file that belongs to writeaudit is not where it should be."""


def templates() -> Path:
    """Return the directory of the report templates. Raises `ResourceMissing`."""
    return _find("report templates", "templates", "reports/templates")


def probe_sources() -> Path:
    """Return the directory of the probes' C sources. Raises `ResourceMissing`."""
    return _find("probe sources", "probes", "probes")


def probe_objects() -> tuple[Path, ...]:
    """Return the compiled CO-RE objects, the one to try first first. Raises `ResourceMissing`."""
    return tuple(
        _find("compiled probes", name, f"build/{name}", "in a checkout: make probes") for name in _OBJECTS
    )


def rule_pages() -> Path:
    """Return the directory that holds one Markdown page a rule. Raises `ResourceMissing`."""
    return _find("rule pages", "rules", "docs/rules")


def _find(what: str, installed: str, checkout: str, hint: str = "install writeaudit again") -> Path:
    candidates = (_INSTALLED / installed, _CHECKOUT / checkout)
    for candidate in candidates:
        if candidate.exists():
            return candidate
    raise ResourceMissing(f"{what} not found: neither {candidates[0]} nor {candidates[1]} exists", hint=hint)
