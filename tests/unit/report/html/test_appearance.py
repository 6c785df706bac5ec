"""How the page looks and behaves for everybody: widths, themes, assistive technology, hostile names, Firefox."""
# ruff: noqa: E501 - script within Python, and names

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from tests.support import report_samples as samples
from tests.support.browser import FIREFOX, Firefox, Tab, find_browser
from tests.unit.report.html.conftest import READY, Show
from writeaudit import resources
from writeaudit.audit import Binary, BlindSpot, Process
from writeaudit.events import Op
from writeaudit.judgement import Finding, Severity, Zone, ZoneAccess
from writeaudit.report.html import writer
from writeaudit.report.view import Report
from writeaudit.text import escape_path

AXE = Path("build/axe.min.js")
HOSTILE = (
    b"new\nline", b"\x1b]0;title\x07\x1b[31m", b"<script>document.title='ran'</script>", b"]]>", b"</title></svg>",
    b"\"'`${document.title='ran'}", b"' onmouseover='document.title=1", "\u202egnp.exe".encode(), b"\xed\xa0\x80\xed\xbf\xbf",
    b"::error::title=x", b"&lt;b&gt;", b" ", b"a  b ", "\u3164\u2800\ufe0f".encode(), b"javascript:alert(1)", b"{{ 7*7 }}",
    b"/".join([b"d" * 255] * 16),
)  # fmt: skip
"""Names that would run, break out of where they stand, or move their neighbours."""


def _hostile() -> Report:
    """A report in which everything that a program, a policy or a recording chooses is hostile."""
    events = [
        samples.event(
            number + 1, op, b"/srv/" + name, source=b"/tmp/" + name, created=True, result=result, bytes=10
        )
        for number, (name, op, result) in enumerate(
            (name, op, result) for name in HOSTILE for op, result in ((Op.LINK, "EXDEV"), (Op.MKDIR, "ok"))
        )
    ]
    every = [escape_path(name) for name in HOSTILE]
    findings = [
        Finding(
            "WA202", "write outside every zone", Severity.ERROR, f"wrote {name}", 1, evidence=(number + 1,),
            cause=name, advice=(f"`rm {name} x=1`",), details={"place": name, "examples": [name]},
        )
        for number, name in enumerate(every)
    ]  # fmt: skip
    built = samples.report(events, findings=findings, completeness=samples.INCOMPLETE)
    audit, texts = built.audit, [name.decode("utf-8", "surrogateescape") for name in HOSTILE]
    run = dataclasses.replace(
        audit.run, command=HOSTILE, cwd=b"/" + HOSTILE[2], user=texts[2], kernel=texts[7], env=dict(zip(texts, texts, strict=True)),
        notes=tuple(texts),
    )  # fmt: skip
    processes = [
        Process(100, 99, b"/bin/" + name, (name,), number, None, None) for number, name in enumerate(HOSTILE)
    ]
    mounts = [
        mount._replace(
            fstype=texts[2], source=HOSTILE[4], mountpoint=b"/" + HOSTILE[5], options=tuple(texts[:6])
        )
        for mount in audit.mounts
    ]
    binaries = tuple(
        Binary(b"/srv/" + name, "elf", machine=text, rpath=text, needed=(text,))
        for name, text in zip(HOSTILE, texts, strict=True)
    )
    completeness = dataclasses.replace(
        audit.completeness, blind_spots=tuple(BlindSpot(text, text) for text in texts)
    )
    policy = built.policy._replace(
        name=texts[2], source=texts[7], remarks=tuple(texts), zones=tuple(Zone(text, ZoneAccess.READ_ONLY, (b"/" + name,)) for name, text in zip(HOSTILE, texts, strict=True)),
    )  # fmt: skip
    return dataclasses.replace(
        built, policy=policy,
        audit=audit._replace(run=run, processes=tuple(processes), mounts=tuple(mounts), binaries=binaries, completeness=completeness),
    )  # fmt: skip


@pytest.fixture(scope="module")
def page() -> str:
    events = [*samples.install_events(12, 30), *samples.hostile_events(5000)]
    report = samples.report(events, findings=[samples.link_finding()], completeness=samples.INCOMPLETE)
    binaries = (
        Binary(b"/home/ada/src/.venv/lib/x.so", "elf", type="dyn", machine="x86_64", needed=("libc.so.6",)),
    )
    return "".join(writer.render(dataclasses.replace(report, audit=report.audit._replace(binaries=binaries))))


