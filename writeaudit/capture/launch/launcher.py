"""Starts the audited command and stays out of its way until it ends.

The command is a child in writeaudit's own process group, so that the terminal treats it
as it would without us: it gets Ctrl-C, Ctrl-Z and window-size changes from the terminal
itself. writeaudit ignores the first two for itself and hands on what was sent to it alone.
"""

from __future__ import annotations

import ctypes
import errno
import os
import selectors
import signal
import struct
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, NoReturn

from writeaudit.capture.interface import Command
from writeaudit.capture.launch import job_control, signal_dispositions
from writeaudit.errors import CaptureError, CommandNotExecutable, CommandNotFound, WriteauditError

_SI_KERNEL = 0x80
"""siginfo.si_code of a signal that the terminal driver sent (sigaction(2))."""

_SIGINFO_SIZE = 128
_FORWARDED = (
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGTERM,
    signal.SIGHUP,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGWINCH,
    signal.SIGTSTP,
    signal.SIGCONT,
    signal.SIGALRM,
)
_ERRNO = struct.Struct("=ii")
_READY = b"r"
"""What a child says that waits at its start line."""
_STAGE_EXEC, _STAGE_ENTER, _STAGE_CONFINE = 1, 2, 3


class Exit(NamedTuple):
    """How a child ended: one of the two is None."""

    status: int | None
    signal: int | None


@dataclass(slots=True)
class Child:
    """A child that waits at its start line until `release_child`."""

    pid: int
    pidfd: int
    _go: int
    _failure: int
    _argv0: bytes
    _mask: set[signal.Signals]

    def release_child(self) -> int:
        """Let the child exec its program; returns CLOCK_MONOTONIC (ns) just before.

        Raises `CommandNotFound` or `CommandNotExecutable` if it cannot be executed.
        """
        # Its fork is no part of the command's life. Nothing is read if it has died already.
        os.read(self._failure, len(_READY))
        now = time.monotonic_ns()
        os.write(self._go, b"g")
        os.close(self._go)
        report = b""
        while chunk := os.read(self._failure, 64):
            report += chunk
        os.close(self._failure)
        if not report:
            return now
        self._reap_child()
        stage, number = _ERRNO.unpack(report[: _ERRNO.size])
        raise _launch_error(stage, number, self._argv0)

    def abandon_child(self) -> None:
        """End a child that was never released."""
        os.close(self._go)
        os.close(self._failure)
        self._reap_child()

    def _reap_child(self) -> None:
        os.waitpid(self.pid, 0)
        os.close(self.pidfd)
        signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)


def _launch_error(stage: int, number: int, argv0: bytes) -> Exception:
    name = os.fsdecode(argv0)
    reason = os.strerror(number)
    if stage == _STAGE_ENTER:
        return CaptureError(f"the command cannot be watched: {reason}")
    if stage == _STAGE_CONFINE:
        if number == errno.E2BIG:
            reason = "more confinements are nested than Landlock allows (16)"
        return WriteauditError(f"the command cannot be confined, and was not run: {reason}")
    if number == errno.ENOENT:
        return CommandNotFound(f"{name!r}: command not found", hint="check the spelling and PATH")
    return CommandNotExecutable(f"{name!r} cannot be executed: {reason}")


def spawn_child(
    command: Command,
    *,
    prepare: Callable[[], object] | None = None,
    enter: Callable[[], object] | None = None,
    announce: Callable[[], object] | None = None,
) -> Child:
    """Fork a child that waits to be released, then execs the command.

    In the child ``prepare`` runs before it waits, ``enter`` when it was released, ``announce`` right
    before the exec; they must do nothing but make system calls.
    """
    args = list(command.argv)
    go_read, go_write = os.pipe()
    fail_read, fail_write = os.pipe()
    # Blocked here and read through signalfd in `supervise_child`; the child gets the old mask back.
    mask = {signal.Signals(s) for s in signal.pthread_sigmask(signal.SIG_BLOCK, _FORWARDED)}
    pid = os.fork()
    if pid == 0:
        # Our ends: with them the child would wait for itself if we went away before `release_child`.
        os.close(go_write)
        os.close(fail_read)
        _run_child(command, args, go_read, fail_write, (prepare, enter, announce), mask)
    os.close(go_read)
    os.close(fail_write)
    return Child(pid, os.pidfd_open(pid), go_write, fail_read, args[0], mask)


