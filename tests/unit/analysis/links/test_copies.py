"""What was copied because a link was refused, and what only looks like it."""

from __future__ import annotations

import pytest

from tests.support.analysis_streams import Stream, analyzed
from writeaudit.events import Access, FsEvent, Op
from writeaudit.judgement import Finding

SHM, DISK = b"/dev/shm/c/pkg/", b"/srv/project/.venv/pkg/"


def found(stream: Stream) -> dict[str, Finding]:
    return {each.rule: each for each in analyzed(stream)}


def copied(stream: Stream, name: bytes, size: int = 5, *, by_write: bool = False) -> None:
    """Copy a file of the cache into the environment."""
    stream.read(SHM + name)
    stream.create(DISK + name)
    filled(stream, name, size, by_write=by_write)


def filled(stream: Stream, name: bytes, size: int = 5, *, by_write: bool = False) -> None:
    if by_write:
        stream.write(DISK + name, size)
    else:
        stream.add(Op.COPY, DISK + name, SHM + name, bytes=size)


def cloned(stream: Stream, name: bytes, result: str = "EOPNOTSUPP") -> FsEvent:
    """Make a file and try to clone another into it, as cp(1) does."""
    stream.read(b"/srv/" + name)
    stream.create(b"/home/" + name, "excl")
    return stream.add(Op.CLONE, b"/home/" + name, b"/srv/" + name, result=result)


@pytest.mark.parametrize("by_write", [True, False])
class TestOrder:
    """A copy makes up for a refused link only if it comes later."""

    def test_a_copy_made_before_is_none(self, by_write: bool) -> None:
        stream = Stream()
        copied(stream, b"early", by_write=by_write)
        stream.link(SHM + b"late", DISK + b"late", "EXDEV")
        copied(stream, b"late", 7, by_write=by_write)
        finding = found(stream)["WA101"]
        assert (finding.files, finding.bytes) == (1, 7)

    def test_only_copies_before(self, by_write: bool) -> None:
        stream = Stream()
        copied(stream, b"early", by_write=by_write)
        stream.link(SHM + b"late", DISK + b"late", "EXDEV")
        finding = found(stream)["WA101"]
        assert (finding.files, finding.bytes) == (0, 0)
        assert "no copy was seen in its place" in finding.message

    def test_a_file_made_before_and_filled_after_is_one(self, by_write: bool) -> None:
        stream = Stream()
        stream.read(SHM + b"f")
        stream.create(DISK + b"f")
        stream.link(SHM + b"other", DISK + b"other", "EXDEV")
        filled(stream, b"f", by_write=by_write)
        assert found(stream)["WA101"].files == 1

    def test_a_file_copied_before_and_anew_after_is_one(self, by_write: bool) -> None:
        stream = Stream()
        copied(stream, b"f", by_write=by_write)
        stream.link(SHM + b"f", DISK + b"f", "EXDEV")
        assert found(stream)["WA101"].files == 0
        stream.add(Op.OPEN, DISK + b"f", access=Access.WRITE, flags=("creat", "trunc"))
        filled(stream, b"f", 7, by_write=by_write)
        finding = found(stream)["WA101"]
        assert (finding.files, finding.bytes) == (1, 7)

    def test_an_empty_file_counts_if_it_was_made_after(self, by_write: bool) -> None:
        del by_write
        stream = Stream()
        stream.read(SHM + b"early")
        stream.create(DISK + b"early")
        stream.link(SHM + b"late", DISK + b"late", "EXDEV")
        stream.read(SHM + b"late")
        stream.create(DISK + b"late")
        assert found(stream)["WA101"].files == 1


