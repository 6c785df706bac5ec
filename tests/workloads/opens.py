"""Every way to open a file, and to fail to."""

from __future__ import annotations

import ctypes
import os
import struct

from tests.workloads.calls import CWD, call, do, here, put, quiet, says, tell

_TMPFILE = os.O_TMPFILE
_NO_XDEV, _NO_SYMLINKS, _BENEATH, _IN_ROOT = 0x01, 0x04, 0x08, 0x10


def plain() -> None:
    fd = do(says("open", b"new", access="w", flags="creat", created=True, mode=0o640),
            "open", b"new", os.O_WRONLY | os.O_CREAT, 0o640)  # fmt: skip
    quiet("close", fd)
    again = says("open", b"new", access="w", flags="creat", created=False)
    quiet("close", do(again, "open", b"new", os.O_WRONLY | os.O_CREAT, 0o640))
    do(says("open", b"new", result="EEXIST", access="rw", flags="creat excl", created=False),
       "openat", CWD, b"new", os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)  # fmt: skip
    quiet("close", do(says("open", b"new", access="r", flags="", created=False), "openat", CWD, b"new", 0))
    quiet("close", do(says("open", b"new", access="w", flags="append"),
                      "openat", CWD, b"new", os.O_WRONLY | os.O_APPEND))  # fmt: skip
    quiet("close", do(says("open", b"new", access="w", flags="trunc"),
                      "openat", CWD, b"new", os.O_WRONLY | os.O_TRUNC))  # fmt: skip
    quiet("close", do(says("open", b"creat", access="w", flags="creat trunc", created=True),
                      "creat", b"creat", 0o600))  # fmt: skip
    do(says("open", b"missing", result="ENOENT", access="r"), "openat", CWD, b"missing", 0)
    do(says("open", b"missing/in/it", result="ENOENT"), "openat", CWD, b"missing/in/it", os.O_CREAT, 0o600)
    do(says("open", b"new/below", result="ENOTDIR"), "openat", CWD, b"new/below", 0)
    do(says("open", b"", result="EISDIR", access="w"), "openat", CWD, here(b""), os.O_WRONLY)


def directories() -> None:
    do(says("mkdir", b"dir", mode=0o755), "mkdirat", CWD, b"dir", 0o755)
    dirfd = do(says("open", b"dir", access="r", flags="directory"), "openat", CWD, b"dir", os.O_DIRECTORY)
    quiet("close", do(says("open", b"dir/in", access="rw", flags="creat excl", created=True),
                      "openat", dirfd, b"in", os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))  # fmt: skip
    quiet("close", do(says("open", b"dir/in", access="path", flags=""), "openat", dirfd, b"in", os.O_PATH))
    do(says("open", b"dir/in", result="ENOTDIR"), "openat", dirfd, b"in", os.O_DIRECTORY)
    path = do(says("open", b"dir", access="path", flags="directory"),
              "openat", CWD, b"dir", os.O_PATH | os.O_DIRECTORY)  # fmt: skip
    quiet("close", do(says("open", b"dir/in", access="r"), "openat", path, b"in", 0))
    quiet("close", do(says("open", b"new", access="r"), "openat", path, b"../new", 0))
    quiet("close", path)
    quiet("close", dirfd)


def symlinks() -> None:
    do(says("symlink", b"link", text=b"dir/in"), "symlink", b"dir/in", b"link")
    do(says("symlink", b"dirlink", text=here(b"dir")), "symlinkat", here(b"dir"), CWD, b"dirlink")
    quiet("close", do(says("open", b"dir/in", access="r"), "openat", CWD, b"link", 0))
    do(says("open", b"link", result="ELOOP"), "openat", CWD, b"link", os.O_NOFOLLOW)
    quiet(
        "close", do(says("open", b"link", access="path"), "openat", CWD, b"link", os.O_PATH | os.O_NOFOLLOW)
    )
    quiet("close", do(says("open", b"dir/made", created=True),
                      "openat", CWD, b"dirlink/made", os.O_CREAT | os.O_WRONLY, 0o600))  # fmt: skip
    do(says("open", b"link", result="EEXIST"), "openat", CWD, b"link", os.O_CREAT | os.O_EXCL, 0o600)
    do(says("symlink", b"dangling", text=b"dir/later"), "symlink", b"dir/later", b"dangling")
    do(says("open", b"dir/later", result="ENOENT"), "openat", CWD, b"dangling", 0)
    quiet("close", do(says("open", b"dir/later", created=True, access="w"),
                      "openat", CWD, b"dangling", os.O_CREAT | os.O_WRONLY, 0o600))  # fmt: skip
    do(says("symlink", b"loop", text=b"loop"), "symlink", b"loop", b"loop")
    do(says("open", b"loop", result="ELOOP"), "openat", CWD, b"loop", 0)


