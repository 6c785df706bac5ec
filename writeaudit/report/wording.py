"""The sentences that every renderer shares: the verdict, the gaps, how the command ended."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable, Sequence

from writeaudit.audit import Completeness, RunInfo, tell_losses
from writeaudit.judgement import Came, Severity, Verdict
from writeaudit.report.view import OUTSIDE, FrameRow, Report, ReportOutcome, Status, describe_setup
from writeaudit.rules import RuleGroup, rules_of
from writeaudit.text import escape_argument, escape_path, escape_text, plural, quote_name, show_zone, size

_VIOLATIONS = rules_of(RuleGroup.FORBIDDEN)
_REFUSED = rules_of(RuleGroup.REFUSED)


def verdict(report: Report) -> str:
    """Return the one sentence that answers "was it allowed to?".

    That the command failed comes before all else, with what most likely made it fail. An incomplete
    audit says so next, and never contains the word "clean" but to deny it.
    """
    if report.ended.failed and report.outcome is not ReportOutcome.FAILED:
        rest = _judgement(report)
        return f"{_failure(report)}; {rest[0].lower()}{rest[1:]}"
    return _judgement(report)


def _failure(report: Report) -> str:
    cause = report.ended.explanation
    why = f", most likely because {cause}" if cause else _refused(report)
    return f"The command failed ({ending(report.audit.run)}){why}"


def _judgement(report: Report) -> str:
    match report.outcome:
        case ReportOutcome.INCOMPLETE:
            gaps = join(list_gaps(report.audit.completeness))
            violations = _violations(report)
            seen = f"at least {violations}" if violations else _unknown(report)
            seen = seen or "no violation was seen in what was recorded"
            return f"Incomplete: {gaps}, so this run cannot be called clean; {seen}."
        case ReportOutcome.VIOLATIONS:
            return f"{_violations(report)}{_also(report)}."
        case ReportOutcome.FLAGGED if not report.severities[Severity.ERROR]:
            rules = join(sorted({finding.rule for finding in report.failing}))
            named = ",".join(report.fail_on)
            which = "" if rules == named else f" ({rules})"
            return f"Not clean by --fail-on {named}{which}: {_done(report)}{_also(report, ', but there')}."
        case ReportOutcome.FAILED:
            return f"{_failure(report)}; {_done(report)}{_also(report)}."
        case ReportOutcome.CLEAN | ReportOutcome.FLAGGED:
            return _clean(report)


def _violations(report: Report) -> str:
    by_zone = [
        (zone, count)
        for (zone, verdict), count in report.totals.zones.items()
        if verdict is Verdict.VIOLATION and count
    ]
    by_zone.sort(key=lambda item: -item[1])
    total = sum(count for _zone, count in by_zone)
    if report.aliased:
        alias = f"{plural(report.aliased, 'protected path')} changed through an alias"
        return f"{alias}, and {plural(total, 'other violation')}" if total else alias
    if not total:
        return ""
    reported = [finding for finding in report.findings if finding.rule in _VIOLATIONS]
    minor = bool(reported) and all(finding.severity is not Severity.ERROR for finding in reported)
    what = plural(total, "minor violation" if minor else "violation")
    hint = " (no content changed)" if minor else ""
    if len(by_zone) == 1:
        return f"{what} {_place(by_zone[0][0])}{hint}"
    return f"{what}{hint}: " + join([f"{count:,} {_place(zone)}" for zone, count in by_zone])


def _place(zone: str | None) -> str:
    return OUTSIDE if zone is None else f"in zone {show_zone(zone)}"


def _clean(report: Report) -> str:
    if report.severities[Severity.ERROR]:
        return f"The policy allows {_all(report.changes)}{_also(report, ', but there')}."
    if report.unjudged:
        return f"{_unknown(report)}{_also(report)}."
    return f"Clean: {_done(report)}{_also(report)}."


def _unknown(report: Report) -> str:
    """Return what to say of a command that nobody said anything about, or nothing."""
    if not report.unjudged:
        return ""
    words = report.audit.run.command
    program = quote_name(os.path.basename(words[0])) if words else "this command"
    if report.audit.run.joined:
        program = join(report.audit.run.joined)
        return (
            f"Nobody said where {program} may write: "
            f"{plural(report.unjudged, 'path')} changed outside temporary places"
        )
    return (
        f"No profile knows {program}, so nothing says where it may write: "
        f"{plural(report.unjudged, 'path')} changed outside temporary places"
    )


def _done(report: Report) -> str:
    if report.unjudged:
        unknown = _unknown(report)
        return unknown[0].lower() + unknown[1:]
    return f"the policy allows {_all(report.changes)}" if report.changes else "nothing was changed"


def _refused(report: Report) -> str:
    """Return what the system refused although the policy allows it, as the next clause; or nothing."""
    refused = [finding for finding in report.findings if finding.rule in _REFUSED]
    if not refused:
        return ""
    errors = join(sorted({str(finding.details.get("errno")) for finding in refused}))
    count = plural(sum(finding.count for finding in refused), "write")
    return f", and the system refused {count} that the policy allows ({errors})"


def _all(changes: int) -> str:
    match changes:
        case 0:
            return "all of it"
        case 1:
            return "the one change"
        case _:
            return f"all {changes:,} changes"


def _also(report: Report, link: str = "; there") -> str:
    """Return what else the reader should look at, or nothing."""
    counts = report.severities
    # Errors go without saying where violations are what the sentence is about.
    named = [Severity.ERROR, Severity.WARNING] if report.status is Status.CLEAN else [Severity.WARNING]
    parts = [plural(counts[severity], severity.value) for severity in named if counts[severity]]
    if not parts:
        return ""
    single = sum(counts[severity] for severity in named) == 1
    return f"{link} {'is' if single else 'are'} {join(parts)}"


_CAME = {
    Came.HARD_LINKED: "hard linked",
    Came.CLONED: "cloned",
    Came.SYMLINKED: "symlinked",
    Came.COPIED: "copied",
    Came.RENAMED: "renamed",
    Came.WRITTEN: "written",
}
_FILLED = frozenset({Came.COPIED, Came.WRITTEN})


def arrivals(report: Report, most: int = 4) -> list[str]:
    """Return how the files came that are there at the end, a sentence for each pair of mounts."""
    known = {mount.id: mount for mount in report.audit.mounts}

    def place(number: int | None) -> str:
        mount = None if number is None else known.get(number)
        return (
            "an unknown mount"
            if mount is None
            else f"{quote_name(mount.mountpoint)} ({escape_text(mount.fstype)})"
        )

    told: list[str] = []
    for each in report.overview.arrivals[:most]:
        parts = [
            f"{each.files[came]:,} {word}{f' ({size(each.bytes[came])})' if came in _FILLED else ''}"
            for came, word in _CAME.items()
            if each.files.get(came)
        ]
        if each.source_mount is None:
            where = f"on {place(each.mount)}"
        elif each.source_mount == each.mount:
            where = f"within {place(each.mount)}"
        else:
            where = f"from {place(each.source_mount)} to {place(each.mount)}"
        told.append(f"{', '.join(parts)} {where}")
    more = len(report.overview.arrivals) - most
    if more > 0:
        told.append(f"and {plural(more, 'other pair')} of mounts")
    return told


def list_gaps(completeness: Completeness) -> list[str]:
    """Return why "clean" cannot be said, one clause a reason; empty if the audit is complete."""
    gaps: list[str] = []
    if not completeness.finished:
        gaps.append("the recording breaks off before the command ended")
    if completeness.lost_events:
        gaps.append(tell_losses(completeness).describe_losses())
    if completeness.truncated:
        gaps.append(f"{plural(completeness.truncated, 'path')} could not be read in full")
    if completeness.unresolved:
        went = "went to a path" if completeness.unresolved == 1 else "went to paths"
        gaps.append(f"{plural(completeness.unresolved, 'change')} {went} known as text only")
    if completeness.survivors:
        count = len(completeness.survivors)
        gaps.append(f"{plural(count, 'process', 'processes')} outlived the audit")
    blind = [spot.kind for spot in completeness.blind_spots if spot.incomplete]
    if blind:
        kinds = join(sorted(escape_path(kind.encode("utf-8", "surrogateescape")) for kind in set(blind)))
        gaps.append(f"something ran that this backend cannot see ({kinds})")
    return gaps


def ending(run: RunInfo) -> str:
    """Return how the command ended, as a phrase: ``exit status 0``, ``ended by SIGKILL (9)``."""
    if run.signal is not None:
        try:
            name = signal.Signals(run.signal).name
        except ValueError:
            name = "signal"
        return f"ended by {name} ({run.signal})"
    if run.exit_status is None:
        return f"joined: {join(run.joined)}" if run.joined else "end not seen"
    return f"exit status {run.exit_status}"


def duration(seconds: float) -> str:
    """Return a duration for people: ``0.4 ms``, ``85 ms``, ``1.32 s``, ``2 min 05 s``, ``1 h 02 min``."""
    if seconds < 0.01:
        return f"{seconds * 1000:.1f} ms"
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.2f} s"
    minutes, rest = divmod(int(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def command_line(argv: Sequence[bytes]) -> str:
    """Return a command as one shown line; arguments that a shell would split stand in quotes."""
    return " ".join(_word(arg) for arg in argv)


def _word(arg: bytes) -> str:
    shown = escape_argument(arg)
    plain = shown and not any(char in " '\"$`&|;<>()*?[]{}#~!\\" for char in shown)
    return shown if plain else "'" + shown.replace("'", "'\\''") + "'"


def join(parts: Iterable[str]) -> str:
    """Return ``a``, ``a and b``, ``a, b and c``."""
    *head, last = list(parts) or [""]
    return f"{', '.join(head)} and {last}" if head else last


def code_spans(prose: str) -> list[tuple[bool, str]]:
    """Split a message at its backticks into (is code, text) pieces.

    Where backticks do not pair (a name may hold one), the whole text is one piece as it stands.
    """
    parts = prose.split("`")
    if len(parts) % 2 == 0:
        return [(False, prose)]
    return [(number % 2 == 1, part) for number, part in enumerate(parts) if part]


_FRAME_PATHS = 3
"""How many changed paths of a container are named."""


def describe_frame(row: FrameRow) -> str:
    """Return what was done in a container or sandbox, by the paths that it has there."""
    totals = row.totals
    name = f"{row.frame.kind} {quote_name(row.frame.name.encode('utf-8', 'surrogateescape'))}"
    named = ", ".join(quote_name(path) for path in list(totals.paths)[:_FRAME_PATHS])
    more = ", …" if len(totals.paths) > _FRAME_PATHS else ""
    changed = (
        f"{plural(len(totals.paths), 'path')} changed ({named}{more})" if totals.paths else "nothing changed"
    )
    made = sum(totals.setup.values())
    by = f" by {row.program}" if row.program else ""
    setup = f"; set-up{by} took {plural(made, 'operation')} ({describe_setup(totals.setup)})" if made else ""
    return f"In {name}: {changed} by {plural(totals.events, 'operation')}{setup}."
