"""`writeaudit confine`: the command can write only where its policy allows, by Landlock."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from writeaudit.commands.auditing import check_command, working_directory
from writeaudit.commands.base import RunCommand
from writeaudit.commands.complete import complete_command, complete_recording
from writeaudit.commands.options import judged_again, policy_options
from writeaudit.commands.run import (
    Confinement,
    Wanted,
    audit_command,
    audit_options,
)
from writeaudit.commands.users import become, command_environment, command_user
from writeaudit.errors import UsageError
from writeaudit.text import escape_path, plural

if TYPE_CHECKING:
    from writeaudit.confine.writable import Place
    from writeaudit.judgement import Policy
    from writeaudit.policy import PolicyReach

_ALONE = frozenset({"user", "quiet"})
"""Options of `run` that make sense without an audit."""
_OF_POLICY = frozenset({"profile", "zones"})
"""Options that are needed to choose the policy, and no further."""
_STREAMS = 3
_SHOWN = 3


class _ConfineCommand(RunCommand):
    """`confine`: the project, which is what is confined, does not choose the profile."""

    project_settings = frozenset({"backend", "buffer", "fail_on", "linger"})


@click.command(
    "confine",
    cls=_ConfineCommand,
    short_help="Run a command that can write only where its policy allows.",
    context_settings={"ignore_unknown_options": False, "allow_interspersed_args": False},
    epilog="""\b
Examples:
  writeaudit confine -- uv sync
  writeaudit confine --zone out=./dist:rw -- make
  writeaudit confine --policy ci.toml --audit --html report.html -- npm ci
  writeaudit confine --from last -- ./install.sh""",
)
@policy_options
@click.option(
    "--from",
    "source",
    metavar="RECORDING",
    shell_complete=complete_recording,
    help='Allow the directories in which that run wrote (a file, or "last"): what suggest --for landlock '
    "says.",
)
@click.option(
    "--audit",
    is_flag=True,
    help="Audit the command as well, as run does; what is refused is explained. The options of run go "
    "with it.",
)
@click.option(
    "--abi",
    type=click.IntRange(min=1),
    metavar="N",
    help="Use no more of Landlock than its version N, to see what an older kernel would do.",
)
@audit_options
@click.option("-q", "--quiet", is_flag=True, help="Say nothing but errors.")
@click.argument("command", nargs=-1, type=click.UNPROCESSED, required=True, shell_complete=complete_command)
@click.pass_context
def command(
    context: click.Context, /, *, source: str | None, audit: bool, abi: int | None, **options: Any
) -> int:
    """Run COMMAND so that it can write only in the writable zones of its policy (see run).

    Landlock enforces it, in the kernel, from the first instruction, for all that the command starts. It takes
    no privilege, and a process cannot shed it. Zones with access none cannot be read either. Everything
    else can be read and executed.

    Where the policy says more than Landlock can, less is granted, and a sentence says so. A command that
    no profile knows needs --policy, --profile, --zone or --from.

    Not covered: changes of mode, owner, times, extended attributes and flags (chattr); stat; sockets with a
    name in the file system, and so what daemons do when asked; the terminal, into which it may type; standard
    streams that are open for writing. Other descriptors of that kind are closed where the policy forbids
    writing. Setuid programs and sudo gain no privilege (no_new_privs), nothing can be mounted, processes
    outside can be neither traced nor (from Linux 6.12 on) signalled.

    The exit status is the command's own. 125: it cannot be confined, and was not run.
    """
    if source is not None and (options["policy_file"] is not None or options["profile"] is not None):
        raise UsageError(
            "--from does not go with --policy or --profile", hint="each of them says what may be written"
        )
    if audit:
        given = {name: value for name, value in options.items() if name not in _OF_POLICY}
        return audit_command(
            **given,
            choose=lambda wanted: _choose_policy(wanted, source, options),
            confine=lambda policy: _confine(policy, options["command"], abi, audited=True),
        )
    _refuse_audit_options(context)
    return _run_confined(source, abi, options)


def _refuse_audit_options(context: click.Context) -> None:
    of_policy = {"policy_file", "profile", "zones", "source", "audit", "abi", "command"}
    for parameter in context.command.params:
        name = parameter.name or ""
        given = context.get_parameter_source(name) is ParameterSource.COMMANDLINE
        if given and name not in of_policy | _ALONE and isinstance(parameter, click.Option):
            raise UsageError(
                f"{max(parameter.opts, key=len)} is about an audit", hint="add --audit, or leave it out"
            )


def _run_confined(source: str | None, abi: int | None, options: dict[str, Any]) -> int:
    words: tuple[str, ...] = options["command"]
    check_command(words)
    cwd = working_directory()
    who = command_user(options["user"], os.environ)
    if who is not None:
        become(who)
    from writeaudit.capture.interface import Command
    from writeaudit.capture.launch.launcher import become_command

    env = command_environment(who, os.environb)
    argv = tuple(os.fsencode(word) for word in words)
    texts = {os.fsdecode(name): os.fsdecode(value) for name, value in env.items()}
    policy = _choose_policy(Wanted(argv, cwd, texts, set()), source, options)
    confinement = _confine(policy, words, abi, audited=False)
    if not options["quiet"]:
        for note in confinement.notes:
            click.echo(f"writeaudit: {note}", err=True)
    become_command(Command(argv, env, confine=confinement.enter, landlock=confinement.abi))


def _choose_policy(wanted: Wanted, source: str | None, options: dict[str, Any]) -> Policy:
    from writeaudit import pipeline
    from writeaudit.policy import overlay_zones

    if source is None:
        return pipeline.choose_policy(
            wanted.command,
            wanted.cwd,
            wanted.env,
            policy_file=options["policy_file"],
            profile=options["profile"],
            zones=options["zones"],
            named=wanted.named,
            enforced=True,
        )
    home = wanted.env.get("HOME", "/")
    chosen = _read_policy(source, os.fsencode(home))
    return overlay_zones(chosen, options["zones"], wanted.env, wanted.cwd, home, named=wanted.named)


def _read_policy(source: str, home: bytes) -> Policy:
    """Return the policy that allows what a run wrote, and reading as that run's own policy did."""
    from writeaudit.confine.disk import read_place
    from writeaudit.confine.writable import find_writable_set
    from writeaudit.judgement import Policy, Zone, ZoneAccess
    from writeaudit.policy import escape_pattern

    with judged_again(source, fail_on=(), policy_file=None, profile=None, zones=()) as (opened, examined):
        places = find_writable_set(examined.report.audit, read_place).places
        hidden = [zone for zone in examined.report.policy.zones if zone.access is ZoneAccess.NONE]
        writable = Zone(
            "writable", ZoneAccess.READ_WRITE, tuple(escape_pattern(place.path) for place in places)
        )
        return Policy(
            os.path.basename(opened.path), f"recording {opened.path}", (writable, *hidden),
            remarks=describe_wide_places(places, examined.report.policy, home),
        )  # fmt: skip


