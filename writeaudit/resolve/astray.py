"""Renames that disturb the very names that they are made by."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence

from writeaudit.events import Op, RawEvent
from writeaudit.resolve.basis import Basis
from writeaudit.resolve.disk import Disk
from writeaudit.resolve.places import Place


def moved_along(raw: RawEvent, target: Place, source: Place | None, disk: Disk) -> bool:
    """Whether a rename may have moved the very directory that one of its names begins at.

    The kernel side asks where that directory is when the call returns; ``..`` led elsewhere before.
    """
    if source is None or raw.source is None or raw.path.name is None or raw.source.name is None:
        return False
    head, _, last = raw.path.name.rstrip(b"/").rpartition(b"/")
    source_head, _, source_last = raw.source.name.rstrip(b"/").rpartition(b"/")
    if (raw.path.base, head) == (raw.source.base, source_head):
        return False
    moved = {last, source_last} if raw.op is Op.EXCHANGE else {last}
    for operand, place in ((raw.path, target), (raw.source, source)):
        if operand.base is None or operand.inner is None or operand.name is None or operand.name[:1] == b"/":
            continue
        above = len(os.path.commonpath([operand.base, os.path.dirname(place.path)]))
        if not moved.isdisjoint(operand.base[above:].split(b"/")):
            return True
        # A name that leads through a directory or symlink was looked up where it was not: its place proves
        # nothing then. What moved is what has one of the new names by now.
        sides = (target, source) if raw.op is Op.EXCHANGE else (target,)
        if b"/" in operand.name and _is_or_lies_in(operand.base, moved, sides, disk):
            return True
    return False


def _is_or_lies_in(base: bytes, names: Collection[bytes], places: Sequence[Place], disk: Disk) -> bool:
    """Whether a directory, or one above it that bears one of these names, is at one of the places, too."""
    end = len(base)
    while end > 0:
        start = base.rfind(b"/", 0, end) + 1
        if base[start:end] in names:
            try:
                found = disk.lstat(base[:end])
                if any(os.path.samestat(found, disk.lstat(place.path)) for place in places):
                    return True
            except (OSError, ValueError):
                return True  # nobody can tell any more
        end = start - 1
    return False


def led_astray(raw: RawEvent, target: Place, source: Place | None, basis: Basis, disk: Disk) -> bool:
    """Whether a rename may have moved a symlink that one of its own names leads through.

    With ``l`` a symlink to ``.``, ``l/l`` is itself; what has its name when it is looked at afterwards is
    what came in its place.
    """
    if source is None or basis.rests_ns <= basis.since_ns:
        return False
    moved = {target.path[target.path.rfind(b"/") + 1 :], source.path[source.path.rfind(b"/") + 1 :]}
    for operand, place in ((raw.path, target), (raw.source, source)):
        if operand is None or operand.base is None or operand.name is None:
            continue
        way = {*operand.name.split(b"/")[:-1], *place.path.removeprefix(operand.base).split(b"/")[:-1]}
        if not moved.isdisjoint(way):
            # What a rename puts in the place of a symlink is no directory, so nothing is below it then.
            return raw.op is Op.EXCHANGE or not _is_there(disk, target.path)
    return False


def _is_there(disk: Disk, path: bytes) -> bool:
    try:
        disk.lstat(path)
    except (OSError, ValueError):
        return False
    return True
