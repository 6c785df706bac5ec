"""The table of differences is what the documentation says, and is used."""

from __future__ import annotations

import re
from pathlib import Path

from tests.conformance.differences import BACKENDS, TABLE, document

ROOT = Path(__file__).resolve().parent.parent.parent


def test_the_page_is_made_from_the_table() -> None:
    page = (ROOT / "docs" / "backends.md").read_text()
    assert page == document(), "python -m tests.conformance.differences > docs/backends.md"


def test_each_difference_is_of_some_backend_and_of_use_to_some_test() -> None:
    sources = [
        *(ROOT / "tests" / "workloads").glob("*.py"),
        *(ROOT / "tests" / "conformance").glob("test_*.py"),
    ]
    text = "".join(source.read_text() for source in sources if source.name != "test_differences.py")
    for entry in TABLE:
        assert entry.backends
        assert entry.backends <= set(BACKENDS)
        assert re.search(rf"[\"']{entry.name}[\"']", text), entry.name


def test_names_are_unique() -> None:
    names = [entry.name for entry in TABLE]
    assert len(names) == len(set(names))
