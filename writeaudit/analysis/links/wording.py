"""Refused links, put into words: the findings of WA101 to WA105."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import assert_never

from writeaudit.analysis.collector import MAX_EVIDENCE, MAX_EXAMPLES
from writeaudit.analysis.links.advice import LinkAdviser
from writeaudit.analysis.links.copies import RefusedLink
from writeaudit.analysis.links.provenance import CreatedFile
from writeaudit.analysis.links.refusals import RefusalCause
from writeaudit.analysis.links.within import Candidate
from writeaudit.analysis.mounts import describe_mount, mount_details
from writeaudit.audit import Mount, RunInfo
from writeaudit.judgement import Finding
from writeaudit.rules import rule
from writeaudit.text import escape_path, plural, quote_name, size


@dataclass(slots=True)
class LinkGroup:
    """Refused links with one cause between one pair of mounts, and the files that were copied instead."""

    why: RefusalCause
    source: Mount | None
    target: Mount | None
    refusals: list[RefusedLink] = field(default_factory=list)
    copied: list[tuple[RefusedLink, CreatedFile]] = field(default_factory=list)
    """Files that are there at the end."""
    gone: list[CreatedFile] = field(default_factory=list)
    """Others that were copied, and removed or replaced again."""
    candidates: Sequence[Candidate] = ()
    """Of `RefusalCause.WITHIN`: who may have refused it."""
    fatal: bool = False
    """Whether the command failed of one of these refusals, as far as can be seen."""


@dataclass(slots=True)
class CloneGroup:
    """Reflinks refused with one errno between one pair of mounts."""

    source: Mount | None
    target: Mount | None
    linked: int
    """Hard links that were made between the same two mounts after the first of them was refused."""
    refusals: list[RefusedLink] = field(default_factory=list)
    copied: list[tuple[RefusedLink, CreatedFile]] = field(default_factory=list)
    """Files that are there at the end."""
    gone: list[CreatedFile] = field(default_factory=list)
    """Others that were copied, and removed or replaced again."""


def link_finding(group: LinkGroup, run: RunInfo, adviser: LinkAdviser) -> Finding:
    """Return the finding for a group of refused links (at least one)."""
    registered = rule(group.why.rule)
    first = group.refusals[0]
    tried = plural(len(group.refusals), "hard link")
    was = "was" if len(group.refusals) == 1 else "were"
    message = (
        f"{tried} {describe_route(group.source, group.target, first)} {was} refused with {first.result}"
        f"{_describe_reason(group.why, run)}{describe_suspect(group.candidates)}; "
        f"{_describe_copied(group.copied, group.gone)}"
    )
    if group.fatal:
        message += " The command most likely failed of it."
    if not group.copied:
        message += f" The first: {quote_name(first.source)} to {quote_name(first.target)}."
    return Finding(
        rule=registered.id,
        title=_choose_title(group, registered.title),
        severity=registered.severity,
        message=message,
        count=len(group.refusals),
        bytes=sum(made.size for _, made in group.copied),
        files=len(group.copied),
        evidence=evidence_of(group.refusals, group.copied),
        cause=_describe_cause(group, run),
        advice=(
            *list_remedies(group.candidates),
            *adviser.give_advice(group.why, group.source, group.target, first.target, first.source),
        ),
        details={
            "errno": first.result,
            "source_mount": mount_details(group.source, first.source_dev),
            "target_mount": mount_details(group.target, first.dev),
            "examples": examples_of(group.refusals, group.copied),
            "fatal": group.fatal,
            **within_details(group.candidates),
        },
    )


def _choose_title(group: LinkGroup, title: str) -> str:
    """Return the rule's title; that of what happened instead, where nothing was copied."""
    if group.why is RefusalCause.SUBVOLUMES:
        title = "hardlink fell back to a copy: two subvolumes of one file system"
    if all(made.cloned for _, made in group.copied):
        instead = "hardlink fell back to a reflink:" if group.copied else "hardlink refused:"
        title = title.replace("hardlink fell back to a copy:", instead)
    return title


