"""The output that README and docs show is what the program can print.

Two words in a row in an example stand in a row in a text of the program as well, or meet where two texts do.
Figures, paths and names are values.
"""

from __future__ import annotations

import ast
import itertools
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import writeaudit
from tests.support.analysis_streams import Stream, analyzed
from writeaudit.audit import BlindSpot, Completeness
from writeaudit.rules import RULES, read_page, rule

ROOT = Path(__file__).resolve().parents[2]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
_VALUE = "\0"
_STAND_INS = frozenset({"bob", "gradle", "tmpfs", "ext"})
"""Words in the examples that a run would fill in."""


def _texts() -> Iterator[str]:
    """Yield every text in the program, with a mark for each value that is filled in."""
    for path in Path(writeaudit.__file__).parent.rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        parts = {
            id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.JoinedStr):
                yield "".join(
                    str(part.value) if isinstance(part, ast.Constant) else f" {_VALUE} "
                    for part in node.values
                )
            elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in parts:
                yield node.value


def _words(text: str) -> list[str]:
    """Return the words of a text in lower case; figures, paths and whatever is no plain word as marks."""
    words = [piece.strip(".,;:()!?→") for piece in re.sub(r"`[^`]*`", f" {_VALUE} ", text).split()]
    return [word.lower() if re.fullmatch(r"[A-Za-z][a-z'-]*", word) else _VALUE for word in words if word]


PAIRS: set[tuple[str, str]] = set()
FIRST: set[str] = set()
LAST: set[str] = set()
for _text in _texts():
    _line = [_VALUE, *_words(re.sub(r"\{\w*\}", _VALUE, _text)), _VALUE]
    PAIRS.update(itertools.pairwise(_line))
    FIRST.update(word for before, word in itertools.pairwise(_line) if before == _VALUE)
    LAST.update(word for word, after in itertools.pairwise(_line) if after == _VALUE)


def _examples(text: str) -> Iterator[str]:
    """Yield the findings in a page's examples, each joined to one line."""
    for block in re.findall(r"(?:^ {4}.*\n)+", text, re.MULTILINE):
        lines = [line.strip() for line in block.splitlines()]
        starts = [at for at, line in enumerate(lines) if re.match(r"(error|warning|note):? WA\d{3} ", line)]
        for start in starts:
            yield " ".join(lines[start:])
    for block in re.findall(r"^```text\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        for paragraph in block.split("\n\n"):
            if "writeaudit: " in paragraph or re.match(r"(error|warning|note) WA", paragraph):
                yield from (
                    part
                    for part in re.split(r"^\s+→|\n(?=\S)|^\$.*\n", paragraph, flags=re.MULTILINE)
                    if part
                )


def _singular(word: str) -> str:
    return word.removesuffix("s")


def _follows(one: str, other: str) -> bool:
    for first in {one, _singular(one)}:
        for second in {other, _singular(other)}:
            if (first, second) in PAIRS or (first in LAST and second in FIRST):
                return True
    return False


def _strange(example: str) -> list[str]:
    words = [_VALUE if word in _STAND_INS else word for word in _words(example)]
    return [
        f"{one} {other}"
        for one, other in itertools.pairwise(words)
        if _VALUE not in (one, other) and not _follows(one, other)
    ]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_examples_are_made_of_what_the_program_prints(path: Path) -> None:
    for example in _examples(path.read_text(encoding="utf-8")):
        assert not _strange(example), example


def test_every_rule_page_has_an_example_that_is_looked_at() -> None:
    for each in RULES:
        found = [example for example in _examples(read_page(each.id)) if f" {each.id} " in example]
        assert found, each.id


@pytest.mark.parametrize(
    "sentence",
    [
        "warning: WA902 2 io_uring instances were set up; what was done through them was not seen.",
        "error: WA201 31 files were altered in zone cache.",
    ],
)
def test_a_sentence_that_the_program_does_not_have_is_noticed(sentence: str) -> None:
    assert _strange(sentence)


def _finding(completeness: Completeness) -> str:
    [found] = analyzed(Stream(), completeness=completeness)
    return f"{rule(found.rule).severity.value}: {found.rule} {found.message}"


@pytest.mark.parametrize(
    ("rule_id", "completeness"),
    [
        (
            "WA901",
            Completeness(
                lost_events=28_776,
                emitted={"event": 32_744},
                lost={"event": 27_684, "total": 673, "exit": 419},
            ),
        ),
        (
            "WA902",
            Completeness(
                blind_spots=(
                    BlindSpot(
                        "io_uring",
                        "a process set up io_uring: what it does through it makes no system call, and strace "
                        "sees none of it; the ebpf backend does",
                        1,
                    ),
                )
            ),
        ),
    ],
)
def test_examples_on_completeness_are_exact(rule_id: str, completeness: Completeness) -> None:
    assert _finding(completeness) in list(_examples(read_page(rule_id)))
