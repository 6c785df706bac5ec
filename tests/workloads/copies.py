"""Data that goes from file to file inside the kernel: copies, and clones where the file system has them.

Under a file system without reflinks the clones fail, which is recorded all the same. With the
argument ``reflinks`` they must succeed.
"""

from __future__ import annotations

import os
import struct
import sys

from tests.workloads.calls import CWD, attempt, do, put, quiet, says

_FICLONE, _FICLONERANGE, _FIDEDUPERANGE = 0x40049409, 0x4020940D, 0xC0189436
_BLOCK = 4096


def opened(path: bytes, flags: int) -> int:
    access = ("r", "w", "rw")[flags & os.O_ACCMODE]
    return do(says("open", path, access=access), "openat", CWD, path, flags, 0o644)


def copied() -> None:
    put(b"source", b"s" * 3 * _BLOCK)
    source = opened(b"source", os.O_RDONLY)
    target = opened(b"range", os.O_RDWR | os.O_CREAT)
    do(says("copy", b"range", b"source", bytes=_BLOCK),
       "copy_file_range", source, 0, target, 0, _BLOCK, 0)  # fmt: skip
    do(says("copy", b"range", b"source", bytes=2 * _BLOCK),
       "copy_file_range", source, 0, target, 0, 9 * _BLOCK, 0)  # fmt: skip
    quiet("close", target)
    os.lseek(source, 0, os.SEEK_SET)
    target = opened(b"sent", os.O_WRONLY | os.O_CREAT)
    do(says("copy", b"sent", b"source", bytes=_BLOCK), "sendfile", target, source, 0, _BLOCK)
    quiet("close", target)
    target = opened(b"sent", os.O_RDONLY)
    do(says("copy", b"sent", b"source", result="EBADF"), "sendfile", target, source, 0, _BLOCK)
    do(says("copy", b"sent", b"source", result="EBADF"),
       "copy_file_range", source, 0, target, 0, _BLOCK, 0)  # fmt: skip
    quiet("close", target)
    # Into a pipe nothing is written to a file; out of it is.
    out, into = os.pipe()
    quiet("splice", source, 0, into, 0, _BLOCK, 0)
    target = opened(b"spliced", os.O_WRONLY | os.O_CREAT)
    do(says("copy", b"spliced", bytes=_BLOCK), "splice", out, 0, target, 0, _BLOCK, 0)
    quiet("close", target)
    quiet("close", source)
    os.close(out)
    os.close(into)


def cloned(certain: bool) -> None:
    make = do if certain else attempt
    source = opened(b"source", os.O_RDONLY)
    target = opened(b"clone", os.O_RDWR | os.O_CREAT)
    make(says("clone", b"clone", b"source"), "ioctl", target, _FICLONE, source)
    quiet("close", target)
    target = opened(b"cloned-part", os.O_RDWR | os.O_CREAT)
    part = struct.pack("=qQQQ", source, 0, _BLOCK, 0)
    make(says("clone", b"cloned-part", b"source"), "ioctl", target, _FICLONERANGE, part)
    quiet("close", target)
    put(b"same", b"s" * 3 * _BLOCK)
    same = opened(b"same", os.O_RDWR)
    request = struct.pack("=QQHHIqQQiI", 0, 3 * _BLOCK, 1, 0, 0, same, 0, 0, 0, 0)
    if certain:
        do(
            says("clone", b"same", b"source", flags="dedupe", bytes=3 * _BLOCK),
            "ioctl",
            source,
            _FIDEDUPERANGE,
            request,
        )
    quiet("close", same)
    quiet("close", source)
    elsewhere = os.open("/proc/self/status", os.O_RDONLY)
    target = opened(b"clone", os.O_RDWR)
    attempt(says("clone", b"clone", b"/proc/%d/status" % os.getpid()), "ioctl", target, _FICLONE, elsewhere)
    quiet("close", target)


def main() -> None:
    copied()
    cloned("reflinks" in sys.argv)


if __name__ == "__main__":
    main()
