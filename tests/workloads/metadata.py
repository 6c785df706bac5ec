"""Modes, owners, times, extended attributes and flags: each call in each of its forms."""

from __future__ import annotations

import ctypes
import os
import struct

from tests.workloads.calls import CWD, attempt, call, do, put, quiet, says

_NOFOLLOW, _EMPTY = 0x100, 0x1000
_SETFLAGS, _FSSETXATTR = 0x40086602, 0x401C5820
_SETVERSION, _EXT4_SETVERSION, _SUBVOL_SETFLAGS = 0x40087602, 0x40086604, 0x4008941A
_GETFSLABEL, _SETFSLABEL = 0x81009431, 0x41009432
_NODUMP = 0x40
_YOUNG = "younger-calls"


def opened(path: bytes, flags: int = os.O_RDWR) -> int:
    return do(says("open", path), "openat", CWD, path, flags)


def prepared() -> int:
    do(says("mkdir", b"d"), "mkdir", b"d", 0o755)
    put(b"d/f", b"x")
    do(says("symlink", b"l", text=b"d/f"), "symlink", b"d/f", b"l")
    return opened(b"d", os.O_RDONLY | os.O_DIRECTORY)


def modes(dirfd: int) -> None:
    do(says("chmod", b"d/f", mode=0o600), "chmod", b"d/f", 0o600)
    do(says("chmod", b"d/f", mode=0o640), "chmod", b"l", 0o640)
    do(says("chmod", b"d/f", mode=0o755), "fchmodat", dirfd, b"f", 0o755)
    do(says("chmod", b"no", result="ENOENT"), "chmod", b"no", 0o600)
    fd = opened(b"d/f")
    do(says("chmod", b"d/f", mode=0o4711), "fchmod", fd, 0o4711)
    attempt(says("chmod", b"d/f", mode=0o644, but=_YOUNG), "fchmodat2", fd, b"", 0o644, _EMPTY)
    attempt(says("chmod", b"l", mode=0o600, but=_YOUNG), "fchmodat2", CWD, b"l", 0o600, _NOFOLLOW)
    do(says("chmod", b"d", mode=0o2755), "fchmod", dirfd, 0o2755)
    do(says("chmod", b"d/f", mode=0o604), "chmod", b"/proc/self/fd/%d" % fd, 0o604)
    quiet("close", fd)


def questions(dirfd: int) -> None:
    """Only the question whether a file may be written is an event."""
    quiet("access", b"d/f", 4)
    do(says("access", b"d/f", mode=6), "access", b"l", 6)
    do(says("access", b"d/f", mode=2), "faccessat", dirfd, b"f", 2)
    do(says("access", b"no", mode=2, result="ENOENT"), "access", b"no", 2)
    attempt(says("access", b"d/f", mode=2), "faccessat2", dirfd, b"f", 2, 0)


def owners(dirfd: int) -> None:
    do(says("chown", b"d/f"), "chown", b"l", 1, 1)
    do(says("chown", b"l"), "lchown", b"l", 2, 2)
    do(says("chown", b"d/f"), "fchownat", dirfd, b"f", 3, 3, 0)
    do(says("chown", b"l"), "fchownat", CWD, b"l", 4, 4, _NOFOLLOW)
    fd = opened(b"d/f")
    do(says("chown", b"d/f"), "fchown", fd, 5, 5)
    do(says("chown", b"d/f"), "fchownat", fd, b"", 0, 0, _EMPTY)
    quiet("close", fd)
    do(says("chown", b"no", result="ENOENT"), "chown", b"no", 1, 1)


