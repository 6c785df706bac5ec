"""A system call that is newer than writeaudit is a blind spot, not silence."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from writeaudit.capture import syscalls
from writeaudit.capture.interface import Backend, CaptureLimits, Command
from writeaudit.capture.kernel import side

pytestmark = pytest.mark.requires_root

_NUMBER = 469  # file_setattr, Linux 6.17
_CALL = f"import ctypes; ctypes.CDLL(None).syscall({_NUMBER}, -1, 0, 0, 0, 0)"


def test_an_unknown_number_is_said_once(
    backend: Backend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if backend.name == "strace":
        pytest.skip("strace knows its own numbers: tests/unit/capture/strace")
    empty, names = syscalls.pack_table()
    size = syscalls._SPEC.size
    rows = bytearray(empty)
    rows[_NUMBER * size : (_NUMBER + 1) * size] = bytes(size)
    monkeypatch.setattr(side, "pack_table", lambda: (bytes(rows), names))
    monkeypatch.setattr(side, "known_numbers", lambda: (_NUMBER, *syscalls.known_numbers()[1:]))
    argv = (os.fsencode(sys.executable), b"-c", f"{_CALL}; {_CALL}".encode())
    outcome = backend.capture(Command(argv, {}), lambda _records: None, CaptureLimits())
    spots = [spot for spot in outcome.blind_spots if spot.kind == "unknown_calls"]
    release = tuple(map(int, os.uname().release.split(".")[:2]))
    if release < (6, 17):
        assert not spots  # the kernel has no such call, and said so
    else:
        [spot] = spots
        assert spot.count == 1
        assert str(_NUMBER) in spot.message
