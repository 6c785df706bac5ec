"""Mount tables: mountinfo's text, the mount of a path, ids that the kernel gives twice."""

from __future__ import annotations

import os

import pytest

from writeaudit.audit import Mount
from writeaudit.paths import path_suffix
from writeaudit.resolve.mounts.registry import MountRegistry, MountTable, parse_mountinfo, unescape_field

OWN = 4026531841


def _line(
    number: int,
    parent: int,
    dev: str,
    root: str,
    point: str,
    fstype: str = "ext4",
    options: str = "rw,relatime",
) -> bytes:
    return f"{number} {parent} {dev} {root} {point} {options} shared:1 - {fstype} /dev/x rw,quota\n".encode()


ROOT = _line(20, 1, "254:0", "/", "/")


def _mount(number: int, point: bytes, *, parent: int = 20, dev: int = 1, root: bytes = b"/") -> Mount:
    return Mount(number, OWN, dev, "ext4", b"x", root, point, ("rw",), parent)


def test_every_field_is_read() -> None:
    line = rb"36 35 98:0 /mnt1 /mnt\0402 rw,noatime master:1 unbindable - ext3 /dev/ro\134ot rw,x=y"
    [mount] = parse_mountinfo(line + b"\n", OWN, own=True)
    assert mount == Mount(
        36, OWN, os.makedev(98, 0), "ext3", rb"/dev/ro\ot", b"/mnt1", b"/mnt 2", ("rw", "noatime"), 35, True
    )


def test_no_optional_fields() -> None:
    [mount] = parse_mountinfo(b"1 0 0:5 / /proc rw - proc proc rw\n", OWN, own=False)
    assert (mount.fstype, mount.own) == ("proc", False)


def test_read_only_file_system_makes_its_mounts_read_only() -> None:
    [mount] = parse_mountinfo(b"1 0 8:1 / /m rw,relatime - ext4 /dev/a ro,errors=x\n", OWN, own=True)
    assert mount.options == ("ro", "relatime")
    [mount] = parse_mountinfo(b"1 0 8:1 / /m ro - ext4 /dev/a rw\n", OWN, own=True)
    assert mount.options == ("ro",)


@pytest.mark.parametrize("line", [b"", b"nonsense", b"1 2 3:4 / /m rw ext4 x rw", b"1 2 3:4 - ext4 x rw"])
def test_line_that_makes_no_sense_is_left_out(line: bytes) -> None:
    assert [m.id for m in parse_mountinfo(line + b"\n" + ROOT, OWN, own=True)] == [20]


def test_odd_bytes() -> None:
    [mount] = parse_mountinfo(b"1 0 8:1 / /\xff\\012x rw - ext4 /dev/a rw\n", OWN, own=True)
    assert mount.mountpoint == b"/\xff\nx"
    assert unescape_field(rb"a\011b\134040") == b"a\tb" + rb"\040"


def test_all_mounts_of_this_machine_are_read() -> None:
    with open("/proc/self/mountinfo", "rb") as file:
        text = file.read()
    mounts = parse_mountinfo(text, OWN, own=True)
    assert len(mounts) == len(text.splitlines())
    assert b"/" in {mount.mountpoint for mount in mounts}


@pytest.mark.parametrize(
    ("path", "directory", "rest"),
    [
        (b"/a/b", b"/a", b"/b"),
        (b"/a", b"/a", b""),
        (b"/ab", b"/a", None),
        (b"/", b"/", b""),
        (b"/a", b"/", b"/a"),
        (b"/", b"/a", None),
    ],
)
def test_below(path: bytes, directory: bytes, rest: bytes | None) -> None:
    assert path_suffix(path, directory) == rest


def test_longest_mount_point_holds_a_path() -> None:
    table = MountTable([_mount(20, b"/", parent=1), _mount(21, b"/a"), _mount(22, b"/a/b", parent=21)])
    found = {path: table.mount_of(path) for path in (b"/", b"/x/y", b"/a", b"/a/c", b"/ab", b"/a/b/c/d")}
    assert {path: mount.id for path, mount in found.items() if mount} == {
        b"/": 20, b"/x/y": 20, b"/a": 21, b"/a/c": 21, b"/ab": 20, b"/a/b/c/d": 22,
    }  # fmt: skip


