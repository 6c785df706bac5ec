"""Calls that come to nothing: writes that fail again and again, names that cannot be read, x32."""

from __future__ import annotations

import ctypes
import os

from tests.workloads.calls import CWD, NAMES, NUMBERS, do, put, quiet, says, tell

_X32 = 0x40000000


def writes() -> None:
    put(b"read-only")
    fd = do(says("open", b"read-only"), "openat", CWD, b"read-only", os.O_RDONLY)
    for _ in range(3):
        do(says("write", b"read-only", result="EBADF"), "write", fd, b"x", 1)
    quiet("close", fd)


def unreadable() -> None:
    """Address 0 holds no name. (Where the other name is unreadable too, no path says which event it was.)"""
    step = says("rename", b"new", text=b"", result="EFAULT", but="unreadable-names")
    do(step, "rename", 0, b"new")


def of_x32() -> None:
    """Most kernels have no such calls; a program for x32 has its names below 4 GB, this one has not."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syscall(ctypes.c_long(_X32 | NUMBERS["mkdir"]), b"by-x32", 0o700) == 0:
        tell(says("mkdir", b"by-x32", but="x32-names"))
    else:
        tell(says("mkdir", b"by-x32", result=NAMES[ctypes.get_errno()], but="x32-names"))


def main() -> None:
    writes()
    unreadable()
    of_x32()


if __name__ == "__main__":
    main()
