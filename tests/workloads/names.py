"""Every call that makes, moves or removes a name, and its refusals."""

from __future__ import annotations

import os
import socket
import stat
import struct

from tests.workloads.calls import CWD, attempt, do, here, put, quiet, says

_NOREPLACE, _EXCHANGE, _WHITEOUT = 1, 2, 4
_REMOVEDIR, _SYMLINK_FOLLOW = 0x200, 0x400


def directory(path: bytes) -> int:
    step = says("open", path, access="r", flags="directory", created=False)
    return do(step, "openat", CWD, path, os.O_RDONLY | os.O_DIRECTORY)


def made() -> None:
    do(says("mkdir", b"d", mode=0o711), "mkdir", b"d", 0o711)
    do(says("mkdir", b"d", result="EEXIST"), "mkdir", b"d", 0o711)
    do(says("mkdir", b"no/d", result="ENOENT"), "mkdir", b"no/d", 0o711)
    fd = directory(b"d")
    do(says("mkdir", b"d/e"), "mkdirat", fd, b"e/", 0o755)
    do(says("mkdir", b"d/e/f"), "mkdirat", fd, b"./e//f", 0o755)
    do(says("mknod", b"d/fifo"), "mknodat", fd, b"fifo", stat.S_IFIFO | 0o600, 0)
    do(says("mknod", b"plain"), "mknod", b"plain", stat.S_IFREG | 0o600, 0)
    do(says("mknod", b"zero"), "mknod", b"zero", 0o600, 0)
    do(says("mknod", b"plain", result="EEXIST"), "mknod", b"plain", stat.S_IFREG | 0o600, 0)
    attempt(says("mknod", b"null"), "mknod", b"null", stat.S_IFCHR | 0o600, os.makedev(1, 3))
    do(says("symlink", b"d/s", text=b"../no where"), "symlinkat", b"../no where", fd, b"s")
    do(says("symlink", b"d/s", text=b"x", result="EEXIST"), "symlink", b"x", b"d/s")
    do(says("symlink", b"s2", text=b"d"), "symlink", b"d", b"s2")
    do(says("mkdir", b"d/through"), "mkdir", b"s2/through", 0o700)
    do(says("mkdir", b"s2", result="EEXIST"), "mkdir", b"s2", 0o700)
    quiet("close", fd)


def sockets() -> None:
    fd = quiet("socket", socket.AF_UNIX, socket.SOCK_STREAM, 0)
    address = struct.pack("=H", socket.AF_UNIX)
    do(says("bind", b"d/sock"), "bind", fd, address + b"d/sock\0", 9)
    quiet("close", fd)
    fd = quiet("socket", socket.AF_UNIX, socket.SOCK_STREAM, 0)
    do(
        says("bind", b"d/sock", result="EADDRINUSE"),
        "bind",
        fd,
        address + here(b"d/sock") + b"\0",
        3 + len(here(b"d/sock")),
    )
    # No zero byte at its end: the length says where the name ends.
    do(says("bind", b"sk"), "bind", fd, address + b"sk-not-this", 4)
    quiet("close", fd)


def linked() -> None:
    put(b"file", b"content")
    do(says("link", b"hard", b"file"), "link", b"file", b"hard")
    do(says("link", b"hard", b"file", result="EEXIST"), "link", b"file", b"hard")
    do(says("link", b"hard2", b"missing", result="ENOENT"), "link", b"missing", b"hard2")
    do(says("link", b"dir-link", b"d", result="EPERM"), "link", b"d", b"dir-link")
    fd = directory(b"d")
    do(says("link", b"d/hard", b"hard"), "linkat", CWD, b"hard", fd, b"hard", 0)
    do(says("symlink", b"to-file", text=b"file"), "symlink", b"file", b"to-file")
    do(says("link", b"link-of-link", b"to-file"), "linkat", CWD, b"to-file", CWD, b"link-of-link", 0)
    do(
        says("link", b"link-of-file", b"file"),
        "linkat",
        CWD,
        b"to-file",
        CWD,
        b"link-of-file",
        _SYMLINK_FOLLOW,
    )
    file = do(says("open", b"file", access="path"), "openat", CWD, b"file", os.O_PATH)
    do(says("link", b"by-fd", b"file"), "linkat", file, b"", CWD, b"by-fd", 0x1000)
    do(
        says("link", b"by-proc", b"file"),
        "linkat",
        CWD,
        b"/proc/self/fd/%d" % file,
        CWD,
        b"by-proc",
        _SYMLINK_FOLLOW,
    )
    quiet("close", file)
    do(says("link", b"/dev/shm/never-made", b"file", result="EXDEV"), "link", b"file", b"/dev/shm/never-made")
    quiet("close", fd)


