"""Whether a processor is to spare, or there is work for all of them."""

from __future__ import annotations

import contextlib
import os

_LOADAVG = "/proc/loadavg"


class Processors:
    """Those that this process may use. See proc_loadavg(5)."""

    def __init__(self, path: str = _LOADAVG) -> None:
        self._count = len(os.sched_getaffinity(0))
        self._fd = -1
        with contextlib.suppress(OSError):
            self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def spare(self) -> bool:
        """Whether no thread has to wait for a processor right now, the caller's included.

        True also where nobody says.
        """
        try:
            # "0.20 0.18 0.12 1/80 11206": how many threads run or could; then of how many.
            running = int(os.pread(self._fd, 128, 0).split()[3].partition(b"/")[0])
        except (OSError, ValueError, IndexError):
            return True
        return running <= self._count

    def close(self) -> None:
        """Close the file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
