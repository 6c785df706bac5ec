"""Starts strace and has it attach to the child that is to become the command.

strace is not the command's parent, and does not start it: so the command has its own
environment, user and standard streams from the first instruction on, and fails to be executed
in the same words as under every other backend. Three things make that work:

* The child allows it (prctl(2), PR_SET_PTRACER: Yama would refuse a tracer that is no ancestor).
* strace ignores --seccomp-bpf if all that it has to do is to attach. So it starts a command as
  well, the one program that is certainly there: ``strace -V``. What that prints tells the child
  that strace is at work; its trace is left out by `parser.TraceParser`.
* The child installs the filter of `seccomp_filter` itself.
"""

from __future__ import annotations

import ctypes
import errno
import os
import select
import signal
from collections.abc import Sequence
from dataclasses import dataclass

from writeaudit.capture.strace import seccomp_filter
from writeaudit.capture.strace.drain import detach_process

_PR_SET_DUMPABLE, _PR_SET_PTRACER = 4, 0x59616D61
_ANY = ctypes.c_ulong(-1)
_PATIENCE_S = 20.0
_ENVIRONMENT = {
    # Messages in one language; and without TZ strace would look at /etc/localtime for each line.
    b"LC_ALL": b"C",
    b"TZ": b"UTC0",
}
_MESSAGE_BYTES = 4096


@dataclass(slots=True)
class StartLine:
    """What passes between the child, strace and us until the child is traced.

    `allow_tracing` and `wait_for_tracer` run in the child.
    """

    _code: bytes | None
    """The filter; None: every call stops."""
    _may_read: int
    _may_write: int
    """A pipe from the child: it may be traced from now on."""
    _at_work_read: int
    _at_work_write: int
    """A pipe from ``strace -V``: the child is traced from now on."""
    _messages: int

    @classmethod
    def create_pipes(cls, code: bytes | None) -> StartLine:
        """Make one, for a child that installs the filter ``code``."""
        return cls(code, *os.pipe(), *os.pipe(), os.memfd_create("strace"))

    def close(self) -> None:
        """Let go of our ends."""
        for fd in (self._may_read, self._may_write, self._at_work_read, self._at_work_write, self._messages):
            if fd >= 0:
                os.close(fd)

    def allow_tracing(self) -> None:
        """Let anybody trace this process: Yama forbids it to all but ancestors."""
        os.close(self._at_work_write)  # nobody but strace is to hold it: `wait_for_tracer` waits for its end
        # Of writeaudit, whose memory this one still has, it was forbidden (`commands.run`).
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 1, 0, 0, 0)
        _allow_tracer(_ANY)
        os.write(self._may_write, b"a")

    def attach_strace(self, strace: bytes, options: Sequence[bytes], child: int, output: int) -> None:
        """Start strace, which attaches to ``child``, with the descriptor ``output`` open."""
        os.close(self._may_write)
        self._may_write = -1
        os.read(self._may_read, 1)
        keep = {self._at_work_write, self._messages, output}
        argv = [strace, *options, b"-p%d" % child, b"--", strace, b"-V"]
        pid = os.fork()
        if pid == 0:
            try:
                # Again, so that nobody but init has to wait for it.
                if os.fork() == 0:
                    detach_process(keep)
                    os.dup2(self._at_work_write, 1)
                    os.dup2(self._messages, 2)
                    os.set_inheritable(output, True)
                    signal.pthread_sigmask(signal.SIG_SETMASK, ())
                    os.execve(strace, argv, _ENVIRONMENT)
            finally:
                os._exit(127)
        os.close(self._at_work_write)
        self._at_work_write = -1
        os.waitpid(pid, 0)

    def wait_for_tracer(self) -> None:
        """Wait until this process is traced. Raises OSError if strace could not do it."""
        if not select.select([self._at_work_read], [], [], _PATIENCE_S)[0]:
            raise OSError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))
        if not os.read(self._at_work_read, 1):
            raise OSError(errno.ESRCH, os.strerror(errno.ESRCH))
        _allow_tracer(ctypes.c_ulong(0))
        if self._code is not None:
            seccomp_filter.install_filter(self._code)

    def read_messages(self) -> str:
        """Return what strace had to say."""
        text = os.pread(self._messages, _MESSAGE_BYTES, 0).decode("utf-8", "replace")
        lines = [line.removeprefix("strace: ") for line in text.splitlines()]
        return "; ".join(line for line in lines if "not enabled for processes attached" not in line)


def _allow_tracer(who: ctypes.c_ulong) -> None:
    """Without Yama it fails, and nothing needs to be allowed."""
    ctypes.CDLL(None).prctl(_PR_SET_PTRACER, who, 0, 0, 0)
