"""What became of each path."""

from __future__ import annotations

from typing import Any

from writeaudit.analysis.files.collector import summarise_run
from writeaudit.events import Access, FsEvent, Op
from writeaudit.judgement import FileSummary, JudgedEvent, NetEffect, Policy, Verdict, Zone, ZoneAccess
from writeaudit.policy import Classifier

POLICY = Policy(
    "test",
    "test",
    (Zone("rw", ZoneAccess.READ_WRITE, (b"/w",)), Zone("ro", ZoneAccess.READ_ONLY, (b"/c",))),
)


class Run:
    """A run in the making."""

    def __init__(self) -> None:
        self.events: list[FsEvent] = []

    def __call__(self, op: Op, path: bytes, source: bytes | None = None, **fields: Any) -> Run:
        self.events.append(
            FsEvent(
                len(self.events) + 1, 0, 1, 1, op, path, source, **{"mount": 1, "source_mount": 1, **fields}
            )
        )
        return self

    def open(self, path: bytes, access: str, *flags: str, **fields: Any) -> Run:
        return self(Op.OPEN, path, access=Access(access), flags=flags, **fields)

    def files(self) -> dict[bytes, FileSummary]:
        classifier = Classifier(POLICY)
        made = summarise_run(
            classifier, (JudgedEvent(event, classifier.judge(event)) for event in self.events)
        )
        assert [item.path for item in made] == sorted(item.path for item in made)
        return {item.path: item for item in made}

    def nets(self) -> dict[bytes, NetEffect]:
        return {path: item.net for path, item in self.files().items()}


def test_simple_fates() -> None:
    run = Run()
    run.open(b"/w/new", "w", "creat", "excl", created=True)(Op.WRITE, b"/w/new", bytes=5, calls=1)
    run.open(b"/w/old", "rw")(Op.WRITE, b"/w/old", bytes=7, calls=2)
    run.open(b"/w/untouched", "rw")
    run.open(b"/w/cut", "w", "trunc")
    run(Op.MKDIR, b"/w/d")(Op.RMDIR, b"/w/d")
    run(Op.UNLINK, b"/w/gone")
    run(Op.UNLINK, b"/w/again").open(b"/w/again", "w", "creat", created=True)
    run.open(b"/c/x", "r")
    run.open(b"/c/y", "w", result="EROFS")
    run(Op.MKDIR, b"/w/there", result="EEXIST")
    run(Op.CHMOD, b"/w/mode")
    run(Op.WRITE, b"/w/nothing", bytes=0, calls=1)
    assert run.nets() == {
        b"/w/new": NetEffect.CREATED,
        b"/w/old": NetEffect.MODIFIED,
        b"/w/untouched": NetEffect.READ,
        b"/w/cut": NetEffect.MODIFIED,
        b"/w/d": NetEffect.TRANSIENT,
        b"/w/gone": NetEffect.DELETED,
        b"/w/again": NetEffect.REPLACED,
        b"/c/x": NetEffect.READ,
        b"/c/y": NetEffect.ATTEMPTED,
        b"/w/there": NetEffect.ATTEMPTED,
        b"/w/mode": NetEffect.MODIFIED,
        b"/w/nothing": NetEffect.READ,
    }
    files = run.files()
    assert files[b"/w/new"].bytes_written == 5
    assert files[b"/w/new"].ops == {"open": 1, "write": 1}
    assert files[b"/w/new"].zone == "rw"
    assert files[b"/c/y"].verdict is Verdict.ATTEMPT
    assert files[b"/w/old"].verdict is Verdict.ALLOWED


def test_creat_without_word_of_creation() -> None:
    run = Run()
    run.open(b"/w/a", "r", result="ENOENT").open(b"/w/a", "w", "creat", "trunc")
    run(Op.MKDIR, b"/w/d").open(b"/w/d/f", "w", "creat", "trunc")
    run.open(b"/w/unknown", "w", "creat", "trunc")
    nets = run.nets()
    assert nets[b"/w/a"] is NetEffect.CREATED
    assert nets[b"/w/d/f"] is NetEffect.CREATED
    assert nets[b"/w/unknown"] is NetEffect.MODIFIED


def test_rename_of_a_file_made_in_the_run() -> None:
    run = Run()
    run.open(b"/w/lock", "r")
    run.open(b"/w/.tmp", "w", "creat", "excl", created=True)(Op.WRITE, b"/w/.tmp", bytes=9, calls=1)
    run(Op.RENAME, b"/w/lock", b"/w/.tmp")
    run(Op.RENAME, b"/w/b", b"/w/a")
    files = run.files()
    assert {path: item.net for path, item in files.items()} == {
        b"/w/lock": NetEffect.REPLACED,
        b"/w/.tmp": NetEffect.TRANSIENT,
        b"/w/a": NetEffect.DELETED,
        b"/w/b": NetEffect.CREATED,
    }
    assert files[b"/w/lock"].bytes_written == 9
    assert files[b"/w/.tmp"].bytes_written == 0


def test_rename_of_a_directory() -> None:
    run = Run()
    run(Op.MKDIR, b"/w/t")(Op.MKDIR, b"/w/t/sub")
    run.open(b"/w/t/sub/f", "w", "creat", created=True)(Op.WRITE, b"/w/t/sub/f", bytes=3, calls=1)
    run.open(b"/w/t/sub/gone", "w", "creat", created=True)(Op.UNLINK, b"/w/t/sub/gone")
    run(Op.RENAME, b"/w/final", b"/w/t")
    run(Op.CHMOD, b"/w/final/sub/f")
    files = run.files()
    assert {path: item.net for path, item in files.items()} == {
        b"/w/t": NetEffect.TRANSIENT,
        b"/w/t/sub/gone": NetEffect.TRANSIENT,
        b"/w/final": NetEffect.CREATED,
        b"/w/final/sub": NetEffect.CREATED,
        b"/w/final/sub/f": NetEffect.CREATED,
    }
    assert files[b"/w/final/sub/f"].ops == {"open": 1, "write": 1, "chmod": 1}
    assert files[b"/w/final/sub/f"].bytes_written == 3


