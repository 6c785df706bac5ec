"""The judge itself: it must be content with the truth, and notice each thing that is kept from it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conformance.disk import FileTree, read_tree
from tests.conformance.honesty import lies, pairs, vague
from tests.conformance.oracle import check
from tests.conformance.story import StoryStep
from writeaudit.events import Access, Certainty, FsEvent, Op


class Diary:
    """Changes a tree and writes events of it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.events: list[FsEvent] = []

    def __call__(self, op: Op, path: str, source: str | None = None, **more: object) -> None:
        number = len(self.events) + 1
        origin: bytes | None = None
        if source is not None:
            origin = source.encode() if op is Op.SYMLINK else os.fsencode(self.root / source)
        event = FsEvent(number, number, 1, 1, op, os.fsencode(self.root / path), origin)
        self.events.append(event._replace(**more))  # type: ignore[arg-type] # fields by name


@pytest.fixture
def told(tmp_path: Path) -> tuple[FileTree, list[FsEvent], FileTree]:
    """A tree before, what happened, and the tree after: every event is needed."""
    root = tmp_path / "root"
    root.mkdir()
    for name in ("kept", "grown", "gone", "moved", "mode", "dated", "shared"):
        (root / name).write_text(name)
    (root / "directory").mkdir()
    (root / "empty").mkdir()
    before = read_tree(os.fsencode(root))
    say = Diary(root)

    def made(name: str, flags: tuple[str, ...] = ("creat",)) -> None:
        say(Op.OPEN, name, access=Access.WRITE, flags=flags, created=True)

    (root / "new").touch()
    made("new")
    (root / "grown").write_text("grown more")
    say(Op.WRITE, "grown", bytes=10, calls=1)
    (root / "gone").unlink()
    say(Op.UNLINK, "gone")
    (root / "moved").rename(root / "directory" / "here")
    say(Op.RENAME, "directory/here", "moved")
    (root / "mode").chmod(0o600)
    say(Op.CHMOD, "mode", mode=0o600)
    os.utime(root / "dated", ns=(1, 1))
    say(Op.UTIME, "dated")
    os.link(root / "shared", root / "again")
    say(Op.LINK, "again", "shared")
    (root / "text").symlink_to("shared")
    say(Op.SYMLINK, "text", "shared")
    (root / "made").mkdir()
    say(Op.MKDIR, "made")
    (root / "empty").rmdir()
    say(Op.RMDIR, "empty")
    return before, say.events, read_tree(os.fsencode(root))


def test_the_whole_truth_is_accepted(told: tuple[FileTree, list[FsEvent], FileTree]) -> None:
    before, events, after = told
    assert check(before, events, after) == []


def test_each_event_that_is_kept_back_is_missed(told: tuple[FileTree, list[FsEvent], FileTree]) -> None:
    before, events, after = told
    for event in events:
        rest = [other for other in events if other is not event]
        assert check(before, rest, after), f"nobody missed {event.op} {event.path!r}"


@pytest.mark.parametrize(
    "change",
    [
        lambda event: event._replace(path=event.path + b"-not"),
        lambda event: event._replace(result="EIO"),
    ],
    ids=["another path", "it failed"],
)
def test_a_lie_is_noticed(
    change: Callable[[FsEvent], FsEvent], told: tuple[FileTree, list[FsEvent], FileTree]
) -> None:
    before, events, after = told
    for event in events:
        told_so = [change(other) if other is event else other for other in events]
        assert check(before, told_so, after), f"nobody noticed about {event.op} {event.path!r}"


def test_an_invented_event_is_noticed(told: tuple[FileTree, list[FsEvent], FileTree]) -> None:
    before, events, after = told
    invented = events[2]._replace(seq=99, path=before.root + b"/kept")
    assert check(before, [*events, invented], after)


def test_the_wrong_symlink_text_is_noticed(told: tuple[FileTree, list[FsEvent], FileTree]) -> None:
    before, events, after = told
    wrong = [event._replace(source=b"kept") if event.op is Op.SYMLINK else event for event in events]
    assert any("symlink to" in line for line in check(before, wrong, after))


def test_a_hard_link_is_told_from_a_copy(told: tuple[FileTree, list[FsEvent], FileTree]) -> None:
    before, events, after = told
    wrong = [
        event._replace(source=before.root + b"/kept") if event.op is Op.LINK else event for event in events
    ]
    assert any("another file" in line for line in check(before, wrong, after))


