"""`writeaudit attach`: what runs already is joined, and all that it does from then on is recorded.

The processes that are joined say themselves what they did and when; nothing of it may be missing.
"""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import pytest

from tests.conftest import ROOT, _path
from writeaudit.capture.cgroups import Hierarchy, mounted_hierarchies

BUSY = """
import os, sys, threading, time
place = sys.argv[1]
log = open(os.path.join(place, "log"), "a")
names = iter(range(10 ** 9))

def write(mark):
    # The name says after which moment it was made; nothing is made twice.
    number = next(names)
    path = f"{place}/{mark}-{os.getpid()}-{number}-{time.monotonic_ns()}"
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY))

def work(mark):
    while not os.path.exists(place + "/stop"):
        write(mark)
        time.sleep(0.002)

def fork():
    # A child that forks another one and ends at once: nobody is left who knows whose that is.
    if not os.fork():
        if not os.fork():
            for _ in range(4):
                write("grandchild")
                time.sleep(0.002)
        os._exit(0)

threading.Thread(target=work, args=("thread",)).start()
while not os.path.exists(place + "/stop"):
    fork()
    with open(os.devnull):
        os.waitpid(-1, 0)
    log.write("x")
    log.flush()
"""
SAYS = "while :; do echo x > {place}/in; sleep 0.02; done"


@dataclass
class Joined:
    """What `writeaudit attach` came to."""

    status: int
    stderr: str
    report: dict[str, Any]

    def made(self, start: str) -> set[str]:
        """Return the files that were made, by the beginning of their paths."""
        return {
            event["path"]
            for event in self.report["events"]
            if event["op"] == "open" and event["created"] and event["path"].startswith(start)
        }

    def spot(self, kind: str) -> dict[str, Any]:
        """Return a blind spot."""
        [found] = [spot for spot in self.report["completeness"]["blind_spots"] if spot["kind"] == kind]
        return dict(found)


@dataclass
class Attaching:
    """Starts things that run already, and attaches to them."""

    place: Path
    _started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self, *words: str | Path) -> subprocess.Popen[bytes]:
        """Start a process that is ended with the test."""
        started = subprocess.Popen([os.fspath(word) for word in words], start_new_session=True)
        self._started.append(started)
        return started

    def begin(self, *options: str | Path) -> subprocess.Popen[str]:
        """Start `writeaudit attach`; its report goes where `end` looks for it."""
        words = ["attach", "-o", self.place / "run.wa", "--json", self.place / "report.json", *options]
        with (self.place / "stderr").open("w") as stderr:
            return self._begin(words, stderr)

    def _begin(self, words: Sequence[str | Path], stderr: IO[str]) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "writeaudit", *map(str, words)],
            cwd=self.place,
            env={**os.environ, "PYTHONPATH": os.fspath(ROOT), "PATH": _path()},
            stderr=stderr,
            text=True,
        )

    def wait_until_joined(self) -> None:
        """Wait until all that is done is recorded."""
        said = self.place / "stderr"
        _wait(lambda: "writeaudit: joined " in said.read_text(), f"it did not join: {said.read_text()}")

    def end(self, audit: subprocess.Popen[str]) -> Joined:
        """Wait for its end."""
        audit.wait(120)
        stderr = (self.place / "stderr").read_text()
        report = self.place / "report.json"
        assert report.exists(), f"status {audit.returncode}\n{stderr}"
        return Joined(audit.returncode, stderr, json.loads(report.read_bytes()))

    def attach(self, *options: str | Path) -> Joined:
        """Attach, and wait for the end."""
        return self.end(self.begin(*options))

    def refuse(self, *options: str | Path) -> tuple[int, str]:
        """Attach where that cannot be; return status and message."""
        audit = self.begin(*options)
        audit.wait(60)
        message = (self.place / "stderr").read_text()
        assert not (self.place / "run.wa").exists(), "a recording of nothing was left behind"
        return audit.returncode, message

    def close(self) -> None:
        """End what was started."""
        for started in self._started:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(started.pid, signal.SIGKILL)
            started.wait()


@pytest.fixture
def attaching(tmp_path: Path) -> Iterator[Attaching]:
    """See `Attaching`."""
    made = Attaching(tmp_path)
    yield made
    made.close()


def _wait(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)


def _joined_at(joined: Joined) -> None:
    message = joined.spot("joined")["message"]
    assert message.startswith("joined: what was done before ")
    assert not joined.spot("joined")["incomplete"]


