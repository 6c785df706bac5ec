"""writeaudit's own look at the disk when an operation was refused: whose file, which mode, how full.

The answer to "why" is gone when the run is over (a full file system is empty again, a directory removed),
so it is asked for at once, and kept in the recording. Nothing here follows a symlink, opens a device, or
touches a file system whose server may be part of the run.
"""

from __future__ import annotations

import array
import contextlib
import fcntl
import grp
import os
import pwd
import stat
import struct
from collections.abc import Collection, Iterable, Iterator
from functools import lru_cache
from itertools import islice
from typing import NamedTuple

from writeaudit.audit import FileState, FileSystemState, Mount, Observation
from writeaudit.events import FsEvent, Op, Operand
from writeaudit.paths import path_suffix
from writeaudit.resolve.mounts.registry import mountinfo_of, namespace_of, parse_mountinfo

EXPLAINED = frozenset(
    {"EACCES", "EPERM", "EROFS", "ENOSPC", "EDQUOT", "EBUSY", "ETXTBSY", "EXDEV", "EMLINK", "EOVERFLOW"}
)
"""Refusals that the state of the disk explains."""

MOST = 512
_MOST_ALIKE = 2
"""How many observations a run has at most, and of refusals with one errno in one directory."""
_NOT_ASKED = ("fuse", "nfs", "9p", "cifs", "smb3", "ceph", "virtiofs", "autofs", "proc", "sysfs")
"""File systems that may not answer, or have nothing to say: what their types begin with."""
_FSGETXATTR = 0x801C581F
_IMMUTABLE, _APPEND = 0x8, 0x10
_HERE = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC


class View(NamedTuple):
    """The mounts of both sides of a link or rename, in the namespace of the process."""

    mount: Mount | None
    source_mount: Mount | None


def view_of(pids: Iterable[int], path: Operand, source: Operand, own_ns: int) -> View | None:
    """Return the mounts of two operands as a process sees them; None where that is as writeaudit does.

    ``pids``: the process, then those above it: one that is gone has left its mounts to its parent.
    """
    for pid in islice(pids, 8):
        namespace = namespace_of(pid)
        if namespace is None:
            continue
        table = None if namespace == own_ns else mountinfo_of(pid)
        if not table:
            return None
        mounts = parse_mountinfo(table, namespace, own=False)
        return View(_mount_of(mounts, path), _mount_of(mounts, source))
    return None


def _mount_of(mounts: Iterable[Mount], operand: Operand) -> Mount | None:
    name = operand.name or b""
    if operand.base is None and not name.startswith(b"/"):
        return None
    whole = os.path.normpath(os.path.join(operand.base or b"/", name))
    best: Mount | None = None
    for mount in mounts:
        # Of several at one mount point the last one lies on top.
        if path_suffix(whole, mount.mountpoint) is not None and (
            best is None or len(mount.mountpoint) >= len(best.mountpoint)
        ):
            best = mount
    return best


