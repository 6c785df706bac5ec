"""The strace backend: needs no privilege, only the distribution's strace.

The command is our own child, as under every other backend; strace, in a session of its own,
attaches to it at the start line (`tracer`). So terminal, process group, signals and
exit status are those of a command that nobody watches. strace writes into a pipe.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import shutil
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass

from writeaudit.audit import BlindSpot
from writeaudit.capture import core_dumps
from writeaudit.capture.interface import CaptureLimits, CaptureOutcome, Command, Sink
from writeaudit.capture.launch import launcher
from writeaudit.capture.launch.attendance import attend_sources, signals_held
from writeaudit.capture.process_state import process_exists
from writeaudit.capture.processors import lower_priority
from writeaudit.capture.requirements import check_proc
from writeaudit.capture.strace import joining, seccomp_filter
from writeaudit.capture.strace.drain import stand_by
from writeaudit.capture.strace.host import ProcHost, own_mount_ns
from writeaudit.capture.strace.parser import TRACED, TraceParser
from writeaudit.capture.strace.probe import (
    INSTALL,
    Version,
    keeps_privileges,
    kernel_filters,
    probe_ptrace,
    version_of,
)
from writeaudit.capture.strace.successor import StallWatch, take_over, tracer_of
from writeaudit.capture.strace.tracer import StartLine
from writeaudit.capture.targets import Attachment, Processes, Target, joined_spot
from writeaudit.errors import BackendUnavailable, CaptureError

_OLDEST = (5, 0)
_SECCOMP = (5, 3)
_TRANSLATES_PIDS = (5, 15)
_DELETED_OUTSIDE = (5, 19)

_STRING_LIMIT = 1024
"""Bytes of a string that strace prints. Paths are exempt and always whole; this is for the
arguments of programs. Longer ones are read from /proc."""

_PIPE_BYTES = 1 << 20
_READ_BYTES = 1 << 18
_TICK_S = 0.005
"""How often the pipe is emptied: seldom enough not to wake up for each line."""

_READS_A_TICK = 8

_SIGNALS = "!SIGCHLD,SIGURG,SIGWINCH,SIGCONT"
"""strace reports a death only if it reports the signal. These four never kill."""


@dataclass(slots=True)
class _Output:
    """Our end of the pipe, and what reads it."""

    fd: int
    parser: TraceParser
    sink: Sink
    ended: bool = False

    def read_available(self) -> None:
        """Read what is there."""
        for _ in range(_READS_A_TICK):
            try:
                chunk = os.read(self.fd, _READ_BYTES)
            except BlockingIOError:
                self.sink(())
                return
            if not chunk:
                self.ended = True
                return
            records = self.parser.feed_bytes(chunk)
            if records:
                self.sink(records)

    def wait_for_end(self, seconds: float) -> None:
        """Read until every traced process has ended, for at most ``seconds``."""
        deadline = time.monotonic() + seconds
        poll = select.poll()
        poll.register(self.fd, select.POLLIN)
        while not self.ended:
            left = deadline - time.monotonic()
            if left <= 0 and not poll.poll(0):
                return
            poll.poll(max(0.0, left) * 1000)
            self.read_available()
            if left <= 0:
                return


@dataclass(slots=True)
class _Tracer:
    """strace, as long as it can be relied on; then what takes its place."""

    output: _Output
    watch: StallWatch
    given_up: bool = False
    """Whether it had to be ended: it waited for memory that it did not get."""
    _replaced: bool = False

    def read_available(self) -> None:
        """Read what is there; see to it that the command can go on."""
        self.output.read_available()
        if self._replaced:
            return
        if self.output.ended:
            # It may just as well have seen the last process end.
            left = [pid for pid in self.output.parser.alive if process_exists(pid)]
            if left:
                self._replaced = True
                take_over(0, left)
        elif self.watch.is_stalled(self.output.parser.lines):
            self._replaced = self.given_up = True
            left = [pid for pid in self.output.parser.alive if process_exists(pid)]
            if not take_over(self.watch.strace, left):
                # Nothing can make them go on: they wait for each other, or for a tracer.
                for pid in left:
                    with contextlib.suppress(OSError):
                        os.kill(pid, signal.SIGKILL)


class StraceBackend:
    """Captures with strace. See `writeaudit.capture.interface.Backend`."""

    name = "strace"
    tier = "ptrace"
    engine = "strace"

    def __init__(self, program: str | None = None) -> None:
        """Use the strace called ``program`` instead of the one on PATH."""
        self._program = program
        self._checked: tuple[str, Version] | None = None

    def check(self) -> None:
        """Raise `BackendUnavailable` if strace cannot trace here. Runs ``strace -V``, nothing else."""
        self._find_strace()

    def _find_strace(self) -> tuple[str, Version]:
        if self._checked is not None:
            return self._checked
        program = shutil.which(self._program or "strace")
        if program is None:
            raise BackendUnavailable("strace is not installed", hint=INSTALL, missing="strace")
        version = version_of(program)
        if version < _OLDEST:
            raise BackendUnavailable(
                f"strace {version.major}.{version.minor} is too old (5.0 or later is needed)", hint=INSTALL
            )
        check_proc()
        probe_ptrace()
        self._checked = (program, version)
        return self._checked

    def capture(self, target: Target, sink: Sink, limits: CaptureLimits) -> CaptureOutcome:
        """Run a command under strace, or attach it. See `writeaudit.capture.interface.Backend.capture`."""
        if isinstance(target, Attachment):
            return self._capture_attached(target, sink, limits)
        return self._capture_command(target, sink, limits)

    def _capture_attached(self, attachment: Attachment, sink: Sink, limits: CaptureLimits) -> CaptureOutcome:
        """Join processes with ``strace -p``."""
        if not isinstance(attachment.joined, Processes):
            raise BackendUnavailable(
                "strace joins processes, and no cgroups: whoever comes into one later it does not see",
                hint="the ebpf backend does, as root: sudo writeaudit attach …",
            )
        strace, version = self._find_strace()
        read_end, write_end = _open_pipe(limits)
        child: launcher.Child | None = None
        try:
            with signals_held():
                if attachment.command is not None:
                    child = launcher.spawn_child(attachment.command)
                try:
                    options = _build_options(version, write_end, filtered=False, ends="-I2")
                    tracer = joining.attach_strace(strace, options, attachment.joined.pids, write_end)
                except BaseException:
                    if child is not None:
                        child.abandon_child()
                    raise
                os.close(write_end)
                write_end = -1
                attachment.on_joined()
                return self._watch_attached(
                    attachment, child, tracer, _joined_output(read_end, version, tracer, sink)
                )
        finally:
            if write_end >= 0:
                os.close(write_end)
            os.close(read_end)

    def _watch_attached(
        self, attachment: Attachment, child: launcher.Child | None, tracer: joining.Tracer, output: _Output
    ) -> CaptureOutcome:
        """Read what strace says until the audit is to end, and have it let go."""
        parser = output.parser
        assert parser.started_ns is not None
        how = launcher.Exit(None, None)
        try:
            with _low_priority():
                if child is not None:
                    child.release_child()
                    how = launcher.supervise_child(child, {}, tick_s=_TICK_S, on_tick=output.read_available)
                if child is None or attachment.until_exit:
                    limit = attachment.seconds
                    deadline = None if limit is None else time.monotonic() + limit
                    attend_sources(
                        {},
                        lambda: output.ended or (deadline is not None and time.monotonic() >= deadline),
                        tick_s=_TICK_S,
                        on_tick=output.read_available,
                    )
            ended_ns = time.monotonic_ns()
        finally:
            parser.leave_calls()
            tracer.detach_strace(output.wait_for_end)
        left = sum(map(process_exists, parser.alive))
        last = parser.finish_trace()
        if last:
            output.sink(last)
        return CaptureOutcome(
            exit_status=how.status,
            signal=how.signal,
            started_ns=parser.started_ns,
            ended_ns=ended_ns,
            lost_events=sum(parser.lost.values()),
            blind_spots=(
                joined_spot(parser.started_ns, ended_ns, left),
                *attachment.spots,
                *_list_missed(tracer),
                *parser.blind_spots,
            ),
            received={"line": parser.lines},
            lost=parser.lost,
        )

    def _capture_command(self, command: Command, sink: Sink, limits: CaptureLimits) -> CaptureOutcome:
        """Run ``command`` under strace.

        Processes that outlive the command by more than ``limits.linger_s`` go on being
        traced (a process that strace left could make no more system calls); their trace
        is thrown away.
        """
        strace, version = self._find_strace()
        code = seccomp_filter.build_program() if version >= _SECCOMP and kernel_filters() else None
        read_end, write_end = _open_pipe(limits)
        drain = stand_by(read_end)
        line = StartLine.create_pipes(code)
        output: _Output | None = None
        try:
            child = launcher.spawn_child(command, prepare=line.allow_tracing, enter=line.wait_for_tracer)
            options = _build_options(version, write_end, filtered=code is not None)
            try:
                line.attach_strace(os.fsencode(strace), options, child.pid, write_end)
            except BaseException:
                child.abandon_child()
                raise
            os.close(write_end)
            write_end = -1
            released_ns = _release_child(child, line)
            parser = TraceParser(
                child.pid,
                cwd=os.getcwdb(),
                parent=os.getpid(),
                clock_offset_ns=_clock_offset(),
                host=ProcHost(),
                own_mount_ns=own_mount_ns(),
                deleted_inside=version < _DELETED_OUTSIDE,
                keeps_privileges=keeps_privileges(filtered=code is not None),
                dumps_are_files=core_dumps.are_files(),
            )
            output = _Output(read_end, parser, sink)
            tracer = _Tracer(output, StallWatch(tracer_of(child.pid)))
            with _low_priority():
                how = launcher.supervise_child(child, {}, tick_s=_TICK_S, on_tick=tracer.read_available)
            ended_ns = time.monotonic_ns()
            # Whoever presses Ctrl-C now does not want to wait: those left over are named.
            with contextlib.suppress(KeyboardInterrupt):
                output.wait_for_end(limits.linger_s)
            survivors = () if output.ended else tuple(pid for pid in parser.alive if process_exists(pid))
            last = parser.finish_trace(ended=output.ended, given_up=tracer.given_up)
            if last:
                sink(last)
        finally:
            if write_end >= 0:
                os.close(write_end)
            if output is not None and output.ended:
                drain.end_drain()
            else:
                drain.take_over()
            os.close(read_end)
            line.close()
        if parser.started_ns is None:
            raise CaptureError(
                "strace did not show how the command began",
                hint="see what `strace -f true` says; or try another backend",
            )
        return CaptureOutcome(
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


@contextlib.contextmanager
def _low_priority() -> Iterator[None]:
    """Let strace and the command go first: what they leave in the pipe is read in their pauses.

    Only who may raise a priority gets the usual one back; judging works at the low one, too.
    """
    usual = lower_priority()
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, 0, usual)


def _release_child(child: launcher.Child, line: StartLine) -> int:
    """Let the child go. Raises `BackendUnavailable` if strace could not attach to it."""
    try:
        return child.release_child()
    except CaptureError as error:
        reason = line.read_messages() or error.message
        raise BackendUnavailable(f"strace cannot trace the command: {reason}", hint=INSTALL) from error


def _open_pipe(limits: CaptureLimits) -> tuple[int, int]:
    read_end, write_end = os.pipe()
    # Refused beyond /proc/sys/fs/pipe-user-pages-soft; a smaller one only makes strace wait for us.
    with contextlib.suppress(PermissionError):
        fcntl.fcntl(read_end, fcntl.F_SETPIPE_SZ, max(65536, min(limits.buffer_bytes, _PIPE_BYTES)))
    os.set_blocking(read_end, False)
    return read_end, write_end


def _joined_output(fd: int, version: Version, tracer: joining.Tracer, sink: Sink) -> _Output:
    """Return what reads the trace of processes that were joined."""
    now_ns = time.monotonic_ns()
    parser = TraceParser(
        min(tracer.joined),
        cwd=b"/",
        clock_offset_ns=_clock_offset(),
        host=ProcHost(),
        own_mount_ns=own_mount_ns(),
        deleted_inside=version < _DELETED_OUTSIDE,
        keeps_privileges=keeps_privileges(filtered=False),
        dumps_are_files=core_dumps.are_files(),
    )
    sink(parser.join_running(tracer.joined, now_ns))
    return _Output(fd, parser, sink)


def _list_missed(tracer: joining.Tracer) -> tuple[BlindSpot, ...]:
    if not tracer.missed:
        return ()
    return (
        BlindSpot(
            "not_joined",
            "processes that were made while strace attached itself could not be joined; the ebpf backend "
            "misses none",
            tracer.missed,
        ),
    )


def _build_options(version: Version, output: int, *, filtered: bool, ends: str = "-I4") -> list[bytes]:
    """Return strace's options for a release of it; ``ends``: which signals may end it."""
    options = [
        "-f",
        ends,
        "-q",
        "-y",
        "-ttt",
        "-T",
        "-x",
        f"-s{_STRING_LIMIT}",
        f"-esignal={_SIGNALS}",
        # A name that this strace does not know yet is not an error.
        "-etrace=" + ",".join(f"?{name}" for name in TRACED),
        f"-o/proc/self/fd/{output}",
    ]
    if filtered:
        options.append("--seccomp-bpf")
    if version >= _TRANSLATES_PIDS:
        options.append("--decode-pids=pidns")
    return [os.fsencode(option) for option in options]


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
