"""Subvolumes of btrfs that are made, copied and deleted in the run (ioctl_list of btrfs-ioctl(2))."""

from __future__ import annotations

import ctypes
import os
import struct

from tests.workloads.calls import CWD, do, put, quiet, says

_CREATE, _SNAPSHOT, _DESTROY = 0x5000940E, 0x50009401, 0x5000940F
_CREATE_V2, _SNAPSHOT_V2, _DESTROY_V2 = 0x50009418, 0x50009417, 0x5000943F
_READ_ONLY = 2
_SNAPSHOT_WORDS = "subvolume snapshot"


def named(name: bytes, fd: int = 0) -> ctypes.Array[ctypes.c_char]:
    """Return a struct btrfs_ioctl_vol_args."""
    return ctypes.create_string_buffer(struct.pack("=q4088s", fd, name), 4096)


def flagged(name: bytes, fd: int = 0, flags: int = 0) -> ctypes.Array[ctypes.c_char]:
    """Return a struct btrfs_ioctl_vol_args_v2."""
    return ctypes.create_string_buffer(struct.pack("=qQQ32s4040s", fd, 0, flags, b"", name), 4096)


def opened(path: bytes) -> int:
    step = says("open", path, access="r", flags="directory")
    return do(step, "openat", CWD, path, os.O_RDONLY | os.O_DIRECTORY)


def main() -> None:
    here = do(says("open", b"", access="r"), "openat", CWD, b".", os.O_RDONLY | os.O_DIRECTORY)
    do(says("mkdir", b"one", flags="subvolume"), "ioctl", here, _CREATE, named(b"one"))
    do(says("mkdir", b"one", result="EEXIST", flags="subvolume"), "ioctl", here, _CREATE, named(b"one"))
    do(says("mkdir", b'o "<d>', flags="subvolume"), "ioctl", here, _CREATE_V2, flagged(b'o "<d>'))
    long = b"n" * 256
    step = says("mkdir", long, result="ENAMETOOLONG", flags="subvolume")
    do(step, "ioctl", here, _CREATE, named(long))
    one = opened(b"one")
    do(says("mkdir", b"one/inner", flags="subvolume"), "ioctl", one, _CREATE, named(b"inner"))
    do(says("rmdir", b"one/inner", flags="subvolume"), "ioctl", one, _DESTROY, named(b"inner"))
    step = says("mkdir", b"copy", flags=_SNAPSHOT_WORDS)
    do(step, "ioctl", here, _SNAPSHOT, named(b"copy", one))
    step = says("mkdir", b"frozen", flags=_SNAPSHOT_WORDS)
    do(step, "ioctl", here, _SNAPSHOT_V2, flagged(b"frozen", one, _READ_ONLY))
    put(b"one/file", b"1")
    put(b"copy/file", b"2")
    do(says("open", b"frozen/file", result="EROFS"), "openat", CWD, b"frozen/file", os.O_CREAT, 0o600)
    do(says("unlink", b"copy/file"), "unlink", b"copy/file")
    do(says("rmdir", b"copy", flags="subvolume"), "ioctl", here, _DESTROY, named(b"copy"))
    do(says("rmdir", b"none", result="ENOENT", flags="subvolume"), "ioctl", here, _DESTROY, named(b"none"))
    step = says("rmdir", b"frozen", flags="subvolume", but="undecoded-ioctls")
    do(step, "ioctl", here, _DESTROY_V2, flagged(b"frozen"))
    quiet("close", one)
    quiet("close", here)


if __name__ == "__main__":
    main()
