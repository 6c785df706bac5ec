"""WA901 to WA904: what the audit did not see, or saw without being sure."""

from __future__ import annotations

from collections.abc import Iterator

from writeaudit.analysis.collector import EVERY_OP, MAX_EVIDENCE, MAX_EXAMPLES, Context
from writeaudit.analysis.places import changes
from writeaudit.audit import BlindSpot
from writeaudit.events import NAMESPACE_OPS, OK, Access, Certainty, FsEvent, Op
from writeaudit.judgement import Finding, Judged, Severity, Verdict
from writeaudit.rules import rule
from writeaudit.text import plural, show


class GapCollector:
    """Says where the audit has gaps; of the events it wants those with a doubtful path."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._uncertain = 0
        self._evidence: list[int] = []
        self._paths: dict[bytes, None] = {}

    @property
    def ops(self) -> frozenset[Op]:
        """All: certainty decides."""
        return EVERY_OP

    def feed(self, event: FsEvent, judged: Judged) -> None:
        """Take the next event."""
        if event.certainty is not Certainty.LEXICAL or event.result != OK or event.op in NAMESPACE_OPS:
            return
        if judged.verdict is Verdict.READ or not _wrote(event):
            return
        self._uncertain += 1
        if len(self._evidence) < MAX_EVIDENCE:
            self._evidence.append(event.seq)
        if len(self._paths) < MAX_EXAMPLES:
            self._paths[event.path] = None

    def findings(self) -> list[Finding]:
        """Return one finding for losses, one a blind spot, one for paths, one for survivors."""
        found = list(self._lost())
        found += [_blind(spot) for spot in self._context.completeness.blind_spots]
        found += self._doubtful()
        found += self._survivors()
        return found

    def _lost(self) -> Iterator[Finding]:
        completeness = self._context.completeness
        registered = rule("WA901")
        if completeness.lost_events:
            kinds = ", ".join(f"{kind} {count:,}" for kind, count in completeness.lost.items() if count)
            lost = plural(completeness.lost_events, "event")
            yield Finding(
                rule=registered.id,
                title=registered.title,
                severity=registered.severity,
                message=f"{lost} {'was' if completeness.lost_events == 1 else 'were'} lost"
                f"{f' ({kinds})' if kinds else ''}; changes may be missing from this report.",
                count=completeness.lost_events,
                cause="Events came faster than they could be read, and the kernel's buffer was full.",
                advice=(
                    (
                        "Run it again on a less busy machine; the strace backend (`--backend strace`) slows "
                        "the command down instead of losing events."
                    ),
                ),
                details={"lost": dict(completeness.lost)},
            )
        if not completeness.finished:
            yield Finding(
                rule=registered.id,
                title="recording breaks off",
                severity=registered.severity,
                message="The recording ends before the command did; what happened afterwards is not in it.",
                count=1,
                cause="writeaudit was killed, or could not go on, while the command still ran.",
                advice=("Run it again, and let writeaudit end by itself.",),
            )

    def _doubtful(self) -> Iterator[Finding]:
        completeness = self._context.completeness
        registered = rule("WA903")
        count = max(self._uncertain, completeness.unresolved) + completeness.truncated
        if not count:
            return
        parts = []
        if self._uncertain:
            named = ", ".join(show(path) for path in list(self._paths)[:3])
            parts.append(
                f"{plural(self._uncertain, 'change')} went to a path known as text only, in which a symlink "
                f"may hide: {named}"
            )
        elif completeness.unresolved:
            parts.append(
                f"{plural(completeness.unresolved, 'event')} bore a path known as text only; "
                "none of them changed anything"
            )
        if completeness.truncated:
            parts.append(f"{plural(completeness.truncated, 'path')} could not be read in full")
        harmless = not self._uncertain and not completeness.truncated
        yield Finding(
            rule=registered.id,
            title=registered.title,
            severity=Severity.NOTE if harmless else registered.severity,
            message="; ".join(parts) + ".",
            count=count,
            evidence=tuple(self._evidence),
            cause="The directory or the process was gone before its path could be looked up, or the path was "
            "too long to be read.",
            advice=(self._look_again(),),
            details={
                "unresolved": completeness.unresolved,
                "truncated": completeness.truncated,
                "changes": self._uncertain,
                "examples": [show(path) for path in self._paths],
            },
        )

    def _look_again(self) -> str:
        if self._context.run.backend.name == "strace":
            return "Judge these by hand, or run again with the ebpf backend, which asks the kernel itself."
        return "Judge these by hand: where the directories named in them were no symlinks, they are right."

    def _survivors(self) -> Iterator[Finding]:
        pids = self._context.completeness.survivors
        if not pids:
            return
        registered = rule("WA904")
        left = plural(len(pids), "process", "processes")
        named = ", ".join(str(pid) for pid in pids[:MAX_EXAMPLES])
        yield Finding(
            rule=registered.id,
            title=registered.title,
            severity=registered.severity,
            message=f"{left} still ran when the audit ended (pid {named}); "
            f"what {'it' if len(pids) == 1 else 'they'} did afterwards is not in this report.",
            count=len(pids),
            cause="The command left a daemon or background job behind, and it did not end within the time "
            "that writeaudit waits.",
            advice=(
                "Stop the daemon at the end of the command (for a build server: its --no-daemon option).",
            ),
            details={"pids": list(pids)},
        )


def _blind(spot: BlindSpot) -> Finding:
    registered = rule("WA902")
    return Finding(
        rule=registered.id,
        title=f"{registered.title}: {spot.kind}",
        severity=registered.severity if spot.incomplete else Severity.NOTE,
        message=spot.message,
        count=spot.count,
        cause="The backend that ran cannot see this kind of operation in full.",
        advice=("Run `writeaudit doctor`: it says which backends work here, and what each one needs.",),
        details={"kind": spot.kind, "incomplete": spot.incomplete},
    )


def _wrote(event: FsEvent) -> bool:
    """Whether the event changed something, or got hold of a file in order to."""
    if event.op is Op.OPEN:
        access = event.access
        return access is not None and access is not Access.PATH and (access.writes or changes(event))
    return changes(event)
