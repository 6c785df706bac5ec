"""The page that shows how to review an image shows what the program says."""

from __future__ import annotations

from tests.support import review_example


def test_the_page_shows_what_the_program_says() -> None:
    assert review_example.shown() == review_example.transcript(), (
        "write it anew: .venv/bin/python -m tests.support.review_example"
    )
