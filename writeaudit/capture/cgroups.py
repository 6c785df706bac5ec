"""Control groups: which one a directory is, who is in it, and one of our own (cgroups(7))."""

from __future__ import annotations

import contextlib
import errno
import os
import time
from collections.abc import Iterator
from typing import NamedTuple

from writeaudit.capture.members import ProcessTable
from writeaudit.capture.targets import ControlGroup
from writeaudit.errors import CaptureError

NEW = "new:"
"""How a cgroup that is to be made is asked for: ``new:/wa``."""
_PREFERRED = ("memory", "pids", "devices", "freezer", "cpu", "cpuacct", "blkio", "cpuset")
"""Controllers of v1, in order: every container engine puts its containers into these."""
_TRIES, _PAUSE_S = 20, 0.05
_EXAMPLE = "for example /sys/fs/cgroup/system.slice/nginx.service; see: systemd-cgls, or /proc/PID/cgroup"


class Hierarchy(NamedTuple):
    """A tree of cgroups, and where it is mounted."""

    number: int
    controllers: frozenset[str]
    """Empty: it is that of v2."""
    dev: int
    mountpoint: str
    root: str
    """Which of its cgroups is mounted there."""


class Members(NamedTuple):
    """Who is in a cgroup or below it."""

    pids: frozenset[int]
    unseen: int
    """How many are in another pid namespace, so that nobody here can name them."""


def list_hierarchies(mountinfo: str, own: str) -> tuple[Hierarchy, ...]:
    """Return the hierarchies that are mounted.

    ``mountinfo``, ``own``: the texts of `/proc/self/mountinfo` and `/proc/self/cgroup`.
    """
    numbers: dict[frozenset[str], int] = {}
    for line in own.splitlines():
        number, _, rest = line.partition(":")
        controllers, _, _path = rest.partition(":")
        numbers[frozenset(filter(None, controllers.split(",")))] = int(number)
    found: list[Hierarchy] = []
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        fields, tail = before.split(), after.split()
        if len(tail) < 3 or len(fields) < 5 or tail[0] not in ("cgroup", "cgroup2"):
            continue
        major, _, minor = fields[2].partition(":")
        options = frozenset(tail[2].split(","))
        names = frozenset[str]()
        if tail[0] == "cgroup":
            # Among its options are those of the file system, and its controllers.
            known = (name for name in numbers if name and name <= options)
            best = max(known, key=len, default=None)
            if best is None:
                continue
            names = best
        found.append(
            Hierarchy(numbers.get(names, 0), names, os.makedev(int(major), int(minor)), fields[4], fields[3])
        )
    return tuple(found)


def mounted_hierarchies() -> tuple[Hierarchy, ...]:
    """Return those of this machine, as far as they are mounted here."""
    with contextlib.suppress(OSError):
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
            mountinfo = file.read()
        with open("/proc/self/cgroup", encoding="utf-8", errors="surrogateescape") as file:
            return list_hierarchies(mountinfo, file.read())
    return ()


def find_cgroup(directory: str) -> ControlGroup:
    """Return the cgroup that a directory is. Raises `CaptureError`."""
    try:
        status = os.stat(directory)
    except OSError as error:
        raise CaptureError(f"no such cgroup: {directory}: {error.strerror}", hint=_EXAMPLE) from error
    for hierarchy in mounted_hierarchies():
        if hierarchy.dev == status.st_dev and os.path.exists(os.path.join(directory, "cgroup.procs")):
            return ControlGroup(os.path.realpath(directory), hierarchy.number, status.st_ino)
    raise CaptureError(f"{directory} is no directory of a cgroup", hint=_EXAMPLE)


def list_members(group: ControlGroup, table: ProcessTable) -> Members:
    """Return who is in a cgroup now, or in one below it. Raises `CaptureError` once it is gone."""
    pids: set[int] = set()
    unseen = 0
    if not os.path.isdir(group.directory):
        raise CaptureError(f"the cgroup {group.directory} was removed")
    for place, _directories, _files in os.walk(group.directory):
        numbers = _read_members(place, table)
        unseen += numbers.count(0)
        pids.update(numbers)
    return Members(frozenset(pids - {0}), unseen)


def _read_members(place: str, table: ProcessTable) -> list[int]:
    try:
        with open(os.path.join(place, "cgroup.procs"), encoding="ascii") as file:
            return [int(word) for word in file.read().split()]
    except OSError as error:
        if error.errno != errno.EOPNOTSUPP:
            return []  # removed meanwhile
    # A threaded cgroup: its threads may be those of several processes.
    with contextlib.suppress(OSError), open(os.path.join(place, "cgroup.threads"), encoding="ascii") as file:
        return sorted(table.processes_of(int(word) for word in file.read().split() if word != "0"))
    return []


@contextlib.contextmanager
def made_cgroup(name: str) -> Iterator[ControlGroup]:
    """Make a cgroup, and take it away in the end, if nobody is in it any more. Raises `CaptureError`.

    ``name``: as container engines take it (``/wa``: directly below the root), or a directory that is to be in
    a mounted hierarchy.
    """
    hierarchies = mounted_hierarchies()
    directory = place_for(name, hierarchies)
    # Those of the same name that an engine makes in the other hierarchies of v1, and leaves there.
    others = [
        other
        for each in hierarchies
        if each.root == "/" and not os.path.exists(other := each.mountpoint.rstrip("/") + name)
    ]
    try:
        os.mkdir(directory, 0o755)
    except FileExistsError:
        raise CaptureError(
            f"there is a cgroup {directory} already", hint=f"join it: --cgroup {directory}"
        ) from None
    except OSError as error:
        raise CaptureError(
            f"cannot make the cgroup {directory}: {error.strerror}",
            hint="as a rule only root can: sudo writeaudit attach --user root …",
        ) from error
    try:
        yield find_cgroup(directory)
    finally:
        for each in {directory, *others}:
            _remove_group(each)


def place_for(name: str, hierarchies: tuple[Hierarchy, ...]) -> str:
    """Return the directory of a cgroup that is to be made. Raises `CaptureError`."""
    parts = name.strip("/").split("/")
    if not name.startswith("/") or any(part in ("", ".", "..") for part in parts):
        raise CaptureError(
            f"{NEW}{name} is no name for a cgroup", hint="for example new:/wa, directly below the root"
        )
    for hierarchy in hierarchies:
        if name.startswith(hierarchy.mountpoint.rstrip("/") + "/"):
            return name.rstrip("/")
    chosen = [
        hierarchy
        for controller in _PREFERRED
        for hierarchy in hierarchies
        if controller in hierarchy.controllers and hierarchy.root == "/"
    ]
    chosen += [hierarchy for hierarchy in hierarchies if not hierarchy.controllers]
    if not chosen:
        raise CaptureError("no cgroup hierarchy is mounted here", hint="see: mount -t cgroup2")
    return os.path.join(chosen[0].mountpoint, *parts)


def _remove_group(directory: str) -> None:
    """Remove a cgroup and those below it that nobody is in."""
    for _ in range(_TRIES):
        for place, _directories, _files in os.walk(directory, topdown=False):
            with contextlib.suppress(OSError):
                os.rmdir(place)
        try:
            if list_members(ControlGroup(directory, 0, 0), ProcessTable()).pids:
                return  # whoever is there stays
        except CaptureError:
            return  # it is gone
        time.sleep(_PAUSE_S)
