"""Which system calls are recorded, and where their paths and arguments lie.

One table for each way into the kernel: on x86-64 64-bit calls, 32-bit calls (``int 0x80``
and the like) and x32, on aarch64 64-bit calls. The kernel side looks a call up by number and
does what the entry says (probes/events.h, struct wa_spec); so a new call is a line in here.

Numbers: the kernel's arch/x86/entry/syscalls tables and include/uapi/asm-generic/unistd.h,
which never change.
"""

from __future__ import annotations

import enum
import os
import struct
from typing import NamedTuple


class WireOp(enum.IntEnum):
    """enum wa_op of probes/events.h."""

    NONE = 0
    OPEN = 1
    OPENAT2 = 2
    CREAT = 3
    MKDIR = 4
    MKNOD = 5
    BIND = 6
    SYMLINK = 7
    LINK = 8
    RENAME = 9
    UNLINK = 10
    RMDIR = 11
    WRITE = 12
    COPY = 13
    IOCTL = 14
    CLONE = 15
    DEDUPE = 16
    SETFLAGS = 17
    MMAP = 18
    MPROTECT = 19
    TRUNCATE = 20
    FALLOCATE = 21
    CHMOD = 22
    CHOWN = 23
    UTIME = 24
    SETXATTR = 25
    REMOVEXATTR = 26
    MOUNT = 27
    MOVE_MOUNT = 28
    MOUNT_SETATTR = 29
    UMOUNT = 30
    CHROOT = 31
    PIVOT_ROOT = 32
    UNSHARE = 33
    AIO_WRITE = 34
    URING = 35
    HANDLE = 36
    MREMAP = 37
    SOCKETCALL = 38
    OLD_MMAP = 39
    URING_OTHER = 40
    MMAP_OTHER = 41
    SUBVOL_CREATE = 42
    SUBVOL_SNAPSHOT = 43
    SUBVOL_DESTROY = 44
    CLOSE = 45
    CHDIR = 46
    OPEN_TREE = 47
    ACCESS = 48
    RESTRICT = 49
    UNKNOWN = 50
    MADVISE = 51
    OUTSIDE = 52
    PTRACE = 53
    CONNECT = 54
    ACCT = 55


class Arg(enum.IntEnum):
    """enum wa_operand_kind of probes/events.h: how to find an operand."""

    NONE = 0
    CWD = 1
    AT = 2
    FD = 3
    OPEN_CWD = 4
    OPEN_AT = 5
    TEXT = 6
    SOCKADDR = 7
    FILE = 8
    ROOT = 9


NO_ARG = 0xFF
IN_KERNEL = 0x80
"""WA_ARG_KERNEL, added to a kind: the path is the kernel's own copy of it."""
ABI_64, ABI_32, ABI_X32, ABI_URING, SPECS = 0, 512, 1024, 1100, 2048

_SPEC = struct.Struct("=12B4x")
"""struct wa_spec; `tests/unit/capture/kernel/test_wire_layout.py` compares it with the C side."""


class Where(NamedTuple):
    """One operand: its kind, the argument with the directory, the argument with the path or fd."""

    kind: int
    """An `Arg`, with `IN_KERNEL` where that holds."""
    directory: int = 0
    argument: int = 0


_NOWHERE = Where(Arg.NONE)


class SyscallSpec(NamedTuple):
    """What to record of a system call."""

    op: WireOp
    path: Where
    source: Where = _NOWHERE
    args: tuple[int, ...] = ()
    """Indices of the arguments to send along, at most three."""
    rare: bool = False
    """Wake the host at once: paths may mean something else from here on."""

    def pack(self) -> bytes:
        """Return the entry as struct wa_spec."""
        args = (*self.args, NO_ARG, NO_ARG, NO_ARG)[:3]
        return _SPEC.pack(
            self.op,
            self.path.kind,
            self.path.directory,
            self.path.argument,
            self.source.kind,
            self.source.directory,
            self.source.argument,
            *args,
            self.rare,
            0,
        )


