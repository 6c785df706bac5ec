"""Whether a backend works here: tried on a command that does nothing, not guessed.

The trial runs in a child of its own, so that nothing of it stays, and a backend that is killed
(by a seccomp filter, say) or hangs takes nobody along. What it goes through is what `run` goes
through; so the two cannot disagree.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import time
from collections.abc import Sequence

from writeaudit.capture.interface import Backend, CaptureLimits, Command, ProcessExec, Record
from writeaudit.errors import BackendUnavailable, WriteauditError

_PATIENCE_S = 120.0
"""How long a trial may take: bcc compiles for half a minute on a slow machine."""
_BUFFER_BYTES = 1 << 20
_ANSWER_BYTES = 65536


def try_backend(backend: Backend, patience_s: float = _PATIENCE_S) -> None:
    """Have ``backend`` audit a command that does nothing. Raises `BackendUnavailable` if it cannot."""
    answer_end, child_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        _write_answer(backend, child_end)
    os.close(child_end)
    try:
        text, in_time = _read_answer(answer_end, patience_s)
    finally:
        os.close(answer_end)
    if not in_time:
        os.killpg(pid, signal.SIGKILL)
    _pid, status = os.waitpid(pid, 0)
    if not in_time:
        raise BackendUnavailable(
            f"it did not end within {patience_s:.0f} s", hint="please report it: this is not expected"
        )
    if os.WIFSIGNALED(status):
        raise BackendUnavailable(_killed_by(os.WTERMSIG(status)), hint="use another backend")
    try:
        answer = json.loads(text)
    except ValueError:
        raise BackendUnavailable("its trial ended without an answer", hint="use another backend") from None
    if answer:
        raise BackendUnavailable(
            answer["reason"],
            hint=answer["hint"],
            detail=answer["detail"],
            command=answer["command"],
            missing=answer["missing"],
        )


def _killed_by(number: int) -> str:
    try:
        name = signal.Signals(number).name
    except ValueError:
        name = f"signal {number}"
    because = ", as a seccomp filter does that forbids its system calls" if name == "SIGSYS" else ""
    return f"its trial was killed by {name}{because}"


def _read_answer(fd: int, patience_s: float) -> tuple[bytes, bool]:
    """Return what the child wrote, and whether it had ended by then."""
    text = b""
    deadline = time.monotonic() + patience_s
    while True:
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([fd], [], [], left)[0]:
            return text, False
        chunk = os.read(fd, _ANSWER_BYTES)
        if not chunk:
            return text, True
        text += chunk


def _write_answer(backend: Backend, fd: int) -> None:
    """Try, in the child; write null, or why it failed, and end."""
    try:
        os.setsid()  # away from the terminal: the trial is no job of the shell's
        null = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(null, stream)
        os.write(fd, json.dumps(_try_backend(backend)).encode())
    finally:
        os._exit(0)


def _try_backend(backend: Backend) -> dict[str, str | None] | None:
    try:
        _audit_nothing(backend)
    except BackendUnavailable as error:
        fields = (error.reason, error.hint, error.detail, error.command, error.missing)
        return dict(zip(("reason", "hint", "detail", "command", "missing"), fields, strict=True))
    except WriteauditError as error:
        return _describe_unexpected(error.message, error.hint)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is the answer
        return _describe_unexpected(f"{type(error).__name__}: {error}", None)
    return None


def _describe_unexpected(reason: str, hint: str | None) -> dict[str, str | None]:
    return {"reason": reason, "hint": hint, "detail": None, "command": None, "missing": None}


def _audit_nothing(backend: Backend) -> None:
    """Audit a command that does nothing. Raises `BackendUnavailable` if its start was not seen."""
    executed = 0

    def count_executed(records: Sequence[Record]) -> None:
        nonlocal executed
        executed += sum(isinstance(record, ProcessExec) for record in records)

    argv = (_own_program(), b"-I", b"-S", b"-c", b"pass")
    outcome = backend.capture(
        Command(argv, dict(os.environb)), count_executed, CaptureLimits(_BUFFER_BYTES, linger_s=1.0)
    )
    if outcome.failure is not None:
        raise outcome.failure
    if outcome.exit_status != 0:
        raise BackendUnavailable(
            "the command of the trial failed under it", detail=f"status {outcome.exit_status}"
        )
    if not executed:
        raise BackendUnavailable("it ran, but did not see the command of the trial")


def _own_program() -> bytes:
    """Return the program that runs this one: it is certainly there, and may be executed."""
    try:
        return os.readlink(b"/proc/self/exe")
    except OSError:
        return os.fsencode(sys.executable)
