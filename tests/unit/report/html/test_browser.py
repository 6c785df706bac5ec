"""The HTML report in a real browser: its script runs, people can search, and hostile names stay text."""

from __future__ import annotations

import base64
import hashlib
import html as escapes
import json
import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.support import report_samples as samples
from writeaudit.events import FsEvent, Op
from writeaudit.judgement import FileSummary, NetEffect, Verdict
from writeaudit.report.html import writer
from writeaudit.report.html.pack import ranked_files
from writeaudit.text import escape_path

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
    return "".join(writer.render(samples.report(events, findings=[samples.link_finding()])))


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
    paths = {escape_path(event.path) for event in _EVENTS}
    assert len(rows) >= 50
    assert all(any(path in _text(row) for path in paths) for row in rows)


def test_link_to_an_event_opens_its_path(dom: Dom) -> None:
    event = next(event for event in reversed(_EVENTS) if event.op is Op.LINK)
    assert 'aria-expanded="true"' not in "".join(_rows(dom(_page())))
    opened = [row for row in _rows(dom(_page(), f"#event-{event.seq}")) if 'aria-expanded="true"' in row]
    assert len(opened) == 1
    assert escape_path(event.path) in _text(opened[0])


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


# -- what people do on the page ---------------------------------------------------------------

_MANY = [
    *samples.install_events(3, 40),
    *samples.hostile_events(1000),
    samples.event(2000, Op.MKDIR, b"/srv/ReadMe"),
]
"""Paths in two zones and outside of them, on three pages."""


def _listed(events: Sequence[FsEvent] = _MANY) -> list[FileSummary]:
    """The paths in the order in which the page lists them at first."""
    return list(ranked_files(samples.report(events)))


def _named(files: Sequence[FileSummary]) -> list[str]:
    return [escape_path(file.path) for file in files]


def _acting(page: str, *steps: str, admitted: bool = True, everything: bool = True) -> str:
    """Return the page with a script that takes these steps, one after another, as its reader would.

    The page's policy admits that script by its hash, if ``admitted``.
    """
    script = "".join(f"{step}; await new Promise((done) => setTimeout(done, 250));" for step in steps)
    # The list is there once it is unpacked; then everything is shown, temporary names and reads too.
    ready = "while ($('filters').hidden) await new Promise((done) => setTimeout(done, 20)); "
    ready += "if (everything) { $('all').click(); }"
    begin = f"const everything = {json.dumps(everything)}, $ = (id) => document.getElementById(id); "
    script = f"(async () => {{ {begin}{ready if admitted else ''} {script} }})();"
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    if admitted:
        assert page.count("script-src ") == 1
        page = page.replace("script-src ", f"script-src 'sha256-{digest}' ")
    assert page.count("</body>") == 1
    return page.replace("</body>", f"<script>{script}</script></body>")


def _search(words: str) -> str:
    text = json.dumps(words).replace("<", "\\u003c")
    return f"$('q').value = {text}; $('q').dispatchEvent(new Event('input', {{bubbles: true}}))"


def _choose(what: str, label: str) -> str:
    return (
        f"{{ const list = $('f-{what}'); "
        f"const label = {json.dumps(label + ' (')}; "
        "list.value = [...list.options].find((option) => option.text.startsWith(label)).value; "
        "list.dispatchEvent(new Event('change', {bubbles: true})); }"
    )


def _press(within: str, label: str) -> str:
    return (
        f"[...document.querySelectorAll({json.dumps(within + ' button')})]"
        f".find((button) => button.textContent === {json.dumps(label)}).click()"
    )


def _paths(found: str) -> list[str]:
    """Return the paths that the table shows."""
    buttons = [re.search(r"<button\b.*?</button>", row, re.DOTALL) for row in _rows(found)]
    return [_text(button[0]) for button in buttons if button is not None]


def _status(found: str) -> str:
    line = re.search(r'<p id="found"[^>]*>(.*?)</p>', found, re.DOTALL)
    assert line is not None
    return _text(line[1])


def test_only_admitted_scripts_run(dom: Dom) -> None:
    mark = "document.body.dataset.ran = 'yes'"
    assert 'data-ran="yes"' in dom(_acting(_page(), mark))
    assert 'data-ran="yes"' not in dom(_acting(_page(), mark, admitted=False))


def test_search_shows_the_paths_that_hold_all_words(dom: Dom) -> None:
    found = dom(_acting(_page(_MANY), _search("  /P1/ F3  VENV")))
    expected = [path for path in _named(_listed()) if "/p1/" in path and "f3" in path and ".venv" in path]
    assert len(expected) == 11
    assert _paths(found) == expected
    assert _status(found) == f"11 of {len(_listed())} paths"


@pytest.mark.parametrize("words", ["<script>alert", "\\xe2\\x80\\xae", "{{ 7*7 }}", "rEADmE"])
def test_search_finds_names_as_they_are_shown(dom: Dom, words: str) -> None:
    found = dom(_acting(_page(_MANY), _search(words)))
    wanted = words.lower().split()
    expected = [path for path in _named(_listed()) if all(word in path.lower() for word in wanted)]
    assert len(expected) == 1
    assert _paths(found) == expected


def test_search_for_what_is_not_there_says_so(dom: Dom) -> None:
    found = dom(_acting(_page(_MANY), _search("no.such.name")))
    assert _rows(found) == []
    assert _status(found) == "No path matches."


def test_search_taken_back_shows_all(dom: Dom) -> None:
    found = dom(_acting(_page(_MANY), _search("no.such.name"), _search("")))
    assert _paths(found) == _named(_listed())[:100]


