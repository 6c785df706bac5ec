"""The programs that are loaded ahead are those that `run` will ask for."""

from __future__ import annotations

from writeaudit.capture.interface import Limits
from writeaudit.capture.loading import RING_BYTES
from writeaudit.commands.run import command, parse_size


def test_one_default_size_of_the_buffer() -> None:
    (option,) = (each for each in command.params if each.name == "buffer")
    assert parse_size(str(option.default)) == Limits().buffer_bytes == RING_BYTES
