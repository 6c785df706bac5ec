"""``python -m bench.report_page``: the HTML report against its budgets, in a headless Chromium.

Writes the section *Report page* of docs/performance.md, between its two marks; the rest of the page stays.
"""
# ruff: noqa: E501 - script within Python

from __future__ import annotations

import argparse
import dataclasses
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from bench.material import ROOT
from bench.page import BEGIN, END, put_section
from tests.support import report_samples as samples
from tests.support.browser import Tab, chromium, find_browser
from writeaudit.audit import Process
from writeaudit.events import Access, FsEvent, Op
from writeaudit.judgement import FileSummary, NetEffect, Verdict
from writeaudit.report import view
from writeaudit.report.html import writer

_PAGE = ROOT / "docs" / "performance.md"
_WORDS = (
    "site-packages mod",
    "-pyc pkg1",
    "errno:EXDEV",
    "pid:105 op:copy",
    "under:/home/ada/src/.venv/lib",
    "",
)
_MIB = 1 << 20


class Budget(NamedTuple):
    """What a figure may be at most, for the smaller and for the greater page."""

    what: str
    unit: str
    limits: tuple[float, float]


BUDGETS = (
    Budget("file", "MB", (2, 12)),
    Budget("first paint", "ms", (300, 300)),
    Budget("explorer ready, after the first paint", "ms", (400, 1500)),
    Budget("longest task meanwhile", "ms", (50, 50)),
    Budget("filter or search, median", "ms", (30, 100)),
    Budget("filter or search, slowest", "ms", (30, 100)),
    Budget("added memory", "MiB", (60, 200)),
    Budget("DOM nodes", "", (3000, 3000)),
    Budget("own script and style", "KB", (60, 60)),
)


class _Files(Sequence[FileSummary]):
    """Summaries made when they are asked for: a million events need little memory."""

    def __init__(self, count: int) -> None:
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int | slice) -> FileSummary:  # type: ignore[override]
        assert isinstance(index, int)
        if index >= self._count:
            raise IndexError
        verdict = Verdict.VIOLATION if index % 997 == 996 else Verdict.ALLOWED
        net = NetEffect.TRANSIENT if index % 11 == 10 else NetEffect.CREATED
        ops = _OPS[index % 7 == 0]
        return FileSummary(path_of(index), 30, "venv", verdict, net, ops, (index * 7919) % 60_000)


_OPS = {True: {"link": 1, "open": 1, "copy": 2}, False: {"open": 1, "copy": 2, "utime": 1}}


def path_of(number: int) -> bytes:
    """Return a path of an environment with many packages, in sorted order."""
    package, rest = divmod(number, 400)
    directory, name = divmod(rest, 40)
    return b"%s/lib/python3.12/site-packages/pkg%05d/sub%02d/module_%02d.%s" % (
        samples.VENV, package, directory, name, b"py" if name % 3 else b"pyc",
    )  # fmt: skip


def events_of(count: int, files: int) -> Iterator[FsEvent]:
    """Yield events over these files, by some 30 processes."""
    base = samples.event(1, Op.OPEN, b"/")
    for number in range(count):
        file = number * files // count
        kind = number % 4
        path = path_of(file)
        common: dict[str, Any] = {
            "seq": number + 1,
            "time_ns": number * 20_000,
            "pid": 100 + file // 400 % 30,
            "path": path,
            "mount": 30,
            "ino": file,
        }
        if kind == 0 and file % 7 == 0:
            yield base._replace(
                op=Op.LINK, source=samples.CACHE + path[-30:], source_mount=35, result="EXDEV", **common
            )
        elif kind in (0, 1):
            yield base._replace(
                op=Op.OPEN, access=Access.WRITE, flags=("creat", "excl"), created=True, mode=0o644, **common
            )
        elif kind == 2:
            yield base._replace(
                op=Op.COPY,
                source=samples.CACHE + path[-30:],
                source_mount=35,
                bytes=file * 7919 % 60_000,
                calls=1,
                **common,
            )
        else:
            yield base._replace(op=Op.UTIME, **common)


class _Events(Iterable[FsEvent]):
    def __init__(self, count: int, files: int) -> None:
        self._sizes = count, files

    def __iter__(self) -> Iterator[FsEvent]:
        return events_of(*self._sizes)


def make_page(events: int, files: int, path: Path) -> float:
    """Write a report of this size; return how many seconds that took."""
    built = samples.report([], findings=[])
    tally = view.Tally()
    stream = _Events(events, files)
    for event in stream:
        tally.add_event(event, samples.judge(event))
    processes = tuple(
        Process(
            100 + number,
            100 if number else 99,
            b"/usr/bin/" + (b"cc" if number % 3 else b"uv"),
            (b"x",),
            0,
            None,
            0,
        )
        for number in range(30)
    )
    audit = built.audit._replace(events=stream, event_count=events, processes=processes)
    audit = audit._replace(run=dataclasses.replace(audit.run, duration_s=events * 20e-6))
    report = dataclasses.replace(
        view.build(audit, built.policy, [], _Files(files), tally), tool_version="0.0.0"
    )
    begun = time.monotonic()
    with path.open("w", encoding="utf-8") as out:
        out.writelines(writer.render(report))
    return time.monotonic() - begun


