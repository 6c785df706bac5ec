"""Runs a recorded command again in a sandbox, audited, with the rights of the user whom it concerns."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import re
import select
import signal
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from writeaudit.audit import RunInfo
from writeaudit.commands.users import Credentials, become, credentials_of
from writeaudit.confine.proof import Refusal, Rerun
from writeaudit.confine.sandbox import SandboxUnavailable, Shown, enter_directory, enter_sandbox
from writeaudit.errors import WriteauditError
from writeaudit.events import OK, Effect, FsEvent, effect_of
from writeaudit.text import escape_path

_PR_SET_CHILD_SUBREAPER = 36
_MOST_OUTPUT = 4096
_MOST_ANSWER = 8 << 20
_MOST_REFUSALS = 1000
_GRACE_S = 20.0
"""So much longer than the recorded run, three times over, may a rerun take."""
_SET_UP_S = 60.0
_TRACED = frozenset({"EROFS", "EACCES", "EPERM", "EBUSY", "EDQUOT", "ENOSPC", "EXDEV"})
_CAPABILITY_VERSION = 0x20080522


def whom_it_concerns(run: RunInfo) -> Credentials | None:
    """Return as whom to rerun; None: as ourselves. Raises `SandboxUnavailable` for somebody whom we cannot
    be.
    """
    if os.geteuid() == run.uid:
        return None
    if os.geteuid() != 0:
        raise SandboxUnavailable(
            f"the recording is of {run.user} (user {run.uid}), and only that user or root can run its "
            "command again"
        )
    return credentials_of(str(run.uid))


def rerun_environment(run: RunInfo, environ: Mapping[bytes, bytes]) -> dict[bytes, bytes]:
    """Return the environment of a rerun: what says where things go as recorded, all else as it is here."""
    from writeaudit.capture.run_info import placing_variables

    placing = placing_variables(environ)
    env = {name: value for name, value in environ.items() if os.fsdecode(name) not in placing}
    return env | {os.fsencode(name): os.fsencode(value) for name, value in run.env.items()}


def rerun_command(run: RunInfo, shown: Sequence[Shown], env: Mapping[bytes, bytes]) -> Rerun:
    """Run it with a read-only root and these places. Raises `SandboxUnavailable`.

    When this process ends, however it does, so do the sandbox and all that runs in it.
    """
    who = whom_it_concerns(run)
    if run.signal is not None and not 0 < run.signal < signal.NSIG:
        raise SandboxUnavailable(
            f"the recording says that signal {run.signal} ended the command: there is none"
        )
    control_end, control = os.pipe()
    answer, answer_end = os.pipe()
    output, output_end = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            for fd in (control, answer, output):
                os.close(fd)
            _keep_house(run, shown, env, who, (control_end, answer_end, output_end))
            status = 0
        finally:
            os._exit(status)
    for fd in (control_end, answer_end, output_end):
        os.close(fd)
    stop_at = None if run.signal is None else max(run.duration_s, 0.1)
    try:
        raw, written = _listen(answer, output, control, 3 * run.duration_s + _GRACE_S, stop_at, run.signal)
    finally:
        with contextlib.suppress(OSError):
            os.close(control)
        os.close(answer)
        os.close(output)
        os.waitpid(pid, 0)
    return _rerun_of(raw, written)


def _rerun_of(raw: bytes, written: bytes) -> Rerun:
    tail = "".join(char if char.isprintable() or char == "\n" else escape_path(char.encode()) for char in
                   written.decode("utf-8", "backslashreplace"))  # fmt: skip
    if not raw:
        return Rerun(None, complete=False, output=tail)
    found: dict[str, Any] = json.loads(raw)
    if found.get("unavailable"):
        raise SandboxUnavailable(found["unavailable"], hint=found.get("hint"))
    refusals = tuple(
        Refusal(op, bytes.fromhex(path), result, None if source is None else bytes.fromhex(source))
        for op, path, result, source in found["refusals"]
    )
    return Rerun(found["status"], refusals, found["complete"], tail)


def _listen(
    answer: int, output: int, control: int, limit_s: float, stop_at: float | None, number: int | None
) -> tuple[bytes, bytes]:
    """Return the answer, empty if there was none in time, and the end of the command's output."""
    raw, written = bytearray(), bytearray()
    begun: float | None = None
    deadline = time.monotonic() + _SET_UP_S
    stopped = stop_at is None
    waiting = [answer, output]
    while answer in waiting:
        now = time.monotonic()
        if begun is not None and not stopped and stop_at is not None and now >= begun + stop_at:
            os.write(control, bytes([number or signal.SIGTERM]))
            stopped = True
        if now >= deadline:
            return b"", bytes(written)
        until = deadline if stopped or begun is None or stop_at is None else min(deadline, begun + stop_at)
        ready, _, _ = select.select(waiting, [], [], max(until - now, 0.01))
        for fd in ready:
            piece = os.read(fd, 65536)
            if not piece:
                waiting.remove(fd)
            elif fd == output:
                written += piece
                del written[:-_MOST_OUTPUT]
            else:
                if begun is None and piece[:1] == b"\n":  # it is about to begin
                    begun = time.monotonic()
                    deadline = begun + limit_s
                raw += piece
                if len(raw) > _MOST_ANSWER:
                    return b"", bytes(written)
    return bytes(raw).strip(), bytes(written)