class TestClones:
    """A refused clone says what was to be copied, not that it was."""

    def test_a_refused_clone_alone_is_no_copy(self) -> None:
        stream = Stream()
        cloned(stream, b"g")
        finding = found(stream)["WA105"]
        assert finding.files == 0
        assert finding.message.endswith("no link or copy was seen in its place.")

    def test_nor_are_many_in_one_directory(self) -> None:
        stream = Stream()
        for name in (b"a", b"b", b"c"):
            cloned(stream, name)
        assert found(stream)["WA105"].files == 0

    def test_data_that_follows_is_a_copy(self) -> None:
        stream = Stream()
        cloned(stream, b"g")
        stream.add(Op.COPY, b"/home/g", b"/srv/g", bytes=9)
        finding = found(stream)["WA105"]
        assert (finding.files, finding.bytes) == (1, 9)

    @pytest.mark.parametrize("order", [(b"empty", b"full"), (b"full", b"empty")])
    def test_who_goes_on_to_copy_copied_the_empty_ones_too(self, order: tuple[bytes, bytes]) -> None:
        stream = Stream()
        for name in order:
            cloned(stream, name)
            if name == b"full":
                stream.add(Op.COPY, b"/home/full", b"/srv/full", bytes=9)
        stream.pid = 200
        cloned(stream, b"other")
        finding = found(stream)["WA105"]
        assert (finding.count, finding.files, finding.bytes) == (3, 2, 9)

    def test_a_refused_copy_of_an_empty_file_is_one(self) -> None:
        """copy_file_range answers EXDEV even where there is nothing to copy; what follows makes no event."""
        stream = Stream()
        stream.link(SHM + b"f", DISK + b"f", "EXDEV")
        stream.create(DISK + b"f")
        stream.add(Op.COPY, DISK + b"f", SHM + b"f", result="EXDEV", bytes=0)
        finding = found(stream)["WA101"]
        assert (finding.files, finding.bytes) == (1, 0)

    def test_hard_links_made_before_are_not_instead(self) -> None:
        stream = Stream()
        stream.link(b"/srv/f", b"/home/early")
        cloned(stream, b"g")
        finding = found(stream)["WA105"]
        assert finding.details["hard_linked"] == 0
        assert "hard link" not in finding.message

    def test_those_after_the_first_refusal_are(self) -> None:
        stream = Stream()
        stream.link(b"/srv/f", b"/home/early")
        for name in (b"g", b"h"):
            cloned(stream, name)
            stream.link(b"/srv/f", b"/home/late" + name)
        assert "instead: 2 hard links between" in found(stream)["WA105"].message

    def test_each_errno_counts_from_its_own_first_refusal(self) -> None:
        stream = Stream()
        cloned(stream, b"g", "EINVAL")
        stream.link(b"/srv/f", b"/home/between")
        cloned(stream, b"h")
        linked = {each.details["errno"]: each.details["hard_linked"] for each in analyzed(stream)}
        assert linked == {"EINVAL": 1, "EOPNOTSUPP": 0}


class TestGone:
    """Copies that are not there any more were made all the same."""

    @staticmethod
    def removed(stream: Stream, path: bytes, how: str) -> None:
        match how:
            case "unlinked":
                stream.add(Op.UNLINK, path)
            case "replaced by a new file":
                stream.add(Op.RENAME, path, b"/srv/new")
            case _:
                stream.add(Op.RENAME, path, b"/srv/old")

    HOW = pytest.mark.parametrize("how", ["unlinked", "replaced by a new file", "replaced by an old file"])

    @HOW
    def test_after_a_refused_clone(self, how: str) -> None:
        stream = Stream()
        stream.create(b"/srv/new")
        cloned(stream, b"g")
        stream.add(Op.COPY, b"/home/g", b"/srv/g", bytes=9)
        self.removed(stream, b"/home/g", how)
        finding = found(stream)["WA105"]
        assert finding.message.endswith("instead: 1 file copied (9 B), and removed again.")
        assert (finding.files, finding.bytes) == (0, 0)

    @HOW
    def test_after_a_refused_link(self, how: str) -> None:
        stream = Stream()
        stream.create(b"/srv/new")
        stream.link(SHM + b"f", DISK + b"f", "EXDEV")
        copied(stream, b"f")
        self.removed(stream, DISK + b"f", how)
        assert "1 file (5 B) was copied instead and removed again." in found(stream)["WA101"].message

    def test_those_that_are_left_are_told_of_alone(self) -> None:
        stream = Stream()
        stream.link(SHM + b"f", DISK + b"f", "EXDEV")
        for name in (b"f", b"g"):
            copied(stream, name)
        stream.add(Op.UNLINK, DISK + b"g")
        finding = found(stream)["WA101"]
        assert finding.files == 1
        assert "again" not in finding.message

    def test_an_empty_file_that_was_removed_was_no_copy(self) -> None:
        """So uv leaves no trace of a clone that was refused."""
        stream = Stream()
        cloned(stream, b"g")
        stream.add(Op.UNLINK, b"/home/g")
        assert "no link or copy was seen" in found(stream)["WA105"].message
