"""Who runs already, as `/proc` tells it: the processes to join, and what they have."""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from writeaudit.errors import CaptureError

_KERNEL_THREAD = 0x00200000
"""PF_KTHREAD, among the flags of proc_pid_stat(5)."""
_MOST_MAPPINGS = 4096
"""How many shared mappings of a process are looked at; more are counted as not known."""
_LONGEST_MAPS = 1 << 24
_OCTAL = re.compile(rb"\\([0-7]{3})")
_DELETED = b" (deleted)"
_NO_FILE = (
    b"/memfd:", b"/SYSV", b"/anon_hugepage", b"/dev/", b"/[aio]", b"/dmabuf:", b"/i915", b"/drm mm",
)  # fmt: skip
"""How names of mappings begin that are of no file whose content lies on a file system."""


_SHARED_MEMORY = b"/dev/shm/"


class Status(NamedTuple):
    """What is asked of a process before it is joined."""

    pid: int
    """Of its first thread, whichever thread was asked about."""
    ppid: int
    is_kernel: bool
    """Whether it is a thread of the kernel's own."""
    is_over: bool
    """Whether it has ended, and nobody has waited for it yet."""


class SharedMapping(NamedTuple):
    """A file that is mapped shared: stores into it change the file, and are no system call."""

    start: int
    end: int
    writable: bool
    path: bytes
    deleted: bool
    dev: int
    ino: int


class Facts(NamedTuple):
    """What a process has when it is joined."""

    exe: bytes
    mappings: tuple[SharedMapping, ...] = ()
    more_mappings: bool = False
    """Whether there were too many to look at."""
    rings_busy: bool = False
    """Whether a request to io_uring is under way, of which nobody saw the beginning."""


class ProcessTable:
    """`/proc`, or what was made up for a test. None for a process that is gone."""

    def __init__(self, proc: str = "/proc") -> None:
        self._proc = proc

    def read_status(self, pid: int) -> Status | None:
        """Return who a thread belongs to, and who started that process."""
        try:
            with open(f"{self._proc}/{pid}/status", "rb") as file:
                group = next(line for line in file if line.startswith(b"Tgid:"))
            process = int(group.split()[1])
            fields = self._read_stat(process)
        except (OSError, StopIteration, ValueError, IndexError):
            return None
        return Status(process, int(fields[1]), bool(int(fields[6]) & _KERNEL_THREAD), fields[0] in b"ZX")

    def read_parents(self) -> dict[int, int]:
        """Return who started each process."""
        found: dict[int, int] = {}
        for name in os.listdir(self._proc):
            if name.isdecimal():
                with contextlib.suppress(OSError, ValueError, IndexError):
                    found[int(name)] = int(self._read_stat(int(name))[1])
        return found

    def read_argv(self, pid: int) -> tuple[bytes, ...]:
        """Return the arguments of a process; none if it has none, or is gone."""
        raw = self._read_file(pid, "cmdline")
        return tuple(raw.removesuffix(b"\0").split(b"\0")) if raw else ()

    def read_environment(self, pid: int) -> dict[bytes, bytes] | None:
        """Return what a process was started with; None if it may not be read."""
        raw = self._read_file(pid, "environ")
        if raw is None:
            return None
        pairs = (entry.partition(b"=") for entry in raw.split(b"\0") if b"=" in entry)
        return {name: value for name, _equals, value in pairs}

    def read_umask(self, pid: int) -> str | None:
        """Return its umask, as an octal number."""
        for line in (self._read_file(pid, "status") or b"").splitlines():
            if line.startswith(b"Umask:"):
                return line.split()[1].decode("ascii", "replace")
        return None

    def read_link(self, pid: int, name: str) -> bytes | None:
        """Return what ``exe``, ``cwd`` or ``root`` lead to."""
        try:
            return os.readlink(os.fsencode(f"{self._proc}/{pid}/{name}"))
        except OSError:
            return None

    def processes_of(self, threads: Iterable[int]) -> set[int]:
        """Return the processes of threads."""
        return {status.pid for tid in threads if (status := self.read_status(tid)) is not None}

    def _read_stat(self, pid: int) -> list[bytes]:
        """Return the fields of proc_pid_stat(5) from the third on: the state."""
        with open(f"{self._proc}/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()

    def _read_file(self, pid: int, name: str) -> bytes | None:
        try:
            with open(f"{self._proc}/{pid}/{name}", "rb") as file:
                return file.read()
        except OSError:
            return None


def tree_of(roots: Iterable[int], parents: Mapping[int, int], births: Iterable[tuple[int, int]]) -> set[int]:
    """Return the processes that descend from some, these included.

    ``parents``: who started each process, as it is now. ``births``: children and who forked them, since that
    is noted; some may be gone, and their own children have other parents then.
    """
    below: dict[int, list[int]] = {}
    for child, parent in (*parents.items(), *births):
        below.setdefault(parent, []).append(child)
    found: set[int] = set()
    todo = list(roots)
    while todo:
        pid = todo.pop()
        if pid not in found:
            found.add(pid)
            todo += below.get(pid, ())
    return found


def line_above(pid: int, parents: Mapping[int, int]) -> list[int]:
    """Return a process and those above it, up to the first of all."""
    line = [pid]
    while (pid := parents.get(pid, 0)) and pid not in line:
        line.append(pid)
    return line


def read_facts(place: int) -> Facts:
    """Return what a process has; ``place``: its directory in /proc, open. Raises OSError."""
    exe = os.readlink(b"exe", dir_fd=place)
    maps = os.open("maps", os.O_RDONLY | os.O_CLOEXEC, dir_fd=place)
    with open(maps, "rb") as file:
        text = file.read(_LONGEST_MAPS)
    mappings = parse_maps(text)
    busy = b"anon_inode:[io_uring]" in text and _are_rings_busy(place)
    return Facts(exe, mappings[:_MOST_MAPPINGS], len(mappings) > _MOST_MAPPINGS, busy)


def parse_maps(text: bytes) -> tuple[SharedMapping, ...]:
    """Return the shared mappings of files in the text of proc_pid_maps(5)."""
    found: list[SharedMapping] = []
    for line in text.splitlines():
        fields = line.split(None, 5)
        if len(fields) < 6 or fields[1][3:4] != b"s" or not fields[5].startswith(b"/"):
            continue
        path = fields[5]
        if path.startswith(_NO_FILE) and not path.startswith(_SHARED_MEMORY):
            continue
        start, _, end = fields[0].partition(b"-")
        major, _, minor = fields[3].partition(b":")
        deleted = path.endswith(_DELETED)
        path = _OCTAL.sub(lambda match: bytes([int(match[1], 8)]), path.removesuffix(_DELETED))
        found.append(
            SharedMapping(
                int(start, 16), int(end, 16), fields[1][1:2] == b"w", path, deleted,
                os.makedev(int(major, 16), int(minor, 16)), int(fields[4]),
            )
        )  # fmt: skip
    return tuple(found)


def _are_rings_busy(place: int) -> bool:
    """Whether a process that uses io_uring has requests that are not done; in doubt it has."""
    try:
        infos = os.open("fdinfo", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=place)
    except OSError:
        return True
    try:
        texts = (_read_at(infos, name) for name in os.listdir(infos))
        return any(text is None or (b"SqHead:" in text and is_ring_busy(text)) for text in texts)
    except OSError:
        return True
    finally:
        os.close(infos)


def _read_at(directory: int, name: str) -> bytes | None:
    """Return the text of a file, empty if it is gone; None if it may not be read."""
    try:
        with open(os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=directory), "rb") as file:
            return file.read(1 << 16)
    except PermissionError:
        return None
    except OSError:
        return b""


