"""Frames: the mount namespaces of containers and sandboxes, and which process is in which.

A process is in the host's frame until it is seen in another mount namespace. What it does there before it
runs another program is set-up: so a container runtime prepares what the contained program finds.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Sequence

from writeaudit.audit import Frame, Mount
from writeaudit.events import FsEvent, Op, RawEvent
from writeaudit.resolve.mounts.registry import MountRegistry

HOST = 0
"""The number of writeaudit's own frame."""
MOST_FRAMES = 1 << 12
"""A program may make mount namespaces for ever. What is beyond has the last frame."""
_MOST_PREPARED = 1 << 10
"""Of how many processes of a frame it is kept when they ran the contained program."""
_MOST_NAME = 128
_MOST_LINE = 16
"""How many processes above the maker are asked for a name."""
_CONTAINER_ID = re.compile(rb"(?:^|[-/])([0-9a-f]{64})(?:\.scope)?$", re.MULTILINE)
"""The last part of a cgroup's path: docker-ID.scope, libpod-ID.scope, docker/ID, cri-containerd-ID.scope."""
_VERBS = frozenset({b"run", b"create", b"exec", b"restore"})
_RUNTIMES = frozenset({b"crun", b"runc", b"youki", b"runsc", b"kata-runtime"})
"""What takes a bundle, and the container's id as the first word after its options."""
_VALUES = frozenset(
    {b"-b", b"--bundle", b"--root", b"--log", b"--log-format", b"--log-level", b"--pid-file", b"-f",
     b"--config", b"--console-socket", b"--preserve-fds", b"--criu", b"--rootless", b"--cgroup-manager"}
)  # fmt: skip
"""Their options that take the next word."""
_NAMING = {
    b"conmon": (b"-n", b"--name"),
    b"podman": (b"--name",),
    b"docker": (b"--name",),
    b"nerdctl": (b"--name",),
    b"buildah": (b"--name",),
    b"systemd-nspawn": (b"-M", b"--machine"),
    b"lxc-start": (b"-n", b"--name"),
}
"""Programs that make containers, and their options that give them a name."""

Lineage = Callable[[int], Iterable[tuple[bytes, ...]]]
"""Returns the command lines of a process and those above it."""


class _Made:
    """A frame while the run goes on."""

    def __init__(self, number: int, mount_ns: int, pid: int, kind: str, name: str, began_ns: int) -> None:
        self.number = number
        self.mount_ns = mount_ns
        self.pid = pid
        self.kind = kind
        self.name = name
        self.began_ns = began_ns
        self.alive = 0
        self.executed = False
        """Whether a program was run in it."""
        self.prepared: dict[int, int] = {}


