"""Verdicts, one event at a time."""

from __future__ import annotations

import stat
from typing import Any

import pytest

from writeaudit.events import Access, FsEvent, Op
from writeaudit.judgement import Judged, Policy, Reason, Verdict, Zone, ZoneAccess
from writeaudit.policy import Classifier

POLICY = Policy(
    "test",
    "test",
    (
        Zone("ro", ZoneAccess.READ_ONLY, (b"/ro",)),
        Zone("rw", ZoneAccess.READ_WRITE, (b"/rw",)),
        Zone("none", ZoneAccess.NONE, (b"/none",)),
    ),
)
A, V, T, F, R = Verdict.ALLOWED, Verdict.VIOLATION, Verdict.ATTEMPT, Verdict.FAILED, Verdict.READ
READ_ONLY, OUTSIDE, REFUSED = Reason.READ_ONLY, Reason.OUTSIDE, Reason.REFUSED
FORBIDDEN_READ, LINK_COUNT = Reason.FORBIDDEN_READ, Reason.LINK_COUNT


def judge(op: Op, path: bytes, **fields: Any) -> Judged:
    return Classifier(POLICY).judge(FsEvent(seq=1, time_ns=0, pid=1, tid=1, op=op, path=path, **fields))


def opened(path: bytes, access: str, *flags: str, **fields: Any) -> Judged:
    return judge(Op.OPEN, path, access=Access(access), flags=flags, **fields)


def test_opens() -> None:
    assert opened(b"/ro/f", "r") == Judged("ro", R)
    assert opened(b"/out/f", "r") == Judged(None, R)
    assert opened(b"/ro/f", "path", "creat", "trunc") == Judged("ro", R)
    assert opened(b"/ro/f", "rw") == Judged("ro", V, READ_ONLY), "even if nothing is written"
    assert opened(b"/ro/f", "r", "creat") == Judged("ro", R), "the file was there"
    assert opened(b"/ro/f", "r", "creat", created=True) == Judged("ro", V, READ_ONLY)
    assert opened(b"/ro/f", "r", "trunc") == Judged("ro", V, READ_ONLY)
    assert opened(b"/ro", "rw", "tmpfile") == Judged("ro", V, READ_ONLY)
    assert opened(b"/rw/f", "w", "creat", "excl", created=True) == Judged("rw", A)
    assert opened(b"/out/f", "w") == Judged(None, V, OUTSIDE)
    assert opened(b"/none/f", "r") == Judged("none", V, FORBIDDEN_READ)
    assert opened(b"/none/f", "path") == Judged("none", R)
    assert opened(b"/none/f", "w") == Judged("none", V, READ_ONLY)


@pytest.mark.parametrize("error", ["EROFS", "EACCES", "EPERM", "ETXTBSY", "EDQUOT", "ENOSPC", "EBUSY"])
def test_refusals(error: str) -> None:
    assert opened(b"/ro/f", "rw", result=error) == Judged("ro", T, READ_ONLY)
    assert opened(b"/ro/f", "r", "creat", result=error) == Judged("ro", T, READ_ONLY)
    assert judge(Op.MKDIR, b"/out/d", result=error) == Judged(None, T, OUTSIDE)
    assert judge(Op.MKDIR, b"/rw/d", result=error) == Judged("rw", F, REFUSED), (
        "the policy would have allowed it"
    )
    assert opened(b"/none/f", "r", result=error) == Judged("none", T, FORBIDDEN_READ)
    assert opened(b"/ro/f", "r", result=error) == Judged("ro", F)


@pytest.mark.parametrize("error", ["EEXIST", "ENOENT", "EXDEV", "ENOTEMPTY", "ELOOP", "EISDIR", "EOPNOTSUPP"])
def test_failures_of_their_own(error: str) -> None:
    assert judge(Op.MKDIR, b"/ro/d", result=error) == Judged("ro", F)
    assert judge(Op.RENAME, b"/ro/d", source=b"/out/x", result=error) == Judged("ro", F)
    assert opened(b"/none/f", "r", result=error) == Judged("none", F)


@pytest.mark.parametrize("op", [Op.RENAME, Op.EXCHANGE])
def test_both_sides(op: Op) -> None:
    assert judge(op, b"/rw/b", source=b"/rw/a") == Judged("rw", A)
    assert judge(op, b"/rw/b", source=b"/ro/a") == Judged("ro", V, READ_ONLY, on_source=True)
    assert judge(op, b"/ro/b", source=b"/rw/a") == Judged("ro", V, READ_ONLY)
    assert judge(op, b"/ro/b", source=b"/none/a") == Judged("ro", V, READ_ONLY), "equals: the new name"
    assert judge(op, b"/rw/b", source=b"/out/a") == Judged(None, V, OUTSIDE, on_source=True)
    assert judge(op, b"/rw/b", source=b"/ro/a", result="EROFS") == Judged("ro", T, READ_ONLY, on_source=True)


