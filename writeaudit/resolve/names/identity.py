"""Which file a name stands for, and whether a call made it: what lstat(2) and statx(2) say afterwards."""

from __future__ import annotations

import os
import stat

from writeaudit.events import RawEvent
from writeaudit.resolve.names.cache import NameCache
from writeaudit.resolve.names.disk import Disk, Unasked
from writeaudit.resolve.names.nodes import NameKind
from writeaudit.resolve.names.pending import NameFate, PendingEvents
from writeaudit.resolve.operands import ResolvedOperand


def identify_operand(resolved: ResolvedOperand, disk: Disk) -> os.stat_result | None:
    """Set device, inode and type of a place by its name; None if there is nothing of that name to be seen."""
    try:
        found = disk.lstat(resolved.path)
    except (OSError, ValueError):
        return None
    resolved.dev, resolved.ino, resolved.fmt = found.st_dev, found.st_ino, stat.S_IFMT(found.st_mode)
    return found


def removes_old_name(
    raw: RawEvent,
    source: ResolvedOperand,
    found: os.stat_result | None,
    disk: Disk,
    *,
    was_absent: bool,
    symlink: bool,
) -> bool | None:
    """Whether a rename took the old name away; None if nobody can tell.

    It does not if both were names of one file (rename(2)). ``found``: what is under the new name,
    under which there was nothing before if it ``was_absent``. ``symlink``: one of the names was one.
    """
    if was_absent or "noreplace" in raw.flags:
        return True
    if found is None:
        return None
    if stat.S_ISDIR(found.st_mode):
        return None if symlink else True  # a directory came there later: it replaces no symlink
    if found.st_nlink == 1:
        return True
    try:
        old = disk.lstat(source.path)
    except Unasked:
        return None
    except (OSError, ValueError):
        return True
    return not os.path.samestat(old, found)


def was_created(
    raw: RawEvent, path: bytes, key: bytes, cache: NameCache, pending: PendingEvents, disk: Disk
) -> bool:
    """Whether an open with O_CREAT made the file, where the backend could not tell."""
    if "excl" in raw.flags:
        return True
    known = cache.kind_before(key)
    if known is not NameKind.UNKNOWN:
        return known is NameKind.ABSENT
    step = pending.find_next_change(path, cache.seq)
    while step is not None and step.fate is NameFate.MOVED:
        path = step.to
        step = pending.find_next_change(path, step.seq)
    if step is not None:
        return True
    try:
        born = disk.birth_time_ns(path)
    except Unasked:
        return False
    except OSError:
        # Gone by now, and nobody spoke of it before: most such files are temporary ones.
        return True
    return born is not None and born >= raw.time_ns - raw.lasted_ns
