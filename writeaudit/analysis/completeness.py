"""WA901 to WA904: what the audit did not see, or saw without being sure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from writeaudit.analysis.collector import EVERY_OP, MAX_EVIDENCE, MAX_EXAMPLES, RunContext
from writeaudit.analysis.processes import name_process
from writeaudit.audit import BlindSpot, tell_losses
from writeaudit.events import OK, Certainty, Doubt, FsEvent, Op, effect_of
from writeaudit.judgement import Finding, Judged, Severity, Verdict
from writeaudit.rules import rule
from writeaudit.text import escape_path, plural, quote_name

_USUAL_BUFFER, _LARGEST_BUFFER = 16 << 20, 2 << 30
"""What `--buffer` is without being given, and at most."""
_RECORDS = {
    "total": "bytes written",
    "fork": "processes that began",
    "exec": "programs started",
    "exit": "processes that ended",
    "mount": "mounts",
    "dropped": "what there was no room for",
    "missed": "what the kernel skipped",
    "untracked": "files not followed",
}
"""What `audit.Losses.others` counts, by kind."""


class CompletenessCollector:
    """Says where the audit has gaps; of the events it wants those with a doubtful path."""

    def __init__(self, context: RunContext) -> None:
        self._context = context
        self._uncertain = 0
        self._evidence: list[int] = []
        self._paths: dict[bytes, None] = {}

    @property
    def ops(self) -> frozenset[Op]:
        """All: certainty decides."""
        return EVERY_OP

    def wants_operation(self, _op: Op, judged: Judged, /) -> bool:
        """Only changes of files."""
        return judged.verdict is not Verdict.READ

    def add_event(self, event: FsEvent, judged: Judged) -> None:
        """Take the next event."""
        if event.certainty is not Certainty.LEXICAL or event.result != OK:
            return
        if judged.verdict is Verdict.READ or not effect_of(event):
            return
        self._uncertain += 1
        if len(self._evidence) < MAX_EVIDENCE:
            self._evidence.append(event.seq)
        if len(self._paths) < MAX_EXAMPLES:
            self._paths[event.path] = None

    def list_findings(self) -> list[Finding]:
        """Return one finding for losses, one for each blind spot, one for paths, one for survivors."""
        found = list(self._list_lost())
        found += [_describe_blind_spot(spot) for spot in self._context.completeness.blind_spots]
        found += self._uncertain_paths()
        found += self._list_survivors()
        return found

    def _list_lost(self) -> Iterator[Finding]:
        completeness = self._context.completeness
        registered = rule("WA901")
        if completeness.lost_events:
            losses = tell_losses(completeness)
            kinds = ", ".join(
                f"{_RECORDS.get(kind, kind)} {count:,}" for kind, count in losses.others.items()
            )
            yield Finding(
                rule=registered.id,
                title=registered.title,
                severity=registered.severity,
                message=f"{losses.describe_losses()}{f' ({kinds})' if kinds else ''}; changes may be missing "
                "from this report.",
                count=losses.events or sum(losses.others.values()),
                cause="Events came faster than they could be read, and the kernel's buffer was full."
                if self._context.run.backend.name != "strace"
                else "Lines of strace could not be understood.",
                advice=self._lose_less(),
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

    def _lose_less(self) -> tuple[str, ...]:
        """Return what to do about losses: a buffer four times as large, as long as that goes."""
        run = self._context.run
        if run.backend.name == "strace":
            return ("Run it again with the ebpf backend, which has no text to read.",)
        advice = []
        larger = min((run.buffer_bytes or _USUAL_BUFFER) * 4, _LARGEST_BUFFER)
        if larger > run.buffer_bytes:
            used = f" ({_show_size(run.buffer_bytes)} was too small)" if run.buffer_bytes else ""
            advice.append(f"Run it again with a larger buffer: `--buffer {_show_size(larger)}`{used}.")
        advice.append(
            "On a machine that has nothing else to do less is lost; the strace backend (`--backend strace`) "
            "slows the command down instead of losing events."
        )
        return tuple(advice)

    def _uncertain_paths(self) -> Iterator[Finding]:
        completeness = self._context.completeness
        registered = rule("WA903")
        count = max(self._uncertain, completeness.unresolved) + completeness.truncated
        if not count:
            return
        parts = []
        if self._uncertain:
            named = ", ".join(quote_name(path) for path in list(self._paths)[:3])
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
            cause=_describe_cause(completeness.doubts),
            advice=(self._look_again(),),
            details={
                "doubts": dict(completeness.doubts),
                "unresolved": completeness.unresolved,
                "truncated": completeness.truncated,
                "changes": self._uncertain,
                "examples": [escape_path(path) for path in self._paths],
            },
        )

    def _look_again(self) -> str:
        if self._context.run.backend.name == "strace":
            return "Judge these by hand, or run again with the ebpf backend, which asks the kernel itself."
        return "Judge these by hand: where the directories named in them were no symlinks, they are right."

    def _list_survivors(self) -> Iterator[Finding]:
        pids = self._context.completeness.survivors
        if not pids:
            return
        registered = rule("WA904")
        left = plural(len(pids), "process", "processes")
        table = self._context.table
        last = [table.find_program(pid, 1 << 62) for pid in pids[:MAX_EXAMPLES]]
        named = "; ".join(name_process(program, pid) for program, pid in zip(last, pids, strict=False))
        more = len(pids) - len(last)
        named += f" and {more:,} more" if more > 0 else ""
        yield Finding(
            rule=registered.id,
            title=registered.title,
            severity=registered.severity,
            message=f"{left} still ran when the audit ended: {named}. "
            f"What {'it' if len(pids) == 1 else 'they'} did afterwards is not in this report.",
            count=len(pids),
            cause="The command left a daemon or background job behind, and it did not end within the time "
            "that writeaudit waits.",
            advice=(
                (
                    "Wait longer for what the command leaves behind: `--linger SECONDS`. A daemon never ends "
                    "by itself: stop it at the end of the command (a build server: its --no-daemon option)."
                ),
            ),
            details={
                "pids": list(pids),
                "programs": [name_process(program, pid) for program, pid in zip(last, pids, strict=False)],
            },
        )


def _show_size(size: int) -> str:
    """Return a power of two as ``--buffer`` takes it: ``64M``."""
    for unit, shift in (("G", 30), ("M", 20), ("K", 10)):
        if size >= 1 << shift:
            return f"{size >> shift}{unit}"
    return str(size)


def _describe_blind_spot(spot: BlindSpot) -> Finding:
    registered = rule("WA902")
    if spot.kind == _JOINED:
        return Finding(
            rule=registered.id,
            title="joined while it ran",
            severity=Severity.NOTE,
            message=f"{spot.message[0].upper()}{spot.message[1:]}.",
            count=1,
            cause="The audit joined processes that ran already. Within its time it is as complete as any.",
            advice=("Start the command under the audit to have all of it: `writeaudit run -- COMMAND`.",),
            details={"kind": spot.kind, "incomplete": False},
        )
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


_JOINED = "joined"
"""The statement of an attachment: since when it sees (`capture.targets.JOINED`)."""
_REASONS = {
    Doubt.UNREADABLE: "the path was too long, or its memory could not be read",
    Doubt.UNCERTAIN_BASE: "which directory the path begins at was looked up too late, or not at all",
    Doubt.DETACHED_MOUNT: "the path may begin at the root of a mount that is attached nowhere",
    Doubt.UNREACHABLE: "the file lies outside of what its mount shows of the file system",
    Doubt.UNKNOWN_ROOT: "the root directory of the process is not known",
    Doubt.GONE: "a directory on the path was gone before it could be looked up",
    Doubt.MOVED: "a rename may have moved a directory or a symlink that its own names lead through",
    Doubt.REFUTED: "another event shows that the path was looked up too late",
    Doubt.NAMESPACE: "the name is unplaced: the mounts of its container or sandbox had changed, or were "
    "gone, before they could be read",
}


def _describe_cause(doubts: Mapping[str, int]) -> str:
    """Return the reasons, the most frequent first; for a recording that names none, what they may be."""
    by_name = {str(doubt.name).lower(): sentence for doubt, sentence in _REASONS.items()}
    counted = sorted(doubts.items(), key=lambda item: -item[1])
    reasons = [f"{by_name[name]} ({plural(count, 'change')})" for name, count in counted if name in by_name]
    if not reasons:
        return (
            "The directory or the process was gone before its path could be looked up, or the path was too "
            "long to be read."
        )
    joined = "; ".join(reasons)
    return f"{joined[0].upper()}{joined[1:]}."