def test_the_wrong_file_is_noticed(told: tuple[FileTree, list[FsEvent], FileTree]) -> None:
    before, events, after = told
    for event in events:
        entry = after.entries.get(event.path[len(after.root) + 1 :])
        if entry is None:
            continue
        right = event._replace(dev=entry.dev, ino=entry.ino)
        wrong = event._replace(dev=entry.dev, ino=entry.ino + 1)
        for claim, sound in ((right, True), (wrong, False)):
            said = [claim if other is event else other for other in events]
            assert (check(before, said, after) == []) is sound, event.op


def test_what_a_doubtful_event_says_of_its_file_is_no_claim(
    told: tuple[FileTree, list[FsEvent], FileTree],
) -> None:
    before, events, after = told
    doubtful = [event._replace(dev=1, ino=2, certainty=Certainty.LEXICAL) for event in events]
    assert check(before, doubtful, after) == []


def test_lies_and_what_is_left_out_are_told_apart() -> None:
    step = StoryStep("mkdir", b"/w/a", None, "ok", (("dev", 1), ("ino", 2), ("tid", 5)))
    event = FsEvent(1, 1, 5, 5, Op.MKDIR, b"/w/a", dev=1, ino=2)
    assert pairs([step], [event]) == ([(step, event)], [])
    assert pairs([step], [])[1]
    assert pairs([step], [event._replace(result="EROFS")])[1]
    for said, lie, left_out in (
        (event, False, False),
        (event._replace(ino=3), True, False),
        (event._replace(dev=3), True, False),
        (event._replace(ino=None), False, True),
        (event._replace(path=b"/w/b"), True, False),
        (event._replace(path=b"/w/b", certainty=Certainty.LEXICAL), False, True),
    ):
        assert bool(list(lies((step, said), created_known=True))) is lie, said
        assert bool(list(vague((step, said)))) is left_out, said


def test_whether_an_open_made_its_file_is_judged_where_it_is_known() -> None:
    step = StoryStep("open", b"/w/a", None, "ok", (("created", True),))
    event = FsEvent(1, 1, 5, 5, Op.OPEN, b"/w/a", access=Access.WRITE, flags=("creat",))
    assert list(lies((step, event), created_known=True))
    assert not list(lies((step, event), created_known=False))
    assert not list(lies((step, event._replace(created=True)), created_known=True))


@pytest.mark.parametrize("known", [True, False])
def test_file_is_changed_by_a_name_outside_of_the_tree(tmp_path: Path, known: bool) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "kept").write_text("kept")
    (root / "moved").hardlink_to(root / "kept")
    before = read_tree(os.fsencode(root))
    say = Diary(root)
    file = (root / "kept").stat()
    (root / "moved").rename(tmp_path / "out")
    say(Op.RENAME, "../out", "moved")
    (tmp_path / "out").write_text("changed")
    identity: dict[str, object] = {"dev": file.st_dev, "ino": file.st_ino} if known else {}
    say(Op.TRUNCATE, "../out", None, **identity)
    events = [event._replace(path=os.path.normpath(event.path)) for event in say.events]
    assert bool(check(before, events, read_tree(os.fsencode(root)))) is not known


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("way", [Op.LINK, Op.RENAME])
def test_file_that_is_made_outside_of_the_tree_and_comes_to_it(tmp_path: Path, way: Op, known: bool) -> None:
    root = tmp_path / "root"
    root.mkdir()
    before = read_tree(os.fsencode(root))
    say = Diary(root)
    (tmp_path / "outside").write_text("text")
    file = (tmp_path / "outside").stat()
    of_it: dict[str, object] = {"ino": file.st_ino, "dev": file.st_dev}
    say(Op.OPEN, "../outside", None, access=Access.WRITE, flags=("creat",), created=True, **of_it)
    if known:
        say(Op.WRITE, "../outside", None, bytes=4, calls=1, **of_it)
    os.link(tmp_path / "outside", root / "inside")
    if way is Op.RENAME:
        (tmp_path / "outside").unlink()
    say(way, "inside", "../outside", **of_it, source_ino=file.st_ino, source_dev=file.st_dev)
    events = [event._replace(path=os.path.normpath(event.path)) for event in say.events]
    events[-1] = events[-1]._replace(source=os.fsencode(tmp_path / "outside"))
    complaints = check(before, events, read_tree(os.fsencode(root)))
    assert bool(complaints) is not known


