"""What identifies a person, a machine or an account is in no form of a redacted report."""

from __future__ import annotations

import dataclasses
import gzip
import os
import zlib

import pytest

from tests.support import report_samples as samples
from writeaudit.audit import Process
from writeaudit.credentials import redact_text
from writeaudit.events import Access, Op
from writeaudit.judgement import Finding, Severity
from writeaudit.report.forms import FORMS, render_form
from writeaudit.report.redact import redact_report, redact_words
from writeaudit.report.view import Report

SECRETS = (
    "hunter2hunter2",
    "ghp_0123456789abcdefghij",
    "glpat-0123456789abcdefghij",
    "pypi-AgEIcHlwaS5vcmcCJGU0",
    "AKIAIOSFODNN7EXAMPLE",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U",
)
HOST = "lovelace-laptop"


def _planted() -> Report:
    """A report with a person's name and secrets in every place that holds text."""
    events = [
        *samples.install_events(),
        samples.event(
            90, Op.OPEN, b"/home/ada/src/x", access=Access.WRITE, created=True, seen_as=b"../ada/x"
        ),
        samples.event(91, Op.SYMLINK, b"/srv/l", source=b"/home/ada/secret"),
    ]
    shell = b"export API_KEY=hunter2hunter2; curl -H 'Authorization: Bearer hunter2hunter2'"
    words = (
        *(b"uv", b"--index-url", b"https://ada:hunter2hunter2@host/simple", b"--token", b"hunter2hunter2"),
        *(b"--password=hunter2hunter2", b"-c", shell, *(secret.encode() for secret in SECRETS[1:])),
        *(b"https://h/x?access_token=hunter2hunter2&y=1", HOST.encode()),
    )
    finding = Finding(
        "WA202",
        "write outside every zone",
        Severity.ERROR,
        f"ada wrote /home/ada/src/x on {HOST} with token=hunter2hunter2 and {SECRETS[1]}",
        1,
        evidence=(90,),
        cause="because of https://ada:hunter2hunter2@host/",
        advice=("`--zone x=/home/ada/src:rw`",),
        details={"paths": [{"path": "/home/ada/src/x"}], "user": "ada", "argv": ["--token=hunter2hunter2"]},
    )
    report = samples.report(events, findings=[finding])
    run = dataclasses.replace(
        report.audit.run,
        command=words,
        env={
            "HOME": "/home/ada",
            "HOSTNAME": HOST,
            "UV_INDEX_X_PASSWORD": "hunter2hunter2",
            "PIP_INDEX_URL": "https://ada:hunter2hunter2@host/",
            "npm_config__authToken": "hunter2hunter2",
        },
        host={"node": HOST},
        inherited=(b"/home/ada/log",),
    )
    process = Process(102, 100, b"/home/ada/bin/x", words, 1, 2, 0)
    audit = report.audit._replace(run=run, processes=(*report.audit.processes, process))
    return dataclasses.replace(report, audit=audit, failing=[finding])


def _text(form: str, report: Report, redact: bool | None) -> str:
    pieces = render_form(form, report, "x", redact=redact)
    data = b"".join(piece.encode() if isinstance(piece, str) else piece for piece in pieces)
    return data.decode("utf-8", "replace")


@pytest.mark.parametrize("form", [form.name for form in FORMS])
def test_nothing_that_was_planted_is_in_any_form(form: str) -> None:
    text = _text(form, _planted(), True)
    for secret in (*SECRETS, HOST):
        assert secret not in text
    assert "/home/ada" not in text
    assert "home/USER" in text or "home\\/USER" in text or "USER" in text


def test_markdown_is_redacted_without_being_asked_and_others_are_not() -> None:
    assert "hunter2" not in _text("markdown", _planted(), None)
    assert "hunter2" in _text("json", _planted(), None)
    assert "hunter2" in _text("markdown", _planted(), False)


def test_redacted_reports_say_the_same() -> None:
    planted = _planted()
    redacted = redact_report(planted)
    assert redacted.totals == planted.totals
    assert len(redacted.files) == len(planted.files)
    assert [file.path.count(b"/") for file in redacted.files] == [
        file.path.count(b"/") for file in planted.files
    ]
    event, _judged = redacted.find([90])[90]
    assert event.path == b"/home/USER/src/x"
    assert [event.path for event in redacted.audit.events][-2] == b"/home/USER/src/x"


def test_names_of_things_are_no_persons() -> None:
    report = samples.report()
    run = dataclasses.replace(report.audit.run, user="root", env={"HOME": "/root"}, cwd=b"/srv/app")
    redacted = redact_report(dataclasses.replace(report, audit=report.audit._replace(run=run)))
    assert redacted.audit.run.user == "root"
    assert redacted.audit.run.cwd == b"/srv/app"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ((b"uv", b"sync", b"--frozen"), (b"uv", b"sync", b"--frozen")),
        ((b"--token", b"x", b"y"), (b"--token", b"***", b"y")),
        ((b"--no-auth", b"--x"), (b"--no-auth", b"--x")),
        ((b"ln", b"/etc/passwd", b"/x"), (b"ln", b"/etc/passwd", b"/x")),
        ((b"sh", b"-c", b"ln /etc/passwd /x"), (b"sh", b"-c", b"ln /etc/passwd /x")),
        ((b"PASSWORD=abc",), (b"PASSWORD=***",)),
        ((b"bad\xff",), (b"bad\xff",)),
    ],
)
def test_command_lines(words: tuple[bytes, ...], expected: tuple[bytes, ...]) -> None:
    assert redact_words(words) == expected


def test_text() -> None:
    assert redact_text("https://u:p@h/x?token=abc&z=1") == "https://***@h/x?token=***&z=1"
    assert redact_text("nothing here: a@b, x=1") == "nothing here: a@b, x=1"


def test_compressed_by_the_name_of_the_file() -> None:
    report = samples.report()
    plain = _text("json", report, None)
    packed = b"".join(render_form("json", report, "x.json.gz"))  # type: ignore[arg-type]
    assert gzip.decompress(packed).decode() == plain
    assert packed == b"".join(render_form("json", report, "x.json.gz")), "equal reports are equal files"  # type: ignore[arg-type]
    assert zlib.decompress(packed, 31).decode() == plain
    assert os.path.basename("x.json.gz").endswith(".gz")
