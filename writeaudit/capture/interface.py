"""What a capture backend is: the only thing that the pipeline knows about it.

A backend launches the command, follows its process tree, and hands batches of records
to a sink while the command runs. It returns when the command and (up to a limit) every
process that it left behind have ended.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Protocol

from writeaudit.audit import BlindSpot, Mount
from writeaudit.events import RawEvent, WriteTotal

if TYPE_CHECKING:
    from writeaudit.capture.targets import Target


class Command(NamedTuple):
    """What to run. User, working directory, terminal and open files are writeaudit's own."""

    argv: tuple[bytes, ...]
    env: Mapping[bytes, bytes]
    named: frozenset[str] = frozenset()
    """Variables that the policy of the run asks for: kept in the recording, so that it can be read again."""
    confine: Callable[[], object] | None = None
    """Called in the child right before its exec; makes system calls and nothing else. Raises OSError."""
    landlock: int = 0
    """The version of Landlock that ``confine`` puts the command under; 0: not confined."""


class ProcessStart(NamedTuple):
    """A process was forked. (Threads are no processes.)"""

    time_ns: int
    pid: int
    ppid: int


class ProcessExec(NamedTuple):
    """A process began to run another program. An empty ``argv`` is unknown."""

    time_ns: int
    pid: int
    exe: bytes
    argv: tuple[bytes, ...]


class ProcessExit(NamedTuple):
    """A process ended. ``exit_status`` as the shell shows it: 128 + N for signal N."""

    time_ns: int
    pid: int
    exit_status: int | None


class MountsChanged(NamedTuple):
    """From here on mounts may differ; ``pid`` is a process in the mount namespace concerned."""

    time_ns: int
    pid: int


class MountSeen(NamedTuple):
    """The kernel side met a mount for the first time; names it before any event that lies in it."""

    time_ns: int
    mount: Mount


Record = RawEvent | WriteTotal | ProcessStart | ProcessExec | ProcessExit | MountsChanged | MountSeen
Sink = Callable[[Sequence[Record]], None]
"""Takes records in the order in which the kernel finished them. Called from one thread, and with none
now and then while nothing happens: what was taken before need not wait for what comes next."""


class CaptureLimits(NamedTuple):
    """How much to hold and how long to wait."""

    buffer_bytes: int = 16 << 20
    """Size of the kernel's event buffer; a power of two, at least a page."""
    linger_s: float = 5.0
    """How long to wait for processes that outlive the command."""


@dataclass(frozen=True, slots=True)
class CaptureOutcome:
    """How the command ended, and what capture knows about its own gaps."""

    exit_status: int | None
    """None if a signal ended it."""
    signal: int | None
    started_ns: int
    """CLOCK_MONOTONIC at which the command was let go."""
    ended_ns: int
    lost_events: int = 0
    blind_spots: tuple[BlindSpot, ...] = ()
    survivors: tuple[int, ...] = ()
    emitted: Mapping[str, int] = field(default_factory=dict)
    received: Mapping[str, int] = field(default_factory=dict)
    lost: Mapping[str, int] = field(default_factory=dict)
    failure: Exception | None = None
    """What of ours failed while the command ran, if anything: what came after it the sink did not get."""


class Backend(Protocol):
    """One way to capture."""

    name: str
    tier: str
    engine: str
    """What does the work: libbpf, bcc, strace."""

    def check(self) -> None:
        """Raise `BackendUnavailable` (reason, remedy) if it cannot run here; costs little."""

    def capture(self, target: Target, sink: Sink, limits: CaptureLimits) -> CaptureOutcome:
        """Run a command under observation, or join what runs already.

        Raises `BackendUnavailable` as long as nothing has begun (the caller then
        tries the next backend), `CommandNotFound`, `CommandNotExecutable`, `CaptureError`.
        """
