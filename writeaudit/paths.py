"""Absolute paths as text."""

from __future__ import annotations


def below(path: bytes, directory: bytes) -> bytes | None:
    """Return the rest of `path` below `directory` (b"" or b"/rest"); None if it lies elsewhere."""
    if directory == b"/":
        return b"" if path == b"/" else path
    if path == directory:
        return b""
    if path.startswith(directory + b"/"):
        return path[len(directory) :]
    return None
