"""`writeaudit attach`: audit what runs already."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

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
from writeaudit.commands.base import AttachCommand
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
from writeaudit.errors import CaptureError, UsageError
from writeaudit.text import escape_path, is_number

if TYPE_CHECKING:
    from writeaudit.audit import BlindSpot
    from writeaudit.capture.targets import Attachment, ControlGroup, Processes

_DIGITS = 10
_NEW = "new:"


@click.command(
    "attach",
    cls=AttachCommand,
    short_help="Audit processes, a cgroup or a container that run already.",
    context_settings={"ignore_unknown_options": False, "allow_interspersed_args": False},
    epilog="""\b
Examples:
  sudo writeaudit attach --pid 4711 --for 30
  sudo writeaudit attach --container web --html report.html
  sudo writeaudit attach --cgroup /sys/fs/cgroup/system.slice/nginx.service -- curl http://localhost/
  sudo writeaudit attach --user root --cgroup new:/wa -- docker run --cgroup-parent /wa IMAGE""",
)
@click.option(
    "--pid",
    "pids",
    multiple=True,
    metavar="N",
    help="A process, with its threads and all that descends from it. May be given more than once, or with "
    "commas.",
)
@click.option(
    "--cgroup",
    metavar="DIR|new:NAME",
    help="A cgroup with all below it: whoever is in it, and whoever comes into it. new:/wa makes one, and "
    "removes it.",
)
@click.option(
    "--container", metavar="ID|NAME", help="A container that runs, and what is executed in it later."
)
@click.option(
    "--engine",
    type=click.Choice(("docker", "podman", "containerd")),
    help="Whom to ask for the container (default: whichever is installed and knows it).",
)
@click.option("--for", "seconds", type=Seconds(), metavar="SECONDS", help="End the audit after this time.")
@click.option(
    "--until-exit", is_flag=True, help="End the audit when nobody is left of those that were joined."
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
    help="Capture with root's rights, through sudo: of your own processes only. Everything else runs as you.",
)
@click.option(
    "--user",
    metavar="NAME",
    shell_complete=complete_user,
    help="As root: be this user for the command and all else but capture (default: who called sudo).",
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
@verbose_option
@click.argument("command", nargs=-1, type=click.UNPROCESSED, shell_complete=complete_command)
def command(
    pids: tuple[str, ...],
    cgroup: str | None,
    container: str | None,
    engine: str | None,
    seconds: float | None,
    until_exit: bool,
    backend: str,
    policy_file: str | None,
    profile: str | None,
    zones: tuple[str, ...],
    fail_on: tuple[str, ...],
    recording: str | None,
    sudo: bool,
    user: str | None,
    buffer: str,
    probes: str | None,
    quiet: bool,
    verbose: bool,
    command: tuple[str, ...],
    outputs: Outputs,
) -> int:
    """Join processes that run already, and audit what they do to files from then on.

    The first Ctrl-C ends the audit, and nothing else. COMMAND, if there is one, is run once all are joined;
    it is not audited itself, its end ends the audit, and its status passes through as with run. No
    profile is guessed: without a policy nothing is forbidden, and what changed is listed.
    """
    numbers = _check_targets(pids, cgroup, container, engine)
    if command and seconds is not None:
        raise UsageError(
            "--for does not go with a command, whose end ends the audit",
            hint="without --for; or let the command be: -- sleep SECONDS",
        )
    limits = CaptureLimits(buffer_bytes=parse_size(buffer))
    cwd = working_directory()
    who = command_user(user, os.environ)
    if sudo:
        check_sudo(backend, probes, user)
    if cgroup is not None and sudo and os.geteuid() != 0:
        raise UsageError(
            "--cgroup does not go with --sudo: other users' processes may come into a cgroup, and you could "
            "watch them",
            hint="run all of writeaudit as root: sudo writeaudit attach --cgroup …",
        )
    separate(who, backend, probes, limits, sudo=sudo, joins=True)
    check_outputs(outputs.by_option, recording=recording, recording_is="-o", policy=policy_file)
    check_targets(outputs)
    if command:
        check_command(command)
    from writeaudit import pipeline
    from writeaudit.analysis.fail_on import parse_fail_on

    failing = parse_fail_on(fail_on)
    env = command_environment(who, os.environb)
    with contextlib.ExitStack() as stack:
        # A cgroup of a container through --sudo: see above; its processes have to do.
        target = _Finder(env, cwd, stack, groups=not sudo or os.geteuid() == 0).find(
            numbers, cgroup, container, engine
        )
        beside = Command(tuple(os.fsencode(word) for word in command), env) if command else None
        subject = target.subject if beside is None or numbers else beside
        texts = {os.fsdecode(name): os.fsdecode(value) for name, value in subject.env.items()}
        named: set[str] = set()
        policy = pipeline.choose_policy(
            subject.argv if policy_file is not None or profile is not None else (),
            target.cwd,
            texts,
            policy_file=policy_file,
            profile=profile,
            zones=zones,
            named=named,
        )
        own = {os.fsdecode(name): os.fsdecode(value) for name, value in env.items()}
        return audit(
            target._replace(
                subject=subject._replace(named=frozenset(named)),
                command=beside,
                seconds=seconds,
                until_exit=until_exit,
                on_joined=lambda: None if quiet or command else _tell_joined(target.names),
            ),
            policy,
            Answer(
                recording or default_recording(own), outputs, fail_on, failing, quiet=quiet, verbose=verbose
            ),
            backend=backend,
            probes=probes,
            notes=notes_on(who, "") if who is not None else (),
            limits=limits,
        )


def _tell_joined(names: tuple[str, ...]) -> None:
    with contextlib.suppress(OSError):
        sys.stderr.write(f"writeaudit: joined {', '.join(names)}; Ctrl-C ends the audit, and nothing else\n")
        sys.stderr.flush()


def _check_targets(
    pids: tuple[str, ...], cgroup: str | None, container: str | None, engine: str | None
) -> tuple[int, ...]:
    """Return the numbers of the processes. Raises UsageError unless one thing is to be joined."""
    given = [
        name for name, value in (("--pid", pids), ("--cgroup", cgroup), ("--container", container)) if value
    ]
    if len(given) != 1:
        raise UsageError(
            f"{' and '.join(given)} do not go together" if given else "attach needs something to join",
            hint="one of --pid N, --cgroup DIR, --container NAME; see: writeaudit attach --help",
        )
    if engine is not None and container is None:
        raise UsageError("--engine goes with --container", hint="see: writeaudit attach --help")
    numbers: list[int] = []
    for word in (word for each in pids for word in each.split(",")):
        if not is_number(word.strip(), _DIGITS) or not int(word):
            raise UsageError(f"--pid {word}: not the number of a process", hint="see: ps -e, pgrep NAME")
        numbers.append(int(word))
    return tuple(dict.fromkeys(numbers))


class _Finder:
    """Finds what is to be joined. Raises `CaptureError` where it is not there, or may not be."""

    def __init__(
        self, env: Mapping[bytes, bytes], cwd: bytes, stack: contextlib.ExitStack, *, groups: bool
    ) -> None:
        from writeaudit.capture.members import ProcessTable

        self._env = env
        self._cwd = cwd
        self._stack = stack
        self._groups = groups
        """Whether cgroups may be joined."""
        self._table = ProcessTable()

    def find(
        self, pids: tuple[int, ...], cgroup: str | None, container: str | None, engine: str | None
    ) -> Attachment:
        """Return what is to be joined."""
        if container is not None:
            return self._container(container, engine)
        if cgroup is not None:
            return self._cgroup(cgroup)
        return self._processes(pids)

    def _processes(self, pids: tuple[int, ...]) -> Attachment:
        from writeaudit.capture.members import check_process
        from writeaudit.capture.targets import Attachment, Processes

        pids = tuple(dict.fromkeys(check_process(pid, self._table) for pid in pids))
        first = pids[0]
        argv = self._table.read_argv(first) or (b"%d" % first,)
        env = self._table.read_environment(first)
        return Attachment(
            Processes(pids),
            Command(argv, self._env if env is None else env),
            tuple(f"process {pid}{self._called(pid)}" for pid in pids),
            cwd=self._table.read_link(first, "cwd") or self._cwd,
            umask=self._table.read_umask(first),
        )

    def _called(self, pid: int) -> str:
        argv = self._table.read_argv(pid)
        return f" ({escape_path(os.path.basename(argv[0]))})" if argv else ""

    def _cgroup(self, directory: str) -> Attachment:
        from writeaudit.capture.cgroups import find_cgroup, made_cgroup

        if directory.startswith(_NEW):
            group = self._stack.enter_context(made_cgroup(directory.removeprefix(_NEW)))
        else:
            group = find_cgroup(directory)
        return self._group(group, "cgroup", group.directory)

    def _container(self, name: str, engine: str | None) -> Attachment:
        from writeaudit.audit import BlindSpot
        from writeaudit.capture.engines import cgroup_of, find_container
        from writeaudit.capture.targets import Processes

        found = find_container(name, engine)
        what = f"{found.engine} container"
        group = cgroup_of(found) if self._groups else None
        if group is not None:
            return self._group(group, what, name, cwd=self._table.read_link(found.pid, "cwd"))
        spot = BlindSpot(
            "exec_unseen",
            "the container was followed by its processes, not by a cgroup of its own: what was executed in "
            "it later from outside (exec) is not in here",
        )
        return self._named(Processes((found.pid,)), what, name, spots=(spot,))

    def _group(self, group: ControlGroup, what: str, name: str, cwd: bytes | None = None) -> Attachment:
        from writeaudit.capture.cgroups import list_members

        if os.getpid() in list_members(group, self._table).pids:
            raise CaptureError(
                f"writeaudit itself is in the cgroup {group.directory}",
                hint="join a cgroup below it, or start writeaudit in another one",
            )
        return self._named(group, what, name, cwd=cwd)

    def _named(
        self,
        joined: Processes | ControlGroup,
        what: str,
        name: str,
        cwd: bytes | None = None,
        spots: tuple[BlindSpot, ...] = (),
    ) -> Attachment:
        from writeaudit.capture.targets import Attachment

        subject = Command((os.fsencode(what), os.fsencode(name)), self._env)
        return Attachment(
            joined,
            subject,
            (f"{what} {escape_path(os.fsencode(name))}",),
            cwd=cwd or self._cwd,
            spots=spots,
        )
