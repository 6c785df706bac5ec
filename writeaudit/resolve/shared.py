"""Files with more than one name that the run may change in place: which names they have.

A hard link that is older than the run shows in the number of links alone. So the other names are looked
for, by device and inode, in the zones of the policy, when the run is over: in bounded time, and with a
word where that was not enough.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterable

from writeaudit.audit import Mount, SharedFile
from writeaudit.events import FsEvent, Op
from writeaudit.paths import path_suffix

MOST_FILES = 4096
MOST_NAMES = 16
"""How many files are remembered, and how many names of each."""
_ENTRIES = 2_000_000
_SECONDS = 3.0
"""How much is looked through for the names."""
CHANGES_IN_PLACE = frozenset(
    {Op.OPEN, Op.TRUNCATE, Op.CHMOD, Op.CHOWN, Op.SETXATTR, Op.REMOVEXATTR, Op.SETFLAGS}
)
"""Operations that `SharedFiles.note_event` wants to know of."""
_BY_NAME = CHANGES_IN_PLACE - {Op.OPEN}
_NOT_ASKED = ("fuse", "nfs", "9p", "cifs", "smb3", "ceph", "virtiofs", "autofs", "proc", "sysfs")
_OTHER_INODES = frozenset({"overlay", "btrfs"})
"""File systems whose directories show other inode numbers than stat(2), or several devices in one mount."""


class SharedFiles:
    """Notes files that have other names when they are opened for writing or changed."""

    def __init__(self) -> None:
        self._found: dict[tuple[int, int], SharedFile] = {}
        self.overflown = False

    def note_event(self, event: FsEvent, nlink: int | None, mount: Mount | None) -> None:
        """Take an event that succeeded; ``nlink`` is what the kernel told of its file, if it did."""
        if event.op is Op.OPEN:
            if event.created or event.access is None or not event.access.writes:
                return
        elif event.op not in _BY_NAME:
            return
        dev, ino = event.dev, event.ino
        if nlink is None or ino is None or dev is None:
            if mount is None or not mount.own or mount.fstype.startswith(_NOT_ASKED):
                return
            try:
                found = os.lstat(event.path)
            except (OSError, ValueError):
                return
            if not stat.S_ISREG(found.st_mode):
                return
            dev, ino, nlink = found.st_dev, found.st_ino, found.st_nlink
        elif event.fmt != stat.S_IFREG:
            return
        if nlink < 2 or (dev, ino) in self._found:
            return
        if len(self._found) >= MOST_FILES:
            self.overflown = True
            return
        self._found[dev, ino] = SharedFile(event.seq, dev, ino, nlink, (event.path,))

    def search_names(self, places: Iterable[bytes], mounts: Iterable[Mount]) -> tuple[SharedFile, ...]:
        """Return the files, with the names that were found for them below ``places``, in their order."""
        if not self._found:
            return ()
        names = {key: list(file.names) for key, file in self._found.items()}
        inodes = {ino for _dev, ino in self._found}
        devices = {dev for dev, _ino in self._found}
        tables = [mount for mount in mounts if mount.own]
        until, entries, done = time.monotonic() + _SECONDS, 0, True
        seen: set[tuple[int, int]] = set()
        pending = list(reversed([*dict.fromkeys(places)]))
        while pending:
            directory = pending.pop()
            try:
                here = os.lstat(directory)
                if not stat.S_ISDIR(here.st_mode) or (here.st_dev, here.st_ino) in seen:
                    continue
                fstype = _type_of(directory, tables)
                if fstype.startswith(_NOT_ASKED):
                    continue
                asks = fstype in _OTHER_INODES
                if not asks and here.st_dev not in devices:
                    # Nothing on this device is wanted; what is mounted below it may be on another.
                    pending += _mounted_below(directory, tables)
                    continue
                seen.add((here.st_dev, here.st_ino))
                with os.scandir(directory) as listing:
                    for entry in listing:
                        entries += 1
                        if entry.is_dir(follow_symlinks=False):
                            pending.append(entry.path)
                        elif asks or entry.inode() in inodes:
                            found = entry.stat(follow_symlinks=False)
                            known = names.get((found.st_dev, found.st_ino))
                            if known is not None and entry.path not in known and len(known) < MOST_NAMES:
                                known.append(entry.path)
            except (OSError, ValueError):
                continue
            if entries > _ENTRIES or time.monotonic() > until:
                done = False
                break
        return tuple(
            file._replace(names=tuple(names[key]), searched=done and not self.overflown)
            for key, file in self._found.items()
        )


def _type_of(directory: bytes, mounts: Iterable[Mount]) -> str:
    best, fstype = -1, ""
    for mount in mounts:
        if len(mount.mountpoint) >= best and path_suffix(directory, mount.mountpoint) is not None:
            best, fstype = len(mount.mountpoint), mount.fstype
    return fstype


def _mounted_below(directory: bytes, mounts: Iterable[Mount]) -> list[bytes]:
    return [mount.mountpoint for mount in mounts if path_suffix(mount.mountpoint, directory)]