class Frames:
    """Tells in which frame each event was made."""

    def __init__(self, registry: MountRegistry, lineage: Lineage | None = None) -> None:
        self.lineage: Lineage = lineage or (lambda _pid: ())
        self._registry = registry
        self.active = False
        """Whether there can be a frame besides the host's: nothing is asked before."""
        self._members: dict[int, _Made] = {}
        self._all: list[_Made] = []
        self._by_ns: dict[int, _Made] = {}
        self.started_ns = 0
        self._roots: dict[int, Mount] = {}
        """Of each namespace, what was met last at its root."""
        self._mounted = (0, 0, 0)
        """Time, process and mount namespace of the last change of mounts."""

    # What capture says besides events.

    def note_start(self, pid: int, ppid: int) -> None:
        """A process was forked."""
        frame = self._members.get(ppid)
        if frame is not None:
            self._join_frame(pid, frame)

    def note_exec(self, time_ns: int, pid: int) -> None:
        """A process began to run another program."""
        frame = self._members.get(pid)
        if frame is None:
            return
        frame.executed = True
        if len(frame.prepared) < _MOST_PREPARED:
            frame.prepared.setdefault(pid, time_ns)

    def note_exit(self, pid: int) -> None:
        """A process ended."""
        frame = self._members.pop(pid, None)
        if frame is not None:
            frame.alive -= 1

    def note_entry(self, time_ns: int, pid: int, mount_ns: int | None) -> None:
        """A process made a mount namespace or changed its own; None: nobody could say which."""
        if mount_ns == self._registry.own_ns:
            self._leave_frame(pid)
            return
        self.active = True
        if mount_ns is not None:
            self._enter_namespace(time_ns, pid, mount_ns)

    def note_change(self, raw: RawEvent) -> None:
        """Take a change of mounts that succeeded."""
        mount = self._registry.get_current(raw.path.mount)
        if mount is not None:
            mount_ns = mount.mount_ns or self._registry.own_ns  # what is attached nowhere is in no table
        elif raw.path.mount is None and raw.path.base is not None:
            mount_ns = raw.path.mount_ns or self._registry.own_ns  # so are names of our own namespace told
        else:
            mount_ns = 0
        self._mounted = (raw.time_ns, raw.pid, mount_ns)

    def mounted_in(self, time_ns: int, pid: int) -> int | None:
        """Return the namespace whose mounts a process that is gone changed then; None if it is not known.

        mount(2) and its like work in the caller's own namespace alone, and come with an event. What comes
        without one made a namespace, entered one, or made a mount that is attached nowhere: no table is
        another for it, and our own is as good as any to be read again.
        """
        when, who, mount_ns = self._mounted
        return (mount_ns or None) if (when, who) == (time_ns, pid) else self._registry.own_ns

    def note_mount(self, mount: Mount) -> None:
        """The kernel side met a mount."""
        if not mount.own and mount.mount_ns:
            self.active = True
            if mount.mountpoint == b"/" and len(self._roots) < MOST_FRAMES:
                self._roots[mount.mount_ns] = mount

    # Events.

    def place_event(self, raw: RawEvent, event: FsEvent, seen: bytes | None) -> FsEvent:
        """Return an event with its frame.

        ``seen``: its path in the namespace of its mount, where ``event`` has that of our own.
        """
        operand = raw.path
        mount = self._registry.get_current(operand.mount)
        mount_ns = operand.mount_ns if mount is None else mount.mount_ns
        absolute = operand.name is not None and operand.name[:1] == b"/" and raw.op is not Op.PIVOT_ROOT
        member = self._members.get(raw.pid)
        if not mount_ns or mount_ns == self._registry.own_ns:
            if member is not None and absolute and mount_ns:
                self._leave_frame(raw.pid)
                return event
            return event if member is None else event._replace(frame=member.number)
        frame = member
        if absolute and (member is None or member.mount_ns != mount_ns):
            frame = self._enter_namespace(raw.time_ns, raw.pid, mount_ns)
        elif member is None:
            # An open file: of a container that is known, or of wherever the caller of all this has it from.
            frame = self._by_ns.get(mount_ns)
        if frame is None:
            return event
        path: bytes | None = event.path if seen is None else seen
        if frame.mount_ns != mount_ns or path is None or path[:1] != b"/":
            path = None
        return event._replace(frame=frame.number, inner_path=path)

    def list_frames(self) -> tuple[Frame, ...]:
        """Return every frame but the host's."""
        return tuple(
            Frame(
                made.number,
                made.kind,
                made.name,
                made.mount_ns,
                self._root_of(made),
                made.pid,
                max(made.began_ns - self.started_ns, 0),
                tuple(
                    (pid, max(time_ns - self.started_ns, 0)) for pid, time_ns in sorted(made.prepared.items())
                ),
            )
            for made in self._all
        )

    def _join_frame(self, pid: int, frame: _Made) -> None:
        self._leave_frame(pid)
        self._members[pid] = frame
        frame.alive += 1

    def _leave_frame(self, pid: int) -> None:
        self.note_exit(pid)

    def _enter_namespace(self, time_ns: int, pid: int, mount_ns: int) -> _Made:
        member = self._members.get(pid)
        if member is not None and member.mount_ns == mount_ns:
            return member
        known = self._by_ns.get(mount_ns)
        if known is not None and known.executed and not known.alive and len(self._all) < MOST_FRAMES:
            # The kernel gives numbers of namespaces again: nobody is left in the one that had this.
            del self._by_ns[mount_ns]
        frame = self._frame_of(time_ns, pid, mount_ns)
        self._join_frame(pid, frame)
        return frame

    def _frame_of(self, time_ns: int, pid: int, mount_ns: int) -> _Made:
        frame = self._by_ns.get(mount_ns)
        if frame is None:
            if len(self._all) >= MOST_FRAMES:
                return self._all[-1]
            kind, name = name_frame(list(self.lineage(pid))[:_MOST_LINE], _cgroup_of(pid))
            frame = _Made(len(self._all) + 1, mount_ns, pid, kind, name, time_ns)
            self._all.append(frame)
            self._by_ns[mount_ns] = frame
            self.active = True
        return frame

    def _root_of(self, made: _Made) -> bytes | None:
        """Return the frame's root directory by the name that the host has for it; None if it has none."""
        table = self._registry.tables.get(made.mount_ns)
        read = None if table is None else table.points.get(b"/")
        mount = self._roots.get(made.mount_ns, read)
        if mount is None:
            return None
        return self._registry.own.name_of(mount.dev, mount.root, b"/")


def _cgroup_of(pid: int) -> bytes:
    try:
        with open(f"/proc/{pid}/cgroup", "rb") as file:
            return file.read(1 << 14)
    except OSError:
        return b""


def name_frame(commands: Sequence[tuple[bytes, ...]], cgroups: bytes = b"") -> tuple[str, str]:
    """Return kind and name of a frame that a process made.

    ``commands``: its command line and those of the processes above it; ``cgroups``: its /proc/PID/cgroup.
    """
    for words in commands:
        if not words:
            continue
        program = os.path.basename(words[0])
        if program in _RUNTIMES:
            found = _bundle_id(words[1:])
        elif program in _NAMING:
            found = _find_option(words[1:], _NAMING[program])
        else:
            continue
        if found:
            return "container", _shown_name(found)
    ids = _CONTAINER_ID.findall(cgroups)
    if ids:
        return "container", ids[0][:12].decode()
    made_by = next((words[0] for words in commands if words and words[0]), b"")
    program = os.path.basename(made_by)
    kind = "container" if program in _RUNTIMES or program in _NAMING else "sandbox"
    return kind, _shown_name(program) or "?"


def _bundle_id(words: Sequence[bytes]) -> bytes | None:
    """Return the container's id from the words of ``crun --root D create --bundle B ID``."""
    verb, after = None, iter(words)
    for word in after:
        if word in _VALUES:
            next(after, None)
        elif word[:1] == b"-":
            continue
        elif verb is None:
            if word not in _VERBS:
                return None
            verb = word
        else:
            return word
    return None


def _find_option(words: Sequence[bytes], names: Sequence[bytes]) -> bytes | None:
    for word, following in zip(words, (*words[1:], b""), strict=True):
        if word == b"--":
            return None
        if word in names:
            return following
        for name in names:
            if name[:2] == b"--" and word.startswith(name + b"="):
                return word[len(name) + 1 :]
    return None


def _shown_name(name: bytes) -> str:
    return name[:_MOST_NAME].decode("utf-8", "replace")
