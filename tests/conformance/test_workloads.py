"""Each workload under each backend: the story it tells, and the disk, against the recording."""

from __future__ import annotations

import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conformance.audited import Audited, run
from tests.conformance.differences import differences
from tests.conformance.story import compare
from writeaudit.capture.interface import Backend, Limits
from writeaudit.events import Op

pytestmark = pytest.mark.skipif(
    platform.machine() != "x86_64", reason="the workloads make the system calls of x86-64"
)

WORKLOADS = (
    "opens", "names", "data", "copies", "metadata", "descriptors", "paths", "threads",
    "namespaces roots", "namespaces mounts unhurried", "namespaces mounts",
)  # fmt: skip
"""Programs of tests/workloads with their arguments."""


def python(workload: str) -> list[str]:
    """Return the command of a workload in Python. -S: it needs no installed packages."""
    name, *args = workload.split()
    return [sys.executable, "-S", "-B", "-P", "-m", f"tests.workloads.{name}", *args]


def verdict(audited: Audited, backend: Backend) -> str:
    """Return all that is wrong with a recording, a line each; empty if nothing is."""
    complaints = compare(audited.story, audited.events, backend.name)
    complaints += [f"disk: {line}" for line in audited.disk_complaints()]
    if not audited.completeness.complete:
        complaints.append(f"not complete: {audited.completeness}")
    elif audited.completeness.unresolved:
        complaints.append(f"{audited.completeness.unresolved} events are unresolved")
    return "\n".join(map(_shortened, complaints))


def said_to_be_missing(audited: Audited, backend: Backend) -> set[str]:
    """Return the known differences that the recording itself owns up to: it is then incomplete."""
    spots = {spot.kind for spot in audited.completeness.blind_spots}
    known = {entry.name for entry in differences(backend.name).values() if entry.said in spots}
    assert not known or not audited.completeness.complete
    return known


def _shortened(line: str) -> str:
    """Long names are given by their ends."""
    return re.sub(r"[^ '\"]{120,}", lambda match: f"{match[0][:30]}…{match[0][-80:]}", line)


@pytest.mark.parametrize("workload", WORKLOADS)
def test_the_recording_tells_what_the_workload_did(workload: str, backend: Backend, tmp_path: Path) -> None:
    ground = tmp_path / "ground"
    ground.mkdir()
    audited = run(python(workload), ground, backend.name, tmp_path / "run.wa")
    assert audited.story
    if workload.startswith("namespaces") and "mount-namespaces" in said_to_be_missing(audited, backend):
        return
    if wrong := verdict(audited, backend):
        pytest.fail(wrong, pytrace=False)


@pytest.mark.parametrize(
    ("kind", "workload"),
    [
        ("tmpfs", "opens"), ("tmpfs", "names"), ("tmpfs", "data"), ("tmpfs", "metadata"),
        ("btrfs", "opens"), ("btrfs", "names"), ("btrfs", "copies reflinks"), ("btrfs", "subvolumes"),
        ("xfs", "copies reflinks"), ("xfs", "data"),
        ("overlay", "below"), ("overlay", "names"), ("overlay", "opens"),
    ],
)  # fmt: skip
def test_the_same_on_another_file_system(
    kind: str, workload: str, backend: Backend, tmp_path: Path, file_system: Callable[[str], Path]
) -> None:
    ground = file_system(kind)
    if workload == "subvolumes":
        for name in ("one", "two"):
            subprocess.run(["btrfs", "subvolume", "create", ground / name], check=True, capture_output=True)
    audited = run(python(workload), ground, backend.name, tmp_path / "run.wa")
    assert audited.story
    if wrong := verdict(audited, backend):
        pytest.fail(wrong, pytrace=False)


