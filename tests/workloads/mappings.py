"""Shared mappings that become writable by another way than a plain mprotect(2), or do not."""

from __future__ import annotations

import ctypes
import os
import sys

from tests.workloads.calls import CWD, do, put, quiet, says, tell

_READ, _WRITE = 1, 2
_SHARED, _PRIVATE, _VALIDATED, _FIXED, _ANONYMOUS = 1, 2, 3, 0x10, 0x20
_MAY_MOVE = 1
_PKEY_MPROTECT = 329
_PAGE = 4096


def opened(path: bytes, how: int = os.O_RDWR) -> int:
    put(path, bytes(2 * _PAGE))
    return do(says("open", path), "openat", CWD, path, how)


def read_only(path: bytes, how: int = os.O_RDWR) -> int:
    """Return where a file is mapped, shared and to be read."""
    fd = opened(path, how)
    at = quiet("mmap", 0, 2 * _PAGE, _READ, _SHARED, fd, 0)
    quiet("close", fd)
    return at


def validated() -> None:
    """MAP_SHARED_VALIDATE is a type of its own."""
    fd = opened(b"validated")
    at = do(says("mmap_write", b"validated"), "mmap", 0, _PAGE, _READ | _WRITE, _VALIDATED, fd, 0)
    ctypes.memset(at, 1, 1)
    quiet("munmap", at, _PAGE)
    quiet("close", fd)


def by_key() -> None:
    at = read_only(b"by-key")
    libc = ctypes.CDLL(None, use_errno=True)
    arguments = map(ctypes.c_long, (_PKEY_MPROTECT, at, 2 * _PAGE, _READ | _WRITE, -1))
    if libc.syscall(*arguments):
        sys.exit("pkey_mprotect failed")
    tell(says("mmap_write", b"by-key"))
    quiet("munmap", at, 2 * _PAGE)


def moved() -> None:
    at = read_only(b"moved")
    blocker = quiet("mmap", 0, _PAGE, _READ, _PRIVATE | _ANONYMOUS, -1, 0)
    new = quiet("mremap", at, 2 * _PAGE, 16 * _PAGE, _MAY_MOVE)
    do(says("mmap_write", b"moved"), "mprotect", new, 2 * _PAGE, _READ | _WRITE)
    ctypes.memset(new, 1, 1)
    quiet("munmap", new, 16 * _PAGE)
    quiet("munmap", blocker, _PAGE)


def by_a_child() -> None:
    """A mapping is inherited, and made writable in the child alone."""
    at = read_only(b"by-a-child")
    pid = os.fork()
    if not pid:
        do(says("mmap_write", b"by-a-child"), "mprotect", at, _PAGE, _READ | _WRITE)
        ctypes.memset(at, 1, 1)
        os._exit(0)
    if os.waitpid(pid, 0)[1]:
        sys.exit("the child failed")
    quiet("munmap", at, 2 * _PAGE)


def reused() -> None:
    """The room of a mapping that is gone is used for memory, and for a mapping that is private."""
    for path, kind in ((b"reused-for-memory", _ANONYMOUS), (b"reused-by-itself", 0)):
        at = read_only(path)
        quiet("munmap", at, 2 * _PAGE)
        fd = -1 if kind else do(says("open", path), "openat", CWD, path, os.O_RDONLY)
        quiet("mmap", at, _PAGE + 1, _READ, _PRIVATE | _FIXED | kind, fd, 0)
        quiet("mprotect", at, 2 * _PAGE, _READ | _WRITE)
        ctypes.memset(at, 1, 1)
        quiet("munmap", at, 2 * _PAGE)


def refused() -> None:
    """A file that was opened to be read cannot be written through a mapping either."""
    at = read_only(b"refused", os.O_RDONLY)
    do(says("mmap_write", b"refused", result="EACCES"), "mprotect", at, 2 * _PAGE, _READ | _WRITE)
    quiet("munmap", at, 2 * _PAGE)


def not_of_a_file() -> None:
    """Plain shared memory changes no file."""
    at = quiet("mmap", 0, _PAGE, _READ | _WRITE, _SHARED | _ANONYMOUS, -1, 0)
    quiet("munmap", at, _PAGE)


def main() -> None:
    validated()
    by_key()
    moved()
    by_a_child()
    reused()
    refused()
    not_of_a_file()


if __name__ == "__main__":
    main()
