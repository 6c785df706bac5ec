"""Stops writeaudit together with the command, so that a shell gets its terminal back, and not for longer."""

from __future__ import annotations

import ctypes
import os
import signal
import time
from collections.abc import Iterator

_PR_SET_PDEATHSIG = 1
_LOOK_S, _SELDOM_S = 0.02, 0.25
"""How soon it is looked whether the command goes on, and how often once it has been stopped for a while."""
_WOKEN = 1


def is_there() -> bool:
    """Whether somebody can see that we stopped, and continue us: a shell with job control.

    It makes a process group of its own for us, in a session with a terminal (termios(3), credentials(7)).
    Anywhere else the rest of the command's processes would go on unwatched, and nobody would come.
    """
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return False
    return os.getpgrp() != os.getsid(0)


def stop_with(pid: int) -> None:
    """Stop until somebody continues us, or our child ``pid``, which has stopped.

    Who continues us alone, or the group, means the child as well. One that is continued by a process
    of its own runs on while we stand still, and nobody but a helper can tell: it looks after both of us.
    """
    libc = ctypes.CDLL(None)
    ours = os.getpid()
    helper = os.fork()
    if helper == 0:
        try:
            _wake_parent(libc, ours, pid)
        finally:
            os._exit(_WOKEN)
    os.kill(ours, signal.SIGSTOP)
    ended, status = os.waitpid(helper, os.WNOHANG)
    if not ended:
        os.kill(helper, signal.SIGKILL)
        _, status = os.waitpid(helper, 0)
    # Its stop was waited for. If there is anything else to wait for it has been continued, and may even
    # have been stopped again by now.
    anything = os.WCONTINUED | os.WSTOPPED | os.WEXITED | os.WNOHANG | os.WNOWAIT
    if not os.WIFEXITED(status) and os.waitid(os.P_PID, pid, anything) is None:
        os.kill(pid, signal.SIGCONT)


def _wake_parent(libc: ctypes.CDLL, ours: int, child: int) -> None:
    """Continue writeaudit as soon as its child does not stand still any more."""
    os.setsid()  # no signal of the terminal is meant for it
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    os.closerange(0, 1 << 16)
    pause_s = _LOOK_S
    while os.getppid() == ours:
        time.sleep(pause_s)
        pause_s = min(pause_s * 1.2, _SELDOM_S)
        # Not before we have stopped: it would have no effect.
        if not _stands_still(child) and _stands_still(ours):
            os.kill(ours, signal.SIGCONT)
            return


def _stands_still(pid: int) -> bool:
    """Whether a process is stopped, or nobody says what it does (proc_pid_stat(5))."""
    try:
        states = set(_thread_states(pid))
    except OSError:
        return True
    # Under strace it is traced as well. A first thread that has ended stays, as a zombie.
    return not states.isdisjoint(b"Tt")


def _thread_states(pid: int) -> Iterator[int]:
    """Yield the state of each thread."""
    for thread in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{thread}/stat", "rb") as file:
            yield file.read().rpartition(b")")[2].split()[0][0]
