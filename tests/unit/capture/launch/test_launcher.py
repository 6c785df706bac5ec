"""The launcher: a child that waits, execs, and is watched to its end."""

from __future__ import annotations

import errno
import gc
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from writeaudit.capture.interface import Command
from writeaudit.capture.launch.launcher import Exit, spawn_child, supervise_child
from writeaudit.errors import CommandNotExecutable, CommandNotFound, WriteauditError


def _command(*argv: str | Path) -> Command:
    return Command(tuple(os.fsencode(word) for word in argv), dict(os.environb))


@pytest.fixture(autouse=True)
def signals_as_before() -> Iterator[None]:
    """Whatever happens, the tester's own process keeps its signal mask and its descriptors."""
    # The kernel would give a signal that is blocked here to any other thread, and that would end us all.
    assert threading.enumerate() == [threading.main_thread()]
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    gc.collect()  # what other tests left open must not be closed meanwhile
    descriptors = set(os.listdir("/proc/self/fd"))
    yield
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == mask
    assert len(set(os.listdir("/proc/self/fd"))) == len(descriptors)


@pytest.fixture
def default_action() -> Iterator[Callable[[int], None]]:
    """Give a signal its default action until the test ends."""
    before: dict[int, Any] = {}

    def set_default(number: int) -> None:
        before[number] = signal.signal(number, signal.SIG_DFL)

    yield set_default
    for number, action in before.items():
        signal.signal(number, action)


def _run(command: Command) -> Exit:
    child = spawn_child(command)
    child.release_child()
    return supervise_child(child, {})


def test_child_does_nothing_before_it_is_released(tmp_path: Path) -> None:
    child = spawn_child(_command("touch", tmp_path / "made"))
    time.sleep(0.1)
    assert not (tmp_path / "made").exists()
    before = time.monotonic_ns()
    started = child.release_child()
    assert before <= started <= time.monotonic_ns()
    assert supervise_child(child, {}) == Exit(0, None)
    assert (tmp_path / "made").exists()


def test_child_that_is_abandoned_never_runs(tmp_path: Path) -> None:
    child = spawn_child(_command("touch", tmp_path / "made"))
    child.abandon_child()
    assert not (tmp_path / "made").exists()
    with pytest.raises(ChildProcessError):
        os.waitpid(child.pid, 0)


@pytest.mark.parametrize("status", [0, 1, 125, 255])
def test_exit_status(status: int) -> None:
    assert _run(_command("sh", "-c", f"exit {status}")) == Exit(status, None)


def test_end_by_a_signal() -> None:
    assert _run(_command("sh", "-c", "kill -9 $$")) == Exit(None, 9)


def test_command_that_is_not_there() -> None:
    child = spawn_child(_command("no-such-command-anywhere"))
    with pytest.raises(CommandNotFound, match="no-such-command-anywhere"):
        child.release_child()


@pytest.mark.parametrize(
    ("code", "why"), [(errno.E2BIG, "more confinements are nested"), (errno.ENOMEM, "Cannot allocate memory")]
)
def test_command_that_cannot_be_confined(code: int, why: str, capfd: pytest.CaptureFixture[str]) -> None:
    def refuse() -> None:
        raise OSError(code, "")

    child = spawn_child(_command("echo", "ran")._replace(confine=refuse))
    with pytest.raises(WriteauditError, match=f"cannot be confined, and was not run: {why}"):
        child.release_child()
    assert capfd.readouterr().out == ""


@pytest.mark.parametrize("kind", ["plain", "directory", "nonsense"])
def test_command_that_cannot_be_executed(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "it"
    if kind == "directory":
        path.mkdir()
    else:
        path.write_text("neither ELF nor script")
        path.chmod(0o644 if kind == "plain" else 0o755)
    child = spawn_child(_command(path))
    with pytest.raises(CommandNotExecutable):
        child.release_child()


def test_path_of_the_commands_own_environment_counts(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("#!/bin/sh\nexit 6\n")
    (tmp_path / "mine").chmod(0o755)
    command = Command((b"mine",), {b"PATH": os.fsencode(tmp_path)})
    assert _run(command) == Exit(6, None)


def test_announcement_comes_from_the_child_right_before_it_execs(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    child = spawn_child(_command("true"), announce=lambda: os.write(writer, str(os.getpid()).encode()))
    os.set_blocking(reader, False)
    with pytest.raises(BlockingIOError):
        os.read(reader, 10)
    child.release_child()
    assert int(os.read(reader, 10)) == child.pid
    supervise_child(child, {})
    os.close(reader)
    os.close(writer)


def test_descriptors_of_ours_are_closed(tmp_path: Path) -> None:
    with (tmp_path / "ours").open("wb") as ours:
        child = spawn_child(_command("sh", "-c", f"! test -e /proc/self/fd/{ours.fileno()}"))
        child.release_child()
        assert supervise_child(child, {}) == Exit(0, None)


def test_source_is_called_while_the_command_runs() -> None:
    reader, writer = os.pipe()
    os.set_inheritable(writer, True)
    heard: list[bytes] = []
    child = spawn_child(_command("sh", "-c", f"echo one >/proc/self/fd/{writer}; sleep 0.3"))
    child.release_child()
    supervise_child(child, {reader: lambda: heard.append(os.read(reader, 100))})
    os.close(reader)
    os.close(writer)
    assert heard == [b"one\n"]


def test_tick_comes_again_and_again() -> None:
    ticks: list[float] = []
    child = spawn_child(_command("sleep", "0.5"))
    child.release_child()
    supervise_child(child, {}, tick_s=0.02, on_tick=lambda: ticks.append(time.monotonic()))
    assert len(ticks) >= 8


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP, signal.SIGINT])
def test_signal_is_handed_on(number: signal.Signals, default_action: Callable[[int], None]) -> None:
    default_action(number)  # under nohup the command would inherit that it is ignored
    child = spawn_child(
        _command(sys.executable, "-c", "import signal, time; print(1, flush=True); time.sleep(20)")
    )
    child.release_child()
    threading.Timer(0.3, os.kill, (os.getpid(), number)).start()
    ended = supervise_child(child, {})
    assert ended == Exit(None, number) or (number is signal.SIGINT and ended == Exit(1, None))


def test_signal_that_came_with_the_end_is_not_ours() -> None:
    # As with Ctrl-C: the terminal sends it to the command and to us, and the command's end comes first.
    child = spawn_child(_command("sh", "-c", f"kill -INT {os.getpid()}; exit 3"))
    child.release_child()
    time.sleep(0.2)
    assert supervise_child(child, {}) == Exit(3, None)


def test_command_is_waited_for_whatever_fails(tmp_path: Path) -> None:
    ticks = 0

    def fail() -> None:
        nonlocal ticks
        ticks += 1
        raise ValueError(f"tick {ticks}")

    child = spawn_child(_command("sh", "-c", f"sleep 0.3; : > '{tmp_path}/made'"))
    child.release_child()
    with pytest.raises(ValueError, match=r"tick 1$"):
        supervise_child(child, {}, on_tick=fail)
    assert (tmp_path / "made").exists()
    assert ticks > 1  # what is read there would stand in the command's way
