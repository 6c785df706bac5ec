"""The command is what it would be without writeaudit: all that a process can see of itself."""

from __future__ import annotations

import ctypes
import json
import os
import platform
import resource
import signal
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT
from writeaudit.capture.interface import Backend

_LOOK = """
import json, os, resource, signal, sys
wanted = {"SigBlk", "SigIgn", "SigCgt", "SigPnd", "ShdPnd", "Umask", "Uid", "Gid", "Groups", "CapInh",
          "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp", "Cpus_allowed"}
status = dict(line.split(":", 1) for line in open("/proc/self/status") if ":" in line)
descriptors = {}
for number in os.listdir("/proc/self/fd"):
    try:
        descriptors[number] = os.readlink(f"/proc/self/fd/{number}"), os.lseek(int(number), 0, os.SEEK_CUR)
    except OSError as error:
        descriptors[number] = error.strerror
seen = {name: status[name].strip() for name in wanted if name in status}
seen |= {
    "descriptors": descriptors, "environment": sorted(os.environb.items()).__repr__(), "cwd": os.getcwd(),
    "argv": sys.orig_argv, "name": open("/proc/self/comm").read(), "nice": os.nice(0),
    "limits": {name: resource.getrlimit(getattr(resource, name)) for name in dir(resource)
               if name.startswith("RLIMIT_")},
    "session": os.getsid(0), "group": os.getpgid(0) == os.getpgid(os.getppid()),
    "oom": open("/proc/self/oom_score_adj").read(), "scheduler": os.sched_getscheduler(0),
    "personality": open("/proc/self/personality").read(),
    "stdin": sys.stdin.read(),
}
json.dump(seen, sys.stdout)
"""
MAY_DIFFER = {"ebpf": set[str](), "bcc": set[str](), "strace": {"NoNewPrivs", "Seccomp", "ShdPnd"}}
"""What a backend cannot hide. strace's filter needs no_new_privs (seccomp(2)); its tracer is forked from
the command's own process, and where SIGCHLD is blocked, as here, that leaves one pending."""


def _prepare() -> None:
    """Give the process some unusual properties that a command must inherit."""
    os.umask(0o027)
    os.nice(3)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # The C library's own (nptl(7)): what runs this test may ignore it, and its sigaction refuses it.
    if platform.machine() == "x86_64":
        ctypes.CDLL(None).syscall(13, 33, struct.pack("=QQQQ", 1, 0, 0, 0), None, 8)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1, signal.SIGCHLD})
    resource.setrlimit(resource.RLIMIT_NOFILE, (333, 4096))


def _seen(prefix: list[str], tmp_path: Path, **changes: Any) -> dict[str, Any]:
    cwd = tmp_path / "work with spaces"
    cwd.mkdir(exist_ok=True)
    (tmp_path / "input").write_text("from standard input\n")
    (tmp_path / "extra").write_text("0123456789")
    with (tmp_path / "input").open("rb") as stdin, (tmp_path / "extra").open("rb") as extra:
        os.lseek(extra.fileno(), 4, os.SEEK_SET)
        done = subprocess.run(
            [*prefix, sys.executable, "-I", "-S", "-c", _LOOK],
            cwd=cwd,
            stdin=stdin,
            capture_output=True,
            pass_fds=(extra.fileno(),),
            preexec_fn=_prepare,
            env={**os.environb, b"ODD": b"a\nb", b"EMPTY": b"", b"BYTES": b"\xff\xfe"},
            check=False,
            **changes,
        )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    # Pipes of this test are other ones each time; that they are pipes is what counts.
    found["descriptors"] = {
        number: str(target).partition("pipe:")[1] or target for number, target in found["descriptors"].items()
    }
    return found


def _writeaudit(backend: str, tmp_path: Path) -> list[str]:
    start = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from writeaudit.cli import main; main()"
    output = str(tmp_path / "recording.wa")
    return [sys.executable, "-c", start, "run", "--backend", backend, "-q", "-o", output, "--"]


