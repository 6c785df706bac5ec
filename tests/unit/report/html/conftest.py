"""One browser for all tests of the page."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.browser import CHROMIUM, Tab, chromium, find_browser

READY = "document.documentElement.dataset.ready"

Show = Callable[..., Tab]


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    program = find_browser()
    if program is None:
        pytest.skip(f"no browser: none of {', '.join(CHROMIUM)} is installed")
    with chromium(program, tmp_path_factory.mktemp("browser") / "profile") as opened:
        yield opened


@pytest.fixture
def show(tab: Tab, tmp_path: Path) -> Show:
    """Return a function that shows a page as its reader sees it once the list is there."""
    tab.resize(1440, 900)
    tab.emulate(prefers_color_scheme="light", prefers_reduced_motion="reduce")

    def load(page: str, fragment: str = "", ready: str = READY) -> Tab:
        path = tmp_path / "report.html"
        path.write_text(page, encoding="utf-8")
        tab.open(f"{path.as_uri()}{fragment}", ready=ready)
        return tab

    return load
