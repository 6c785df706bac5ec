"""Compares two judged audits of the same thing: what is new, what is gone, what became of links.

Names are compared without what differs from run to run (`report.folding`), and the directories of
the runs (working directory, home) stand for one another. So two runs of the same thing differ in
nothing. Nothing is decided here but what is worse: a new violation, a change that is refused now, a
link that became a copy, a command that fails now.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from writeaudit.judgement import FileSummary, Finding, NetEffect, Severity, Verdict
from writeaudit.paths import last_component
from writeaudit.report.folding import fold_path
from writeaudit.report.view import CHANGED, OUTSIDE, Report
from writeaudit.report.wording import command_line, ending, list_gaps
from writeaudit.text import escape_path, escape_text, plural, size

_LINK_RULES = frozenset({"WA101", "WA102", "WA103", "WA104"})
_LEFT = CHANGED - {NetEffect.TRANSIENT, NetEffect.DELETED}
"""What is there at the end of a run."""


class Change(NamedTuple):
    """Something that one run has and the other has not."""

    path: str
    """Shown, folded: parts that differ from run to run are ``*``."""
    zone: str
    paths: int
    """Paths that this one stands for."""


class Amount(NamedTuple):
    """A figure of both runs."""

    name: str
    old: int
    new: int
    is_size: bool = False

    @property
    def text(self) -> tuple[str, str]:
        """Both figures for people."""
        return (size(self.old), size(self.new)) if self.is_size else (f"{self.old:,}", f"{self.new:,}")


class Difference(NamedTuple):
    """A setting that is not the same in both runs."""

    name: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """Everything that a renderer of a diff needs; empty sequences where nothing differs."""

    old: Report
    new: Report
    incomparable: Sequence[str]
    """Why nothing can be said for certain: what one of the audits did not see."""
    new_findings: Sequence[Finding]
    gone_findings: Sequence[Finding]
    new_violations: Sequence[Change]
    gone_violations: Sequence[Change]
    newly_written: Sequence[Change]
    no_longer_written: Sequence[Change]
    newly_refused: Sequence[Change]
    no_longer_refused: Sequence[Change]
    links: Sequence[Amount]
    zones: Sequence[Amount]
    new_programs: Sequence[str]
    gone_programs: Sequence[str]
    settings: Sequence[Difference]

    @property
    def same(self) -> bool:
        """Whether the runs differ in nothing."""
        return not (
            self.new_findings
            or self.gone_findings
            or any(self._changes())
            or self.links
            or self.zones
            or self.new_programs
            or self.gone_programs
        )

    def _changes(self) -> Iterable[Sequence[Change]]:
        yield from (self.new_violations, self.gone_violations, self.newly_written, self.no_longer_written)
        yield from (self.newly_refused, self.no_longer_refused)

    @property
    def regressions(self) -> Sequence[str]:
        """What is worse than before, a phrase each."""
        worse = []
        if _failed(self.new) and not _failed(self.old):
            worse.append(f"the command fails now ({ending(self.new.audit.run)})")
        if self.new_violations:
            worse.append(plural(sum(change.paths for change in self.new_violations), "new violation"))
        errors = [finding for finding in self.new_findings if finding.severity is Severity.ERROR]
        if errors and not self.new_violations:
            worse.append(f"new: {', '.join(sorted({finding.rule for finding in errors}))}")
        if self.newly_refused:
            worse.append(f"{plural(sum(change.paths for change in self.newly_refused), 'path')} refused now")
        copied = next((amount for amount in self.links if amount.name == COPIED), None)
        if copied is not None and copied.new > copied.old:
            worse.append(f"{plural(copied.new - copied.old, 'more file')} copied instead of linked")
        return worse

    @property
    def sentence(self) -> str:
        """The one sentence that sums it up."""
        if self.incomparable:
            return f"Not comparable: {'; '.join(self.incomparable)}."
        if self.regressions:
            return f"Worse than before: {'; '.join(self.regressions)}."
        if self.same:
            return "The two runs did the same."
        return "The two runs differ; nothing is worse."


COPIED = "files copied because a link was refused"
REFUSED = "links refused"


def compare(old: Report, new: Report) -> Comparison:
    """Compare two reports; ``old`` is what was before."""
    folded_old, folded_new = _Folded(old), _Folded(new)
    return Comparison(
        old=old,
        new=new,
        incomparable=_gaps(old, new),
        new_findings=_only(new.findings, old.findings),
        gone_findings=_only(old.findings, new.findings),
        new_violations=_less(folded_new.violations, folded_old.violations),
        gone_violations=_less(folded_old.violations, folded_new.violations),
        newly_written=_less(folded_new.written, folded_old.written),
        no_longer_written=_less(folded_old.written, folded_new.written),
        newly_refused=_less(folded_new.refused, folded_old.refused),
        no_longer_refused=_less(folded_old.refused, folded_new.refused),
        links=_links(old, new),
        zones=_zones(folded_old, folded_new),
        new_programs=sorted(folded_new.programs - folded_old.programs),
        gone_programs=sorted(folded_old.programs - folded_new.programs),
        settings=_settings(old, new),
    )


_Group = dict[tuple[str, str], int]


class _Folded:
    """A report's files by folded name, and what they add up to."""

    def __init__(self, report: Report) -> None:
        self._places = _places(report)
        self.violations: _Group = {}
        self.written: _Group = {}
        self.refused: _Group = {}
        self.left: dict[str, int] = {}
        self.temporary: dict[str, int] = {}
        for file in report.files:
            self._take(file)
        self.programs = {
            fold_path(escape_path(last_component(process.exe)))
            for process in report.audit.processes
            if process.exe
        }

    def _take(self, file: FileSummary) -> None:
        zone = OUTSIDE if file.zone is None else escape_text(file.zone)
        if file.net not in CHANGED and file.verdict not in (Verdict.VIOLATION, Verdict.ATTEMPT):
            return
        key = self.fold(file.path), zone
        if file.verdict is Verdict.VIOLATION:
            self.violations[key] = self.violations.get(key, 0) + 1
        elif file.verdict is Verdict.ATTEMPT:
            self.refused[key] = self.refused.get(key, 0) + 1
        if file.net is NetEffect.TRANSIENT:
            self.temporary[zone] = self.temporary.get(zone, 0) + file.bytes_written
        elif file.net in CHANGED:
            self.written[key] = self.written.get(key, 0) + 1
            if file.net in _LEFT:
                self.left[zone] = self.left.get(zone, 0) + file.bytes_written

    def fold(self, path: bytes) -> str:
        """Return a path as it is compared."""
        for directory, name in self._places:
            if path.startswith(directory):
                return name + fold_path(escape_path(path[len(directory) :]))
        return fold_path(escape_path(path))


