"""Container engines: which process a container is, asked of the engine's own command line."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from typing import NamedTuple

from writeaudit.capture.cgroups import Hierarchy, find_cgroup, mounted_hierarchies
from writeaudit.capture.targets import ControlGroup
from writeaudit.errors import CaptureError

ENGINES = ("docker", "podman", "containerd")
_PATIENCE_S = 15.0
_LONGEST_ANSWER = 1 << 20
_PROGRAMS = {"docker": ("docker",), "podman": ("podman",), "containerd": ("nerdctl", "ctr")}
_LONG_ID = 32
"""A shorter id may be part of many a name."""
_FORM = "{{.Id}} {{.State.Pid}}"


class Container(NamedTuple):
    """A container that runs."""

    name: str
    """As it was asked for."""
    engine: str
    id: str
    pid: int
    """Of its first process."""


Ask = Callable[[Sequence[str]], str]
"""Runs an engine's program and returns what it prints; raises `CaptureError` with its own words."""


def find_container(name: str, engine: str | None, ask: Ask | None = None) -> Container:
    """Return a container that runs; ``engine``: of `ENGINES`, or None to ask all that are installed.

    Raises `CaptureError`.
    """
    if not name or name.startswith("-"):
        raise CaptureError(f"{name!r} is no name of a container", hint="see: docker ps, podman ps, ctr c ls")
    wanted = (engine,) if engine is not None else ENGINES
    asked: list[CaptureError] = []
    for each in wanted:
        program = next((found for each_name in _PROGRAMS[each] if (found := shutil.which(each_name))), None)
        if program is None:
            continue
        try:
            return _ask_engine(name, each, program, ask or ask_program)
        except CaptureError as error:
            asked.append(error)
    if not asked:
        programs = ", ".join(program for each in wanted for program in _PROGRAMS[each])
        raise CaptureError(
            f"no container engine to ask for {name}: {programs} not found on PATH",
            hint="without one: --cgroup DIR, or --pid N of the container's first process",
        )
    told = "; ".join(error.message for error in asked)
    raise CaptureError(
        f"no container {name} that runs: {told}", hint="see: docker ps, podman ps, ctr task ls"
    )


def _ask_engine(name: str, engine: str, program: str, ask: Ask) -> Container:
    if os.path.basename(program) != "ctr":
        words = ask([program, "inspect", "--type", "container", "--format", _FORM, name]).split()
        if len(words) != 2 or not words[1].isdecimal():
            raise CaptureError(f"{engine} answers what makes no sense: {' '.join(words)[:80]!r}")
        number, pid = words[0], int(words[1])
    else:
        number, pid = name, _find_task(name, program, ask)
    if pid == 0:
        raise CaptureError(f"{engine}: the container is there and does not run")
    return Container(name, engine, number, pid)


def _find_task(name: str, program: str, ask: Ask) -> int:
    """Return the process of containerd's container of that name, in whichever of its namespaces."""
    for namespace in ask([program, "namespaces", "ls", "-q"]).split():
        pid = parse_tasks(ask([program, "-n", namespace, "tasks", "ls"])).get(name)
        if pid is not None:
            return pid
    raise CaptureError(f"containerd has no task {name}")


def parse_tasks(text: str) -> dict[str, int]:
    """Return the processes of the tasks that run, by name, in what ``ctr tasks ls`` prints."""
    rows = (line.split() for line in text.splitlines()[1:])
    return {row[0]: int(row[1]) for row in rows if len(row) == 3 and row[1].isdecimal()}


def ask_program(words: Sequence[str]) -> str:
    """Run an engine's program, for a limited time. Raises `CaptureError`."""
    name = os.path.basename(words[0])
    try:
        done = subprocess.run(
            words, stdin=subprocess.DEVNULL, capture_output=True, timeout=_PATIENCE_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise CaptureError(f"{name} does not answer within {_PATIENCE_S:.0f} s") from None
    except OSError as error:
        raise CaptureError(f"{name} cannot be run: {error.strerror}") from error
    if done.returncode:
        said = done.stderr[-_LONGEST_ANSWER:].decode("utf-8", "replace").strip().splitlines()
        raise CaptureError(f"{name}: {said[-1][:200] if said else f'status {done.returncode}'}")
    return done.stdout[:_LONGEST_ANSWER].decode("utf-8", "replace")


def cgroup_of(container: Container) -> ControlGroup | None:
    """Return the cgroup that is the container's own; None if it has none, or it is not mounted here."""
    try:
        with open(f"/proc/{container.pid}/cgroup", encoding="utf-8", errors="surrogateescape") as file:
            text = file.read()
    except OSError as error:
        raise CaptureError(
            f"the container {container.name} has ended: {error.strerror}", hint="see: docker ps, podman ps"
        ) from error
    for directory in own_directories(container.id, text, mounted_hierarchies()):
        if os.path.isdir(directory):
            return find_cgroup(directory)
    return None


def is_named(part: str, number: str) -> bool:
    """Whether a component of a cgroup's path is a container's: ``ID``, ``docker-ID.scope``, ``libpod-ID``."""
    return part == number or (len(number) >= _LONG_ID and number in part)


def own_directories(number: str, text: str, hierarchies: Sequence[Hierarchy]) -> list[str]:
    """Return where the cgroups of a container lie that bear its id, by the text of its `/proc/PID/cgroup`."""
    found: list[str] = []
    mounted = {hierarchy.number: hierarchy for hierarchy in hierarchies}
    for line in text.splitlines():
        hierarchy_number, _, rest = line.partition(":")
        path = rest.partition(":")[2]
        hierarchy = mounted.get(int(hierarchy_number)) if hierarchy_number.isdecimal() else None
        parts = [part for part in path.split("/") if part]
        own = next((place for place, part in enumerate(parts) if is_named(part, number)), None)
        if hierarchy is None or own is None or hierarchy.root != "/" or ".." in parts:
            continue
        found.append(os.path.join(hierarchy.mountpoint, *parts[: own + 1]))
    return found
