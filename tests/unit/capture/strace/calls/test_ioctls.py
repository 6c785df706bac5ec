"""From strace's lines to records: what became of each target of FIDEDUPERANGE, and btrfs subvolumes."""

from __future__ import annotations

import pytest

from tests.support.strace_lines import events, only, parser
from writeaudit.capture.strace.state import NoHost
from writeaudit.events import Doubt, Op, Operand, RawEvent

_DEDUPE = (
    b"ioctl(5</w/s>, BTRFS_IOC_FILE_EXTENT_SAME or FIDEDUPERANGE, {src_offset=0, src_length=9, "
    b"dest_count=3, info=[{dest_fd=4</w/a>, dest_offset=0}, {dest_fd=6</w/b>, dest_offset=0}, "
    b"{dest_fd=7</w/c>, dest_offset=0}]}"
)


def test_each_target_of_a_deduplication_has_a_result_of_its_own() -> None:
    answer = b" => {info=[%s]}" % b", ".join(
        b"{bytes_deduped=%d, status=%d}" % each for each in ((9, 0), (9, 1), (0, -18))
    )
    found = events(_DEDUPE + answer + b") = 0")
    assert [(e.op, e.path.base, e.result, e.bytes) for e in found] == [
        (Op.CLONE, b"/w/a", "ok", 9),
        (Op.CLONE, b"/w/b", "ok", 0),
        (Op.CLONE, b"/w/c", "EXDEV", 0),
    ]
    assert {e.source for e in found} == {Operand(b"/w/s", None)}


def test_a_deduplication_that_failed_altogether() -> None:
    found = events(_DEDUPE + b") = -1 EOPNOTSUPP (Operation not supported)")
    assert [(e.path.base, e.result, e.bytes) for e in found] == [
        (b"/w/a", "EOPNOTSUPP", 0),
        (b"/w/b", "EOPNOTSUPP", 0),
        (b"/w/c", "EOPNOTSUPP", 0),
    ]


_NEW = ("subvolume",)
_COPY = ("subvolume", "snapshot")


@pytest.mark.parametrize(
    ("line", "op", "name", "flags", "result"),
    [
        (b'SUBVOL_CREATE, {fd=0</dev/null>, name="a"}) = 0', Op.MKDIR, b"a", _NEW, "ok"),
        (b'SUBVOL_CREATE, {fd=0</dev/null>, name="a"}) = -1 EEXIST (File exists)', Op.MKDIR, b"a", _NEW,
         "EEXIST"),
        (b'SUBVOL_CREATE_V2, {fd=0</dev/null>, flags=0, name="b\\"<x>\\n"} => {transid=0}) = 0', Op.MKDIR,
         b'b"<x>\n', _NEW, "ok"),
        (b'SNAP_CREATE, {fd=4</w/a>, name="s"}) = 0', Op.MKDIR, b"s", _COPY, "ok"),
        (b'SNAP_CREATE_V2, {fd=4</w/a>, flags=BTRFS_SUBVOL_RDONLY, name="s"} => {transid=0}) = 0', Op.MKDIR,
         b"s", _COPY, "ok"),
        (b'SNAP_CREATE_V2, {fd=99, flags=0, name="s"}) = -1 EINVAL (Invalid argument)', Op.MKDIR, b"s", _COPY,
         "EINVAL"),
        (b'SNAP_DESTROY, {fd=0</dev/null>, name="s"}) = 0', Op.RMDIR, b"s", _NEW, "ok"),
        (b'SNAP_DESTROY_V2, {fd=0</dev/null>, flags=0, name="s"}) = 0', Op.RMDIR, b"s", _NEW, "ok"),
    ],
)  # fmt: skip
def test_subvolumes(line: bytes, op: Op, name: bytes, flags: tuple[str, ...], result: str) -> None:
    event = only(b"ioctl(3</w/d>, BTRFS_IOC_" + line)
    assert (event.op, event.path, event.source) == (op, Operand(b"/w/d", name), None)
    assert (event.flags, event.result, event.follow) == (flags, result, False)


class Memory(NoHost):
    """A host that can still read two structures btrfs_ioctl_vol_args_v2."""

    def text_at(self, tid: int, address: int) -> bytes | None:
        """Return the flags and the name of one, the flags of one that names by a number."""
        return {0x1010: b"\2", 0x1038: b"s", 0x2010: b"\x10", 0x2038: b"\7"}.get(address)


@pytest.mark.parametrize(
    ("line", "names", "blind"),
    [
        (b"0x1000) = 0", [b"s"], True),
        (b"0x2000) = 0", [], True),
        (b"0x3000) = 0", [], True),
        (b'{fd=0</dev/null>, flags=BTRFS_SUBVOL_SPEC_BY_ID, subvolid=257}) = 0', [], True),
        (b"0x1000) = -1 ENOENT (No such file or directory)", [b"s"], False),
        (b"0x2000) = -1 ENOENT (No such file or directory)", [], False),
        (b"0x1000) = -1 EFAULT (Bad address)", [], False),
    ],
)  # fmt: skip
def test_a_subvolume_that_strace_does_not_name(line: bytes, names: list[bytes], blind: bool) -> None:
    made = parser(host=Memory())
    call = b"10 6.000001 ioctl(3</w>, BTRFS_IOC_SNAP_DESTROY_V2, " + line + b" <0.000001>\n"
    found = [record for record in made.feed_bytes(call) if isinstance(record, RawEvent)]
    assert [event.path for event in found] == [Operand(b"/w", name, doubt=Doubt.UNREADABLE) for name in names]
    assert [(spot.kind, spot.incomplete) for spot in made.blind_spots] == [("ioctl", True)] * blind
    assert made.lost == {}


@pytest.mark.parametrize(
    ("request_", "op", "flags"),
    [
        (b"_IOC(_IOC_WRITE, 0x58, 0x28, 0x30)", Op.FALLOCATE, ("keep_size",)),
        (b"_IOC(_IOC_WRITE, 0x58, 0x2b, 0x2c)", Op.FALLOCATE, ("keep_size", "punch_hole")),
        (b"FS_IOC_ZERO_RANGE", Op.FALLOCATE, ("keep_size", "zero_range")),
        (b"FS_IOC_SETVERSION or EXT4_IOC_SETVERSION_OLD", Op.SETFLAGS, ("version",)),
        (b"_IOC(_IOC_WRITE, 0x66, 0x4, 0x4)", Op.SETFLAGS, ("version",)),
        (b"BTRFS_IOC_SUBVOL_SETFLAGS", Op.SETFLAGS, ("subvolume",)),
        (b"FS_IOC_SETFLAGS", Op.SETFLAGS, ()),
    ],
)
def test_what_allocates_and_what_sets_flags(request_: bytes, op: Op, flags: tuple[str, ...]) -> None:
    event = only(b"ioctl(3</w/f>, " + request_ + b", 0x7ffd93a6eb80) = 0")
    assert (event.op, event.path.base, event.flags) == (op, b"/w/f", flags)


@pytest.mark.parametrize(
    "request_", [b"_IOC(_IOC_WRITE, 0x58, 0x79, 0x30)", b"_IOC(_IOC_READ, 0x66, 0x4, 0x8)"]
)
def test_numbers_that_change_nothing(request_: bytes) -> None:
    assert events(b"ioctl(3</w/f>, " + request_ + b", 0x7ffd93a6eb80) = 0") == []