def test_command_inherits_all_that_it_would(backend: Backend, tmp_path: Path) -> None:
    bare = _seen([], tmp_path)
    audited = _seen(_writeaudit(backend.name, tmp_path), tmp_path)
    different = {key for key in bare if bare[key] != audited[key]}
    assert different <= MAY_DIFFER[backend.name], {key: (bare[key], audited[key]) for key in different}
    assert bare["stdin"] == "from standard input\n"
    assert bare["Umask"] == "0027"
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGUSR2):
        assert int(bare["SigIgn"], 16) & 1 << number - 1


def test_broken_pipe_ends_the_command_as_ever(backend: Backend, tmp_path: Path) -> None:
    words = [*_writeaudit(backend.name, tmp_path), "sh", "-c", "yes; echo status $? >&2"]
    script = '"$@" | head -n 1'
    done = subprocess.run(
        ["bash", "-c", script, "-", *words], capture_output=True, text=True, timeout=30, check=True
    )
    assert done.stdout == "y\n"
    assert f"status {128 + signal.SIGPIPE}" in done.stderr


def test_closed_standard_streams(backend: Backend, tmp_path: Path) -> None:
    marker, report = tmp_path / "ran", tmp_path / "report.json"
    words = [*(word for word in _writeaudit(backend.name, tmp_path) if word not in ("-q", "--"))]
    words += ["--json", str(report), "--", "sh", "-c", f"echo > '{marker}'; exit 5"]
    done = subprocess.run(["bash", "-c", '"$@" <&- >&- 2>&-', "-", *words], check=False, timeout=30)
    assert done.returncode == 5
    assert marker.exists()
    assert json.loads(report.read_text())["run"]["exit_status"] == 5


def test_nothing_but_the_commands_own_words_on_standard_output(backend: Backend, tmp_path: Path) -> None:
    done = subprocess.run(
        [*(word for word in _writeaudit(backend.name, tmp_path) if word != "-q"), "printf", "exactly this"],
        capture_output=True,
        check=False,
        timeout=30,
    )
    assert done.stdout == b"exactly this"
    assert b"writeaudit: " in done.stderr


def test_writeaudits_own_files_are_not_in_the_audit(backend: Backend, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    words = [*_writeaudit(backend.name, tmp_path)[:-1], "--json", str(report), "--", "true"]
    subprocess.run(words, check=True, timeout=30)
    found = json.loads(report.read_text())
    assert [event for event in found["events"] if event["verdict"] != "read"] == []
    assert not [event for event in found["events"] if str(tmp_path) in event["path"]]
    assert [process["argv"] for process in found["processes"]] == [["true"]]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGHUP])
def test_signal_sent_to_writeaudit_reaches_the_command(
    backend: Backend, tmp_path: Path, number: signal.Signals
) -> None:
    script = f"trap 'echo caught; exit 7' {number.name[3:]}; echo ready; while :; do sleep 0.05; done"
    words = [*_writeaudit(backend.name, tmp_path), "sh", "-c", script]
    with subprocess.Popen(
        words,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell cannot trap what it found ignored, as under nohup.
        preexec_fn=lambda: signal.signal(number, signal.SIG_DFL),  # noqa: PLW1509 - no threads here
    ) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "ready\n"
        running.send_signal(number)
        try:
            out, err = running.communicate(timeout=30)
        except subprocess.TimeoutExpired:
            running.kill()
            raise
    assert (out, running.returncode) == ("caught\n", 7), err


def test_command_ended_by_a_signal(backend: Backend, tmp_path: Path) -> None:
    done = subprocess.run(
        [*_writeaudit(backend.name, tmp_path), "sh", "-c", "kill -KILL $$"], check=False, timeout=30
    )
    assert done.returncode == 128 + signal.SIGKILL
