"""What is written where: no output destroys another, or what it is made from."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT, Cli
from tests.support.small_recording import write_recording
from writeaudit.capture.interface import Backend
from writeaudit.commands.outputs import check_outputs
from writeaudit.errors import OutputError, UsageError


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    return write_recording(tmp_path / "r.wa")


def refused(done: subprocess.CompletedProcess[str], *words: str) -> None:
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    for word in (*words, "same file", "hint:"):
        assert word in done.stderr


@pytest.mark.parametrize("option", ["--json", "--html"])
@pytest.mark.parametrize("spelling", ["r.wa", "./r.wa", "d/../r.wa", "symlink", "hardlink", "r.wa-wal"])
def test_report_over_its_recording(cli: Cli, recording: Path, option: str, spelling: str) -> None:
    place = recording.parent
    (place / "d").mkdir()
    (place / "symlink").symlink_to("r.wa")
    (place / "hardlink").hardlink_to(recording)
    before = recording.read_bytes()
    refused(cli("report", "r.wa", option, spelling, cwd=place), option, spelling, "RECORDING")
    assert recording.read_bytes() == before
    assert not (place / "r.wa-wal").exists()


def test_report_over_the_last_recording(cli: Cli) -> None:
    runs = Path(os.environ["XDG_STATE_HOME"], "writeaudit", "runs")
    runs.mkdir(parents=True)
    newest = write_recording(runs / "20200101-000000.000-1.wa")
    before = newest.read_bytes()
    refused(cli("report", "last", "--json", newest), "--json")
    assert newest.read_bytes() == before


@pytest.mark.parametrize(
    "outputs",
    [
        ("-o", "x", "--json", "x"),
        ("-o", "x", "--html", "./x"),
        ("-o", "x", "--html", "x-wal"),
        ("--html", "x", "--json", "x"),
        ("--html", "-", "--json", "-"),
        ("--html", "-", "--json", "/dev/stdout"),
        ("--policy", "p.toml", "--json", "p.toml"),
    ],
)
def test_run_with_two_outputs_in_one_place(
    cli: Cli, backend: Backend, tmp_path: Path, outputs: tuple[str, ...]
) -> None:
    (tmp_path / "p.toml").write_text('profile = "install"\n')
    done = cli("run", "--backend", backend.name, *outputs, "--", "touch", "ran", cwd=tmp_path)
    refused(done)
    assert {path.name for path in tmp_path.iterdir()} == {"p.toml"}
    assert (tmp_path / "p.toml").read_text() == 'profile = "install"\n'


def test_report_into_the_file_that_standard_output_is(recording: Path) -> None:
    out = recording.with_name("out")
    with out.open("w") as stream:
        done = subprocess.run(
            [sys.executable, "-m", "writeaudit", "report", recording, "--json", "-", "--html", out],
            stdout=stream,
            stderr=subprocess.PIPE,
            cwd=ROOT,
            check=False,
        )
    assert done.returncode == 2
    assert out.read_bytes() == b""


def test_different_places_are_all_right(cli: Cli, recording: Path) -> None:
    place = recording.parent
    done = cli("report", recording, "--json", place / "a", "--html", place / "b")
    assert done.returncode == 0, done.stderr
    assert (place / "a").read_bytes()[:1] == b"{"
    # Over a report of before, too.
    assert cli("report", recording, "--json", place / "a", "--html", place / "b").returncode == 0


def test_the_null_device_takes_everything(cli: Cli, recording: Path) -> None:
    done = cli("report", recording, "--json", "/dev/null", "--html", "/dev/null")
    assert done.returncode == 0, done.stderr


def test_a_recording_called_like_standard_output_is_a_file() -> None:
    check_outputs({"--json": "-"}, recording="-", recording_is="-o")
    with pytest.raises(UsageError):
        check_outputs({"--json": "./-"}, recording="-", recording_is="-o")


@pytest.mark.parametrize("name", ["-", "/dev/stdout", "/proc/self/fd/1"])
def test_closed_standard_output(recording: Path, name: str) -> None:
    words = [sys.executable, "-m", "writeaudit", "report", str(recording), "--json", name]
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" >&-', "sh", *words], capture_output=True, cwd=ROOT, check=False
    )
    assert done.returncode == 125
    assert b"standard output: it is closed" in done.stderr


def test_closed_standard_output_is_noticed_before_anything_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "__stdout__", None)
    check_outputs({"--json": "report.json", "--html": None})
    with pytest.raises(OutputError, match="closed"):
        check_outputs({"--json": None, "--html": "-"})


def test_a_reader_that_has_gone_ends_it_as_any_filter(recording: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    words = [sys.executable, "-m", "writeaudit", "suggest", str(recording), "--for", "docker"]
    done = subprocess.run(words, stdout=writer, stderr=subprocess.PIPE, cwd=ROOT, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, b"")
