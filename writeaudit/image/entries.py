"""What stands in a layer: an entry for each path, with what leads to its bytes."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator
from typing import NamedTuple


class EntryType(enum.StrEnum):
    """What a path is."""

    __hash__ = str.__hash__  # that of an enumeration is a call of Python

    FILE = "file"
    DIRECTORY = "directory"
    SYMLINK = "symlink"
    HARD_LINK = "hard link"
    CHARACTER = "character device"
    BLOCK = "block device"
    FIFO = "FIFO"


class Entry(NamedTuple):
    """One entry of a layer, as the archive has it: nothing of it is to be trusted."""

    name: bytes
    """As it is written there."""
    type: EntryType
    mode: int
    uid: int
    gid: int
    mtime: float
    size: int
    """Bytes that are stored for it."""
    link: bytes = b""
    """What a symlink or hard link leads to."""
    capability: bytes = b""
    """The value of the extended attribute ``security.capability``."""
    device: tuple[int, int] = (0, 0)
    content: Callable[[], Iterator[bytes]] = lambda: iter(())
    """Reads its bytes, once, before the next entry is asked for. Raises `errors.Damage`."""
