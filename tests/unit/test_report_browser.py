"""The HTML report in a real browser: its script runs, and hostile names stay text."""

from __future__ import annotations

import html as escapes
import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.unit import report_samples as samples
from writeaudit.events import FsEvent, Op
from writeaudit.report import html
from writeaudit.text import show

_BROWSERS = ("chromium", "chromium-browser", "google-chrome")

Dom = Callable[..., str]


@pytest.fixture
def dom(tmp_path: Path) -> Dom:
    """Return the page as a browser holds it in the end."""
    browser = next(filter(None, map(shutil.which, _BROWSERS)), None)
    if browser is None:
        pytest.skip(f"no browser: none of {', '.join(_BROWSERS)} is installed")

    def load(page: str, fragment: str = "") -> str:
        path = tmp_path / "report.html"
        path.write_text(page, encoding="utf-8")
        words = [
            browser,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            f"--user-data-dir={tmp_path}/profile",
        ]
        words += ["--virtual-time-budget=4000", "--dump-dom", f"{path.as_uri()}{fragment}"]
        done = subprocess.run(words, capture_output=True, text=True, timeout=90, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return load


_EVENTS = samples.install_events(3, 40)


def _page(events: Sequence[FsEvent] = _EVENTS) -> str:
    return "".join(html.render(samples.report(events, findings=[samples.link_finding()])))


def _text(found: str) -> str:
    return escapes.unescape(re.sub(r"<[^>]*>", "", found))


def _rows(found: str) -> list[str]:
    table = re.search(r'<table[^>]*id="files".*?</table>', found, re.DOTALL)
    assert table is not None
    body = re.search(r"<tbody.*?</tbody>", table[0], re.DOTALL)
    assert body is not None
    return re.findall(r"<tr\b.*?</tr>", body[0], re.DOTALL)


def test_script_fills_the_table_of_paths(dom: Dom) -> None:
    rows = _rows(dom(_page()))
    paths = {show(event.path) for event in _EVENTS}
    assert len(rows) >= 50
    assert all(any(path in _text(row) for path in paths) for row in rows)


def test_link_to_an_event_opens_its_path(dom: Dom) -> None:
    event = next(event for event in reversed(_EVENTS) if event.op is Op.LINK)
    assert 'aria-expanded="true"' not in "".join(_rows(dom(_page())))
    opened = [row for row in _rows(dom(_page(), f"#event-{event.seq}")) if 'aria-expanded="true"' in row]
    assert len(opened) == 1
    assert show(event.path) in _text(opened[0])


def test_names_that_would_be_markup_stay_text(dom: Dom) -> None:
    rows = "".join(_rows(dom(_page(samples.hostile_events()))))
    assert "<img" not in rows
    assert "<script" not in rows
    assert "<script>alert(1)</script>" in _text(rows)
    assert "\\xe2\\x80\\xaegnp.exe" in _text(rows)


def test_without_scripts_the_verdict_and_the_findings_are_there(dom: Dom) -> None:
    page = _page()
    still = re.sub(r"<script>.*?</script>", "", page, flags=re.DOTALL)
    assert still != page
    found = _text(dom(still))
    assert "WA101" in found
    assert "JavaScript" in _text("".join(re.findall(r"<noscript>.*?</noscript>", page, re.DOTALL)))
