"""One audited run: the facts that a recording holds and that every later stage reads."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol, runtime_checkable

from writeaudit.events import FsEvent


@dataclass(frozen=True, slots=True)
class BackendInfo:
    """Which backend captured the run, and why that one."""

    name: str
    """ebpf, bcc or strace."""
    tier: str
    """base (system-call exits), vfs, or ptrace."""
    why: str
    """One sentence; names the better backends that could not run, with their reasons."""
    engine: str = ""
    """What does the work, with its version: ``libbpf 1.5``, ``strace 6.1``; empty if unknown."""
    preferred: bool = True
    """Whether no better one was tried in vain."""


@dataclass(frozen=True, slots=True)
class RunInfo:
    """What was run, by whom, where, and how it ended."""

    command: tuple[bytes, ...]
    cwd: bytes
    user: str
    uid: int
    started: float
    """Seconds since the epoch."""
    duration_s: float
    exit_status: int | None
    """None while it runs, when a signal ended it, and when writeaudit died first."""
    signal: int | None
    """Number of the signal that ended the command, or None."""
    backend: BackendInfo
    kernel: str
    arch: str
    env: Mapping[str, str] = field(default_factory=dict)
    """The variables that decide where things go (HOME, TMPDIR, UV_CACHE_DIR, …), no others."""
    tool_version: str = ""
    """The writeaudit that made the recording."""
    host: Mapping[str, str] = field(default_factory=dict)
    """Settings of the machine that explain a refusal, such as ``fs.protected_hardlinks``."""
    inherited: tuple[bytes, ...] = ()
    """Files that were open for writing when the command was started: where its caller had redirected
    its output to, say."""

    @property
    def ended(self) -> bool:
        """Whether the end of the command was seen."""
        return self.exit_status is not None or self.signal is not None

    @property
    def succeeded(self) -> bool:
        """Whether the command ended with status 0."""
        return self.exit_status == 0


class Mount(NamedTuple):
    """One mount, as `/proc/PID/mountinfo` (proc_pid_mountinfo(5)) describes it."""

    id: int
    mount_ns: int
    """Inode number of the mount namespace."""
    dev: int
    """`os.makedev` of the file system."""
    fstype: str
    source: bytes
    root: bytes
    """The directory of the file system that is mounted: b"/" unless a bind mount or subvolume."""
    mountpoint: bytes
    options: tuple[str, ...]
    parent: int | None = None
    own: bool = True
    """Whether it is in writeaudit's own mount namespace."""


class Process(NamedTuple):
    """One process of the audited tree, between two execs of it."""

    pid: int
    ppid: int
    exe: bytes
    argv: tuple[bytes, ...]
    started_ns: int
    """Since the command was started."""
    ended_ns: int | None
    """None if it outlived the audit."""
    exit_status: int | None
    """As the shell shows it: 128 + N for signal N; None if unknown."""


@dataclass(frozen=True, slots=True)
class BlindSpot:
    """Something that ran and that the backend could not see in full."""

    kind: str
    """A stable word: io_uring, x32, open_by_handle, shared_mapping, namespace, …"""
    message: str
    """One sentence: what was not seen, and what would see it."""
    count: int = 1
    incomplete: bool = True
    """Whether "clean" can no longer be said because of it."""


@dataclass(frozen=True, slots=True)
class Completeness:
    """Whether the answer can be believed."""

    lost_events: int = 0
    """Events that the buffer had no room for."""
    truncated: int = 0
    """Events with a path of which bytes are missing."""
    unresolved: int = 0
    """Changes whose path is known as text only, or was seen to be wrong."""
    blind_spots: tuple[BlindSpot, ...] = ()
    survivors: tuple[int, ...] = ()
    """Processes that outlived the audit."""
    emitted: Mapping[str, int] = field(default_factory=dict)
    """Records sent by the kernel side, by kind; empty for backends that do not count."""
    received: Mapping[str, int] = field(default_factory=dict)
    lost: Mapping[str, int] = field(default_factory=dict)
    finished: bool = True
    """False if writeaudit died before the command did."""

    @property
    def complete(self) -> bool:
        """Whether every change that happened has an event, with a path that can be relied on."""
        return (
            self.finished
            and self.lost_events == 0
            and self.truncated == 0
            and self.unresolved == 0
            and not self.survivors
            and not any(spot.incomplete for spot in self.blind_spots)
        )


@runtime_checkable
class Indexed(Protocol):
    """Events of which some can be had without reading the others."""

    def pick(self, seqs: Collection[int]) -> Iterator[FsEvent]:
        """Yield the events of these numbers, in their order."""


def pick(events: Iterable[FsEvent], seqs: Collection[int]) -> Iterator[FsEvent]:
    """Yield the events of these numbers, in their order. Reads no further than it must."""
    if isinstance(events, Indexed):
        yield from events.pick(seqs)
    elif seqs:
        last = max(seqs)
        for event in events:
            if event.seq in seqs:
                yield event
            if event.seq >= last:
                return


class Audit(NamedTuple):
    """A recording, read. ``events`` can be iterated over more than once, in order of seq."""

    run: RunInfo
    completeness: Completeness
    mounts: tuple[Mount, ...]
    processes: tuple[Process, ...]
    events: Iterable[FsEvent]
    event_count: int
