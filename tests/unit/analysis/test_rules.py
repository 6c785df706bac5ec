"""The registry, its pages, and explain."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from writeaudit import analysis, image
from writeaudit.commands.explain import command as explain
from writeaudit.errors import UsageError
from writeaudit.judgement import Severity
from writeaudit.resources import rule_pages
from writeaudit.rules import RULES, RuleGroup, group_aliases, read_page, rule, rules_of

IDS = [each.id for each in RULES]


def test_ids_are_unique_and_in_order() -> None:
    assert sorted(set(IDS)) == IDS


@pytest.mark.parametrize("rule_id", IDS)
def test_each_rule_has_a_page_that_agrees_with_it(rule_id: str) -> None:
    text, registered = read_page(rule_id), rule(rule_id)
    assert text.startswith(f"# {rule_id}: {registered.title}\n\nSeverity: {registered.severity.value}")
    headings = re.findall(r"^## (.*)$", text, re.MULTILINE)
    assert headings == ["What it means", "Cause", "Example", "Remedy"]


def test_there_is_no_page_without_a_rule_and_the_index_lists_all() -> None:
    pages = {path.stem for path in rule_pages().glob("WA*.md")}
    assert pages == set(IDS)
    index = (rule_pages() / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| \[(WA\d+)\]\(\1\.md\) \| (\w+) \| (.*) \|$", index, re.MULTILINE)
    assert rows == [(each.id, each.severity.value, each.title) for each in RULES]


def test_links_between_pages_lead_somewhere() -> None:
    for path in rule_pages().glob("*.md"):
        for target in re.findall(r"\]\(([^)#]+)\)", path.read_text(encoding="utf-8")):
            assert (path.parent / target).exists(), (path.name, target)


def test_each_registered_rule_is_implemented() -> None:
    """Ids that the collectors and the review of images name, in their sources, are those of the registry."""
    named: set[str] = set()
    sources = [path for each in (analysis, image) for path in Path(str(each.__file__)).parent.rglob("*.py")]
    for path in sources:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found = re.match(r"(WA\d{3})(?: \w+)?\Z", node.value)
                if found:
                    named.add(found[1])
    assert named == set(IDS)


def test_an_unknown_rule_is_told_the_nearest_one() -> None:
    with pytest.raises(UsageError) as raised:
        rule("WA9O1")
    assert raised.value.hint is not None
    assert "Did you mean WA901?" in raised.value.hint
    assert "WA904" in raised.value.hint


def test_explain_prints_the_page_plainly_on_a_pipe() -> None:
    result = CliRunner().invoke(explain, ["wa102"])
    assert result.exit_code == 0
    assert result.output == read_page("WA102")


def test_explain_without_a_rule_lists_all() -> None:
    result = CliRunner().invoke(explain, [])
    assert result.exit_code == 0
    lines = [line.split("\t") for line in result.output.splitlines()]
    assert lines == [[each.id, each.severity.value, each.title] for each in RULES]


def test_explain_of_an_unknown_rule_fails() -> None:
    result = CliRunner().invoke(explain, ["WA000"])
    assert isinstance(result.exception, UsageError)


def test_defaults_are_those_of_the_exit_statuses() -> None:
    """Only what the policy forbids fails a run by default; completeness has a status of its own."""
    errors = {
        each.id for each in RULES if each.severity is Severity.ERROR and each.group is not RuleGroup.IMAGE
    }
    assert errors == {"WA201", "WA202", "WA204", "WA301"}


def test_a_rule_belongs_to_a_group_and_the_index_lists_their_names() -> None:
    """What `--fail-on` calls several rules follows from their groups alone."""
    index = (rule_pages() / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([a-z-]+)` \| (WA.*) \|$", index, re.MULTILINE)
    assert {name: tuple(rules.split(", ")) for name, rules in rows} == group_aliases()
    assert all(group.alias for group in RuleGroup)
    assert set().union(*(rules_of(group) for group in RuleGroup)) == set(IDS)


def test_only_rules_on_completeness_begin_with_wa9() -> None:
    assert rules_of(RuleGroup.COMPLETENESS) == {each for each in IDS if each.startswith("WA9")}