def is_ring_busy(text: bytes) -> bool:
    """Whether an io_uring has taken more requests than it has answered, by its fdinfo (io_uring(7))."""
    fields = dict(line.split(b":", 1) for line in text.splitlines() if line.count(b":") == 1)
    try:
        return int(fields[b"SqHead"]) != int(fields[b"CqTail"])
    except (KeyError, ValueError):
        return True  # in doubt


def pack_facts(facts: Facts) -> bytes:
    """Return facts as one process passes them on to another."""
    words = [*facts[:1], *(mapping.path for mapping in facts.mappings)]
    numbers = [
        (mapping.start, mapping.end, mapping.writable, mapping.deleted, mapping.dev, mapping.ino)
        for mapping in facts.mappings
    ]
    return json.dumps(
        [[word.hex() for word in words], numbers, facts.more_mappings, facts.rings_busy]
    ).encode()


def unpack_facts(text: bytes) -> Facts:
    """Return what `pack_facts` made a text of."""
    words, numbers, more, busy = json.loads(text)
    exe, *paths = map(bytes.fromhex, words)
    mappings = tuple(
        SharedMapping(start, end, bool(writable), path, bool(deleted), dev, ino)
        for path, (start, end, writable, deleted, dev, ino) in zip(paths, numbers, strict=True)
    )
    return Facts(exe, mappings, more, busy)


def check_process(pid: int, table: ProcessTable, own: int | None = None) -> int:
    """Return the process that is to be joined by a number. Raises `CaptureError` if it cannot be.

    ``own``: our own process, which nobody can follow.
    """
    own = os.getpid() if own is None else own
    status = table.read_status(pid)
    if status is None or status.is_over:
        raise CaptureError(f"no such process: {pid}", hint="see: ps -e, pgrep NAME")
    if status.is_kernel:
        raise CaptureError(
            f"process {pid} is a thread of the kernel's own, which makes no system calls",
            hint="join a process; `ps -e` shows threads of the kernel in brackets",
        )
    if status.pid == own:
        raise CaptureError(f"process {pid} is writeaudit itself", hint="join another one")
    if status.pid in line_above(own, table.read_parents()):
        raise CaptureError(
            f"process {pid} is above writeaudit: who follows it and its children follows writeaudit itself",
            hint="start writeaudit from elsewhere: another terminal, or systemd-run",
        )
    return status.pid
