"""What the parser asks of the running system."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from writeaudit.capture.strace.host import ProcHost


@pytest.mark.parametrize("name", ["plain", "odd (deleted)"])
@pytest.mark.parametrize("removed", [False, True])
def test_working_directory_has_the_name_that_it_was_entered_by(
    place: Path, monkeypatch: pytest.MonkeyPatch, name: str, removed: bool
) -> None:
    directory = place / name
    directory.mkdir()
    monkeypatch.chdir(directory)
    if removed:
        directory.rmdir()
    assert ProcHost().read_cwd(os.getpid()) == os.fsencode(directory)


def test_working_directory_of_nobody() -> None:
    assert ProcHost().read_cwd(2**22 + 1) is None
