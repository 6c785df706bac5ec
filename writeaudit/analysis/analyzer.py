"""One pass over the events, every collector at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from writeaudit.analysis.aliases import AliasCollector
from writeaudit.analysis.collector import EVERY_OP, Collector, Context, Watcher
from writeaudit.analysis.gaps import GapCollector
from writeaudit.analysis.links import LinkCollector
from writeaudit.analysis.zones import ZoneCollector
from writeaudit.audit import Audit, Completeness, Mount, Process, RunInfo
from writeaudit.events import FsEvent, Op
from writeaudit.judgement import Finding, Judged, JudgedEvent, Policy

Judge = Callable[[FsEvent], Judged]
"""The policy's verdict on one event."""


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
    ) -> None:
        context = Context(run, completeness, mounts, policy, processes)
        self._collectors: tuple[Collector, ...] = (
            LinkCollector(context),
            ZoneCollector(context),
            AliasCollector(context, judge),
            GapCollector(context),
        )
        # A table by operation spares each collector the calls that it would only ignore.
        wanted: list[tuple[frozenset[Op], Watcher]] = [(each.ops, each) for each in self._collectors]
        wanted += [(EVERY_OP, each) for each in extra]
        self._feeds: dict[Op, tuple[Callable[[FsEvent, Judged], None], ...]] = {
            op: tuple(watcher.feed for ops, watcher in wanted if op in ops) for op in Op
        }

    def feed(self, event: FsEvent, judged: Judged) -> None:
        """Hand one event to every collector that wants its operation; in order of seq."""
        for feed in self._feeds[event.op]:
            feed(event, judged)

    def feed_all(self, judged_events: Iterable[JudgedEvent]) -> None:
        """Feed many events."""
        feeds = self._feeds
        for event, judged in judged_events:
            for feed in feeds[event.op]:
                feed(event, judged)

    def findings(self) -> list[Finding]:
        """Return all findings: the gravest first, then by rule, then by files touched."""
        found = [finding for each in self._collectors for finding in each.findings()]
        return sorted(found, key=lambda each: (-each.severity.rank, each.rule, -each.files, -each.count))


def analyze(audit: Audit, policy: Policy, judge: Judge, extra: Sequence[Watcher] = ()) -> list[Finding]:
    """Judge every event of ``audit`` and return the findings, in one pass over it.

    ``extra`` watchers are fed each event and its verdict in the same pass.
    """
    analyzer = Analyzer(audit.mounts, audit.run, audit.completeness, policy, judge, extra, audit.processes)
    analyzer.feed_all(JudgedEvent(event, judge(event)) for event in audit.events)
    return analyzer.findings()
