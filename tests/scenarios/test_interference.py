"""Kills, crowds, full disks, audits within audits, programs that mean no good."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT, Cli
from tests.scenarios.conftest import Audit, Mounts
from writeaudit.capture.interface import Backend

_START = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from writeaudit.cli import main; main()"


def _words(backend: str, recording: Path, *options: str) -> list[str]:
    return [sys.executable, "-c", _START, "run", "--backend", backend, "-o", str(recording), *options, "--"]


def _bpf_programs() -> set[int]:
    """Return the ids of all BPF programs in the kernel (bpf(2), BPF_PROG_GET_NEXT_ID)."""
    libc = ctypes.CDLL(None, use_errno=True)
    found: set[int] = set()
    current = 0
    while True:
        attributes = ctypes.create_string_buffer(struct.pack("=III", current, 0, 0), 128)
        if libc.syscall(321, 11, attributes, 12):
            return found
        current = struct.unpack_from("=I", attributes, 4)[0]
        found.add(current)


@pytest.fixture
def nothing_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Neither BPF programs nor temporary files outlive the test's audits."""
    temporary = tmp_path / "tmpdir"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    before = _bpf_programs()
    yield
    # Ours are gone a moment after their process. Those of others come and go; ids are never given twice.
    left = _bpf_programs() - before
    deadline = time.monotonic() + 20
    while left & _bpf_programs() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not left & _bpf_programs()
    assert list(temporary.iterdir()) == []


def _wait_for(path: Path, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} does not come"
        time.sleep(0.02)


@pytest.mark.usefixtures("nothing_stays")
def test_kill_of_writeaudit_leaves_the_command_alone_and_a_readable_recording(
    cli: Cli, backend: Backend, tmp_path: Path
) -> None:
    recording, work = tmp_path / "r.wa", tmp_path / "work"
    work.mkdir()
    script = "touch one; sleep 1.6; touch two; sleep 0.2; touch go-on; sleep 1; touch done"
    words = [*_words(backend.name, recording, "--zone", f"w={work}:rw"), "sh", "-c", script]
    with subprocess.Popen(words, cwd=work) as running:
        _wait_for(work / "go-on")
        running.kill()
    _wait_for(work / "done")
    # docs/recording.md: the write-ahead log stays beside the file.
    assert {path.name for path in tmp_path.iterdir()} - {"work", "tmpdir"} <= {"r.wa", "r.wa-wal", "r.wa-shm"}
    done = cli("check", recording)
    assert done.returncode == 101, done.stderr
    assert "WA901" in done.stderr
    report = json.loads(cli("report", recording, "--json", "-").stdout)
    assert not report["completeness"]["complete"]
    made = {event["path"] for event in report["events"] if event["created"]}
    assert f"{work}/one" in made
    # What was read is not locked: the name can be used again.
    assert cli("run", "--backend", backend.name, "-q", "-o", recording, "--", "true").returncode == 0
    assert cli("check", recording, "-q").returncode == 0
    assert {path.name for path in tmp_path.iterdir()} == {"work", "tmpdir", "r.wa"}


@pytest.mark.usefixtures("nothing_stays")
def test_crashed_recording_is_known_as_one_before_anybody_has_read_it(
    cli: Cli, backend: Backend, tmp_path: Path
) -> None:
    recording = tmp_path / "r.wa"
    with subprocess.Popen(
        [*_words(backend.name, recording), "sh", "-c", "touch up; sleep 0.3"], cwd=tmp_path
    ) as run:
        _wait_for(tmp_path / "up")
        run.kill()
    done = cli("run", "--backend", backend.name, "-q", "-o", recording, "--", "sh", "-c", "exit 4")
    assert done.returncode == 4, done.stderr
    assert json.loads(cli("report", recording, "--json", "-").stdout)["run"]["exit_status"] == 4


@pytest.mark.usefixtures("nothing_stays")
def test_kill_of_a_child(audit: Audit) -> None:
    audited = audit(("sh", "-c", "sleep 30 & sleep 0.3; kill -9 $!; wait $!; echo $?"))
    assert audited.stdout == "137\n"
    assert audited.status == 0
    ends = {tuple(process["argv"]): process["exit_status"] for process in audited.report["processes"]}
    assert (ends["sleep", "30"], ends["sleep", "0.3"]) == (137, 0)


