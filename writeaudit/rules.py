"""The registry of rules: every id that a finding can bear, and its page."""

from __future__ import annotations

import enum
from typing import NamedTuple

from writeaudit.errors import UsageError
from writeaudit.judgement import Severity
from writeaudit.resources import rule_pages
from writeaudit.text import nearest


class RuleGroup(enum.Enum):
    """What a rule is about. The name for ``--fail-on``, the status and the wording follow from it."""

    LINK = "link"
    """A hard link that was refused, and the copy made instead."""
    REFLINK = "reflink"
    """A reflink that was refused."""
    RENAME = "rename"
    """A rename that was refused."""
    FORBIDDEN = "forbidden"
    """The policy forbids it, and it happened. Each event of it is a violation by its verdict."""
    ALIAS = "alias"
    """The policy forbids it, and it happened under a name that the policy allows: a finding counts."""
    ATTEMPT = "attempt"
    """The policy forbids it, and the system refused it."""
    REFUSED = "refused"
    """The policy allows it, and the system refused it."""
    HYGIENE = "hygiene"
    """Allowed by the policy, and yet not what an installer should do."""
    IMAGE = "image"
    """What a reviewer of a container image should know. No run has findings of it."""
    COMPLETENESS = "completeness"
    """What the audit did not see. It has an exit status of its own, so no severity counts it."""

    @property
    def alias(self) -> str:
        """The name that ``--fail-on`` knows the group by; groups may share one."""
        return _ALIASES[self]


_ALIASES = {
    RuleGroup.LINK: "link-fallback",
    RuleGroup.REFLINK: "reflink-fallback",
    RuleGroup.RENAME: "rename-fallback",
    RuleGroup.FORBIDDEN: "violations",
    RuleGroup.ALIAS: "violations",
    RuleGroup.ATTEMPT: "attempts",
    RuleGroup.REFUSED: "attempts",
    RuleGroup.HYGIENE: "hygiene",
    RuleGroup.IMAGE: "image",
    RuleGroup.COMPLETENESS: "incomplete",
}


class Rule(NamedTuple):
    """One thing that writeaudit looks for. The ids are stable."""

    id: str
    group: RuleGroup
    title: str
    severity: Severity
    """What its findings have by default; some may be less severe."""
    summary: str
    """One sentence."""


