"""Whether a processor is to spare, or there is work for all of them; and what waits until one is."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable

_LOADAVG = "/proc/loadavg"


_NICE = 10
"""How much the priority of work beside the command is lowered (nice(2))."""


def lower_priority() -> int:
    """Lower the priority of this thread, if that is permitted; returns its usual one."""
    usual = os.getpriority(os.PRIO_PROCESS, 0)  # Linux: of this thread alone
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, min(19, usual + _NICE))
    return usual


class Processors:
    """Those that this process may use. See proc_loadavg(5)."""

    def __init__(self, path: str = _LOADAVG) -> None:
        self._count = len(os.sched_getaffinity(0))
        self._fd = -1
        with contextlib.suppress(OSError):
            self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def has_spare(self) -> bool:
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


class DrainPolicy:
    """Says when work that waits is due: in a pause of the command, or else when it can wait no longer."""

    def __init__(self, spare: Callable[[], bool], much: int, limit_s: float = 0.1) -> None:
        """``spare`` is `Processors.has_spare`; work of more than ``much`` bytes, or that has waited for
        ``limit_s`` seconds, is due anyhow.
        """
        self._spare = spare
        self._much = much
        self._limit_s = limit_s
        self._spared = False
        self._since: float | None = None

    def is_due(self, held: int) -> bool:
        """Whether work of so many bytes is due; once it is, other work begins to wait."""
        # Twice in a row: threads of the command also wait for one another.
        before, self._spared = self._spared, self._spare()
        now = time.monotonic()
        if self._since is None:
            self._since = now
        if (before and self._spared) or held > self._much or now - self._since >= self._limit_s:
            self._since = None
            return True
        return False

    def note_done(self) -> None:
        """All that waited is done."""
        self._since = None
