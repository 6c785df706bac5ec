"""WA111 to WA113 for renames: EXDEV, what was copied instead, or that the command failed of it."""

from __future__ import annotations

from writeaudit.analysis.links.refusals import RefusalCause
from writeaudit.analysis.links.wording import (
    LinkGroup,
    describe_route,
    describe_suspect,
    evidence_of,
    examples_of,
    list_remedies,
    within_cause,
    within_details,
)
from writeaudit.analysis.mounts import describe_mount, mount_details
from writeaudit.judgement import Finding
from writeaudit.rules import rule
from writeaudit.text import plural, quote_name, size


def rename_finding(group: LinkGroup) -> Finding:
    """Return the finding for a group of refused renames (at least one)."""
    registered = rule(group.why.rename_rule)
    first = group.refusals[0]
    total = sum(made.size for _, made in group.copied)
    tried = plural(len(group.refusals), "rename")
    was = "was" if len(group.refusals) == 1 else "were"
    message = (
        f"{tried} {describe_route(group.source, group.target, first)} {was} refused with EXDEV"
        f"{describe_suspect(group.candidates)}; "
        f"{_describe_replacement(group, total)} The first: {quote_name(first.source)} to "
        f"{quote_name(first.target)}."
    )
    title = registered.title
    if group.why is RefusalCause.SUBVOLUMES:
        title = "rename refused: two subvolumes of one file system"
    elif group.why is RefusalCause.WITHIN:
        title = "rename refused within one mount"
    return Finding(
        rule=registered.id,
        title=title,
        severity=registered.severity,
        message=message,
        count=len(group.refusals),
        bytes=total,
        files=len(group.copied),
        evidence=evidence_of(group.refusals, group.copied),
        cause=_describe_cause(group),
        advice=_give_advice(group),
        details={
            "errno": "EXDEV",
            "source_mount": mount_details(group.source, first.source_dev),
            "target_mount": mount_details(group.target, first.dev),
            "examples": examples_of(group.refusals, group.copied),
            "fatal": group.fatal,
            **within_details(group.candidates),
        },
    )


def _describe_replacement(group: LinkGroup, total: int) -> str:
    if group.fatal:
        return "nothing was done in its place: the command most likely failed of it."
    if not group.copied:
        return "no copy was seen in its place."
    cloned = all(made.cloned for _, made in group.copied)
    was = "was" if len(group.copied) == 1 else "were"
    done = "cloned" if cloned else "copied"
    shared = "blocks shared" if cloned else size(total)
    return f"{plural(len(group.copied), 'file')} ({shared}) {was} {done} instead."


def _describe_cause(group: LinkGroup) -> str:
    first = group.refusals[0]
    source, target = describe_mount(group.source, first.source_dev), describe_mount(group.target, first.dev)
    match group.why:
        case RefusalCause.WITHIN:
            return within_cause(group.candidates, target)
        case RefusalCause.SUBVOLUMES:
            return (
                "Source and target lie in two subvolumes of one file system: each is a device of its own, "
                "and no rename leads from one into the other."
            )
        case RefusalCause.MOUNTS:
            return (
                f"Source and target are on one device but on two mounts of it, {source} and {target}. The "
                "kernel renames within one mount only; stat shows equal st_dev, only the mount ids differ."
            )
        case _:
            return (
                f"A rename gives a file another name in the same file system. The source lies on {source}, "
                f"the target on {target}, so rename(2) answers EXDEV."
            )


def _give_advice(group: LinkGroup) -> tuple[str, ...]:
    if group.why is RefusalCause.WITHIN:
        return list_remedies(group.candidates)
    if group.why is RefusalCause.SUBVOLUMES:
        return ("Make plain directories of the two subvolumes, or let the tool copy with `cp --reflink`.",)
    together = "Let one mount hold both directories"
    if group.target is not None and group.source is not None:
        together += (
            f", instead of {quote_name(group.source.mountpoint)} and {quote_name(group.target.mountpoint)}"
        )
    return (
        f"{together}: one volume or bind mount for their common parent, not one for each.",
        *(("Where the source is a temporary file of the program, TMPDIR moves it.",) if group.fatal else ()),
    )
