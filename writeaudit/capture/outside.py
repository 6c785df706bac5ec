"""Ways to have something done by processes that are not part of the run, and to hold up who looks on. Pure.

What another process does on the command's behalf nobody sees. So these are blind spots: a run in
which one was met cannot be called clean.
"""

from __future__ import annotations

import re
from collections.abc import Container
from typing import NamedTuple

PTRACE_ATTACH, PTRACE_SEIZE = 16, 0x4206
MADV_REMOVE = 9


class Spot(NamedTuple):
    """A kind of blind spot, and what it means."""

    kind: str
    message: str
    incomplete: bool = True


_OTHER = (
    "a process reached into another one that is not part of the run ({}): what that one was made to do is "
    "not recorded"
)
USERFAULTFD = Spot(
    "userfaultfd",
    "a process handles page faults itself (userfaultfd): it can hold up system calls and whoever looks at "
    "its memory, change names meanwhile, and write to shared memory unseen",
)
FUSE = Spot(
    "fuse",
    "a process of the run serves a file system (FUSE): it can hold up calls, and change names meanwhile",
)
CLOSED = Spot(
    "closed_descriptor",
    "bytes were written through a descriptor that was closed meanwhile: to which file is not known",
)
_DELEGATED = (
    "a process talked to {}, which does things on its behalf that are not part of the run: audit that "
    "service itself, or run the command without it"
)
_SERVICES: tuple[tuple[re.Pattern[bytes], str, bool], ...] = (
    (re.compile(rb"(.*/)?docker(-[^/]*)?\.sock"), "the Docker engine", True),
    (re.compile(rb"(.*/)?podman\.sock"), "the podman service", True),
    (re.compile(rb"(.*/)?containerd([^/]*)\.sock(\.ttrpc)?"), "containerd", True),
    (re.compile(rb"(.*/)?(crio|buildkitd|cri-dockerd|lxd|incus)([^/]*)\.sock"), "a container engine", True),
    (re.compile(rb".*/(lxd|incus)/unix\.socket"), "a container engine", True),
    (re.compile(rb".*/systemd/private"), "systemd", True),
    (re.compile(rb".*/run/user/\d+/bus"), "the user's D-Bus services", True),
    (re.compile(rb"(.*/)?(snapd|packagekit)[^/]*\.(sock|socket)"), "a package service", True),
    (re.compile(rb".*/(nix/daemon-socket/socket|guix/daemon-socket/socket)"), "a build daemon", True),
    (re.compile(rb".*/dbus/system_bus_socket"), "the system's D-Bus services", False),
)
_MEMORY = re.compile(rb"/proc/(\d+)(/task/\d+)?/mem").fullmatch


def service_at(socket: bytes) -> Spot | None:
    """Return what it means that a process connected to a Unix socket of this path; None: nothing is known."""
    for pattern, name, incomplete in _SERVICES:
        if pattern.fullmatch(socket):
            return Spot("delegated", _DELEGATED.format(name), incomplete)
    return None


def other_process(call: str) -> Spot:
    """Return what it means that a call reached into a process outside of the run."""
    return Spot("other_process", _OTHER.format(call))


def spot_of_open(path: bytes, pids: Container[int], *, writes: bool) -> Spot | None:
    """Return what it means that a file of /proc or /dev was opened; ``pids``: the processes of the run."""
    if path == b"/dev/fuse":
        return FUSE
    if path == b"/dev/userfaultfd":
        return USERFAULTFD
    found = _MEMORY(path) if writes else None
    if found is not None and int(found[1]) not in pids:
        return other_process("/proc/PID/mem")
    return None