def _cwd(argument: int) -> Where:
    return Where(Arg.CWD, 0, argument)


def _at(directory: int, argument: int) -> Where:
    return Where(Arg.AT, directory, argument)


def _fd(argument: int) -> Where:
    return Where(Arg.FD, 0, argument)


def _text(argument: int) -> Where:
    return Where(Arg.TEXT, 0, argument)


_CALLS: dict[str, SyscallSpec] = {
    # Open: the file itself if it worked, the name if not. args: flags, mode.
    "open": SyscallSpec(WireOp.OPEN, Where(Arg.OPEN_CWD, 0, 0), args=(1, 2)),
    "openat": SyscallSpec(WireOp.OPEN, Where(Arg.OPEN_AT, 0, 1), args=(2, 3)),
    "openat2": SyscallSpec(WireOp.OPENAT2, Where(Arg.OPEN_AT, 0, 1)),
    "creat": SyscallSpec(WireOp.CREAT, Where(Arg.OPEN_CWD, 0, 0), args=(NO_ARG, 1)),
    "open_by_handle_at": SyscallSpec(WireOp.HANDLE, Where(Arg.OPEN_CWD, 0, 6), args=(2,)),
    # Names. args: flags, mode, device.
    "mkdir": SyscallSpec(WireOp.MKDIR, _cwd(0), args=(NO_ARG, 1)),
    "mkdirat": SyscallSpec(WireOp.MKDIR, _at(0, 1), args=(NO_ARG, 2)),
    "mknod": SyscallSpec(WireOp.MKNOD, _cwd(0), args=(NO_ARG, 1, 2)),
    "mknodat": SyscallSpec(WireOp.MKNOD, _at(0, 1), args=(NO_ARG, 2, 3)),
    "bind": SyscallSpec(WireOp.BIND, Where(Arg.SOCKADDR, 0, 1)),
    "socketcall": SyscallSpec(WireOp.SOCKETCALL, Where(Arg.SOCKADDR, 0, 1)),
    "symlink": SyscallSpec(WireOp.SYMLINK, _cwd(1), _text(0)),
    "symlinkat": SyscallSpec(WireOp.SYMLINK, _at(1, 2), _text(0)),
    "link": SyscallSpec(WireOp.LINK, _cwd(1), _cwd(0)),
    "linkat": SyscallSpec(WireOp.LINK, _at(2, 3), _at(0, 1), args=(4,)),
    "rename": SyscallSpec(WireOp.RENAME, _cwd(1), _cwd(0)),
    "renameat": SyscallSpec(WireOp.RENAME, _at(2, 3), _at(0, 1)),
    "renameat2": SyscallSpec(WireOp.RENAME, _at(2, 3), _at(0, 1), args=(4,)),
    "unlink": SyscallSpec(WireOp.UNLINK, _cwd(0)),
    "unlinkat": SyscallSpec(WireOp.UNLINK, _at(0, 1), args=(2,)),
    "rmdir": SyscallSpec(WireOp.RMDIR, _cwd(0)),
    # Data.
    "write": SyscallSpec(WireOp.WRITE, _fd(0)),
    "pwrite64": SyscallSpec(WireOp.WRITE, _fd(0)),
    "writev": SyscallSpec(WireOp.WRITE, _fd(0)),
    "pwritev": SyscallSpec(WireOp.WRITE, _fd(0)),
    "pwritev2": SyscallSpec(WireOp.WRITE, _fd(0)),
    "copy_file_range": SyscallSpec(WireOp.COPY, _fd(2), _fd(0)),
    "sendfile": SyscallSpec(WireOp.COPY, _fd(0), _fd(1)),
    "sendfile64": SyscallSpec(WireOp.COPY, _fd(0), _fd(1)),
    "splice": SyscallSpec(WireOp.COPY, _fd(2), _fd(0)),
    "ioctl": SyscallSpec(WireOp.IOCTL, _fd(0), args=(1, 2, 4)),
    "mmap": SyscallSpec(WireOp.MMAP, _fd(4), args=(1, 2, 3)),
    "old_mmap": SyscallSpec(WireOp.OLD_MMAP, _fd(4), args=(1, 2, 3)),
    "mprotect": SyscallSpec(WireOp.MPROTECT, _NOWHERE, args=(0, 1, 2)),
    "pkey_mprotect": SyscallSpec(WireOp.MPROTECT, _NOWHERE, args=(0, 1, 2)),
    "mremap": SyscallSpec(WireOp.MREMAP, _NOWHERE, args=(0, 1, 2)),
    "truncate": SyscallSpec(WireOp.TRUNCATE, _cwd(0), args=(1,)),
    "truncate64": SyscallSpec(WireOp.TRUNCATE, _cwd(0), args=(1,)),
    "ftruncate": SyscallSpec(WireOp.TRUNCATE, _fd(0), args=(1,)),
    "ftruncate64": SyscallSpec(WireOp.TRUNCATE, _fd(0), args=(1,)),
    "fallocate": SyscallSpec(WireOp.FALLOCATE, _fd(0), args=(1, 2, 3)),
    "io_submit": SyscallSpec(WireOp.AIO_WRITE, _fd(5), args=(4,)),
    "io_uring_setup": SyscallSpec(WireOp.URING, _NOWHERE),
    # Metadata. args: flags (AT_*), mode.
    "chmod": SyscallSpec(WireOp.CHMOD, _cwd(0), args=(NO_ARG, 1)),
    "fchmod": SyscallSpec(WireOp.CHMOD, _fd(0), args=(NO_ARG, 1)),
    "fchmodat": SyscallSpec(WireOp.CHMOD, _at(0, 1), args=(NO_ARG, 2)),
    "fchmodat2": SyscallSpec(WireOp.CHMOD, _at(0, 1), args=(3, 2)),
    "chown": SyscallSpec(WireOp.CHOWN, _cwd(0), args=(NO_ARG, 1, 2)),
    "lchown": SyscallSpec(WireOp.CHOWN, _cwd(0), args=(NO_ARG, 1, 2)),
    "fchown": SyscallSpec(WireOp.CHOWN, _fd(0), args=(NO_ARG, 1, 2)),
    "fchownat": SyscallSpec(WireOp.CHOWN, _at(0, 1), args=(4, 2, 3)),
    "utime": SyscallSpec(WireOp.UTIME, _cwd(0)),
    "utimes": SyscallSpec(WireOp.UTIME, _cwd(0)),
    "futimesat": SyscallSpec(WireOp.UTIME, _at(0, 1)),
    "utimensat": SyscallSpec(WireOp.UTIME, _at(0, 1), args=(3,)),
    "setxattr": SyscallSpec(WireOp.SETXATTR, _cwd(0), _text(1)),
    "lsetxattr": SyscallSpec(WireOp.SETXATTR, _cwd(0), _text(1)),
    "fsetxattr": SyscallSpec(WireOp.SETXATTR, _fd(0), _text(1)),
    "setxattrat": SyscallSpec(WireOp.SETXATTR, _at(0, 1), _text(3), args=(2,)),
    "removexattr": SyscallSpec(WireOp.REMOVEXATTR, _cwd(0), _text(1)),
    "lremovexattr": SyscallSpec(WireOp.REMOVEXATTR, _cwd(0), _text(1)),
    "fremovexattr": SyscallSpec(WireOp.REMOVEXATTR, _fd(0), _text(1)),
    "removexattrat": SyscallSpec(WireOp.REMOVEXATTR, _at(0, 1), _text(3), args=(2,)),
    "file_setattr": SyscallSpec(WireOp.SETFLAGS, _at(0, 1), args=(4,)),
    # Asks, and changes nothing. args: flags, what for.
    "access": SyscallSpec(WireOp.ACCESS, _cwd(0), args=(NO_ARG, 1)),
    "faccessat": SyscallSpec(WireOp.ACCESS, _at(0, 1), args=(NO_ARG, 2)),
    "faccessat2": SyscallSpec(WireOp.ACCESS, _at(0, 1), args=(3, 2)),
    # What has others do something, or hands them something to do it with. args: the process.
    "madvise": SyscallSpec(WireOp.MADVISE, _NOWHERE, args=(0, 1, 2)),
    "process_madvise": SyscallSpec(WireOp.OUTSIDE, _NOWHERE, args=(NO_ARG, 3)),
    "ptrace": SyscallSpec(WireOp.PTRACE, _NOWHERE, args=(1,)),
    "process_vm_writev": SyscallSpec(WireOp.OUTSIDE, _NOWHERE, args=(0,)),
    "pidfd_getfd": SyscallSpec(WireOp.OUTSIDE, _NOWHERE),
    "userfaultfd": SyscallSpec(WireOp.OUTSIDE, _NOWHERE),
    "connect": SyscallSpec(WireOp.CONNECT, Where(Arg.SOCKADDR, 0, 1)),
    "acct": SyscallSpec(WireOp.ACCT, _cwd(0)),
    # What restricts the process and its children from here on.
    "landlock_restrict_self": SyscallSpec(WireOp.RESTRICT, _fd(0)),
    # What moves the meaning of later paths.
    "mount": SyscallSpec(WireOp.MOUNT, _cwd(1), _cwd(0), args=(3,), rare=True),
    "move_mount": SyscallSpec(WireOp.MOVE_MOUNT, _at(2, 3), _at(0, 1), args=(4,), rare=True),
    "mount_setattr": SyscallSpec(WireOp.MOUNT_SETATTR, _at(0, 1), args=(2,), rare=True),
    "umount": SyscallSpec(WireOp.UMOUNT, _cwd(0), rare=True),
    "umount2": SyscallSpec(WireOp.UMOUNT, _cwd(0), args=(1,), rare=True),
    "chroot": SyscallSpec(WireOp.CHROOT, _cwd(0), rare=True),
    "pivot_root": SyscallSpec(WireOp.PIVOT_ROOT, _cwd(0), _cwd(1), rare=True),
    "unshare": SyscallSpec(WireOp.UNSHARE, _NOWHERE, args=(0,), rare=True),
    "setns": SyscallSpec(WireOp.UNSHARE, _NOWHERE, args=(1,), rare=True),
    "open_tree": SyscallSpec(WireOp.OPEN_TREE, _NOWHERE),
    "open_tree_attr": SyscallSpec(WireOp.OPEN_TREE, _NOWHERE),
    "fsmount": SyscallSpec(WireOp.OPEN_TREE, _NOWHERE),
    # What requests to io_uring begin at. The path: which descriptor it is; none if it may be any.
    "close": SyscallSpec(WireOp.CLOSE, _fd(0)),
    "dup2": SyscallSpec(WireOp.CLOSE, _fd(1)),
    "dup3": SyscallSpec(WireOp.CLOSE, _fd(1)),
    "close_range": SyscallSpec(WireOp.CLOSE, _NOWHERE),
    "chdir": SyscallSpec(WireOp.CHDIR, _NOWHERE),
    "fchdir": SyscallSpec(WireOp.CHDIR, _NOWHERE),
}

