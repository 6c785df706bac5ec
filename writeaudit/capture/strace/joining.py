"""Has strace attach to processes that run already (``strace -p``), and takes it away again."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from writeaudit.capture.members import ProcessTable, tree_of
from writeaudit.errors import CaptureError

_PATIENCE_S = 20.0
_LOOK_S = 0.005
_MESSAGE_BYTES = 4096
_ENVIRONMENT = {b"LC_ALL": b"C", b"TZ": b"UTC0"}


@dataclass(slots=True)
class Tracer:
    """A strace that is attached to processes. It ends with the last of them, or by `detach_strace`.

    If writeaudit is killed its output goes nowhere, it ends of that, and the kernel lets the processes go on.
    """

    process: subprocess.Popen[bytes]
    joined: frozenset[int]
    missed: int
    """How many processes were made meanwhile by those that it had not come to yet."""

    def detach_strace(self, drain: Callable[[float], None]) -> None:
        """Have it let go of the processes. ``drain`` reads what it still has to say, for some seconds."""
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGTERM)
        drain(_PATIENCE_S)
        try:
            self.process.wait(_PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def attach_strace(strace: str, options: Sequence[bytes], pids: Iterable[int], output: int) -> Tracer:
    """Start strace, and return when it is attached to all. Raises `CaptureError` with its words."""
    table = ProcessTable()
    roots = tuple(pids)
    members = tree_of(roots, table.read_parents(), ())
    members = {
        pid for pid in members if (status := table.read_status(pid)) is not None and not status.is_over
    }
    messages = os.memfd_create("strace")
    try:
        argv = [os.fsencode(strace), *options, *(b"-p%d" % pid for pid in sorted(members))]
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=messages,
            env=_ENVIRONMENT,
            pass_fds=(output,),
            start_new_session=True,
            preexec_fn=_unblock_signals,  # noqa: PLW1509 - no other thread runs here
        )
        try:
            _wait_for(process, set(roots), members, table, messages)
        except BaseException:
            process.kill()
            process.wait()
            raise
    finally:
        os.close(messages)
    now = tree_of(roots, table.read_parents(), ())
    missed = sum(_tracer_of(pid) not in (process.pid, None) for pid in now)
    return Tracer(process, frozenset(members), missed)


def _unblock_signals() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _wait_for(
    process: subprocess.Popen[bytes], roots: set[int], members: set[int], table: ProcessTable, messages: int
) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    waiting = set(members)
    while waiting:
        # Gone by now, or traced, each thread of it.
        waiting = {pid for pid in waiting if _tracer_of(pid) not in (process.pid, None)}
        said = os.pread(messages, _MESSAGE_BYTES, 0).decode("utf-8", "replace").strip().splitlines()
        refused = next(
            (line for line in said if "attach:" in line or "Operation not permitted" in line), None
        )
        if process.poll() is not None or (refused and waiting & roots) or time.monotonic() > deadline:
            if not waiting and any(table.read_status(pid) is not None for pid in members):
                return
            reason = (refused or (said[-1] if said else "it does not answer")).rpartition("strace: ")[2]
            raise CaptureError(
                f"strace cannot join process {min(waiting or roots)}: {reason}",
                hint="a process of another user takes root; one that is traced already cannot be traced "
                "twice; see also kernel.yama.ptrace_scope",
            )
        if waiting:
            time.sleep(_LOOK_S)


def _tracer_of(pid: int) -> int | None:
    """Return who traces every thread of a process: 0 if one of them is not traced, None if it is gone."""
    tracers: set[int] = set()
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            with (
                contextlib.suppress(FileNotFoundError, ProcessLookupError),
                open(f"/proc/{pid}/task/{thread}/status", "rb") as file,
            ):
                lines = dict(line.split(b":", 1) for line in file if b":" in line)
                if not lines[b"State"].strip().startswith((b"Z", b"X")):
                    tracers.add(int(lines[b"TracerPid"]))
    except OSError:
        return None
    if not tracers:
        return None
    return tracers.pop() if len(tracers) == 1 else 0


def wait_readable(fd: int, seconds: float) -> None:
    """Wait until there is something to read."""
    select.select([fd], [], [], max(0.0, seconds))
