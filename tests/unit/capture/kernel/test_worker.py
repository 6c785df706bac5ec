"""Work beside the command: in order, reporting its errors, stopping when told."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator

import pytest

from writeaudit.capture.kernel.worker import Worker


class _Work:
    """Notes what it was given, and where; can be made to wait or to fail."""

    def __init__(self) -> None:
        self.chunks: list[bytes] = []
        self.nice: int | None = None
        self.idle = threading.Event()
        self.go = threading.Event()
        self.go.set()

    def __call__(self, chunk: bytes) -> None:
        assert self.go.wait(10)
        if not chunk:
            self.idle.set()
            return
        if chunk == b"bad":
            raise ValueError("bad chunk")
        self.nice = os.getpriority(os.PRIO_PROCESS, 0)
        self.chunks.append(chunk)


@pytest.fixture
def work() -> _Work:
    return _Work()


@pytest.fixture
def worker(work: _Work) -> Iterator[Worker]:
    made = Worker(work)
    made.start()
    yield made
    work.go.set()
    made.close()


def test_chunks_are_worked_on_in_order_at_a_lower_priority(worker: Worker, work: _Work) -> None:
    before = os.getpriority(os.PRIO_PROCESS, 0)
    chunks = [b"%d" % number for number in range(100)]
    for chunk in chunks:
        worker.push_chunk(chunk)
    assert worker.wait_until_done(10)
    assert work.chunks == chunks
    assert work.nice == min(19, before + 10)
    assert os.getpriority(os.PRIO_PROCESS, 0) == before


def test_work_is_called_while_nothing_comes(worker: Worker, work: _Work) -> None:
    worker.push_chunk(b"one")
    assert worker.wait_until_done(10)
    work.idle.clear()
    assert work.idle.wait(10)
    assert work.chunks == [b"one"]


def test_nothing_to_do_is_done(worker: Worker) -> None:
    assert worker.wait_until_done(0)


def test_pushing_never_waits_for_the_work(worker: Worker, work: _Work) -> None:
    work.go.clear()
    for number in range(10):
        worker.push_chunk(b"%d" % number)
    assert not worker.wait_until_done(0.01)
    work.go.set()
    assert worker.wait_until_done(10)
    assert len(work.chunks) == 10


def test_error_reaches_whoever_waits(worker: Worker, work: _Work) -> None:
    worker.push_chunk(b"good")
    worker.push_chunk(b"bad")
    with pytest.raises(ValueError, match="bad chunk"):
        worker.wait_until_done(10)
    assert work.chunks == [b"good"]


@pytest.mark.skipif(os.geteuid() != 0, reason="raising a priority takes a privilege")
def test_hurry_gives_the_usual_priority_back(worker: Worker, work: _Work) -> None:
    worker.push_chunk(b"slow")
    assert worker.wait_until_done(10)
    worker.hurry()
    worker.push_chunk(b"fast")
    assert worker.wait_until_done(10)
    assert work.nice == os.getpriority(os.PRIO_PROCESS, 0)


class _Pauses:
    """Says whether the command pauses, and how often it was asked."""

    def __init__(self) -> None:
        self.now = False
        self.asked = 0

    def __call__(self) -> bool:
        self.asked += 1
        return self.now


@pytest.fixture
def pauses() -> _Pauses:
    return _Pauses()


@pytest.fixture
def sparing(work: _Work, pauses: _Pauses) -> Iterator[Worker]:
    """One whose patience has no end."""
    made = Worker(work, pauses)
    made._drain_policy._limit_s = 60
    made.start()
    yield made
    made.close()


def test_work_waits_for_a_pause(sparing: Worker, work: _Work, pauses: _Pauses) -> None:
    sparing.push_chunk(b"one")
    assert not sparing.wait_until_done(0.05)
    assert work.chunks == []
    assert pauses.asked > 1
    pauses.now = True
    assert sparing.wait_until_done(10)
    assert work.chunks == [b"one"]


def test_work_waits_no_longer_once_nobody_has_to_be_spared(sparing: Worker, work: _Work) -> None:
    sparing.push_chunk(b"one")
    sparing.hurry()
    assert sparing.wait_until_done(10)
    assert work.chunks == [b"one"]


def test_work_does_not_wait_when_much_has_come(sparing: Worker, work: _Work) -> None:
    sparing.push_chunk(b"one")
    sparing.push_chunk(bytes(25 << 20))
    sparing.push_chunk(b"two")
    assert not sparing.wait_until_done(0.2)
    assert work.chunks[0] == b"one"


def test_patience_has_an_end(work: _Work, pauses: _Pauses) -> None:
    made = Worker(work, pauses)
    made.start()
    made.push_chunk(b"one")
    assert made.wait_until_done(10)
    made.close()
    assert work.chunks == [b"one"]


def test_hurry_before_the_start(work: _Work) -> None:
    made = Worker(work, lambda: False)
    made.hurry()
    made.start()
    made.push_chunk(b"one")
    assert made.wait_until_done(10)
    assert work.nice == os.getpriority(os.PRIO_PROCESS, 0)
    made.close()


def test_close_does_not_wait_for_a_pause(sparing: Worker, work: _Work) -> None:
    sparing.push_chunk(b"one")
    sparing.close()
    assert work.chunks in ([], [b"one"])


def test_close_forgets_what_was_not_begun(work: _Work) -> None:
    made = Worker(work)
    work.go.clear()
    made.start()
    for number in range(5):
        made.push_chunk(b"%d" % number)
    threading.Timer(0.05, work.go.set).start()
    made.close()
    assert len(work.chunks) < 5


def test_close_without_a_start(work: _Work) -> None:
    made = Worker(work)
    made.push_chunk(b"never")
    made.close()
    assert work.chunks == []


def test_nobody_waits_for_a_thread_that_never_began(work: _Work) -> None:
    made = Worker(work)
    made.push_chunk(b"never")
    assert not made.wait_until_done()
    made.close()
