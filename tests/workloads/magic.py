"""Links in /proc whose meaning depends on who follows them, and what lies in no directory."""

from __future__ import annotations

import os
import socket
import threading

from tests.workloads.calls import CWD, do, put, quiet, says

_FS, _FILES = 0x200, 0x400


def own_directory() -> None:
    """``/proc/self`` is the first thread's, whichever thread follows it."""
    do(says("mkdir", b"elsewhere"), "mkdir", b"elsewhere", 0o755)

    def wanderer() -> None:
        quiet("unshare", _FS)
        quiet("chdir", b"elsewhere")
        do(says("mkdir", b"first"), "mkdir", b"/proc/self/cwd/first", 0o755)
        number = b"/proc/%d/cwd/second" % os.getpid()
        do(says("mkdir", b"second"), "mkdir", number, 0o755)
        do(says("mkdir", b"elsewhere/third"), "mkdir", b"/proc/thread-self/cwd/third", 0o755)

    _apart(wanderer)


def own_files() -> None:
    for name in (b"one", b"other"):
        do(says("mkdir", name), "mkdir", name, 0o755)
    fd = do(says("open", b"one", access="path"), "openat", CWD, b"one", os.O_PATH)

    def opener() -> None:
        quiet("unshare", _FILES)
        quiet("close", fd)
        if do(says("open", b"other", access="path"), "openat", CWD, b"other", os.O_PATH) != fd:
            raise SystemExit("the descriptor is not the same number")
        do(says("mkdir", b"one/a"), "mkdir", b"/proc/self/fd/%d/a" % fd, 0o755)
        do(says("mkdir", b"other/b"), "mkdir", b"/proc/thread-self/fd/%d/b" % fd, 0o755)

    _apart(opener)
    quiet("close", fd)


def nameless() -> None:
    """Pipes, sockets and memfds opened by their links: no file of the disk, and nothing is missing."""
    ends = os.pipe()
    quiet("close", quiet("openat", CWD, b"/proc/self/fd/%d" % ends[1], os.O_WRONLY))
    memory = os.memfd_create("memory")
    quiet("close", quiet("openat", CWD, b"/proc/self/fd/%d" % memory, os.O_RDWR | os.O_TRUNC))
    os.ftruncate(memory, 5)
    quiet("close", quiet("openat", CWD, b"/proc/self/ns/net", os.O_RDONLY))
    for fd in (socket.socketpair()[0].fileno(), os.eventfd(0)):
        try:
            os.open(f"/proc/self/fd/{fd}", os.O_RDONLY)
        except OSError:
            continue


def _apart(work: object) -> None:
    assert callable(work)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


own_directory()
own_files()
nameless()
put(b"end", b"")
