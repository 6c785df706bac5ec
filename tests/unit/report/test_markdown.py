"""The Markdown report: what a hostile program chose is shown, and does nothing."""

from __future__ import annotations

import re

import pytest

from tests.support import report_samples as samples
from writeaudit.judgement import Finding, Severity
from writeaudit.report.markdown import LIMIT, escape_cell, escape_code, escape_prose, render
from writeaudit.text import escape_path


def _text(**fields: object) -> str:
    return "".join(render(samples.report(**fields)))  # type: ignore[arg-type]


def test_first_lines_answer_the_four_questions() -> None:
    text = _text(findings=[samples.link_finding()])
    head = text.partition("<details>")[0]
    assert head.startswith("### ")
    assert "`$ uv sync --frozen`" in head
    for question in ("Where did it write?", "Was it allowed to?", "Linked or copied?", "Can I believe it?"):
        assert f"| **{question}** |" in head
    assert "6 copied (5.9 KiB copied, because links were refused)" in head
    assert "`UV_CACHE_DIR=/home/ada/.cache/uv`" in text
    assert "| `/dev/shm` (tmpfs, 0:25) | `/` (ext4, 254:1) | 2 times `EXDEV` | 6 files, 5.9 KiB |" in text


def test_incomplete_audit_never_says_yes() -> None:
    text = _text(completeness=samples.INCOMPLETE)
    assert text.startswith("### 🟠 Incomplete")
    assert "| **Can I believe it?** | no: 12 of 20 events were lost" in text
    assert "at least" in text


@pytest.mark.parametrize("name", samples.HOSTILE)
def test_code_spans_hold_what_they_are_given(name: bytes) -> None:
    shown = escape_path(name)
    span = escape_code(shown, 10_000)
    fence = re.match("`+", span)
    assert fence is not None
    inner = span[len(fence[0]) : -len(fence[0])]
    assert inner.strip(" ") == shown.strip(" ")
    assert fence[0] not in re.split(r"(?:^|[^`])`{1,}(?:$|[^`])", inner)
    assert len(fence[0]) not in {len(run) for run in re.findall("`+", inner)}


def test_no_name_breaks_a_table() -> None:
    names = [b"a|b", b"|", b"`|`", b"``` | x", b"\\|"]
    for name in names:
        cell = escape_cell(escape_path(name))
        assert not re.search(r"(?<!\\)(?:\\\\)*\|", cell.replace("\\\\", "")), cell


def test_rows_of_tables_have_equal_columns_whatever_the_names() -> None:
    text = _text(events=samples.hostile_events())
    columns = None
    for line in text.splitlines():
        if not line.startswith("|"):
            columns = None
            continue
        count = len(re.findall(r"(?<!\\)\|", line))
        assert columns in (None, count), line
        columns = count


def test_prose_mentions_nobody_and_begins_no_command() -> None:
    for text in (
        "@ada and @team/x",
        "/close",
        "::error title=x::y",
        "- item",
        "1. one",
        "# head",
        "<b>",
        "https://a.b",
    ):
        escaped = escape_prose(text)
        assert not re.search(r"@\w", escaped)
        assert not re.match(r"\s*(/|::|[-+*] |\d+\. |#|<b)", escaped)
        assert "://" not in escaped


def test_no_line_begins_with_what_a_program_chose() -> None:
    hostile = "`/close\n::error::x`"
    finding = Finding(
        "WA202", "t", Severity.ERROR, f"wrote /etc/x {escape_path(hostile.encode())}", 1, advice=("`a`",)
    )
    text = _text(events=samples.hostile_events(), findings=[finding])
    for line in text.splitlines():
        assert not re.match(r"\s*(/|::)", line), line


def test_it_stays_under_what_forges_take() -> None:
    findings = [
        Finding("WA202", "t" * 100, Severity.ERROR, "word " * 300, 1, advice=("word " * 100,))
        for _ in range(200)
    ]
    text = _text(findings=findings)
    assert len(text) < LIMIT
    assert "more in the HTML and JSON reports" in text or "Left out for length: the findings" in text


def test_long_names_keep_both_ends() -> None:
    assert escape_code("a" * 50 + "b" * 50, 20) == "`" + "a" * 13 + "…" + "b" * 6 + "`"
