"""What `run` and `attach` share: how capture comes by its rights, and what is done once it is over."""

from __future__ import annotations

import ctypes
import math
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from writeaudit.capture.interface import CaptureLimits
from writeaudit.capture.kernel.loading import AHEAD
from writeaudit.capture.kernel.privileged import client
from writeaudit.capture.select import AUTO
from writeaudit.commands.options import Outputs, audit_status, show_summary, write_reports
from writeaudit.commands.users import Credentials, become
from writeaudit.errors import CommandNotFound, UsageError, WriteauditError, complain
from writeaudit.text import is_number

if TYPE_CHECKING:
    from writeaudit.analysis.fail_on import FailOn
    from writeaudit.capture.targets import Target
    from writeaudit.judgement import Policy

_LONGEST_LINGER_S = 1_000_000
"""11 days; some system calls take no longer times."""
_THROUGH_SUDO = (
    "Started through sudo, which resets the environment (UV_CACHE_DIR, VIRTUAL_ENV, PATH and the like may "
    "be missing): `writeaudit run --sudo -- COMMAND` keeps it."
)
_PR_SET_DUMPABLE = 4
_DIGITS = 10
"""So many has the greatest size."""


class Seconds(click.FloatRange):
    """How long to wait: a number, which NaN is not, and which has an end."""

    def __init__(self) -> None:
        super().__init__(min=0, max=_LONGEST_LINGER_S)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the seconds; ends with a usage error."""
        seconds = super().convert(value, param, ctx)
        if math.isnan(seconds):
            self.fail(f"{value!r} is not a number of seconds.", param, ctx)
        return seconds


class Answer(NamedTuple):
    """What becomes of an audit, and what it is measured by."""

    recording: str
    outputs: Outputs
    fail_on: tuple[str, ...]
    failing: FailOn
    quiet: bool
    verbose: bool = False


def audit(
    target: Target,
    policy: Policy,
    answer: Answer,
    *,
    backend: str,
    probes: str | None,
    notes: Sequence[str],
    limits: CaptureLimits,
) -> int:
    """Record, judge and report; return the exit status. Raises `WriteauditError`."""
    from writeaudit import pipeline
    from writeaudit.recording import Recording

    path, quiet = answer.recording, answer.quiet
    progress = None
    if not quiet and sys.stderr.isatty():
        from writeaudit.report.progress import Progress

        progress = Progress()

    def advance(events: int, changes: int) -> None:
        if not quiet:
            from writeaudit.report.terminal import prepare

            prepare()
        if progress is not None:
            progress.update(events, changes)

    recorded = pipeline.record(
        target,
        path,
        backend=backend,
        probes=probes,
        policy=pipeline.kept_policy(policy),
        notes=notes,
        limits=limits,
        directories=[pattern for zone in policy.zones for pattern in zone.patterns],
        progress=advance,
    )
    if progress is not None:
        progress.clear()
    with saying_where(path):
        if recorded.error is not None:
            raise recorded.error
        with Recording(path, recorded.written) as opened:
            examined = pipeline.examine(
                opened,
                fail_on=answer.failing,
                fail_on_words=answer.fail_on or ("error",),
                events=recorded.events,
            )
            written = write_reports(examined, answer.outputs)
            if not quiet:
                show_summary(
                    examined, {"recording": os.path.abspath(path), **written}, verbose=answer.verbose
                )
    outcome = recorded.outcome
    if outcome.signal is not None:
        return 128 + outcome.signal
    if outcome.exit_status:
        return outcome.exit_status
    return audit_status(examined)


@contextmanager
def saying_where(path: str) -> Iterator[None]:
    """Say where the recording is if something goes wrong once the command has run."""
    try:
        yield
    except Exception:
        complain(WriteauditError(f"the recording is {os.path.abspath(path)}"))
        raise


def separate(
    who: Credentials | None,
    backend: str,
    probes: str | None,
    limits: CaptureLimits,
    *,
    sudo: bool,
    joins: bool = False,
) -> None:
    """Leave what takes root's rights to a process of its own, where we are not to have them; begin to load.

    `cli` has begun with it already, as far as the command line says what to do at a glance. ``joins``: other
    programs are needed, and are loaded when they are asked for.
    """
    loads = backend in (AUTO, "ebpf") and probes is None and not joins
    # The command, which may be of the same user, must not reach into our memory (ptrace(2)).
    ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    if who is not None:
        client.start_by_fork(limits.buffer_bytes if loads else 0, may_join=joins)
        become(who)
    elif sudo and os.geteuid() != 0:
        client.start_through_sudo(0 if joins else limits.buffer_bytes)
    elif loads and client.running_monitor() is None:
        AHEAD.start_loading(limits.buffer_bytes)  # the kernel is busy with it while the rest is imported


def working_directory() -> bytes:
    """Return it. Raises UsageError if it is gone: names could be relative to nothing."""
    try:
        return os.getcwdb()
    except OSError as error:
        raise UsageError(
            f"the working directory cannot be told: {error.strerror}", hint="it may have been removed: cd /"
        ) from error


def check_sudo(backend: str, probes: str | None, user: str | None) -> None:
    """Raise UsageError for options that do not go with --sudo."""
    if backend not in (AUTO, "ebpf"):
        raise UsageError(
            f"--sudo goes with the ebpf backend, not with {backend}",
            hint="leave out --backend, or run all of writeaudit as root: sudo writeaudit run …",
        )
    for option, given in (("--probes", probes), ("--user", user)):
        if given is not None:
            raise UsageError(
                f"{option} does not go with --sudo",
                hint="run all of writeaudit as root: sudo writeaudit run …",
            )


def notes_on(who: Credentials | None, user: str | None) -> tuple[str, ...]:
    """Return what the reader should know of how root's rights were come by."""
    if who is not None and user is None:
        return (_THROUGH_SUDO,)
    return ()


def check_command(command: tuple[str, ...]) -> None:
    """Raise `CommandNotFound` for an empty name: Python refuses it before the kernel is asked, unseen."""
    if not command[0]:
        raise CommandNotFound("'': command not found", hint="check the spelling and PATH")


def parse_size(text: str) -> int:
    """Return a size in bytes: ``4096``, ``64K``, ``16M``. Raises UsageError unless a power of two."""
    units = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
    number, unit = (text[:-1], units[text[-1].upper()]) if text[-1:].upper() in units else (text, 1)
    size = int(number) * unit if is_number(number, _DIGITS) else 0
    if size < 4096 or size & (size - 1) or size > 1 << 31:
        raise UsageError(
            f"--buffer {text}: not a power of two from 4K to 2G", hint="for example: --buffer 64M"
        )
    return size


def default_recording(env: dict[str, str]) -> str:
    """Return a fresh name in the directory of recordings, which is made if need be."""
    from writeaudit.recording import make_runs_directory

    directory = make_runs_directory(env)
    # Of one reading of the clock: "last" is the greatest name.
    seconds, fraction = divmod(time.time_ns() // 1_000_000, 1000)
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime(seconds))
    return os.path.join(directory, f"{stamp}.{fraction:03d}-{os.getpid()}.wa")
