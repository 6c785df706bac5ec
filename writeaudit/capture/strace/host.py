"""The running system, as `/proc` shows it: what the parser asks about a traced process."""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import struct

from writeaudit.capture.strace.lexer import strip_deleted
from writeaudit.capture.strace.state import NO_NAMES

_HANDLE = struct.Struct("=Ii")
"""struct file_handle: handle_bytes, handle_type; the handle itself follows."""
_LONGEST_PATH, _PAGE = 4096, 4096
_MOST_LINKS = 40
"""The kernel's own limit (path_resolution(7))."""


class ProcHost:
    """Answers from `/proc`; None for a process that is gone. See `state.Host`."""

    def read_cmdline(self, pid: int) -> tuple[bytes, ...] | None:
        """Return the arguments of a process."""
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                raw = file.read()
        except OSError:
            return None
        return tuple(raw.removesuffix(b"\0").split(b"\0")) if raw else None

    def read_cwd(self, tid: int) -> bytes | None:
        """Return the working directory of a thread; the name that it had, if it was removed meanwhile."""
        found = _read_link(f"/proc/{tid}/cwd")
        if found is None or os.path.lexists(found):
            return found
        return strip_deleted(found)[0]

    def read_exe(self, pid: int) -> bytes | None:
        """Return the path of the program that a process runs."""
        return _read_link(f"/proc/{pid}/exe")

    def read_root(self, tid: int) -> bytes | None:
        """Return the root directory of a thread."""
        return _read_link(f"/proc/{tid}/root")

    def list_threads(self, pid: int) -> tuple[int, ...]:
        """Return the threads of a process."""
        try:
            return tuple(sorted(map(int, os.listdir(f"/proc/{pid}/task"))))
        except OSError:
            return ()

    def mount_ns(self, tid: int) -> int | None:
        """Return the inode number of a thread's mount namespace."""
        return _read_namespace(str(tid))

    def open_file(self, pid: int, fd: int) -> bytes | None:
        """Return what a descriptor refers to."""
        return _read_link(f"/proc/{pid}/fd/{fd}")

    def file_type(self, path: bytes) -> int | None:
        """Return the file type bits of a path."""
        try:
            return stat.S_IFMT(os.lstat(path).st_mode)
        except OSError:
            return None

    def open_type(self, pid: int, fd: int, path: bytes) -> int | None:
        """Return the file type bits of what a descriptor refers to; None if that is not at ``path``."""
        try:
            found = os.stat(f"/proc/{pid}/fd/{fd}")
        except OSError:
            return None
        return stat.S_IFMT(found.st_mode) if self.open_file(pid, fd) == path else None

    def gains_privileges(self, path: bytes, tid: int) -> bool:
        """Whether a program has a setuid or setgid bit, or file capabilities, that mean anything to a thread.

        Nothing is gained by root, nor by whoever the program belongs to. In doubt it is gained.
        """
        try:
            program = os.stat(path)
            bits = program.st_mode & (stat.S_ISUID | stat.S_ISGID)
            if not bits and "security.capability" not in os.listxattr(path):
                return False
        except OSError:
            return False
        try:
            user = os.stat(f"/proc/{tid}").st_uid
        except OSError:
            return True
        return user != 0 and (bits != stat.S_ISUID or user != program.st_uid)

    def real_path(self, path: bytes) -> bytes | None:
        """Return the path of a directory without symlinks."""
        try:
            real = os.path.realpath(path)
        except (OSError, RecursionError):
            return None
        # Longer than PATH_MAX it cannot be looked up, and was reached step by step.
        return real if os.path.isdir(real) or len(real) >= _LONGEST_PATH else None

    def names_on(self, path: bytes) -> frozenset[bytes]:
        """Return the names on the way that a path leads, those of the symlinks on it included.

        Up to the first that is not there: what was there before had that name.
        """
        met = set(path.split(b"/"))
        here, todo, links = b"", path.split(b"/")[::-1], 0
        while todo and links <= _MOST_LINKS:
            name = todo.pop()
            if name in NO_NAMES:
                if name == b"..":
                    here = here[: max(here.rfind(b"/"), 0)]
                continue
            try:
                target = os.readlink(here + b"/" + name)
            except OSError as error:
                if error.errno != errno.EINVAL:
                    break
                here += b"/" + name
                continue
            links += 1
            met.update(target.split(b"/"))
            todo.extend(target.split(b"/")[::-1])
            if target[:1] == b"/":
                here = b""
        return frozenset(met)

    def find_parent(self, tid: int) -> tuple[int, int] | None:
        """Return the process that a thread belongs to, and that process's parent."""
        try:
            with open(f"/proc/{tid}/status", "rb") as file:
                fields = dict(line.split(b":", 1) for line in file if b":" in line)
            return int(fields[b"Tgid"]), int(fields[b"PPid"])
        except (OSError, KeyError, ValueError):
            return None

    def by_handle(self, near: bytes, kind: int, handle: bytes) -> bytes | None:
        """Return the path of a file in the file system of ``near``; takes CAP_DAC_READ_SEARCH."""
        try:
            if not (stat.S_ISDIR(mode := os.stat(near).st_mode) or stat.S_ISREG(mode)):
                return None  # to open a device may have effects
            where = os.open(near, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            raw = ctypes.create_string_buffer(_HANDLE.pack(len(handle), kind) + handle)
            fd = ctypes.CDLL(None, use_errno=True).open_by_handle_at(where, raw, os.O_PATH | os.O_CLOEXEC)
        finally:
            os.close(where)
        if fd < 0:
            return None
        try:
            path = _read_link(f"/proc/self/fd/{fd}")
        finally:
            os.close(fd)
        # The name of a file that was looked up by its handle alone may not be known to the kernel.
        return None if path in (None, b"/") or strip_deleted(path or b"")[1] else path

    def text_at(self, tid: int, address: int) -> bytes | None:
        """Return a string that lies in a process's memory now; what the process does to it is its own."""
        try:
            with open(f"/proc/{tid}/mem", "rb", buffering=0) as memory:
                memory.seek(address)
                raw = b""
                while len(raw) < _LONGEST_PATH and b"\0" not in raw:
                    # Not beyond the page: the next one may not be there.
                    chunk = memory.read(_PAGE - (address + len(raw)) % _PAGE)
                    if not chunk:
                        return None  # the process has ended
                    raw += chunk
        except (OSError, OverflowError, ValueError):
            return None
        text, end, _rest = raw.partition(b"\0")
        return text if end else None


def _read_link(path: str) -> bytes | None:
    try:
        return os.readlink(os.fsencode(path))
    except OSError:
        return None


def own_mount_ns() -> int | None:
    """Return the inode number of writeaudit's own mount namespace."""
    return _read_namespace("self")


def _read_namespace(who: str) -> int | None:
    try:
        return os.stat(f"/proc/{who}/ns/mnt").st_ino
    except OSError:
        return None
