"""The strace backend: needs no privilege, only the distribution's strace.

The command stays our own child: ``strace -DDD`` makes the tracer a grandchild in a
session of its own, so that terminal, process group, signals and exit status are those of
a command that nobody watches. The tracer writes into a pipe that it opens itself, by
name, through ``/proc``: the command never holds it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import fcntl
import os
import pwd
import select
import shutil
import signal
import time
from dataclasses import dataclass

from writeaudit.capture import launcher
from writeaudit.capture.interface import Command, Credentials, Limits, Outcome, Sink
from writeaudit.capture.strace_command import as_strace_finds, find_program
from writeaudit.capture.strace_drain import Drain, stand_by
from writeaudit.capture.strace_host import ProcHost, own_mount_ns
from writeaudit.capture.strace_parser import TRACED, TraceParser
from writeaudit.capture.strace_probe import INSTALL, Version, kernel_filters, probe_ptrace, version_of
from writeaudit.errors import (
    BackendUnavailable,
    CaptureError,
    CommandNotExecutable,
    CommandNotFound,
    WriteauditError,
)

_OLDEST = (5, 0)
_SECCOMP = (5, 3)
_OWN_SESSION = (5, 4)
_TRANSLATES_PIDS = (5, 15)
_DELETED_OUTSIDE = (5, 19)
_NUMERIC_USER = (6, 13)

_STRING_LIMIT = 1024
"""Bytes of a string that strace prints. Paths are exempt and always whole; this is for the
arguments of programs. Longer ones are read from /proc."""

_PIPE_BYTES = 1 << 20
_READ_BYTES = 1 << 18
_TICK_S = 0.005
"""How often the pipe is emptied: seldom enough not to wake up for each line."""

_READS_A_TICK = 8


@dataclass(slots=True)
class _Output:
    """Our end of the pipe, and what reads it."""

    fd: int
    parser: TraceParser
    sink: Sink
    _write_end: int | None
    ended: bool = False

    def pump(self) -> None:
        """Read what is there."""
        for _ in range(_READS_A_TICK):
            try:
                chunk = os.read(self.fd, _READ_BYTES)
            except BlockingIOError:
                return
            if not chunk:
                self.ended = True
                return
            self.close_write_end()
            records = self.parser.feed(chunk)
            if records:
                self.sink(records)

    def close_write_end(self) -> None:
        """Let go of the other end, which strace holds by now."""
        if self._write_end is not None:
            os.close(self._write_end)
            self._write_end = None

    def wait(self, seconds: float) -> None:
        """Read until every traced process has ended, for at most ``seconds``."""
        deadline = time.monotonic() + seconds
        poll = select.poll()
        poll.register(self.fd, select.POLLIN)
        while not self.ended:
            left = deadline - time.monotonic()
            if left <= 0 and not poll.poll(0):
                return
            poll.poll(max(0.0, left) * 1000)
            self.pump()
            if left <= 0:
                return

    def close(self) -> None:
        """Close our end."""
        self.close_write_end()
        os.close(self.fd)


class StraceBackend:
    """Captures with strace. See `writeaudit.capture.interface.Backend`."""

    name = "strace"
    tier = "ptrace"

    def __init__(self, program: str | None = None) -> None:
        """Use the strace called ``program`` instead of the one on PATH."""
        self._program = program
        self._checked: tuple[str, Version] | None = None

    def check(self) -> None:
        """Raise `BackendUnavailable` if strace cannot trace here. Runs ``strace -V``, nothing else."""
        self._found()

    def _found(self) -> tuple[str, Version]:
        if self._checked is not None:
            return self._checked
        program = shutil.which(self._program or "strace")
        if program is None:
            raise BackendUnavailable("strace is not installed", hint=INSTALL)
        version = version_of(program)
        if version < _OLDEST:
            raise BackendUnavailable(
                f"strace {version.major}.{version.minor} is too old (5.0 or later is needed)", hint=INSTALL
            )
        if not os.path.exists("/proc/self/fd"):
            raise BackendUnavailable("/proc is not mounted", hint="mount it: `mount -t proc proc /proc`")
        probe_ptrace()
        self._checked = (program, version)
        return self._checked

    def capture(self, command: Command, sink: Sink, limits: Limits) -> Outcome:
        """Run ``command`` under strace. See `writeaudit.capture.interface.Backend.capture`.

        Processes that outlive the command by more than ``limits.linger_s`` go on being
        traced (a process that strace left could make no more system calls); their trace
        is thrown away.
        """
        strace, version = self._found()
        program = find_program(command)
        read_end, write_end = _pipe(limits)
        options = _options(version, write_end, command)
        drain = stand_by(read_end)
        output: _Output | None = None
        try:
            argv = [os.fsencode(strace), *options, b"--", *as_strace_finds(command, program)]
            child = launcher.spawn(_with_time_zone(command), argv=argv, as_user=False)
            parser = TraceParser(
                child.pid,
                cwd=os.getcwdb(),
                parent=os.getpid(),
                clock_offset_ns=_clock_offset(),
                host=ProcHost(),
                own_mount_ns=own_mount_ns(),
                deleted_inside=version < _DELETED_OUTSIDE,
            )
            output = _Output(read_end, parser, sink, write_end)
            released_ns = _release(child)
            how = launcher.supervise(child, {}, tick_s=_TICK_S, on_tick=output.pump)
            ended_ns = time.monotonic_ns()
            output.close_write_end()
            # Whoever presses Ctrl-C now does not want to wait: those left over are named.
            with contextlib.suppress(KeyboardInterrupt):
                output.wait(limits.linger_s)
            survivors = () if output.ended else tuple(pid for pid in parser.alive if _exists(pid))
            last = parser.finish()
            if last:
                sink(last)
        finally:
            if output is not None and output.ended:
                drain.dismiss()
            else:
                _let_go(drain, output, write_end)
            os.close(read_end) if output is None else output.close()
        if parser.started_ns is None:
            raise _not_started(parser, command, how)
        return Outcome(
            exit_status=how.status,
            signal=how.signal,
            started_ns=max(released_ns, parser.started_ns),
            ended_ns=ended_ns,
            lost_events=sum(parser.lost.values()),
            blind_spots=parser.blind_spots,
            survivors=survivors,
            received={"line": parser.lines},
            lost=parser.lost,
        )


def _let_go(drain: Drain, output: _Output | None, write_end: int) -> None:
    if output is None:
        os.close(write_end)
    drain.take_over()


def _release(child: launcher.Child) -> int:
    try:
        return child.release()
    except WriteauditError as error:
        raise BackendUnavailable(f"strace cannot be run: {error.message}", hint=INSTALL) from error


def _pipe(limits: Limits) -> tuple[int, int]:
    read_end, write_end = os.pipe()
    # Refused beyond /proc/sys/fs/pipe-user-pages-soft; a smaller one only makes strace wait for us.
    with contextlib.suppress(PermissionError):
        fcntl.fcntl(read_end, fcntl.F_SETPIPE_SZ, max(65536, min(limits.buffer_bytes, _PIPE_BYTES)))
    os.set_blocking(read_end, False)
    return read_end, write_end


def _with_time_zone(command: Command) -> Command:
    """Give strace a time zone of its own, which it takes from the command again (-E TZ).

    It asks localtime(3) even for the seconds since the epoch, and without TZ that looks at
    /etc/localtime each time: a tenth of all that strace costs.
    """
    if b"TZ" in command.env:
        return command
    return dataclasses.replace(command, env={**command.env, b"TZ": b"UTC0"})


def _options(version: Version, write_end: int, command: Command) -> list[bytes]:
    """Return strace's options for a release of it."""
    options = [
        "-f",
        "-DDD" if version >= _OWN_SESSION else "-D",
        "-I4",
        "-y",
        "-ttt",
        "-T",
        "-x",
        f"-s{_STRING_LIMIT}",
        "-esignal=none",
        # A name that this strace does not know yet is not an error.
        "-etrace=" + ",".join(f"?{name}" for name in TRACED),
        f"-o/proc/{os.getpid()}/fd/{write_end}",
    ]
    if version >= _SECCOMP and kernel_filters():
        options.append("--seccomp-bpf")
    if version >= _TRANSLATES_PIDS:
        options.append("--decode-pids=pidns")
    if b"TZ" not in command.env:
        options.append("-ETZ")
    credentials = command.credentials
    if credentials is not None and (credentials.uid, credentials.gid) != (os.geteuid(), os.getegid()):
        options.append("-u" + _user(credentials, version))
    return [os.fsencode(option) for option in options]


