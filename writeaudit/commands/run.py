"""`writeaudit run`: the whole of it in one command."""

from __future__ import annotations

import ctypes
import math
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from writeaudit.capture.interface import CaptureLimits, Command
from writeaudit.capture.kernel.loading import AHEAD
from writeaudit.capture.kernel.privileged import client
from writeaudit.capture.select import AUTO, list_names
from writeaudit.commands.base import RunCommand
from writeaudit.commands.complete import complete_command, complete_file, complete_user
from writeaudit.commands.options import (
    Outputs,
    audit_status,
    check_targets,
    output_options,
    policy_options,
    show_summary,
    verbose_option,
    write_reports,
)
from writeaudit.commands.outputs import check_outputs
from writeaudit.commands.users import Credentials, become, command_environment, command_user
from writeaudit.errors import CommandNotFound, UsageError, WriteauditError, complain
from writeaudit.text import is_number

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


@click.command(
    "run",
    cls=RunCommand,
    short_help="Run a command and audit what it does to files.",
    context_settings={"ignore_unknown_options": False, "allow_interspersed_args": False},
    epilog="""\b
Examples:
  writeaudit run -- uv sync --frozen
  writeaudit run --profile frozen -- uv sync --frozen
  writeaudit run --zone cache=/srv/uv-cache:ro --html report.html -- uv sync
  writeaudit run --fail-on link-fallback -- uv pip install -r requirements.txt""",
)
@click.option(
    "--backend",
    type=click.Choice(list_names()),
    default=AUTO,
    show_default=True,
    help="How to watch: auto takes the first that works here (see writeaudit doctor).",
)
@policy_options
@click.option(
    "-o",
    "--output",
    "recording",
    metavar="FILE",
    shell_complete=complete_file,
    help="Keep the recording there (default: a new file among those that writeaudit list shows).",
)
@output_options
@click.option(
    "--sudo",
    is_flag=True,
    help="Capture with root's rights, through sudo; everything else, the command too, runs as you.",
)
@click.option(
    "--user",
    metavar="NAME",
    shell_complete=complete_user,
    help="As root: be this user for the command and all else but capture (default: who called sudo).",
)
@click.option(
    "--linger",
    type=Seconds(),
    default=5.0,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait for processes that outlive the command.",
)
@click.option(
    "--buffer",
    metavar="SIZE",
    default="16M",
    show_default=True,
    help="Size of the kernel's event buffer: a power of two such as 64M.",
)
@click.option(
    "--probes",
    metavar="DIR",
    help="Run the BPF programs from this copy of their sources (ebpf: needs clang; bcc).",
)
@verbose_option
@click.option("-q", "--quiet", is_flag=True, help="No summary and no progress, only errors.")
@click.argument("command", nargs=-1, type=click.UNPROCESSED, required=True, shell_complete=complete_command)
def command(
    backend: str,
    policy_file: str | None,
    profile: str | None,
    zones: tuple[str, ...],
    fail_on: tuple[str, ...],
    recording: str | None,
    sudo: bool,
    user: str | None,
    linger: float,
    buffer: str,
    probes: str | None,
    verbose: bool,
    quiet: bool,
    command: tuple[str, ...],
    outputs: Outputs,
) -> int:
    """Run COMMAND and audit what it, and all that it starts, does to files.

    The command keeps its terminal, its streams, its environment and its signals. A summary
    goes to standard error, and the exit status is the command's own unless it succeeded and
    the audit did not come out clean (100: findings, 101: incomplete).
    """
    limits = CaptureLimits(buffer_bytes=parse_size(buffer), linger_s=linger)
    cwd = _working_directory()
    who = command_user(user, os.environ)
    if sudo:
        _check_sudo(backend, probes, user)
    _separate(who, backend, probes, limits, sudo=sudo)
    check_outputs(
        outputs.by_option,
        recording=recording,
        recording_is="-o",
        policy=policy_file,
    )
    check_targets(outputs)
    _check_command(command)
    from writeaudit import pipeline
    from writeaudit.analysis.fail_on import parse_fail_on
    from writeaudit.recording import Recording

    failing = parse_fail_on(fail_on)
    env = command_environment(who, os.environb)
    argv = tuple(os.fsencode(word) for word in command)
    texts = {os.fsdecode(name): os.fsdecode(value) for name, value in env.items()}
    named: set[str] = set()
    policy = pipeline.choose_policy(
        argv, cwd, texts, policy_file=policy_file, profile=profile, zones=zones, named=named
    )
    path = recording or _default_recording(texts)
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

    audited = Command(argv, env, frozenset(named))
    recorded = pipeline.record(
        audited,
        path,
        backend=backend,
        probes=probes,
        policy=pipeline.kept_policy(policy),
        notes=_notes(who, user),
        limits=limits,
        directories=[pattern for zone in policy.zones for pattern in zone.patterns],
        progress=advance,
    )
    if progress is not None:
        progress.clear()
    with _saying_where(path):
        if recorded.error is not None:
            raise recorded.error
        with Recording(path, recorded.written) as opened:
            examined = pipeline.examine(
                opened, fail_on=failing, fail_on_words=fail_on or ("error",), events=recorded.events
            )
            written = write_reports(examined, outputs)
            if not quiet:
                show_summary(examined, {"recording": os.path.abspath(path), **written}, verbose=verbose)
    outcome = recorded.outcome
    if outcome.signal is not None:
        return 128 + outcome.signal
    if outcome.exit_status:
        return outcome.exit_status
    return audit_status(examined)


@contextmanager
def _saying_where(path: str) -> Iterator[None]:
    """Say where the recording is if something goes wrong once the command has run."""
    try:
        yield
    except Exception:
        complain(WriteauditError(f"the recording is {os.path.abspath(path)}"))
        raise


def _separate(
    who: Credentials | None, backend: str, probes: str | None, limits: CaptureLimits, *, sudo: bool
) -> None:
    """Leave what takes root's rights to a process of its own, where we are not to have them; begin to load.

    `cli` has begun with it already, as far as the command line says what to do at a glance.
    """
    loads = backend in (AUTO, "ebpf") and probes is None
    # The command, which may be of the same user, must not reach into our memory (ptrace(2)).
    ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    if who is not None:
        client.start_by_fork(limits.buffer_bytes if loads else 0)
        become(who)
    elif sudo and os.geteuid() != 0:
        client.start_through_sudo(limits.buffer_bytes)
    elif loads and client.running() is None:
        AHEAD.start(limits.buffer_bytes)  # the kernel is busy with it while the rest is imported


def _working_directory() -> bytes:
    """Return it. Raises UsageError if it is gone: names could be relative to nothing."""
    try:
        return os.getcwdb()
    except OSError as error:
        raise UsageError(
            f"the working directory cannot be told: {error.strerror}", hint="it may have been removed: cd /"
        ) from error


def _check_sudo(backend: str, probes: str | None, user: str | None) -> None:
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


def _notes(who: Credentials | None, user: str | None) -> tuple[str, ...]:
    """Return what the reader should know of how root's rights were come by."""
    if who is not None and user is None:
        return (_THROUGH_SUDO,)
    return ()


def _check_command(command: tuple[str, ...]) -> None:
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


def _default_recording(env: dict[str, str]) -> str:
    """Return a fresh name in the directory of recordings, which is made if need be."""
    from writeaudit.recording import make_runs_directory

    directory = make_runs_directory(env)
    # Of one reading of the clock: "last" is the greatest name.
    seconds, fraction = divmod(time.time_ns() // 1_000_000, 1000)
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime(seconds))
    return os.path.join(directory, f"{stamp}.{fraction:03d}-{os.getpid()}.wa")
