"""What a collector is: one question that is put to the stream of judged events."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from writeaudit.audit import Completeness, Mount, Process, RunInfo
from writeaudit.events import FsEvent, Op
from writeaudit.judgement import Finding, Judged, Policy

EVERY_OP = frozenset(Op)

MAX_EVIDENCE = 100
"""How many seq numbers a finding carries at most."""
MAX_EXAMPLES = 10
"""How many paths a finding's details name at most."""


class Context(NamedTuple):
    """What is known of the run beside its events."""

    run: RunInfo
    completeness: Completeness
    mounts: Sequence[Mount]
    policy: Policy
    processes: Sequence[Process] = ()


class Watcher(Protocol):
    """Anything that wants to see every event with its verdict, once, in order of seq."""

    def feed(self, event: FsEvent, judged: Judged, /) -> None:
        """Take the next event."""


class Collector(Watcher, Protocol):
    """A watcher that has something to say at the end.

    Its memory may grow with the number of distinct paths, not with that of events.
    """

    @property
    def ops(self) -> frozenset[Op]:
        """The operations that it wants to be fed; the others are kept from it."""

    def findings(self) -> list[Finding]:
        """Return what was found; called once, after the last event."""