RULES: tuple[Rule, ...] = (
    Rule(
        "WA101",
        RuleGroup.LINK,
        "hardlink fell back to a copy: different devices",
        Severity.WARNING,
        "Hard links were refused because source and target are on different devices; files were copied.",
    ),
    Rule(
        "WA102",
        RuleGroup.LINK,
        "hardlink fell back to a copy: same device, different mounts",
        Severity.WARNING,
        "Hard links were refused between two mounts of one file system (bind mount, volume, sub-path).",
    ),
    Rule(
        "WA103",
        RuleGroup.LINK,
        "hardlink refused: owner or permission",
        Severity.WARNING,
        "Hard links were refused because of who owns the file, who may read and write it, or its flags.",
    ),
    Rule(
        "WA104",
        RuleGroup.LINK,
        "hardlink refused for another reason",
        Severity.WARNING,
        "Hard links were refused by the file system itself: too many links, or no links at all.",
    ),
    Rule(
        "WA105",
        RuleGroup.REFLINK,
        "reflink refused",
        Severity.NOTE,
        "The file system refused reflinks; says what was done instead.",
    ),
    Rule(
        "WA106",
        RuleGroup.HYGIENE,
        "files symlinked into a cache",
        Severity.WARNING,
        "Symlinks lead into a cache: what was installed dies with it.",
    ),
    Rule(
        "WA111",
        RuleGroup.RENAME,
        "rename refused: different devices",
        Severity.WARNING,
        "Renames were refused, as source and target are on different devices; what was copied instead.",
    ),
    Rule(
        "WA112",
        RuleGroup.RENAME,
        "rename refused: same device, different mounts",
        Severity.WARNING,
        "Renames were refused between two mounts of one file system (bind mount, volume, sub-path).",
    ),
    Rule(
        "WA113",
        RuleGroup.LINK,
        "hardlink refused within one mount",
        Severity.WARNING,
        "EXDEV for a link or rename within one mount: Landlock, an overlay's lower layer, project quota.",
    ),
    Rule(
        "WA201",
        RuleGroup.FORBIDDEN,
        "write in a read-only zone",
        Severity.ERROR,
        "Something was changed in a zone that the policy declares read-only.",
    ),
    Rule(
        "WA202",
        RuleGroup.FORBIDDEN,
        "write outside every zone",
        Severity.ERROR,
        "Something was changed in a place that the policy does not name.",
    ),
    Rule(
        "WA203",
        RuleGroup.ATTEMPT,
        "write attempted in a forbidden place and refused by the system",
        Severity.WARNING,
        "The policy forbids the change, and the system refused it before it happened.",
    ),
    Rule(
        "WA204",
        RuleGroup.FORBIDDEN,
        "read of a zone that may not be read",
        Severity.ERROR,
        "Something was read in a zone with access none.",
    ),
    Rule(
        "WA205",
        RuleGroup.REFUSED,
        "allowed write refused by the system",
        Severity.WARNING,
        "The policy allows the change, but the system refused it: permissions, a read-only mount, no room.",
    ),
    Rule(
        "WA206",
        RuleGroup.HYGIENE,
        "file that starts programs or grants access changed",
        Severity.WARNING,
        "A file that runs a program later, or lets somebody in, was changed: ssh keys, shell start "
        "files, cron.",
    ),
    Rule(
        "WA301",
        RuleGroup.ALIAS,
        "write reached a protected file through an alias",
        Severity.ERROR,
        "A file of a zone that may not change was changed under another name: a hard link, or another mount.",
    ),
    Rule(
        "WA302",
        RuleGroup.HYGIENE,
        "world-writable file or directory made",
        Severity.WARNING,
        "A mode was set that lets every user of the machine write.",
    ),
    Rule(
        "WA303",
        RuleGroup.HYGIENE,
        "shared cache entry that others cannot read",
        Severity.WARNING,
        "What the run added to a cache that several users share has a mode that keeps the others out.",
    ),
    Rule(
        "WA304",
        RuleGroup.HYGIENE,
        "setuid, setgid or file capability made",
        Severity.WARNING,
        "A program was given rights of its own, in whatever zone.",
    ),
    Rule(
        "WA305",
        RuleGroup.HYGIENE,
        "program or library overwritten in place",
        Severity.WARNING,
        "A program or library that was there before was written to, not replaced.",
    ),
    Rule(
        "WA306",
        RuleGroup.HYGIENE,
        "unsafe ELF file",
        Severity.WARNING,
        "A program or library was written with an unsafe search path, stack, relocations or machine.",
    ),
    Rule(
        "WA307",
        RuleGroup.HYGIENE,
        "file with other names changed in place",
        Severity.WARNING,
        "A file that has other names (hard links) was changed in place: whoever shares it sees the change.",
    ),
    Rule(
        "WA401",
        RuleGroup.HYGIENE,
        "temporary file left behind",
        Severity.NOTE,
        "A temporary file or directory that the run made is still there at its end.",
    ),
    Rule(
        "WA402",
        RuleGroup.HYGIENE,
        "lock file taken inside a read-only zone",
        Severity.NOTE,
        "A lock file of a zone that may not change was opened for writing.",
    ),
    Rule(
        "WA501",
        RuleGroup.IMAGE,
        "setuid, setgid or file capability in an image",
        Severity.WARNING,
        "Files of the image give whoever runs them rights of their own.",
    ),
    Rule(
        "WA502",
        RuleGroup.IMAGE,
        "world-writable path or device node in an image",
        Severity.WARNING,
        "Files or directories of the image that every user can write to, or device nodes.",
    ),
    Rule(
        "WA503",
        RuleGroup.IMAGE,
        "secret in an image",
        Severity.ERROR,
        "A private key or a credential in a file, in the environment or in a build step of the image.",
    ),
    Rule(
        "WA504",
        RuleGroup.IMAGE,
        "deleted, but still in a layer",
        Severity.WARNING,
        "A file that a later layer deletes or overwrites is in the image all the same; worst if it is a "
        "secret.",
    ),
    Rule(
        "WA505",
        RuleGroup.IMAGE,
        "the same bytes again",
        Severity.NOTE,
        "Layers that store bytes which the image holds already: copies, and changes of mode or owner alone.",
    ),
    Rule(
        "WA506",
        RuleGroup.IMAGE,
        "image runs as root",
        Severity.WARNING,
        "The image names no user, or root, for its process.",
    ),
    Rule(
        "WA507",
        RuleGroup.IMAGE,
        "unsafe or damaged image",
        Severity.ERROR,
        "Entries that lead out of the image, digests that do not fit, archives that are damaged or "
        "absurdly large.",
    ),
    Rule(
        "WA901",
        RuleGroup.COMPLETENESS,
        "events lost",
        Severity.WARNING,
        "Events were lost, or the recording breaks off: changes may be missing from the report.",
    ),
    Rule(
        "WA902",
        RuleGroup.COMPLETENESS,
        "blind spot",
        Severity.WARNING,
        "Something ran that this backend cannot see in full.",
    ),
    Rule(
        "WA903",
        RuleGroup.COMPLETENESS,
        "path uncertain",
        Severity.WARNING,
        "The name of a changed file is known as text only, or in part.",
    ),
    Rule(
        "WA904",
        RuleGroup.COMPLETENESS,
        "a process outlived the audit",
        Severity.WARNING,
        "A process that the command started was still running when the audit ended.",
    ),
)