@pytest.mark.parametrize(("label", "zone"), [("cache", "cache"), ("outside every zone", None)])
def test_filter_by_zone(dom: Dom, label: str, zone: str | None) -> None:
    found = dom(_acting(_page(_MANY), _choose("zone", label)))
    expected = [file for file in _listed() if file.zone == zone]
    assert 0 < len(expected) < len(_listed())
    assert _paths(found) == _named(expected)[:100]
    assert _status(found).startswith(f"{len(expected)} of {len(_listed())} paths")


@pytest.mark.parametrize("verdict", [Verdict.VIOLATION, Verdict.ALLOWED])
def test_filter_by_verdict(dom: Dom, verdict: Verdict) -> None:
    found = dom(_acting(_page(_MANY), _choose("verdict", verdict)))
    expected = [file for file in _listed() if file.verdict is verdict]
    assert 0 < len(expected) < len(_listed())
    assert _paths(found) == _named(expected)[:100]
    assert all(f'class="v {verdict}"' in row for row in _rows(found))


def test_filters_and_search_narrow_together_and_reset_undoes_them(dom: Dom) -> None:
    steps = [_choose("zone", "venv"), _choose("op", "link"), _search("p2")]
    expected = [file for file in _listed() if file.zone == "venv" and "link" in file.ops]
    narrowed = dom(_acting(_page(_MANY), *steps))
    assert len(expected) == 3
    assert _paths(narrowed) == [path for path in _named(expected) if "p2" in path]
    assert _paths(dom(_acting(_page(_MANY), *steps, _press("#filters", "Reset")))) == _named(_listed())[:100]


def test_link_of_a_zone_narrows_to_it(dom: Dom) -> None:
    click = "document.querySelector('a[data-zone=\"cache\"]').click()"
    found = dom(_acting(_page(_MANY), _search("no.such.name"), click))
    assert _paths(found) == _named([file for file in _listed() if file.zone == "cache"])[:100]


@pytest.mark.parametrize(
    ("presses", "page"),
    [((), 1), (("Next",), 2), (("Last",), 3), (("Last", "Previous"), 2), (("Last", "First"), 1)],
    ids=lambda value: "-".join(value) or "none" if isinstance(value, tuple) else str(value),
)  # fmt: skip
def test_pages_follow_one_another(dom: Dom, presses: tuple[str, ...], page: int) -> None:
    found = dom(_acting(_page(_MANY), *(_press("#pager", label) for label in presses)))
    paths, first = _named(_listed()), (page - 1) * 100
    assert 200 < len(paths) < 300
    assert _paths(found) == paths[first : first + 100]
    shown = f"{first + 1} to {min(first + 100, len(paths))} shown"
    assert _status(found) == f"{len(paths)} paths, {shown}"
    assert f"Page {page} of 3" in found
    disabled = re.findall(r'<button type="button" disabled="">(\w+)</button>', found)
    assert disabled == {1: ["First", "Previous"], 2: [], 3: ["Next", "Last"]}[page]


def test_search_goes_back_to_the_first_page(dom: Dom) -> None:
    found = dom(_acting(_page(_MANY), _press("#pager", "Last"), _search("venv")))
    expected = [path for path in _named(_listed()) if ".venv" in path]
    assert len(expected) > 100
    assert _paths(found) == expected[:100]


def test_one_page_has_no_pager(dom: Dom) -> None:
    pager = re.compile(r'<nav id="pager"[^>]*>')
    for events, hidden in ((_MANY, False), (samples.install_events(1, 3), True)):
        tag = pager.search(dom(_page(events)))
        assert tag is not None
        assert ("hidden" in tag[0]) is hidden


def test_temporary_names_and_reads_are_left_out_at_first_and_that_is_said(dom: Dom) -> None:
    found = dom(_acting(_page(_MANY), everything=False))
    bad = (Verdict.VIOLATION, Verdict.ATTEMPT)
    changed = [file for file in _listed() if file.net is not NetEffect.READ or file.verdict in bad]
    assert _paths(found) == _named(changed)[:100]
    left_out = len(_listed()) - len(changed)
    assert f"Show {left_out} more paths that were temporary or only read" in found
    assert _status(found).startswith(f"{len(changed)} of {len(_listed())} paths")
    shown = dom(_acting(_page(_MANY), "$('more-hidden').click()", everything=False))
    assert _status(shown).startswith(f"{len(_listed())} paths")


def test_events_have_a_list_of_their_own(dom: Dom) -> None:
    found = dom(_acting(_page(_MANY), "$('tab-events').click()", _search("errno:EXDEV p1")))
    assert _status(found) == f"1 of {len(_MANY)} events"
    table = re.search(r'<table[^>]*id="events-list".*?</table>', found, re.DOTALL)
    assert table is not None
    assert "EXDEV" in _text(table[0])


def test_filters_stand_in_the_address(dom: Dom) -> None:
    found = dom(_page(_MANY), "#?q=%2Fp1%2F+f3&all=1")
    expected = [path for path in _named(_listed()) if "/p1/" in path and "f3" in path]
    assert _paths(found) == expected


def test_columns_sort_both_ways_and_back(dom: Dom) -> None:
    paths = _named(sorted(_listed(), key=lambda file: file.path))
    for presses, expected in ((1, paths), (2, paths[::-1]), (3, _named(_listed()))):
        found = dom(_acting(_page(_MANY), *[_press("#files", "Path")] * presses))
        assert _paths(found) == expected[:100]