def test_later_mount_on_the_same_point_hides_the_earlier() -> None:
    table = MountTable([_mount(20, b"/", parent=1), _mount(21, b"/a"), _mount(22, b"/a", parent=21)])
    found = table.mount_of(b"/a/x")
    assert found is not None
    assert found.id == 22


def test_mount_over_a_directory_hides_the_mounts_below_it() -> None:
    # /a/b was mounted first; then something else was mounted on /a.
    table = MountTable([_mount(20, b"/", parent=1), _mount(21, b"/a/b"), _mount(22, b"/a")])
    found = table.mount_of(b"/a/b/x")
    assert found is not None
    assert found.id == 22


def test_file_has_a_name_wherever_its_file_system_is_mounted() -> None:
    disk = _mount(20, b"/", parent=1, dev=1)
    bind = _mount(21, b"/mnt", dev=1, root=b"/srv/data")
    table = MountTable([disk, bind])
    assert table.name_of(1, b"/srv/data/x", b"/mnt/x") == b"/mnt/x"
    assert table.name_of(1, b"/srv/data/x", b"/srv/data/x") == b"/srv/data/x"
    assert table.name_of(1, b"/srv/data/x", b"/elsewhere") == b"/mnt/x"
    assert table.name_of(1, b"/srv/other", b"") == b"/srv/other"
    assert table.name_of(2, b"/x", b"/x") is None


def test_name_that_another_mount_hides_is_none() -> None:
    disk = _mount(20, b"/", parent=1, dev=1)
    tmpfs = _mount(21, b"/srv", dev=2)
    assert MountTable([disk, tmpfs]).name_of(1, b"/srv/x", b"/srv/x") is None


def test_same_mount_is_one_however_often_it_is_met() -> None:
    registry = MountRegistry(OWN, ROOT)
    [mount] = registry.all_mounts()
    registry.note_mount(mount)
    registry.read_table(OWN, ROOT)
    assert [found.id for found in registry.all_mounts()] == [20]


def test_id_that_the_kernel_gives_again() -> None:
    registry = MountRegistry(OWN, ROOT + _line(40, 20, "0:50", "/", "/first", "tmpfs"))
    registry.read_table(OWN, ROOT + _line(40, 20, "0:51", "/", "/second", "tmpfs"))
    assert [(found.id, found.mountpoint) for found in registry.all_mounts()] == [
        (20, b"/"), (40, b"/first"), (40 + (1 << 32), b"/second"),
    ]  # fmt: skip
    current = registry.get_current(40)
    assert current is not None
    assert current.mountpoint == b"/second"
    found = registry.own.mount_of(b"/second/x")
    assert found is not None
    assert found.id == 40 + (1 << 32)


def test_options_of_mountinfo_go_before_the_few_that_the_kernel_side_knows() -> None:
    registry = MountRegistry(OWN, _line(40, 20, "0:50", "/", "/m", "tmpfs", "rw,nosuid,relatime"))
    [mount] = registry.all_mounts()
    registry.note_mount(mount._replace(options=("rw",)))
    assert registry.all_mounts()[0].options == ("rw", "nosuid", "relatime")


def test_other_namespace_has_a_table_of_its_own() -> None:
    registry = MountRegistry(OWN, ROOT)
    registry.read_table(99, _line(70, 1, "0:60", "/", "/", "tmpfs"))
    assert not next(mount for mount in registry.all_mounts() if mount.id == 70).own
    found, own = registry.tables[99].mount_of(b"/x"), registry.own.mount_of(b"/x")
    assert found is not None
    assert own is not None
    assert (found.id, own.id) == (70, 20)
    assert registry.get_current(12345) is None
    assert registry.get_current(None) is None


def test_table_in_any_order() -> None:
    """The root may come after what is mounted on it, as on machines that were started in an odd way."""
    shm = _mount(23, b"/dev/shm", parent=24, dev=2)
    dev = _mount(24, b"/dev", parent=27, dev=3)
    root = _mount(27, b"/", parent=1, dev=4)
    table = MountTable([shm, dev, root])
    assert table.mount_of(b"/dev/shm/x") == shm
    assert table.mount_of(b"/dev/null") == dev
    assert table.mount_of(b"/etc") == root
