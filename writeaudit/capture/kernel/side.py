"""The kernel side as a session sees it: its buffer, and what its maps say.

Two things are one: programs that this process loaded itself (`MapSide`), and programs that a
privileged process loaded for it (`privileged.client.RemoteSide`).
"""

from __future__ import annotations

import mmap
import os
import select
import struct
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from writeaudit.capture.kernel.libbpf import Map
from writeaudit.capture.kernel.ring import Ring
from writeaudit.capture.members import Facts, read_facts
from writeaudit.capture.syscalls import known_numbers, pack_table
from writeaudit.errors import CaptureError

CONFIG = struct.Struct("=QQQQQ12I")
"""struct wa_config."""
FILE = struct.Struct("=QQQQII")
"""struct wa_file."""
_TASK_PID = struct.Struct("=II")
"""The beginning of struct wa_task: armed, pid."""
_TASK = struct.Struct("=III")
"""struct wa_task."""
_ARMED_MAPS = 2
"""WA_ARMED_MAPS: recorded, whatever it may have mapped before."""
_MOUNT_GENERATION, _EXPECTS, _LEVEL, _LACKS = 3, 5, 6, 10
_GROUP_AT, _SHARED_AT, _HIERARCHY_AT, _JOINING_AT, _KNOWN_AT = 32, 48, 64, 68, 72
_WAITS_COMMAND, _WAITS_SELF = 1, 2
_SPEC_BYTES = 16
_NUMBER, _GROUP_ID, _KNOWN = struct.Struct("=I"), struct.Struct("=Q"), struct.Struct("=4I")
_NONE_UNKNOWN = (0xFFFFFFFF,) * 4
COUNTERS = 24
_ZERO = struct.pack("=I", 0)


class State(NamedTuple):
    """What is asked for again and again while the command runs."""

    waiting: int
    """Bytes in the buffer."""
    mount_generation: int
    """Not 0: audited processes change mounts, or have made a namespace for them."""
    expects: bool
    """Whether the programs still wait for the process that announces itself."""
    lacks: int = 0
    """WA_LACKS_* of probes/events.h."""
    level: int = 0
    """How deep writeaudit's pid namespace lies within that of the machine."""


class KernelSide(Protocol):
    """Programs that are in the kernel and attached. Every method raises OSError or `CaptureError`."""

    wake_fd: int
    """Readable when the buffer should be emptied without delay."""
    ring_bytes: int
    sees_uring: bool
    """Whether the programs for io_uring are attached."""

    def begin_recording(self, cookie: int) -> None:
        """Tell the programs what to record, and by what the process to follow announces itself."""

    def hold_recording(self, cookie: int) -> None:
        """Begin as `begin_recording` does, for what runs already.

        Nothing is recorded until `release_recording`.

        writeaudit itself has to announce itself then; nobody is followed for that.
        """

    def follow_group(self, hierarchy: int, number: int) -> None:
        """Follow whoever comes into a cgroup from here on. Takes the programs of `hooks.CGROUP`."""

    def follow_process(self, pid: int) -> bool | None:
        """Follow a process that runs; returns False if it was followed already, None if it is gone.

        Raises PermissionError.
        """

    def list_births(self) -> Sequence[tuple[int, int]]:
        """Return who was forked since `hold_recording`, and by whom: child and parent."""

    def read_facts(self, pid: int) -> Facts:
        """Return what a followed process has. Raises OSError."""

    def release_recording(self) -> None:
        """Record from here on what those do who are followed."""

    def read_state(self) -> State:
        """Return how things are."""

    def take_records(self) -> bytes:
        """Take out of the buffer all that is finished, as `ring.Ring.take_records` does."""

    def read_counters(self) -> Sequence[int]:
        """Return the counters, summed over all processors."""

    def open_files(self) -> Sequence[tuple[int, int, int]]:
        """Return key, bytes and calls of each file that is still open and was written to."""

    def count_misses(self) -> int:
        """Return how often the kernel skipped a program because it was running already."""

    def detach(self) -> None:
        """Take the programs out; the maps stay."""

    def close(self) -> None:
        """Take everything out of the kernel."""


class Loaded(Protocol):
    """Programs and maps that this process loaded and attached."""

    ring_fd: int
    ring_bytes: int
    sees_uring: bool

    def get_map(self, name: str) -> Map:
        """Return a map by its name in the source."""

    def count_misses(self) -> int:
        """See `KernelSide`."""

    def detach(self) -> None:
        """See `KernelSide`."""

    def close(self) -> None:
        """See `KernelSide`."""


