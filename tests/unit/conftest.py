"""Fixtures that unit tests share."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a fresh directory, without symlinks in its name."""
    real = tmp_path.resolve()
    monkeypatch.chdir(real)
    return real
