"""`doctor` on machines that lack something: it tries, and `run` never disagrees with it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.conftest import ROOT

_START = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from writeaudit.cli import main; main()"
_FILTER = f"""
import sys; sys.path.insert(0, {str(ROOT)!r})
from tests.support.seccomp import forbid
forbid(int(sys.argv.pop(1)), int(sys.argv.pop(1)))
from writeaudit.cli import main; main()
"""
_ERRNO, _KILL = 0x00050001, 0x80000000
_BPF, _PTRACE = 321, 101

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to take things away"),
    pytest.mark.skipif(os.uname().machine != "x86_64", reason="system call numbers of x86-64"),
]


def _call(words: list[str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*words, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        stdin=subprocess.DEVNULL,
    )


def _examine(words: list[str], tmp_path: Path) -> Mapping[str, str]:
    """Return the reason of each backend that doctor calls unfit, and check that run agrees with all of it."""
    done = _call(words, "doctor", "--json")
    report = json.loads(done.stdout)
    for number, backend in enumerate(report["backends"]):
        output = str(tmp_path / f"{number}.wa")
        ran = _call(words, "run", "--backend", backend["name"], "-o", output, "--", "true")
        assert (ran.returncode == 0) == backend["works"], (backend, ran.stderr)
        if not backend["works"]:
            assert backend["reason"] in " ".join(ran.stderr.split())
    ran = _call(words, "run", "-o", str(tmp_path / "auto.wa"), "--", "true")
    assert (ran.returncode == 0) == (report["auto"] is not None)
    assert (done.returncode == 0) == (report["auto"] is not None)
    return {each["name"]: each["reason"] for each in report["backends"] if not each["works"]}


def _python(code: str, *arguments: str) -> list[str]:
    return [sys.executable, "-c", code, *arguments]


@pytest.mark.parametrize(
    ("call", "answer", "unfit"),
    [
        (_BPF, _ERRNO, ("ebpf", "bcc")),
        (_BPF, _KILL, ("ebpf", "bcc")),
        (_PTRACE, _ERRNO, ("strace",)),
    ],
    ids=["bpf refused", "bpf kills", "ptrace refused"],
)
def test_seccomp(call: int, answer: int, unfit: tuple[str, ...], tmp_path: Path) -> None:
    found = _examine(_python(_FILTER, str(call), str(answer)), tmp_path)
    assert found.keys() >= set(unfit)
    assert all("seccomp" in found[name] for name in unfit)
    if call == _BPF:
        assert "strace" not in found


def test_user_namespace(tmp_path: Path) -> None:
    words = ["unshare", "--user", "--map-root-user", *_python(_START)]
    if subprocess.run([*words[:3], "true"], check=False, capture_output=True).returncode:
        pytest.skip("this system has no user namespaces for us")
    found = _examine(words, tmp_path)
    assert "user namespace" in found["ebpf"]
    assert "user namespace" in found["bcc"]


@pytest.mark.parametrize(("gone", "unfit"), [("/proc", ("ebpf", "bcc", "strace")), ("/sys", ("ebpf", "bcc"))])
def test_file_system_of_the_kernel_that_is_not_mounted(
    gone: str, unfit: tuple[str, ...], tmp_path: Path
) -> None:
    script = 'umount -l "$1" && shift && exec "$@"'
    words = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, "-", gone]
    found = _examine([*words, *_python(_START)], tmp_path)
    assert found.keys() >= set(unfit)
    assert all(f"{gone} is not mounted" in found[name] for name in unfit)


def test_capabilities_without_which_root_is_nobody(tmp_path: Path) -> None:
    words = ["setpriv", "--bounding-set=-bpf,-perfmon,-sys_admin", *_python(_START)]
    found = _examine(words, tmp_path)
    assert "root lacks the capabilities CAP_BPF and CAP_PERFMON" in found["ebpf"]