def describe_wide_places(places: Iterable[Place], policy: Policy, home: bytes) -> tuple[str, ...]:
    """Return a sentence on the directories that hold much besides what a run under `policy` wrote in them.

    What its policy allows as a whole needs no words.
    """
    from writeaudit.confine.writable import Kind
    from writeaudit.judgement import ZoneAccess
    from writeaudit.places import is_too_wide
    from writeaudit.policy import PolicyReach, literal_directory

    reach = PolicyReach(policy)
    protected = tuple(
        literal_directory(pattern)
        for zone in policy.zones
        if zone.access is not ZoneAccess.READ_WRITE
        for pattern in zone.patterns
    )
    wide = [
        escape_path(place.path)
        for place in places
        if place.kind is not Kind.BIND
        and is_too_wide(place.path, home, protected)
        and {reach.access_at(place.path), *reach.accesses_below(place.path)} != {ZoneAccess.READ_WRITE}
    ]
    if not wide:
        return ()
    more = f" and {plural(len(wide) - _SHOWN, 'other')}" if len(wide) > _SHOWN else ""
    where = f"{', '.join(wide[:_SHOWN])}{more}"
    said = (
        f"--from makes all that is in {where} writable, for the run wrote there; a policy can name "
        "narrower places (writeaudit suggest --for policy writes one)"
    )
    return (said,)


def _confine(policy: Policy, words: Sequence[str], abi: int | None, *, audited: bool) -> Confinement:
    """Make the rule set that enforces a policy. Raises `UsageError` and `WriteauditError`."""
    from writeaudit.confine import landlock
    from writeaudit.confine.landlock_disk import RealDisk, find_open_files
    from writeaudit.confine.landlock_plan import plan_rules
    from writeaudit.policy import PolicyReach, with_inherited

    found = landlock.find_abi()
    used = found if abi is None else min(found, abi)
    # Without its name a file needs no rule, and another that has the name now shall get none.
    streams = [each.path for each in find_open_files() if each.fd < _STREAMS and each.is_there]
    reach = PolicyReach(with_inherited(policy, streams))
    plan = plan_rules(reach, RealDisk(), privileged=os.geteuid() == 0)
    rules = landlock.RuleSet(plan, used)
    notes = [
        *(f"{remark}." for remark in policy.remarks if not audited),
        *landlock.list_gaps(used),
        *plan.remarks,
        *close_open_files(reach),
        *_look_at_privileges(words),
    ]
    if audited:
        notes.insert(
            0,
            f"confined to the policy by Landlock, version {used}; setuid programs gain no privilege "
            "(no_new_privs)",
        )
        notes = [f"{note[:1].upper()}{note[1:]}." for note in notes]
    return Confinement(rules.restrict_process, used, tuple(notes))


def close_open_files(reach: PolicyReach) -> list[str]:
    """Close what is open for writing where nothing may be written; say so, and what stays open."""
    from writeaudit.confine.landlock_disk import find_open_files
    from writeaudit.judgement import ZoneAccess

    notes = []
    for fd, path, is_there, links in find_open_files():
        # A file that has names, but not this one any more or not here, may lie anywhere.
        elsewhere = not is_there and links > 0
        if reach.access_at(path) is ZoneAccess.READ_WRITE and not elsewhere:
            continue
        place = "a file that is not there now" if elsewhere else reach.zone_name(path)
        where = f"descriptor {fd}, open for writing on {escape_path(path)} ({place})"
        if fd < _STREAMS:
            notes.append(f"{where}, stays open: the command can write there")
        else:
            os.close(fd)
            notes.append(f"{where}, was closed")
    return notes


def _look_at_privileges(words: Sequence[str]) -> list[str]:
    """Say that the command itself is to gain privileges, if it is."""
    found = shutil.which(words[0])
    try:
        special = found is not None and os.stat(found).st_mode & (stat.S_ISUID | stat.S_ISGID)
    except OSError:
        return []
    if not special:
        return []
    name = escape_path(os.fsencode(words[0]))
    return [f"{name} is setuid: confined, it gains no privilege (no_new_privs)"]
