"""The smallest set of places, worked out from a recording alone and from what the disk says."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from tests.support.analysis_streams import run_info
from tests.support.writable_runs import MOUNT, Story, directory, disk
from writeaudit.audit import Binary, Process
from writeaudit.confine.disk import read_place
from writeaudit.confine.writable import Kind, Need, find_writable_set, outermost
from writeaudit.events import Access, Op

MIB = 1 << 20


def test_a_place_is_the_deepest_directory_that_was_there_before() -> None:
    story = Story()
    story.add(Op.MKDIR, b"/var/lib/app/new")
    story.write(b"/var/lib/app/new/deep/file", 3 * MIB)
    (place,) = find_writable_set(story.audit(), disk({b"/var/lib/app": directory(0o750, 5, 6)})).places
    assert place.path == b"/var/lib/app"
    assert (place.mode, place.uid, place.gid) == (0o750, 5, 6)
    assert place.kind is Kind.TMPFS
    assert place.written == 3 * MIB
    assert place.size == 7 * MIB  # twice, and a page for each file, in full mebibytes
    assert place.options() == ("mode=0750", "uid=5", "gid=6", f"size={7 * MIB}", "noexec")
    assert place.made == (b"/var/lib/app/new",)
    assert place.need is Need.UNPROVEN


def test_the_outermost_of_two_places_stands_for_both() -> None:
    story = Story()
    story.write(b"/srv/app/log")
    story.write(b"/srv/app/cache/x/y")
    story.write(b"/srv/application/z")
    found = find_writable_set(story.audit())
    assert [place.path for place in found.places] == [b"/srv/app", b"/srv/application"]
    assert outermost([b"/a/b", b"/a-b", b"/a"]) == [b"/a", b"/a-b"]


def test_what_is_removed_or_renamed_asks_for_the_directory_around_it() -> None:
    story = Story()
    story.add(Op.RMDIR, b"/srv/a/old")
    story.add(Op.RENAME, b"/srv/c/name", source=b"/srv/b/name")
    found = find_writable_set(story.audit())
    assert [place.path for place in found.places] == [b"/srv/a", b"/srv/b", b"/srv/c"]
    (crossing,) = found.crossings
    assert (crossing.source, crossing.path) == (b"/srv/b/name", b"/srv/c/name")


def test_the_directory_of_its_own_is_the_place_when_its_mode_changes() -> None:
    story = Story()
    story.add(Op.CHMOD, b"/srv/data", mode=0o700)
    (place,) = find_writable_set(story.audit(), disk({b"/srv/data": directory()})).places
    assert place.path == b"/srv/data"


def test_what_needs_no_writable_mount_asks_for_nothing() -> None:
    story = Story()
    story.add(Op.OPEN, b"/dev/null", access=Access.WRITE)
    story.add(Op.OPEN, b"/run/fifo", access=Access.WRITE, fmt=0o010000)
    story.write(b"/proc/self/oom_score_adj", created=False)
    story.add(Op.WRITE, b"/srv/inherited", bytes=5)
    story.add(Op.MKDIR, b"/srv", result="EEXIST")
    story.read(b"/srv/none", result="ENOENT")
    story.add(Op.OPEN, b"/pipe:[1]", access=Access.WRITE, flags=("deleted",))
    found = find_writable_set(story.audit(replace(run_info(b"p"), inherited=(b"/srv/inherited",))))
    assert found.places == ()
    assert "Nothing needs to be writable." in found.remarks


def test_refused_attempts_count_if_the_command_failed() -> None:
    story = Story()
    story.write(b"/srv/app/x", result="EROFS")
    failed = replace(run_info(b"p", uid=0), exit_status=1)
    (place,) = find_writable_set(story.audit(failed)).places
    assert (place.path, place.refused) == (b"/srv/app", 1)
    found = find_writable_set(story.audit())  # this one succeeded
    assert found.places == ()
    assert [(place.path, place.need) for place in found.spared] == [(b"/srv/app", Need.OPTIONAL)]


def test_a_place_that_refused_the_user_has_to_belong_to_that_user() -> None:
    story = Story()
    story.write(b"/run/app.pid", result="EACCES")
    run = replace(run_info(b"p", uid=33), exit_status=1)
    (place,) = find_writable_set(story.audit(run), disk({b"/run": directory(0o755)})).places
    assert place.uid == 33
    assert any("belong" in note for note in place.notes)


def test_data_that_is_read_again_makes_a_volume() -> None:
    story = Story()
    story.read(b"/var/lib/db/dump", result="ENOENT")
    story.write(b"/var/lib/db/temp")
    story.add(Op.RENAME, b"/var/lib/db/dump", source=b"/var/lib/db/temp")
    story.read(b"/srv/state/old")
    story.write(b"/srv/state/old", created=False)
    story.write(b"/srv/log/x")
    kinds = {place.path: place.kind for place in find_writable_set(story.audit()).places}
    assert kinds == {
        b"/var/lib/db": Kind.VOLUME,
        b"/srv/state": Kind.VOLUME,
        b"/srv/log": Kind.TMPFS,
    }


def test_content_from_before_is_copied_if_it_is_used() -> None:
    story = Story()
    story.read(b"/srv/app/config")
    story.write(b"/srv/app/out")
    story.write(b"/srv/other/out")
    story.add(Op.OPEN, b"/srv/other/lock", access=Access.READ_WRITE, flags=("creat",))  # it was there
    facts = disk({b"/srv/app": directory(entries=2, size=5 * MIB), b"/srv/other": directory(entries=3)})
    app, other = find_writable_set(story.audit(), facts).places
    assert app.copy_up
    assert app.size == 6 * MIB
    assert not other.copy_up
    assert any("3 entries" in note for note in other.notes)


def test_exec_stays_where_something_was_executed_or_made_to_be() -> None:
    story = Story()
    for name in (b"run", b"lib", b"elf", b"project", b"none"):
        story.write(b"/srv/" + name + b"/file")
    story.add(Op.OPEN, b"/srv/lib/x.so.1", access=Access.READ)
    processes = [
        Process(5, 1, b"/srv/run/tool", (b"tool",), 0, 9, 0),
        Process(6, 5, b"/bin/sh", (b"./file",), 0, 9, 0),
    ]
    audit = story.audit(processes=processes)._replace(binaries=(Binary(b"/srv/elf/file", "elf"),))
    executed = {place.path: place.executed for place in find_writable_set(audit).places}
    assert executed.pop(b"/srv/none") is False
    assert len(executed) == 4
    assert all(executed.values())


def test_a_program_found_on_path_says_nothing_of_the_working_directory() -> None:
    story = Story()
    story.write(b"/srv/project/out")
    processes = [Process(5, 1, b"/bin/sh", (b"sh", b"-c", b"true"), 0, 9, 0)]
    (place,) = find_writable_set(story.audit(processes=processes)).places
    assert (place.path, place.executed, place.copy_up) == (b"/srv/project", False, False)


def test_a_directory_is_counted_where_the_run_left_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(bytes(5 * MIB))
    top = os.fsencode(tmp_path)
    story = Story()
    story.read(top + b"/file")
    story.add(Op.MKDIR, top + b"/new")
    story.add(Op.RMDIR, top + b"/new")
    (place,) = find_writable_set(story.audit(), read_place).places
    assert place.made == ()
    assert place.copy_up
    assert place.size is not None
    assert place.size > 5 * MIB


def test_a_file_whose_directory_is_too_wide_is_bound_alone() -> None:
    story = Story()
    story.write(b"/etc/resolv.conf", created=False)
    (place,) = find_writable_set(story.audit()).places
    assert (place.path, place.kind) == (b"/etc/resolv.conf", Kind.BIND)
    assert any("EBUSY" in note for note in place.notes)


def test_a_rename_onto_a_file_asks_for_its_directory() -> None:
    story = Story()
    story.read(b"/etc/passwd")
    story.write(b"/etc/passwd", created=False)
    story.write(b"/etc/passwd+")
    story.add(Op.RENAME, b"/etc/passwd", source=b"/etc/passwd+")
    (place,) = find_writable_set(story.audit()).places
    assert place.path == b"/etc"


def test_the_root_itself_is_never_a_place() -> None:
    story = Story()
    story.add(Op.MKDIR, b"/made")
    story.write(b"/made/x")
    story.write(b"/core")
    places = {place.path: (place.kind, place.exists) for place in find_writable_set(story.audit()).places}
    assert places == {b"/made": (Kind.TMPFS, False), b"/core": (Kind.BIND, False)}


def test_changes_on_mounts_of_another_namespace_are_counted_and_left_out() -> None:
    story = Story()
    story.write(b"/etc/x")
    found = find_writable_set(story.audit(mounts=[MOUNT._replace(own=False)]))
    assert found.places == ()
    assert any("another mount namespace" in remark for remark in found.remarks)


def test_no_size_is_made_up_where_the_recording_has_none() -> None:
    story = Story()
    story.write(b"/srv/x")
    story.add(Op.MMAP_WRITE, b"/srv/x")
    (place,) = find_writable_set(story.audit()).places
    assert place.size is None
    assert any("not known" in note for note in place.notes)


def test_many_places_take_no_time_that_grows_with_their_square() -> None:
    story = Story()
    for number in range(5000):
        story.write(b"/srv/%d/x" % number)
    assert len(find_writable_set(story.audit()).places) == 5000


def test_a_made_up_recording_asks_the_disk_nothing_that_it_cannot_answer() -> None:
    story = Story()
    story.write(b"/srv/a\0b/c")
    (place,) = find_writable_set(story.audit(), read_place).places
    assert place.path == b"/srv/a\0b"
