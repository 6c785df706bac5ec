"""The running system, as `/proc` shows it: what the parser asks about a traced process."""

from __future__ import annotations

import os
import stat


class ProcHost:
    """Answers from `/proc`; None for a process that is gone. See `strace_state.Host`."""

    def cmdline(self, pid: int) -> tuple[bytes, ...] | None:
        """Return the arguments of a process."""
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                raw = file.read()
        except OSError:
            return None
        return tuple(raw.removesuffix(b"\0").split(b"\0")) if raw else None

    def cwd(self, tid: int) -> bytes | None:
        """Return the working directory of a thread."""
        return _link(f"/proc/{tid}/cwd")

    def mount_ns(self, tid: int) -> int | None:
        """Return the inode number of a thread's mount namespace."""
        return _namespace(str(tid))

    def open_file(self, pid: int, fd: int) -> bytes | None:
        """Return what a descriptor refers to."""
        return _link(f"/proc/{pid}/fd/{fd}")

    def file_type(self, path: bytes) -> int | None:
        """Return the file type bits of a path."""
        try:
            return stat.S_IFMT(os.lstat(path).st_mode)
        except OSError:
            return None

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
        """Return a path without symlinks."""
        return os.path.realpath(path)

    def parent(self, tid: int) -> tuple[int, int] | None:
        """Return the process that a thread belongs to, and that process's parent."""
        try:
            with open(f"/proc/{tid}/status", "rb") as file:
                fields = dict(line.split(b":", 1) for line in file if b":" in line)
            return int(fields[b"Tgid"]), int(fields[b"PPid"])
        except (OSError, KeyError, ValueError):
            return None


def _link(path: str) -> bytes | None:
    try:
        return os.readlink(os.fsencode(path))
    except OSError:
        return None


def own_mount_ns() -> int | None:
    """Return the inode number of writeaudit's own mount namespace."""
    return _namespace("self")


def _namespace(who: str) -> int | None:
    try:
        return os.stat(f"/proc/{who}/ns/mnt").st_ino
    except OSError:
        return None