def _run_child(
    command: Command,
    args: list[bytes],
    go: int,
    failure: int,
    steps: tuple[Callable[[], object] | None, Callable[[], object] | None, Callable[[], object] | None],
    mask: set[signal.Signals],
) -> NoReturn:
    prepare, enter, announce = steps
    stage = _STAGE_ENTER
    try:
        if prepare is not None:
            prepare()
        os.write(failure, _READY)
        if os.read(go, 1) != b"g":
            os._exit(125)
        if enter is not None:
            enter()
        stage = _STAGE_EXEC
        signal_dispositions.INHERITED.restore_ignored()
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        if announce is not None:
            announce()
        if command.confine is not None:
            stage = _STAGE_CONFINE
            command.confine()
            stage = _STAGE_EXEC
        os.execvpe(args[0], args, command.env)
    except OSError as error:
        os.write(failure, _ERRNO.pack(stage, error.errno or 0))
    finally:
        os._exit(127)


def become_command(command: Command) -> NoReturn:
    """Exec the command in place of this process, which has started no thread.

    It has the process's number, parent, terminal and signals then: there is nothing to pass on. Raises
    `CommandNotFound` or `CommandNotExecutable`, and `WriteauditError` if it cannot be confined.
    """
    args = list(command.argv)
    stage = _STAGE_EXEC
    try:
        signal_dispositions.INHERITED.restore_ignored()
        if command.confine is not None:
            stage = _STAGE_CONFINE
            command.confine()
            stage = _STAGE_EXEC
        os.execvpe(args[0], args, command.env)
    except OSError as error:
        raise _launch_error(stage, error.errno or 0, args[0]) from error


class SignalFd:
    """signalfd(2), which the standard library lacks, over some signals, which must be blocked."""

    def __init__(self, numbers: Iterable[int] = _FORWARDED) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        mask = sum(1 << (number - 1) for number in numbers)
        raw = ctypes.create_string_buffer(struct.pack("=Q", mask) + bytes(120), 128)
        self.fd = libc.signalfd(-1, raw, os.O_NONBLOCK | os.O_CLOEXEC)
        if self.fd < 0:
            number = ctypes.get_errno()
            raise CaptureError(f"signalfd: {os.strerror(number)}")

    def read(self) -> list[tuple[signal.Signals, bool]]:
        """Return pending signals; with each whether the terminal sent it to the whole group."""
        out: list[tuple[signal.Signals, bool]] = []
        while True:
            try:
                raw = os.read(self.fd, _SIGINFO_SIZE)
            except BlockingIOError:
                return out
            number, _errno, code = struct.unpack_from("=Iii", raw)
            out.append((signal.Signals(number), code == _SI_KERNEL))

    def close(self) -> None:
        """Close it; the signals stay blocked."""
        os.close(self.fd)


def supervise_child(
    child: Child,
    sources: Mapping[int, Callable[[], object]],
    *,
    tick_s: float = 0.02,
    on_tick: Callable[[], object] = lambda: None,
) -> Exit:
    """Wait until the child has ended; meanwhile call a source whose descriptor is readable.

    ``on_tick`` runs at least every ``tick_s`` seconds. Signals sent to writeaudit are
    handed on, a stop is followed by stopping ourselves, so that the shell gets its
    terminal back. What one of the callables raises is raised when the child has ended: it
    must not suffer from it, nor be left alone.
    """
    signals = SignalFd()
    failures: list[Exception] = []

    def call_guarded(callback: Callable[[], object]) -> None:
        try:
            callback()
        except Exception as error:  # noqa: BLE001 - raised below
            failures.append(error)
            del failures[1:]

    try:
        with selectors.DefaultSelector() as selector:
            selector.register(child.pidfd, selectors.EVENT_READ, None)
            selector.register(signals.fd, selectors.EVENT_READ, None)
            for fd, callback in sources.items():
                selector.register(fd, selectors.EVENT_READ, callback)
            next_tick = time.monotonic() + tick_s
            while True:
                for key, _mask in selector.select(max(0.0, next_tick - time.monotonic())):
                    if key.data is not None:
                        call_guarded(key.data)
                _hand_on(signals, child)
                if time.monotonic() >= next_tick:
                    call_guarded(on_tick)
                    next_tick = time.monotonic() + tick_s
                pid, status = os.waitpid(child.pid, os.WNOHANG | os.WUNTRACED)
                if pid and os.WIFSTOPPED(status):
                    if job_control.is_there():
                        job_control.stop_with(child.pid)
                elif pid:
                    # A Ctrl-C that ended the command has come to us as well: it must not end us.
                    signals.read()
                    if failures:
                        raise failures[0]
                    return _exit_of(status)
    finally:
        os.close(signals.fd)
        os.close(child.pidfd)
        signal.pthread_sigmask(signal.SIG_SETMASK, child._mask)


def _hand_on(signals: SignalFd, child: Child) -> None:
    for number, from_terminal in signals.read():
        if not from_terminal and number is not signal.SIGCONT:
            try:
                os.kill(child.pid, number)
            except ProcessLookupError:
                return


def _exit_of(status: int) -> Exit:
    if os.WIFSIGNALED(status):
        return Exit(None, os.WTERMSIG(status))
    return Exit(os.WEXITSTATUS(status), None)
