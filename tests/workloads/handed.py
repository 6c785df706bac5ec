"""Descriptors that change what they stand for, and directories that are handed on."""

from __future__ import annotations

import ctypes
import fcntl
import os
import socket
import sys

from tests.workloads.calls import do, put, quiet, says, tell
from tests.workloads.descriptors import SUMS, opened, wait

_FILES, _SIGCHLD = 0x400, 17


def replaced() -> None:
    """dup2(2) over an open descriptor; a number that close_range(2) sets free and another file gets."""
    put(b"a")
    put(b"b")
    first, second = opened(b"a"), opened(b"b")
    do(says("write", b"a", bytes=1, calls=1), "write", first, b"1", 1)
    os.dup2(second, first)
    do(says("write", b"b", bytes=2, calls=2, but=SUMS), "write", first, b"2", 1)
    quiet("write", second, b"2", 1)
    quiet("close", first)
    quiet("close", second)
    put(b"c")
    put(b"d")
    low = opened(b"c")
    high = fcntl.fcntl(low, fcntl.F_DUPFD, 200)
    do(says("write", b"c", bytes=3, calls=1), "write", high, b"333", 3)
    os.closerange(low, low + 1)
    again = opened(b"d")
    if again != low:
        sys.exit("another number")
    do(says("write", b"d", bytes=4, calls=1), "write", again, b"4444", 4)
    quiet("close", again)
    quiet("close", high)


def used_again() -> None:
    """One number, one file, three open files: three sums."""
    put(b"e")
    for length in (1, 2, 3):
        fd = opened(b"e")
        do(says("write", b"e", bytes=length, calls=1), "write", fd, b"eee", length)
        quiet("close", fd)


def directory_passed() -> None:
    """SCM_RIGHTS with a directory, which the receiver has no name for."""
    do(says("mkdir", b"dir"), "mkdir", b"dir", 0o755)
    ours, theirs = socket.socketpair()
    pid = os.fork()
    if not pid:
        quiet("chdir", b"/")
        _, fds, _, _ = socket.recv_fds(theirs, 1, 1)
        do(says("mkdir", b"dir/by-fd"), "mkdirat", fds[0], b"by-fd", 0o755)
        quiet("fchdir", fds[0])
        do(says("mkdir", b"dir/by-cwd"), "mkdir", b"by-cwd", 0o755)
        do(says("rename", b"moved", b"dir/by-cwd"), "renameat", fds[0], b"by-cwd", fds[0], b"../moved")
        os._exit(0)
    fd = opened(b"dir", os.O_RDONLY | os.O_DIRECTORY)
    socket.send_fds(ours, [b"x"], [fd])
    quiet("close", fd)
    wait(pid)


def one_table() -> None:
    """clone(CLONE_FILES): what another process opened is open here."""
    put(b"f")
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    pid = libc.syscall(56, _FILES | _SIGCHLD, 0, 0, 0, 0)
    if not pid:
        os._exit(opened(b"f"))
    fd = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    do(says("write", b"f", bytes=2, calls=1), "write", fd, b"ff", 2)
    do(says("truncate", b"f"), "ftruncate", fd, 1)
    quiet("close", fd)


def closed_by_exec() -> None:
    """The number of a file that exec closed is another's in the new program."""
    put(b"g")
    put(b"h")
    fd = opened(b"g")
    pid = os.fork()
    if not pid:
        os.execv("/bin/sh", ["sh", "-c", f"exec {fd}>>h; echo hi >&{fd}"])
    wait(pid)
    tell(says("open", b"h", access="w"))
    tell(says("write", b"h", bytes=3, calls=1))
    quiet("close", fd)


def main() -> None:
    replaced()
    used_again()
    directory_passed()
    one_table()
    closed_by_exec()


if __name__ == "__main__":
    main()