class Observer:
    """Looks, and remembers. ``uid`` and ``groups`` are those of the audited command."""

    def __init__(self, uid: int, groups: Collection[int]) -> None:
        self._uid = uid
        self._groups = frozenset(groups)
        self._alike: dict[tuple[bytes, str, bool], int] = {}
        self.all: list[Observation] = []

    def observe_refusal(self, event: FsEvent, mount: Mount | None, view: View | None = None) -> None:
        """Take a refused event; ``mount`` holds its path. Never raises `OSError`.

        ``view``: the mounts of both sides as the process has them, if it is in another mount namespace.
        """
        if event.result not in EXPLAINED:
            return
        if len(self.all) >= MOST or event.path[:1] != b"/":
            return
        if mount is None or not mount.own or mount.fstype.startswith(_NOT_ASKED):
            return
        alike = event.path.rpartition(b"/")[0], event.result, event.op is Op.ACCESS
        if self._alike.get(alike, 0) >= _MOST_ALIKE:
            return
        self._alike[alike] = self._alike.get(alike, 0) + 1
        with contextlib.suppress(OSError, ValueError):
            self.all.append(self._make_observation(event, view or View(None, None)))

    def _make_observation(self, event: FsEvent, view: View) -> Observation:
        file, directory, system = self._walk_path(event.path)
        source = None
        if event.source is not None and event.op in (Op.LINK, Op.RENAME, Op.EXCHANGE):
            source = self._walk_path(event.source)[0]
        return Observation(event.seq, file, directory, source, system, view.mount, view.source_mount)

    def list_states(self, paths: Iterable[bytes]) -> list[FileState]:
        """Return what is known of some files; without those that are not there."""
        found = []
        for path in islice(paths, 16):
            with contextlib.suppress(OSError, ValueError):
                state = self._walk_path(path)[0]
                if state is not None:
                    found.append(state)
        return found

    def _walk_path(self, path: bytes) -> tuple[FileState | None, FileState | None, FileSystemState | None]:
        """Return a file, the directory above it that decides, and their file system.

        That directory is the first on the way that the command may not search, or else the last
        one that is there.
        """
        at = os.open(b"/", _HERE | os.O_DIRECTORY)
        walked, closed = b"", False
        directory: FileState | None = None
        system: FileSystemState | None = None
        file: FileState | None = None
        try:
            parts = [part for part in path.split(b"/") if part]
            for number, part in enumerate(parts):
                here = _read_state(at, walked or b"/")
                if not closed:
                    directory, closed = here, not self._may_search(here)
                system = _read_file_system(at) or system
                try:
                    inner = os.open(part, _HERE, dir_fd=at)
                except OSError:
                    return None, directory, system
                os.close(at)
                at = inner
                walked += b"/" + part
                if number < len(parts) - 1 and not stat.S_ISDIR(os.fstat(at).st_mode):
                    return None, directory, system
            file = _read_state(at, walked or b"/")
            system = _read_file_system(at) or system
        finally:
            os.close(at)
        return file, directory, system

    def _may_search(self, directory: FileState) -> bool:
        if self._uid == 0 or directory.acl:
            return True
        if directory.uid == self._uid:
            return bool(directory.mode & 0o100)
        return bool(directory.mode & (0o010 if directory.gid in self._groups else 0o001))


def _read_state(fd: int, path: bytes) -> FileState:
    found = os.fstat(fd)
    flags, project = _read_attributes(fd, found.st_mode)
    return FileState(
        path,
        stat.S_IFMT(found.st_mode),
        stat.S_IMODE(found.st_mode),
        found.st_uid,
        found.st_gid,
        _user_name(found.st_uid),
        _group_name(found.st_gid),
        found.st_nlink,
        found.st_dev,
        found.st_ino,
        tuple(_read_acl(fd)),
        flags,
        project,
    )


def _read_file_system(fd: int) -> FileSystemState | None:
    try:
        found = os.fstatvfs(fd)
    except OSError:
        return None
    size = found.f_frsize or found.f_bsize
    return FileSystemState(found.f_blocks * size, found.f_bavail * size, found.f_files, found.f_favail)


def _read_attributes(fd: int, mode: int) -> tuple[tuple[str, ...], int | None]:
    """Return the flags and the project id of a file or directory, where its file system has such."""
    if not stat.S_ISDIR(mode) and not stat.S_ISREG(mode):
        return (), None
    try:
        opened = os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_NONBLOCK | os.O_NOATIME | os.O_CLOEXEC)
    except OSError:
        return (), None
    try:
        answer = array.array("B", bytes(28))
        fcntl.ioctl(opened, _FSGETXATTR, answer)
    except OSError:
        return (), None
    finally:
        os.close(opened)
    xflags, _size, _extents, project = struct.unpack_from("=4I", answer)
    flags = tuple(name for bit, name in ((_IMMUTABLE, "immutable"), (_APPEND, "append")) if xflags & bit)
    return flags, project


def _read_acl(fd: int) -> Iterator[str]:
    """Yield the entries of an access list that the permission bits do not show (acl(5))."""
    try:
        raw = os.getxattr(f"/proc/self/fd/{fd}", "system.posix_acl_access")
    except OSError:
        return
    for tag, bits, number in struct.iter_unpack("<HHI", raw[4 : 4 + (len(raw) - 4) // 8 * 8]):
        words = "".join(letter if bits & bit else "-" for letter, bit in (("r", 4), ("w", 2), ("x", 1)))
        if tag == 0x02:
            yield f"user:{_user_name(number)}:{words}"
        elif tag == 0x08:
            yield f"group:{_group_name(number)}:{words}"
        elif tag == 0x10:
            yield f"mask::{words}"


@lru_cache(maxsize=256)
def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except (KeyError, OverflowError):
        return str(uid)


@lru_cache(maxsize=256)
def _group_name(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except (KeyError, OverflowError):
        return str(gid)
