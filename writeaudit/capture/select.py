"""Which backends there are, and which one runs: the first that works, and why."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import NamedTuple

from writeaudit.audit import BackendInfo
from writeaudit.capture.interface import Backend, CaptureOutcome
from writeaudit.errors import BackendUnavailable, UsageError

AUTO = "auto"

_BACKENDS = {
    "ebpf": ("writeaudit.capture.kernel.ebpf", "EbpfBackend"),
    "bcc": ("writeaudit.capture.kernel.bcc.backend", "BccBackend"),
    "strace": ("writeaudit.capture.strace.backend", "StraceBackend"),
}
"""In order of preference; imported only when asked for, since each takes its time."""
_TAKE_PROBES = ("ebpf", "bcc")
"""Those that run the probes, and so can run a changed copy of them."""


def list_names() -> tuple[str, ...]:
    """Return the names that `--backend` takes."""
    return (AUTO, *_BACKENDS)


def get_backend(name: str, probes: str | None = None) -> Backend:
    """Return one backend; ``probes``: a directory with a copy of the probes' sources to run.

    Raises UsageError for an unknown name, and for a backend that runs no probes.
    """
    if name not in _BACKENDS:
        raise UsageError(f"no such backend: {name}", hint=f"one of {', '.join(list_names())}")
    if probes is not None and name not in _TAKE_PROBES:
        raise UsageError(
            f"the {name} backend runs no probes", hint=f"--probes goes with {' or '.join(_TAKE_PROBES)}"
        )
    module, attribute = _BACKENDS[name]
    make = getattr(importlib.import_module(module), attribute)
    made: Backend = make() if probes is None else make(probes)
    return made


def list_backends() -> tuple[Backend, ...]:
    """Return every backend, the preferred one first."""
    return tuple(get_backend(name) for name in _BACKENDS)


class Captured(NamedTuple):
    """What a capture came to, and by which backend."""

    outcome: CaptureOutcome
    backend: BackendInfo


def capture_with(
    wanted: str,
    attempt: Callable[[Backend], CaptureOutcome],
    chosen: Callable[[BackendInfo], None] = lambda _info: None,
    probes: str | None = None,
) -> Captured:
    """Call ``attempt`` with the wanted backend, or for ``auto`` with one after the other.

    ``chosen`` hears of each backend just before its attempt. ``probes``: see `get_backend`; then
    ``auto`` takes only those that run them. Raises `BackendUnavailable` if
    none can run; what else an attempt raises passes through.
    """
    every = tuple(_BACKENDS) if probes is None else _TAKE_PROBES
    candidates = every if wanted == AUTO else (wanted,)
    refused: list[BackendUnavailable] = []
    for name in candidates:
        candidate = get_backend(name, probes)
        if wanted != AUTO:
            why = "asked for with --backend"
        elif not refused:
            why = f"the first of {', '.join(candidates)} that runs here"
        else:
            why = "; ".join(
                f"{tried} could not run: {error.message}"
                for tried, error in zip(candidates, refused, strict=False)
            )
        info = BackendInfo(name, candidate.tier, why, candidate.engine, preferred=not refused)
        chosen(info)
        try:
            return Captured(attempt(candidate), info)
        except BackendUnavailable as error:
            refused.append(error)
    if wanted != AUTO:
        raise BackendUnavailable(
            f"the {wanted} backend cannot run here: {refused[0].message}", hint=refused[0].hint
        )
    reasons = "; ".join(f"{name}: {error.message}" for name, error in zip(candidates, refused, strict=True))
    raise BackendUnavailable(f"no backend can run here ({reasons})", hint="see: writeaudit doctor")