@pytest.mark.usefixtures("nothing_stays")
def test_many_short_lived_processes(audit: Audit, backend: Backend, tmp_path: Path) -> None:
    script = """
import os, sys
for number in range(5000):
    pid = os.fork()
    if not pid:
        os.close(os.open(f"file{number}", os.O_CREAT | os.O_WRONLY))
        os._exit(number % 100)
    os.waitpid(pid, 0)
    os.unlink(f"file{number}")
"""
    audited = audit((sys.executable, "-I", "-S", "-c", script), "--zone", f"w={tmp_path}:rw", cwd=tmp_path)
    assert audited.status == 0, audited.stderr
    assert audited.report["completeness"]["complete"]
    made = [event for event in audited.events("open") if "creat" in event["flags"]]
    if backend.name != "strace":  # which cannot tell of a file that is gone already
        assert all(event["created"] for event in made)
    assert [event["path"] for event in made] == [f"{tmp_path}/file{number}" for number in range(5000)]
    ended = {process["pid"]: process["exit_status"] for process in audited.report["processes"]}
    assert len(audited.report["processes"]) == 5001
    assert [ended[event["pid"]] for event in made] == [number % 100 for number in range(5000)]
    assert len(audited.events("unlink", result="ok")) == 5000


@pytest.mark.usefixtures("nothing_stays")
def test_many_threads(audit: Audit, tmp_path: Path) -> None:
    script = """
import os, threading
barrier = threading.Barrier(500)
def work(number):
    barrier.wait()
    os.mkdir(f"d{number}")
    with open(f"d{number}/a", "w") as file:
        file.write("x" * number)
    os.rename(f"d{number}/a", f"d{number}/b")
threads = [threading.Thread(target=work, args=(number,)) for number in range(500)]
for thread in threads: thread.start()
for thread in threads: thread.join()
"""
    audited = audit((sys.executable, "-I", "-S", "-c", script), "--zone", f"w={tmp_path}:rw", cwd=tmp_path)
    assert audited.status == 0, audited.stderr
    renames = audited.events("rename", result="ok")
    assert {(event["source"], event["path"]) for event in renames} == {
        (f"{tmp_path}/d{number}/a", f"{tmp_path}/d{number}/b") for number in range(500)
    }
    assert len({event["tid"] for event in renames}) > 1
    assert len({event["pid"] for event in renames}) == 1
    written = {
        file["path"]: file["bytes_written"] for file in audited.report["files"] if file["bytes_written"]
    }
    assert sum(written.values()) == sum(range(500))


@pytest.mark.usefixtures("nothing_stays")
def test_two_audits_at_once_see_only_their_own(backend: Backend, tmp_path: Path) -> None:
    script = 'for i in 1 2 3 4 5 6 7 8 9; do : > "$0-$i"; sleep 0.05; done'
    running = []
    for name in ("left", "right"):
        options = ("-q", "--json", str(tmp_path / f"{name}.json"), "--zone", f"w={tmp_path}:rw")
        words = [*_words(backend.name, tmp_path / f"{name}.wa", *options), "sh", "-c", script, name]
        running.append(subprocess.Popen(words, cwd=tmp_path))
    assert [process.wait(timeout=60) for process in running] == [0, 0]
    for name in ("left", "right"):
        events = json.loads((tmp_path / f"{name}.json").read_text())["events"]
        made = [event["path"] for event in events if event["created"]]
        assert made == [f"{tmp_path}/{name}-{number}" for number in range(1, 10)]


@pytest.mark.requires_ebpf
@pytest.mark.usefixtures("nothing_stays")
def test_audit_inside_an_audit(audit: Audit, tmp_path: Path) -> None:
    inner = [
        *_words("ebpf", tmp_path / "inner.wa", "-q", "--json", str(tmp_path / "inner.json")),
        "touch",
        "inside",
    ]
    audited = audit(inner, "--zone", f"w={tmp_path}:rw", "--fail-on", "none", cwd=tmp_path)
    assert audited.report["run"]["exit_status"] in {0, 100}, audited.stderr
    inside = json.loads((tmp_path / "inner.json").read_text())
    for events in (audited.report["events"], inside["events"]):
        assert len([e for e in events if e["created"] and e["path"] == f"{tmp_path}/inside"]) == 1
    # What the inner one writes is nothing of its own audit, and something of the outer one.
    assert not [event for event in inside["events"] if event["path"].startswith(f"{tmp_path}/inner")]
    assert [event for event in audited.report["events"] if event["path"].startswith(f"{tmp_path}/inner")]


