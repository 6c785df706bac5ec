"""WA301: protected files under names that nothing protects."""

from __future__ import annotations

import pytest

from tests.support.analysis_streams import BIND, MOUNTS, Stream, analyzed, mount, policy
from writeaudit.analysis.files.aliases import _MountAliases
from writeaudit.audit import Mount, SharedFile
from writeaudit.events import Access, Op
from writeaudit.judgement import Finding, Policy, Severity, Zone, ZoneAccess
from writeaudit.policy import Classifier

CACHE = b"/srv/cache/uv"
FROZEN = Policy(
    "frozen",
    "a test",
    (
        Zone("cache", ZoneAccess.READ_ONLY, (CACHE,)),
        Zone("venv", ZoneAccess.READ_WRITE, (b"/srv/project/.venv",)),
        Zone("mnt", ZoneAccess.READ_WRITE, (b"/mnt",)),
    ),
    "uv",
)
NAME = b"/srv/project/.venv/six.py"


def found(stream: Stream) -> list[Finding]:
    mounts = [each for each in MOUNTS if each is not BIND or stream.mount_of(b"/mnt/uv/x") == BIND.id]
    findings = analyzed(stream, Classifier(FROZEN).judge, of=FROZEN, mounts=mounts)
    return [finding for finding in findings if finding.rule == "WA301"]


def linked(**more: int) -> Stream:
    stream = Stream([each for each in MOUNTS if each is not BIND])
    stream.add(Op.LINK, NAME, CACHE + b"/six.py", **more)
    return stream


@pytest.mark.parametrize("known", [True, False], ids=["by file", "by name"])
@pytest.mark.parametrize("op", [Op.WRITE, Op.TRUNCATE, Op.CHMOD, Op.MMAP_WRITE, Op.SETXATTR])
def test_change_through_a_hard_link_that_the_run_made(op: Op, known: bool) -> None:
    stream = linked(source_dev=1, source_ino=7) if known else linked()
    if known:
        stream.add(op, NAME, dev=1, ino=7)
    else:
        stream.add(op, NAME)
    (finding,) = found(stream)
    assert (finding.severity, finding.files, finding.evidence) == (Severity.ERROR, 1, (2,))
    assert "zone cache" in finding.message
    assert "`/srv/project/.venv/six.py` is `/srv/cache/uv/six.py`" in finding.message
    assert finding.details["alias"] == "hardlink"
    assert "UV_LINK_MODE=copy" in finding.advice[0]


def test_file_is_followed_under_any_name() -> None:
    stream = linked(source_dev=1, source_ino=7)
    stream.add(Op.WRITE, b"/srv/project/.venv/other.py", dev=1, ino=7)
    assert [finding.files for finding in found(stream)] == [1]


def test_name_is_followed_through_a_rename() -> None:
    stream = linked()
    stream.add(Op.RENAME, b"/srv/project/.venv/new.py", NAME)
    stream.write(b"/srv/project/.venv/new.py", 9)
    assert [finding.bytes for finding in found(stream)] == [9]


@pytest.mark.parametrize("op", [Op.UNLINK, Op.RENAME])
def test_new_file_under_the_name_is_another_file(op: Op) -> None:
    stream = linked()
    if op is Op.UNLINK:
        stream.add(Op.UNLINK, NAME)
        stream.create(NAME)
    else:
        stream.add(Op.RENAME, NAME, b"/srv/project/.venv/.tmp")
    stream.write(NAME, 9)
    assert found(stream) == []


def test_opened_and_left_as_it_was() -> None:
    stream = linked()
    stream.add(Op.OPEN, NAME, access=Access.READ_WRITE)
    stream.write(NAME, 0)
    stream.add(Op.WRITE, NAME, result="EROFS")
    assert found(stream) == []


def test_change_through_another_mount() -> None:
    stream = Stream()
    stream.create(b"/mnt/uv/new")
    stream.write(b"/mnt/uv/new", 5)
    stream.add(Op.MKDIR, b"/mnt/uv/d")
    (finding,) = found(stream)
    assert (finding.files, finding.bytes, finding.details["alias"]) == (2, 5, "mount")
    assert "`/mnt/uv/new` is `/srv/cache/uv/new`" in finding.message


def test_what_is_taken_out_through_another_mount() -> None:
    stream = Stream()
    stream.add(Op.RENAME, b"/srv/project/.venv/x", b"/mnt/uv/x")
    (finding,) = found(stream)
    assert finding.details["examples"] == [{"path": "/mnt/uv/x", "source": "/srv/cache/uv/x"}]


def test_protected_name_itself_is_no_alias() -> None:
    stream = Stream()
    stream.create(CACHE + b"/new")
    assert found(stream) == []


@pytest.mark.parametrize(
    ("path", "mount_id", "others"),
    [
        (b"/mnt/uv/a/b", 3, [(b"/srv/cache/uv/a/b", 1)]),
        (b"/srv/cache/uv/a", 1, [(b"/mnt/uv/a", 3)]),
        (b"/srv/cache/other", 1, []),
        (b"/dev/shm/a", 2, []),
        (b"/srv/cache/uv/a", None, []),
    ],
)
def test_other_names(path: bytes, mount_id: int | None, others: list[tuple[bytes, int]]) -> None:
    assert list(_MountAliases(MOUNTS, policy()).other_names(path, mount_id)) == others


def test_mounts_of_other_namespaces_have_no_names_here() -> None:
    theirs: Mount = mount(9, BIND.dev, "ext4", b"/theirs", own=False)
    assert not _MountAliases([MOUNTS[0], theirs], policy()).any


def shared_alarms(stream: Stream, *shared: SharedFile) -> list[Finding]:
    findings = analyzed(stream, Classifier(FROZEN).judge, of=FROZEN, shared=shared)
    return [finding for finding in findings if finding.rule == "WA307"]


OTHER = b"/srv/project/.venv/other.py"


@pytest.mark.parametrize("known", [True, False], ids=["by file", "by name"])
def test_what_the_run_made_and_linked_itself_is_its_own_affair(known: bool) -> None:
    stream = Stream()
    stream.add(Op.OPEN, NAME, access=Access.WRITE, created=True, dev=1, ino=7 if known else None)
    stream.add(Op.LINK, OTHER, NAME, source_dev=1, source_ino=7)
    stream.add(Op.CHOWN, OTHER, dev=1, ino=7)
    # What was looked up on the disk later: the file and its names at the end.
    assert not shared_alarms(stream, SharedFile(3, 1, 7, 2, (OTHER, NAME)))


def test_a_file_that_takes_the_place_of_one_that_the_run_made_is_not_its_own() -> None:
    stream = Stream()
    stream.add(Op.OPEN, NAME, access=Access.WRITE, created=True, dev=1, ino=7)
    stream.add(Op.RENAME, NAME, b"/srv/project/.venv/older.py")
    stream.add(Op.LINK, OTHER, NAME, source_dev=1, source_ino=8)
    stream.add(Op.CHOWN, OTHER, dev=1, ino=8)
    assert [finding.files for finding in shared_alarms(stream, SharedFile(4, 1, 8, 3, (OTHER, NAME)))] == [1]
