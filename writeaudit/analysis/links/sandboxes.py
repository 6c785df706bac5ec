"""Mounts that a run made for processes of its own: a sandbox binds directories one by one.

Names are resolved to files of writeaudit's own mount namespace, where two such directories may lie on one
mount; for the process they are two, and the kernel asks the mounts of the process.
"""

from __future__ import annotations

import zlib
from collections import defaultdict

from writeaudit.analysis.collector import RunContext
from writeaudit.analysis.links.copies import RefusedLink
from writeaudit.audit import Mount
from writeaudit.events import FsEvent

_MOST = 1 << 12


class Sandboxes:
    """Keeps the mount points that each process made."""

    def __init__(self, context: RunContext) -> None:
        self._context = context
        self._made: defaultdict[int, list[bytes]] = defaultdict(list)
        self._count = 0

    def note_mount(self, event: FsEvent) -> None:
        """Take a `mount` event."""
        if event.ok and self._count < _MOST:
            self._count += 1
            self._made[event.pid].append(event.path)

    def find_mounts(self, refusal: RefusedLink, mount: Mount) -> tuple[Mount, Mount]:
        """Return the mounts of source and target of a refused link or rename as its process sees them.

        ``mount`` is that of both in writeaudit's own namespace.
        """
        points = self._mount_points_over(refusal.pid, refusal.time_ns) if self._made else []
        source, target = _point_above(refusal.source, points), _point_above(refusal.target, points)
        if source == target:
            return mount, mount
        return _as_seen(mount, source), _as_seen(mount, target)

    def _mount_points_over(self, pid: int, time_ns: int) -> list[bytes]:
        """Return the mount points that a process and those above it made."""
        family = self._context.table.find_family(pid, time_ns)
        if family is None:
            return list(self._made.get(pid, ()))
        points: list[bytes] = []
        while family is not None:
            points += self._made.get(family.pid, ())
            family = family.parent
        return points


def _point_above(path: bytes, points: list[bytes]) -> bytes | None:
    """Return the directory above a path that was mounted.

    A sandbox mounts below its new root directory (``/newroot/srv/cache``): no part of the name later.
    """
    while path.count(b"/") > 1:
        path = path[: path.rfind(b"/")]
        if any(point == path or point.endswith(path) for point in points):
            return path
    return None


def _as_seen(mount: Mount, point: bytes | None) -> Mount:
    if point is None:
        return mount
    number = -1 - zlib.crc32(point)
    return mount._replace(id=number, mountpoint=point, own=False)
