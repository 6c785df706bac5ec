"""When the kernel's buffer is emptied: in a pause of the command, or when it cannot wait."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from collections.abc import Iterator

import pytest

from writeaudit.capture.interface import Record
from writeaudit.capture.kernel import session
from writeaudit.capture.kernel.side import State
from writeaudit.events import WriteTotal


class FakeSide:
    """A kernel side whose buffer holds so many bytes."""

    wake_fd = -1
    ring_bytes = 4096
    sees_uring = True

    def __init__(self) -> None:
        self.mount_generation = 0
        self.held = 0
        self.taken = 0

    def read_state(self) -> State:
        return State(self.held, self.mount_generation, expects=False)

    def take_records(self) -> bytes:
        self.taken += 1
        chunk, self.held = bytes(self.held), 0
        return chunk

    def close(self) -> None:
        """Nothing is loaded."""


class Held:
    """A session, and what it works with."""

    def __init__(self) -> None:
        self.side, self.spare = FakeSide(), False
        records: list[Record] = []
        self.session = session._Session(self.side, records.extend)  # type: ignore[arg-type]
        self.session._drain_policy._spare = lambda: self.spare
        self.session._drain_policy._limit_s = 60

    def left(self, held: int) -> int:
        """Return how much of so many bytes a tick leaves in the buffer."""
        self.side.held = held
        self.session._drain_if_due()
        return self.side.held


@pytest.fixture
def held() -> Iterator[Held]:
    made = Held()
    yield made
    made.session.close()


def test_buffer_waits_for_a_pause(held: Held) -> None:
    assert [held.left(100) for _ in range(3)] == [100] * 3
    held.spare = True
    assert [held.left(100) for _ in range(2)] == [100, 0]


def test_buffer_that_fills_up_is_emptied_at_once(held: Held) -> None:
    assert [held.left(size) for size in (1024, 1025)] == [1024, 0]


def test_buffer_is_emptied_after_a_while(held: Held) -> None:
    held.session._drain_policy._limit_s = 0
    assert held.left(1) == 0


def test_nothing_waits_once_mounts_move(held: Held) -> None:
    assert held.left(100) == 100
    held.side.mount_generation = 1
    assert held.left(100) == 0
    held.side.mount_generation = 0
    assert held.left(100) == 0


def test_empty_buffer_is_only_looked_at(held: Held) -> None:
    held.spare = True
    assert [held.left(0) for _ in range(3)] == [0] * 3
    assert held.side.taken == 0
    # The pause that counts is one while something waits.
    assert [held.left(100) for _ in range(2)] == [100, 0]


def _chunk(*payloads: bytes) -> bytes:
    """Return records as the ring holds them, each behind its header."""
    return b"".join(
        struct.pack("=II", len(payload), 0) + payload.ljust((len(payload) + 7) & -8, b"\0")
        for payload in payloads
    )


def test_record_that_cannot_be_decoded_is_told_and_the_rest_counted(held: Held) -> None:
    def decode(payload: bytes, batch: list[Record]) -> None:
        if payload[:1] == b"!":
            raise RecursionError("too deep")
        batch.append(WriteTotal(payload[0], 1, 1))

    held.session._decoder.decode_record = decode  # type: ignore[method-assign, assignment]
    taken: list[Record] = []
    held.session._sink = taken.extend
    one, bad, two = (text.ljust(40, b"\0") for text in (b"1", b"!", b"2"))
    held.session._decode_chunk(_chunk(one, bad, two, two))
    held.session._decode_chunk(_chunk(two))
    assert taken == [WriteTotal(0x31, 1, 1)]
    assert isinstance(held.session._failure, RecursionError)
    assert held.session._undecoded == 3


def test_nothing_is_said_of_a_command_that_has_not_begun(held: Held) -> None:
    calls: list[object] = []
    held.session._sink = calls.append
    held.session._decode_chunk(b"")
    assert calls == []
    held.session._command = 10
    held.session._decode_chunk(b"")
    assert calls == [[]]


def test_the_switch_interval_is_given_back() -> None:
    before = sys.getswitchinterval()
    held = Held()
    sys.setswitchinterval(session._SWITCH_S)  # as  does
    held.session.close()
    assert sys.getswitchinterval() == before


def test_who_ended_before_anything_was_recorded_is_not_waited_for(held: Held) -> None:
    child = subprocess.Popen(["sleep", "60"])
    alive = held.session._alive
    alive |= {child.pid, os.getpid()}
    held.session._forget_ended()
    assert alive == {child.pid, os.getpid()}
    child.kill()
    child.wait()
    held.session._forget_ended()
    assert alive == {os.getpid()}
