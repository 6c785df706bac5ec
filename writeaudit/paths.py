"""Absolute paths as text."""

from __future__ import annotations

import re

_WILDCARD = re.compile(rb"[*?\[]")


def path_suffix(path: bytes, directory: bytes) -> bytes | None:
    """Return the rest of `path` below `directory` (b"" or b"/rest"); None if it lies elsewhere."""
    if directory == b"/":
        return b"" if path == b"/" else path
    if path == directory:
        return b""
    if path.startswith(directory + b"/"):
        return path[len(directory) :]
    return None


def as_pattern(path: bytes) -> bytes:
    """Return how a policy file or ``--zone`` spells the absolute `path` itself, wildcards and all."""
    return _WILDCARD.sub(lambda found: b"[" + found[0] + b"]", path).replace(b"$", b"$$")


def last_component(path: bytes) -> bytes:
    """Return what follows the last slash: the name in its directory, empty if the path ends in a slash."""
    return path[path.rfind(b"/") + 1 :]


def last_name(path: bytes) -> bytes:
    """Return the last component of a name as a process passed it; slashes at its end do not count."""
    return last_component(path.rstrip(b"/"))


def parent_directory(path: bytes) -> bytes:
    """Return the directory that an absolute path lies in; that of the root is the root."""
    return path[: path.rfind(b"/")] or b"/"
