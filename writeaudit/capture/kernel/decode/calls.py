"""What each kind of system call means: from a `DecodedCall` as recorded to the fields of an event. Pure."""

from __future__ import annotations

import functools
import os
import stat
from collections.abc import Callable, Sequence
from typing import NamedTuple

from writeaudit.capture.kernel.wire import decode_open_flags
from writeaudit.capture.syscalls import NOFOLLOW_CALLS, WireOp
from writeaudit.events import Access, Doubt, Op, Operand, RawEvent

FMODE_CREATED = 0x100000
"""The kernel's FMODE_CREATED: this open made the file (Linux 4.19)."""
STORED = frozenset({stat.S_IFREG, stat.S_IFBLK})
"""Types of files whose content lies on a disk."""

_AT_SYMLINK_NOFOLLOW, _AT_REMOVEDIR, _AT_SYMLINK_FOLLOW = 0x100, 0x200, 0x400
_RENAME_NOREPLACE, _RENAME_EXCHANGE, _RENAME_WHITEOUT = 1, 2, 4
_CLONE_NEWNS = 0x00020000
_RESOLVE_NO_XDEV, _RESOLVE_BENEATH, _RESOLVE_IN_ROOT = 0x01, 0x08, 0x10
_RESOLVE = {_RESOLVE_NO_XDEV: "no_xdev", _RESOLVE_BENEATH: "beneath"}
"""How openat2(2) keeps a name from leading elsewhere: EXDEV if it would."""
_MS_REMOUNT, _MS_BIND, _MS_MOVE = 32, 4096, 8192
_MS_BITS = {1: "ro", _MS_REMOUNT: "remount", _MS_BIND: "bind", _MS_MOVE: "move", 16384: "rec"}
_FALLOCATE = (
    (0x01, "keep_size"),
    (0x02, "punch_hole"),
    (0x08, "collapse_range"),
    (0x10, "zero_range"),
    (0x20, "insert_range"),
    (0x40, "unshare_range"),
)
_SPACE: dict[int, int] = {0x5828: 0x01, 0x582A: 0x01, 0x5829: 0x03, 0x582B: 0x03, 0x5839: 0x11}
"""The mode of fallocate(2) that an ioctl stands for, by its number without the size of its structure:
FS_IOC_RESVSP, RESVSP64, UNRESVSP, UNRESVSP64, ZERO_RANGE."""
_SETS: dict[int, tuple[str, ...]] = {
    0x7602: ("version",), 0x6604: ("version",), 0x9432: ("label",), 0x941A: ("subvolume",),
}  # fmt: skip
"""What else than a file's flags an ioctl sets: FS_IOC_SETVERSION, EXT4_IOC_SETVERSION, FS_IOC_SETFSLABEL,
BTRFS_IOC_SUBVOL_SETFLAGS."""

_new = tuple.__new__
"""See `decode_operands`."""


class DecodedCall:
    """One system call while it is decoded: what the record says, and the event that is made of it."""

    __slots__ = (
        "access", "arg0", "arg1", "arg2", "calls", "created", "f_mode", "file_key", "flags", "follow",
        "follow_source", "key", "lasted_ns", "mode", "more", "name", "op", "path", "path_name", "pid",
        "result", "ret", "size", "source", "source_name", "spelled", "target_text", "tid", "time_ns", "xattr",
    )  # fmt: skip

    name: str
    """Of the system call."""
    ret: int
    key: int
    """Of the open file (`RawEvent.file_key`), or of an io_uring request; 0: none."""
    arg0: int
    arg1: int
    arg2: int
    """The arguments that the table asks for (`syscalls.SyscallSpec.args`)."""
    path_name: bytes
    source_name: bytes
    """The bytes that were passed."""
    f_mode: int
    """Of the open file that ``path`` is."""

    # The fields of RawEvent of these names.
    time_ns: int
    pid: int
    tid: int
    op: Op | None
    """None: there is nothing to report."""
    result: str
    path: Operand
    more: Sequence[Operand]
    """Other files that the call changes in the same way."""
    source: Operand | None
    target_text: bytes | None
    access: Access | None
    flags: tuple[str, ...]
    created: bool | None
    follow: bool
    follow_source: bool
    mode: int | None
    spelled: bytes | None
    xattr: bytes | None
    size: int | None
    """`RawEvent.bytes`."""
    calls: int | None
    file_key: int | None
    lasted_ns: int

    def make_event(self) -> RawEvent:
        """Return the event, if there is one to report."""
        return _new(
            RawEvent,
            (
                self.time_ns,
                self.pid,
                self.tid,
                self.op,
                self.result,
                self.path,
                self.source,
                self.target_text,
                self.access,
                self.flags,
                self.created,
                self.follow,
                self.follow_source,
                self.mode,
                self.spelled,
                self.xattr,
                self.size,
                self.calls,
                self.file_key,
                self.lasted_ns,
            ),
        )