def _places(report: Report) -> Sequence[tuple[bytes, str]]:
    """Return directories of a run that stand for those of another one, the longest first."""
    run = report.audit.run
    home = os.fsencode(run.env.get("HOME", ""))
    found = [(run.cwd, "."), (home, "~")]
    return sorted(
        ((place.rstrip(b"/") + b"/", f"{name}/") for place, name in found if place.strip(b"/")),
        key=lambda item: -len(item[0]),
    )


def _less(one: _Group, other: Mapping[tuple[str, str], int]) -> list[Change]:
    """Return what only the first has; names that both have may stand for more paths in one of them."""
    return [
        Change(path, zone, count) for (path, zone), count in sorted(one.items()) if (path, zone) not in other
    ]


def _only(findings: Sequence[Finding], others: Sequence[Finding]) -> list[Finding]:
    known = {_finding_key(finding) for finding in others}
    return [finding for finding in findings if _finding_key(finding) not in known]


def _finding_key(finding: Finding) -> tuple[str, str, str]:
    """Return what makes two findings the same one: the rule, the zone, and the errno."""
    details = finding.details
    return finding.rule, str(details.get("zone", "")), str(details.get("errno", ""))


def _links(old: Report, new: Report) -> list[Amount]:
    def add(report: Report) -> tuple[int, int, int]:
        found = [finding for finding in report.findings if finding.rule in _LINK_RULES]
        return (
            sum(finding.count for finding in found),
            sum(finding.files for finding in found),
            sum(finding.bytes for finding in found),
        )

    names = ((REFUSED, False), (COPIED, False), ("bytes copied for it", True))
    pairs = zip(names, add(old), add(new), strict=True)
    return [
        Amount(name, before, after, is_size) for (name, is_size), before, after in pairs if before != after
    ]


def _zones(old: _Folded, new: _Folded) -> list[Amount]:
    amounts = []
    for before, after, what in ((old.left, new.left, "left"), (old.temporary, new.temporary, "temporary")):
        for zone in sorted({*before, *after}):
            one, other = before.get(zone, 0), after.get(zone, 0)
            if not _about_equal(one, other):
                amounts.append(Amount(f"{zone}, {what}", one, other, is_size=True))
    return amounts


def _about_equal(one: int, other: int) -> bool:
    """Whether two sums of bytes differ by no more than dates and random names do: a hundredth, or 4 KiB."""
    return abs(one - other) <= max(4096, max(one, other) // 100)


def _gaps(old: Report, new: Report) -> list[str]:
    told = []
    for name, report in (("the old run", old), ("the new run", new)):
        gaps = list_gaps(report.audit.completeness)
        if gaps:
            told.append(f"{name} is incomplete ({', '.join(gaps)})")
    return told


def _settings(old: Report, new: Report) -> list[Difference]:
    def facts(report: Report) -> dict[str, str]:
        run = report.audit.run
        return {
            "command": command_line(run.command),
            "exit": ending(run),
            "policy": escape_text(f"{report.policy.name} ({report.policy.source})"),
            "writeaudit": run.tool_version or report.tool_version,
            "backend": run.backend.name,
            "kernel": escape_text(run.kernel),
            "user": escape_text(f"{run.user} ({run.uid})"),
        }

    before, after = facts(old), facts(new)
    return [Difference(name, before[name], after[name]) for name in before if before[name] != after[name]]


def _failed(report: Report) -> bool:
    run = report.audit.run
    return run.ended and not run.succeeded