_PROBABLE = 2
"""The greatest weight of a candidate that is not certain."""


def within_cause(found: Sequence[Candidate], target: str) -> str:
    """Return what may have answered EXDEV within one mount, with the evidence."""
    open_ones = [each for each in found if each.weight]
    sure = [each for each in open_ones if each.weight > 1]
    head = f"Source and target are on one mount, {target}, so the kernel's EXDEV does not come from mounts."
    said = []
    for each in sure or open_ones:
        evidence = "; ".join((*each.speaks_for, *(f"but {reason}" for reason in each.speaks_against)))
        said.append(f"{each.title} ({evidence})" if evidence else each.title)
    if not said:
        return f"{head} What it comes from is not known."
    verb = "It probably comes from" if sure else "It may come from"
    if any(each.weight > _PROBABLE for each in sure):
        verb = "It comes from"
    return f"{head} {verb} {' or '.join(said)}."


def describe_suspect(found: Sequence[Candidate]) -> str:
    """Return who probably refused it, as a clause; nothing without evidence."""
    sure = [each for each in found if each.weight > 1]
    if not sure:
        names = " or ".join(each.title for each in found if each.weight)
        return f" within one mount, which may come from {names}" if names else ""
    by = ", by " if any(each.weight > _PROBABLE for each in sure) else ", probably by "
    return by + " or ".join(f"{each.title} ({'; '.join(each.speaks_for)})" for each in sure)


def list_remedies(found: Sequence[Candidate]) -> tuple[str, ...]:
    """Return what to do about the candidates that evidence speaks for; about all if none has any."""
    sure = [each.remedy for each in found if each.weight > 1]
    return tuple(sure or [each.remedy for each in found if each.weight])


def within_details(found: Sequence[Candidate]) -> dict[str, object]:
    """Return the JSON form of the candidates."""
    return {"candidates": [each.as_json() for each in found]} if found else {}


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
        message=f"{tried} {describe_route(group.source, group.target, first)} {was} refused with "
        f"{first.result}; "
        f"{done}",
        count=len(group.refusals),
        bytes=sum(made.size for _, made in group.copied),
        files=len(group.copied),
        evidence=evidence_of(group.refusals, group.copied),
        cause=_clone_cause(first.result, group.target),
        advice=_clone_advice(group),
        details={
            "errno": first.result,
            "source_mount": mount_details(group.source, first.source_dev),
            "target_mount": mount_details(group.target, first.dev),
            "hard_linked": group.linked,
            "examples": examples_of(group.refusals, group.copied),
        },
    )


def describe_route(source: Mount | None, target: Mount | None, refusal: RefusedLink) -> str:
    """Return where a refused link or rename led from and to."""
    if source is not None and source == target:
        return f"on {describe_mount(target)}"
    return f"from {describe_mount(source, refusal.source_dev)} to {describe_mount(target, refusal.dev)}"


def _describe_reason(why: RefusalCause, run: RunInfo) -> str:
    """Return the cause where it is not to be seen from the mounts."""
    if why is RefusalCause.PROTECTED:
        return f", as {run.user} neither owns the files nor may both read and write them"
    return ""


def _describe_copied(copied: Sequence[tuple[RefusedLink, CreatedFile]], gone: Sequence[CreatedFile]) -> str:
    cloned = sum(made.cloned for _, made in copied)
    files = [made for _, made in copied if not made.cloned] or gone
    shared = ""
    if cloned:
        were = "was" if cloned == 1 else "were"
        shared = f"{plural(cloned, 'file')} {were} cloned instead (blocks shared, nothing copied)"
        if not files:
            return f"{shared}."
        shared += ", and "
    if not files:
        return "no copy was seen in its place."
    total = sum(made.size for made in files)
    was = "was" if len(files) == 1 else "were"
    again = "" if copied else " and removed again"
    return f"{shared}{plural(len(files), 'file')} ({size(total)}) {was} copied instead{again}."