class _How(NamedTuple):
    """What the flags of an open say."""

    access: Access
    names: tuple[str, ...]
    makes: bool
    """Whether it may make a file."""
    unnamed: bool
    """Whether that file has no name."""
    follow: bool


@functools.lru_cache(maxsize=1024)
def _decode_flags(flags: int, resolve: int) -> _How:
    access, names = decode_open_flags(flags)
    unnamed = "tmpfile" in names
    stays = flags & os.O_NOFOLLOW or (flags & os.O_CREAT and flags & os.O_EXCL)
    if resolve & (_RESOLVE_NO_XDEV | _RESOLVE_BENEATH):
        names = (*names, *(name for bit, name in _RESOLVE.items() if resolve & bit))
    return _How(access, names, bool(flags & os.O_CREAT) or unnamed, unnamed, not stays)


def _decode_open(call: DecodedCall) -> None:
    call.access, call.flags, makes, unnamed, call.follow = _decode_flags(call.arg0, call.arg2)
    call.created = makes and call.ret >= 0 and (unnamed or call.f_mode & FMODE_CREATED != 0)
    if makes:
        call.mode = call.arg1 & 0o7777
    if call.path.name is None:
        call.spelled = call.path_name
    elif call.arg2 & _RESOLVE_IN_ROOT:
        call.path = _in_root(call.path)


def _in_root(path: Operand) -> Operand:
    """Return the operand of an open for which its directory is the root directory, too (openat2).

    From a root directory that is not ours, names are not followed so.
    """
    return path._replace(
        root=path.base, doubt=path.doubt if path.root is not None else path.doubt | Doubt.UNKNOWN_ROOT
    )


def _decode_creat(call: DecodedCall) -> None:
    call.arg0 = os.O_CREAT | os.O_WRONLY | os.O_TRUNC
    _decode_open(call)


def _decode_name(call: DecodedCall) -> None:
    call.follow = False


def _decode_mkdir(call: DecodedCall) -> None:
    call.mode = call.arg1 & 0o7777
    call.follow = False


def _decode_mknod(call: DecodedCall) -> None:
    call.mode = call.arg1 & 0o177777
    call.follow = False


def _decode_symlink(call: DecodedCall) -> None:
    call.target_text = call.source_name
    call.source = None
    call.follow = False


def _decode_link(call: DecodedCall) -> None:
    call.follow = False
    call.follow_source = call.arg0 & _AT_SYMLINK_FOLLOW != 0


def _decode_rename(call: DecodedCall) -> None:
    call.follow = False
    flags = call.arg0
    if flags:
        call.flags = tuple(
            name
            for bit, name in ((_RENAME_NOREPLACE, "noreplace"), (_RENAME_WHITEOUT, "whiteout"))
            if flags & bit
        )
        if flags & _RENAME_EXCHANGE:
            call.op = Op.EXCHANGE


def _decode_unlink(call: DecodedCall) -> None:
    call.follow = False
    if call.arg0 & _AT_REMOVEDIR:
        call.op = Op.RMDIR


def _decode_write(call: DecodedCall) -> None:
    call.size = max(call.ret, 0)
    call.calls = 1
    call.file_key = call.key or None


def _decode_aio(call: DecodedCall) -> None:
    call.size = call.arg0
    call.calls = 1
    call.flags = ("aio",)


def _decode_copy(call: DecodedCall) -> None:
    if call.source is not None and call.source.fmt not in STORED:
        call.source = None  # a pipe, a socket: no place on any disk
    call.size = max(call.ret, 0)
    call.calls = 1


def _decode_dedupe(call: DecodedCall) -> None:
    call.flags = ("dedupe",)
    call.size = max(call.ret, 0)


def _decode_fallocate(call: DecodedCall) -> None:
    mode = _SPACE.get(call.arg0 & 0xFFFF, 0) if call.name == "ioctl" else call.arg0
    call.flags = tuple(name for bit, name in _FALLOCATE if mode & bit)


def _decode_setflags(call: DecodedCall) -> None:
    if call.name == "ioctl":
        call.flags = _SETS.get(call.arg0 & 0xFFFF, ())
    else:
        _decode_metadata(call)


def _decode_metadata(call: DecodedCall) -> None:
    call.follow = not call.arg0 & _AT_SYMLINK_NOFOLLOW and call.name not in NOFOLLOW_CALLS


def _decode_chmod(call: DecodedCall) -> None:
    call.mode = call.arg1 & 0o7777
    _decode_metadata(call)


def _decode_xattr(call: DecodedCall) -> None:
    call.xattr = call.source_name
    call.source = None
    _decode_metadata(call)


