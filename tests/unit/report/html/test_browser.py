"""The HTML report in a real browser: its script runs, people can search, and hostile names stay text."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

import pytest

from tests.support import report_samples as samples
from tests.support.browser import Tab
from tests.unit.report.html.conftest import Show
from writeaudit.events import FsEvent, Op
from writeaudit.judgement import FileSummary, NetEffect, Verdict
from writeaudit.report.html import writer
from writeaudit.report.html.pack import ranked_files
from writeaudit.text import escape_path

_EVENTS = samples.install_events(3, 40)
_MANY = [
    *samples.install_events(3, 40),
    *samples.hostile_events(1000),
    samples.event(2000, Op.MKDIR, b"/srv/ReadMe"),
]
"""Paths in two zones and outside of them."""
_SETTLED = "new Promise((done) => setTimeout(() => setTimeout(done, 20), 120))"


def _page(events: Sequence[FsEvent] = _EVENTS) -> str:
    return "".join(writer.render(samples.report(events, findings=[samples.link_finding()])))


def _listed(events: Sequence[FsEvent] = _MANY) -> list[FileSummary]:
    """The paths in the order in which the page lists them at first."""
    return list(ranked_files(samples.report(events)))


def _named(files: Sequence[FileSummary]) -> list[str]:
    return [escape_path(file.path) for file in files]


def _do(tab: Tab, *steps: str) -> None:
    """Take steps in the page, one after another, as its reader would."""
    for step in steps:
        tab.evaluate(f"(() => {{ const $ = (id) => document.getElementById(id); {step} }})()")
        tab.evaluate(_SETTLED)


def _search(words: str) -> str:
    return f"$('q').value = {json.dumps(words)}; $('q').dispatchEvent(new Event('input', {{bubbles: true}}))"


def _choose(what: str, label: str) -> str:
    return (
        f"const list = $('f-{what}'); list.value = [...list.options]"
        f".find((option) => option.text.startsWith({json.dumps(label + ' (')})).value; "
        "list.dispatchEvent(new Event('change', {bubbles: true}))"
    )


def _press(within: str, label: str) -> str:
    return (
        f"[...document.querySelectorAll({json.dumps(within + ' button')})]"
        f".find((button) => button.textContent === {json.dumps(label)}).click()"
    )


_ALL = "$('all').click()"


def _drawn(tab: Tab) -> list[str]:
    """Return the paths whose rows are in the page."""
    found: list[str] = tab.evaluate(
        "[...document.querySelectorAll('#files tbody tr[data-at] button.open')].map((b) => b.textContent)"
    )
    return found


def _paths(tab: Tab) -> list[str]:
    """Return all paths of the list, by scrolling through it."""
    found: list[str] = tab.evaluate(
        """(async () => {
          const box = document.getElementById("list"), seen = new Map();
          for (let top = 0; ; top += 200) {
            box.scrollTop = top;
            await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
            for (const row of box.querySelectorAll("tr[data-at]")) {
              seen.set(Number(row.dataset.at), row.querySelector("button.open").textContent);
            }
            if (top > box.scrollHeight) break;
          }
          return [...seen.entries()].sort((a, b) => a[0] - b[0]).map((entry) => entry[1]);
        })()"""
    )
    return found


def _status(tab: Tab) -> str:
    return str(tab.evaluate("document.getElementById('found').textContent"))


def test_the_list_holds_every_path_and_draws_those_in_sight(show: Show) -> None:
    tab = show(_page(_MANY))
    _do(tab, _ALL)
    assert _paths(tab) == _named(_listed())
    assert 10 < len(_drawn(tab)) < 80
    assert tab.complaints() == []


def test_link_to_an_event_opens_its_path(show: Show) -> None:
    event = next(event for event in reversed(_EVENTS) if event.op is Op.LINK)
    tab = show(_page(), f"#event-{event.seq}")
    assert tab.evaluate("document.querySelector('#pane .full').textContent") == escape_path(event.path)
    assert tab.evaluate("document.querySelector('#pane tr.target td').textContent") == str(event.seq)


def test_link_to_a_path_opens_it(show: Show) -> None:
    path = "/home/ada/src/.venv/p1/f3.py"
    tab = show(_page(), f"#?path={path}")
    assert tab.evaluate("document.querySelector('#pane .full').textContent") == path
    assert path in _drawn(tab)


def test_without_scripts_the_verdict_the_findings_and_the_pictures_are_there(show: Show) -> None:
    still = re.sub(r"<script>.*?</script>", "", _page(), flags=re.DOTALL)
    tab = show(still, ready="document.readyState === 'complete'")
    text = tab.evaluate("document.body.innerText")
    assert "WA101" in text
    assert "720.0 KiB" not in text
    assert tab.evaluate("document.querySelectorAll('svg.picture rect, svg.picture path').length") > 4
    assert tab.evaluate("document.querySelectorAll('#files tbody tr').length") == 100


def test_search_shows_the_paths_that_hold_all_words(show: Show) -> None:
    tab = show(_page(_MANY))
    _do(tab, _search("  /P1/ F3  VENV"))
    expected = [path for path in _named(_listed()) if "/p1/" in path and "f3" in path and ".venv" in path]
    assert len(expected) == 11
    assert _paths(tab) == expected
    assert _status(tab) == f"11 of {len(_listed())} paths"


@pytest.mark.parametrize("words", ["<script>alert", "\\xe2\\x80\\xae", "{{ 7*7 }}", "rEADmE"])
def test_search_finds_names_as_they_are_shown(show: Show, words: str) -> None:
    tab = show(_page(_MANY))
    _do(tab, _search(words))
    wanted = words.lower().split()
    expected = [path for path in _named(_listed()) if all(word in path.lower() for word in wanted)]
    assert len(expected) == 1
    assert _paths(tab) == expected


@pytest.mark.parametrize(
    ("words", "test"),
    [
        ("-venv", lambda path: ".venv" not in path),
        ("under:/home/ada/src/.venv/p1", lambda path: path.startswith("/home/ada/src/.venv/p1/")),
        ("zone:cache p2", lambda path: path.startswith("/dev/shm/cache") and "p2" in path),
        ("errno:EXDEV", lambda path: path.endswith("/f0.py") and ".venv" in path),
        ("pid:100 op:mkdir", lambda path: path == "/srv/ReadMe"),
        ("pid:4711", lambda path: False),
        ("time:0-0.005 op:copy", lambda path: path == "/home/ada/src/.venv/p0/f0.py"),
    ],
)  # fmt: skip
def test_search_language(show: Show, words: str, test: object) -> None:
    tab = show(_page(_MANY))
    _do(tab, _ALL, _search(words))
    assert callable(test)
    assert _paths(tab) == [path for path in _named(_listed()) if test(path)]


def test_search_for_what_is_not_there_says_so_and_taken_back_shows_all(show: Show) -> None:
    tab = show(_page(_MANY))
    _do(tab, _ALL, _search("no.such.name"))
    assert _drawn(tab) == []
    assert _status(tab) == "No path matches."
    _do(tab, _search(""))
    assert _paths(tab) == _named(_listed())


@pytest.mark.parametrize(("label", "zone"), [("cache", "cache"), ("outside every zone", None)])
def test_filter_by_zone(show: Show, label: str, zone: str | None) -> None:
    tab = show(_page(_MANY))
    _do(tab, _ALL, _choose("zone", label))
    expected = [file for file in _listed() if file.zone == zone]
    assert 0 < len(expected) < len(_listed())
    assert _paths(tab) == _named(expected)
    assert _status(tab) == f"{len(expected)} of {len(_listed())} paths"


@pytest.mark.parametrize("verdict", [Verdict.VIOLATION, Verdict.ALLOWED])
def test_filter_by_verdict(show: Show, verdict: Verdict) -> None:
    tab = show(_page(_MANY))
    _do(tab, _choose("verdict", verdict))
    expected = [file for file in _listed() if file.verdict is verdict]
    assert 0 < len(expected) < len(_listed())
    assert _paths(tab) == _named(expected)


def test_counts_are_those_of_the_other_filters(show: Show) -> None:
    tab = show(_page(_MANY))
    _do(tab, _ALL, _choose("zone", "venv"))
    options = tab.evaluate(
        "[...document.querySelectorAll('#f-zone option, #f-verdict option, #f-op option')].map((o) => o.text)"
    )
    venv = [file for file in _listed() if file.zone == "venv"]
    outside = [file for file in _listed() if file.zone is None]
    assert f"venv ({len(venv)})" in options
    assert f"outside every zone ({len(outside)})" in options
    assert f"allowed ({len(venv)})" in options
    assert not any(option.startswith("violation") for option in options)
    assert "copy (120 events)" in options


def test_filters_and_search_narrow_together_and_reset_undoes_them(show: Show) -> None:
    tab = show(_page(_MANY))
    _do(tab, _choose("zone", "venv"), _choose("op", "link"), _search("p2"))
    expected = [file for file in _listed() if file.zone == "venv" and "link" in file.ops]
    assert len(expected) == 3
    assert _paths(tab) == [path for path in _named(expected) if "p2" in path]
    _do(tab, _press("#filters", "Reset"), _ALL)
    assert _paths(tab) == _named(_listed())


def test_link_of_a_zone_narrows_to_it(show: Show) -> None:
    tab = show(_page(_MANY))
    _do(tab, _search("no.such.name"), "document.querySelector('a[data-zone=\"cache\"]').click()")
    assert _paths(tab) == _named([file for file in _listed() if file.zone == "cache"])


def test_temporary_names_and_reads_are_left_out_at_first_and_that_is_said(show: Show) -> None:
    tab = show(_page(_MANY))
    bad = (Verdict.VIOLATION, Verdict.ATTEMPT)
    changed = [file for file in _listed() if file.net is not NetEffect.READ or file.verdict in bad]
    left_out = len(_listed()) - len(changed)
    assert _status(tab) == f"{len(changed)} of {len(_listed())} paths"
    more = tab.evaluate("document.getElementById('more-hidden').textContent")
    assert more == f"Show {left_out} more paths that were temporary or only read"
    _do(tab, "$('more-hidden').click()")
    assert _status(tab) == f"{len(_listed())} paths"


def test_events_have_a_list_of_their_own(show: Show) -> None:
    tab = show(_page(_MANY))
    _do(tab, "$('tab-events').click()", _search("errno:EXDEV p1"))
    assert _status(tab) == f"1 of {len(_MANY)} events"
    assert "EXDEV" in tab.evaluate("document.querySelector('#files tbody').textContent")


def test_tree_adds_directories_up_and_opens(show: Show) -> None:
    tab = show(_page(_MANY))
    _do(tab, _ALL, "$('tab-tree').click()")
    names = _drawn(tab)
    assert "srv/" in names
    assert names[:2] == ["/", "srv/"]  # the worst first
    cells = tab.evaluate(
        "[...document.querySelectorAll('#files tbody tr[data-at]')].map((row) =>"
        " [...row.children].map((cell) => cell.textContent))"
    )
    (shm,) = [row for row in cells if row[0].startswith("dev/shm")]
    assert shm[1] == "120"
    before = len(names)
    _do(tab, "[...document.querySelectorAll('button.twig[aria-expanded=\"false\"]')][0].click()")
    assert len(_drawn(tab)) > before


def test_filters_stand_in_the_address(show: Show) -> None:
    tab = show(_page(_MANY), "#?q=%2Fp1%2F+f3&all=1")
    expected = [path for path in _named(_listed()) if "/p1/" in path and "f3" in path]
    assert _paths(tab) == expected
    _do(tab, _search("zone:venv p2"), "$('tab-events').click()")
    there = tab.evaluate("location.href")
    shown = _drawn(tab)
    tab.open(there, ready="document.documentElement.dataset.ready")
    assert _drawn(tab) == shown


def test_columns_sort_both_ways_and_back(show: Show) -> None:
    paths = _named(sorted(_listed(), key=lambda file: file.path))
    tab = show(_page(_MANY))
    _do(tab, _ALL)
    for expected in (paths, paths[::-1], _named(_listed())):
        _do(tab, _press("#files", "Path"))
        assert _paths(tab) == expected


def test_keys(show: Show) -> None:
    tab = show(_page(_MANY))
    first, second = _drawn(tab)[:2]
    for key in ("j", "j"):
        tab.press(key)
    assert tab.evaluate("document.activeElement.textContent") == second
    tab.press("k")
    assert tab.evaluate("document.activeElement.textContent") == first
    tab.press("Enter")
    assert tab.evaluate("document.querySelector('#pane .full').textContent") == first
    tab.press("j")
    assert tab.evaluate("document.querySelector('#pane .full').textContent") == second
    tab.press("Escape")
    assert tab.evaluate("document.getElementById('pane').hidden")
    tab.press("?")
    assert not tab.evaluate("document.getElementById('keys').hidden")
    tab.press("/")
    assert tab.evaluate("document.activeElement.id") == "q"


def _box(tab: Tab, selector: str) -> tuple[float, float, float, float]:
    node = f"document.querySelector({json.dumps(selector)})"
    tab.evaluate(f"{node}.scrollIntoView({{block: 'center'}})")
    box = tab.evaluate(f"{node}.getBoundingClientRect().toJSON()")
    return box["x"], box["y"], box["width"], box["height"]


@pytest.mark.parametrize("width", [1440, 390])
def test_a_span_of_the_timeline_filters_by_time(show: Show, width: int) -> None:
    tab = show(_page())
    tab.resize(width, 900)
    x, y, wide, high = _box(tab, "svg.timeline.slim" if width < 500 else "svg.timeline.wide")
    tab.drag((x + wide * 0.2, y + high / 3), (x + wide * 0.25, y + high / 3))
    tab.evaluate(_SETTLED)
    shown = int(_status(tab).split(" of ")[0])
    assert 0 < shown < 120
    assert "time=" in tab.evaluate("location.hash")
    _do(tab, "document.querySelector('#chips button').click()")
    assert "time=" not in tab.evaluate("location.hash")


def test_a_click_in_the_treemap_filters_and_the_breadcrumb_leads_back(show: Show) -> None:
    tab = show(_page())
    tab.wait("document.querySelector('#crumbs button') !== null")
    clicked = "[...document.querySelectorAll('#treemap g')].find((g) => g.textContent.includes('.venv/p1/:'))"
    _do(tab, f"{clicked}.dispatchEvent(new MouseEvent('click', {{bubbles: true}}))")
    assert set(_paths(tab)) == {f"/home/ada/src/.venv/p1/f{number}.py" for number in range(40)}
    crumbs = tab.evaluate("document.getElementById('crumbs').textContent")
    assert crumbs.split(" \u203a ") == ["all", "/", "home/ada/src/.venv/", "p1/"]
    _do(tab, "document.querySelector('#crumbs button').click()")
    assert len(_paths(tab)) == 240


def test_process_leads_to_its_events(show: Show) -> None:
    tab = show(_page())
    _do(tab, "document.querySelector('a[data-group=\"0\"]').click()")
    assert tab.evaluate("document.getElementById('tab-events').getAttribute('aria-selected')") == "true"
    assert _status(tab) == f"{len(_EVENTS)} events"


def test_what_is_copied_is_quoted_for_a_shell(show: Show) -> None:
    tab = show(_page(_MANY), "#?q=red")
    tab.evaluate("navigator.clipboard.writeText = async (text) => { window.copied = text; }")
    _do(tab, "document.querySelector('#files tbody button.open').click()", _press("#pane", "copy path"))
    assert tab.evaluate("window.copied") == "$'/srv/\\x1b[31mred\\x1b[0m\\x0d\\x0a'"
    _do(tab, _press("#pane", "copy link"))
    assert "path=%2Fsrv%2F" in tab.evaluate("window.copied")


def test_printing_opens_what_is_folded(show: Show) -> None:
    tab = show(_page())
    closed = "document.querySelectorAll('details:not([open])').length"
    before = tab.evaluate(closed)
    assert before > 2
    tab.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert tab.evaluate(closed) == 0
    tab.evaluate("dispatchEvent(new Event('afterprint'))")
    assert tab.evaluate(closed) == before
