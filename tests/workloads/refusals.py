"""Calls that the system refuses: for want of rights, of room, of a file system that could do it."""

from __future__ import annotations

import os
import resource
import signal
import struct
import sys

from tests.workloads.calls import CWD, Argument, Says, attempt, call, do, here, put, quiet, says, tell

_FICLONE, _SETFLAGS, _NODUMP = 0x40049409, 0x40086602, 0x40
_BIND, _EXCHANGE = 4096, 2
_PAGE = 4096
_LIMIT = 100
_NOBODY = 65534


def opened(path: bytes, flags: int = os.O_RDWR) -> int:
    return do(says("open", path), "openat", CWD, path, flags)


def copies() -> None:
    """Between file systems, and to files that take no such copy."""
    put(b"source", b"s" * _PAGE)
    source = opened(b"source", os.O_RDONLY)
    elsewhere = b"/dev/shm/writeaudit-%d" % os.getpid()
    target = os.open(elsewhere, os.O_CREAT | os.O_RDWR, 0o600)
    do(says("copy", elsewhere, b"source", result="EXDEV"), "copy_file_range", source, 0, target, 0, _PAGE, 0)
    do(says("copy", elsewhere, b"source", bytes=_PAGE), "sendfile", target, source, 0, _PAGE)
    attempt(says("clone", elsewhere, b"source"), "ioctl", target, _FICLONE, source)
    do(says("link", b"linked", elsewhere, result="EXDEV"), "link", elsewhere, b"linked")
    os.close(target)
    os.unlink(elsewhere)
    put(b"appended")
    appended = opened(b"appended", os.O_WRONLY | os.O_APPEND)
    do(says("copy", b"appended", b"source", result="EBADF"),
       "copy_file_range", source, 0, appended, 0, 10, 0)  # fmt: skip
    out, into = os.pipe()
    os.write(into, b"abc")
    do(says("copy", b"appended", result="EINVAL"), "splice", out, 0, appended, 0, 3, 0)
    do(says("copy", b"source", result="EBADF"), "splice", out, 0, source, 0, 3, 0)
    for fd in (out, into, appended, source):
        os.close(fd)


def limited(step: Says, name: str, *args: Argument) -> None:
    """Make a call under RLIMIT_FSIZE; nothing else, for the story is a file as well."""
    _soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (_LIMIT, hard))
    result = call(name, *args)
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    if (result >= 0) is not (step.result == "ok"):
        sys.exit(f"{name}{args}: {result}, not {step.result}")
    tell(step)


def too_large() -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    put(b"large")
    fd = opened(b"large")
    # A write that has room for a part is a success, of the part.
    limited(says("write", b"large", bytes=_LIMIT, calls=1), "write", fd, b"x" * 150, 150)
    limited(says("write", b"large", result="EFBIG"), "write", fd, b"x", 1)
    limited(says("truncate", b"large", result="EFBIG"), "ftruncate", fd, 1000)
    limited(says("truncate", b"large", result="EFBIG"), "truncate", b"large", 1000)
    limited(says("fallocate", b"large", result="EFBIG"), "fallocate", fd, 0, 0, 1000)
    quiet("close", fd)


def as_nobody() -> None:
    put(b"file", b"x")
    do(says("mkdir", b"dir"), "mkdir", b"dir", 0o755)
    fd = opened(b"file", os.O_RDONLY)
    os.setgroups([])
    os.setresgid(_NOBODY, _NOBODY, _NOBODY)
    os.setresuid(_NOBODY, _NOBODY, _NOBODY)
    then = struct.pack("=4q", 1, 2, 3, 4)
    do(says("chmod", b"file", result="EPERM"), "chmod", b"file", 0o777)
    do(says("chmod", b"file", result="EPERM"), "fchmod", fd, 0o777)
    do(says("chown", b"file", result="EPERM"), "chown", b"file", 1, 1)
    do(says("chown", b"file", result="EPERM"), "fchown", fd, 1, 1)
    do(says("utime", b"file", result="EPERM"), "utimensat", CWD, b"file", then, 0)
    do(says("utime", b"file", result="EACCES"), "utimensat", fd, None, None, 0)
    do(says("setxattr", b"file", result="EPERM"), "fsetxattr", fd, b"trusted.x", b"1", 1, 0)
    do(says("removexattr", b"file", result="EACCES"), "removexattr", b"file", b"user.x")
    attempt(says("setflags", b"file"), "ioctl", fd, _SETFLAGS, struct.pack("=q", _NODUMP))
    do(says("truncate", b"file", result="EACCES"), "truncate", b"file", 0)
    do(says("rename", b"new", b"file", result="EACCES"), "rename", b"file", b"new")
    # EPERM where fs.protected_hardlinks is set, EACCES where it is not.
    attempt(says("link", b"new", b"file"), "link", b"file", b"new")
    do(says("symlink", b"new", text=b"file", result="EACCES"), "symlink", b"file", b"new")
    do(says("unlink", b"file", result="EACCES"), "unlink", b"file")
    do(says("rmdir", b"dir", result="EACCES"), "rmdir", b"dir")
    do(says("mknod", b"new", result="EACCES"), "mknod", b"new", 0o10600, 0)
    do(says("open", b"new", result="EACCES"), "openat", CWD, b"new", os.O_CREAT | os.O_WRONLY, 0o600)
    do(says("open", b"", result="EACCES", flags="tmpfile"),
       "openat", CWD, here(b""), os.O_TMPFILE | os.O_WRONLY, 0o600)  # fmt: skip
    do(says("exchange", b"dir", b"file", result="EACCES"), "renameat2", CWD, b"file", CWD, b"dir", _EXCHANGE)
    do(says("chroot", b"dir", result="EPERM"), "chroot", b"dir")
    step = says("mount", b"dir", b"file", result="EPERM", flags="bind")
    do(step, "mount", b"file", b"dir", None, _BIND, None)
    do(says("umount", b"dir", result="EPERM"), "umount2", b"dir", 0)
    do(says("pivot_root", b"dir", b"dir", result="EPERM"), "pivot_root", b"dir", b"dir")


def main() -> None:
    os.umask(0o022)
    copies()
    too_large()
    if os.getuid() == 0:
        as_nobody()


if __name__ == "__main__":
    main()