def _decode_mount(call: DecodedCall) -> None:
    flags = call.arg0
    call.flags = tuple(name for bit, name in _MS_BITS.items() if flags & bit)
    call.follow_source = True
    if flags & _MS_REMOUNT or not flags & (_MS_BIND | _MS_MOVE):
        call.source = None  # of a new file system: a device's name or any text at all


def _move_mount(call: DecodedCall) -> None:
    call.flags = ("move",)


def _mount_setattr(call: DecodedCall) -> None:
    call.flags = ("setattr",)


def _decode_pivot(call: DecodedCall) -> None:
    call.follow_source = True


def _decode_subvolume(call: DecodedCall) -> None:
    call.follow = False
    call.flags = ("subvolume",)


def _decode_snapshot(call: DecodedCall) -> None:
    call.follow = False
    call.flags = ("subvolume", "snapshot")


def _decode_access(call: DecodedCall) -> None:
    call.mode = call.arg1 & 0o7
    _decode_metadata(call)


def _decode_restrict(call: DecodedCall) -> None:
    call.flags = ("landlock",)


def _decode_chroot(call: DecodedCall) -> None:
    if call.path.name is None:
        call.spelled = call.path_name


def _as_it_is(_call: DecodedCall) -> None:
    pass


CALLS: dict[int, tuple[Op, Callable[[DecodedCall], None]]] = {
    WireOp.OPEN: (Op.OPEN, _decode_open),
    WireOp.OPENAT2: (Op.OPEN, _decode_open),
    WireOp.CREAT: (Op.OPEN, _decode_creat),
    WireOp.HANDLE: (Op.OPEN, _decode_open),
    WireOp.MKDIR: (Op.MKDIR, _decode_mkdir),
    WireOp.MKNOD: (Op.MKNOD, _decode_mknod),
    WireOp.BIND: (Op.BIND, _decode_name),
    WireOp.SYMLINK: (Op.SYMLINK, _decode_symlink),
    WireOp.LINK: (Op.LINK, _decode_link),
    WireOp.RENAME: (Op.RENAME, _decode_rename),
    WireOp.UNLINK: (Op.UNLINK, _decode_unlink),
    WireOp.RMDIR: (Op.RMDIR, _decode_name),
    WireOp.WRITE: (Op.WRITE, _decode_write),
    WireOp.AIO_WRITE: (Op.WRITE, _decode_aio),
    WireOp.COPY: (Op.COPY, _decode_copy),
    WireOp.CLONE: (Op.CLONE, _as_it_is),
    WireOp.DEDUPE: (Op.CLONE, _decode_dedupe),
    WireOp.SETFLAGS: (Op.SETFLAGS, _decode_setflags),
    WireOp.SUBVOL_CREATE: (Op.MKDIR, _decode_subvolume),
    WireOp.SUBVOL_SNAPSHOT: (Op.MKDIR, _decode_snapshot),
    WireOp.TRUNCATE: (Op.TRUNCATE, _as_it_is),
    WireOp.FALLOCATE: (Op.FALLOCATE, _decode_fallocate),
    WireOp.CHMOD: (Op.CHMOD, _decode_chmod),
    WireOp.CHOWN: (Op.CHOWN, _decode_metadata),
    WireOp.UTIME: (Op.UTIME, _decode_metadata),
    WireOp.SETXATTR: (Op.SETXATTR, _decode_xattr),
    WireOp.REMOVEXATTR: (Op.REMOVEXATTR, _decode_xattr),
    WireOp.ACCESS: (Op.ACCESS, _decode_access),
    WireOp.RESTRICT: (Op.RESTRICT, _decode_restrict),
    WireOp.MOUNT: (Op.MOUNT, _decode_mount),
    WireOp.MOVE_MOUNT: (Op.MOUNT, _move_mount),
    WireOp.MOUNT_SETATTR: (Op.MOUNT, _mount_setattr),
    WireOp.UMOUNT: (Op.UMOUNT, _as_it_is),
    WireOp.CHROOT: (Op.CHROOT, _decode_chroot),
    WireOp.PIVOT_ROOT: (Op.PIVOT_ROOT, _decode_pivot),
}
"""What is done, and what fills in the rest of the event, by `WireOp`. Those that take more than the
record itself are in `decode.Decoder`."""

MOVES_MOUNTS = frozenset(
    int(wire_op)
    for wire_op in (
        WireOp.MOUNT,
        WireOp.MOVE_MOUNT,
        WireOp.MOUNT_SETATTR,
        WireOp.UMOUNT,
        WireOp.PIVOT_ROOT,
        WireOp.CHROOT,
        WireOp.UNSHARE,
    )
)
"""Calls that change the meaning of later paths when they succeed; of unshare see `enters_namespace`."""


def enters_namespace(call: DecodedCall) -> bool:
    """Whether an unshare(2) or setns(2) can have changed the mount namespace."""
    return call.name == "setns" or call.arg0 & _CLONE_NEWNS != 0
