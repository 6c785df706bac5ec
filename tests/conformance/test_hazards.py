"""Names, descriptors and refusals that are hard to follow, under each backend."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conformance.audited import run
from tests.conformance.differences import differences
from tests.conformance.story import compare
from tests.conformance.test_workloads import python, said_to_be_missing, verdict
from writeaudit.capture.interface import Backend
from writeaudit.events import NAMESPACE_OPS, OK, Certainty, FsEvent, Op

pytestmark = pytest.mark.skipif(
    platform.machine() != "x86_64", reason="the workloads make the system calls of x86-64"
)

_SKIPPED = 77


@pytest.fixture
def ground(tmp_path: Path) -> Path:
    directory = tmp_path / "ground"
    directory.mkdir()
    return directory


@pytest.fixture
def searched(tmp_path: Path) -> None:
    """Let a workload that becomes nobody search the directories that pytest makes private."""
    for directory in (tmp_path, *tmp_path.parents[:2]):
        directory.chmod(directory.stat().st_mode | 0o011)


@pytest.mark.parametrize(
    "workload",
    [
        "attempts",
        "slashes",
        "handed",
        "magic",
        "mappings",
        "refusals",
        pytest.param("mount_moves roots", marks=pytest.mark.requires_root),
    ],
)
@pytest.mark.usefixtures("searched")
def test_the_recording_tells_what_the_workload_did(
    workload: str, backend: Backend, ground: Path, tmp_path: Path
) -> None:
    audited = run(python(workload), ground, backend.name, tmp_path / "run.wa")
    assert audited.story
    if wrong := verdict(audited, backend):
        pytest.fail(wrong, pytrace=False)


@pytest.mark.requires_root
def test_mounts_of_every_kind(backend: Backend, ground: Path, tmp_path: Path) -> None:
    audited = run(python("mount_moves mounts"), ground, backend.name, tmp_path / "run.wa")
    assert audited.story
    if "mount-namespaces" in said_to_be_missing(audited, backend):
        return
    if wrong := verdict(audited, backend):
        pytest.fail(wrong, pytrace=False)


@pytest.mark.requires_root
@pytest.mark.parametrize("kind", ["bind", "tmpfs"])
def test_a_mount_that_is_taken_away_while_its_files_are_open(
    kind: str, backend: Backend, ground: Path, tmp_path: Path
) -> None:
    audited = run(python(f"lazy {kind}"), ground, backend.name, tmp_path / "run.wa")
    assert (ground / "real/sub/later").exists() == (kind == "bind")
    told = [event for event in audited.events if event.op not in NAMESPACE_OPS]
    wrong = compare(audited.story, told, backend.name)
    assert said_to_be_missing(audited, backend) == {"detached-mounts"} & differences(backend.name).keys()
    if wrong:
        pytest.fail("\n".join(wrong), pytrace=False)


@pytest.mark.requires_root
def test_mounts_that_are_attached_nowhere(backend: Backend, ground: Path, tmp_path: Path) -> None:
    audited = run(python("detached"), ground, backend.name, tmp_path / "run.wa")
    assert len(os.listdir(ground / "left")) == len(os.listdir(ground / "right")) == 8
    assert said_to_be_missing(audited, backend) == {"detached-mounts"} & differences(backend.name).keys()
    if wrong := compare(audited.story, audited.events, backend.name):
        pytest.fail("\n".join(wrong), pytrace=False)


@pytest.mark.requires_root
def test_directories_that_are_moved_out_of_what_their_mount_shows(
    backend: Backend, ground: Path, tmp_path: Path
) -> None:
    audited = run(python("rename_hazards"), ground, backend.name, tmp_path / "run.wa")
    moved = next(event.seq for event in audited.events if event.op is Op.RENAME)
    later = [event for event in audited.everywhere if event.seq > moved and _changes(event)]
    assert [event.op for event in later] == [
        *[Op.MKDIR] * 3, Op.OPEN, Op.WRITE, Op.RENAME, Op.MKDIR,
    ]  # fmt: skip
    # They have no path that any process could use, and nobody vouches for one.
    *uncertain, end = later
    assert {event.certainty for event in uncertain} == {Certainty.LEXICAL}
    assert not audited.completeness.complete
    assert (end.path, end.certainty) == (os.fsencode(ground / "end"), Certainty.RESOLVED)


@pytest.mark.requires_root
def test_relative_names_in_a_chroot(backend: Backend, ground: Path, tmp_path: Path) -> None:
    audited = run(python("jail"), ground, backend.name, tmp_path / "run.wa")
    jail = os.fsencode(ground / "jail")
    made = [event for event in audited.everywhere if event.op is Op.MKDIR][4:]
    truth = [b"run/one", b"run/two", b"run/three", b"four", b"run/five", b"var/six"]
    known = [event.path for event in made if event.certainty is not Certainty.LEXICAL]
    assert set(known) <= {jail + b"/" + path for path in truth}
    assert len(made) == len(truth)
    # What begins at the root is sure, and so is what does not lead there.
    assert {jail + b"/run/five", jail + b"/var/six"} <= set(known)
    assert made[3].path == jail + b"/four"


def _changes(event: FsEvent) -> bool:
    if event.result != OK:
        return False
    return event.op in {Op.MKDIR, Op.RENAME, Op.WRITE} or "creat" in event.flags


@pytest.mark.requires_gcc
@pytest.mark.parametrize(
    ("program", "flags"),
    [("compat_more", ("-m32",)), ("int80", ()), ("thread_exec", ("-pthread",)), ("uring_more", ())],
)
def test_a_program_in_c(
    program: str,
    flags: tuple[str, ...],
    backend: Backend,
    ground: Path,
    tmp_path: Path,
    compiled: Callable[..., Path],
) -> None:
    argv = [compiled(program, *flags)]
    audited = run(argv, ground, backend.name, tmp_path / "run.wa", may_fail=True)
    if audited.status == _SKIPPED:
        pytest.skip("the system has no such calls")
    assert audited.status == 0
    assert audited.story
    if "io_uring" not in said_to_be_missing(audited, backend) and (wrong := verdict(audited, backend)):
        pytest.fail(wrong, pytrace=False)
