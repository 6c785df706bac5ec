"""System calls as they are, each with a word on how it must be recorded.

``do(says("open", b"a", access="w"), "openat", CWD, b"a", O_WRONLY)`` makes the call, fails if its
result is not what `says` says, and tells the step on the descriptor WA_STORY_FD. The C library is
passed by: what it would make of a call differs from version to version.

Numbers are those of x86-64, the one processor that all backends know.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import sys
from dataclasses import dataclass, replace

CWD = -100
"""AT_FDCWD."""

NUMBERS = {
    "read": 0, "write": 1, "open": 2, "close": 3, "mmap": 9, "mprotect": 10, "munmap": 11, "ioctl": 16,
    "pwrite64": 18, "writev": 20, "access": 21, "faccessat": 269, "faccessat2": 439,
    "mremap": 25, "dup": 32, "sendfile": 40, "socket": 41, "bind": 49,
    "truncate": 76, "ftruncate": 77, "chdir": 80, "fchdir": 81, "rename": 82, "mkdir": 83, "rmdir": 84,
    "creat": 85, "link": 86, "unlink": 87, "symlink": 88, "chmod": 90, "fchmod": 91, "chown": 92,
    "fchown": 93, "lchown": 94, "utime": 132, "mknod": 133, "pivot_root": 155, "chroot": 161,
    "mount": 165, "umount2": 166, "setxattr": 188, "lsetxattr": 189, "fsetxattr": 190, "removexattr": 197,
    "lremovexattr": 198, "fremovexattr": 199, "io_setup": 206, "io_destroy": 207, "io_getevents": 208,
    "io_submit": 209, "utimes": 235, "openat": 257, "mkdirat": 258, "mknodat": 259, "fchownat": 260,
    "futimesat": 261, "unlinkat": 263, "renameat": 264, "linkat": 265, "symlinkat": 266, "fchmodat": 268,
    "unshare": 272, "splice": 275, "utimensat": 280, "fallocate": 285, "pwritev": 296,
    "name_to_handle_at": 303, "open_by_handle_at": 304, "setns": 308, "renameat2": 316,
    "copy_file_range": 326, "pwritev2": 328, "open_tree": 428, "move_mount": 429, "fsopen": 430,
    "fsconfig": 431, "fsmount": 432, "pidfd_open": 434, "openat2": 437, "pidfd_getfd": 438,
    "mount_setattr": 442, "fchmodat2": 452, "setxattrat": 463, "removexattrat": 466,
    "file_setattr": 469,
}  # fmt: skip

NAMES = {**errno.errorcode, errno.EOPNOTSUPP: "EOPNOTSUPP", errno.EDEADLK: "EDEADLK"}
"""Of the two names that some errnos have, that of the manual pages."""

_syscall = ctypes.CDLL(None, use_errno=True).syscall
_syscall.restype = ctypes.c_long

GROUND = os.getcwdb()
"""Where the workload runs: its relative names are below it."""
_STORY = int(os.environ.get("WA_STORY_FD", "1"))

Value = str | int | bool | list[str] | None
Argument = int | bytes | ctypes.Array[ctypes.c_char] | None


@dataclass(frozen=True)
class Says:
    """How an operation must be recorded."""

    op: str
    path: bytes
    source: bytes | None
    result: str
    more: dict[str, Value]
    but: str


def here(path: bytes) -> bytes:
    """Return a path below the ground as an absolute one."""
    return path if path.startswith(b"/") else GROUND + b"/" + path if path else GROUND


def says(
    op: str,
    path: bytes,
    source: bytes | None = None,
    result: str = "ok",
    *,
    text: bytes | None = None,
    but: str = "",
    **more: Value,
) -> Says:
    """Return an expectation. Relative paths are below the ground; ``text`` is a symlink's content.

    ``flags`` is a text of words, in any order.
    """
    if isinstance(flags := more.get("flags"), str):
        more["flags"] = list(flags.split())
    origin = text if text is not None else None if source is None else here(source)
    return Says(op, here(path), origin, result, more, but)


def tell(step: Says) -> None:
    """Write a step down."""
    line = {
        "op": step.op,
        "path": step.path.decode("latin-1"),
        "source": None if step.source is None else step.source.decode("latin-1"),
        "result": step.result,
        "more": step.more,
        "but": step.but,
    }
    os.write(_STORY, json.dumps(line).encode() + b"\n")


def call(name: str, *args: Argument) -> int:
    """Make a system call; returns its result, or minus the errno."""
    words = [arg if isinstance(arg, bytes | ctypes.Array) else ctypes.c_long(arg or 0) for arg in args]
    ctypes.set_errno(0)
    result = int(_syscall(ctypes.c_long(NUMBERS[name]), *words))
    return result if result >= 0 else -ctypes.get_errno()


def do(step: Says, name: str, *args: Argument) -> int:
    """Make a call and tell its step. Ends the workload if the call goes another way."""
    result = call(name, *args)
    found = "ok" if result >= 0 else NAMES[-result]
    if found != step.result:
        sys.exit(f"{name}{args}: {found}, not {step.result}")
    tell(step)
    return result


def attempt(step: Says, name: str, *args: Argument) -> int:
    """Make a call and tell its step with whatever result it has."""
    result = call(name, *args)
    tell(replace(step, result="ok" if result >= 0 else NAMES[-result]))
    return result


def quiet(name: str, *args: Argument) -> int:
    """Make a call that is no operation of the vocabulary; it must succeed."""
    result = call(name, *args)
    if result < 0:
        sys.exit(f"{name}{args}: {os.strerror(-result)}")
    return result


def put(path: bytes, data: bytes = b"") -> None:
    """Make a file, or fill one, and tell so: an open, and a write if there is anything to write."""
    new = not os.path.lexists(path)
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    fd = do(
        says("open", path, access="w", flags="creat trunc", created=new), "openat", CWD, path, flags, 0o644
    )
    if data:
        do(says("write", path, bytes=len(data), calls=1), "write", fd, data, len(data))
    quiet("close", fd)
