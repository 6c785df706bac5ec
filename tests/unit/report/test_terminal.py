from __future__ import annotations

import dataclasses
import io
import os
import pty
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support import report_samples as samples
from writeaudit.events import Op
from writeaudit.judgement import Finding, Severity
from writeaudit.report import terminal
from writeaudit.report.progress import Progress
from writeaudit.report.terminal import fill, write_summary
from writeaudit.report.view import Report
from writeaudit.text import escape_path, quote_name

GOLDEN = Path(__file__).resolve().parents[2] / "golden" / "summary.txt"


def summary(report: Report, outputs: dict[str, str] | None = None) -> str:
    stream = io.StringIO()
    write_summary(report, stream, outputs)
    return stream.getvalue()


@pytest.fixture(autouse=True)
def _plain(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FORCE_COLOR", "CLICOLOR_FORCE", "NO_COLOR", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)


def test_golden() -> None:
    report = samples.report(
        [*samples.install_events(), samples.event(50, Op.UNLINK, b"/etc/x")],
        findings=[samples.link_finding()],
    )
    text = summary(report, {"recording": "/home/ada/r.writeaudit", "html": "report.html"})
    if os.environ.get("WRITEAUDIT_UPDATE_GOLDEN"):
        GOLDEN.write_text(text, encoding="utf-8")
    assert text == GOLDEN.read_text(encoding="utf-8")


def test_fits_80_columns_and_has_no_colour_on_a_pipe() -> None:
    text = summary(samples.report(findings=[samples.link_finding()], completeness=samples.INCOMPLETE))
    assert "\x1b" not in text
    assert max(map(len, text.splitlines())) <= 80
    assert text.lstrip().startswith("writeaudit: Incomplete:")


def test_nothing_changed_is_one_line_without_rich() -> None:
    code = (
        "import io, sys\n"
        "from tests.support import report_samples as samples\n"
        "from writeaudit.report.terminal import write_summary\n"
        "write_summary(samples.report([]), sys.stderr)\n"
        "assert not {'rich', 'jinja2'} & set(sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=GOLDEN.parents[2]
    )
    assert done.stderr == (
        "writeaudit: Clean: nothing was changed. 0 events by strace in 1.32 s, exit status 0.\n"
    )


def test_names_are_no_markup_and_no_control() -> None:
    findings = [
        Finding("WA202", "t", Severity.ERROR, f"wrote {escape_path(name)}", 1, advice=(escape_path(name),))
        for name in samples.HOSTILE[:10]
    ]
    text = summary(samples.report(findings=findings), {"html": "bad\x1b[31m\udcff"})
    assert "[bold red]not markup[/] :smile:" in text.replace("\n    ", " ")
    assert all(line.isprintable() for line in text.splitlines())
    assert "\\xff" in text


def test_long_paths_run_on_unbroken() -> None:
    path = "/" + "very-long/" * 30
    finding = Finding("WA202", "t", Severity.ERROR, f"wrote {path} there", 1)
    assert path in summary(samples.report(findings=[finding]))


def test_further_findings_are_counted() -> None:
    findings = [Finding("WA202", f"t{n}", Severity.ERROR, "m", 1) for n in range(15)]
    text = summary(samples.report(findings=findings))
    assert "and 3 more findings" in text


def test_fill_keeps_code_whole() -> None:
    lines = ["".join(text for _code, text in line) for line in fill("say `a long command` now", 12)]
    assert lines == ["say", "`a long command`", "now"]


def test_prepare_imports_rich() -> None:
    terminal.prepare()
    assert "rich.console" in sys.modules


def read_all(fd: int) -> bytes:
    os.set_blocking(fd, False)
    out = b""
    while True:
        try:
            chunk = os.read(fd, 4096)
        except OSError:
            return out
        if not chunk:
            return out
        out += chunk


@pytest.fixture
def terminal_pair(monkeypatch: pytest.MonkeyPatch) -> tuple[int, int]:
    monkeypatch.setenv("TERM", "xterm")
    # A terminal that we only opened has no foreground group of ours.
    monkeypatch.setattr(os, "tcgetpgrp", lambda fd: os.getpgrp())
    return pty.openpty()


def tick(progress: Progress, seconds: float) -> None:
    progress._next = 0.0
    progress._spoken -= seconds
    progress.update(1234, 56)


def test_progress_waits_for_silence(terminal_pair: tuple[int, int]) -> None:
    ours, theirs = terminal_pair
    progress = Progress(theirs)
    progress.update(1, 1)
    assert read_all(ours) == b""
    tick(progress, 2)
    assert b"writeaudit: 1,234 events, 56 changes, 0:00" in read_all(ours)
    os.write(theirs, b"the command speaks")
    tick(progress, 2)
    spoken = read_all(ours)
    assert b"events" not in spoken
    assert spoken.endswith(b"\x1b[J\x1b8")
    tick(progress, 2)
    assert b"events" in read_all(ours)
    progress.clear()
    assert read_all(ours) == b"\x1b7\x1b[J\x1b8"
    progress.clear()
    assert read_all(ours) == b""


def test_progress_keeps_away_from_prompts_and_editors(terminal_pair: tuple[int, int]) -> None:
    import tty

    ours, theirs = terminal_pair
    tty.setraw(theirs)
    progress = Progress(theirs)
    tick(progress, 2)
    assert read_all(ours) == b""


def test_progress_draws_nothing_elsewhere(tmp_path: Path) -> None:
    with (tmp_path / "log").open("wb") as log:
        progress = Progress(log.fileno())
        tick(progress, 2)
        progress.clear()
        assert log.tell() == 0


def test_progress_is_cheap(terminal_pair: tuple[int, int]) -> None:
    progress = Progress(terminal_pair[1])
    start = time.perf_counter()
    for number in range(1000):
        progress.update(number, number)
    assert time.perf_counter() - start < 0.1


def test_errors_make_no_clean_sentence() -> None:
    finding = dataclasses.replace(samples.link_finding(), severity=Severity.ERROR)
    text = summary(samples.report(findings=[finding]))
    assert "Clean" not in text
    assert "but there is 1 error" in text


LONG = [
    Finding("WA202", f"t{n}", Severity.ERROR, f"wrote `/x/{n}`", 1, cause=f"why {n}", evidence=(1,))
    for n in range(15)
]


def test_verdict_is_the_last_line_of_what_scrolls_away_and_said_once_in_what_does_not() -> None:
    text = summary(samples.report(findings=LONG), {"recording": "/r.wa"})
    first, last = text.strip().splitlines()[0], text.strip().splitlines()[-1]
    assert first == last
    assert first.startswith("writeaudit: ")
    short = summary(samples.report(findings=LONG[:1]), {"recording": "/r.wa"})
    assert short.count("writeaudit: ") == 1


def test_verbose_shows_every_finding_with_cause_and_proof() -> None:
    stream = io.StringIO()
    write_summary(samples.report(findings=LONG), stream, verbose=True)
    text = stream.getvalue()
    assert all(f"`/x/{n}`" in text and f"why {n}" in text for n in range(15))
    assert "event 1, pid 100: link `/home/ada/src/.venv/p0/f0.py` from" in text
    assert "more finding" not in text
    assert "`--verbose` and the reports have them all" in summary(samples.report(findings=LONG))


def test_rule_page_is_mentioned() -> None:
    assert "`writeaudit explain WA101`" in summary(samples.report(findings=[samples.link_finding()]))


def test_40_columns_break_no_word(monkeypatch: pytest.MonkeyPatch) -> None:
    from rich.console import Console

    monkeypatch.setattr(Console, "width", property(lambda _self: 40))
    text = summary(samples.report([*samples.install_events(), samples.event(50, Op.UNLINK, b"/etc/x")]))
    assert "zone venv (rw): 6 files changed" in text
    words = {word for line in text.splitlines() for word in line.split()}
    assert {"changed,", "written,", "violations,"} <= words
    assert all(len(line) <= 40 for line in text.splitlines())


def test_colours_are_readable_on_dark_and_on_light(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    note = Finding("WA401", "left", Severity.NOTE, "m", 1)
    text = summary(samples.report(findings=[note, samples.link_finding()]))
    assert "\x1b[" in text
    assert not {"34", "94", "37", "97", "30", "90"} & set(re.findall(r"(?<=[\[;])\d+(?=[;m])", text))


@pytest.mark.parametrize(
    "start", ["::error title=x::", "##[group]", "##vso[task.complete]", "--- x", "+++ x"]
)
@pytest.mark.parametrize("width", [20, 40, 80])
def test_no_line_begins_with_a_command_to_a_runner(
    start: str, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rich.console import Console

    monkeypatch.setattr(Console, "width", property(lambda _self: width))
    for fill_in in range(0, 60, 7):
        message = f"{'x' * fill_in} {start} y {quote_name(start.encode())} and {start}"
        finding = Finding("WA202", start, Severity.ERROR, message, 1, advice=(message,))
        text = summary(samples.report(findings=[finding]), {"recording": start})
        for line in text.splitlines():
            assert not line.strip().startswith(start), line
            assert "##[" not in line
            assert "##vso[" not in line
