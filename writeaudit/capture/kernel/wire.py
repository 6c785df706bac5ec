"""From the bytes of the ring buffer to records. The host's half of probes/events.h.

Pure: no kernel, no files. The structs below are compared with the C side by
tests/unit/capture/kernel/test_wire_layout.py.
"""

from __future__ import annotations

import enum
import os
import struct

from writeaudit.events import Access

HEAD = struct.Struct("=QIIHHBBH")
EVENT = struct.Struct("=QIIHHBBHqQQQQ")
OPERAND = struct.Struct("=QQQIIIIHHHHHHH2x")
TOTAL = struct.Struct("=QIIHHBBHQQQ")
TASK = struct.Struct("=QIIHHBBHII")
MOUNT = struct.Struct("=QIIHHBBHQIIIIIHHHHI")


class RecordKind(enum.IntEnum):
    """enum wa_kind."""

    EVENT = 1
    TOTAL = 2
    FORK = 3
    EXEC = 4
    EXIT = 5
    MOUNT = 6
    URING_DONE = 7


class F(enum.IntFlag):
    """WA_F_*: what is known of an operand."""

    BASE = 0x0001
    NAME = 0x0002
    FILE = 0x0004
    TEXT = 0x0008
    TRUNCATED = 0x0010
    FAULT = 0x0020
    DELETED = 0x0040
    DETACHED = 0x0080
    UNREACHABLE = 0x0100
    MAGIC = 0x0200
    ROOT = 0x0400
    NOFD = 0x0800
    INTERNAL = 0x1000
    ELSEWHERE = 0x2000
    KNOWN = 0x4000


H_IO_URING, H_COMPAT, H_NEW_MNT_NS, H_MORE, H_COREDUMP, H_SAME_MM, H_DOUBTFUL = 1, 2, 4, 8, 16, 32, 64
H_JOINED = 128

_O_TMPFILE = 0o20000000
_OPEN_FLAGS = (
    (os.O_CREAT, "creat"),
    (os.O_EXCL, "excl"),
    (os.O_TRUNC, "trunc"),
    (os.O_APPEND, "append"),
    (_O_TMPFILE, "tmpfile"),
    (os.O_DIRECTORY, "directory"),
)
_ACCESS = (Access.READ, Access.WRITE, Access.READ_WRITE, Access.READ_WRITE)


def decode_open_flags(flags: int) -> tuple[Access, tuple[str, ...]]:
    """Return the access and the names of the flags of an open(2)."""
    if flags & os.O_PATH:
        # The kernel ignores every other flag with this one, O_DIRECTORY and O_NOFOLLOW apart.
        return Access.PATH, ("directory",) if flags & os.O_DIRECTORY else ()
    names = [name for bit, name in _OPEN_FLAGS if flags & bit]
    if flags & _O_TMPFILE and flags & os.O_DIRECTORY:
        names = [name for name in names if name not in ("directory", "creat", "excl")]
    return _ACCESS[flags & os.O_ACCMODE], tuple(names)


def kernel_dev(dev: int) -> int:
    """Turn the kernel's own dev_t (major << 20 | minor) into that of `os.makedev`."""
    return os.makedev(dev >> 20, dev & 0xFFFFF)


def reversed_path(components: bytes) -> bytes:
    """Return the absolute path of components that are written last one first."""
    if not components:
        return b"/"
    return b"/" + b"/".join(reversed(components[:-1].split(b"\0")))
