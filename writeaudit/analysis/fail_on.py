"""``--fail-on``: which findings turn success into status 100.

A value is a level (``error``, ``warning``, ``note``, ``none``), a rule id, a group of rules
(``WA1xx``), or a name for several rules. The lowest level given holds, ``error`` if
none is given; rules are added to it. ``none`` takes the level away and leaves the rules. The
rules on completeness (WA9xx) have a status of their own, 101, so a level never counts them; their ids do.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from writeaudit.errors import UsageError
from writeaudit.judgement import Finding, Severity
from writeaudit.rules import RULES, RuleGroup, group_aliases, number_groups, rules_named, rules_of
from writeaudit.text import nearest

ALIASES = group_aliases()
"""Names for several rules."""

_NEVER = frozenset({"none", "never"})
_COMPLETENESS = rules_of(RuleGroup.COMPLETENESS)


class FailOn(NamedTuple):
    """What fails a run."""

    level: Severity | None = Severity.ERROR
    """Findings of this severity or worse; None for no level at all."""
    rules: frozenset[str] = frozenset()
    """Findings of these rules, whatever their severity."""

    def fails_run(self, finding: Finding) -> bool:
        """Whether this finding alone fails the run."""
        if finding.rule in self.rules:
            return True
        if self.level is None or finding.rule in _COMPLETENESS:
            return False
        return finding.severity.rank >= self.level.rank


def list_choices() -> tuple[str, ...]:
    """Return every value that `parse_fail_on` knows."""
    levels = (*(severity.value for severity in Severity), "none")
    return (*levels, *ALIASES, *number_groups(), *(rule.id for rule in RULES))


def parse_fail_on(values: Iterable[str]) -> FailOn:
    """Return what the option's values say together; commas separate values too.

    Raises `UsageError`, with the list of all choices, for an unknown one.
    """
    levels: list[Severity] = []
    rules: set[str] = set()
    never = False
    for value in (part.strip() for each in values for part in each.split(",")):
        lower = value.lower()
        if lower in _NEVER:
            never = True
        elif named := rules_named(value):
            rules.update(named)
        elif lower in set(Severity):
            levels.append(Severity(lower))
        else:
            near = nearest(lower, [each.lower() for each in list_choices()])
            guess = f"Did you mean {_find_spelling(near)}? " if near else ""
            raise UsageError(
                f"--fail-on does not know {value!r}.", hint=f"{guess}Choices: {', '.join(list_choices())}"
            )
    if never and levels:
        raise UsageError(
            f"--fail-on none and --fail-on {levels[0].value} contradict each other.", hint="Give one of them."
        )
    level = min(levels, key=lambda each: each.rank) if levels else Severity.ERROR
    return FailOn(level=None if never else level, rules=frozenset(rules))


def select_failing(findings: Sequence[Finding], fail_on: FailOn) -> list[Finding]:
    """Return the findings that fail the run, in their order."""
    return [finding for finding in findings if fail_on.fails_run(finding)]


def _find_spelling(lower: str) -> str:
    return next(each for each in list_choices() if each.lower() == lower)
