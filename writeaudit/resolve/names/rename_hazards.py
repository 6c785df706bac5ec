"""Renames that disturb the very names that they are made by."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Collection

from writeaudit.events import Op, RawEvent
from writeaudit.paths import last_component
from writeaudit.resolve.names.disk import Disk
from writeaudit.resolve.names.evidence import Evidence
from writeaudit.resolve.operands import ResolvedOperand

_TICK_NS = 10_000_000
"""How late the clock may be that file systems take their times from."""


def moves_own_base(
    raw: RawEvent, target: ResolvedOperand, source: ResolvedOperand | None, since_ns: int, disk: Disk
) -> bool:
    """Whether a rename may have moved the very directory that one of its names begins at.

    The kernel side asks where that directory is when the call returns; ``..`` led elsewhere before.
    ``since_ns``: when the call may have taken effect at the earliest.
    """
    if source is None or raw.source is None or raw.path.name is None or raw.source.name is None:
        return False
    head, _, last = raw.path.name.rstrip(b"/").rpartition(b"/")
    source_head, _, source_last = raw.source.name.rstrip(b"/").rpartition(b"/")
    if (raw.path.base, head) == (raw.source.base, source_head):
        return False
    moved = {last, source_last} if raw.op is Op.EXCHANGE else {last}
    for operand, resolved in ((raw.path, target), (raw.source, source)):
        if operand.base is None or operand.inner is None or operand.name is None or operand.name[:1] == b"/":
            continue
        above = len(os.path.commonpath([operand.base, os.path.dirname(resolved.path)]))
        if not moved.isdisjoint(operand.base[above:].split(b"/")):
            return True
    # A name that leads on from a directory that moved was looked up where that is now, so its place proves
    # nothing. What lies in that directory cannot change places with it.
    if raw.path.base == raw.source.base and not (head and source_head):
        return False
    return any(
        lead
        and operand.base is not None
        and _has_moved(operand.base, moved, raw.op, target, source, since_ns, disk)
        for operand, lead in ((raw.path, head), (raw.source, source_head))
        if operand.name is not None and operand.name[:1] != b"/"
    )


def _has_moved(
    base: bytes,
    names: Collection[bytes],
    op: Op,
    target: ResolvedOperand,
    source: ResolvedOperand,
    since_ns: int,
    disk: Disk,
) -> bool:
    """Whether a directory, or one above it, of one of these names, has been moved: that changes its ctime."""
    earliest_ns = since_ns - _TICK_NS + time.time_ns() - time.monotonic_ns()
    end = len(base)
    while end > 0:
        start = base.rfind(b"/", 0, end) + 1
        if base[start:end] in names:
            try:
                if disk.lstat(base[:end]).st_ctime_ns >= earliest_ns:
                    # Its entries may have changed as well. A file that has just come to be where one was to
                    # go, and is gone where it was, says that it was a file that moved.
                    return (
                        op is Op.EXCHANGE
                        or not _came_later(target, earliest_ns, disk)
                        or _is_there(disk, source.path)
                    )
            except (OSError, ValueError):
                return True  # nobody can tell any more
        end = start - 1
    return False


def _came_later(resolved: ResolvedOperand, earliest_ns: int, disk: Disk) -> bool:
    found = disk.lstat(resolved.path)
    return not stat.S_ISDIR(found.st_mode) and found.st_ctime_ns >= earliest_ns


def moves_own_symlink(
    raw: RawEvent, target: ResolvedOperand, source: ResolvedOperand | None, evidence: Evidence, disk: Disk
) -> bool:
    """Whether a rename may have moved a symlink that one of its own names leads through.

    With ``l`` a symlink to ``.``, ``l/l`` is itself; what has its name when it is looked at afterwards is
    what came in its place.
    """
    if source is None or evidence.rests_ns <= evidence.since_ns:
        return False
    moved = {last_component(target.path), last_component(source.path)}
    for operand, resolved in ((raw.path, target), (raw.source, source)):
        if operand is None or operand.base is None or operand.name is None:
            continue
        way = {*operand.name.split(b"/")[:-1], *resolved.path.removeprefix(operand.base).split(b"/")[:-1]}
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