NOFOLLOW_CALLS = frozenset({"lchown", "lsetxattr", "lremovexattr"})
"""Calls that never follow a symlink at the end of the name, and have no flag that says so."""

# fmt: off
_NUMBERS_64: dict[str, int] = {
    "madvise": 28, "connect": 42, "ptrace": 101, "acct": 163, "process_vm_writev": 311, "userfaultfd": 323,
    "pidfd_getfd": 438, "process_madvise": 440,
    "write": 1, "open": 2, "close": 3, "mmap": 9, "mprotect": 10, "ioctl": 16, "pwrite64": 18, "writev": 20,
    "access": 21, "faccessat": 269, "faccessat2": 439, "landlock_restrict_self": 446,
    "mremap": 25, "dup2": 33, "sendfile": 40, "bind": 49, "truncate": 76, "ftruncate": 77, "chdir": 80,
    "fchdir": 81, "rename": 82, "mkdir": 83, "rmdir": 84, "creat": 85, "link": 86, "unlink": 87,
    "symlink": 88, "chmod": 90, "fchmod": 91,
    "chown": 92, "fchown": 93, "lchown": 94, "utime": 132, "mknod": 133, "pivot_root": 155,
    "chroot": 161, "mount": 165, "umount2": 166, "setxattr": 188, "lsetxattr": 189, "fsetxattr": 190,
    "removexattr": 197, "lremovexattr": 198, "fremovexattr": 199, "io_submit": 209, "utimes": 235,
    "openat": 257, "mkdirat": 258, "mknodat": 259, "fchownat": 260, "futimesat": 261, "unlinkat": 263,
    "renameat": 264, "linkat": 265, "symlinkat": 266, "fchmodat": 268, "unshare": 272, "splice": 275,
    "utimensat": 280, "fallocate": 285, "dup3": 292, "pwritev": 296, "open_by_handle_at": 304, "setns": 308,
    "renameat2": 316, "copy_file_range": 326, "pwritev2": 328, "pkey_mprotect": 329,
    "io_uring_setup": 425, "open_tree": 428, "move_mount": 429, "fsmount": 432, "close_range": 436,
    "openat2": 437, "mount_setattr": 442, "fchmodat2": 452, "setxattrat": 463, "removexattrat": 466,
    "open_tree_attr": 467, "file_setattr": 469,
}
_NUMBERS_32: dict[str, int] = {
    "madvise": 219, "connect": 362, "ptrace": 26, "acct": 51, "process_vm_writev": 348, "userfaultfd": 374,
    "pidfd_getfd": 438, "process_madvise": 440,
    "write": 4, "open": 5, "close": 6, "creat": 8, "link": 9, "unlink": 10, "chdir": 12, "mknod": 14,
    "chmod": 15, "lchown": 16,
    "access": 33, "faccessat": 307, "faccessat2": 439, "landlock_restrict_self": 446,
    "mount": 21, "umount": 22, "utime": 30, "rename": 38, "mkdir": 39, "rmdir": 40, "ioctl": 54,
    "dup2": 63, "fchdir": 133, "dup3": 330,
    "chroot": 61, "symlink": 83, "old_mmap": 90, "truncate": 92, "ftruncate": 93, "fchmod": 94, "fchown": 95,
    "umount2": 52, "socketcall": 102,
    "mprotect": 125, "writev": 146, "mremap": 163, "pwrite64": 181, "chown": 182, "sendfile": 187,
    "mmap": 192, "truncate64": 193, "ftruncate64": 194, "lchown32": 198, "fchown32": 207, "chown32": 212,
    "pivot_root": 217, "setxattr": 226, "lsetxattr": 227, "fsetxattr": 228, "removexattr": 235,
    "lremovexattr": 236, "fremovexattr": 237, "sendfile64": 239, "io_submit": 248, "utimes": 271,
    "openat": 295, "mkdirat": 296, "mknodat": 297, "fchownat": 298, "futimesat": 299, "unlinkat": 301,
    "renameat": 302, "linkat": 303, "symlinkat": 304, "fchmodat": 306, "unshare": 310, "splice": 313,
    "utimensat": 320, "fallocate": 324, "pwritev": 334, "open_by_handle_at": 342, "setns": 346,
    "renameat2": 353, "bind": 361, "copy_file_range": 377, "pwritev2": 379, "pkey_mprotect": 380,
    "utimensat_time64": 412, "io_uring_setup": 425, "open_tree": 428, "move_mount": 429, "fsmount": 432,
    "close_range": 436, "openat2": 437, "mount_setattr": 442, "fchmodat2": 452, "setxattrat": 463,
    "removexattrat": 466, "open_tree_attr": 467, "file_setattr": 469,
}
_NUMBERS_X32: dict[str, int] = {
    "ptrace": 521, "process_vm_writev": 540,
    "ioctl": 514, "writev": 516, "pwritev": 535, "io_submit": 544, "pwritev2": 547,
}
_NUMBERS_ARM64: dict[str, int] = {
    "madvise": 233, "connect": 203, "ptrace": 117, "acct": 89, "process_vm_writev": 271, "userfaultfd": 282,
    "pidfd_getfd": 438, "process_madvise": 440,
    "io_submit": 2, "setxattr": 5, "lsetxattr": 6, "fsetxattr": 7, "removexattr": 14,
    "lremovexattr": 15, "fremovexattr": 16, "dup3": 24, "ioctl": 29, "mknodat": 33, "mkdirat": 34,
    "unlinkat": 35, "symlinkat": 36, "linkat": 37, "renameat": 38, "umount2": 39, "mount": 40,
    "pivot_root": 41, "truncate": 45, "ftruncate": 46, "fallocate": 47, "faccessat": 48, "chdir": 49,
    "fchdir": 50, "chroot": 51, "fchmod": 52, "fchmodat": 53, "fchownat": 54, "fchown": 55,
    "openat": 56, "close": 57, "write": 64, "writev": 66, "pwrite64": 68, "pwritev": 70, "sendfile": 71,
    "splice": 76, "utimensat": 88, "unshare": 97, "bind": 200, "mremap": 216, "mmap": 222,
    "mprotect": 226, "open_by_handle_at": 265, "setns": 268, "renameat2": 276, "copy_file_range": 285,
    "pwritev2": 287, "pkey_mprotect": 288, "io_uring_setup": 425, "open_tree": 428, "move_mount": 429,
    "fsmount": 432, "close_range": 436, "openat2": 437, "faccessat2": 439, "mount_setattr": 442,
    "landlock_restrict_self": 446, "fchmodat2": 452, "setxattrat": 463, "removexattrat": 466,
    "open_tree_attr": 467, "file_setattr": 469,
}
_URING_FILE = Where(Arg.FILE, 0, 5)
_KERNEL_AT, _KERNEL_TEXT = Arg.AT | IN_KERNEL, Arg.TEXT | IN_KERNEL
# By io_uring's operation codes; how the arguments are laid out: probes/uring.h.
_URING: dict[int, tuple[str, SyscallSpec]] = {
    2: ("writev", SyscallSpec(WireOp.WRITE, _URING_FILE)),
    5: ("write_fixed", SyscallSpec(WireOp.WRITE, _URING_FILE)),
    17: ("fallocate", SyscallSpec(WireOp.FALLOCATE, _URING_FILE)),
    18: ("openat", SyscallSpec(WireOp.OPEN, Where(_KERNEL_AT, 0, 1), args=(2, 3))),
    19: ("close", SyscallSpec(WireOp.CLOSE, _NOWHERE)),
    23: ("write", SyscallSpec(WireOp.WRITE, _URING_FILE)),
    28: ("openat2", SyscallSpec(WireOp.OPEN, Where(_KERNEL_AT, 0, 1), args=(2, 3, 4))),
    30: ("splice", SyscallSpec(WireOp.COPY, _URING_FILE)),
    35: ("renameat", SyscallSpec(WireOp.RENAME, Where(_KERNEL_AT, 2, 3), Where(_KERNEL_AT, 0, 1), (4,))),
    36: ("unlinkat", SyscallSpec(WireOp.UNLINK, Where(_KERNEL_AT, 0, 1), args=(2,))),
    37: ("mkdirat", SyscallSpec(WireOp.MKDIR, Where(_KERNEL_AT, 0, 1), args=(NO_ARG, 2))),
    38: ("symlinkat", SyscallSpec(WireOp.SYMLINK, Where(_KERNEL_AT, 1, 2), Where(_KERNEL_TEXT, 0, 0))),
    39: ("linkat", SyscallSpec(WireOp.LINK, Where(_KERNEL_AT, 2, 3), Where(_KERNEL_AT, 0, 1), (4,))),
    41: ("fsetxattr", SyscallSpec(WireOp.SETXATTR, _URING_FILE, Where(_KERNEL_TEXT, 0, 2))),
    42: ("setxattr", SyscallSpec(WireOp.SETXATTR, Where(_KERNEL_AT, 0, 1), Where(_KERNEL_TEXT, 0, 2))),
    46: ("uring_cmd", SyscallSpec(WireOp.URING_OTHER, _NOWHERE)),
    55: ("ftruncate", SyscallSpec(WireOp.TRUNCATE, _URING_FILE)),
    56: ("bind", SyscallSpec(WireOp.URING_OTHER, _NOWHERE)),
    25: ("madvise", SyscallSpec(WireOp.URING_OTHER, _NOWHERE)),
    61: ("writev_fixed", SyscallSpec(WireOp.WRITE, _URING_FILE)),
    64: ("uring_cmd128", SyscallSpec(WireOp.URING_OTHER, _NOWHERE)),
}
# fmt: on
_SAME_AS = {
    "lchown32": "lchown",
    "fchown32": "fchown",
    "chown32": "chown",
    "utimensat_time64": "utimensat",
}
"""32-bit calls that differ from their namesakes in the width of an argument we do not read."""


