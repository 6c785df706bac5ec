"""Which programs are attached where, and what their skipped runs come to."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from writeaudit.capture.kernel import perf
from writeaudit.capture.kernel.hooks import (
    Hook,
    is_preemptible,
    kernel_version,
    missed_runs,
    needed_hooks,
    uring_hooks,
)


@pytest.mark.parametrize(
    ("release", "version"),
    [("6.1.0-50-amd64", (6, 1)), ("7.2.13+deb14", (7, 2)), ("5.10", (5, 10)), ("x", (0, 0)), ("6.", (0, 0))],
)
def test_version_of_a_release(release: str, version: tuple[int, int]) -> None:
    assert kernel_version(release) == version


def test_from_linux_7_on_all_programs_but_one_are_attached_through_perf() -> None:
    assert not is_preemptible("6.18.44")
    assert all(hook.category is None for hook in (*needed_hooks("6.18.44"), *uring_hooks("6.18.44")))
    assert is_preemptible("7.0.1-rt")
    raw = {hook.tracepoint for hook in (*needed_hooks("7.0.1"), *uring_hooks("7.0.1")) if not hook.category}
    assert raw == {"sched_process_fork"}


def test_io_uring_has_had_other_tracepoints() -> None:
    assert uring_hooks("5.19.0") == ()
    assert [hook.tracepoint for hook in uring_hooks("6.1.0")] == ["io_uring_submit_sqe", "io_uring_complete"]
    assert [hook.tracepoint for hook in uring_hooks("6.3.0")] == ["io_uring_submit_req", "io_uring_complete"]


def test_every_program_counts_and_copies_count_once() -> None:
    assert missed_runs({"sys_exit": 3, "io_uring_complete": 4}) == 7
    forks = {f"sched_process_fork{copy}": 9 for copy in ("", "_2", "_3")}
    assert missed_runs({**forks, "sched_process_fork_4": 1, "sched_process_exit": 2}) == 3
    assert missed_runs({**forks, "sched_process_fork_4": 0}) == 0


def test_what_perf_passes_is_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "events" / "io_uring" / "io_uring_complete"
    place.mkdir(parents=True)
    fields = "\tfield:void * ctx;\toffset:8;\tsize:8;\tsigned:0;\n\tfield:void * req;\toffset:{0};\tsize:8;\n"
    (place / "format").write_text(fields.format(16))
    directory = os.open(tmp_path, os.O_RDONLY)
    monkeypatch.setattr(perf, "open_tracefs", lambda: directory)
    hook = Hook("io_uring_complete", "io_uring_complete", "io_uring", (("req", 16),))
    perf.check_passed(hook)
    (place / "format").write_text(fields.format(24))
    with pytest.raises(OSError, match="does not pass req at 16"):
        perf.check_passed(hook)
    os.close(directory)