_BY_ID = {rule.id: rule for rule in RULES}


def rule(rule_id: str) -> Rule:
    """Return the rule with this id, in any case. Raises `UsageError` with the nearest id."""
    found = _BY_ID.get(rule_id.upper())
    if found is not None:
        return found
    near = nearest(rule_id.upper(), _BY_ID)
    guess = f"Did you mean {near}? " if near else ""
    raise UsageError(f"There is no rule {rule_id!r}.", hint=f"{guess}Rules: {', '.join(_BY_ID)}")


def rules_of(*groups: RuleGroup) -> frozenset[str]:
    """Return the ids of the rules in these groups."""
    return frozenset(rule.id for rule in RULES if rule.group in groups)


def group_aliases() -> dict[str, tuple[str, ...]]:
    """Return the rules by the name that ``--fail-on`` knows several of them by."""
    aliases: dict[str, list[str]] = {}
    for rule in RULES:
        aliases.setdefault(rule.group.alias, []).append(rule.id)
    return {alias: tuple(ids) for alias, ids in aliases.items()}


def read_page(rule_id: str) -> str:
    """Return the rule's page (Markdown). Raises `UsageError` for an unknown id, `ResourceMissing`."""
    return (rule_pages() / f"{rule(rule_id).id}.md").read_text(encoding="utf-8")


def number_groups() -> dict[str, tuple[str, ...]]:
    """Return the groups of rules by their names, ``WA1xx`` and so on."""
    found: dict[str, list[str]] = {}
    for rule in RULES:
        found.setdefault(f"{rule.id[:3]}xx", []).append(rule.id)
    return {name: tuple(ids) for name, ids in found.items()}


def rules_named(word: str) -> tuple[str, ...]:
    """Return the rules that a word stands for: an id, a group, or an alias; none if it is not known."""
    aliases = group_aliases()
    if word.lower() in aliases:
        return aliases[word.lower()]
    group = number_groups().get(f"{word[:3].upper()}xx") if word[3:].lower() == "xx" else None
    if group is not None:
        return group
    return (word.upper(),) if word.upper() in {rule.id for rule in RULES} else ()
