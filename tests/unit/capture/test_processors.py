"""Whether a processor is to spare: what /proc/loadavg says, against what this process may use."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from writeaudit.capture.processors import DrainPolicy, Processors

_Says = Callable[[str], Processors]


@pytest.fixture
def says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[_Says]:
    """Processors of a machine on which two may be used, and of which a file says something."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {0, 5})
    made: list[Processors] = []

    def make(text: str) -> Processors:
        path = tmp_path / "loadavg"
        path.write_text(text)
        made.append(Processors(str(path)))
        return made[-1]

    yield make
    for processors in made:
        processors.close()


@pytest.mark.parametrize(("running", "spare"), [(0, True), (1, True), (2, True), (3, False), (700, False)])
def test_nobody_has_to_wait_while_there_are_no_more_threads_than_processors(
    says: _Says, running: int, spare: bool
) -> None:
    assert says(f"1.20 0.80 0.50 {running}/812 4711\n").has_spare() is spare


@pytest.mark.parametrize("text", ["", "0.00 0.00 0.00\n", "0.00 0.00 0.00 many/few 1\n"])
def test_where_nobody_says_nobody_waits(says: _Says, text: str) -> None:
    assert says(text).has_spare()


def test_machine_without_the_file(tmp_path: Path) -> None:
    processors = Processors(str(tmp_path / "none"))
    assert processors.has_spare()
    processors.close()


def test_file_is_read_anew_each_time(says: _Says, tmp_path: Path) -> None:
    processors = says("0 0 0 9/9 1\n")
    assert not processors.has_spare()
    (tmp_path / "loadavg").write_text("0 0 0 1/9 1\n")
    assert processors.has_spare()


def test_closed_twice(says: _Says) -> None:
    processors = says("0 0 0 9/9 1\n")
    processors.close()
    processors.close()
    assert processors.has_spare()


def _due(drain_policy: DrainPolicy, *held: int) -> list[bool]:
    return [drain_policy.is_due(waiting) for waiting in held]


def test_work_is_due_in_a_pause_and_one_quiet_moment_is_none() -> None:
    quiet = iter([True, False, False, True, True, True, False])
    drain_policy = DrainPolicy(lambda: next(quiet), much=100, limit_s=60)
    assert _due(drain_policy, *[1] * 7) == [False, False, False, False, True, True, False]


def test_much_work_is_due_at_once() -> None:
    assert _due(DrainPolicy(lambda: False, much=100, limit_s=60), 100, 101) == [False, True]


def test_work_is_due_once_it_has_waited_long_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([5.0, 5.05, 5.11, 5.2, 5.25, 5.3, 5.45])
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    drain_policy = DrainPolicy(lambda: False, much=100, limit_s=0.1)
    assert _due(drain_policy, 1, 1, 1) == [False, False, True]
    # What comes next begins to wait then, and so does what comes after all was done.
    assert _due(drain_policy, 1, 1) == [False, False]
    drain_policy.note_done()
    assert _due(drain_policy, 1, 1) == [False, True]