def test_file_that_lost_its_name_by_another_path_of_its_directory(tmp_path: Path) -> None:
    """As a bind mount makes it, or a rename of the directory."""
    root = tmp_path / "root"
    (root / "old").mkdir(parents=True)
    (root / "kept").write_text("kept")
    (root / "old" / "file").hardlink_to(root / "kept")
    before = read_tree(os.fsencode(root))
    say = Diary(root)
    (root / "old" / "file").unlink()
    say(Op.UNLINK, "old/file")
    (root / "old").rename(root / "new")
    say(Op.RENAME, "new", "old")
    (root / "kept").write_text("by a descriptor")
    say(Op.WRITE, "new/file", None, flags=("deleted",))
    assert check(before, say.events, read_tree(os.fsencode(root))) == []


@pytest.mark.parametrize("outward", [True, False])
@pytest.mark.parametrize("lied", [True, False])
def test_file_that_is_exchanged_for_one_outside(tmp_path: Path, outward: bool, lied: bool) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "inside").write_text("in")
    (root / "other").write_text("other")
    (tmp_path / "outside").mkdir()
    before = read_tree(os.fsencode(root))
    was_in, was_out = (root / "inside").stat(), (tmp_path / "outside").stat()
    (root / "inside").rename(tmp_path / "between")
    (tmp_path / "outside").rename(root / "inside")
    (tmp_path / "between").rename(tmp_path / "outside")
    inside, outside = os.fsencode(root / ("other" if lied else "inside")), os.fsencode(tmp_path / "outside")
    event = FsEvent(1, 1, 1, 1, Op.EXCHANGE, outside if outward else inside, inside if outward else outside)
    now_in = was_in if lied else was_out
    of_path, of_source = (was_in, now_in) if outward else (now_in, was_in)
    event = event._replace(dev=of_path.st_dev, ino=of_path.st_ino)
    event = event._replace(source_dev=of_source.st_dev, source_ino=of_source.st_ino)
    assert bool(check(before, [event], read_tree(os.fsencode(root)))) is lied


def test_directory_that_was_moved_out_of_the_tree_and_comes_back(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "directory").mkdir(parents=True)
    (root / "directory" / "file").write_text("text")
    before = read_tree(os.fsencode(root))
    away, moved = os.fsencode(tmp_path / "away"), os.fsencode(root / "directory")
    (root / "directory" / "file").unlink()
    (root / "directory" / "made").mkdir()
    back = os.fsencode(root / "back")
    (root / "directory").rename(root / "back")
    events = [
        FsEvent(1, 1, 1, 1, Op.RENAME, away, moved),
        FsEvent(2, 2, 1, 1, Op.UNLINK, away + b"/file"),
        FsEvent(3, 3, 1, 1, Op.MKDIR, away + b"/made"),
        FsEvent(4, 4, 1, 1, Op.RENAME, back, away),
    ]
    after = read_tree(os.fsencode(root))
    assert check(before, events, after) == []
    for kept_back in (1, 2):
        assert check(before, [event for event in events if event is not events[kept_back]], after)


def test_link_that_was_made_outside_of_the_tree_and_comes_to_it(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "kept").write_text("kept")
    before = read_tree(os.fsencode(root))
    file = (root / "kept").stat()
    (root / "back").hardlink_to(root / "kept")
    (root / "kept").write_text("changed")
    kept, back, away = (os.fsencode(path) for path in (root / "kept", root / "back", tmp_path / "away"))
    dev, ino = file.st_dev, file.st_ino
    events = [
        FsEvent(1, 1, 1, 1, Op.LINK, away, kept, dev=dev, ino=ino, source_dev=dev, source_ino=ino),
        FsEvent(2, 2, 1, 1, Op.WRITE, kept, bytes=7, calls=1, access=Access.WRITE),
        FsEvent(3, 3, 1, 1, Op.TRUNCATE, kept),
        FsEvent(4, 4, 1, 1, Op.RENAME, back, away, dev=dev, ino=ino),
    ]
    after = read_tree(os.fsencode(root))
    assert check(before, events, after) == []
    assert check(before, [events[0], events[3]], after)