_OBSERVE = """
  globalThis.longest = 0;
  new PerformanceObserver((list) => { for (const entry of list.getEntries()) globalThis.longest = Math.max(globalThis.longest, entry.duration); })
    .observe({ type: "longtask", buffered: true });
"""
_PAINT = "(performance.getEntriesByName('first-contentful-paint')[0] || {}).startTime || 0"


def measure(tab: Tab, path: Path) -> dict[str, float]:
    """Return the figures of one load of a page, by the names of `BUDGETS`."""
    tab.call("Page.addScriptToEvaluateOnNewDocument", source=_OBSERVE)
    tab.open(path.as_uri(), ready="document.documentElement.dataset.ready")
    time.sleep(0.5)
    paint, ready = float(tab.evaluate(_PAINT)), float(tab.evaluate("document.documentElement.dataset.ready"))
    longest = float(tab.evaluate("globalThis.longest"))
    took = []
    for words in _WORDS:
        tab.evaluate(
            f"(() => {{ const q = document.getElementById('q'); q.value = {words!r};"
            " q.dispatchEvent(new Event('input', {bubbles: true})); })()"
        )
        tab.evaluate("new Promise((done) => setTimeout(done, 700))")
        took.append(float(tab.evaluate("Number(document.getElementById('list').dataset.took)")))
    tab.call("HeapProfiler.collectGarbage")
    heap = tab.call("Runtime.getHeapUsage")
    memory = float(heap["usedSize"]) + float(heap.get("backingStorageSize", 0))
    nodes = float(tab.evaluate("document.getElementsByTagName('*').length"))
    style = writer.read_style()
    return dict(zip((budget.what for budget in BUDGETS), (
        path.stat().st_size / 1e6, paint, ready - paint, longest, statistics.median(took), max(took),
        memory / _MIB, nodes, (len(writer.read_script()) + len(style)) / 1e3,
    ), strict=True))  # fmt: skip


def section(results: Sequence[tuple[int, int, Mapping[str, float], float]], version: str) -> str:
    """Return the section, with its marks."""
    lines = [
        BEGIN, "## Report page", "",
        "Written by `python -m bench.report_page`; do not edit. A page in a headless Chromium of two processors, opened from",
        "a file; each figure is the median of the rounds as a part of its budget, so that below 1 is met.", "",
        "| figure | " + " | ".join(f"{events:,} events of {files:,} paths" for events, files, _f, _s in results) + " |",
        "| --- |" + " --- |" * len(results),
    ]  # fmt: skip
    for budget in BUDGETS:
        cells = []
        for place, (_events, _files, figures, _s) in enumerate(results):
            limit = budget.limits[min(place, 1)]
            ratio = figures[budget.what] / limit
            cells.append(
                f"{ratio:.2f} of {limit:g} {budget.unit}".rstrip() + (": met" if ratio <= 1 else ": missed")
            )
        lines.append(f"| {budget.what} | {' | '.join(cells)} |")
    lines += [
        "",
        f"Browser: {version}. Load before the run: {os.getloadavg()[0]:.1f} (average of one minute); what takes time",
        "takes longer by it.",
        END,
    ]
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and write the section unless asked for a part."""
    parser = argparse.ArgumentParser(prog="python -m bench.report_page", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--events", type=int, nargs="*", default=[100_000, 1_000_000])
    parser.add_argument("--print", action="store_true", help="leave docs/performance.md alone")
    options = parser.parse_args(arguments)
    program = find_browser()
    if program is None:
        print("bench: no Chromium is installed", file=sys.stderr)
        return 1
    results, version = [], "unknown"
    with tempfile.TemporaryDirectory() as directory:
        for events in options.events:
            files = events * 26 // 100
            path = Path(directory) / f"{events}.html"
            seconds = make_page(events, files, path)
            rounds = []
            for number in range(options.rounds):
                with chromium(program, Path(directory) / f"profile-{events}-{number}") as tab:
                    tab.resize(1440, 900)
                    rounds.append(measure(tab, path))
                    version = str(tab.browser.call("Browser.getVersion")["product"])
            figures = {name: statistics.median(each[name] for each in rounds) for name in rounds[0]}
            results.append((events, files, figures, seconds))
            for name, value in figures.items():
                print(f"{events:>9,} {name}: {value:,.1f}")
            print(f"{events:>9,} rendered in {seconds:.1f} s")
    text = section(results, version)
    print(text)
    if not options.print and len(options.events) == len(BUDGETS[0].limits):
        _PAGE.write_text(put_section(_PAGE.read_text(), text))
    return 0


if __name__ == "__main__":
    sys.exit(main())
