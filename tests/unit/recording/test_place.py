"""Where recordings go that nobody said a place for."""

from __future__ import annotations

import os
import pwd
import tempfile
from pathlib import Path

import pytest

from writeaudit.errors import OutputError, RecordingError
from writeaudit.recording import place


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory for temporary files."""
    directory = tmp_path / "tmp"
    directory.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(directory))
    return directory


def test_without_home_the_user_database_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    home = pwd.getpwuid(os.getuid()).pw_dir
    assert place.home_of({}) == place.home_of({"HOME": ""}) == place.home_of({"HOME": "x"}) == home
    assert place.home_of({"HOME": "/h"}) == "/h"

    def nobody(uid: int) -> pwd.struct_passwd:
        raise KeyError(uid)

    monkeypatch.setattr(pwd, "getpwuid", nobody)
    assert place.home_of({}) == "/"


def test_home_that_can_be_used(tmp_path: Path, temporary: Path) -> None:
    environ = {"HOME": str(tmp_path)}
    assert place.make_runs_directory(environ) == f"{tmp_path}/.local/state/writeaudit/runs"
    assert list(temporary.iterdir()) == []


def test_home_that_cannot_be_used(tmp_path: Path, temporary: Path) -> None:
    (tmp_path / ".local").write_text("a file")
    environ = {"HOME": str(tmp_path)}
    made = place.make_runs_directory(environ)
    assert made == f"{temporary}/writeaudit-{os.getuid()}/runs"
    assert Path(made).parent.stat().st_mode & 0o777 == 0o700
    assert place.make_runs_directory(environ) == made
    assert made in place.runs_directories(environ)


def test_directory_that_somebody_else_prepared_is_not_taken(tmp_path: Path, temporary: Path) -> None:
    (tmp_path / ".local").write_text("a file")
    theirs = temporary / f"writeaudit-{os.getuid()}"
    theirs.symlink_to(tmp_path)
    with pytest.raises(OutputError, match="cannot make the directory"):
        place.make_runs_directory({"HOME": str(tmp_path)})
    theirs.unlink()
    theirs.mkdir()
    theirs.chmod(0o777)
    with pytest.raises(OutputError):
        place.make_runs_directory({"HOME": str(tmp_path)})


def test_last_of_both(tmp_path: Path) -> None:
    one, two, gone = tmp_path / "one", tmp_path / "two", tmp_path / "gone"
    for directory, name in ((one, "2025.wa"), (two, "2026.wa"), (one, "2024.wa"), (two, "2027.db")):
        directory.mkdir(exist_ok=True)
        (directory / name).touch()
    assert place.find_last(one, two, gone) == str(two / "2026.wa")
    with pytest.raises(RecordingError, match="no recording yet"):
        place.find_last(gone)
