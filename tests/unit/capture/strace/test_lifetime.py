"""The strace backend: how it begins, and ends that come out of turn."""

from __future__ import annotations

import os
import select
import time
from pathlib import Path

import pytest

from tests.support.strace_runs import auditor, command, run
from writeaudit.capture.interface import CaptureLimits
from writeaudit.capture.strace.backend import StraceBackend
from writeaudit.capture.strace.drain import stand_by
from writeaudit.errors import BackendUnavailable, CommandNotExecutable, CommandNotFound


def _written(path: Path) -> str:
    """Wait for a file, for ten seconds at the most, and return the line in it."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and not (path.exists() and path.read_text().endswith("\n")):
        time.sleep(0.02)
    return path.read_text()


@pytest.mark.requires_strace
def test_a_process_that_outlives_the_audit_is_named_and_not_harmed(place: Path) -> None:
    script = "(sleep 1.5; mkdir late; echo $? > status) >/dev/null 2>&1 & sleep 0.1"
    outcome, _records = run("sh", "-c", script, linger_s=0.3)
    assert outcome.exit_status == 0
    assert outcome.survivors
    assert _written(place / "status") == "0\n"


@pytest.mark.requires_strace
def test_the_command_goes_on_when_its_auditor_is_killed(place: Path) -> None:
    auditing = auditor("echo $$ > started; sleep 1; mkdir after; echo $? > status")
    _written(place / "started")
    auditing.kill()
    auditing.wait()
    assert _written(place / "status") == "0\n"


def _program(path: Path, text: str = "#!/bin/sh\n", mode: int = 0o755) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    path.chmod(mode)


@pytest.mark.requires_strace
def test_programs_are_found_as_execvp_finds_them(place: Path) -> None:
    _program(place / "a" / "tool", mode=0o644)
    _program(place / "b" / "tool", "#!/bin/sh\nexit 5\n")
    (place / "c" / "tool").mkdir(parents=True)

    def status(*argv: str, path: str = "/nowhere") -> int | None:
        found = StraceBackend().capture(command(*argv, PATH=path), lambda _records: None, CaptureLimits())
        return found.exit_status

    assert status("tool", path=f"{place}/a:{place}/c:{place}/b") == 5
    assert status("./b/tool") == 5
    with pytest.raises(CommandNotExecutable, match="Permission denied"):
        status("tool", path=f"{place}/a")
    with pytest.raises(CommandNotExecutable, match="Permission denied"):
        status(str(place))
    for missing in ("tool", "./nothing"):
        with pytest.raises(CommandNotFound):
            status(missing)


@pytest.mark.requires_strace
def test_a_missing_interpreter_is_no_such_command(place: Path) -> None:
    _program(place / "a" / "script", "#!/no/such -x\n")
    with pytest.raises(CommandNotFound):
        run("./a/script")


@pytest.mark.requires_strace
def test_what_is_no_program_is_not_the_commands_failure(place: Path) -> None:
    _program(place / "a" / "data", "no program\n")
    with pytest.raises(CommandNotExecutable, match="Exec format error"):
        run("./a/data")


def test_a_missing_strace_comes_with_a_remedy() -> None:
    with pytest.raises(BackendUnavailable) as caught:
        StraceBackend("/no/such/strace").check()
    assert caught.value.hint is not None
    assert "apt install strace" in caught.value.hint


def test_an_old_strace_is_refused(place: Path) -> None:
    _program(place / "bin" / "strace", "#!/bin/sh\necho 'strace -- version 4.26'\n")
    with pytest.raises(BackendUnavailable, match=r"4\.26 is too old"):
        StraceBackend(str(place / "bin" / "strace")).check()


def test_a_strace_that_cannot_attach_leaves_the_command_undone(place: Path) -> None:
    _program(
        place / "bin" / "strace",
        '#!/bin/sh\n[ "$1" = -V ] && { echo "strace -- version 6.1"; exit; }\n'
        'echo "strace: attach: ptrace(PTRACE_SEIZE, 1): Operation not permitted" >&2\nexit 1\n',
    )
    backend = StraceBackend(str(place / "bin" / "strace"))
    with pytest.raises(BackendUnavailable, match=r"PTRACE_SEIZE.*not permitted"):
        backend.capture(command("mkdir", "made"), lambda _records: None, CaptureLimits())
    assert not (place / "made").exists()


@pytest.mark.requires_strace
def test_nobody_waits_for_the_tracer_of_a_daemon(place: Path) -> None:
    """Whoever reads the command's standard error to its end waits for the command alone."""
    ours, theirs = os.pipe()
    began = time.monotonic()
    auditing = auditor("(sleep 3) >/dev/null 2>&1 </dev/null &", linger_s=0.1, stderr=theirs)
    os.close(theirs)
    told = b""
    while chunk := os.read(ours, 4096):
        told += chunk
    took = time.monotonic() - began
    os.close(ours)
    assert auditing.wait() == 0, told
    assert told == b""
    assert took < 2.5


def _writable(fd: int) -> bool:
    return bool(select.select([], [fd], [], 0)[1])


def test_the_drain_reads_on_once_it_is_let_go() -> None:
    ours, theirs = os.pipe()
    os.set_blocking(ours, False)
    drain = stand_by(ours)
    os.set_blocking(theirs, False)
    while _writable(theirs):
        os.write(theirs, bytes(4096))
    os.close(ours)
    time.sleep(0.05)
    assert not _writable(theirs)
    drain.take_over()
    assert select.select([], [theirs], [], 5)[1]
    os.close(theirs)
    _pid, status = os.waitpid(drain.pid, 0)
    assert status == 0


def test_a_drain_that_is_not_needed_ends() -> None:
    ours, theirs = os.pipe()
    drain = stand_by(ours)
    drain.end_drain()
    with pytest.raises(ProcessLookupError):
        os.kill(drain.pid, 0)
    os.close(ours)
    os.close(theirs)
