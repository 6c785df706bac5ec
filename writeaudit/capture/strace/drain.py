"""A reader of last resort for strace's output.

The filter (`seccomp_filter`) hands every traced call to the tracer. When the tracer goes away,
the kernel answers those calls with ENOSYS (seccomp(2), SECCOMP_RET_TRACE). So strace must never
be stopped while a process that it traces is alive, and its output must never lack a reader:
neither when writeaudit stops waiting for a daemon, nor when writeaudit itself is killed.
A small process of its own stands by, and takes the pipe over when writeaudit lets go.
"""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Collection
from dataclasses import dataclass

_DISMISSED = b"q"
_CHUNK = 1 << 16


@dataclass(slots=True)
class Drain:
    """The stand-by process. It ends when it is dismissed, or when the last writer has gone."""

    pid: int
    _lifeline: int

    def end_drain(self) -> None:
        """End it: the pipe has no writer any more."""
        os.write(self._lifeline, _DISMISSED)
        os.close(self._lifeline)
        os.waitpid(self.pid, 0)

    def take_over(self) -> None:
        """Let it read, and throw away, whatever still comes. It outlives writeaudit."""
        os.close(self._lifeline)


def stand_by(pipe: int) -> Drain:
    """Fork a process that reads ``pipe`` to its end as soon as writeaudit lets go or dies."""
    ours, theirs = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            _wait_then_read(ours, pipe)
        finally:
            os._exit(0)
    os.close(ours)
    return Drain(pid, theirs)


def _wait_then_read(lifeline: int, pipe: int) -> None:
    detach_process({lifeline, pipe})
    if os.read(lifeline, 1) == _DISMISSED:
        return
    os.close(lifeline)
    os.set_blocking(pipe, True)  # writeaudit, which polled it, shares this open file
    while os.read(pipe, _CHUNK):
        pass


def detach_process(keep: Collection[int]) -> None:
    """Let go of everything that this process got from writeaudit, but for some descriptors.

    For a child that may outlive the audit: nobody who waits for the end of a standard stream, of
    another open file or of the terminal is to wait for it, and no signal of the terminal ends it.
    """
    os.setsid()
    signal.pthread_sigmask(signal.SIG_BLOCK, set(signal.Signals) - {signal.SIGTERM})
    null = os.open(os.devnull, os.O_RDWR)
    for number in range(3):
        os.dup2(null, number)
    last = 2
    for number in sorted(keep):
        os.closerange(last + 1, number)
        last = number
    os.closerange(last + 1, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
    os.chdir("/")