def renamed() -> None:
    do(says("rename", b"moved", b"hard"), "rename", b"hard", b"moved")
    do(says("rename", b"moved", b"hard", result="ENOENT"), "rename", b"hard", b"moved")
    put(b"old", b"old")
    do(says("rename", b"moved", b"old"), "rename", b"old", b"moved")
    fd = directory(b"d")
    do(says("rename", b"d/moved", b"moved"), "renameat", CWD, b"moved", fd, b"moved")
    put(b"a", b"a")
    put(b"b", b"b")
    do(
        says("rename", b"b", b"a", result="EEXIST", flags="noreplace"),
        "renameat2",
        CWD,
        b"a",
        CWD,
        b"b",
        _NOREPLACE,
    )
    do(says("rename", b"c", b"a", flags="noreplace"), "renameat2", CWD, b"a", CWD, b"c", _NOREPLACE)
    do(says("exchange", b"c", b"b"), "renameat2", CWD, b"b", CWD, b"c", _EXCHANGE)
    do(says("exchange", b"d", b"c"), "renameat2", CWD, b"c", CWD, b"d", _EXCHANGE)
    do(says("exchange", b"d", b"c"), "renameat2", CWD, b"c", CWD, b"d", _EXCHANGE)
    do(says("exchange", b"c", b"none", result="ENOENT"), "renameat2", CWD, b"none", CWD, b"c", _EXCHANGE)
    attempt(says("rename", b"w", b"c", flags="whiteout"), "renameat2", CWD, b"c", CWD, b"w", _WHITEOUT)
    # A symlink is renamed, not what it leads to; one in the way is replaced.
    do(says("rename", b"to-file2", b"to-file"), "rename", b"to-file", b"to-file2")
    do(says("rename", b"to-file2", b"b"), "rename", b"b", b"to-file2")
    # Two names of one file: nothing happens, and the call succeeds.
    do(says("link", b"same", b"file"), "link", b"file", b"same")
    do(says("rename", b"same", b"file"), "rename", b"file", b"same")
    # A directory with all that lies below it.
    do(says("mkdir", b"t"), "mkdir", b"t", 0o755)
    do(says("rename", b"t/d2", b"d"), "rename", b"d", b"t/d2")
    put(b"t/d2/e/f/deep", b"deep")
    quiet("close", do(says("open", b"t/d2/hard", access="r"), "openat", fd, b"hard", 0))
    do(says("rename", b"t/d2/e/in-itself", b"t", result="EINVAL"), "rename", b"t", b"t/d2/e/in-itself")
    do(says("rename", b"t", b"same", result="EISDIR"), "rename", b"same", b"t")
    do(says("rename", b"d", b"t/d2"), "rename", b"t/d2", b"d")
    do(
        says("rename", b"/dev/shm/never-made", b"file", result="EXDEV"),
        "rename",
        b"file",
        b"/dev/shm/never-made",
    )
    quiet("close", fd)


def removed() -> None:
    fd = directory(b"d")
    do(says("unlink", b"d/moved"), "unlinkat", fd, b"moved", 0)
    do(says("unlink", b"d/moved", result="ENOENT"), "unlink", b"d/moved")
    do(says("unlink", b"d/e", result="EISDIR"), "unlink", b"d/e")
    do(says("rmdir", b"d/e", result="ENOTEMPTY"), "rmdir", b"d/e")
    do(says("rmdir", b"d/fifo", result="ENOTDIR"), "rmdir", b"d/fifo")
    do(says("unlink", b"d/e/f/deep"), "unlink", b"d/e/f/deep")
    do(says("rmdir", b"d/e/f"), "unlinkat", fd, b"e/f", _REMOVEDIR)
    do(says("rmdir", b"d/e"), "rmdir", b"d/e/")
    do(says("unlink", b"s2"), "unlink", b"s2")
    do(says("unlink", b"d/sock"), "unlink", b"d/sock")
    do(says("unlink", b"d/fifo"), "unlink", b"d/fifo")
    do(says("rmdir", b"t"), "rmdir", b"t")
    quiet("close", fd)


def main() -> None:
    os.umask(0o022)
    made()
    sockets()
    linked()
    renamed()
    removed()


if __name__ == "__main__":
    main()
