"""In which container or sandbox an event was made, on made-up mounts."""

from __future__ import annotations

import pytest

from tests.support.raw_events import at, raw
from writeaudit.audit import Mount
from writeaudit.events import Certainty, FsEvent, Op, Operand
from writeaudit.resolve.frames import Frames, name_frame
from writeaudit.resolve.mounts.registry import MountRegistry
from writeaudit.resolve.resolver import Resolver

HOST_NS, OTHER_NS, THIRD_NS = 1, 2, 3


def frames() -> Frames:
    registry = MountRegistry(HOST_NS, b"20 1 8:1 / / rw - ext4 /dev/sda1 rw\n")
    for number, mount_ns in ((40, OTHER_NS), (50, THIRD_NS)):
        mount = Mount(number, mount_ns, number, "tmpfs", b"tmpfs", b"/", b"/", ("rw",), own=False)
        registry.note_mount(mount)
    return Frames(registry, lambda _pid: [(b"bwrap", b"--dev", b"/dev")])


def placed(found: Frames, pid: int, mount: int | None, name: bytes | None = b"/f") -> FsEvent:
    operand = Operand(b"/f", None, mount) if name is None else at(b"/", name, mount=mount)
    event = FsEvent(1, 0, pid, pid, Op.UNLINK, b"/f")
    return found.place_event(raw(Op.UNLINK, operand)._replace(pid=pid), event, None)


def test_a_process_is_where_its_names_begin_and_its_children_with_it() -> None:
    found = frames()
    assert (placed(found, 10, 20).frame, placed(found, 10, 40).frame) == (0, 1)
    found.note_start(11, 10)
    found.note_start(12, 11)
    for pid in (10, 11, 12):
        # A file that was open before: it has no name in the sandbox.
        event = placed(found, pid, 20, None)
        assert (event.frame, event.inner_path) == (1, None)
    assert placed(found, 13, 20, None).frame == 0
    event = placed(found, 11, 40)
    assert (event.frame, event.inner_path) == (1, b"/f")
    assert [(frame.kind, frame.name, frame.mount_ns) for frame in found.list_frames()] == [
        ("sandbox", "bwrap", OTHER_NS)
    ]


def test_a_process_that_comes_back_is_on_the_host() -> None:
    found = frames()
    placed(found, 10, 40)
    assert placed(found, 10, 20).frame == 0
    assert placed(found, 10, 20, None).frame == 0


def test_an_open_file_of_nobody_knows_where_makes_no_frame() -> None:
    found = frames()
    assert placed(found, 10, 50, None).frame == 0
    assert found.list_frames() == ()
    placed(found, 11, 40)
    assert placed(found, 10, 40, None).frame == 1, "a file of a container that is known"


def test_a_number_that_the_kernel_gives_again_is_another_frame() -> None:
    found = frames()
    placed(found, 10, 40)
    found.note_exec(7, 10)
    found.note_exit(10)
    assert placed(found, 11, 40).frame == 2
    found.note_start(12, 11)
    assert placed(found, 12, 40).frame == 2


def test_it_is_kept_who_prepared_a_frame() -> None:
    found = frames()
    found.started_ns = 1000
    placed(found, 10, 40)
    found.note_start(11, 10)
    found.note_exec(5000, 11)
    found.note_exec(6000, 11)
    found.note_exec(7000, 99)
    assert found.list_frames()[0].prepared == ((11, 4000),)


def test_nothing_is_asked_before_there_is_another_namespace() -> None:
    found = frames()
    found.note_entry(0, 10, HOST_NS)
    found.note_mount(Mount(20, HOST_NS, 1, "ext4", b"", b"/", b"/", (), own=True))
    assert not found.active
    found.note_entry(0, 10, None)
    assert found.active


def test_whoever_is_gone_has_mounted_in_its_own_namespace() -> None:
    found = frames()
    mounted = raw(Op.MOUNT, at(b"/", b"/mnt", mount=40))._replace(pid=10, time_ns=7)
    found.note_change(mounted)
    assert found.mounted_in(7, 10) == OTHER_NS
    # Other changes attach nothing: unshare, open_tree.
    assert found.mounted_in(8, 10) == HOST_NS
    assert found.mounted_in(7, 11) == HOST_NS
    found.note_change(mounted._replace(path=Operand(b"/mnt", b"x", None, OTHER_NS)))
    assert found.mounted_in(7, 10) == OTHER_NS
    found.note_change(mounted._replace(path=Operand(b"/mnt", b"x", 99)))
    assert found.mounted_in(7, 10) is None


def test_a_name_by_its_path_in_another_namespace_needs_the_table_of_that(resolver: Resolver) -> None:
    """As strace tells it: without mounts. Before the table was read nobody can place it."""
    registry = resolver.registry
    operand = at(b"/", b"/f", mount_ns=OTHER_NS, root=b"/")
    event = resolver.resolve_event(raw(Op.UNLINK, operand))
    assert (event.certainty, event.mount, event.path) == (Certainty.LEXICAL, None, b"/f")
    registry.read_table(OTHER_NS, b"90 1 0:99 / / rw - tmpfs tmpfs rw\n")
    event = resolver.resolve_event(raw(Op.CHMOD, Operand(b"/f", None, mount_ns=OTHER_NS)))
    assert (event.certainty, event.mount, event.path) == (Certainty.KERNEL, 90, b"/f")


_ID = b"0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("command", "cgroups", "expected"),
    [
        (
            (b"/usr/bin/crun", b"--root", b"/r", b"create", b"--bundle", b"b", b"web"),
            b"",
            ("container", "web"),
        ),
        ((b"runc", b"run", b"-d", b"--pid-file", b"p", b"web"), b"", ("container", "web")),
        ((b"runc", b"list"), b"", ("container", "runc")),
        ((b"podman", b"run", b"--name", b"db", b"image", b"--name", b"x"), b"", ("container", "db")),
        ((b"podman", b"run", b"--name=db", b"image"), b"", ("container", "db")),
        ((b"systemd-nspawn", b"-M", b"m", b"-D", b"/r"), b"", ("container", "m")),
        ((b"bwrap", b"--bind", b"/", b"/"), b"", ("sandbox", "bwrap")),
        ((b"sh",), b"0::/system.slice/docker-%b.scope\n" % _ID, ("container", "0123456789ab")),
        ((b"sh",), b"1:cpu:/docker/%b\n0::/x\n" % _ID, ("container", "0123456789ab")),
        ((), b"", ("sandbox", "?")),
        ((b"crun", b"run", b"\xff" * 500), b"", ("container", "\ufffd" * 128)),
    ],
)
def test_names(command: tuple[bytes, ...], cgroups: bytes, expected: tuple[str, str]) -> None:
    assert name_frame([command], cgroups) == expected