@pytest.mark.requires_root
@pytest.mark.parametrize("engine", [pytest.param("ebpf", marks=pytest.mark.requires_ebpf)])
@pytest.mark.parametrize("time_of_day", range(10))
def test_threads_and_forks_while_being_joined(
    attaching: Attaching, tmp_path: Path, engine: str, time_of_day: int
) -> None:
    """Ten times out of ten: what was made after the joining is in the recording, whoever made it."""
    place = tmp_path / "busy"
    place.mkdir()
    busy = attaching.start(sys.executable, "-c", BUSY, place)
    _wait(lambda: len(list(place.glob("grandchild*"))) > 2 + time_of_day, "nothing was written")
    audit = attaching.begin("--backend", engine, "--pid", str(busy.pid))
    attaching.wait_until_joined()
    seen = len(list(place.iterdir()))
    _wait(lambda: len(list(place.iterdir())) > seen + 200, "too little was written")
    (place / "stop").touch()
    busy.wait(60)
    joined = attaching.end(audit)
    assert joined.status == 0, joined.stderr
    assert joined.report["completeness"]["complete"]
    assert joined.report["completeness"]["lost_events"] == 0
    recorded = joined.made(f"{place}/")
    on_disk = {os.fspath(path) for path in place.iterdir()} - {f"{place}/log", f"{place}/stop"}
    assert recorded <= on_disk
    first = min(_moment(path) for path in recorded)
    margin_ns = 20_000_000  # between the moment in a name and the call that makes the file
    missing = {path for path in on_disk - recorded if _moment(path) > first + margin_ns}
    assert not missing
    assert {Path(path).name.split("-")[0] for path in recorded} == {"thread", "grandchild"}
    [log] = [event for event in joined.report["events"] if event["op"] == "write"]
    assert log["path"] == f"{place}/log", "a descriptor that was open before"
    assert 0 < log["bytes"] < (place / "log").stat().st_size


def _moment(path: str) -> int:
    return int(path.rpartition("-")[2])


@pytest.mark.requires_root
@pytest.mark.requires_strace
def test_strace_joins_processes(attaching: Attaching, tmp_path: Path) -> None:
    says = attaching.start("sh", "-c", SAYS.format(place=tmp_path))
    _wait((tmp_path / "in").exists, "nothing was written")
    joined = attaching.attach("--backend", "strace", "--pid", str(says.pid), "--for", "0.5")
    assert joined.status in (0, 101), joined.stderr
    assert {event["path"] for event in joined.report["events"] if event["op"] == "write"} == {
        f"{tmp_path}/in"
    }
    _joined_at(joined)
    assert says.poll() is None
    assert b"TracerPid:\t0" in Path(f"/proc/{says.pid}/status").read_bytes()


@pytest.mark.requires_root
@pytest.mark.parametrize(
    "engine",
    [
        pytest.param("ebpf", marks=pytest.mark.requires_ebpf),
        pytest.param("bcc", marks=pytest.mark.requires_bcc),
        pytest.param("strace", marks=pytest.mark.requires_strace),
    ],
)
def test_ctrl_c_ends_the_audit_and_not_the_audited(attaching: Attaching, tmp_path: Path, engine: str) -> None:
    says = attaching.start("sh", "-c", SAYS.format(place=tmp_path))
    _wait((tmp_path / "in").exists, "nothing was written")
    audit = attaching.begin("--backend", engine, "--pid", str(says.pid))
    attaching.wait_until_joined()
    audit.send_signal(signal.SIGINT)
    joined = attaching.end(audit)
    # strace may have missed a child that was forked while it attached itself, and says so.
    assert joined.status in ((0, 101) if engine == "strace" else (0,)), joined.stderr
    assert joined.report["run"]["joined"] == [f"process {says.pid} (sh)"]
    assert joined.report["run"]["exit_status"] is None
    assert "that still ran" in joined.spot("joined")["message"]
    assert says.poll() is None


def _hierarchy(*, v2: bool) -> Hierarchy:
    found = [each for each in mounted_hierarchies() if (not each.controllers) == v2 and each.root == "/"]
    for each in found:
        if os.access(each.mountpoint, os.W_OK):
            return each
    pytest.skip(f"no hierarchy of cgroup {'v2' if v2 else 'v1'} is mounted for writing")


@pytest.fixture(params=[pytest.param(False, id="v1"), pytest.param(True, id="v2")])
def group(request: pytest.FixtureRequest, attaching: Attaching) -> Iterator[Path]:
    """A cgroup of one or the other version."""
    made = Path(_hierarchy(v2=request.param).mountpoint, f"writeaudit-test-{os.getpid()}")
    made.mkdir()
    yield made
    attaching.close()
    for _ in range(50):
        with contextlib.suppress(OSError):
            for below in made.iterdir():
                if below.is_dir():
                    below.rmdir()
            made.rmdir()
            return
        time.sleep(0.05)


