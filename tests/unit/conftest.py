"""Fixtures that unit tests share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.made_up_disk import TREE, Disk, names_of
from writeaudit.resolve.names.lookup import NameResolver
from writeaudit.resolve.resolver import Resolver


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a fresh directory, without symlinks in its name."""
    real = tmp_path.resolve()
    monkeypatch.chdir(real)
    return real


@pytest.fixture
def disk() -> Disk:
    """The disk of the tests of names."""
    return Disk(TREE)


@pytest.fixture
def names(disk: Disk) -> NameResolver:
    """Names on it, at a time when all that was read is long past."""
    return names_of(disk)


@pytest.fixture
def here(tmp_path: Path) -> bytes:
    """An existing directory, free of symlinks."""
    return os.fsencode(os.path.realpath(tmp_path))


@pytest.fixture
def resolver() -> Iterator[Resolver]:
    """One that looks at the real disk."""
    made = Resolver(started_ns=1000)
    yield made
    made.close()
