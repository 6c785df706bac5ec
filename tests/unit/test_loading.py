"""The programs that are loaded ahead are those that `run` will ask for; what a refusal of theirs means."""

from __future__ import annotations

import errno
import os

import pytest

from writeaudit.capture.interface import Limits
from writeaudit.capture.loading import RING_BYTES, explain_refusal
from writeaudit.commands.run import command, parse_size


def test_one_default_size_of_the_buffer() -> None:
    (option,) = (each for each in command.params if each.name == "buffer")
    assert parse_size(str(option.default)) == Limits().buffer_bytes == RING_BYTES


@pytest.mark.parametrize(
    ("number", "reason", "remedy"),
    [
        (errno.EPERM, "refuses BPF programs to this user", "run as root"),
        (errno.EACCES, "refuses BPF programs to this user", "run as root"),
        (errno.EAGAIN, "was interrupted by signals", "try again"),
        (errno.EINVAL, "did not take the BPF programs", "Linux 5.8"),
    ],
)
def test_refusal_comes_with_what_to_do_about_it(number: int, reason: str, remedy: str) -> None:
    refusal = explain_refusal(OSError(number, os.strerror(number)))
    assert reason in refusal.message
    assert refusal.hint is not None
    assert remedy in refusal.hint
