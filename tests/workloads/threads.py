"""Threads that have their own working directory or table of open files, and processes that share them."""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable

from tests.workloads.calls import CWD, GROUND, do, put, quiet, says

_FS, _FILES = 0x200, 0x400
_SIGCHLD = 17


def create(path: bytes, name: bytes, base: int = CWD) -> None:
    step = says("open", path, access="w", flags="creat", created=True)
    quiet("close", do(step, "openat", base, name, os.O_CREAT | os.O_WRONLY, 0o600))


def apart(work: Callable[[], None]) -> None:
    """Run in another thread, and wait for it."""
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


def own_directory() -> None:
    do(says("mkdir", b"t1"), "mkdir", b"t1", 0o755)
    do(says("mkdir", b"t2"), "mkdir", b"t2", 0o755)
    inside, outside = threading.Event(), threading.Event()

    def wanderer() -> None:
        quiet("unshare", _FS)
        quiet("chdir", b"t1")
        create(b"t1/by-thread", b"by-thread")
        inside.set()
        outside.wait()
        create(b"t1/again", b"again")

    thread = threading.Thread(target=wanderer)
    thread.start()
    inside.wait()
    create(b"by-main", b"by-main")
    quiet("chdir", b"t2")
    create(b"t2/by-main", b"by-main")
    outside.set()
    thread.join()

    # Without unshare the directory is everybody's.
    def mover() -> None:
        quiet("chdir", GROUND)

    apart(mover)
    create(b"shared-cwd", b"shared-cwd")


def own_files() -> None:
    put(b"file-a", b"a")
    put(b"file-b", b"b")
    fd = do(says("open", b"file-a"), "openat", CWD, b"file-a", os.O_RDWR)

    def other() -> None:
        quiet("unshare", _FILES)
        quiet("close", fd)
        mine = do(says("open", b"file-b"), "openat", CWD, b"file-b", os.O_RDWR)
        if mine != fd:
            raise SystemExit("the descriptor is not the same number")
        do(says("write", b"file-b", bytes=1, calls=1), "write", mine, b"B", 1)

    apart(other)
    do(says("write", b"file-a", bytes=1, calls=1), "write", fd, b"A", 1)
    quiet("close", fd)


def opened_by_a_thread() -> None:
    found: list[int] = []

    def opener() -> None:
        found.append(do(says("open", b"file-a"), "openat", CWD, b"file-a", os.O_RDWR))

    apart(opener)
    do(says("truncate", b"file-a"), "ftruncate", found[0], 10)
    quiet("close", found[0])


def shared_between_processes() -> None:
    """clone(CLONE_FS): what one process does to its working directory moves the other's."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    pid = libc.syscall(56, _FS | _SIGCHLD, 0, 0, 0, 0)
    if not pid:
        quiet("chdir", b"t1")
        os._exit(0)
    os.waitpid(pid, 0)
    create(b"t1/after-child", b"after-child")
    quiet("chdir", GROUND)


def main() -> None:
    own_directory()
    own_files()
    opened_by_a_thread()
    shared_between_processes()


if __name__ == "__main__":
    main()
