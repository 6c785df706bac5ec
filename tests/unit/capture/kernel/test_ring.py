"""The ring buffer's reader, over a buffer that the test fills as the kernel would."""

from __future__ import annotations

import mmap
import os
import resource
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from writeaudit.capture.kernel.ring import Backlog, Ring, split_records

PAGE = mmap.PAGESIZE
BUSY, DISCARD = 1 << 31, 1 << 30


class FakeRing:
    """The producer's end. A file stands for the map; its data is kept twice, as the kernel maps it."""

    def __init__(self, path: Path, size: int = PAGE) -> None:
        self.size = size
        self.fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        os.ftruncate(self.fd, 2 * PAGE + 2 * size)
        self.produced = 0

    def _store(self, position: int, data: bytes) -> None:
        for index, byte in enumerate(data):
            offset = (position + index) % self.size
            for copy in (0, self.size):
                os.pwrite(self.fd, bytes([byte]), 2 * PAGE + copy + offset)

    def emit(self, payload: bytes, flags: int = 0) -> int:
        """Append a record, return its position."""
        position = self.produced
        self._store(position, struct.pack("=II", len(payload) | flags, 0) + payload)
        self.produced += (len(payload) + 8 + 7) & ~7
        os.pwrite(self.fd, struct.pack("=Q", self.produced), PAGE)
        return position

    def commit(self, position: int, length: int) -> None:
        """Finish a record that was emitted as busy."""
        self._store(position, struct.pack("=I", length))

    def consumed(self) -> int:
        """Return how far the reader says that it has come."""
        return int(struct.unpack("=Q", os.pread(self.fd, 8, 0))[0])


@pytest.fixture
def producer(tmp_path: Path) -> Iterator[FakeRing]:
    made = FakeRing(tmp_path / "ring")
    yield made
    os.close(made.fd)


@pytest.fixture
def ring(producer: FakeRing) -> Iterator[Ring]:
    made = Ring(producer.fd, producer.size)
    yield made
    made.close()


def test_nothing_is_nothing(ring: Ring, producer: FakeRing) -> None:
    assert ring.take_records() == b""
    assert producer.consumed() == 0


def test_records_come_whole_and_in_order(ring: Ring, producer: FakeRing) -> None:
    payloads = [b"x", b"", b"12345678", b"123456789" * 10]
    for payload in payloads:
        producer.emit(payload)
    assert ring.count_waiting() == producer.produced
    assert list(split_records(ring.take_records())) == payloads
    assert producer.consumed() == producer.produced
    assert ring.count_waiting() == 0
    assert ring.take_records() == b""


def test_discarded_records_are_skipped_and_make_room(ring: Ring, producer: FakeRing) -> None:
    producer.emit(b"first")
    producer.emit(b"thrown away", DISCARD)
    producer.emit(b"last")
    assert list(split_records(ring.take_records())) == [b"first", b"last"]
    assert producer.consumed() == producer.produced


def test_only_discarded_records_make_room_too(ring: Ring, producer: FakeRing) -> None:
    producer.emit(b"thrown away", DISCARD)
    assert list(split_records(ring.take_records())) == []
    assert producer.consumed() == producer.produced


def test_a_record_in_the_making_holds_back_what_follows(ring: Ring, producer: FakeRing) -> None:
    producer.emit(b"first")
    busy = producer.emit(b"second", BUSY)
    producer.emit(b"third")
    assert list(split_records(ring.take_records())) == [b"first"]
    assert producer.consumed() == busy
    assert ring.take_records() == b""
    producer.commit(busy, len(b"second"))
    assert list(split_records(ring.take_records())) == [b"second", b"third"]


def test_records_that_wrap_around_the_end_are_whole(ring: Ring, producer: FakeRing) -> None:
    wrapped = 0
    for number in range(40):
        payload = bytes([number]) * 510
        start = producer.emit(payload) % producer.size
        wrapped += start + len(payload) + 8 > producer.size
        assert list(split_records(ring.take_records())) == [payload]
    assert wrapped >= 3


@pytest.fixture
def backlog(tmp_path: Path) -> Iterator[Backlog]:
    made = Backlog(limit=100, directory=str(tmp_path))
    yield made
    made.close()


def _all(backlog: Backlog) -> list[bytes]:
    out = []
    while backlog:
        out.append(backlog.pop_chunk())
    return out


def test_backlog_spills_beyond_its_limit_and_keeps_order(backlog: Backlog, tmp_path: Path) -> None:
    chunks = [bytes([number]) * 40 for number in range(10)]
    for chunk in chunks:
        backlog.push_chunk(chunk)
    assert backlog._file is not None
    assert os.fstat(backlog._file.fileno()).st_size >= 240
    assert list(tmp_path.iterdir()) == [], "the spill has a name: it would stay behind after kill -9"
    assert _all(backlog) == chunks
    assert os.fstat(backlog._file.fileno()).st_size == 0


def test_backlog_that_is_empty_is_false(backlog: Backlog) -> None:
    assert not backlog
    backlog.push_chunk(b"x" * 1000)
    assert backlog
    assert backlog.pop_chunk() == b"x" * 1000
    assert not backlog


@given(st.lists(st.one_of(st.integers(1, 80), st.none()), max_size=60))
def test_backlog_is_a_queue(steps: list[int | None]) -> None:
    backlog = Backlog(limit=100)
    expected: list[bytes] = []
    try:
        for number, step in enumerate(steps):
            if step is not None:
                chunk = bytes([number]) * step
                backlog.push_chunk(chunk)
                expected.append(chunk)
            elif expected:
                assert backlog.pop_chunk() == expected.pop(0)
            assert bool(backlog) == bool(expected)
        assert _all(backlog) == expected
    finally:
        backlog.close()


def test_backlog_without_room_says_so_and_loses_nothing_that_it_has(
    backlog: Backlog, monkeypatch: pytest.MonkeyPatch
) -> None:
    backlog.push_chunk(b"a" * 90)
    monkeypatch.setattr("tempfile.TemporaryFile", _no_room)
    with pytest.raises(OSError, match="No space"):
        backlog.push_chunk(b"b" * 90)
    assert _all(backlog) == [b"a" * 90]


def _no_room(**_more: object) -> None:
    raise OSError(28, "No space left on device")


def test_backlog_on_a_full_disk_refuses_a_chunk_at_once_or_keeps_it(backlog: Backlog) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    kept: list[bytes] = []
    refused = 0
    # CPython ignores SIGXFSZ, so a file at its limit answers as a full disk does.
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        for number in range(40):
            chunk = bytes([number]) * 70
            try:
                backlog.push_chunk(chunk)
            except OSError:
                refused += 1
            else:
                kept.append(chunk)
        assert refused >= 20
        assert _all(backlog) == kept
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
