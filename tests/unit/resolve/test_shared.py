from __future__ import annotations

import os
from pathlib import Path

from writeaudit.events import OK, Access, FsEvent, Op
from writeaudit.resolve.mounts.registry import MountRegistry, mountinfo_of, namespace_of
from writeaudit.resolve.shared import SharedFiles


def _opened(path: Path) -> FsEvent:
    status = path.stat()
    return FsEvent(
        7, 0, 1, 1, Op.OPEN, os.fsencode(path), access=Access.WRITE, result=OK,
        dev=status.st_dev, ino=status.st_ino, fmt=status.st_mode & 0o170000,
    )  # fmt: skip


def _mounts() -> MountRegistry:
    return MountRegistry(namespace_of("self") or 0, mountinfo_of("self") or b"")


def test_other_names_are_found_by_device_and_inode(tmp_path: Path) -> None:
    cache = tmp_path / "cache" / "deep"
    cache.mkdir(parents=True)
    (cache / "six.py").write_text("six")
    other = tmp_path / "six.py"
    other.hardlink_to(cache / "six.py")
    shared = SharedFiles()
    shared.note_event(_opened(other), 2, None)
    (found,) = shared.search_names([os.fsencode(tmp_path / "cache")], _mounts().all_mounts())
    assert found.names == (os.fsencode(other), os.fsencode(cache / "six.py"))
    assert (found.seq, found.nlink, found.searched) == (7, 2, True)


def test_a_file_with_one_name_is_of_no_interest(tmp_path: Path) -> None:
    alone = tmp_path / "alone"
    alone.write_text("")
    shared = SharedFiles()
    shared.note_event(_opened(alone), 1, None)
    assert shared.search_names([os.fsencode(tmp_path)], _mounts().all_mounts()) == ()