def test_links() -> None:
    assert judge(Op.LINK, b"/rw/b", source=b"/rw/a") == Judged("rw", A)
    assert judge(Op.LINK, b"/rw/b", source=b"/ro/a") == Judged("ro", V, LINK_COUNT, on_source=True)
    assert judge(Op.LINK, b"/rw/b", source=b"/out/a") == Judged("rw", A)
    assert judge(Op.LINK, b"/ro/b", source=b"/ro/a") == Judged("ro", V, READ_ONLY), "the graver one"
    assert judge(Op.LINK, b"/rw/b", source=b"/ro/a", result="EPERM") == Judged(
        "ro", T, LINK_COUNT, on_source=True
    )
    assert judge(Op.LINK, b"/rw/b", source=b"/ro/a", result="EXDEV") == Judged("rw", F)
    assert judge(Op.LINK, b"/rw/b", source=b"/ro/#12", flags=("deleted",)) == Judged("rw", A)
    assert judge(Op.SYMLINK, b"/rw/b", source=b"/none/a") == Judged("rw", A), "text is not judged"


@pytest.mark.parametrize("op", [Op.COPY, Op.CLONE])
def test_copies_read_their_source(op: Op) -> None:
    assert judge(op, b"/rw/b", source=b"/ro/a", bytes=1) == Judged("rw", A)
    assert judge(op, b"/rw/b", source=b"/none/a", bytes=1) == Judged(
        "none", V, FORBIDDEN_READ, on_source=True
    )
    assert judge(op, b"/out/b", source=b"/none/a", bytes=1) == Judged(None, V, OUTSIDE)


@pytest.mark.parametrize(
    "op", [Op.WRITE, Op.MMAP_WRITE, Op.TRUNCATE, Op.CHMOD, Op.UTIME, Op.SETXATTR, Op.UNLINK]
)
def test_changes(op: Op) -> None:
    assert judge(op, b"/ro/f") == Judged("ro", V, READ_ONLY)
    assert judge(op, b"/rw/f") == Judged("rw", A)
    assert judge(op, b"/out/f") == Judged(None, V, OUTSIDE)


def test_what_is_in_no_file() -> None:
    for fmt in (stat.S_IFCHR, stat.S_IFIFO, stat.S_IFSOCK):
        assert judge(Op.WRITE, b"/out/x", fmt=fmt) == Judged(None, A)
        assert opened(b"/ro/x", "w", fmt=fmt) == Judged("ro", A)
        assert opened(b"/ro/x", "r", fmt=fmt) == Judged("ro", R)
        assert judge(Op.UNLINK, b"/ro/x", fmt=fmt) == Judged("ro", V, READ_ONLY), "the name is in a directory"
    assert judge(Op.WRITE, b"/out/sda", fmt=stat.S_IFBLK) == Judged(None, V, OUTSIDE)
    assert judge(Op.MKNOD, b"/ro/fifo", fmt=stat.S_IFIFO) == Judged("ro", V, READ_ONLY)
    assert judge(Op.WRITE, b"pipe:[123]") == Judged(None, A)
    assert judge(Op.WRITE, b"/memfd:x", flags=("deleted",)) == Judged(None, A)
    assert judge(Op.WRITE, b"/memfd:x") == Judged(None, V, OUTSIDE), "a file of that name"
    assert opened(b"/dev/null", "w") == Judged("devices", A)
    assert opened(b"/proc/5/comm", "w") == Judged("devices", A)
    assert opened(b"/dev/tty", "rw", result="ENXIO") == Judged("devices", F)


def test_uncertain_paths_are_judged() -> None:
    assert judge(Op.MKDIR, b"somewhere") == Judged(None, V, OUTSIDE)
    assert judge(Op.MOUNT, b"/ro/x") == Judged(None, A)
    assert judge(Op.MOUNT, b"/ro/x", result="EPERM") == Judged(None, F)


def test_sides() -> None:
    event = FsEvent(1, 0, 1, 1, Op.RENAME, b"/rw/b", b"/ro/a")
    sides = Classifier(POLICY).judge_sides(event)
    assert sides.path == Judged("rw", A)
    assert sides.source == Judged("ro", V, READ_ONLY, on_source=True)


def test_the_way_to_a_writable_zone_may_be_made() -> None:
    zones = (
        Zone("cache", ZoneAccess.READ_WRITE, (b"/home/u/.cache/uv",)),
        Zone("frozen", ZoneAccess.READ_ONLY, (b"/home/u/.local/share/uv",)),
    )
    classifier = Classifier(Policy("p", "s", zones))

    def made(op: Op, path: bytes) -> Judged:
        return classifier.judge(FsEvent(1, 0, 1, 1, op, path))

    assert made(Op.MKDIR, b"/home/u/.cache") == Judged("cache", A)
    assert made(Op.MKDIR, b"/home/u/.cache/other") == Judged(None, V, OUTSIDE)
    assert made(Op.MKDIR, b"/home/u/.local") == Judged(None, V, OUTSIDE)
    assert made(Op.RMDIR, b"/home/u/.cache") == Judged(None, V, OUTSIDE)