class MapSide:
    """See `KernelSide`: of programs that this process loaded itself."""

    def __init__(self, loaded: Loaded) -> None:
        self._loaded = loaded
        self._ring: Ring | None = None
        self._config: mmap.mmap | bytes = bytes(CONFIG.size)
        """struct wa_config, which the programs change. Read without a system call: while one looks a map up,
        the kernel may skip programs on that processor."""
        self.wake_fd = loaded.ring_fd
        self.ring_bytes = loaded.ring_bytes
        self.sees_uring = loaded.sees_uring

    def begin_recording(self, cookie: int) -> None:
        """Map the buffer, and tell the programs what to look for."""
        size = self.ring_bytes
        self._ring = self._ring or Ring(self._loaded.ring_fd, size)
        self._loaded.get_map("table").update(_ZERO, pack_table()[0])
        first = CONFIG.pack(
            cookie, 0, 0, 0, 0, _WAITS_COMMAND, 0, 0, size // 4, size, 0, 0, 0, *known_numbers()
        )
        config = self._loaded.get_map("config")
        config.update(_ZERO, first)
        self._config = mmap.mmap(config.fd, mmap.PAGESIZE, mmap.MAP_SHARED, mmap.PROT_READ)

    def hold_recording(self, cookie: int) -> None:
        """See `KernelSide`. Calls of which the table says nothing are let pass: it says nothing of any."""
        size = self.ring_bytes
        self._ring = self._ring or Ring(self._loaded.ring_fd, size)
        rows = bytearray(pack_table()[0])
        # The operation alone: what is read while it is set is either the row of before, or the right one.
        rows[::_SPEC_BYTES] = bytes(len(rows) // _SPEC_BYTES)
        self._loaded.get_map("table").update(_ZERO, bytes(rows))
        first = CONFIG.pack(cookie, 0, 0, 0, 0, _WAITS_SELF, 0, 0, size // 4, size, 0, 0, 1, *_NONE_UNKNOWN)
        config = self._loaded.get_map("config")
        config.update(_ZERO, first)
        self._config = mmap.mmap(config.fd, mmap.PAGESIZE, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)

    def follow_group(self, hierarchy: int, number: int) -> None:
        """See `KernelSide`."""
        assert isinstance(self._config, mmap.mmap)
        _NUMBER.pack_into(self._config, _HIERARCHY_AT, hierarchy)
        _GROUP_ID.pack_into(self._config, _GROUP_AT, number)

    def follow_process(self, pid: int) -> bool | None:
        """See `KernelSide`."""
        if self.read_state().level:
            raise CaptureError(
                "writeaudit runs in a pid namespace of its own, where the kernel calls processes otherwise",
                hint="run it outside of the container",
            )
        try:
            # Only those can who may look at the process at all (ptrace(2), PTRACE_MODE_READ).
            os.close(os.open(f"/proc/{pid}/maps", os.O_RDONLY | os.O_CLOEXEC))
            process = os.pidfd_open(pid)
        except (FileNotFoundError, ProcessLookupError):
            return None
        tasks, key = self._loaded.get_map("tasks"), _NUMBER.pack(pid)
        try:
            is_new = tasks.add(key, _TASK.pack(_ARMED_MAPS, pid, 0))
            if not select.select([process], [], [], 0)[0]:
                return is_new
            # It may have ended before it was entered: nobody takes it out again, and its number comes back.
            tasks.remove(key)
            return None
        finally:
            os.close(process)

    def list_births(self) -> list[tuple[int, int]]:
        """See `KernelSide`."""
        pairs = self._loaded.get_map("births").items()
        return [(_NUMBER.unpack(child)[0], _NUMBER.unpack(parent)[0]) for child, parent in pairs]

    def read_facts(self, pid: int) -> Facts:
        """See `KernelSide`."""
        place = os.open(f"/proc/{pid}", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            return read_facts(place)
        finally:
            os.close(place)

    def release_recording(self) -> None:
        """See `KernelSide`."""
        assert isinstance(self._config, mmap.mmap)
        _NUMBER.pack_into(self._config, _SHARED_AT, 1)
        _NUMBER.pack_into(self._config, _JOINING_AT, 0)
        self._loaded.get_map("table").update(_ZERO, pack_table()[0])
        _KNOWN.pack_into(self._config, _KNOWN_AT, *known_numbers())

    def read_state(self) -> State:
        """See `KernelSide`."""
        waiting = self._ring.count_waiting() if self._ring is not None else 0
        config = CONFIG.unpack_from(self._config)
        return State(
            waiting, config[_MOUNT_GENERATION], bool(config[_EXPECTS]), config[_LACKS], config[_LEVEL]
        )

    def take_records(self) -> bytes:
        """See `KernelSide`."""
        return self._ring.take_records() if self._ring is not None else b""

    def read_counters(self) -> list[int]:
        """See `KernelSide`."""
        counters = self._loaded.get_map("counters")
        sums: list[int] = []
        for index in range(COUNTERS):
            raw = counters.lookup(struct.pack("=I", index)) or b""
            sums.append(sum(value for (value,) in struct.iter_unpack("=Q", raw)))
        return sums

    def open_files(self) -> list[tuple[int, int, int]]:
        """See `KernelSide`."""
        entries = (FILE.unpack(value) for _, value in self._loaded.get_map("files").items())
        return [(key, total, calls) for key, _ino, total, calls, _dev, _pad in entries]

    def follows(self, pid: int) -> bool:
        """Whether a process is followed. Its number is that of writeaudit's pid namespace."""
        tasks = self._loaded.get_map("tasks")
        entry = tasks.lookup(struct.pack("=I", pid))
        if entry is not None and _TASK_PID.unpack_from(entry)[1] == pid:
            return True
        # In a pid namespace the kernel knows it by another number.
        return any(_TASK_PID.unpack_from(value)[1] == pid for _, value in tasks.items())

    def count_misses(self) -> int:
        """See `KernelSide`."""
        return self._loaded.count_misses()

    def detach(self) -> None:
        """See `KernelSide`."""
        self._loaded.detach()

    def close(self) -> None:
        """See `KernelSide`."""
        if self._ring is not None:
            self._ring.close()
            self._ring = None
        if isinstance(self._config, mmap.mmap):
            self._config.close()
            self._config = bytes(CONFIG.size)
        self._loaded.close()
