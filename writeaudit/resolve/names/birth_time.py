"""When a file was made: statx(2), which the standard library does not have."""

from __future__ import annotations

import ctypes
import os
import struct
import time

_AT_FDCWD, _AT_SYMLINK_NOFOLLOW = -100, 0x100
_STATX_BTIME = 0x800
_BTIME_AT = 80
"""Offset of stx_btime in struct statx: i64 seconds, u32 nanoseconds."""
_MASK_AT = 0
_SLACK_NS = 20_000_000
"""File systems stamp with the clock's last tick, which may be some milliseconds old."""

_statx = getattr(ctypes.CDLL(None, use_errno=True), "statx", None)
"""None with a C library that does not have it (glibc before 2.28)."""


def birth_time_ns(path: bytes, dir_fd: int | None = None) -> int | None:
    """Return when a file was made (CLOCK_MONOTONIC, ns, a little late); None if unknown.

    A relative path begins at the directory ``dir_fd``. Raises OSError if there is nothing of that name.
    """
    if _statx is None:
        os.lstat(path, dir_fd=dir_fd)
        return None
    buffer = ctypes.create_string_buffer(256)
    start = _AT_FDCWD if dir_fd is None else dir_fd
    if _statx(start, os.fsencode(path), _AT_SYMLINK_NOFOLLOW, _STATX_BTIME, buffer):
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error), path)
    if not struct.unpack_from("=I", buffer, _MASK_AT)[0] & _STATX_BTIME:
        return None
    seconds, nanoseconds = struct.unpack_from("=qI", buffer, _BTIME_AT)
    offset = time.time_ns() - time.monotonic_ns()
    return int(seconds * 1_000_000_000 + nanoseconds - offset + _SLACK_NS)
