"""Each workload under each backend: the story it tells, and the disk, against the recording."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conformance.audited import Audited, run
from tests.conformance.differences import differences
from tests.conformance.story import compare, compare_doubtful
from writeaudit.capture.interface import Backend, CaptureLimits
from writeaudit.events import NAMESPACE_OPS, Op

pytestmark = pytest.mark.skipif(
    platform.machine() != "x86_64", reason="the workloads make the system calls of x86-64"
)

WORKLOADS = (
    "opens", "names", "data", "copies", "metadata", "descriptors", "paths", "threads",
    "namespaces roots", "namespaces mounts unhurried",
)  # fmt: skip
"""Programs of tests/workloads with their arguments."""

_NOBODY = 65534


def python(workload: str) -> list[str]:
    """Return the command of a workload in Python. -S: it needs no installed packages."""
    name, *args = workload.split()
    return [sys.executable, "-S", "-B", "-P", "-m", f"tests.workloads.{name}", *args]


def verdict(audited: Audited, backend: Backend) -> str:
    """Return all that is wrong with a recording, a line each; empty if nothing is."""
    complaints = compare(audited.story, audited.events, backend.name)
    told = {name for step in audited.story for name in step.but} & said_to_be_missing(audited, backend)
    known = differences(backend.name)
    # What the recording says that it missed is on the disk nevertheless.
    missed = [
        repr(step.path[len(audited.ground) + 1 :])
        for step in audited.story
        if any(name in told and known[name].unseen for name in step.but)
    ]
    complaints += [f"disk: {line}" for line in audited.disk_complaints() if not line.endswith(tuple(missed))]
    completeness = audited.completeness
    if not completeness.complete:
        # A step may be one of a kind of which the recording says that it missed something.
        kinds = {entry.said for name, entry in known.items() if name in told}
        spots = {spot.kind for spot in completeness.blind_spots if spot.incomplete}
        late = completeness.unresolved and _looked_at_late(audited) and "soon-gone" in known
        if completeness.lost_events or completeness.survivors or not (spots or late) or not spots <= kinds:
            complaints.append(f"not complete: {completeness}")
    return "\n".join(map(_shortened, complaints))


def _looked_at_late(audited: Audited) -> bool:
    return any("soon-gone" in step.but for step in audited.story)


def said_to_be_missing(audited: Audited, backend: Backend) -> set[str]:
    """Return the known differences that the recording itself reports: it is then incomplete."""
    spots = {spot.kind for spot in audited.completeness.blind_spots if spot.incomplete}
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


@pytest.mark.requires_root
def test_mounts_of_processes_that_are_gone(backend: Backend, tmp_path: Path) -> None:
    """What their names stood for cannot be read any more: nothing is missing, no wrong name vouched for."""
    ground = tmp_path / "ground"
    ground.mkdir()
    audited = run(python("namespaces mounts"), ground, backend.name, tmp_path / "run.wa")
    assert audited.story
    known = differences(backend.name)
    assert {"gone-namespaces", "mount-namespaces"} & said_to_be_missing(audited, backend)
    assert not audited.completeness.complete
    if "mount-namespaces" in known:
        return  # not even what the kernel says of opened files holds outside
    told_of = [event for event in audited.everywhere if event in audited.events or event.op in NAMESPACE_OPS]
    if wrong := "\n".join(map(_shortened, compare_doubtful(audited.story, told_of, backend.name))):
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
@pytest.mark.parametrize("how", ["", "async", "polled", "chained", "fixed", "data"])
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


@pytest.mark.requires_gcc
def test_io_uring_without_results(backend: Backend, tmp_path: Path, compiled: Callable[..., Path]) -> None:
    """Requests that are silent on success are recorded, and their results said not to be known."""
    ground = tmp_path / "ground"
    ground.mkdir()
    audited = run([compiled("uring"), "silent"], ground, backend.name, tmp_path / "run.wa", may_fail=True)
    if audited.status == 77:
        pytest.skip("io_uring, or an operation of it, is not to be had here")
    assert audited.status == 0
    missing = said_to_be_missing(audited, backend)
    if "io_uring" in missing:
        return
    assert missing == {"silent-requests"}
    # They come last: when their results had come, had there been any, nobody knows.
    assert compare_doubtful(audited.story, audited.events, backend.name) == []


@pytest.mark.requires_gcc
@pytest.mark.parametrize("what", ["cwd", "dir", "apart", "opened"])
def test_io_uring_that_begins_elsewhere_by_the_time(
    what: str, backend: Backend, tmp_path: Path, compiled: Callable[..., Path]
) -> None:
    """What a request's names began at is another thing later: no wrong name is vouched for."""
    ground = tmp_path / "ground"
    ground.mkdir()
    audited = run([compiled("uring_later"), what], ground, backend.name, tmp_path / "run.wa", may_fail=True)
    if audited.status == 77:
        pytest.skip("io_uring, or an operation of it, is not to be had here")
    assert audited.status == 0
    if "io_uring" in said_to_be_missing(audited, backend):
        return
    if wrong := compare_doubtful(audited.story, audited.events, backend.name):
        pytest.fail("\n".join(map(_shortened, wrong)), pytrace=False)
    assert not audited.completeness.complete


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
    limits = CaptureLimits(linger_s=0.2)
    audited = run(python("daemon 1.5"), ground, backend.name, tmp_path / "run.wa", limits=limits)
    assert len(audited.completeness.survivors) == 1
    assert not audited.completeness.complete
    time.sleep(2)  # nothing of it may write into the next test's directory
    assert (ground / "by-daemon").exists(), "the daemon must live on unharmed"


@pytest.fixture
def public_place() -> Iterator[Path]:
    """A directory that everybody may search, with a set-user-ID copy of touch(1) (tmp_path is private)."""
    with tempfile.TemporaryDirectory(prefix="writeaudit-") as directory:
        place = Path(directory)
        place.chmod(0o755)
        program = place / "touch"
        shutil.copy("/usr/bin/touch", program)
        program.chmod(0o4755)
        (place / "ground").mkdir()
        yield place


@pytest.mark.requires_root
def test_a_setuid_program_is_followed(backend: Backend, tmp_path: Path, public_place: Path) -> None:
    argv: list[str | Path] = [*python("setuid"), public_place / "touch"]
    audited = run(argv, public_place / "ground", backend.name, tmp_path / "run.wa")
    if wrong := verdict(audited, backend):
        pytest.fail(wrong, pytrace=False)


@pytest.mark.requires_root
@pytest.mark.requires_program("setpriv")
def test_a_setuid_program_that_an_ordinary_user_audits(backend: Backend, public_place: Path) -> None:
    """It gains nothing, and the report says so; what it does is recorded nevertheless."""
    if "setuid" not in differences(backend.name):
        pytest.skip("this backend is root's")
    own = public_place / "own"
    own.mkdir()
    os.chown(own, _NOBODY, _NOBODY)
    ground = public_place / "ground"
    argv: list[str | Path] = [public_place / "touch", "by-root"]
    audited = run(argv, ground, backend.name, own / "run.wa", may_fail=True, user=_NOBODY)
    (attempt,) = (
        event for event in audited.events if event.op is Op.OPEN and event.path.endswith(b"/by-root")
    )
    assert attempt.result == "EACCES"
    (spot,) = audited.completeness.blind_spots
    assert (spot.kind, spot.incomplete) == ("setuid", False)


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
