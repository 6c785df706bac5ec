"""A machine that lacks something: the next backend runs, and everybody is told why."""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

_START = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from writeaudit.cli import main; main()"


def _run_without(
    hidden: str, tmp_path: Path, *options: str, place: str = "/dev/null"
) -> subprocess.CompletedProcess[str]:
    """Run `writeaudit run -- touch made` in a mount namespace where ``hidden`` is as good as missing."""
    words = [
        sys.executable,
        "-c",
        _START,
        "run",
        "-o",
        str(tmp_path / "r.wa"),
        *options,
        "--",
        "touch",
        "made",
    ]
    script = 'mount --bind "$1" "$2" && shift 2 && exec "$@"'
    return subprocess.run(
        [
            "unshare",
            "--mount",
            "--propagation",
            "private",
            "sh",
            "-c",
            script,
            "-",
            place,
            hidden,
            *words,
            "touch",
            "made",
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.fixture
def libbpf() -> str:
    """Path of the shared library."""
    if os.geteuid() != 0:
        pytest.skip("hiding a library takes root")
    try:
        ctypes.CDLL("libbpf.so.1")
    except OSError:
        pytest.skip("libbpf.so.1 is not installed")
    lines = Path("/proc/self/maps").read_text().splitlines()
    return next(line.split(maxsplit=5)[5] for line in lines if "libbpf.so" in line)


@pytest.mark.requires_strace
def test_without_libbpf_strace_runs_and_the_report_says_why(libbpf: str, tmp_path: Path) -> None:
    done = _run_without(libbpf, tmp_path, "--json", "report.json")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "made").exists()
    backend = json.loads((tmp_path / "report.json").read_text())["run"]["backend"]
    assert backend["name"] == "strace"
    assert "libbpf is not installed" in backend["why"]
    assert "libbpf is not installed" in " ".join(done.stderr.split())


def test_without_libbpf_ebpf_refuses_and_says_what_to_install(libbpf: str, tmp_path: Path) -> None:
    done = _run_without(libbpf, tmp_path, "--backend", "ebpf")
    assert done.returncode == 125
    assert "libbpf is not installed" in done.stderr
    assert "apt-get install libbpf1" in done.stderr
    assert not (tmp_path / "made").exists()
    assert not (tmp_path / "r.wa").exists()


@pytest.mark.requires_strace
def test_without_type_information_strace_runs(libbpf: str, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    done = _run_without("/sys/kernel/btf", tmp_path, "--json", "report.json", place=str(empty))
    assert done.returncode == 0, done.stderr
    backend = json.loads((tmp_path / "report.json").read_text())["run"]["backend"]
    assert backend["name"] == "strace"
    assert "/sys/kernel/btf/vmlinux" in backend["why"]
