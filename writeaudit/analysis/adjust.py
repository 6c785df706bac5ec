"""What a policy says of findings: the severity of a rule, and exceptions to it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from writeaudit.judgement import Finding, Policy, Severity
from writeaudit.rules import rule
from writeaudit.text import unescape_path

_ABOUT_ZONES = frozenset({"WA201", "WA202", "WA203", "WA204"})
"""Rules whose exceptions the verdicts hold already."""


def adjust_findings(
    findings: Iterable[Finding], policy: Policy, covers: Callable[[tuple[bytes, ...], bytes], bool]
) -> list[Finding]:
    """Return the findings as the policy wants them: with its severities, and without what it excepts.

    ``covers``: whether one of some patterns covers a path. The milder kind of a rule is never made graver
    than the policy's word, and a graver one than its usual severity keeps its distance.
    """
    wanted = dict(policy.severities)
    kept: list[Finding] = []
    for finding in findings:
        if _is_excepted(finding, policy, covers):
            continue
        word = wanted.get(finding.rule)
        if word == "off":
            continue
        if word is None:
            kept.append(finding)
            continue
        severity = Severity(word)
        usual = rule(finding.rule).severity
        if finding.severity is not usual and severity.rank > finding.severity.rank:
            severity = finding.severity
        kept.append(replace(finding, severity=severity))
    return kept


def _is_excepted(
    finding: Finding, policy: Policy, covers: Callable[[tuple[bytes, ...], bytes], bool]
) -> bool:
    """Whether all that a finding is about is excepted; where not all of it is named, nobody can say so."""
    if finding.rule in _ABOUT_ZONES or not policy.exemptions:
        return False
    examples = finding.details.get("examples")
    if not isinstance(examples, list) or not examples or finding.files > len(examples):
        return False
    paths = [unescape_path(str(each["path"] if isinstance(each, dict) else each)) for each in examples]
    return all(
        any(finding.rule in each.rules and covers(each.patterns, path) for each in policy.exemptions)
        for path in paths
    )
