"""--fail-on: levels, rules, names, and what they make of findings."""

from __future__ import annotations

import pytest

from writeaudit.analysis.fail_on import FailOn, list_choices, parse_fail_on, select_failing
from writeaudit.errors import UsageError
from writeaudit.judgement import Finding, Severity


def finding(rule: str, severity: Severity) -> Finding:
    return Finding(rule=rule, title="", severity=severity, message="", count=1)


FINDINGS = (
    finding("WA201", Severity.ERROR),
    finding("WA201", Severity.WARNING),
    finding("WA101", Severity.WARNING),
    finding("WA203", Severity.WARNING),
    finding("WA105", Severity.NOTE),
    finding("WA901", Severity.WARNING),
)


def failed(*values: str) -> list[tuple[str, str]]:
    found = select_failing(FINDINGS, parse_fail_on(values))
    return [(each.rule, each.severity.value) for each in found]


@pytest.mark.parametrize(
    ("values", "rules"),
    [
        ((), ["WA201"]),
        (("error",), ["WA201"]),
        (("warning",), ["WA201", "WA201", "WA101", "WA203"]),
        (("note",), ["WA201", "WA201", "WA101", "WA203", "WA105"]),
        (("none",), []),
        (("never",), []),
        (("WA203",), ["WA201", "WA203"]),
        (("wa203",), ["WA201", "WA203"]),
        (("link-fallback",), ["WA201", "WA101"]),
        (("none", "link-fallback"), ["WA101"]),
        (("none,WA105",), ["WA105"]),
        (("WA201",), ["WA201", "WA201"]),
        (("error", "note"), ["WA201", "WA201", "WA101", "WA203", "WA105"]),
        (("incomplete",), ["WA201", "WA901"]),
    ],
)
def test_which_findings_fail(values: tuple[str, ...], rules: list[str]) -> None:
    assert [rule for rule, _ in failed(*values)] == rules


def test_the_default_is_error() -> None:
    assert parse_fail_on(()) == FailOn(Severity.ERROR, frozenset())


@pytest.mark.parametrize(
    ("value", "guess"),
    [("WA999", "WA9"), ("warnings", "warning"), ("link-fallbak", "link-fallback"), ("", "")],
)
def test_an_unknown_value_is_a_usage_error_with_the_list(value: str, guess: str) -> None:
    with pytest.raises(UsageError) as raised:
        parse_fail_on([value])
    assert raised.value.status == 2
    assert repr(value) in raised.value.message
    assert raised.value.hint is not None
    assert guess in raised.value.hint
    assert all(choice in raised.value.hint for choice in list_choices())


def test_none_and_a_level_contradict_each_other() -> None:
    with pytest.raises(UsageError, match="contradict"):
        parse_fail_on(["none", "warning"])
