"""The real disk, as Landlock's rules ask for it, and the files that are open already."""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from writeaudit.confine import landlock_disk
from writeaudit.confine.landlock_disk import OpenFile, RealDisk, find_open_files
from writeaudit.confine.landlock_plan import Kind

DISK = RealDisk()


@pytest.fixture
def top(tmp_path: Path) -> Path:
    """A directory, by its name without symlinks."""
    return tmp_path.resolve()


def raw(path: Path | str) -> bytes:
    return os.fsencode(path)


def test_kinds(top: Path) -> None:
    (top / "d").mkdir()
    (top / "f").touch()
    (top / "link").symlink_to("d")
    (top / "dangling").symlink_to("nowhere")
    os.mkfifo(top / "fifo")
    os.mknod(top / "socket", stat.S_IFSOCK | 0o600)
    kinds = {name: DISK.find_kind(raw(top / name)) for name in sorted(os.listdir(top))}
    assert kinds == {
        "d": Kind.DIRECTORY, "dangling": Kind.SYMLINK, "f": Kind.FILE, "fifo": Kind.FILE,
        "link": Kind.SYMLINK, "socket": Kind.FILE,
    }  # fmt: skip
    assert DISK.find_kind(b"/dev/null") is Kind.FILE
    assert DISK.find_kind(b"/") is Kind.DIRECTORY


def test_what_is_not_there_has_no_kind(top: Path) -> None:
    (top / "f").touch()
    (top / "loop").symlink_to("loop")
    for name in ("gone", "f/x", "loop/x", "x" * 300, "/".join(["x" * 200] * 30)):
        assert DISK.find_kind(raw(top / name)) is None, name
        assert DISK.count_links(raw(top / name)) == 0, name
        assert DISK.list_names(raw(top / name)) is None, name


def test_symlinks_on_the_way(top: Path) -> None:
    (top / "d/in").mkdir(parents=True)
    (top / "link").symlink_to("d")
    (top / "far").symlink_to("nowhere")
    for name in ("link", "link/in", "link/new", "far", "far/x", "d/../d"):
        assert DISK.leads_elsewhere(raw(f"{top}/{name}")), name
    for name in ("d", "d/in", "d/new", "new/new"):
        assert not DISK.leads_elsewhere(raw(f"{top}/{name}")), name


def test_names_of_any_bytes(top: Path) -> None:
    odd = b"\xff\n *[a]"
    os.mkdir(raw(top) + b"/" + odd)
    assert DISK.list_names(raw(top)) == [odd]
    assert DISK.find_kind(raw(top) + b"/" + odd) is Kind.DIRECTORY
    assert DISK.list_names(raw(top) + b"/" + odd) == []


