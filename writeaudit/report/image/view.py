"""What every renderer of an image is given, and the sentences that they share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from writeaudit import __version__
from writeaudit.audit import Completeness
from writeaudit.container_image import HISTORY, Fact, FactKind, Image, Layer
from writeaudit.judgement import Finding, Severity
from writeaudit.report.wording import join
from writeaudit.text import plural, size


@dataclass(frozen=True, slots=True)
class ImageReport:
    """An image, judged: all that a renderer needs."""

    image: Image
    findings: Sequence[Finding]
    """The worst first."""
    completeness: Completeness
    remarks: tuple[str, ...] = ()
    """What its reader should know. Clauses, safe to show."""
    fail_on: tuple[str, ...] = ("error",)
    failing: Sequence[Finding] = ()
    tool_version: str = __version__

    @property
    def severities(self) -> Mapping[Severity, int]:
        """Number of findings of each severity, all severities named."""
        counts = Counter(finding.severity for finding in self.findings)
        return {severity: counts[severity] for severity in Severity}

    @property
    def status(self) -> str:
        """Return clean, violations (there is an error) or incomplete, as of a run."""
        if not self.completeness.complete:
            return "incomplete"
        return "violations" if self.severities[Severity.ERROR] else "clean"


class LayerRow(NamedTuple):
    """One line of the table of layers."""

    number: int
    layer: Layer
    changes: Mapping[FactKind, int]
    """What it does to paths, by `container_image.HISTORY`."""
    wasted: int
    """Bytes of it that no name of the finished image leads to."""


def list_layers(image: Image) -> list[LayerRow]:
    """Return a row for each layer."""
    changes: list[Counter[FactKind]] = [Counter() for _ in image.layers]
    wasted = [0] * len(image.layers)
    for fact in image.facts:
        if fact.layer is None:
            continue
        if fact.kind in HISTORY:
            changes[fact.layer][fact.kind] += 1
        elif fact.kind is FactKind.WASTED:
            wasted[fact.layer] += fact.bytes
    return [
        LayerRow(number, layer, changes[number], wasted[number]) for number, layer in enumerate(image.layers)
    ]


def redact_image(report: ImageReport) -> ImageReport:
    """Return the report without the directories that the image was read from."""
    source = report.image.source.rstrip("/").rpartition("/")[2]
    return replace(report, image=replace(report.image, source=source))


def changed_later(image: Image) -> list[Fact]:
    """Return what layers did to paths that lower layers had made: all but what was only added."""
    return [fact for fact in image.facts if fact.kind in HISTORY and fact.kind is not FactKind.ADDED]


def list_image_gaps(completeness: Completeness) -> list[str]:
    """Return what was not looked at, a clause each."""
    return [spot.message for spot in completeness.blind_spots if spot.incomplete]


def sum_up(report: ImageReport) -> str:
    """Return the one sentence that answers "may I use this image?"."""
    counts = report.severities
    parts = [
        plural(counts[severity], severity.value)
        for severity in (Severity.ERROR, Severity.WARNING)
        if counts[severity]
    ]
    gaps = list_image_gaps(report.completeness)
    if gaps:
        seen = f"there {_verb(counts)} {join(parts)}" if parts else "nothing was found in what was read"
        more = f" (and {plural(len(gaps) - 1, 'more gap')})" if len(gaps) > 1 else ""
        return f"Incomplete: {gaps[0]}{more}, so this image cannot be called clean; {seen}."
    if not counts[Severity.ERROR]:
        if report.failing:
            named = ",".join(report.fail_on)
            return f"Not clean by --fail-on {named}: there {_verb(counts)} {join(parts) or 'notes'}."
        return (
            f"Clean: no error was found; there {_verb(counts)} {join(parts)}."
            if parts
            else _all_clean(report)
        )
    titles = []
    for finding in report.findings:
        if finding.severity is Severity.ERROR and finding.title not in titles:
            titles.append(finding.title)
    more = f" and {len(titles) - 2} more" if len(titles) > 2 else ""
    return f"{join(parts)[:1].upper()}{join(parts)[1:]}: {'; '.join(titles[:2])}{more}."


def _all_clean(report: ImageReport) -> str:
    notes = report.severities[Severity.NOTE]
    return "Clean: nothing was found." if not notes else f"Clean: nothing but {plural(notes, 'note')}."


def _verb(counts: Mapping[Severity, int]) -> str:
    return "is" if counts[Severity.ERROR] + counts[Severity.WARNING] == 1 else "are"


def describe_image(image: Image) -> str:
    """Return what was read, in one sentence."""
    kind = image.kind[:1].upper() + image.kind[1:]
    for_what = f" for {image.platform}" if image.platform else ""
    layers = f" of {plural(len(image.layers), 'layer')}" if image.digest else ""
    return (
        f"{kind}{for_what}{layers}, {size(image.stored)}: {plural(image.files, 'file')} and "
        f"{plural(image.directories, 'directory', 'directories')} in the end, {size(image.content)}."
    )


def describe_waste(image: Image) -> str:
    """Return how much of it is of no use; empty if nothing is."""
    parts = [
        f"{size(count)} are {what}"
        for count, what in (
            (image.waste.hidden, "hidden by later layers"),
            (image.waste.repeated, "stored twice"),
        )
        if count
    ]
    return f"{', '.join(parts)} (before compression)." if parts else ""


def describe_hardening(image: Image) -> str:
    """Return what the programs and libraries lack; empty if there are none."""
    total = image.hardening.get("elf", 0)
    if not total:
        return ""
    lacking = [
        f"{count:,} {what}"
        for kind, what in (
            (FactKind.NO_PIE, "at a fixed address"),
            (FactKind.NO_RELRO, "without RELRO"),
            (FactKind.PARTIAL_RELRO, "with partial RELRO"),
            (FactKind.EXECSTACK, "with an executable stack"),
        )
        if (count := image.hardening.get(kind, 0))
    ]
    return (
        f"{plural(total, 'program or library', 'programs and libraries')}: {join(lacking) or 'all hardened'}."
    )