def times(dirfd: int) -> None:
    pair = struct.pack("=4q", 1, 2, 3, 4)
    do(says("utime", b"d/f"), "utime", b"l", struct.pack("=2q", 5, 6))
    do(says("utime", b"d/f"), "utimes", b"d/f", pair)
    do(says("utime", b"d/f"), "futimesat", dirfd, b"f", pair)
    do(says("utime", b"d/f"), "utimensat", dirfd, b"f", pair, 0)
    do(says("utime", b"l"), "utimensat", CWD, b"l", pair, _NOFOLLOW)
    fd = opened(b"d/f")
    do(says("utime", b"d/f"), "utimensat", fd, None, pair, 0)
    quiet("close", fd)
    do(says("utime", b"d"), "utimensat", dirfd, None, pair, 0)
    do(says("utime", b"no", result="ENOENT"), "utime", b"no", None)


def _by_directory(fd: int, name: bytes) -> None:
    """The calls of Linux 6.13 and 6.17 that take a directory and flags."""
    value = ctypes.create_string_buffer(b"12")
    args = ctypes.create_string_buffer(struct.pack("=QII", ctypes.addressof(value), 2, 0), 16)
    for path, base, spelled, flags in (
        (b"d/f", CWD, b"l", 0), (b"l", CWD, b"l", _NOFOLLOW), (b"d/f", fd, b"", _EMPTY)
    ):  # fmt: skip
        made = says("setxattr", path, flags="xattr=user.test", but=_YOUNG)
        attempt(made, "setxattrat", base, spelled, flags, name, args, 16)
        gone = says("removexattr", path, flags="xattr=user.test", but=_YOUNG)
        attempt(gone, "removexattrat", base, spelled, flags, name)
        attributes = struct.pack("=QIIII", 0, 0, 0, 0, 0)
        attempt(says("setflags", path, but=_YOUNG), "file_setattr", base, spelled, attributes, 24, flags)


def attributes() -> None:
    name = b"user.test"
    do(says("setxattr", b"d/f", flags="xattr=user.test"), "setxattr", b"l", name, b"1", 1, 0)
    do(says("setxattr", b"d/f", result="EEXIST"), "setxattr", b"d/f", name, b"1", 1, 1)
    do(says("setxattr", b"d"), "lsetxattr", b"d", name, b"1", 1, 0)
    attempt(says("setxattr", b"l"), "lsetxattr", b"l", name, b"1", 1, 0)
    attempt(says("setxattr", b"l"), "lsetxattr", b"l", b"trusted.test", b"1", 1, 0)
    fd = opened(b"d/f")
    do(says("setxattr", b"d/f", flags="xattr=user.fd"), "fsetxattr", fd, b"user.fd", b"12", 2, 0)
    do(says("removexattr", b"d/f", flags="xattr=user.fd"), "fremovexattr", fd, b"user.fd")
    do(says("removexattr", b"d/f"), "removexattr", b"l", name)
    do(says("removexattr", b"d/f", result="ENODATA"), "removexattr", b"d/f", name)
    do(says("removexattr", b"d"), "lremovexattr", b"d", name)
    _by_directory(fd, name)
    attempt(says("setflags", b"d/f"), "ioctl", fd, _SETFLAGS, struct.pack("=q", _NODUMP))
    attempt(says("setflags", b"d/f"), "ioctl", fd, _SETFLAGS, struct.pack("=q", 0))
    for command in (_SETVERSION, _EXT4_SETVERSION):
        attempt(says("setflags", b"d/f", flags="version"), "ioctl", fd, command, struct.pack("=q", 7))
    nothing = struct.pack("=q", -1)
    attempt(says("setflags", b"d/f", flags="subvolume"), "ioctl", fd, _SUBVOL_SETFLAGS, nothing)
    label = ctypes.create_string_buffer(256)
    if call("ioctl", fd, _GETFSLABEL, label) >= 0:
        attempt(says("setflags", b"d/f", flags="label"), "ioctl", fd, _SETFSLABEL, label)
    quiet("close", fd)


def main() -> None:
    dirfd = prepared()
    modes(dirfd)
    questions(dirfd)
    owners(dirfd)
    times(dirfd)
    attributes()


if __name__ == "__main__":
    main()
