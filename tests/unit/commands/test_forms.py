"""The forms of a report on standard output, and what may be left out of them."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from tests.conftest import Cli
from tests.support.small_recording import write_recording


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    return write_recording(tmp_path / "r.wa")


@pytest.mark.parametrize("command", ["report", "check"])
@pytest.mark.parametrize(
    ("form", "begins"),
    [
        ("json", "{"),
        ("sarif", '{"$schema"'),
        ("junit", "<?xml"),
        ("markdown", "### "),
        ("html", "<!doctype html>"),
    ],
)
def test_form_goes_to_standard_output_alone(
    cli: Cli, recording: Path, command: str, form: str, begins: str
) -> None:
    done = cli(command, recording, "--format", form)
    assert done.stdout.lower().startswith(begins.lower()), done.stdout[:200]
    if form in {"json", "sarif"}:
        json.loads(done.stdout)


def test_unknown_form(cli: Cli, recording: Path) -> None:
    done = cli("report", recording, "--format", "markdwon")
    assert done.returncode == 2
    assert "markdown" in done.stderr


def test_events_are_left_out_and_that_is_said(cli: Cli, recording: Path) -> None:
    whole = json.loads(cli("report", recording, "--json", "-").stdout)
    brief = json.loads(cli("report", recording, "--json", "-", "--events", "none").stdout)
    assert whole["events"]
    assert brief["events"] == []
    assert brief["left_out"] == ["events"]
    for field in ("files", "findings", "summary", "run"):
        assert brief[field] == whole[field]


def test_compressed_by_its_suffix(cli: Cli, recording: Path, tmp_path: Path) -> None:
    plain, packed = tmp_path / "r.json", tmp_path / "r.json.gz"
    cli("report", recording, "--json", plain)
    cli("report", recording, "--json", packed)
    assert json.loads(gzip.decompress(packed.read_bytes())) == json.loads(plain.read_text())


def test_quiet_report_says_nothing_and_writes_its_files(cli: Cli, recording: Path, tmp_path: Path) -> None:
    done = cli("report", recording, "-q", "--json", tmp_path / "r.json")
    assert (done.stdout, done.stderr) == ("", "")
    assert (tmp_path / "r.json").exists()
