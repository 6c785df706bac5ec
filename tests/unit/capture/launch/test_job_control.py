"""Stopping with the command: where a shell can continue us, and no longer than the command stands still."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest

from writeaudit.capture.launch import job_control

_SUPERVISE = """
import os, sys
from writeaudit.capture.interface import Command
from writeaudit.capture.launch.launcher import spawn_child, supervise_child
child = spawn_child(Command(("sh", "-c", sys.argv[1]), os.environb))
child.release_child()
print("pid", child.pid, flush=True)
print("ended", supervise_child(child, {}), flush=True)
"""


class Job:
    """A supervised command in a process group of its own on a terminal, as an interactive shell starts it."""

    def __init__(self, script: str, *, group: bool) -> None:
        self.session, self.terminal = pty.fork()
        if self.session == 0:
            # The shell: it stays out of the group, and leaves the terminal to it.
            job = os.fork()
            if job == 0:
                if group:
                    os.setpgid(0, 0)
                os.execv(sys.executable, [sys.executable, "-c", _SUPERVISE, script])
            os.write(1, b"job %d\n" % job)
            os.waitpid(job, 0)
            os._exit(0)
        self._seen = b""
        self.pid = int(self.wait_for(b"job ").split()[0])

    def wait_for(self, text: bytes) -> bytes:
        """Return what follows a text on its line, once it has come."""
        deadline = time.monotonic() + 20
        while b"\n" not in self._seen.partition(text)[2]:
            assert time.monotonic() < deadline, self._seen
            self._seen += os.read(self.terminal, 1000)
        return self._seen.partition(text)[2].splitlines()[0]

    def state(self) -> str:
        """Return what the supervisor does: T if it stands still."""
        with open(f"/proc/{self.pid}/stat", encoding="ascii") as file:
            return file.read().rpartition(")")[2].split()[0]


@pytest.fixture
def job() -> Iterator[Callable[..., Job]]:
    jobs: list[Job] = []

    def start(script: str, *, group: bool = True) -> Job:
        jobs.append(Job(script, group=group))
        return jobs[-1]

    yield start
    for made in jobs:
        os.close(made.terminal)
        os.waitpid(made.session, 0)


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_command_that_its_own_child_continues_is_waited_for(job: Callable[..., Job]) -> None:
    made = job("(sleep 0.5; kill -CONT $$) & kill -STOP $$; wait; echo went on; exit 3")
    made.wait_for(b"pid ")
    _until(lambda: made.state() == "T")
    made.wait_for(b"went on")
    assert made.wait_for(b"ended ") == b"Exit(status=3, signal=None)"


def test_command_that_is_killed_where_it_stands(job: Callable[..., Job]) -> None:
    made = job("(sleep 0.5; kill -KILL $$) & kill -STOP $$; exit 3")
    assert made.wait_for(b"ended ") == b"Exit(status=None, signal=9)"


def test_who_continues_us_means_the_command(job: Callable[..., Job]) -> None:
    made = job("kill -STOP $$; echo went on; exit 3")
    made.wait_for(b"pid ")
    _until(lambda: made.state() == "T")
    time.sleep(0.3)
    assert made.state() == "T"
    os.kill(made.pid, signal.SIGCONT)
    made.wait_for(b"went on")
    assert made.wait_for(b"ended ") == b"Exit(status=3, signal=None)"


def test_without_job_control_nobody_stops(job: Callable[..., Job]) -> None:
    made = job("(sleep 0.5; kill -CONT $$) & kill -STOP $$; wait; exit 3", group=False)
    made.wait_for(b"pid ")
    for _ in range(20):
        assert made.state() != "T"
        time.sleep(0.01)
    assert made.wait_for(b"ended ") == b"Exit(status=3, signal=None)"


def test_without_a_terminal_nobody_stops() -> None:
    script = "(sleep 0.3; kill -CONT $$) & kill -STOP $$; wait; exit 3"
    done = subprocess.run(
        [sys.executable, "-c", _SUPERVISE, script], start_new_session=True, capture_output=True, timeout=20,
        check=True,
    )  # fmt: skip
    assert b"Exit(status=3, signal=None)" in done.stdout


def test_thread_that_runs_is_told_from_one_that_stands_still() -> None:
    sleeper = subprocess.Popen(["sleep", "20"])
    try:
        assert not job_control._stands_still(sleeper.pid)
        sleeper.send_signal(signal.SIGSTOP)
        _until(lambda: job_control._stands_still(sleeper.pid))
    finally:
        sleeper.kill()
        sleeper.wait()
    assert job_control._stands_still(sleeper.pid)  # nobody can say
