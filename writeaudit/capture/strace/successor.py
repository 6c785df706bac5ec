"""Follows the processes on, without a look at what they do, when strace cannot.

The filter (`seccomp_filter`) has the kernel refuse every traced call of a process that nobody traces. strace
may be killed by who may kill it, and a hostile program can make it wait for good: strace reads the names that
a call is given, and memory can be made that another thread of the same program has to fill in first
(userfaultfd(2), a file on FUSE), one that waits for strace itself. So strace is given up after a while, the
kernel is told that there is a tracer again, and the command goes on.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import select
import signal
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

from writeaudit.capture.strace.drain import detach_process

STALLED_AFTER_S = 10.0
"""How long strace may wait for one piece of a process's memory."""
_LOOK_EVERY_S = 1.0
_PATIENCE_S = 5.0
"""For the change of tracers."""

_READS_MEMORY = frozenset({b"310", b"101", b"270", b"117"})
"""process_vm_readv(2) and ptrace(2), on x86-64 and on aarch64."""

_PTRACE_CONT, _PTRACE_SEIZE, _PTRACE_LISTEN = 7, 0x4206, 0x4208
_TRACE_FORK, _TRACE_VFORK, _TRACE_CLONE, _TRACE_SECCOMP = 0x2, 0x4, 0x8, 0x80
_EVENT_STOP = 128
_WALL = 0x40000000
_STOPS = frozenset({signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU})


@dataclass(slots=True)
class StallWatch:
    """Looks from time to time whether strace waits for memory, and for how long it has."""

    strace: int
    """Its process id; 0 if that is not known: nothing is watched then."""
    _since: float = 0.0
    _next: float = 0.0
    _seen: tuple[bytes, int] = field(default=(b"", -1))

    def is_stalled(self, progress: int) -> bool:
        """Whether it has waited too long. ``progress``: a number that grows with what it writes."""
        now = time.monotonic()
        if not self.strace or now < self._next:
            return False
        self._next = now + _LOOK_EVERY_S
        try:
            with open(f"/proc/{self.strace}/syscall", "rb") as file:
                call = file.read()
        except OSError:
            return False
        if call.partition(b" ")[0] not in _READS_MEMORY or (call, progress) != self._seen:
            self._seen, self._since = (call, progress), now
            return False
        return now - self._since >= STALLED_AFTER_S


def tracer_of(pid: int) -> int:
    """Return the process that traces a task; 0 if none does, or if it is gone."""
    try:
        with open(f"/proc/{pid}/status", "rb") as file:
            for line in file:
                if line.startswith(b"TracerPid:"):
                    return int(line.split()[1])
    except OSError:
        pass
    return 0


def take_over(strace: int, processes: Collection[int]) -> bool:
    """Start a process that traces ``processes`` and all that they start from now on.

    ``strace``: the process to end first, 0 if it has ended. Whatever strace traces is taken over as well.
    Returns whether there is a tracer for all of them now.
    """
    ours, theirs = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            # Again, as strace itself: nobody but init has to wait for it.
            if os.fork() == 0:
                detach_process({theirs})
                _take_over(strace, set(processes), theirs)
        finally:
            os._exit(0)
    os.close(theirs)
    os.waitpid(pid, 0)
    try:
        return bool(select.select([ours], [], [], 2 * _PATIENCE_S)[0]) and os.read(ours, 1) == b"y"
    finally:
        os.close(ours)


def _take_over(strace: int, processes: set[int], told: int) -> None:
    if strace:
        processes |= _list_traced(strace)
    # They must make no call while nobody traces them. A stop takes effect when the call at hand has ended.
    for pid in processes:
        _send_signal(pid, signal.SIGSTOP)
    if strace:
        _send_signal(strace, signal.SIGKILL)
        deadline = time.monotonic() + _PATIENCE_S
        while _list_traced(strace) and time.monotonic() < deadline:
            time.sleep(0.01)
    refused = not _seize_all(processes)
    for pid in processes:
        _send_signal(pid, signal.SIGCONT)
    os.write(told, b"n" if refused else b"y")
    os.close(told)
    _let_go_on()


def _list_traced(strace: int) -> set[int]:
    """Return the processes of which strace traces a thread."""
    return {
        pid for pid in _list_numbers("/proc") if any(tracer_of(tid) == strace for tid in _list_threads(pid))
    }


def _list_threads(pid: int) -> list[int]:
    return list(_list_numbers(f"/proc/{pid}/task"))


def _list_numbers(directory: str) -> Iterator[int]:
    try:
        yield from [int(name) for name in os.listdir(directory) if name.isdigit()]
    except OSError:
        return


def _seize_all(processes: set[int]) -> bool:
    """Trace every thread of them; return False if one was refused."""
    done: set[int] = set()
    refused = False
    while True:
        fresh = {tid for pid in processes for tid in _list_threads(pid)} - done
        if not fresh:
            return not refused
        done |= fresh
        for tid in fresh:
            number = _call_ptrace(
                _PTRACE_SEIZE, tid, _TRACE_FORK | _TRACE_VFORK | _TRACE_CLONE | _TRACE_SECCOMP
            )
            # A thread that the new tracer has already, as its maker was traced by then, is refused, too.
            refused = refused or (number not in {0, errno.ESRCH} and tracer_of(tid) != os.getpid())


def _let_go_on() -> None:
    """Answer every stop, until the last process has ended."""
    while True:
        try:
            tid, status = os.waitpid(-1, _WALL)
        except ChildProcessError:
            return
        if not os.WIFSTOPPED(status):
            continue
        number, event = os.WSTOPSIG(status), status >> 16
        if event == _EVENT_STOP and number in _STOPS:
            _call_ptrace(_PTRACE_LISTEN, tid, 0)  # it stays stopped, as its own parent wanted
        else:
            _call_ptrace(_PTRACE_CONT, tid, 0 if event else number)


def _send_signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(OSError):
        os.kill(pid, number)


def _call_ptrace(request: int, tid: int, data: int) -> int:
    """Make a call; return 0, or the errno."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.restype = ctypes.c_long
    libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    return 0 if libc.ptrace(request, tid, None, data) >= 0 else ctypes.get_errno()
