"""Subvolumes of btrfs that the command itself makes, copies and deletes, under each backend."""

from __future__ import annotations

import platform
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conformance.audited import run
from tests.conformance.test_workloads import python, verdict
from writeaudit.capture.interface import Backend

pytestmark = pytest.mark.skipif(
    platform.machine() != "x86_64", reason="the workloads make the system calls of x86-64"
)


def test_subvolumes_are_directories(
    backend: Backend, tmp_path: Path, file_system: Callable[[str], Path]
) -> None:
    ground = file_system("btrfs")
    audited = run(python("subvolumes_made"), ground, backend.name, tmp_path / "run.wa")
    assert audited.story
    if wrong := verdict(audited, backend):
        pytest.fail(wrong, pytrace=False)
