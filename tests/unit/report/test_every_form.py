"""Every form of one made-up report that has everything: as it was (tests/golden), and harmless.

``WRITEAUDIT_UPDATE_GOLDEN=1`` writes the golden files anew. The HTML page has tests of its own.
"""

from __future__ import annotations

import io
import json
import os
import re
import unicodedata
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from tests.support import report_samples as samples
from writeaudit.report import github, junit, markdown, sarif
from writeaudit.report.diff import render
from writeaudit.report.diff.comparison import compare
from writeaudit.report.json import writer
from writeaudit.report.terminal import write_summary
from writeaudit.report.view import Report

GOLDEN = Path(__file__).resolve().parents[2] / "golden"


def _terminal(report: Report) -> str:
    stream = io.StringIO()
    write_summary(report, stream, {"recording": "/home/ada/r.wa"}, verbose=True)
    return stream.getvalue()


def _diff_terminal(report: Report) -> str:
    stream = io.StringIO()
    render.write_terminal(compare(samples.report(), report), stream, verbose=True)
    return stream.getvalue()


FORMS: dict[str, Callable[[Report], str]] = {
    "everything.txt": _terminal,
    "everything.md": lambda report: "".join(markdown.render(report)),
    "everything.sarif": lambda report: "".join(sarif.render(report)),
    "everything.junit.xml": lambda report: "".join(junit.render(report)),
    "everything.github.txt": lambda report: "".join(github.render(report)),
    "everything.json": lambda report: "".join(writer.render(report)),
    "diff.txt": _diff_terminal,
    "diff.md": lambda report: "".join(render.as_markdown(compare(samples.report(), report))),
    "diff.json": lambda report: "".join(render.as_json(compare(samples.report(), report))),
}
_LINES = [name for name in FORMS if name.endswith((".txt", ".md"))]


@pytest.fixture(scope="module")
def texts() -> dict[str, str]:
    report = samples.everything()
    return {name: form(report) for name, form in FORMS.items()}


def _scrub(name: str, text: str) -> str:
    """Return a text without the list of all rules, which grows, and a line for each result."""
    if name.endswith(".sarif"):
        document = json.loads(text)
        driver = document["runs"][0]["tool"]["driver"]
        used = {result["ruleId"] for result in document["runs"][0]["results"]}
        driver["rules"] = [rule for rule in driver["rules"] if rule["id"] in used]
        for result in document["runs"][0]["results"]:
            del result["ruleIndex"]
        return json.dumps(document, indent=1, ensure_ascii=False) + "\n"
    if name.endswith(".xml"):
        text = re.sub(r"<testcase [^>]*><skipped [^>]*/></testcase>\n", "", text)
        return re.sub(r'(tests|skipped)="\d+"', r'\1="N"', text)
    return text


@pytest.mark.parametrize("name", FORMS)
def test_golden(name: str, texts: dict[str, str]) -> None:
    path = GOLDEN / name
    text = _scrub(name, texts[name])
    if os.environ.get("WRITEAUDIT_UPDATE_GOLDEN"):
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", FORMS)
def test_nothing_in_it_hides_or_moves_text(name: str, texts: dict[str, str]) -> None:
    found = {char for char in texts[name] if unicodedata.category(char) in {"Cc", "Cf", "Zl", "Zp", "Cs"}}
    assert found <= {"\n"}
    assert not set("\u00a0\u3164\u2800") & set(texts[name])


@pytest.mark.parametrize("name", _LINES)
def test_no_line_is_a_command_of_the_program(name: str, texts: dict[str, str]) -> None:
    for line in texts[name].splitlines():
        own = name == "everything.github.txt" and re.match(
            r"::(error|warning|notice) title=(writeaudit|WA)", line
        )
        assert own or not line.strip().startswith(("::", "##[", "##vso[")), line
        assert name.endswith(".txt") or not line.strip().startswith("/"), line
        if not own and name.endswith(".txt"):
            assert "##[" not in line
            assert "##vso[" not in line


def test_annotations_are_one_line_each(texts: dict[str, str]) -> None:
    lines = texts["everything.github.txt"].splitlines()
    assert len(lines) == 3
    for line in lines:
        assert re.fullmatch(r"::(error|warning) title=[^:,]*::[^\n]*", line)
        assert not re.search(r"%(?!25|0A|0D)", line.partition("::")[2].partition("::")[2])


@pytest.mark.parametrize("name", ["everything.md", "diff.md"])
def test_markdown_outside_code_means_nothing(name: str, texts: dict[str, str]) -> None:
    bare = re.sub(r"(?<!`)(`+)(?!`)(?:.+?)(?<!`)\1(?!`)", "CODE", texts[name])
    for line in bare.splitlines():
        assert not re.search(r"@\w", line), line
        assert not re.search(r"(?<![&\w])#\d", line), line
        assert not re.search(r"<(?!/?details>|/?summary>|!-- -->|/?br>)\w", line), line
        assert "octocat" not in line
        assert "://" not in line
    assert len(texts[name]) < markdown.LIMIT


def test_xml_and_json_parse(texts: dict[str, str]) -> None:
    suite = ET.fromstring(texts["everything.junit.xml"])
    cases = suite.findall(".//testcase")
    skipped = [case for case in cases if case.find("skipped") is not None]
    assert len(cases) - len(skipped) == 3, "what was found, and that the audit is incomplete"
    assert suite.find("testsuite[@errors='1'][@failures='1']") is not None
    for name in ("everything.json", "everything.sarif", "diff.json"):
        json.loads(texts[name])
