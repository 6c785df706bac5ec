"""One pass over the events, every collector at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from writeaudit.analysis.actors import attach_actors
from writeaudit.analysis.collector import EVERY_OP, Collector, RemedyTrial, RunContext, Selective, Watcher
from writeaudit.analysis.completeness import CompletenessCollector
from writeaudit.analysis.files.aliases import AliasCollector
from writeaudit.analysis.files.binaries import BinaryCollector
from writeaudit.analysis.files.entry_points import EntryPointCollector
from writeaudit.analysis.files.leftovers import LeftoverCollector
from writeaudit.analysis.files.permissions import PermissionCollector
from writeaudit.analysis.links.collector import LinkCollector
from writeaudit.analysis.outcome import OutcomeCollector
from writeaudit.analysis.processes import ProcessTable
from writeaudit.analysis.zones.collector import ZoneCollector
from writeaudit.audit import (
    Audit,
    Binary,
    Completeness,
    FileState,
    Frame,
    Mount,
    Observation,
    Process,
    RunInfo,
    SharedFile,
    pick_events,
)
from writeaudit.events import FsEvent, Op
from writeaudit.judgement import CommandOutcome, Finding, Judged, Policy, by_gravity

Judge = Callable[[FsEvent], Judged]
"""The policy's verdict on one event."""
_Feeds = tuple[Callable[[FsEvent, Judged], None], ...]
_MOST_FEEDS = 1 << 12


class Analysis(NamedTuple):
    """What analysis says of a run."""

    findings: list[Finding]
    """the most severe first, then by rule, then by files touched."""
    outcome: CommandOutcome
    copied: Mapping[bytes, int | None]
    """Files that were copied by reading and writing, as far as links that were refused explain it, with the
    mount of their sources."""


class Analyzer:
    """The collectors of all rules, fed together.

    ``extra`` watchers see every event too (the file summary, say); they make no findings.
    """

    def __init__(
        self,
        mounts: Sequence[Mount],
        run: RunInfo,
        completeness: Completeness,
        policy: Policy,
        judge: Judge,
        extra: Sequence[Watcher] = (),
        processes: Sequence[Process] = (),
        trial: RemedyTrial | None = None,
        observations: Sequence[Observation] = (),
        shared: Sequence[SharedFile] = (),
        binaries: Sequence[Binary] = (),
        caches: Sequence[FileState] = (),
        frames: Sequence[Frame] = (),
    ) -> None:
        self.processes = ProcessTable(processes)
        self._ended: CommandOutcome | None = None
        by_seq = {observation.seq: observation for observation in observations}
        context = RunContext(
            run,
            completeness,
            mounts,
            policy,
            processes,
            trial,
            by_seq,
            shared,
            binaries,
            caches,
            self.get_outcome,
            frames,
        )
        self._outcome = OutcomeCollector(context)
        self._links = LinkCollector(context)
        self._collectors: tuple[Collector, ...] = (
            self._links,
            ZoneCollector(context),
            AliasCollector(context, judge),
            EntryPointCollector(context),
            PermissionCollector(context),
            LeftoverCollector(context, judge),
            BinaryCollector(context),
            CompletenessCollector(context),
        )
        # A table by operation spares each collector the calls that it would only ignore.
        wanted: list[tuple[frozenset[Op], Watcher]] = [(each.ops, each) for each in self._collectors]
        wanted.append((self._outcome.ops, self._outcome))
        wanted += [(EVERY_OP, each) for each in extra]
        self._watchers = {op: [watcher for ops, watcher in wanted if op in ops] for op in Op}
        self._feeds: dict[tuple[Op, Judged], _Feeds] = {}

    def add_event(self, event: FsEvent, judged: Judged) -> None:
        """Hand one event to every collector that wants its operation; in order of seq."""
        for feed in self._feeds.get((event.op, judged)) or self._feeds_for(event.op, judged):
            feed(event, judged)

    def judge_all(self, events: Iterable[FsEvent], judge: Judge) -> None:
        """Judge many events and feed them."""
        known = self._feeds
        for event in events:
            judged = judge(event)
            for feed in known.get((event.op, judged)) or self._feeds_for(event.op, judged):
                feed(event, judged)

    def _feeds_for(self, op: Op, judged: Judged) -> _Feeds:
        """Return who wants to see events of an operation that were judged so."""
        if len(self._feeds) >= _MOST_FEEDS:
            self._feeds.clear()
        feeds = self._feeds[op, judged] = tuple(
            watcher.add_event
            for watcher in self._watchers[op]
            if not isinstance(watcher, Selective) or watcher.wants_operation(op, judged)
        )
        return feeds

    def get_outcome(self) -> CommandOutcome:
        """Return how the command ended, and why, once all events have been fed."""
        if self._ended is None:
            self._ended = self._outcome.get_outcome()
        return self._ended

    def list_copied(self) -> Mapping[bytes, int | None]:
        """Return the files that were copied by reading and writing; after `list_findings`."""
        return self._links.copied

    def list_findings(self) -> list[Finding]:
        """Return all findings: the most severe first, then by rule, then by files touched."""
        found = [finding for each in self._collectors for finding in each.list_findings()]
        return sorted(found, key=lambda each: (*by_gravity(each), -each.files, -each.count))


def analyze_audit(
    audit: Audit,
    policy: Policy,
    judge: Judge,
    extra: Sequence[Watcher] = (),
    trial: RemedyTrial | None = None,
) -> Analysis:
    """Judge every event of ``audit`` and return what there is to say, in one pass over it.

    ``extra`` watchers are fed each event and its verdict in the same pass. ``trial`` proves remedies.
    """
    analyzer = Analyzer(
        audit.mounts,
        audit.run,
        audit.completeness,
        policy,
        judge,
        extra,
        audit.processes,
        trial,
        audit.observations,
        audit.shared,
        audit.binaries,
        audit.caches,
        audit.frames,
    )
    analyzer.judge_all(audit.events, judge)
    findings = attach_actors(
        analyzer.list_findings(), analyzer.processes, lambda seqs: pick_events(audit.events, seqs)
    )
    return Analysis(findings, analyzer.get_outcome(), analyzer.list_copied())
