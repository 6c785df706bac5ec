"""The programs that are loaded ahead are those that `run` will ask for."""

from __future__ import annotations

import pytest

from writeaudit.capture.interface import CaptureLimits
from writeaudit.capture.kernel import loading
from writeaudit.capture.kernel.loading import RING_BYTES
from writeaudit.commands.auditing import parse_size
from writeaudit.commands.run import command


def test_one_default_size_of_the_buffer() -> None:
    (option,) = (each for each in command.params if each.name == "buffer")
    assert parse_size(str(option.default)) == CaptureLimits().buffer_bytes == RING_BYTES


def test_what_was_loaded_ahead_is_taken_once_and_for_its_size(monkeypatch: pytest.MonkeyPatch) -> None:
    loads: list[int] = []
    monkeypatch.setattr(loading, "check_bpf", lambda: None)
    monkeypatch.setattr(loading, "load_side", loads.append)
    monkeypatch.setattr(
        loading._PendingLoad, "wait_for_result", lambda self: self._thread.join() or str(self.ring_bytes)
    )
    ahead = loading.AheadLoader()
    assert ahead.take_loaded(4096) is None
    ahead.start_loading(4096)
    ahead.start_loading(4096)
    assert [str(ahead.take_loaded(size)) for size in (8192, 4096, 4096)] == ["None", "4096", "None"]
    assert loads == [4096]
