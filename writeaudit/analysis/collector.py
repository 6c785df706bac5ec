"""What a collector is: one question that is put to the stream of judged events."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol, runtime_checkable

from writeaudit.analysis.mounts import RecordedMounts
from writeaudit.analysis.processes import ProcessTable
from writeaudit.audit import (
    Binary,
    Completeness,
    FileState,
    Frame,
    Mount,
    Observation,
    Process,
    RunInfo,
    SharedFile,
)
from writeaudit.events import FsEvent, Op
from writeaudit.frames import SetUp
from writeaudit.judgement import CommandOutcome, Finding, Judged, Policy, Sides, Zone

EVERY_OP = frozenset(Op)

MAX_EVIDENCE = 100
"""How many seq numbers a finding carries at most."""
MAX_EXAMPLES = 10
"""How many paths a finding's details name at most."""


class RemedyTrial(Protocol):
    """Judges what a remedy would come to; see `writeaudit.trial`."""

    @property
    def recording(self) -> str:
        """How the recording is named on the command line."""

    def zone_of(self, path: bytes, /) -> Zone | None:
        """Return the zone of a path, None outside every zone."""

    def count_allowed(
        self, paths: Sequence[bytes], /, *, profile: str | None = None, zones: Sequence[str] = ()
    ) -> int:
        """Return how many of the paths might be changed under a profile, or with ``--zone`` options."""

    def list_tools(self) -> tuple[str, ...]:
        """Return the tools with a profile that the run started, without that of the policy."""


@dataclass(frozen=True)  # without slots, which leave no room for what is worked out later
class RunContext:
    """What is known of the run beside its events."""

    run: RunInfo
    completeness: Completeness
    mounts: Sequence[Mount]
    policy: Policy
    processes: Sequence[Process] = ()
    trial: RemedyTrial | None = None
    """None where remedies are not proven: in tests of other things."""
    observations: Mapping[int, Observation] = field(default_factory=dict)
    """What writeaudit saw of the disk when an operation was refused, by the seq of its event."""
    shared: Sequence[SharedFile] = ()
    """Files with several names that the run opened for writing or changed."""
    binaries: Sequence[Binary] = ()
    """Programs and libraries that the run wrote."""
    caches: Sequence[FileState] = ()
    """The directories of the policy's caches."""
    outcome: Callable[[], CommandOutcome] = lambda: CommandOutcome(failed=False)
    """How the command ended and why; to be asked once all events have been fed."""
    frames: Sequence[Frame] = ()
    """Containers and sandboxes."""

    def get_observation(self, seq: int) -> Observation | None:
        """Return what was seen of the disk at an event."""
        return self.observations.get(seq)

    @cached_property
    def setup(self) -> SetUp:
        """Tells the work of container runtimes from that of the programs in containers."""
        return SetUp(self.frames, self.processes)

    @cached_property
    def table(self) -> ProcessTable:
        """The processes, by id and time."""
        return ProcessTable(self.processes)

    @cached_property
    def mount_table(self) -> RecordedMounts:
        """The mounts, by id and path."""
        return RecordedMounts(self.mounts)


class Watcher(Protocol):
    """Anything that wants to see every event with its verdict, once, in order of seq."""

    def add_event(self, event: FsEvent, judged: Judged, /) -> None:
        """Take the next event."""


class SideJudge(Protocol):
    """Knows the policy's verdict on each side of an event."""

    def zone_name(self, path: bytes, mount: int | None = None, /) -> str | None:
        """Return the name of the zone that covers ``path``; None outside every zone."""

    def judge_sides(self, event: FsEvent, /) -> Sides:
        """Return the verdict on each side of ``event``, the source's with ``on_source`` set."""


@runtime_checkable
class Selective(Protocol):
    """A watcher that need not see events of which the verdict alone says that they do not matter to it."""

    def wants_operation(self, op: Op, judged: Judged, /) -> bool:
        """Whether an event of an operation that was judged so may matter. Asked once for all of them."""


class Collector(Watcher, Protocol):
    """A watcher that has something to say at the end.

    Its memory may grow with the number of distinct paths, not with that of events.
    """

    @property
    def ops(self) -> frozenset[Op]:
        """The operations that it wants to be fed; the others are kept from it."""

    def list_findings(self) -> list[Finding]:
        """Return what was found; called once, after the last event."""
