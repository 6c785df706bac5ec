"""What is audited: a command that capture starts, or what runs already."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

from writeaudit.audit import BlindSpot
from writeaudit.capture.interface import Command
from writeaudit.text import plural


class Processes(NamedTuple):
    """Processes by their numbers, with all their threads and descendants."""

    pids: tuple[int, ...]


class ControlGroup(NamedTuple):
    """A cgroup with all below it: whoever is in it, and whoever comes into it (cgroups(7))."""

    directory: str
    hierarchy: int
    """As `/proc/PID/cgroup` numbers it; 0 is that of cgroup v2."""
    id: int
    """What the kernel calls it within its hierarchy: the inode number of its directory."""


class Attachment(NamedTuple):
    """Joining what runs already, and for how long."""

    joined: Processes | ControlGroup
    subject: Command
    """What stands in the report as the command that was audited. It is not run."""
    names: tuple[str, ...]
    """What was joined, in words: ``process 12 (nginx)``."""
    cwd: bytes = b"/"
    umask: str | None = None
    """Of the first of them, as an octal number."""
    command: Command | None = None
    """Run once all are followed, and not audited itself; its end ends the audit."""
    seconds: float | None = None
    """How long, at most."""
    until_exit: bool = False
    """Whether to wait until nobody is left that was joined."""
    spots: tuple[BlindSpot, ...] = ()
    """What is known beforehand not to be seen."""
    on_joined: Callable[[], object] = lambda: None
    """Called as soon as all are joined, and what they do is recorded."""


Target = Command | Attachment
"""What a backend is told to capture."""
JOINED = "joined"
"""The kind of the blind spot that says since when an attachment sees."""
JOINED_FLAG = "joined"
"""Flag of an event that stands for what was done before: a shared mapping that was there already."""


def joined_spot(since_ns: int, until_ns: int, left: int) -> BlindSpot:
    """Return the statement of what an attachment does not tell of. It makes no audit incomplete: within its
    time everything is seen.

    ``since_ns``, ``until_ns``: CLOCK_MONOTONIC. ``left``: how many processes still ran at the end.
    """
    message = f"joined: what was done before {_clock_time(since_ns)} is not in here"
    if left:
        those = plural(left, "process", "processes")
        message += f", nor what the {those} that still ran did after {_clock_time(until_ns)}"
    return BlindSpot(JOINED, message, incomplete=False)


def _clock_time(moment_ns: int) -> str:
    """Return the time of day of a moment of CLOCK_MONOTONIC."""
    seconds = time.time() - (time.monotonic_ns() - moment_ns) / 1e9
    whole = int(seconds)
    return f"{time.strftime('%H:%M:%S', time.localtime(whole))}.{int((seconds - whole) * 1000):03d}"
