"""Every way in which a file's data changes by a call on it: writes, truncation, allocation, mappings."""

from __future__ import annotations

import ctypes
import os
import struct

from tests.workloads.calls import CWD, attempt, call, do, put, quiet, says

_SPACE_IOCTLS = (
    (0x40305828, "keep_size"), (0x4030582A, "keep_size"), (0x40305829, "keep_size punch_hole"),
    (0x4030582B, "keep_size punch_hole"), (0x40305839, "keep_size zero_range"),
)  # fmt: skip
_PUNCH, _KEEP, _COLLAPSE, _ZERO, _INSERT = 0x02, 0x01, 0x08, 0x10, 0x20
_READ, _WRITE, _SHARED, _PRIVATE = 1, 2, 1, 2


def opened(path: bytes, how: int, access: str, flags: str = "", created: bool = False) -> int:
    return do(
        says("open", path, access=access, flags=flags, created=created), "openat", CWD, path, how, 0o644
    )


def _vector(*parts: bytes) -> tuple[bytes, list[ctypes.Array[ctypes.c_char]]]:
    buffers = [ctypes.create_string_buffer(part, len(part)) for part in parts]
    return b"".join(struct.pack("=QQ", ctypes.addressof(b), len(b)) for b in buffers), buffers


def writes() -> None:
    fd = opened(b"w", os.O_RDWR | os.O_CREAT, "rw", flags="creat", created=True)
    # One event for all that is written through one open file, at the place of the first.
    do(says("write", b"w", bytes=4 + 3 + 6 + 5 + 5, calls=5), "write", fd, b"data", 4)
    quiet("pwrite64", fd, b"abc", 3, 100)
    vector, _kept = _vector(b"one", b"two")
    quiet("writev", fd, vector, 2)
    five, _kept5 = _vector(b"five!")
    quiet("pwritev", fd, five, 1, 200, 0)
    quiet("pwritev2", fd, five, 1, 300, 0, 0)
    quiet("write", fd, b"", 0)
    quiet("close", fd)
    other = opened(b"w", os.O_WRONLY | os.O_APPEND, "w", flags="append")
    do(says("write", b"w", bytes=2, calls=1), "write", other, b"zz", 2)
    quiet("close", other)
    reader = opened(b"w", os.O_RDONLY, "r")
    do(says("write", b"w", result="EBADF"), "write", reader, b"x", 1)
    quiet("close", reader)


def truncation() -> None:
    put(b"t", b"0123456789")
    do(says("truncate", b"t"), "truncate", b"t", 4)
    do(says("truncate", b"no", result="ENOENT"), "truncate", b"no", 4)
    fd = opened(b"t", os.O_RDWR, "rw")
    do(says("truncate", b"t"), "ftruncate", fd, 4096)
    do(says("truncate", b"t", result="EINVAL"), "ftruncate", fd, -1)
    do(says("fallocate", b"t", flags=""), "fallocate", fd, 0, 0, 8192)
    do(says("fallocate", b"t", flags="keep_size"), "fallocate", fd, _KEEP, 0, 65536)
    call_or_not(fd, b"t", "punch_hole keep_size", _PUNCH | _KEEP)
    call_or_not(fd, b"t", "zero_range", _ZERO)
    call_or_not(fd, b"t", "collapse_range", _COLLAPSE)
    call_or_not(fd, b"t", "insert_range", _INSERT)
    do(says("fallocate", b"t", result="EINVAL"), "fallocate", fd, 0, 0, -5)
    quiet("close", fd)
    do(says("symlink", b"tl", text=b"t"), "symlink", b"t", b"tl")
    do(says("truncate", b"t"), "truncate", b"tl", 1)


def call_or_not(fd: int, path: bytes, words: str, mode: int) -> None:
    """Allocate in a way that not every file system knows."""
    attempt(says("fallocate", path, flags=words), "fallocate", fd, mode, 0, 4096)


def reserved() -> None:
    """The ioctls that are fallocate(2) in another form (struct space_resv)."""
    put(b"r", b"0123456789")
    fd = opened(b"r", os.O_RDWR, "rw")
    room = struct.pack("=hh4xqqiI16x", 0, 0, 0, 4096, 0, 0)
    for command, words in _SPACE_IOCTLS:
        attempt(says("fallocate", b"r", flags=words), "ioctl", fd, command, room)
    quiet("close", fd)
    reader = opened(b"r", os.O_RDONLY, "r")
    attempt(says("fallocate", b"r", flags="keep_size"), "ioctl", reader, 0x40305828, room)
    quiet("close", reader)


def mappings() -> None:
    put(b"m", bytes(8192))
    fd = opened(b"m", os.O_RDWR, "rw")
    at = do(says("mmap_write", b"m"), "mmap", 0, 4096, _READ | _WRITE, _SHARED, fd, 0)
    ctypes.memmove(at, b"mapped", 6)
    quiet("munmap", at, 4096)
    # Private, or only to be read: the file cannot change by it.
    quiet("munmap", quiet("mmap", 0, 4096, _READ | _WRITE, _PRIVATE, fd, 0), 4096)
    reader = opened(b"m", os.O_RDONLY, "r")
    quiet("munmap", quiet("mmap", 0, 4096, _READ, _SHARED, reader, 0), 4096)
    do(says("mmap_write", b"m", result="EACCES"), "mmap", 0, 4096, _READ | _WRITE, _SHARED, reader, 0)
    quiet("close", reader)
    put(b"later", bytes(4096))
    late = opened(b"later", os.O_RDWR, "rw")
    at = quiet("mmap", 0, 4096, _READ, _SHARED, late, 0)
    quiet("close", late)
    do(says("mmap_write", b"later"), "mprotect", at, 4096, _READ | _WRITE)
    ctypes.memmove(at, b"later", 5)
    quiet("munmap", at, 4096)
    quiet("close", fd)


def asynchronous() -> None:
    """io_submit(2): the writes of one call, by the file that each goes to."""
    context = ctypes.create_string_buffer(8)
    if call("io_setup", 4, context) < 0:
        return
    number = struct.unpack("=Q", context.raw)[0]
    fd = opened(b"aio", os.O_RDWR | os.O_CREAT, "rw", flags="creat", created=True)
    data = ctypes.create_string_buffer(b"asynchronous", 12)
    block = ctypes.create_string_buffer(
        struct.pack("=QIIHhIQQqQII", 0, 0, 0, 1, 0, fd, ctypes.addressof(data), 12, 0, 0, 0, 0), 64
    )
    pointers = struct.pack("=Q", ctypes.addressof(block))
    do(says("write", b"aio", bytes=12, flags="aio"), "io_submit", number, 1, pointers)
    events = ctypes.create_string_buffer(32)
    quiet("io_getevents", number, 1, 1, events, 0)
    quiet("io_destroy", number)
    quiet("close", fd)


def main() -> None:
    writes()
    truncation()
    reserved()
    mappings()
    asynchronous()


if __name__ == "__main__":
    main()
