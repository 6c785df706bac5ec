"""Names that end in a slash or a dot, and the links of /proc that lead to places of a process."""

from __future__ import annotations

import os

from tests.workloads.calls import CWD, GROUND, attempt, do, here, put, quiet, says

_NOFOLLOW = 0x100


def planted() -> None:
    for name in (b"d", b"d/e", b"d/e/f"):
        do(says("mkdir", name), "mkdir", name, 0o755)
    do(says("symlink", b"dl", text=b"d/e"), "symlink", b"d/e", b"dl")
    do(says("symlink", b"dangling", text=b"nowhere"), "symlink", b"nowhere", b"dangling")
    put(b"file", b"x")


def dots() -> None:
    quiet("chdir", b"d/e")
    do(says("chmod", b"d/e", mode=0o750), "chmod", b".", 0o750)
    do(says("chmod", b"d", mode=0o750), "chmod", b"..", 0o750)
    do(says("chmod", b"d/e/f", mode=0o750), "chmod", b"f/.", 0o750)
    do(says("chown", b"d/e"), "lchown", b"f/..", os.getuid(), os.getgid())
    do(says("utime", b"d"), "utimensat", CWD, b"../.", None, _NOFOLLOW)
    attempt(says("setxattr", b"d/e"), "lsetxattr", b".", b"user.a", b"1", 1, 0)
    quiet("chdir", GROUND)


def slashes() -> None:
    """A slash at the end follows a symlink, whatever the call (path_resolution(7))."""
    do(says("chmod", b"d/e", mode=0o755), "chmod", b"dl/", 0o755)
    do(says("chown", b"d/e"), "lchown", b"dl/", os.getuid(), os.getgid())
    do(says("chown", b"d/e"), "fchownat", CWD, b"dl/", os.getuid(), os.getgid(), _NOFOLLOW)
    do(says("utime", b"d/e"), "utimensat", CWD, b"dl/", None, _NOFOLLOW)
    attempt(says("setxattr", b"d/e"), "lsetxattr", b"dl/", b"user.b", b"1", 1, 0)
    attempt(says("removexattr", b"d/e"), "lremovexattr", b"dl/.", b"user.b")
    step = says("open", b"d/e", access="path")
    quiet("close", do(step, "openat", CWD, b"dl/", os.O_PATH | os.O_NOFOLLOW))
    do(says("mkdir", b"d/e/new"), "mkdir", b"dl/new/", 0o755)
    do(says("rename", b"d/e/newer", b"d/e/new"), "rename", b"dl/new/", b"dl/newer/")
    do(says("rmdir", b"d/e/newer"), "rmdir", b"dl//newer///")
    do(says("rename", b"x", b"dl", result="ENOTDIR"), "rename", b"dl/", b"x")
    do(says("rmdir", b"dl", result="ENOTDIR"), "rmdir", b"dl/")
    do(says("unlink", b"file", result="ENOTDIR"), "unlink", b"file/")
    do(says("open", b"file", result="ENOTDIR"), "openat", CWD, b"file/", os.O_WRONLY)
    do(says("link", b"hard", b"file", result="ENOTDIR"), "link", b"file/", b"hard")
    do(says("symlink", b"s", text=b"t", result="ENOENT"), "symlink", b"t", b"s/")
    do(says("mkdir", b"dangling", result="EEXIST"), "mkdir", b"dangling/", 0o755)


def links_of_proc() -> None:
    do(says("mkdir", b"d/root"), "mkdir", b"/proc/self/root" + here(b"d/root"), 0o755)
    do(says("mkdir", b"d/thread"), "mkdir", b"/proc/thread-self/cwd/d/thread", 0o755)
    do(says("mkdir", b"d/pid"), "mkdir", b"/proc/%d/cwd/d/pid" % os.getpid(), 0o755)
    fd = do(says("open", b"file"), "openat", CWD, b"file", os.O_RDWR)
    do(says("truncate", b"file"), "truncate", b"/proc/self/fd/%d" % fd, 0)
    do(says("utime", b"file"), "utimensat", CWD, b"/proc/%d/fd/%d" % (os.getpid(), fd), None, 0)
    attempt(says("setxattr", b"file"), "setxattr", b"/dev/fd/%d" % fd, b"user.x", b"1", 1, 0)
    quiet("close", fd)


def main() -> None:
    os.umask(0)
    planted()
    dots()
    slashes()
    links_of_proc()


if __name__ == "__main__":
    main()