def _describe_cause(group: LinkGroup, run: RunInfo) -> str:
    first = group.refusals[0]
    source = describe_mount(group.source, first.source_dev)
    target = describe_mount(group.target, first.dev)
    match group.why:
        case RefusalCause.DEVICES:
            return (
                "A hard link is a second name in the same file system. The source lies on "
                f"{source}, the target on {target}: two file systems, so linkat answers EXDEV."
            )
        case RefusalCause.SUBVOLUMES:
            return (
                "Source and target lie in two subvolumes of one file system: one mount, "
                f"{target}, yet each subvolume is a device of its own, and no hard link leads out of one."
            )
        case RefusalCause.UNKNOWN_MOUNTS:
            return (
                "linkat answered EXDEV: source and target are not on the same mount. The recording does "
                "not tell which mounts or devices they are on, so this may as well be two mounts of one "
                "device (WA102)."
            )
        case RefusalCause.MOUNTS:
            return (
                "Source and target are on the same device but on two mounts of it: "
                f"{source} and {target}. The kernel refuses hard links from one mount to another even "
                "where both show the same file system (bind mount, container volume, sub-path); stat "
                "shows equal st_dev, only the mount ids differ."
            )
        case RefusalCause.PROTECTED:
            return (
                f"fs.protected_hardlinks{_describe_setting(run)} allows {run.user} (uid {run.uid}) "
                "to link a file "
                "only if they own it or may both read and write it. File systems and mounts are not the "
                "reason, whatever the tool's own warning says."
            )
        case RefusalCause.FLAGS:
            return (
                "EPERM, although fs.protected_hardlinks does not apply to this run: the source bears the "
                "immutable or append-only flag, or its file system cannot make hard links."
            )
        case RefusalCause.DIRECTORY:
            return (
                f"{run.user} (uid {run.uid}) may not write in the target's directory, or not search a "
                "directory above source or target."
            )
        case RefusalCause.WITHIN:
            return within_cause(group.candidates, target)
        case RefusalCause.TOO_MANY:
            kind = group.source.fstype if group.source is not None else "its file system"
            return f"The source has as many hard links as {kind} allows."
        case RefusalCause.UNSUPPORTED:
            return f"The file system of {target} has no hard links."
        case RefusalCause.OTHER:
            return f"linkat answered {first.result}."
        case _ as unreachable:
            assert_never(unreachable)


def _describe_setting(run: RunInfo) -> str:
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


def evidence_of(
    refusals: Sequence[RefusedLink], copied: Sequence[tuple[RefusedLink, CreatedFile]]
) -> tuple[int, ...]:
    """Return seqs: refusals first, then copies; half of the room is kept for each if both need it."""
    room = max(MAX_EVIDENCE // 2, MAX_EVIDENCE - len(copied))
    first = [refusal.seq for refusal in refusals[:room]]
    return (*first, *(made.seq for _, made in copied[: MAX_EVIDENCE - len(first)]))


def examples_of(
    refusals: Sequence[RefusedLink], copied: Sequence[tuple[RefusedLink, CreatedFile]]
) -> list[dict[str, object]]:
    """Return the first copies; the first refusals where nothing was copied."""
    if not copied:
        return [_pair_fields(each.target, each.source or None) for each in refusals[:MAX_EXAMPLES]]
    seen: Counter[RefusedLink] = Counter()
    chosen: list[CreatedFile] = []
    # One for each refusal (each package, that is) says more than ten of the first.
    for refusal, made in copied:
        if seen[refusal] == 0 and len(chosen) < MAX_EXAMPLES:
            chosen.append(made)
        seen[refusal] += 1
    return [_pair_fields(made.names[-1], made.source) | {"bytes": made.size} for made in chosen]


def _pair_fields(path: bytes, source: bytes | None) -> dict[str, object]:
    pair: dict[str, object] = {"path": escape_path(path)}
    if source is not None:
        pair["source"] = escape_path(source)
    return pair
