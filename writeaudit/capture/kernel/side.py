"""The kernel side as a session sees it: its buffer, and what its maps say.

Two things are one: programs that this process loaded itself (`MapSide`), and programs that a
privileged process loaded for it (`privileged.client.RemoteSide`).
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from writeaudit.capture.kernel.libbpf import Map
from writeaudit.capture.kernel.ring import Ring
from writeaudit.capture.syscalls import known_numbers, pack_table

CONFIG = struct.Struct("=QQQQ10I")
"""struct wa_config."""
FILE = struct.Struct("=QQQQII")
"""struct wa_file."""
_TASK_PID = struct.Struct("=II")
"""The beginning of struct wa_task: armed, pid."""
_MOUNT_GENERATION, _EXPECTS, _LACKS = 3, 4, 9
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


class KernelSide(Protocol):
    """Programs that are in the kernel and attached. Every method raises OSError or `CaptureError`."""

    wake_fd: int
    """Readable when the buffer should be emptied without delay."""
    ring_bytes: int
    sees_uring: bool
    """Whether the programs for io_uring are attached."""

    def begin(self, cookie: int) -> None:
        """Tell the programs what to record, and by what the process to follow announces itself."""

    def state(self) -> State:
        """Return how things are."""

    def take(self) -> bytes:
        """Take out of the buffer all that is finished, as `ring.Ring.take_records` does."""

    def counters(self) -> Sequence[int]:
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

    def map(self, name: str) -> Map:
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

    def begin(self, cookie: int) -> None:
        """Map the buffer, and tell the programs what to look for."""
        size = self.ring_bytes
        self._ring = self._ring or Ring(self._loaded.ring_fd, size)
        self._loaded.map("table").update(_ZERO, pack_table()[0])
        first = CONFIG.pack(cookie, 0, 0, 0, 1, 0, 0, size // 4, size, 0, *known_numbers())
        config = self._loaded.map("config")
        config.update(_ZERO, first)
        self._config = mmap.mmap(config.fd, mmap.PAGESIZE, mmap.MAP_SHARED, mmap.PROT_READ)

    def state(self) -> State:
        """See `KernelSide`."""
        waiting = self._ring.count_waiting() if self._ring is not None else 0
        config = CONFIG.unpack_from(self._config)
        return State(waiting, config[_MOUNT_GENERATION], bool(config[_EXPECTS]), config[_LACKS])

    def take(self) -> bytes:
        """See `KernelSide`."""
        return self._ring.take_records() if self._ring is not None else b""

    def counters(self) -> list[int]:
        """See `KernelSide`."""
        counters = self._loaded.map("counters")
        sums: list[int] = []
        for index in range(COUNTERS):
            raw = counters.lookup(struct.pack("=I", index)) or b""
            sums.append(sum(value for (value,) in struct.iter_unpack("=Q", raw)))
        return sums

    def open_files(self) -> list[tuple[int, int, int]]:
        """See `KernelSide`."""
        entries = (FILE.unpack(value) for _, value in self._loaded.map("files").items())
        return [(key, total, calls) for key, _ino, total, calls, _dev, _pad in entries]

    def follows(self, pid: int) -> bool:
        """Whether a process is followed. Its number is that of writeaudit's pid namespace."""
        tasks = self._loaded.map("tasks")
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