def test_rename_of_a_directory_that_stood() -> None:
    run = Run()
    run.open(b"/w/old/changed", "w", "trunc")(Op.WRITE, b"/w/old/changed", bytes=2, calls=1)
    run.open(b"/w/old/read", "r")
    run(Op.RENAME, b"/w/new", b"/w/old")
    assert run.nets() == {
        b"/w/old": NetEffect.DELETED,
        b"/w/old/changed": NetEffect.DELETED,
        b"/w/old/read": NetEffect.READ,
        b"/w/new": NetEffect.CREATED,
        b"/w/new/changed": NetEffect.CREATED,
    }
    assert sum(item.bytes_written for item in run.files().values()) == 2


def test_exchange() -> None:
    run = Run()
    run(Op.MKDIR, b"/w/a").open(b"/w/a/f", "w", "creat", created=True)
    run(Op.EXCHANGE, b"/w/b", b"/w/a")
    assert run.nets() == {
        b"/w/a": NetEffect.CREATED,
        b"/w/b": NetEffect.REPLACED,
        b"/w/b/f": NetEffect.CREATED,
    }


def test_rename_onto_itself_changes_nothing() -> None:
    assert Run()(Op.RENAME, b"/w/a", b"/w/a").nets() == {b"/w/a": NetEffect.READ}


def test_unnamed_file_and_its_link() -> None:
    run = Run()
    run.open(b"/w", "rw", "tmpfile", dev=5, ino=77)
    run(Op.WRITE, b"/w/#77", bytes=4, calls=1, flags=("deleted",), dev=5, ino=77)
    run(Op.LINK, b"/w/f", b"/w/#77", dev=5, ino=77, source_dev=5, source_ino=77, flags=("deleted",))
    files = run.files()
    assert {path: item.net for path, item in files.items()} == {
        b"/w/#77": NetEffect.TRANSIENT,
        b"/w/f": NetEffect.CREATED,
    }
    assert files[b"/w/f"].bytes_written == 4


def test_link_of_an_unnamed_file_that_is_known_by_the_kernels_path_alone() -> None:
    """strace tells no inode of an open file, only of the name that a link made."""
    run = Run()
    run.open(b"/w/#77", "rw", "tmpfile", "deleted")
    run(Op.WRITE, b"/w/#77", bytes=4, calls=1, flags=("deleted",))
    run(Op.LINK, b"/w/f", b"/w/#77", dev=5, ino=77, source_dev=5, source_ino=77)
    run.open(b"/w/#78", "rw", "tmpfile", "deleted")
    run(Op.COPY, b"/w/#78", b"/w/x", bytes=3, calls=1, flags=("deleted",))
    run(Op.LINK, b"/w/g", b"/w/#78")
    files = run.files()
    assert {path: (item.net, item.bytes_written) for path, item in files.items()} == {
        b"/w/#77": (NetEffect.TRANSIENT, 0),
        b"/w/#78": (NetEffect.TRANSIENT, 0),
        b"/w/f": (NetEffect.CREATED, 4),
        b"/w/g": (NetEffect.CREATED, 3),
    }


def test_link_of_a_file_that_is_named_like_an_unnamed_one() -> None:
    run = Run()
    run.open(b"/w/#77", "rw", "tmpfile", "deleted")
    run(Op.WRITE, b"/w/#77", bytes=4, calls=1, flags=("deleted",))
    run.open(b"/w/#77", "w", "creat", created=True)
    run(Op.LINK, b"/w/f", b"/w/#77")
    assert run.files()[b"/w/f"].bytes_written == 0


def test_each_side_bears_its_own_verdict() -> None:
    run = Run()
    run(Op.RENAME, b"/w/x", b"/c/x")(Op.LINK, b"/w/l", b"/c/l")(Op.LINK, b"/w/m", b"/w/x")
    files = run.files()
    assert files[b"/c/x"].verdict is Verdict.VIOLATION
    assert files[b"/w/x"].verdict is Verdict.ALLOWED
    assert (files[b"/c/l"].verdict, files[b"/c/l"].net) == (Verdict.VIOLATION, NetEffect.MODIFIED)
    assert files[b"/w/l"].verdict is Verdict.ALLOWED
    assert files[b"/w/m"].net is NetEffect.CREATED


def test_one_path_on_two_mounts() -> None:
    run = Run()
    run(Op.CHMOD, b"/w/f", mount=1)(Op.CHMOD, b"/w/f", mount=2)
    classifier = Classifier(POLICY)
    made = summarise_run(classifier, [JudgedEvent(event, classifier.judge(event)) for event in run.events])
    assert [(item.path, item.mount) for item in made] == [(b"/w/f", 1), (b"/w/f", 2)]


def test_only_a_directory_that_the_run_made_shows_that_an_open_made_its_file() -> None:
    run = Run()
    run(Op.MKDIR, b"/")(Op.MKDIR, b"/w/new")
    for path in (b"/top", b"pipe:[4]", b"/w/new/file"):
        run.open(path, "w", "creat", "trunc")
    nets = run.nets()
    assert nets[b"/w/new/file"] is NetEffect.CREATED
    assert nets[b"/top"] is NetEffect.MODIFIED
    assert nets[b"pipe:[4]"] is NetEffect.MODIFIED