ENTER = """
import ctypes, os, signal, struct, sys
group, place = sys.argv[1:]
below = os.path.join(group, "below")
os.mkdir(below)
child = os.fork()
if not child:
    with open(os.path.join(below, "cgroup.procs"), "w") as file:  # as `docker exec` does
        file.write(str(os.getpid()))
    os.close(os.open(place + "/entered", os.O_CREAT | os.O_WRONLY))
    os._exit(0)
os.waitpid(child, 0)
if os.path.exists(os.path.join(group, "cgroup.controllers")):
    into = os.open(below, os.O_RDONLY | os.O_DIRECTORY)
    how = struct.pack("=11Q", 0x200000000, 0, 0, 0, signal.SIGCHLD, 0, 0, 0, 0, 0, into)  # CLONE_INTO_CGROUP
    child = ctypes.CDLL(None).syscall(435, ctypes.create_string_buffer(how, len(how)), len(how))
    if child == 0:
        os.close(os.open(place + "/cloned", os.O_CREAT | os.O_WRONLY))
        os._exit(0)
    os.waitpid(child, 0)
os.close(os.open(place + "/outside", os.O_CREAT | os.O_WRONLY))
"""


@pytest.mark.requires_root
@pytest.mark.parametrize(
    "engine",
    [
        pytest.param("ebpf", marks=pytest.mark.requires_ebpf),
        pytest.param("bcc", marks=pytest.mark.requires_bcc),
    ],
)
def test_cgroup_is_followed_and_whoever_comes_into_it(
    attaching: Attaching, tmp_path: Path, group: Path, engine: str
) -> None:
    says = attaching.start("sh", "-c", SAYS.format(place=tmp_path))
    (group / "cgroup.procs").write_text(str(says.pid))
    joined = attaching.attach(
        *("--backend", engine, "--cgroup", group, "--", sys.executable, "-c", ENTER, group, tmp_path)
    )
    assert joined.status == 0, joined.stderr
    written = {
        Path(event["path"]).name
        for event in joined.report["events"]
        if event["path"].startswith(f"{tmp_path}/") and event["op"] == "open"
    }
    expected = {"in", "entered"}
    if (group / "cgroup.controllers").exists():
        expected.add("cloned")
    assert written == expected
    assert joined.report["run"]["joined"] == [f"cgroup {group}"]
    assert joined.report["run"]["exit_status"] == 0
    _joined_at(joined)


@pytest.mark.requires_root
@pytest.mark.requires_ebpf
def test_new_cgroup_is_made_recorded_from_the_first_instruction_and_removed(
    attaching: Attaching, tmp_path: Path
) -> None:
    hierarchy = _hierarchy(v2=not any(each.controllers for each in mounted_hierarchies()))
    name = f"{hierarchy.mountpoint}/writeaudit-new-{os.getpid()}"
    script = f"echo $$ > {name}/cgroup.procs; exec sh -c 'echo x > {tmp_path}/first; exit 3'"
    joined = attaching.attach("--cgroup", f"new:{name}", "--", "sh", "-c", script)
    assert joined.status == 3, joined.stderr
    assert f"{tmp_path}/first" in joined.made(f"{tmp_path}/")
    assert not os.path.exists(name)
    [program] = [each for each in joined.report["processes"] if each["argv"][-1].endswith("exit 3")]
    assert program["exit_status"] == 3


@pytest.mark.requires_root
@pytest.mark.requires_ebpf
def test_file_that_was_mapped_before_is_an_event(attaching: Attaching, tmp_path: Path) -> None:
    mapped = tmp_path / "mapped"
    mapped.write_bytes(b"x" * 4096)
    script = (
        "import mmap, sys, time; file = open(sys.argv[1], 'r+b'); m = mmap.mmap(file.fileno(), 0)\n"
        "open(sys.argv[2], 'w').close()\nwhile True: time.sleep(0.05); m[0:1] = b'y'"
    )
    maps = attaching.start(sys.executable, "-c", script, mapped, tmp_path / "ready")
    _wait((tmp_path / "ready").exists, "it did not start")
    joined = attaching.attach("--pid", str(maps.pid), "--for", "0.2")
    [event] = [event for event in joined.report["events"] if event["op"] == "mmap_write"]
    assert (event["path"], event["flags"]) == (str(mapped), ["joined"])