_NUMBERS: dict[str, tuple[tuple[int, dict[str, int]], ...]] = {
    "x86_64": ((ABI_64, _NUMBERS_64), (ABI_32, _NUMBERS_32), (ABI_X32 - 512, _NUMBERS_X32)),
    "aarch64": ((ABI_64, _NUMBERS_ARM64),),
}
"""By machine (`uname -m`): where in the table the numbers of each kind of call begin, and these."""
_KNOWN: dict[str, tuple[int, int, int, int]] = {
    "x86_64": (472, 472, 548, 65),
    "aarch64": (472, 0, 0, 65),
}
"""See `known_numbers`; as of Linux 7.2. No 32-bit call of aarch64 is known."""


def known_numbers(machine: str = "") -> tuple[int, int, int, int]:
    """Return the first number that nothing is known of: 64-bit calls, 32-bit ones, x32's own, io_uring's.

    A followed process that uses that number or a later one is a blind spot.
    """
    return _KNOWN.get(machine or os.uname().machine, _KNOWN["x86_64"])


def pack_table(machine: str = "") -> tuple[bytes, dict[int, str]]:
    """Return the table as the kernel side holds it (struct wa_table), and the name of each row.

    ``machine``: `uname -m` of another processor than this one.
    """
    rows = bytearray(_SPEC.size * SPECS)
    names: dict[int, str] = {}
    for start, numbers in _NUMBERS.get(machine or os.uname().machine, _NUMBERS["x86_64"]):
        for name, number in numbers.items():
            row = start + number
            call = _CALLS[_SAME_AS.get(name, name)]
            rows[row * _SPEC.size : (row + 1) * _SPEC.size] = call.pack()
            names[row] = _SAME_AS.get(name, name)
    for opcode, (name, call) in _URING.items():
        row = ABI_URING + opcode
        rows[row * _SPEC.size : (row + 1) * _SPEC.size] = call.pack()
        names[row] = name
    return bytes(rows), names