def test_a_directory_with_too_many_names_is_not_read_to_its_end(
    top: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(landlock_disk, "MOST_LOOKED_AT", 3)
    for number in range(10):
        (top / str(number)).touch()
    assert len(DISK.list_names(raw(top)) or ()) == 4


def test_links_are_counted(top: Path) -> None:
    (top / "f").touch()
    assert DISK.count_links(raw(top / "f")) == 1
    (top / "g").hardlink_to(top / "f")
    assert DISK.count_links(raw(top / "f")) == 2


def test_identity_is_that_of_the_file(top: Path) -> None:
    (top / "f").touch()
    (top / "g").hardlink_to(top / "f")
    (top / "link").symlink_to("f")
    identity = DISK.find_identity(raw(top / "f"))
    assert identity == DISK.find_identity(raw(top / "g"))
    assert identity != DISK.find_identity(raw(top / "link"))
    assert DISK.find_identity(raw(top / "gone")) is None


def test_directories_are_made(top: Path) -> None:
    assert DISK.make_directory(raw(top / "a/b/c")) is None
    assert DISK.make_directory(raw(top / "a/b/c")) is None
    assert (top / "a/b/c").is_dir()


def test_why_a_directory_cannot_be_made(top: Path) -> None:
    (top / "f").touch()
    (top / "loop").symlink_to("loop")
    assert DISK.make_directory(raw(top / "f")) == "File exists"
    assert DISK.make_directory(raw(top / "f/x")) == "Not a directory"
    assert DISK.make_directory(raw(top / "loop/x")) is not None
    assert DISK.make_directory(raw(top / ("x" * 300))) == "File name too long"


# -- open files -------------------------------------------------------------------------------------


@contextmanager
def handed_on(fd: int, *, inheritable: bool = True) -> Iterator[int]:
    os.set_inheritable(fd, inheritable)
    try:
        yield fd
    finally:
        os.close(fd)


def found_at(fd: int) -> OpenFile | None:
    return next((each for each in find_open_files() if each.fd == fd), None)


@pytest.mark.parametrize(
    ("flags", "seen"),
    [
        (os.O_WRONLY, True),
        (os.O_RDWR, True),
        (os.O_WRONLY | os.O_APPEND, True),
        (os.O_RDONLY, False),
        (os.O_PATH, False),
    ],
)
def test_files_that_are_open_for_writing(top: Path, flags: int, seen: bool) -> None:
    (top / "f").touch()
    with handed_on(os.open(top / "f", flags)) as fd:
        expected = OpenFile(fd, raw(top / "f"), is_there=True, links=1)
        assert found_at(fd) == (expected if seen else None)


def test_what_the_command_does_not_get(top: Path) -> None:
    with handed_on(os.open(top / "f", os.O_WRONLY | os.O_CREAT), inheritable=False) as fd:
        assert found_at(fd) is None


def test_what_changes_no_file(top: Path) -> None:
    reads, writes = os.pipe()
    os.mkfifo(top / "fifo")
    for opened in (
        reads, writes, os.open(top / "fifo", os.O_RDWR), os.open("/dev/null", os.O_RDWR),
        os.memfd_create("x"), os.open(top, os.O_RDONLY),
    ):  # fmt: skip
        with handed_on(opened) as fd:
            assert found_at(fd) is None


def test_a_file_whose_name_is_gone(top: Path) -> None:
    with handed_on(os.open(top / "f", os.O_WRONLY | os.O_CREAT)) as fd:
        (top / "f").unlink()
        assert found_at(fd) == OpenFile(fd, raw(top / "f") + b" (deleted)", is_there=False, links=0)
        # Whoever has that very name now is another file.
        (top / "f (deleted)").touch()
        assert found_at(fd) == OpenFile(fd, raw(top / "f (deleted)"), is_there=False, links=0)


def test_a_file_that_was_renamed_over_and_one_that_was_renamed(top: Path) -> None:
    (top / "new").touch()
    with handed_on(os.open(top / "f", os.O_WRONLY | os.O_CREAT)) as fd:
        (top / "f").rename(top / "g")
        assert found_at(fd) == OpenFile(fd, raw(top / "g"), is_there=True, links=1)
        (top / "new").rename(top / "g")
        assert found_at(fd) == OpenFile(fd, raw(top / "g (deleted)"), is_there=False, links=0)


def test_a_file_that_has_another_name_yet(top: Path) -> None:
    with handed_on(os.open(top / "f", os.O_WRONLY | os.O_CREAT)) as fd:
        (top / "g").hardlink_to(top / "f")
        (top / "f").unlink()
        assert found_at(fd) == OpenFile(fd, raw(top / "f (deleted)"), is_there=False, links=1)


def test_a_copy_of_a_descriptor(top: Path) -> None:
    with (
        handed_on(os.open(top / "f", os.O_WRONLY | os.O_CREAT), inheritable=False) as fd,
        handed_on(fcntl.fcntl(fd, fcntl.F_DUPFD, 100)) as other,
    ):
        assert found_at(fd) is None
        assert found_at(other) == OpenFile(other, raw(top / "f"), is_there=True, links=1)
