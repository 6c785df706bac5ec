"""writeaudit in surroundings that lack something, and what a run that breaks off leaves behind."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import ROOT, Cli
from writeaudit.capture.interface import Backend

_START = [
    sys.executable,
    "-c",
    f"import sys; sys.path.insert(0, {str(ROOT)!r}); from writeaudit.cli import main; main()",
]


def _run(
    *words: str | Path,
    before: Callable[[], None] | None = None,
    cwd: Path | None = None,
    env: dict[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*_START, *map(str, words)],
        preexec_fn=before,
        cwd=cwd,
        env={**os.environ, **(env or {})},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_report_that_cannot_be_written_is_found_before_the_command_runs(cli: Cli, tmp_path: Path) -> None:
    for target in ("missing/r.html", ".", "n" * 300):
        done = cli("run", "-o", tmp_path / "r.wa", "--html", target, "--", "touch", "ran", cwd=tmp_path)
        assert done.returncode in {2, 125}
        assert "cannot write" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_where_the_recording_is_when_a_report_fails(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    done = cli("run", "-o", "r.wa", "--html", "out/r.html", "--", "rm", "-r", "out", cwd=tmp_path)
    assert done.returncode == 125
    assert f"the recording is {tmp_path}/r.wa" in done.stderr
    assert cli("check", tmp_path / "r.wa").returncode in {0, 100}


def test_report_is_its_owners_unless_the_umask_says_so(cli: Cli, tmp_path: Path) -> None:
    for option, mode in (((), 0o600), (("--readable",), 0o644)):
        cli("run", "-o", "r.wa", "--json", "r.json", *option, "--", "true", cwd=tmp_path)
        assert (tmp_path / "r.json").stat().st_mode & 0o777 == mode & ~_umask()


def _umask() -> int:
    now = os.umask(0o022)
    os.umask(now)
    return now


def test_working_directory_that_is_gone(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    done = _run("run", "-o", tmp_path / "r.wa", "--", "true", before=gone.rmdir, cwd=gone)
    assert done.returncode == 2
    assert "working directory" in done.stderr


def test_closed_input_is_closed_for_the_command(backend: Backend, tmp_path: Path) -> None:
    look = "import os; os.fstat(0)"
    words = (
        "run",
        "-q",
        "--backend",
        backend.name,
        "-o",
        tmp_path / "r.wa",
        "--",
        sys.executable,
        "-c",
        look,
    )
    done = _run(*words, before=lambda: os.close(0))
    assert "Bad file descriptor" in done.stderr
    assert done.returncode == 1


@pytest.mark.parametrize("files", [8, 12, 16, 24])
def test_few_files(tmp_path: Path, files: int) -> None:
    done = _run(
        "run", "-o", tmp_path / "r.wa", "--", "true",
        before=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (files, files)),
    )  # fmt: skip
    assert "internal error" not in done.stderr
    assert "Traceback" not in done.stderr
    assert done.returncode in {0, 125}, done.stderr


@pytest.mark.requires_root
@pytest.mark.requires_program("setpriv")
@pytest.mark.parametrize("processes", [1, 8])
def test_few_processes(tmp_path: Path, processes: int) -> None:
    tmp_path.chmod(0o777)
    user = ("setpriv", "--reuid=47114", "--regid=47114", "--clear-groups", "--inh-caps=+dac_read_search")
    limits = (
        f"import resource, os, sys; resource.setrlimit(resource.RLIMIT_NPROC, ({processes}, {processes}))"
    )
    words = [*user, "--ambient-caps=+dac_read_search", sys.executable, "-c", f"{limits}; {_START[2]}"]
    done = subprocess.run(
        [*words, "run", "-o", "/var/tmp/wa-few.wa", "--", "/bin/true"],
        capture_output=True, text=True, check=False, timeout=60, cwd="/",
    )  # fmt: skip
    Path("/var/tmp/wa-few.wa").unlink(missing_ok=True)
    assert "Traceback" not in done.stderr
    assert "internal error" not in done.stderr
    assert done.returncode in {0, 125}, done.stderr


def test_killed_writer_leaves_nothing_that_is_in_the_way(cli: Cli, backend: Backend, tmp_path: Path) -> None:
    words = [*_START, "run", "--backend", backend.name, "-o", "r.wa", "--", "sleep", "5"]
    for pause in (0.1, 0.3, 1.0):
        started = subprocess.Popen(words, cwd=tmp_path, stderr=subprocess.DEVNULL)
        time.sleep(pause)
        started.send_signal(signal.SIGKILL)
        started.wait()
    done = cli("run", "--backend", backend.name, "-o", "r.wa", "--", "true", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert not list(tmp_path.glob(".writeaudit-*"))


def test_variables_in_variables(cli: Cli, tmp_path: Path) -> None:
    deep = "${A:-" * 2000 + "x" + "}" * 2000
    done = cli("run", "-o", tmp_path / "r.wa", "--zone", f"z={deep}:rw", "--", "true")
    assert done.returncode == 2
    assert "deep" in done.stderr


def test_no_home_to_write_to(tmp_path: Path) -> None:
    places = {"HOME": "/proc", "XDG_STATE_HOME": "", "TMPDIR": str(tmp_path)}
    done = _run("run", "--", "true", env=places)
    assert done.returncode == 0, done.stderr
    [made] = tmp_path.glob("writeaudit-*/runs/*.wa")
    assert str(made) in done.stderr
    assert _run("check", "last", "-q", env=places).returncode == 0
