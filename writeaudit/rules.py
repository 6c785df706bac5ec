"""The registry of rules: every id that a finding can bear, and its page."""

from __future__ import annotations

from typing import NamedTuple

from writeaudit.errors import UsageError
from writeaudit.judgement import Severity
from writeaudit.resources import rule_pages
from writeaudit.text import nearest


class Rule(NamedTuple):
    """One thing that writeaudit looks for. The ids are stable."""

    id: str
    title: str
    severity: Severity
    """What its findings have by default; a milder kind of the same rule may have less."""
    summary: str
    """One sentence."""


RULES: tuple[Rule, ...] = (
    Rule(
        "WA101",
        "hardlink fell back to a copy: different devices",
        Severity.WARNING,
        "Hard links were refused because source and target are on different devices; files were copied.",
    ),
    Rule(
        "WA102",
        "hardlink fell back to a copy: same device, different mounts",
        Severity.WARNING,
        "Hard links were refused between two mounts of one file system (bind mount, volume, sub-path).",
    ),
    Rule(
        "WA103",
        "hardlink refused: owner or permission",
        Severity.WARNING,
        "Hard links were refused because of who owns the file, who may read and write it, or its flags.",
    ),
    Rule(
        "WA104",
        "hardlink refused for another reason",
        Severity.WARNING,
        "Hard links were refused by the file system itself: too many links, no links at all, a project.",
    ),
    Rule(
        "WA105",
        "reflink refused",
        Severity.NOTE,
        "The file system refused reflinks; says what was done instead.",
    ),
    Rule(
        "WA201",
        "write in a read-only zone",
        Severity.ERROR,
        "Something was changed in a zone that the policy declares read-only.",
    ),
    Rule(
        "WA202",
        "write outside every zone",
        Severity.ERROR,
        "Something was changed in a place that the policy does not name.",
    ),
    Rule(
        "WA203",
        "write attempted in a forbidden place and refused by the system",
        Severity.WARNING,
        "The policy forbids the change, and the system refused it before it happened.",
    ),
    Rule(
        "WA204",
        "read of a zone that may not be read",
        Severity.ERROR,
        "Something was read in a zone with access none.",
    ),
    Rule(
        "WA205",
        "allowed write refused by the system",
        Severity.WARNING,
        "The policy allows the change, but the system refused it: permissions, a read-only mount, no room.",
    ),
    Rule(
        "WA301",
        "write reached a protected file through an alias",
        Severity.ERROR,
        "A file of a zone that may not change was changed under another name: a hard link, or another mount.",
    ),
    Rule(
        "WA901",
        "events lost",
        Severity.WARNING,
        "Events were lost, or the recording breaks off: changes may be missing from the report.",
    ),
    Rule(
        "WA902",
        "blind spot",
        Severity.WARNING,
        "Something ran that this backend cannot see in full.",
    ),
    Rule(
        "WA903",
        "path uncertain",
        Severity.WARNING,
        "The name of a changed file is known as text only, or in part.",
    ),
    Rule(
        "WA904",
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


def page(rule_id: str) -> str:
    """Return the rule's page (Markdown). Raises `UsageError` for an unknown id, `ResourceMissing`."""
    return (rule_pages() / f"{rule(rule_id).id}.md").read_text(encoding="utf-8")
