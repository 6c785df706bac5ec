"""The writable set in the words of each tool that can hold a command to it.

`render_set` returns text for standard output: it can be pasted, and what explains it is in comments.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from writeaudit.confine.dialects import bwrap, compose, docker, kubernetes, landlock, podman, systemd
from writeaudit.confine.dialects.common import Subject

_RENDERERS: Mapping[str, Callable[[Subject], str]] = {
    "docker": docker.render_docker,
    "podman": podman.render_podman,
    "compose": compose.render_compose,
    "kubernetes": kubernetes.render_kubernetes,
    "systemd": systemd.render_systemd,
    "bwrap": bwrap.render_bwrap,
    "landlock": landlock.render_landlock,
}
DIALECTS = tuple(_RENDERERS)
"""The names that ``--for`` takes, beside ``policy``."""

__all__ = ["DIALECTS", "Subject", "render_set"]


def render_set(dialect: str, subject: Subject) -> str:
    """Return the set in one dialect (one of `DIALECTS`)."""
    return _RENDERERS[dialect](subject)
