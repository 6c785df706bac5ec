"""Where an event belongs: the host, a container or sandbox, or the set-up of one. Pure."""

from __future__ import annotations

import enum
import os
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from writeaudit.audit import Frame, Mount, Process
from writeaudit.events import OK, Certainty, Effect, FsEvent, effect_of

HOST = 0
"""`FsEvent.frame` of what was done in writeaudit's own mount namespace."""
UNPLACED = "unplaced names"
"""What stands for a zone of events whose place nobody knows. No zone can be called so."""
CONTAINER_ZONE = "container:"
"""How the names of a policy's container zones begin in reports."""


RUNTIMES = frozenset(
    {
        b"bwrap", b"unshare", b"firejail", b"nsjail", b"systemd-nspawn", b"lxc-start",
        b"crun", b"runc", b"youki", b"runsc", b"podman", b"conmon", b"buildah", b"fuse-overlayfs",
        b"docker", b"dockerd", b"containerd", b"containerd-shim-runc-v2", b"nerdctl",
    }
)  # fmt: skip
"""Programs that make containers and sandboxes, by the first word of their command line."""


class Place(enum.Enum):
    """Whose file one side of an event is."""

    HOST = "host"
    INSIDE = "inside"
    """It lies on a file system that the host has mounted nowhere."""
    HIDDEN = "hidden"
    """It lies on a file system of the host, where the host has no name for it."""
    UNPLACED = "unplaced"
    """Its name led through mounts that could not be read in time."""


class Places:
    """Finds whose file an event is about."""

    def __init__(self, frames: Iterable[Frame], mounts: Iterable[Mount]) -> None:
        self._names = {frame.id: f"in {frame.kind} {frame.name}" for frame in frames}
        mounts = tuple(mounts)
        # That the host had it at any time is enough: it may have been unmounted since.
        devices = {mount.dev for mount in mounts if mount.own}
        self._of_mount: dict[int | None, Place] = {
            mount.id: Place.INSIDE if mount.dev not in devices else Place.HIDDEN
            for mount in mounts
            if not mount.own and mount.mount_ns
        }
        self._frame_of_mount: dict[int | None, int] = {}
        by_ns = {frame.mount_ns: frame.id for frame in frames}
        for mount in mounts:
            if not mount.own and mount.mount_ns in by_ns:
                self._frame_of_mount[mount.id] = by_ns[mount.mount_ns]

    @property
    def needed(self) -> bool:
        """Whether anything of the run can lie elsewhere than on the host."""
        return bool(self._names)

    def locate_path(self, event: FsEvent) -> Place:
        """Return where the path side lies."""
        if event.frame and event.certainty is Certainty.LEXICAL:
            return Place.UNPLACED
        return self._of_mount.get(event.mount, Place.HOST)

    def locate_source(self, event: FsEvent) -> Place:
        """Return where the source side lies."""
        if event.frame and event.certainty is Certainty.LEXICAL:
            return Place.UNPLACED
        return self._of_mount.get(event.source_mount, Place.HOST)

    def locate_mount(self, mount: int | None) -> Place:
        """Return where files of a mount lie."""
        return self._of_mount.get(mount, Place.HOST)

    def name_zone(self, mount: int | None, frame: int = HOST) -> str:
        """Return what stands for a zone for files of a mount that no host has: ``in container web``."""
        return self._names.get(frame or self._frame_of_mount.get(mount, HOST), "in another mount namespace")


class SetUp:
    """Tells what runtimes did to make their containers ready from what was done in these.

    It groups what is shown, and decides nothing: a program may call itself as it likes.
    """

    def __init__(self, frames: Iterable[Frame], processes: Iterable[Process]) -> None:
        self._until: dict[int, dict[int, int]] = {}
        self._first: dict[int, int] = {}
        for frame in frames:
            if frame.prepared:
                self._until[frame.id] = dict(frame.prepared)
                self._first[frame.id] = min(time_ns for _pid, time_ns in frame.prepared)
        self._runs: dict[int, tuple[list[int], list[bool]]] = {}
        for process in sorted(processes, key=lambda each: each.started_ns) if self._first else ():
            times, runs = self._runs.setdefault(process.pid, ([], []))
            times.append(process.started_ns)
            runs.append(bool(process.argv) and os.path.basename(process.argv[0]) in RUNTIMES)

    def contains_event(self, event: FsEvent) -> bool:
        """Whether an event is a runtime's own work: before a contained program runs, or on the host."""
        if event.frame:
            first = self._first.get(event.frame)
            if first is None:
                return False
            return event.time_ns < first or event.time_ns < self._until[event.frame].get(event.pid, 0)
        if not self._first:
            return False
        times, runs = self._runs.get(event.pid, ([], []))
        at = bisect_right(times, event.time_ns) - 1
        return at >= 0 and runs[at]


@dataclass(slots=True)
class FrameTotals:
    """What was done in one frame; of the host, what runtimes did for containers."""

    events: int = 0
    changes: int = 0
    paths: dict[bytes, bytes | None] = field(default_factory=dict)
    """That changed, by their names in the frame, with the host's name where it has one; the first
    `MOST_PATHS`."""
    setup: Counter[str] = field(default_factory=Counter)
    """Operations of set-up, by name."""


MOST_PATHS = 1 << 16
"""How many changed paths of a frame are told apart."""


class FrameCounter:
    """Adds up what was done in each frame. Feed it every event."""

    def __init__(self, setup: SetUp) -> None:
        self._setup = setup
        self.totals: dict[int, FrameTotals] = {}

    def add_event(self, event: FsEvent, _judged: object) -> None:
        """Take one event."""
        setup = self._setup.contains_event(event)
        if not event.frame and not setup:
            return
        totals = self.totals.setdefault(event.frame, FrameTotals())
        if setup:
            totals.setup[event.op.value] += 1
            return
        totals.events += 1
        if event.result == OK and effect_of(event) is Effect.CHANGED:
            totals.changes += 1
            if len(totals.paths) < MOST_PATHS:
                inner = event.inner_path or event.path
                totals.paths[inner] = None if inner == event.path else event.path
