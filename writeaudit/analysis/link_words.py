"""Refused links, put into words: the findings of WA101 to WA105."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import assert_never

from writeaudit.analysis.collector import MAX_EVIDENCE, MAX_EXAMPLES
from writeaudit.analysis.diagnosis import Why
from writeaudit.analysis.fallback import Refusal
from writeaudit.analysis.ledger import MadeFile
from writeaudit.analysis.link_advice import LinkAdviser
from writeaudit.analysis.mounts import describe, details
from writeaudit.audit import Mount, RunInfo
from writeaudit.judgement import Finding
from writeaudit.rules import rule
from writeaudit.text import plural, show, size


@dataclass(slots=True)
class LinkGroup:
    """Refused links with one cause between one pair of mounts, and the files copied for want of them."""

    why: Why
    source: Mount | None
    target: Mount | None
    refusals: list[Refusal] = field(default_factory=list)
    copied: list[tuple[Refusal, MadeFile]] = field(default_factory=list)
    """Files that are there at the end."""
    gone: list[MadeFile] = field(default_factory=list)
    """Others that were copied, and removed or replaced again."""


@dataclass(slots=True)
class CloneGroup:
    """Reflinks refused with one errno between one pair of mounts."""

    source: Mount | None
    target: Mount | None
    linked: int
    """Hard links that were made between the same two mounts after the first of them was refused."""
    refusals: list[Refusal] = field(default_factory=list)
    copied: list[tuple[Refusal, MadeFile]] = field(default_factory=list)
    """Files that are there at the end."""
    gone: list[MadeFile] = field(default_factory=list)
    """Others that were copied, and removed or replaced again."""


def link_finding(group: LinkGroup, run: RunInfo, adviser: LinkAdviser) -> Finding:
    """Return the finding for a group of refused links (at least one)."""
    registered = rule(group.why.rule)
    first = group.refusals[0]
    tried = plural(len(group.refusals), "hard link")
    was = "was" if len(group.refusals) == 1 else "were"
    message = (
        f"{tried} {_between(group.source, group.target, first)} {was} refused with {first.result}"
        f"{_because(group.why, run)}; {_copied(group.copied, group.gone)}"
    )
    if not group.copied:
        message += f" The first: {show(first.source)} to {show(first.target)}."
    return Finding(
        rule=registered.id,
        title=registered.title,
        severity=registered.severity,
        message=message,
        count=len(group.refusals),
        bytes=sum(made.size for _, made in group.copied),
        files=len(group.copied),
        evidence=_evidence(group.refusals, group.copied),
        cause=_cause(group, run),
        advice=adviser.advice(group.why, group.source, group.target, first.target),
        details={
            "errno": first.result,
            "source_mount": details(group.source, first.source_dev),
            "target_mount": details(group.target, first.dev),
            "examples": _examples(group.refusals, group.copied),
        },
    )


def clone_finding(group: CloneGroup) -> Finding:
    """Return the finding for a group of refused reflinks (at least one)."""
    registered = rule("WA105")
    first = group.refusals[0]
    tried = plural(len(group.refusals), "reflink")
    was = "was" if len(group.refusals) == 1 else "were"
    instead = []
    if group.linked:
        where = "between the same mounts" if first.source else "on that mount"
        instead.append(f"{plural(group.linked, 'hard link')} {where}")
    if group.copied:
        total = sum(made.size for _, made in group.copied)
        instead.append(f"{plural(len(group.copied), 'file')} copied ({size(total)})")
    if instead:
        done = f"instead: {', '.join(instead)}."
    elif group.gone:
        total = sum(made.size for made in group.gone)
        done = f"instead: {plural(len(group.gone), 'file')} copied ({size(total)}), and removed again."
    elif first.source:
        done = f"no link or copy was seen in {'its' if len(group.refusals) == 1 else 'their'} place."
    else:
        done = "what was done instead is not known, as the recording does not name the sources."
    return Finding(
        rule=registered.id,
        title=registered.title,
        severity=registered.severity,
        message=f"{tried} {_between(group.source, group.target, first)} {was} refused with {first.result}; "
        f"{done}",
        count=len(group.refusals),
        bytes=sum(made.size for _, made in group.copied),
        files=len(group.copied),
        evidence=_evidence(group.refusals, group.copied),
        cause=_clone_cause(first.result, group.target),
        advice=_clone_advice(group),
        details={
            "errno": first.result,
            "source_mount": details(group.source, first.source_dev),
            "target_mount": details(group.target, first.dev),
            "hard_linked": group.linked,
            "examples": _examples(group.refusals, group.copied),
        },
    )


def _between(source: Mount | None, target: Mount | None, refusal: Refusal) -> str:
    if source is not None and source == target:
        return f"on {describe(target)}"
    return f"from {describe(source, refusal.source_dev)} to {describe(target, refusal.dev)}"


def _because(why: Why, run: RunInfo) -> str:
    """Return the cause where it is not to be seen from the mounts."""
    if why is Why.PROTECTED:
        return f", as {run.user} neither owns the files nor may both read and write them"
    return ""


def _copied(copied: Sequence[tuple[Refusal, MadeFile]], gone: Sequence[MadeFile]) -> str:
    files = [made for _, made in copied] or gone
    if not files:
        return "no copy was seen in its place."
    total = sum(made.size for made in files)
    was = "was" if len(files) == 1 else "were"
    again = "" if copied else " and removed again"
    return f"{plural(len(files), 'file')} ({size(total)}) {was} copied instead{again}."


def _cause(group: LinkGroup, run: RunInfo) -> str:
    first = group.refusals[0]
    source = describe(group.source, first.source_dev)
    target = describe(group.target, first.dev)
    match group.why:
        case Why.DEVICES:
            return (
                "A hard link is a second name in the same file system. The source lies on "
                f"{source}, the target on {target}: two file systems, so linkat answers EXDEV."
            )
        case Why.SUBVOLUMES:
            return (
                "Source and target lie in two subvolumes of one file system: one mount, "
                f"{target}, yet each subvolume is a device of its own, and no hard link leads out of one."
            )
        case Why.UNKNOWN_MOUNTS:
            return (
                "linkat answered EXDEV: source and target are not on the same mount. The recording does "
                "not tell which mounts or devices they are on, so this may as well be two mounts of one "
                "device (WA102)."
            )
        case Why.MOUNTS:
            return (
                "Source and target are on the same device but on two mounts of it: "
                f"{source} and {target}. The kernel refuses hard links from one mount to another even "
                "where both show the same file system (bind mount, container volume, sub-path); stat "
                "shows equal st_dev, only the mount ids differ."
            )
        case Why.PROTECTED:
            return (
                f"fs.protected_hardlinks{_setting(run)} allows {run.user} (uid {run.uid}) to link a file "
                "only if they own it or may both read and write it. File systems and mounts are not the "
                "reason, whatever the tool's own warning says."
            )
        case Why.FLAGS:
            return (
                "EPERM, although fs.protected_hardlinks does not apply to this run: the source bears the "
                "immutable or append-only flag, or its file system cannot make hard links."
            )
        case Why.DIRECTORY:
            return (
                f"{run.user} (uid {run.uid}) may not write in the target's directory, or not search a "
                "directory above source or target."
            )
        case Why.PROJECT:
            return (
                f"Source and target are on one mount, {target}, and linkat answered EXDEV all the same. On "
                "ext4, XFS and f2fs that means project ids that differ (project quota), which files "
                "inherit from their directory."
            )
        case Why.TOO_MANY:
            kind = group.source.fstype if group.source is not None else "its file system"
            return f"The source has as many hard links as {kind} allows."
        case Why.UNSUPPORTED:
            return f"The file system of {target} has no hard links."
        case Why.OTHER:
            return f"linkat answered {first.result}."
        case _ as unreachable:
            assert_never(unreachable)


def _setting(run: RunInfo) -> str:
    value = run.host.get("fs.protected_hardlinks")
    return "" if value is None else f" = {value}"


def _clone_cause(result: str, target: Mount | None) -> str:
    if result == "EXDEV":
        return "A reflink shares blocks, so both files must lie in one file system; these do not."
    if result in {"EOPNOTSUPP", "ENOTTY", "EINVAL", "ENOSYS"}:
        name = target.fstype if target is not None else "The target's file system"
        return f"{name} does not share blocks between these files (ioctl_ficlone(2): {result})."
    return f"FICLONE answered {result}."


def _clone_advice(group: CloneGroup) -> tuple[str, ...]:
    if group.linked and not group.copied:
        return ("Nothing needs to be done: hard links save the same space and time.",)
    if group.refusals[0].result == "EXDEV":
        return ("Put source and target on one file system that has reflinks (btrfs, or XFS).",)
    if group.source is not None and group.source == group.target:
        return ("Use a file system with reflinks (btrfs, or XFS), or hard links.",)
    return ("Use a file system with reflinks (btrfs, or XFS), or one mount for both sides and hard links.",)


def _evidence(refusals: Sequence[Refusal], copied: Sequence[tuple[Refusal, MadeFile]]) -> tuple[int, ...]:
    """Return seqs: refusals first, then copies; half of the room is kept for each if both need it."""
    room = max(MAX_EVIDENCE // 2, MAX_EVIDENCE - len(copied))
    first = [refusal.seq for refusal in refusals[:room]]
    return (*first, *(made.seq for _, made in copied[: MAX_EVIDENCE - len(first)]))


def _examples(
    refusals: Sequence[Refusal], copied: Sequence[tuple[Refusal, MadeFile]]
) -> list[dict[str, object]]:
    """Return the first copies; the first refusals where nothing was copied."""
    if not copied:
        return [_pair(each.target, each.source or None) for each in refusals[:MAX_EXAMPLES]]
    seen: Counter[Refusal] = Counter()
    chosen: list[MadeFile] = []
    # One for each refusal (each package, that is) says more than ten of the first.
    for refusal, made in copied:
        if seen[refusal] == 0 and len(chosen) < MAX_EXAMPLES:
            chosen.append(made)
        seen[refusal] += 1
    return [_pair(made.names[-1], made.source) | {"bytes": made.size} for made in chosen]


def _pair(path: bytes, source: bytes | None) -> dict[str, object]:
    pair: dict[str, object] = {"path": show(path)}
    if source is not None:
        pair["source"] = show(source)
    return pair
