"""Recordings that are kept: which there are, and which may go."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.conftest import Cli
from tests.support.small_recording import write_recording
from writeaudit.recording.kept import Kept, choose_old, kept_recordings

DAY = 24 * 60 * 60


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    directory = tmp_path / "writeaudit" / "runs"
    directory.mkdir(parents=True)
    return directory


def _kept(*ages: int) -> list[Kept]:
    return [Kept(f"/r{age}", 1, 1000 * DAY - age * DAY) for age in ages]


@pytest.mark.parametrize(
    ("keep", "days", "gone"),
    [(0, 0, [1, 5, 40, 50]), (1, 30, [40, 50]), (3, 30, [50]), (4, 0, []), (0, 60, []), (0, 40, [40, 50])],
)
def test_only_what_is_old_and_not_among_the_newest_goes(keep: int, days: float, gone: list[int]) -> None:
    old = choose_old(_kept(1, 5, 40, 50), keep=keep, days=days, now=1000 * DAY)
    assert old == _kept(*gone)


def test_newest_first_and_only_recordings(runs: Path) -> None:
    for name in ("20250101-1.wa", "20250102-1.wa", "notes.txt"):
        (runs / name).write_text("x")
    (runs / "20250101-1.wa-wal").write_text("log")
    (runs / "link.wa").symlink_to("/etc/passwd")
    found = kept_recordings(str(runs))
    assert [(os.path.basename(each.path), each.bytes) for each in found] == [
        ("20250102-1.wa", 1),
        ("20250101-1.wa", 4),
    ]


def test_no_directory_is_no_mistake(tmp_path: Path) -> None:
    assert kept_recordings(str(tmp_path / "none")) == []


def test_list(cli: Cli, runs: Path) -> None:
    write_recording(runs / "20250102.wa")
    (runs / "20250101.wa").write_text("no database")
    done = cli("list")
    assert done.returncode == 0, done.stderr
    good, bad = done.stdout.splitlines()
    assert str(runs / "20250102.wa") in good
    assert "exit " in good
    assert bad.startswith("unreadable ")
    [first, second] = json.loads(cli("list", "--json").stdout)
    assert first["path"] == str(runs / "20250102.wa")
    assert first["command"]
    assert "error" in second
    assert len(cli("list", "-n", "1").stdout.splitlines()) == 1


def test_list_of_nothing(cli: Cli, runs: Path) -> None:
    done = cli("list")
    assert (done.returncode, done.stdout) == (0, "")
    assert str(runs) in done.stderr


def test_prune(cli: Cli, runs: Path) -> None:
    for number in range(12):
        path = runs / f"2025{number:04}.wa"
        path.write_text("x")
        os.utime(path, (0, 0))
    (runs / "20250000.wa-wal").write_text("log")
    os.utime(runs / "20250000.wa-wal", (0, 0))
    tried = cli("prune", "--dry-run")
    assert len(list(runs.iterdir())) == 13
    done = cli("prune")
    assert done.returncode == 0, done.stderr
    assert done.stdout == tried.stdout
    assert {Path(line).name for line in done.stdout.splitlines()} == {"20250000.wa", "20250001.wa"}
    assert len(list(runs.iterdir())) == 10
    assert cli("prune").stdout == ""