@pytest.mark.requires_gcc
def test_a_32_bit_program(backend: Backend, tmp_path: Path, compiled: Callable[..., Path]) -> None:
    ground = tmp_path / "ground"
    ground.mkdir()
    audited = run([compiled("compat", "-m32")], ground, backend.name, tmp_path / "run.wa")
    assert audited.story
    if wrong := verdict(audited, backend):
        pytest.fail(wrong, pytrace=False)


@pytest.mark.requires_gcc
@pytest.mark.parametrize("how", ["", "async", "polled"])
def test_io_uring(how: str, backend: Backend, tmp_path: Path, compiled: Callable[..., Path]) -> None:
    """Recorded in full; or else the audit is incomplete, and says why."""
    ground = tmp_path / "ground"
    ground.mkdir()
    argv: list[str | Path] = [compiled("uring"), *how.split()]
    audited = run(argv, ground, backend.name, tmp_path / "run.wa", may_fail=True)
    if audited.status == 77:
        pytest.skip("io_uring, or an operation of it, is not to be had here")
    assert audited.status == 0
    if "io_uring" not in said_to_be_missing(audited, backend) and (wrong := verdict(audited, backend)):
        pytest.fail(wrong, pytrace=False)


def test_a_daemon_that_outlives_the_command(backend: Backend, tmp_path: Path) -> None:
    ground = tmp_path / "ground"
    ground.mkdir()
    audited = run(python("daemon 0.5"), ground, backend.name, tmp_path / "run.wa")
    assert len(audited.story) == 2
    if wrong := verdict(audited, backend):
        pytest.fail(wrong, pytrace=False)


def test_a_daemon_that_outlives_the_audit(backend: Backend, tmp_path: Path) -> None:
    ground = tmp_path / "ground"
    ground.mkdir()
    limits = Limits(linger_s=0.2)
    audited = run(python("daemon 1.5"), ground, backend.name, tmp_path / "run.wa", limits=limits)
    assert len(audited.completeness.survivors) == 1
    assert not audited.completeness.complete
    time.sleep(2)  # nothing of it may write into the next test's directory
    assert (ground / "by-daemon").exists(), "the daemon must live on unharmed"


@pytest.mark.requires_root
def test_a_setuid_program_is_followed(backend: Backend, tmp_path: Path) -> None:
    # Not below tmp_path, which only its owner may search.
    with tempfile.TemporaryDirectory(prefix="writeaudit-") as directory:
        place = Path(directory)
        place.chmod(0o755)
        ground = place / "ground"
        ground.mkdir()
        program = place / "touch"
        shutil.copy("/usr/bin/touch", program)
        program.chmod(0o4755)
        argv: list[str | Path] = [*python("setuid"), program]
        powerless = "setuid" in differences(backend.name)
        audited = run(argv, ground, backend.name, tmp_path / "run.wa", may_fail=powerless)
    if powerless:
        refused = [
            event for event in audited.events if event.path.endswith(b"/by-root") and event.op is Op.OPEN
        ]
        assert {event.result for event in refused} == {"EACCES"}
    elif wrong := verdict(audited, backend):
        pytest.fail(wrong, pytrace=False)


@pytest.mark.requires_program("bwrap")
def test_bubblewrap(backend: Backend, tmp_path: Path) -> None:
    """A sandbox of bind mounts and namespaces: what it changes has a name outside, too."""
    ground = tmp_path / "ground"
    ground.mkdir()
    script = (
        "echo 1 >made; mkdir d; mv made d/moved; ln d/moved linked; ln -s d s; echo 2 >s/through; sleep 0.2"
    )
    argv: list[str | Path] = [
        "bwrap", "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc", "--unshare-pid",
        "--bind", ground, "/mnt", "--chdir", "/mnt", "sh", "-c", script,
    ]  # fmt: skip
    audited = run(argv, ground, backend.name, tmp_path / "run.wa", may_fail=True)
    if audited.status and not audited.events:
        pytest.skip("bwrap makes no namespaces here")
    if "mount-namespaces" not in said_to_be_missing(audited, backend):
        assert audited.disk_complaints() == []
