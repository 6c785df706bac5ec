"""Programs that try to get away from the audit, or to be taken for another (docs/threat-model.md)."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT, Cli
from tests.scenarios.conftest import Audit
from writeaudit.capture.interface import Backend

_START = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from writeaudit.cli import main; main()"

_UNTRACED = """
import ctypes, os
libc = ctypes.CDLL(None)
CLONE_UNTRACED, SIGCHLD = 0x00800000, 17
pid = libc.syscall(56, CLONE_UNTRACED | SIGCHLD, 0, 0, 0, 0)
if not pid:
    try:
        os.mkdir("hidden")
    finally:
        os._exit(0)
os.waitpid(pid, 0)
os.mkdir("seen")
"""

_KILL_THE_TRACER = """
import os, time
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
os.mkdir("before")
os.kill(int(status["TracerPid"]), 9)
for _ in range(200):
    time.sleep(0.1)
    try:
        os.mkdir("after")
        break
    except OSError:
        pass  # nobody has taken the tracer's place yet
"""

_KILL_WRITEAUDIT = """
import os, time
def name(pid):
    return open(f"/proc/{pid}/cmdline", "rb").read()
pid = os.getppid()
while b"writeaudit" not in name(pid) or b"strace" in name(pid).split(b"\\0")[0]:
    pid = int(open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()[1])
os.mkdir("before")
time.sleep(1.3)
os.mkdir("later")
time.sleep(0.3)
os.kill(pid, 9)
os.mkdir("after")
"""

_RACE = """
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

static volatile char name[] = "aa";
static volatile int over;

static void *change(void *unused)
{
	while (!over) {
		name[0] = 'b';
		name[1] = 'b';
		name[0] = 'a';
		name[1] = 'a';
	}
	return unused;
}

int main(int argc, char **argv)
{
	static const char *const all[] = { "aa", "ab", "ba", "bb" };
	pthread_t thread;

	memset(argv[argc - 1], 'X', strlen(argv[argc - 1]));
	pthread_create(&thread, 0, change, 0);
	for (int round = 0; round < 500; round++) {
		for (int i = 0; i < 8; i++)
			close(open((char *)name, O_CREAT | O_WRONLY, 0600));
		for (int i = 0; i < 4; i++)
			unlink(all[i]);
	}
	over = 1;
	pthread_join(thread, 0);
	return 0;
}
"""


def _python(script: str) -> tuple[str, ...]:
    return (sys.executable, "-I", "-S", "-c", script)


@pytest.fixture
def work(tmp_path: Path) -> Path:
    directory = tmp_path / "work"
    directory.mkdir()
    return directory


def _changed(report: dict[str, Any], work: Path) -> set[str]:
    """Return the names below a directory that were made."""
    return {
        str(Path(event["path"]).relative_to(work))
        for event in report["events"]
        if event["op"] in {"mkdir", "open"} and event["result"] == "ok" and str(work) in event["path"]
    }


def test_child_that_asks_not_to_be_traced(audit: Audit, backend: Backend, work: Path) -> None:
    """clone(CLONE_UNTRACED): followed all the same; under strace it can do nothing, which is said."""
    audited = audit(_python(_UNTRACED), "--zone", f"w={work}:rw", cwd=work)
    on_disk = {path.name for path in work.iterdir()}
    if backend.name == "strace":
        assert audited.status == 101
        assert "hidden" not in on_disk
        assert "WA902" in audited.rules
    else:
        assert audited.status == 0
        assert on_disk == {"hidden", "seen"}
        assert _changed(audited.report, work) == on_disk


def test_command_that_kills_its_tracer(audit: Audit, backend: Backend, work: Path) -> None:
    if backend.name != "strace":
        pytest.skip("nobody traces the command")
    audited = audit(_python(_KILL_THE_TRACER), "--zone", f"w={work}:rw", cwd=work)
    assert not audited.report["completeness"]["complete"]
    assert audited.report["summary"]["status"] == "incomplete"
    assert "WA902" in audited.rules
    assert _changed(audited.report, work) == {"before"}
    # Something takes its place; without a tracer the kernel would refuse each call that was traced.
    assert audited.report["run"]["exit_status"] == 0
    assert {path.name for path in work.iterdir()} == {"before", "after"}


@pytest.mark.requires_root
def test_command_that_kills_writeaudit_is_never_called_clean(
    cli: Cli, backend: Backend, work: Path, tmp_path: Path
) -> None:
    recording = tmp_path / "r.wa"
    options = ("--backend", backend.name, "-o", str(recording), "--zone", f"w={work}:rw")
    words = [sys.executable, "-c", _START, "run", *options, "--", *_python(_KILL_WRITEAUDIT)]
    done = subprocess.run(words, cwd=work, check=False, timeout=60, stdin=subprocess.DEVNULL)
    assert done.returncode == -9
    deadline = time.monotonic() + 20
    while not (work / "after").exists():
        assert time.monotonic() < deadline, "the command must go on"
        time.sleep(0.02)
    assert cli("check", recording, "-q").returncode == 101
    report = json.loads(cli("report", recording, "--json", "-").stdout)
    assert not report["completeness"]["complete"]
    # What comes after a pause makes all before it safe (docs/recording.md).
    assert "before" in _changed(report, work)


@pytest.mark.requires_gcc
def test_names_that_change_while_a_file_is_opened(
    audit: Audit, backend: Backend, work: Path, tmp_path: Path
) -> None:
    """What was opened is the kernel's word, and argv is that of execve(2), whatever is in memory."""
    program = tmp_path / "race"
    argv = ["gcc", "-O1", "-pthread", "-xc", "-", "-o", str(program)]
    subprocess.run(argv, input=_RACE.encode(), check=True)
    audited = audit((program, "argument"), "--zone", f"w={work}:rw", cwd=work)
    assert audited.status == 0, audited.stderr
    assert [process["argv"] for process in audited.report["processes"]] == [[str(program), "argument"]]
    there: set[str] = set()
    for event in audited.report["events"]:
        if event["result"] != "ok" or str(work) not in event["path"]:
            continue
        if event["op"] == "open":
            if backend.name != "strace":  # which must guess whether an open made the file
                assert event["created"] is (event["path"] not in there), event
            there.add(event["path"])
        else:
            assert event["op"] == "unlink", event
            assert event["path"] in there, event
            there.remove(event["path"])
    assert there == set()


def test_output_that_was_opened_before_the_audit(backend: Backend, tmp_path: Path) -> None:
    """``writeaudit run … > FILE``: the command opens nothing, and changes the file."""
    report, output = tmp_path / "report.json", tmp_path / "output"
    options = ("--backend", backend.name, "-q", "-o", str(tmp_path / "r.wa"), "--json", str(report))
    words = [sys.executable, "-c", _START, "run", *options, "--zone", f"w={tmp_path}:ro", "--"]
    with output.open("wb") as file:
        command = ("sh", "-c", "echo one; echo two")
        done = subprocess.run([*words, *command], stdout=file, check=False, timeout=60)
    assert done.returncode == 100
    [write] = [event for event in json.loads(report.read_text())["events"] if event["op"] == "write"]
    assert (write["path"], write["bytes"], write["verdict"]) == (str(output), 8, "violation")
