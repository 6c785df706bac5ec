"""One audited run: the facts that a recording holds and that every later stage reads."""

from __future__ import annotations

import stat
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol, runtime_checkable

from writeaudit.events import FsEvent, Op
from writeaudit.text import plural


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
    """Whether no better one was tried without success."""


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
    notes: tuple[str, ...] = ()
    """What the reader should know of how it was started: that sudo had reset the environment, say."""
    buffer_bytes: int = 0
    """Size of the buffer between the kernel and writeaudit; 0 where there was none, or nobody noted it."""
    joined: tuple[str, ...] = ()
    """What ran already when the audit began, in words; empty where ``command`` was run for it."""
    landlock: int = 0
    """The version of Landlock by which `confine --audit` held the command to its policy; 0: not confined."""

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


class Frame(NamedTuple):
    """A container or sandbox of the run: a mount namespace other than writeaudit's own."""

    id: int
    """1, 2, 3, …; 0 is the host."""
    kind: str
    """container, sandbox."""
    name: str
    """The container's name or id; else the program that made the namespace."""
    mount_ns: int
    """Inode number of the mount namespace."""
    root: bytes | None
    """Its root directory, by the name that the host has for it; None if it has none there."""
    pid: int
    """The process that was seen in it first."""
    began_ns: int = 0
    """When, since the command was started."""
    prepared: tuple[tuple[int, int], ...] = ()
    """Processes that made it ready, and when each ran another program: what they did in it until then is
    set-up."""


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


class FileState(NamedTuple):
    """What stat(2) and its relatives say of one file; None where that could not be had."""

    path: bytes
    fmt: int
    """File type bits (`stat.S_IFMT`)."""
    mode: int
    """Permission bits."""
    uid: int
    gid: int
    owner: str
    group: str
    """Names, or the numbers where there are none."""
    nlink: int
    dev: int
    ino: int
    acl: tuple[str, ...] = ()
    """Entries of its POSIX access list beyond the permission bits: ``user:ann:rw-``."""
    flags: tuple[str, ...] = ()
    """immutable, append."""
    project: int | None = None

    @property
    def is_directory(self) -> bool:
        """Whether it is one."""
        return stat.S_ISDIR(self.fmt)


class FileSystemState(NamedTuple):
    """What statfs(2) says of a file system."""

    size: int
    """Bytes."""
    free: int
    """Bytes that a user without privileges can still write."""
    files: int
    files_free: int
    """How many files it can hold, and how many more; 0 and 0 where it has no limit."""


class Observation(NamedTuple):
    """What writeaudit itself saw on the disk right after an operation was refused."""

    seq: int
    """Of the event."""
    file: FileState | None = None
    """At the event's path."""
    directory: FileState | None = None
    """The nearest directory above it that is there."""
    source: FileState | None = None
    system: FileSystemState | None = None
    mount: Mount | None = None
    """Of the path, in the mount namespace of the process, where that is not writeaudit's own."""
    source_mount: Mount | None = None


class SharedFile(NamedTuple):
    """A file with several names that the run opened for writing, or changed."""

    seq: int
    """The first event that did so."""
    dev: int
    ino: int
    nlink: int
    """How many names it had then."""
    names: tuple[bytes, ...]
    """Those that are known: that of the event, and what was found in the zones of the policy."""
    searched: bool = True
    """Whether all of the zones were looked through."""


class Binary(NamedTuple):
    """A program or library that the run wrote, as it was when the run was over."""

    path: bytes
    kind: str
    """elf, script, other (a program that is neither)."""
    existed: bool = False
    """Whether it was there before, and was opened for writing."""
    damaged: str = ""
    """Why its headers could not be read; empty if they could."""
    type: str = ""
    """exec, dyn, rel, …"""
    machine: str = ""
    soname: str | None = None
    needed: tuple[str, ...] = ()
    rpath: str | None = None
    runpath: str | None = None
    interpreter: str | None = None
    build_id: str | None = None
    pie: bool = False
    relro: str = ""
    """none, partial, full."""
    executable_stack: bool = False
    text_relocations: bool = False
    writable_paths: tuple[str, ...] = ()
    """Entries of RPATH and RUNPATH that every user may write to."""


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
    doubts: Mapping[str, int] = field(default_factory=dict)
    """Why, by the names of `events.Doubt` in lower case; a change may have several reasons."""
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


_NO_EVENTS = frozenset({"total", "fork", "exec", "exit", "mount", "dropped", "missed", "untracked"})
"""Kinds of `Completeness.lost` that are something else than one operation on a file."""


class Losses(NamedTuple):
    """What did not reach the recording, told apart: operations on files, and all that explains them."""

    events: int
    sent: int
    """How many of these the kernel side had; 0 if nobody counted."""
    others: Mapping[str, int]
    """By kind, without those of which none was lost."""

    def describe_losses(self) -> str:
        """Return a clause: ``27,684 of 32,744 events and 1,092 other records were lost``; empty for none."""
        parts = []
        if self.events:
            of = f" of {self.sent:,}" if self.sent >= self.events else ""
            parts.append(f"{self.events:,}{of} event{'' if max(self.events, self.sent) == 1 else 's'}")
        other = sum(self.others.values())
        if other:
            parts.append(
                plural(
                    other,
                    "other record" if parts else "record of processes, sums or mounts",
                    None if parts else "records of processes, sums or mounts",
                )
            )
        if not parts:
            return ""
        single = len(parts) == 1 and self.events + other == 1
        return f"{' and '.join(parts)} {'was' if single else 'were'} lost"


def tell_losses(completeness: Completeness) -> Losses:
    """Take apart what was lost by what it was: records of many kinds add up to nothing."""
    lost = {kind: count for kind, count in completeness.lost.items() if count}
    others = {kind: count for kind, count in lost.items() if kind in _NO_EVENTS}
    # What no kind is known of counts as events.
    events = max(completeness.lost_events - sum(others.values()), 0)
    sent = sum(count for kind, count in completeness.emitted.items() if kind not in _NO_EVENTS)
    return Losses(events, sent, others)


@runtime_checkable
class Indexed(Protocol):
    """Events of which some can be had without reading the others."""

    def pick_events(self, seqs: Collection[int]) -> Iterator[FsEvent]:
        """Yield the events of these numbers, in their order."""


@runtime_checkable
class ByOperation(Protocol):
    """Events of which those of some operations can be had without reading the others."""

    def select_operations(self, ops: Collection[Op]) -> Iterator[FsEvent]:
        """Yield the events of these operations, in their order."""


def of_ops(events: Iterable[FsEvent], ops: Collection[Op]) -> Iterator[FsEvent]:
    """Yield the events of these operations, in their order."""
    if isinstance(events, ByOperation):
        return events.select_operations(ops)
    return (event for event in events if event.op in ops)


def pick_events(events: Iterable[FsEvent], seqs: Collection[int]) -> Iterator[FsEvent]:
    """Yield the events of these numbers, in their order. Reads no further than it must."""
    if isinstance(events, Indexed):
        yield from events.pick_events(seqs)
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
    observations: tuple[Observation, ...] = ()
    shared: tuple[SharedFile, ...] = ()
    binaries: tuple[Binary, ...] = ()
    caches: tuple[FileState, ...] = ()
    """The directories of the policy's caches, as they were when the run was over."""
    frames: tuple[Frame, ...] = ()
    """Containers and sandboxes, without the host."""
