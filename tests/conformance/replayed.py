"""Files as the replay of a recording has them, and what events say of which file they mean."""

from __future__ import annotations

import stat
from dataclasses import dataclass, field

from tests.conformance.disk import Entry
from writeaudit.events import FsEvent, Op


@dataclass(slots=True, eq=False)
class Node:
    """A file in the replayed tree; hard links and bind mounts share it."""

    fmt: int | None
    """File type bits; None if no event says."""
    entry: Entry | None = None
    """As it was before; None for a file made during the run."""
    text: bytes | None = None
    children: dict[bytes, Node] = field(default_factory=dict)
    causes: set[str] = field(default_factory=set)
    """Words for what events did to it: an op's name, ``trunc``, ``names`` (of a directory)."""
    opaque: bool = False
    """It came from outside the tree: nothing is known of what lies below it."""
    identity: tuple[int, int] | None = None
    """Device and inode: as they were before, or else as the first event says that knows them."""


def made_by(event: FsEvent) -> Node:
    """Return the file that an event that makes a name makes."""
    if event.op is Op.SYMLINK:
        return Node(stat.S_IFLNK, text=event.source)
    fmt = {Op.MKDIR: stat.S_IFDIR, Op.BIND: stat.S_IFSOCK}.get(event.op)
    return Node(fmt or stat.S_IFMT(event.mode or 0) or stat.S_IFREG)


def identity_of(event: FsEvent) -> tuple[int, int] | None:
    """Return device and inode of an event's file; None if it does not say."""
    return None if event.ino is None or event.dev is None else (event.dev, event.ino)


def source_identity_of(event: FsEvent) -> tuple[int, int] | None:
    """Return those of its source."""
    dev, ino = event.source_dev, event.source_ino
    return None if ino is None or dev is None else (dev, ino)
