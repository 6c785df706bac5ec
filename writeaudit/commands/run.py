"""`writeaudit run`: the whole of it in one command."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import click

from writeaudit.capture.interface import CaptureLimits, Command
from writeaudit.capture.select import AUTO, list_names
from writeaudit.commands.auditing import (
    Answer,
    Seconds,
    audit,
    check_command,
    check_sudo,
    default_recording,
    notes_on,
    parse_size,
    separate,
    working_directory,
)
from writeaudit.commands.base import RunCommand
from writeaudit.commands.complete import complete_command, complete_file, complete_user
from writeaudit.commands.options import (
    Outputs,
    check_targets,
    output_options,
    policy_options,
    verbose_option,
)
from writeaudit.commands.outputs import check_outputs
from writeaudit.commands.users import command_environment, command_user

if TYPE_CHECKING:
    from writeaudit.judgement import Policy

_F = TypeVar("_F", bound=Callable[..., Any])


class Wanted(NamedTuple):
    """What a policy is chosen for."""

    command: tuple[bytes, ...]
    cwd: bytes
    env: Mapping[str, str]
    named: set[str]
    """Takes the names of the variables that the policy asks for."""


class Confinement(NamedTuple):
    """What holds a command to its policy."""

    enter: Callable[[], object]
    """Puts the calling process under it."""
    abi: int
    """The version of Landlock."""
    notes: tuple[str, ...]
    """What the reader should know of it."""


def audit_options(function: _F) -> _F:
    """Add the options about how to watch, and for whom to write what; the function gets ``outputs``, too."""
    for option in reversed(
        (
            click.option(
                "--backend",
                type=click.Choice(list_names()),
                default=AUTO,
                show_default=True,
                help="How to watch: auto takes the first that works here (see writeaudit doctor).",
            ),
            click.option(
                "-o",
                "--output",
                "recording",
                metavar="FILE",
                shell_complete=complete_file,
                help="Keep the recording there (default: a new file among those that writeaudit list shows).",
            ),
            output_options,
            click.option(
                "--sudo",
                is_flag=True,
                help="Capture with root's rights, through sudo; all else, the command too, runs as you.",
            ),
            click.option(
                "--user",
                metavar="NAME",
                shell_complete=complete_user,
                help="As root: be this user for all but capture (default: who called sudo).",
            ),
            click.option(
                "--linger",
                type=Seconds(),
                default=5.0,
                show_default=True,
                metavar="SECONDS",
                help="How long to wait for processes that outlive the command.",
            ),
            click.option(
                "--buffer",
                metavar="SIZE",
                default="16M",
                show_default=True,
                help="Size of the kernel's event buffer: a power of two such as 64M.",
            ),
            click.option(
                "--probes",
                metavar="DIR",
                help="Run the BPF programs from this copy of their sources (ebpf: needs clang; bcc).",
            ),
            verbose_option,
        )
    ):
        function = option(function)
    return function


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
@audit_options
@policy_options
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
    return audit_command(
        backend=backend,
        policy_file=policy_file,
        fail_on=fail_on,
        recording=recording,
        sudo=sudo,
        user=user,
        linger=linger,
        buffer=buffer,
        probes=probes,
        verbose=verbose,
        quiet=quiet,
        command=command,
        outputs=outputs,
        choose=lambda wanted: _choose_policy(wanted, policy_file, profile, zones),
    )


def _choose_policy(
    wanted: Wanted, policy_file: str | None, profile: str | None, zones: tuple[str, ...]
) -> Policy:
    from writeaudit import pipeline

    return pipeline.choose_policy(
        wanted.command,
        wanted.cwd,
        wanted.env,
        policy_file=policy_file,
        profile=profile,
        zones=zones,
        named=wanted.named,
    )


def audit_command(
    *,
    backend: str,
    policy_file: str | None,
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
    choose: Callable[[Wanted], Policy],
    confine: Callable[[Policy], Confinement] | None = None,
) -> int:
    """Run and audit a command; return the exit status.

    ``choose`` finds the policy. ``confine`` has the command held to it. ``policy_file`` is no output.
    """
    limits = CaptureLimits(buffer_bytes=parse_size(buffer), linger_s=linger)
    cwd = working_directory()
    who = command_user(user, os.environ)
    if sudo:
        check_sudo(backend, probes, user)
    separate(who, backend, probes, limits, sudo=sudo)
    check_outputs(
        outputs.by_option,
        recording=recording,
        recording_is="-o",
        policy=policy_file,
    )
    check_targets(outputs)
    check_command(command)
    from writeaudit.analysis.fail_on import parse_fail_on

    failing = parse_fail_on(fail_on)
    env = command_environment(who, os.environb)
    argv = tuple(os.fsencode(word) for word in command)
    texts = {os.fsdecode(name): os.fsdecode(value) for name, value in env.items()}
    named: set[str] = set()
    policy = choose(Wanted(argv, cwd, texts, named))
    audited, notes = Command(argv, env, frozenset(named)), notes_on(who, user)
    if confine is not None:
        confinement = confine(policy)
        audited = audited._replace(confine=confinement.enter, landlock=confinement.abi)
        notes = (*notes, *confinement.notes)
    return audit(
        audited,
        policy,
        Answer(
            recording or default_recording(texts), outputs, fail_on, failing, quiet=quiet, verbose=verbose
        ),
        backend=backend,
        probes=probes,
        notes=notes,
        limits=limits,
    )
