"""Asks the disk of one mount namespace about names, but never the audited program itself.

A process can serve a file system (fuse(4)). One of the command's could answer the recorder otherwise than
it answered the call that is audited, or never: whoever waits for such an answer cannot even be killed. So
nothing below such a mount is asked about, and its names are as uncertain as those that nobody can look at.
Those that were there before the command began are served by somebody else, who is trusted like any disk.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import re
import select
import struct
from collections.abc import Callable, Iterator
from collections.abc import Set as AbstractSet
from typing import TypeVar

from writeaudit.paths import parent_directory, path_suffix
from writeaudit.resolve.mounts.registry import Privileged, unescape_field
from writeaudit.resolve.names.birth_time import birth_time_ns
from writeaudit.resolve.names.lookup import read_link

_T = TypeVar("_T")
_SERVED = re.compile(rb"^\d+ \d+ (\d+):(\d+) \S+ (\S+) [^\n]* - fuse(?:blk)?(?:\.\S*)? ", re.MULTILINE)
"""Device and mount point of a file system that a process serves, in mountinfo (proc_pid_mountinfo(5))."""
_TRIES = 3
_OPENAT2 = 437
"""The same number on every processor (openat2(2), Linux 5.6)."""
_HOW = struct.pack("=QQQ", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC, 0, 0x04)
"""struct open_how, with RESOLVE_NO_SYMLINKS: what took the place of a directory leads nowhere."""
_AT_FDCWD = -100
_libc = ctypes.CDLL(None, use_errno=True)


class Unasked(OSError):
    """It lies, or may lie, in a file system that is not asked."""

    def __init__(self) -> None:
        super().__init__(errno.EREMOTE, "its file system may be served by the audited program")


class Disk:
    """The names of a namespace as they are now. Every method raises OSError, `Unasked` among others."""

    def __init__(
        self,
        pid: int | str = "self",
        trusted: Callable[[], AbstractSet[int]] | None = None,
        privileged: Privileged | None = None,
    ) -> None:
        """``pid``: a process in the namespace, and in its root directory. Raises OSError if it is gone.

        ``trusted``: devices of served file systems that may be asked; None: those that are there now.
        """
        # Both outlive the process. Paths of our own namespace need no descriptor to begin at.
        self._mounts = -1
        self._root: int | None = None
        if not isinstance(pid, str):
            self._root, self._mounts = _open_root(pid, privileged)
        self._prefix = b"" if self._root is None else b"/proc/self/fd/%d" % self._root
        self._poll = select.poll()
        self._changed = False
        """Mounts have changed since they were read."""
        self._points: list[tuple[bytes, int]] = []
        """Where served file systems are mounted, with their devices."""
        try:
            if self._mounts < 0:
                self._mounts = os.open(f"/proc/{pid}/mountinfo", os.O_RDONLY | os.O_CLOEXEC)
            self._poll.register(self._mounts, select.POLLPRI)
            self._points = self._read_served()
        except OSError:
            # Without /proc nobody can tell mounts at all; of another namespace nothing is asked then.
            if pid != "self":
                self.close()
                raise
        self._ours = frozenset(dev for _, dev in self._points)
        self._trusted = trusted or self.trusted_devices

    def close(self) -> None:
        """Let go of the namespace."""
        for fd in (self._root, self._mounts):
            if fd is not None and fd >= 0:
                os.close(fd)
        self._root, self._mounts = None, -1

    def trusted_devices(self) -> AbstractSet[int]:
        """Return the devices of served file systems that were there at first, and still are."""
        self._watch_mounts()
        return self._ours

    def read_link(self, path: bytes) -> bytes:
        """Do what `os.readlink` does. A mount point is no symlink, so its own name may be asked about."""
        relative: Callable[..., bytes] = os.readlink
        return self._ask_safely(path, parent_directory(path), read_link, relative)

    def lstat(self, path: bytes) -> os.stat_result:
        """Do what `os.lstat` does."""
        return self._ask_safely(path, path, os.lstat, os.lstat)

    def birth_time_ns(self, path: bytes) -> int | None:
        """Return when a file was made; see `writeaudit.resolve.names.birth_time`."""
        return self._ask_safely(path, path, birth_time_ns, birth_time_ns)

    def _ask_safely(
        self, path: bytes, where: bytes, ask: Callable[[bytes], _T], relative: Callable[..., _T]
    ) -> _T:
        self._changed = self._changed or bool(self._poll.poll(0))
        if not (self._changed or self._points):
            return ask(self._prefix + path)
        if not self._watch_mounts():
            raise Unasked
        trusted = self._trusted() if self._points else frozenset[int]()
        shunned = [point for point, dev in self._points if dev not in trusted]
        if not shunned:
            return ask(self._prefix + path)
        if any(path_suffix(where, point) is not None for point in shunned):
            raise Unasked
        # A name that was a directory may be a symlink by now, which leads into what must not be asked.
        directory, _, name = path.rpartition(b"/")
        with self._open_directory(directory) as fd:
            return relative(name or b".", dir_fd=fd)

    @contextlib.contextmanager
    def _open_directory(self, directory: bytes) -> Iterator[int]:
        """Open a directory, of which no component is a symlink."""
        start, path = (
            (_AT_FDCWD, directory or b"/") if self._root is None else (self._root, directory[1:] or b".")
        )
        how = ctypes.create_string_buffer(_HOW, len(_HOW))
        fd = _libc.syscall(ctypes.c_long(_OPENAT2), start, path, how, ctypes.c_size_t(len(_HOW)))
        if fd < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        try:
            yield fd
        finally:
            os.close(fd)

    def _watch_mounts(self) -> bool:
        """Take note of mounts that changed; returns whether it is known what is mounted where.

        Costs one system call while nothing changes. What is mounted between that and the question is
        not noticed; but the first such mount of all would have to hit those microseconds.
        """
        for _ in range(_TRIES):
            if not (self._poll.poll(0) or self._changed):
                return True
            self._changed = True
            try:
                self._points = self._read_served()
            except OSError:
                return False
            self._changed = False
            self._ours &= {dev for _, dev in self._points}
        self._changed = True
        return False

    def _read_served(self) -> list[tuple[bytes, int]]:
        os.lseek(self._mounts, 0, os.SEEK_SET)
        text = b"".join(iter(lambda: os.read(self._mounts, 1 << 20), b""))
        return parse_served(text)


def _open_root(pid: int, privileged: Privileged | None) -> tuple[int, int]:
    """Return descriptors of a process's root directory and of its mountinfo. Raises OSError."""
    try:
        root = os.open(f"/proc/{pid}/root", os.O_PATH | os.O_CLOEXEC)
    except PermissionError:
        if privileged is None:
            raise
        return privileged.root_of(pid)
    try:
        return root, os.open(f"/proc/{pid}/mountinfo", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        os.close(root)
        raise


def parse_served(mountinfo: bytes) -> list[tuple[bytes, int]]:
    """Return the mount points of file systems that a process serves, with their devices."""
    if b" - fuse" not in mountinfo:
        return []
    return [
        (unescape_field(point), os.makedev(int(major), int(minor)))
        for major, minor, point in _SERVED.findall(mountinfo)
    ]