_TABS = ("paths", "tree", "events", "binaries", "links")
_OVERLAPS = """(() => {
  const found = [], near = (a, b) => a.right > b.left + 1 && b.right > a.left + 1 && a.bottom > b.top + 1 && b.bottom > a.top + 1;
  for (const row of document.querySelectorAll("table tr, .tiles, .counts")) {
    const parts = [...row.children].filter((node) => node.getClientRects().length).map((node) => {
      const range = document.createRange();
      range.selectNodeContents(node);
      const text = range.getBoundingClientRect(), box = node.getBoundingClientRect(), clips = getComputedStyle(node).overflow !== "visible";
      return clips ? { left: Math.max(text.left, box.left), right: Math.min(text.right, box.right), top: text.top, bottom: text.bottom } : text;
    }).filter((box) => box.right > box.left);
    for (let i = 0; i < parts.length; i++) for (let k = 0; k < i; k++) if (near(parts[i], parts[k])) found.push(row.textContent.slice(0, 80));
  }
  return found;
})()"""


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 390, 768, 1440, 3840])
def test_nothing_overflows_or_overlaps(show: Show, page: str, width: int, theme: str) -> None:
    tab = show(page)
    tab.emulate(prefers_color_scheme=theme, prefers_reduced_motion="reduce")
    tab.resize(width, 900)
    tab.evaluate("dispatchEvent(new Event('resize'))")
    for name in _TABS:
        tab.evaluate(f"document.getElementById('tab-{name}').click()")
        if name == "paths":
            tab.evaluate("document.querySelector('#files tbody button.open').click()")
        assert tab.evaluate("document.documentElement.scrollWidth") <= width
        assert tab.evaluate(_OVERLAPS) == []
        cut = tab.evaluate(
            "[...document.querySelectorAll('#files td.num')].filter((cell) => cell.getClientRects().length"
            " && cell.scrollWidth > cell.clientWidth + 1).map((cell) => cell.textContent)"
        )
        assert cut == [], f"cut numbers in {name}"
    background = tab.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (background == "rgb(21, 22, 23)") is (theme == "dark")


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1440])
def test_axe_finds_nothing(show: Show, page: str, width: int, theme: str) -> None:
    if not AXE.exists():
        pytest.skip(f"{AXE} is not there: scripts/setup test fetches axe-core with npm")
    tab = show(page)
    tab.emulate(prefers_color_scheme=theme, prefers_reduced_motion="reduce")
    tab.resize(width, 900)
    tab.evaluate("for (const details of document.querySelectorAll('details')) details.open = true")
    tab.evaluate("document.querySelector('#files tbody button.open').click()")
    tab.evaluate(AXE.read_text(encoding="utf-8") + ";0")
    for name in _TABS:
        tab.evaluate(f"document.getElementById('tab-{name}').click()")
        found = tab.evaluate(
            "axe.run().then((result) => result.violations.map((rule) =>"
            " [rule.id, rule.nodes.slice(0, 3).map((node) => [node.html.slice(0, 200), node.failureSummary])]))"
        )
        assert found == [], name


def _visit_everything(tab: Tab) -> None:
    """Open each tab, row, event and picture, as a curious reader would."""
    tab.evaluate("for (const details of document.querySelectorAll('details')) details.open = true")
    for name in _TABS:
        tab.evaluate(f"document.getElementById('tab-{name}')?.click()")
        tab.evaluate(
            "(async () => { for (let at = 0; at < 40; at++) {"
            " document.querySelectorAll('#files tbody button.open')[at]?.click();"
            " await new Promise((done) => setTimeout(done, 5)); } })()"
        )
    tab.evaluate(
        "for (const g of [...document.querySelectorAll('#treemap g')]) g.dispatchEvent(new MouseEvent('click', {bubbles: true}))"
    )