@pytest.mark.usefixtures("nothing_stays")
def test_daemon_that_outlives_the_audit_goes_on_unharmed(backend: Backend, tmp_path: Path) -> None:
    script = "(sleep 1.2; mkdir after; echo x > after/file; touch end) >/dev/null 2>&1 </dev/null &"
    options = ("--linger", "0.1", "--json", str(tmp_path / "j"), "--zone", f"w={tmp_path}:rw")
    words = [*_words(backend.name, tmp_path / "r.wa", *options), "sh", "-c", script]
    # Not into a pipe: strace holds standard error until the daemon ends, and that would be awaited.
    with (tmp_path / "said").open("wb") as said:
        assert subprocess.run(words, cwd=tmp_path, stderr=said, check=False).returncode == 101
    report = json.loads((tmp_path / "j").read_text())
    assert "WA904" in {finding["rule"] for finding in report["findings"]}
    assert not (tmp_path / "end").exists()
    _wait_for(tmp_path / "end")
    assert (tmp_path / "after/file").read_text() == "x\n"


@pytest.mark.parametrize(
    "attack",
    [
        "rm -f '{0}'",
        "rm -f '{0}' '{0}-wal' '{0}-shm'",
        ": > '{0}'",
        ": > '{0}'; : > '{0}-wal'",
        "echo nonsense > '{0}-wal'",
        "rm -f '{0}'; ln -s /etc/passwd '{0}'",
        "rm -f '{0}'; mkdir '{0}'",
        "rm -f '{0}'; mkfifo '{0}'",
    ],
)
@pytest.mark.usefixtures("nothing_stays")
def test_command_that_attacks_the_recording_is_never_called_clean(
    cli: Cli, backend: Backend, tmp_path: Path, attack: str
) -> None:
    recording = tmp_path / "r.wa"
    script = f"touch ran; {attack.format(recording)}; sleep 1.3; touch end"
    passwd = Path("/etc/passwd").read_bytes()
    words = ("run", "--backend", backend.name, "-o", recording, "--zone", f"w={tmp_path}:rw")
    done = cli(*words, "--", "sh", "-c", script, cwd=tmp_path, timeout=30)
    assert (tmp_path / "end").exists(), "the command must not suffer"
    assert "Traceback" not in done.stderr
    assert "internal error" not in done.stderr
    if done.returncode == 0:
        # Only if all of it has been kept in spite of the attack.
        made = json.loads(cli("report", recording, "--json", "-").stdout)["events"]
        assert {e["path"] for e in made if e["created"]} >= {f"{tmp_path}/ran", f"{tmp_path}/end"}
    else:
        assert done.returncode in {101, 125}
    assert Path("/etc/passwd").read_bytes() == passwd


@pytest.mark.requires_root
@pytest.mark.usefixtures("nothing_stays")
def test_full_disk_while_recording(cli: Cli, backend: Backend, tmp_path: Path, mounts: Mounts) -> None:
    small = mounts.tmpfs(tmp_path / "small", size="600k")
    recording = small / "r.wa"
    work = tmp_path / "work"
    work.mkdir()
    # What comes after the pause makes all before it safe (docs/recording.md), and then fills the disk.
    script = """
        make() { while [ $i -lt $1 ]; do i=$((i+1)); : > $i; done; }
        i=0; make 100; sleep 1.3; make 200; sleep 0.1; make 20000"""
    words = ("run", "--backend", backend.name, "-o", recording, "--zone", f"w={work}:rw")
    done = cli(*words, "--html", small / "r.html", "--", "sh", "-c", script, cwd=work)
    assert len(list(work.iterdir())) == 20000, "the command must not suffer"
    assert done.returncode == 125, done.stderr
    assert "full" in done.stderr or "No space" in done.stderr
    assert "hint:" in done.stderr
    assert not (small / "r.html").exists()
    # Up to there it can be read, elsewhere, and is not taken for whole.
    (tmp_path / "copy").mkdir()
    for path in small.iterdir():
        (tmp_path / "copy" / path.name).write_bytes(path.read_bytes())
    assert cli("check", tmp_path / "copy" / "r.wa", "-q").returncode == 101
    report = json.loads(cli("report", tmp_path / "copy" / "r.wa", "--json", "-").stdout)
    assert report["events"]
    assert [event["seq"] for event in report["events"]] == list(range(1, len(report["events"]) + 1))


def test_signals_of_the_group_come_once(backend: Backend, tmp_path: Path) -> None:
    script = "trap 'echo got' USR1; echo ready; for i in 1 2 3 4 5 6 7 8; do sleep 0.1; done"
    words = [*_words(backend.name, tmp_path / "r.wa", "-q"), "sh", "-c", script]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, start_new_session=True) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "ready\n"
        os.kill(running.pid, signal.SIGUSR1)
        out, _ = running.communicate(timeout=30)
    assert out == "got\n"
