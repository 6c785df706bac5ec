"""Mounts that are attached nowhere: what strace prints of paths in them is in doubt, and said to be."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.conformance.audited import run
from tests.support.doubts import maybe_detached
from tests.support.strace_lines import parser
from writeaudit.capture.strace.parser import TraceParser
from writeaudit.events import Certainty, Op, Operand, RawEvent

_CLONED = b'open_tree(AT_FDCWD</w>, "real", OPEN_TREE_CLONE|OPEN_TREE_CLOEXEC) = 3</>'
_MADE = b"fsmount(5<anon_inode:[fscontext]>, 0, 0) = 3</>"
_PLACED = b'move_mount(3</>, "", AT_FDCWD</w>, "point", MOVE_MOUNT_F_EMPTY_PATH) = 0'
_REFUSED = _PLACED[: -len(b"0")] + b"-1 EPERM (Operation not permitted)"
_TAKEN_AWAY = b'umount2("/w/point", MNT_DETACH) = 0'
_IN_IT = (
    b'openat(3</>, "f", O_WRONLY|O_CREAT, 0600) = 4</f>',
    b'write(4</f>, "x", 1) = 1',
    b'mkdirat(3</>, "d", 0700) = 0',
    b'renameat(3</>, "d", 9</>, "e") = 0',
)
_ELSEWHERE = b'mkdir("/w/x", 0700) = 0'


def feed(*calls: bytes) -> tuple[TraceParser, list[RawEvent]]:
    """Return the parser and the events of some lines."""
    made = parser()
    out = made.feed_bytes(b"".join(b"10 6.000001 " + line + b" <0.000010>\n" for line in calls))
    assert made.lost == {}, made.samples
    return made, [record for record in out if isinstance(record, RawEvent)]


def said(made: TraceParser) -> list[tuple[str, bool]]:
    """Return the kinds of the blind spots, and whether each makes the audit incomplete."""
    return [(spot.kind, spot.incomplete) for spot in made.blind_spots]


@pytest.mark.parametrize("line", [_CLONED, _MADE])
def test_no_path_is_vouched_for(line: bytes) -> None:
    made, found = feed(line, *_IN_IT)
    assert [event.op for event in found] == [Op.OPEN, Op.WRITE, Op.MKDIR, Op.RENAME]
    assert all(maybe_detached(event.path) for event in found)
    assert found[-1].source is not None
    assert maybe_detached(found[-1].source)
    assert made.truncated == 0, "the paths are whole"
    assert said(made) == [("detached_mount", True)]


def test_no_path_is_vouched_for_once_a_mount_was_taken_away() -> None:
    made, found = feed(_TAKEN_AWAY, *_IN_IT)
    assert [event.op for event in found] == [Op.UMOUNT, Op.OPEN, Op.WRITE, Op.MKDIR, Op.RENAME]
    assert [maybe_detached(event.path) for event in found] == [False, True, True, True, True]
    assert said(made) == [("detached_mount", True)]


@pytest.mark.parametrize(
    "line",
    [
        b'umount2("/w/point", 0) = 0',
        b'umount2("/w/point", UMOUNT_NOFOLLOW) = 0',
        b'umount2("/w/point", MNT_DETACH) = -1 EPERM (Operation not permitted)',
    ],
)
def test_a_mount_that_nobody_uses_leaves_no_doubt(line: bytes) -> None:
    made, found = feed(line, _ELSEWHERE)
    assert not any(maybe_detached(event.path) for event in found)
    assert said(made) == []


def test_a_mount_that_gets_its_place_leaves_no_doubt() -> None:
    made, (moved, made_there) = feed(_MADE, _PLACED, _ELSEWHERE)
    assert (moved.op, moved.path, moved.source) == (Op.MOUNT, Operand(b"/w", b"point"), moved.path)
    assert not maybe_detached(made_there.path)
    assert said(made) == []


@pytest.mark.parametrize(
    "line",
    [
        _REFUSED,
        _PLACED.replace(b"3<", b"8<"),  # a duplicate: of which mount, nobody knows
        b'fchdir(3</>) = 0',
        b'chroot(".") = 0',
    ],
)  # fmt: skip
def test_otherwise_the_doubt_stays(line: bytes) -> None:
    after = () if b"move_mount" in line else (_PLACED,)
    made, found = feed(_CLONED, line, *after, _ELSEWHERE)
    assert found[-1].path.name == b"/w/x"
    assert maybe_detached(found[-1].path)
    assert said(made) == [("detached_mount", True)]


def test_an_open_tree_that_makes_no_mount_changes_nothing() -> None:
    plain = b'open_tree(AT_FDCWD</w>, "real", OPEN_TREE_CLOEXEC) = 3</w/real>'
    made, found = feed(plain, b'mkdirat(3</w/real>, "d", 0700) = 0')
    assert [event.path for event in found] == [Operand(b"/w/real", b"d")]
    refused = _CLONED[: -len(b"3</>")] + b"-1 EPERM (Operation not permitted)"
    made, found = feed(refused, _ELSEWHERE)
    assert not maybe_detached(found[0].path)
    assert said(made) == []


@pytest.mark.requires_strace
@pytest.mark.requires_root
def test_a_tree_used_by_its_descriptor(tmp_path: Path) -> None:
    """No name is recorded as certain, and the audit is not complete."""
    ground = tmp_path / "ground"
    ground.mkdir()
    argv = [sys.executable, "-S", "-B", "-P", "-m", "tests.workloads.detached"]
    audited = run(argv, ground, "strace", tmp_path / "run.wa")
    outside = [event for event in audited.everywhere if event.path in (b"/made", b"/dir", b"/dir2")]
    assert [event.op for event in outside] == [Op.OPEN, Op.WRITE, Op.MKDIR, Op.RENAME]
    assert {event.certainty for event in outside} == {Certainty.LEXICAL}
    assert "detached_mount" in {spot.kind for spot in audited.completeness.blind_spots}
    assert not audited.completeness.complete