def test_hostile_names_neither_run_nor_break_out_nor_reorder(show: Show) -> None:
    source = "".join(writer.render(_hostile()))
    assert all(char == "\n" or char.isprintable() for char in source)
    tab = show(source)
    title = tab.evaluate("document.title")
    tags = tab.evaluate(
        "[...new Set([...document.querySelectorAll('*')].map((node) => node.localName))].sort()"
    )
    _visit_everything(tab)
    assert tab.evaluate("document.title") == title
    assert tab.complaints() == []
    assert [url for url in tab.requests() if not url.startswith(("file:", "about:"))] == []
    assert "iframe" not in tags
    assert tab.evaluate("document.querySelectorAll('script').length") == 1
    assert (
        tab.evaluate("document.querySelectorAll('img, iframe, object, embed, form:not(#filters)').length")
        == 0
    )
    # No element has an attribute that could run anything, and no text reorders its neighbours.
    handlers = (
        "[...document.querySelectorAll('*')].flatMap((node) => [...node.attributes])"
        ".filter((each) => each.name.startsWith('on') || (['href', 'src', 'action'].includes(each.name) && !each.value.startsWith('#'))).length"
    )
    assert tab.evaluate(handlers) == 0
    hidden = r"/[\u0000-\u0008\u000b-\u001f\u007f-\u00a0\u200b-\u200f\u202a-\u202e\u2060-\u2069\u2800\u3164\ufe0f\ufeff]/"
    assert tab.evaluate(f"(document.body.innerText.match({hidden}) || []).join()") == ""
    # Each name is there, as it is shown everywhere.
    tab.evaluate("document.getElementById('reset').click(); document.getElementById('tab-paths').click()")
    tab.evaluate("document.getElementById('all').click()")
    shown = tab.evaluate(
        "[...document.querySelectorAll('#files tbody button.open')].map((b) => b.textContent)"
    )
    assert {escape_path(b"/srv/" + name) for name in HOSTILE} <= set(shown)


def test_policy_of_the_page_stops_what_it_did_not_admit(show: Show) -> None:
    page = "".join(writer.render(samples.report()))
    tab = show(
        page.replace(
            "</body>",
            "<script>document.title = 'ran'</script><img src=x onerror=\"document.title='ran'\"></body>",
        )
    )
    assert "writeaudit" in tab.evaluate("document.title")
    assert any("Content Security Policy" in said for said in tab.complaints())


def test_forced_colours_keep_the_status(show: Show, page: str) -> None:
    tab = show(page)
    tab.emulate(forced_colors="active")
    border = tab.evaluate("getComputedStyle(document.querySelector('.dot')).borderTopWidth")
    drawn = tab.evaluate("getComputedStyle(document.querySelector('.dot')).backgroundColor")
    assert border != "0px" or drawn != "rgba(0, 0, 0, 0)"
    assert tab.evaluate("document.querySelector('.status').innerText").strip() == "Incomplete"


def test_every_figure_of_an_incomplete_audit_is_at_least(page: str) -> None:
    tiles = page[page.index('<ul class="tiles">') : page.index("</ul>", page.index('<ul class="tiles">'))]
    assert tiles.count("at least") >= 5
    assert page.count("Every figure is “at least”") >= 4
    assert "Every figure is" not in "".join(writer.render(samples.report()))


def test_own_script_and_style_stay_small() -> None:
    size = len(writer.read_script()) + len(writer.read_style())
    assert size <= 80_000
    assert all((resources.templates_directory() / "js" / name).exists() for name in writer.SCRIPTS)


def test_firefox_shows_the_page(page: str, tmp_path: Path) -> None:
    program = find_browser(FIREFOX)
    if program is None:
        pytest.skip(f"none of {', '.join(FIREFOX)} is installed")
    (tmp_path / "report.html").write_text(page, encoding="utf-8")
    browser = Firefox(program, tmp_path / "profile")
    try:
        browser.call("WebDriver:SetTimeouts", script=60_000)
        browser.call("WebDriver:Navigate", url=(tmp_path / "report.html").as_uri())
        script = (
            f"return new Promise((done) => {{ const look = () => {READY} ? done(document.getElementById('found').textContent)"
            " : setTimeout(look, 50); look(); })"
        )
        assert "of at least" in browser.evaluate(script)
        assert browser.evaluate("return document.querySelectorAll('#files tbody tr[data-at]').length") > 10
        assert browser.evaluate("return document.documentElement.scrollWidth <= innerWidth")
        picture = browser.picture()
        assert picture.startswith(b"\x89PNG")
        assert len(picture) > 10_000
    finally:
        browser.close()