def _user(credentials: Credentials, version: Version) -> str:
    """Return how strace is told the user. Raises `BackendUnavailable` if it cannot be told."""
    try:
        entry = pwd.getpwnam(credentials.name)
    except KeyError:
        entry = None
    if entry is not None and (entry.pw_uid, entry.pw_gid) == (credentials.uid, credentials.gid):
        return credentials.name
    if version >= _NUMERIC_USER:
        return f"{credentials.uid}:{credentials.gid}"
    raise BackendUnavailable(
        f"strace cannot run the command as {credentials.name!r}, who has no entry of that uid and gid "
        "in the user database",
        hint="name another user with --user, or use the ebpf backend",
    )


def _clock_offset() -> int:
    """Return what makes a wall-clock time of now CLOCK_MONOTONIC, in nanoseconds."""
    best: tuple[int, int] | None = None
    for _ in range(5):
        before = time.monotonic_ns()
        wall = time.time_ns()
        after = time.monotonic_ns()
        sample = (after - before, (before + after) // 2 - wall)
        best = sample if best is None else min(best, sample)
    assert best is not None
    return best[1]


def _exists(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0] not in (b"Z", b"X")
    except (OSError, IndexError):
        return False


def _not_started(parser: TraceParser, command: Command, how: launcher.Exit) -> WriteauditError:
    name = os.fsdecode(command.argv[0])
    error = parser.exec_error
    if error == "ENOENT":
        return CommandNotFound(
            f"{name!r} cannot be executed: the interpreter that its first line names does not exist",
            hint="install it, or correct the line",
        )
    if error is not None:
        number = getattr(errno, error, 0)
        return CommandNotExecutable(
            f"{name!r} cannot be executed: {os.strerror(number) if number else error}"
        )
    ended = f"by signal {signal.Signals(how.signal).name}" if how.signal else f"with exit status {how.status}"
    return CaptureError(
        f"strace ended {ended} before the command began",
        hint="its own message stands above; try another backend",
    )
