"""What the disk says of places, now: the facts that a recording does not hold."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable

from writeaudit.confine.writable import PlaceState

_MOST_COUNTED = 100_000
"""So many entries are added up at most."""


def read_place(path: bytes, made: Iterable[bytes] | None = None) -> PlaceState | None:
    """Return what is at a path, without what lies at or below ``made``; None if nothing is. Follows no
    symlink. What a directory holds is counted only where ``made`` is given.
    """
    try:
        found = os.lstat(path)
    except (OSError, ValueError):  # the latter for a NUL, which only a made-up recording holds
        return None
    fmt = stat.S_IFMT(found.st_mode)
    entries, size = (
        _count(path, frozenset(made)) if made is not None and fmt == stat.S_IFDIR else (0, found.st_size)
    )
    return PlaceState(fmt, stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid, entries, size)


def _count(top: bytes, made: frozenset[bytes]) -> tuple[int, int | None]:
    """Return how many entries a directory has, and the bytes of all that is in it."""
    entries = 0
    size: int | None = 0
    counted = 0
    waiting = [top]
    while waiting:
        directory = waiting.pop()
        try:
            with os.scandir(directory) as found:
                for entry in found:
                    if entry.path in made:
                        continue
                    entries += directory == top
                    counted += 1
                    if counted > _MOST_COUNTED:
                        return entries, None
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
                    elif size is not None:
                        size += entry.stat(follow_symlinks=False).st_blocks * 512
        except OSError:
            continue  # what cannot be read cannot be used by the command of the same user either
    return entries, size