def _keep_house(
    run: RunInfo,
    shown: Sequence[Shown],
    env: Mapping[bytes, bytes],
    who: Credentials | None,
    ends: tuple[int, int, int],
) -> None:
    """Be the first process of the sandbox: set it up, start the audit in it, and end all when nobody
    listens.
    """
    control, answer, output = ends
    os.setsid()
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.close(output)
    try:
        if who is not None:
            # First of all, so that the user makes the sandbox, in a user namespace: with root's rights, files
            # that the user can replace would be copied and mounted, and set-user-ID programs would find them.
            become(who)
        scratch = enter_sandbox(shown, (os.geteuid(), os.getegid()))
        enter_directory(run.cwd)
    except WriteauditError as error:
        _answer(answer, {"unavailable": error.message, "hint": error.hint})
        return
    child = os.fork()
    if child == 0:
        try:
            os.close(control)
            _audit(run, env, scratch, answer)
        finally:
            os._exit(0)
    os.close(answer)
    for fd in (0, 1, 2):
        os.dup2(nothing, fd)
    _watch(child, control)
    _end_all()


def _watch(child: int, control: int) -> None:
    """Wait for the audit to end, handing signals on; or for whoever asked for it to be gone."""
    watched = os.pidfd_open(child)
    while True:
        ready, _, _ = select.select([watched, control], [], [])
        if watched in ready:
            return
        number = os.read(control, 1)
        if not number:
            return
        os.kill(child, number[0])


def _end_all() -> None:
    """Kill every process below this one, until there is none."""
    while True:
        for pid in _below(os.getpid()):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


def _below(top: int) -> list[int]:
    parents: dict[int, int] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            with (
                contextlib.suppress(OSError, ValueError, IndexError),
                open(f"/proc/{name}/stat", "rb") as file,
            ):
                parents[int(name)] = int(file.read().rpartition(b")")[2].split()[1])
    found = []
    for pid, parent in parents.items():
        above: int | None = parent
        while above in parents and above != top:
            above = parents.get(above)
        if above == top:
            found.append(pid)
    return found


def _answer(fd: int, content: Mapping[str, object]) -> None:
    raw = json.dumps(content).encode()
    while raw:
        raw = raw[os.write(fd, raw) :]
    os.close(fd)


def _audit(run: RunInfo, env: Mapping[bytes, bytes], scratch: bytes, answer: int) -> None:
    """Record the command, and answer how it ended and what it was refused."""
    from writeaudit import pipeline
    from writeaudit.capture.interface import CaptureLimits, Command
    from writeaudit.capture.select import AUTO
    from writeaudit.recording import Recording

    limits = CaptureLimits(linger_s=0.0)
    try:
        if os.geteuid() != 0:
            _drop_capabilities()
        os.write(answer, b"\n")
        path = os.fsdecode(os.path.join(scratch, b"rerun.wa"))
        recorded = pipeline.record(
            Command(run.command, env), path, backend=AUTO, policy={"name": "rerun"}, limits=limits
        )
        events: Iterable[FsEvent] | None = recorded.events
        with Recording(path, recorded.written) as opened:
            audit = opened.read_audit(recorded.events)
            outcome = recorded.outcome
            status = outcome.exit_status if outcome.signal is None else 128 + outcome.signal
            complete = recorded.error is None and audit.completeness.complete
            refusals, all_of_them = _refusals(events if events is not None else audit.events)
        _answer(answer, {"status": status, "refusals": refusals, "complete": complete and all_of_them})
    except WriteauditError as error:
        _answer(answer, {"unavailable": error.message, "hint": error.hint})
    except Exception as error:  # noqa: BLE001 - whoever waits for the answer must be told
        _answer(answer, {"unavailable": f"{type(error).__name__}: {error}", "hint": None})


def _refusals(events: Iterable[FsEvent]) -> tuple[list[tuple[str, str, str, str | None]], bool]:
    found: dict[tuple[str, str, str, str | None], None] = {}
    for event in events:
        if event.result == OK or event.result not in _TRACED or effect_of(event) is Effect.NONE:
            continue
        if re.match(rb"/(?:proc|sys|dev)(?:/|\Z)", event.path):
            continue
        source = event.source.hex() if event.source is not None and event.op.value != "symlink" else None
        found[(event.op.value, event.path.hex(), event.result, source)] = None
        if len(found) >= _MOST_REFUSALS:
            return list(found), False
    return list(found), True


def _drop_capabilities() -> None:
    """Let go of what a user namespace gave us; the command, once executed, has none of it anyway."""
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION, 0)
    if ctypes.CDLL(None).capset(header, (ctypes.c_uint32 * 6)()) != 0:
        raise SandboxUnavailable("the capabilities of the user namespace could not be given up")