def _how(flags: int, mode: int = 0, resolve: int = 0) -> ctypes.Array[ctypes.c_char]:
    return ctypes.create_string_buffer(struct.pack("=QQQ", flags, mode, resolve), 24)


def openat2() -> None:
    made = says("open", b"two", access="w", flags="creat", created=True, mode=0o600)
    quiet("close", do(made, "openat2", CWD, b"two", _how(os.O_CREAT | os.O_WRONLY, 0o600), 24))
    do(says("open", b"dir/in", result="EXDEV"), "openat2", CWD, b"dirlink/in", _how(0, 0, _BENEATH), 24)
    # With the directory as the root, an absolute symlink leads to what is below it.
    quiet(
        "close", do(says("open", b"dir/in", access="r"), "openat2", CWD, b"/dir/in", _how(0, 0, _IN_ROOT), 24)
    )
    new = _how(os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600, _IN_ROOT)
    do(says("open", b"dir/in", result="EEXIST"), "openat2", CWD, b"/dir/in", new, 24)
    directory = do(says("open", b"dir", access="path"), "openat", CWD, b"dir", os.O_PATH)
    do(says("symlink", b"dir/at-root", text=b"/in"), "symlink", b"/in", b"dir/at-root")
    for name in (b"/in", b"../../in", b"/../in"):
        do(says("open", b"dir/in", result="EEXIST"), "openat2", directory, name, new, 24)
    there = _how(os.O_DIRECTORY, 0, _IN_ROOT)
    for name in (b"/at-root", b"at-root"):
        do(says("open", b"dir/in", result="ENOTDIR"), "openat2", directory, name, there, 24)
    quiet("close", directory)
    do(says("open", b"dir/in", result="ELOOP"), "openat2", CWD, b"dirlink/in", _how(0, 0, _NO_SYMLINKS), 24)
    quiet(
        "close", do(says("open", b"dir/in", access="r"), "openat2", CWD, b"dir/in", _how(0, 0, _NO_XDEV), 24)
    )
    do(says("open", b"two", result="EINVAL"), "openat2", CWD, b"two", _how(0, 0o600), 24)


def unnamed() -> None:
    fd = call("openat", CWD, b"dir", _TMPFILE | os.O_RDWR, 0o600)
    ino = os.fstat(fd).st_ino
    name = b"dir/#%d" % ino
    tell(says("open", name, access="rw", flags="tmpfile deleted", created=True))
    do(says("write", name, bytes=4, calls=1, flags="deleted"), "write", fd, b"data", 4)
    do(says("link", b"named", name), "linkat", CWD, b"/proc/self/fd/%d" % fd, CWD, b"named", 0x400)
    quiet("close", fd)
    fd = call("openat", CWD, b"dir", _TMPFILE | os.O_RDWR, 0o600)
    name = b"dir/#%d" % os.fstat(fd).st_ino
    tell(says("open", name, access="rw", flags="tmpfile deleted", created=True))
    do(says("link", b"empty-path", name), "linkat", fd, b"", CWD, b"empty-path", 0x1000)
    do(says("link", b"named", name, result="EEXIST"), "linkat", fd, b"", CWD, b"named", 0x1000)
    quiet("close", fd)
    do(says("open", b"new", result="ENOTDIR"), "openat", CWD, b"new", _TMPFILE | os.O_RDWR, 0o600)


def by_handle() -> None:
    handle = ctypes.create_string_buffer(struct.pack("=Ii", 128, 0), 136)
    mount = ctypes.create_string_buffer(4)
    if call("name_to_handle_at", CWD, b"dir/in", handle, mount, 0) < 0:
        return  # the file system has no handles
    base = do(says("open", b"", access="r", flags="directory"), "openat", CWD, b".", os.O_DIRECTORY)
    fd = do(says("open", b"dir/in", access="rw"), "open_by_handle_at", base, handle, os.O_RDWR)
    do(says("write", b"dir/in", bytes=2, calls=1), "write", fd, b"by", 2)
    quiet("close", fd)
    quiet("close", base)


def main() -> None:
    put(b"first", b"x")
    plain()
    directories()
    symlinks()
    openat2()
    unnamed()
    by_handle()


if __name__ == "__main__":
    main()
