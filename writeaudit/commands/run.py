"""`writeaudit run`: the whole of it in one command."""

from __future__ import annotations

import math
import os
import sys
import time
from typing import Any

import click

from writeaudit.capture.interface import Command, Limits
from writeaudit.capture.loading import load_ahead
from writeaudit.capture.select import AUTO, names
from writeaudit.commands.options import (
    audit_status,
    output_options,
    policy_options,
    show_summary,
    write_reports,
)
from writeaudit.commands.outputs import check_outputs
from writeaudit.commands.users import command_environment, command_user
from writeaudit.errors import CommandNotFound, OutputError, UsageError
from writeaudit.text import is_number

_LONGEST_LINGER_S = 1_000_000
"""11 days; some system calls take no longer times."""
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
    type=click.Choice(names()),
    default=AUTO,
    show_default=True,
    help="How to watch: auto takes the first that works here (see writeaudit doctor).",
)
@policy_options
@click.option("-o", "--output", "recording", metavar="RECORDING", help="Keep the recording there.")
@output_options
@click.option("--user", metavar="NAME", help="Run the command as this user (default: who called sudo).")
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
@click.option("-q", "--quiet", is_flag=True, help="No summary and no progress, only errors.")
@click.argument("command", nargs=-1, type=click.UNPROCESSED, required=True)
def command(
    backend: str,
    policy_file: str | None,
    profile: str | None,
    zones: tuple[str, ...],
    fail_on: tuple[str, ...],
    recording: str | None,
    html: str | None,
    json: str | None,
    user: str | None,
    linger: float,
    buffer: str,
    probes: str | None,
    quiet: bool,
    command: tuple[str, ...],
) -> int:
    """Run COMMAND and audit what it, and all that it starts, does to files.

    The command keeps its terminal, its streams, its environment and its signals. A summary
    goes to standard error, and the exit status is the command's own unless it succeeded and
    the audit did not come out clean (100: findings, 101: incomplete).
    """
    limits = Limits(buffer_bytes=parse_size(buffer), linger_s=linger)
    check_outputs(
        {"--html": html, "--json": json}, recording=recording, recording_is="-o", policy=policy_file
    )
    _check_command(command)
    if backend in (AUTO, "ebpf") and probes is None:
        load_ahead(limits.buffer_bytes)  # the kernel is busy with it while the rest is imported
    from writeaudit import pipeline
    from writeaudit.analysis.fail_on import parse_fail_on
    from writeaudit.recording import Recording

    failing = parse_fail_on(fail_on)
    who = command_user(user, os.environ)
    env = command_environment(who, os.environb)
    argv = tuple(os.fsencode(word) for word in command)
    texts = {os.fsdecode(name): os.fsdecode(value) for name, value in env.items()}
    named: set[str] = set()
    policy = pipeline.choose_policy(
        argv, os.getcwdb(), texts, policy_file=policy_file, profile=profile, zones=zones, named=named
    )
    owner = (who.uid, who.gid) if who is not None else None
    path = recording or _default_recording(texts, owner)
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
        Command(argv, env, who, frozenset(named)),
        path,
        backend=backend,
        probes=probes,
        policy=pipeline.kept_policy(policy),
        owner=owner,
        limits=limits,
        progress=advance,
    )
    if progress is not None:
        progress.clear()
    if recorded.error is not None:
        raise recorded.error
    with Recording(path) as opened:
        examined = pipeline.examine(
            opened, fail_on=failing, fail_on_words=fail_on or ("error",), events=recorded.events
        )
        written = write_reports(examined, {"html": html, "json": json}, owner)
        if not quiet:
            show_summary(examined, {"recording": os.path.abspath(path), **written})
        outcome = recorded.outcome
        if outcome.signal is not None:
            return 128 + outcome.signal
        if outcome.exit_status:
            return outcome.exit_status
        return audit_status(examined)


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


def _default_recording(env: dict[str, str], owner: tuple[int, int] | None) -> str:
    """Return a fresh name in the directory of recordings, which is made if need be."""
    from writeaudit.recording import runs_directory

    # Through sudo XDG_STATE_HOME is root's or nobody's: the invoking user's default holds.
    places = {} if owner is not None else env
    directory = runs_directory(env.get("HOME", "/"), places)
    missing: list[str] = []
    part = directory
    while part and not os.path.exists(part):
        missing.append(part)
        part = os.path.dirname(part)
    try:
        os.makedirs(directory, exist_ok=True)
        if owner is not None:
            for part in missing:
                os.chown(part, *owner)
    except OSError as error:
        raise OutputError(
            f"cannot make the directory for recordings {directory}: {error.strerror}",
            hint="name a file for the recording: -o FILE",
        ) from error
    # Of one reading of the clock: "last" is the greatest name.
    seconds, fraction = divmod(time.time_ns() // 1_000_000, 1000)
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime(seconds))
    return os.path.join(directory, f"{stamp}.{fraction:03d}-{os.getpid()}.wa")