@pytest.mark.requires_root
@pytest.mark.requires_ebpf
def test_policy_that_is_given_judges_and_none_is_guessed(attaching: Attaching, tmp_path: Path) -> None:
    says = attaching.start("sh", "-c", SAYS.format(place=tmp_path))
    _wait((tmp_path / "in").exists, "nothing was written")
    zone = f"kept={tmp_path}:ro"
    judged = attaching.attach("--pid", str(says.pid), "--for", "0.3", "--zone", zone)
    assert judged.status == 100, judged.stderr
    assert {finding["rule"] for finding in judged.report["findings"]} >= {"WA201"}
    free = attaching.attach("--pid", str(says.pid), "--for", "0.3")
    assert free.status == 0, free.stderr
    assert not any(finding["severity"] == "error" for finding in free.report["findings"])


@pytest.mark.requires_root
@pytest.mark.requires_ebpf
def test_what_cannot_be_joined(attaching: Attaching, tmp_path: Path) -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    kernel = next(
        (pid for pid in os.listdir("/proc") if pid.isdecimal() and not _has_program(pid) and pid != "1"), None
    )
    for options, words in (
        (("--pid", str(gone.pid)), "no such process"),
        (("--pid", str(os.getpid())), "above writeaudit"),
        (("--cgroup", "/sys/fs/cgroup/none"), "no such cgroup"),
        (("--cgroup", str(tmp_path)), "no directory of a cgroup"),
        (("--cgroup", "new:wa"), "no name for a cgroup"),
        *(((("--pid", kernel), "kernel's own"),) if kernel is not None else ()),
    ):
        status, message = attaching.refuse(*options)
        assert status == 125, message
        assert words in message
    for wrong in (
        ("--pid", "x"),
        ("--container", "-x"),
        (),
        ("--pid", "1", "--cgroup", "/"),
        ("--engine", "docker", "--pid", "1"),
    ):
        assert attaching.refuse(*wrong)[0] == 2
    own = next(each for each in mounted_hierarchies() if each.root == "/")
    status, message = attaching.refuse("--cgroup", own.mountpoint)
    assert status == 125
    assert "writeaudit itself" in message
    status, message = attaching.refuse("--pid", str(os.getppid()), "--", "no-such-program")
    assert status == 125


def _has_program(pid: str) -> bool:
    try:
        return bool(Path(f"/proc/{pid}/cmdline").read_bytes()) or not _is_kernel(pid)
    except OSError:
        return True


def _is_kernel(pid: str) -> bool:
    fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    return bool(int(fields[6]) & 0x00200000)


@pytest.mark.requires_root
@pytest.mark.requires_ebpf
def test_command_that_is_not_there(attaching: Attaching, tmp_path: Path) -> None:
    says = attaching.start("sleep", "60")
    status, message = attaching.refuse("--pid", str(says.pid), "--", "no-such-program")
    assert status == 127, message


@pytest.mark.requires_root
@pytest.mark.requires_ebpf
def test_user_without_root_joins_own_processes_alone(attaching: Attaching, tmp_path: Path) -> None:
    """Through sudo: the privileged part follows no process that its user may not look at."""
    try:
        nobody = pwd.getpwnam("nobody")
    except KeyError:
        pytest.skip("there is no user nobody")
    from writeaudit.capture.kernel.privileged import client, monitor  # noqa: F401

    own = attaching.start(
        "setpriv", f"--reuid={nobody.pw_uid}", f"--regid={nobody.pw_gid}", "--clear-groups", "sleep", "60"
    )
    other = attaching.start("sleep", "60")
    _wait(lambda: os.stat(f"/proc/{own.pid}").st_uid == nobody.pw_uid, "setpriv did not start")
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        answers: list[object] = []
        try:
            # As `start_through_sudo` has it: its user proves every process that is to be followed.
            asked = client.start_by_fork(0)
            os.setgroups([])
            os.setresgid(nobody.pw_gid, nobody.pw_gid, nobody.pw_gid)
            os.setresuid(nobody.pw_uid, nobody.pw_uid, nobody.pw_uid)
            side = asked.load_programs("ebpf", 1 << 16, None, "processes")
            side.hold_recording(1)
            for pid in (own.pid, other.pid, 1):
                try:
                    answers.append(side.follow_process(pid))
                except OSError as error:
                    answers.append(error.strerror)
            try:
                side.follow_group(0, 1)
                answers.append("followed")
            except OSError as error:
                answers.append(error.strerror)
            side.close()
        except BaseException as error:  # noqa: BLE001 - handed to the test
            answers.append(repr(error))
        os.write(writer, json.dumps(answers).encode())
        os._exit(0)
    os.close(writer)
    with open(reader, "rb") as said:
        found = json.loads(said.read())
    os.waitpid(child, 0)
    assert found == [True, "Permission denied", "Permission denied", "Operation not permitted"]
