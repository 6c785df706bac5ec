"""Open files that go from hand to hand, and outlive their names."""

from __future__ import annotations

import os
import socket
import sys

from tests.workloads.calls import CWD, call, do, put, quiet, says, tell

SUMS = "per-descriptor"


def opened(path: bytes, flags: int = os.O_RDWR) -> int:
    return do(says("open", path), "openat", CWD, path, flags)


def wait(pid: int) -> None:
    if os.waitpid(pid, 0)[1]:
        sys.exit("a child failed")


def duplicated() -> None:
    put(b"dup")
    fd = opened(b"dup")
    twin = quiet("dup", fd)
    # One open file, however many descriptors it has: one sum.
    do(says("write", b"dup", bytes=3, calls=3, but=SUMS), "write", fd, b"1", 1)
    quiet("write", twin, b"2", 1)
    quiet("close", fd)
    quiet("write", twin, b"3", 1)
    quiet("close", twin)


def forked() -> None:
    put(b"forked")
    fd = opened(b"forked")
    do(says("write", b"forked", bytes=2, calls=2, but=SUMS), "write", fd, b"p", 1)
    pid = os.fork()
    if not pid:
        quiet("write", fd, b"c", 1)
        os._exit(0)
    wait(pid)
    quiet("close", fd)


def inherited() -> None:
    """The program that the child executes knows the number of the descriptor alone."""
    put(b"inherited")
    fd = opened(b"inherited")
    os.set_inheritable(fd, True)
    pid = os.fork()
    if not pid:
        os.execv("/bin/sh", ["sh", "-c", f"echo hello >&{fd}"])
    wait(pid)
    tell(says("write", b"inherited", bytes=6, calls=1))
    quiet("close", fd)


def passed() -> None:
    """SCM_RIGHTS: the receiver never opened it."""
    ours, theirs = socket.socketpair()
    pid = os.fork()
    if not pid:
        ours.close()
        _, fds, _, _ = socket.recv_fds(theirs, 1, 1)
        do(says("write", b"passed", bytes=3, calls=1), "write", fds[0], b"got", 3)
        do(says("truncate", b"passed"), "ftruncate", fds[0], 2)
        os._exit(0)
    theirs.close()
    put(b"passed")
    fd = opened(b"passed")
    socket.send_fds(ours, [b"x"], [fd])
    quiet("close", fd)
    wait(pid)
    ours.close()


def taken() -> None:
    """pidfd_getfd(2): taken out of another process."""
    put(b"taken")
    fd = opened(b"taken")
    read, write = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(write)
        os.read(read, 1)
        os._exit(0)
    quiet("close", fd)
    pidfd = os.pidfd_open(pid)
    mine = call("pidfd_getfd", pidfd, fd, 0)
    if mine >= 0:
        do(says("write", b"taken", bytes=5, calls=1, but="taken-descriptors"), "write", mine, b"taken", 5)
        quiet("close", mine)
    os.close(write)
    os.close(read)
    wait(pid)


def nameless() -> None:
    """Writes after the name is gone, and through /proc/self/fd."""
    put(b"gone", b"1234")
    fd = opened(b"gone")
    do(says("unlink", b"gone"), "unlink", b"gone")
    do(says("write", b"gone", bytes=1, calls=1, flags="deleted"), "write", fd, b"x", 1)
    do(says("truncate", b"gone", flags="deleted"), "ftruncate", fd, 2)
    do(says("chmod", b"gone", flags="deleted"), "fchmod", fd, 0o600)
    again = do(
        says("open", b"gone", access="w", flags="deleted"),
        "openat",
        CWD,
        b"/proc/self/fd/%d" % fd,
        os.O_WRONLY,
    )
    do(says("write", b"gone", bytes=2, calls=1), "write", again, b"yy", 2)
    quiet("close", again)
    quiet("close", fd)
    put(b"there")
    path = opened(b"there", os.O_PATH)
    real = do(
        says("open", b"there", access="w", flags="trunc"),
        "openat",
        CWD,
        b"/proc/self/fd/%d" % path,
        os.O_WRONLY | os.O_TRUNC,
    )
    do(says("write", b"there", bytes=4, calls=2, but=SUMS), "write", real, b"via", 3)
    do(says("rename", b"elsewhere", b"there"), "rename", b"there", b"elsewhere")
    # The sum belongs to the open file, which now has another name.
    quiet("write", real, b"+", 1)
    second = do(says("open", b"elsewhere"), "openat", CWD, b"/dev/fd/%d" % path, os.O_RDWR)
    do(says("write", b"elsewhere", bytes=1, calls=1, but=SUMS), "write", second, b"z", 1)
    for fd in (path, real, second):
        quiet("close", fd)
    do(says("mkdir", b"pd"), "mkdir", b"pd", 0o700)
    directory = opened(b"pd", os.O_PATH | os.O_DIRECTORY)
    quiet(
        "close",
        do(
            says("open", b"pd/in", created=True),
            "openat",
            CWD,
            b"/proc/self/fd/%d/in" % directory,
            os.O_CREAT | os.O_WRONLY,
            0o600,
        ),
    )
    do(says("unlink", b"pd/in"), "unlink", b"/proc/self/fd/%d/in" % directory)
    quiet("close", directory)
    do(says("mkdir", b"pd/cwd"), "mkdir", b"/proc/self/cwd/pd/cwd", 0o700)


def main() -> None:
    duplicated()
    forked()
    inherited()
    passed()
    taken()
    nameless()


if __name__ == "__main__":
    main()
