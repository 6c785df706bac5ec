"""The decoder, fed with records that the test puts together as the kernel side would."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass

import pytest

from writeaudit.audit import Mount
from writeaudit.capture.decode import Decoder
from writeaudit.capture.interface import (
    MountsChanged,
    MountSeen,
    ProcessExec,
    ProcessExit,
    ProcessStart,
    Record,
)
from writeaudit.capture.syscalls import WireOp, table
from writeaudit.capture.wire import (
    EVENT,
    H_COREDUMP,
    H_MORE,
    H_NEW_MNT_NS,
    MOUNT,
    OPERAND,
    TASK,
    TOTAL,
    F,
    Kind,
    decode_open_flags,
    errno_name,
    kernel_dev,
    reversed_path,
)
from writeaudit.events import OK, Access, Op, RawEvent, WriteTotal

OWN = 77
ROWS = {name: row for row, name in sorted(table()[1].items(), reverse=True)}
"""The row of each call; of those that exist twice the 64-bit one."""


@dataclass(frozen=True)
class Side:
    """One operand, as the kernel side writes it."""

    base: bytes = b""
    name: bytes = b""
    flags: F = F.BASE | F.NAME
    ino: int = 0
    dev: int = 0
    mount: int = 21
    f_mode: int = 0
    i_mode: int = 0
    in_mount: int = 0
    skip: int = 0

    def pack(self) -> bytes:
        """Return struct wa_operand and what follows it."""
        reverse = b"".join(part + b"\0" for part in reversed(self.base.strip(b"/").split(b"/")) if part)
        fields = (self.ino, self.dev, self.mount, self.f_mode, self.i_mode, self.flags, len(reverse))
        return OPERAND.pack(*fields, self.in_mount, len(self.name), self.skip) + self.name + reverse


def _file(path: bytes, *, f_mode: int = 0, name: bytes = b"", more: int = 0) -> Side:
    flags = F.BASE | F.FILE | F(more)
    return Side(path, name, flags, ino=5, dev=254 << 20 | 1, f_mode=f_mode, i_mode=stat.S_IFREG | 0o644)


def _payload(
    op: WireOp, call: str, *sides: Side, ret: int = 0, args: tuple[int, ...] = (), flags: int = 0
) -> bytes:
    words = (*args, 0, 0, 0)[:3]
    head = EVENT.pack(1000, 10, 11, Kind.EVENT, flags, op, len(sides), ROWS[call], ret, 0, *words)
    return head + b"".join(side.pack() for side in sides)


def _decode(payload: bytes, decoder: Decoder | None = None) -> list[Record]:
    out: list[Record] = []
    (decoder or Decoder(OWN)).decode(payload, out)
    return out


def _event(op: WireOp, call: str, *sides: Side, ret: int = 0, args: tuple[int, ...] = ()) -> RawEvent:
    [found, *rest] = _decode(_payload(op, call, *sides, ret=ret, args=args))
    assert all(isinstance(record, MountsChanged) for record in rest)
    assert isinstance(found, RawEvent)
    assert (found.time_ns, found.pid, found.tid) == (1000, 10, 11)
    return found


NAME = Side(b"/work/dir", b"new")
OLD = Side(b"/work", b"old", mount=22)

PLAIN: list[tuple[WireOp, str, Op, tuple[int, ...]]] = [
    (WireOp.MKDIR, "mkdirat", Op.MKDIR, (0, 0o755)),
    (WireOp.MKNOD, "mknodat", Op.MKNOD, (0, stat.S_IFIFO | 0o600)),
    (WireOp.BIND, "bind", Op.BIND, ()),
    (WireOp.UNLINK, "unlink", Op.UNLINK, ()),
    (WireOp.UNLINK, "unlinkat", Op.RMDIR, (0x200,)),
    (WireOp.RMDIR, "rmdir", Op.RMDIR, ()),
    (WireOp.TRUNCATE, "truncate", Op.TRUNCATE, ()),
    (WireOp.CHMOD, "fchmodat", Op.CHMOD, (0, 0o4755)),
    (WireOp.CHOWN, "fchownat", Op.CHOWN, ()),
    (WireOp.UTIME, "utimensat", Op.UTIME, ()),
    (WireOp.UMOUNT, "umount2", Op.UMOUNT, ()),
    (WireOp.CHROOT, "chroot", Op.CHROOT, ()),
    (WireOp.MOUNT_SETATTR, "mount_setattr", Op.MOUNT, ()),
]
PAIRS: list[tuple[WireOp, str, Op, tuple[int, ...]]] = [
    (WireOp.LINK, "linkat", Op.LINK, ()),
    (WireOp.RENAME, "rename", Op.RENAME, ()),
    (WireOp.RENAME, "renameat2", Op.EXCHANGE, (2,)),
    (WireOp.MOVE_MOUNT, "move_mount", Op.MOUNT, ()),
    (WireOp.MOUNT, "mount", Op.MOUNT, (4096,)),
    (WireOp.PIVOT_ROOT, "pivot_root", Op.PIVOT_ROOT, ()),
    (WireOp.CLONE, "ioctl", Op.CLONE, ()),
    (WireOp.DEDUPE, "ioctl", Op.CLONE, ()),
]


@pytest.mark.parametrize(("wire", "call", "op", "args"), PLAIN)
@pytest.mark.parametrize(("ret", "result"), [(0, OK), (-17, "EEXIST"), (-512, "EINTR"), (-4000, "E4000")])
def test_operations_on_one_name(
    wire: WireOp, call: str, op: Op, args: tuple[int, ...], ret: int, result: str
) -> None:
    event = _event(wire, call, NAME, ret=ret, args=args)
    assert (event.op, event.result, event.source) == (op, result, None)
    assert (event.path.base, event.path.name, event.path.mount) == (b"/work/dir", b"new", 21)
    assert not event.path.truncated


@pytest.mark.parametrize(("wire", "call", "op", "args"), PAIRS)
def test_operations_on_two(wire: WireOp, call: str, op: Op, args: tuple[int, ...]) -> None:
    event = _event(wire, call, NAME, OLD, args=args)
    assert event.op is op
    assert (event.path.name, event.path.mount) == (b"new", 21)
    assert event.source is not None
    assert (event.source.base, event.source.name, event.source.mount) == (b"/work", b"old", 22)


def test_every_operation_of_the_table_can_be_decoded() -> None:
    # IOCTL, SOCKETCALL and OLD_MMAP become others in the kernel; NONE is not sent.
    never = {WireOp.NONE, WireOp.IOCTL, WireOp.SOCKETCALL, WireOp.OLD_MMAP}
    assert set(WireOp) - never <= set(Decoder(OWN)._handlers)


def test_mode_of_what_is_made() -> None:
    assert _event(WireOp.MKDIR, "mkdir", NAME, args=(0, 0o41777)).mode == 0o1777
    assert _event(WireOp.MKNOD, "mknod", NAME, args=(0, stat.S_IFIFO | 0o600)).mode == stat.S_IFIFO | 0o600
    assert _event(WireOp.CHMOD, "chmod", NAME, args=(0, 0o106755)).mode == 0o6755


CREATED = 0x100000


def test_open_that_made_a_file() -> None:
    flags = os.O_CREAT | os.O_EXCL | os.O_RDWR
    event = _event(
        WireOp.OPEN,
        "openat",
        _file(b"/work/dir/new", f_mode=CREATED, name=b"new"),
        ret=3,
        args=(flags, 0o100666),
    )
    assert event.path.name is None
    assert (event.path.base, event.path.dev, event.path.ino, event.path.fmt) == (
        b"/work/dir/new", os.makedev(254, 1), 5, stat.S_IFREG,
    )  # fmt: skip
    assert (event.access, event.flags, event.created, event.mode) == (
        Access.READ_WRITE, ("creat", "excl"), True, 0o666,
    )  # fmt: skip
    assert event.spelled == b"new"


@pytest.mark.parametrize(
    ("flags", "f_mode", "ret", "created"),
    [
        (os.O_CREAT | os.O_WRONLY, CREATED, 3, True),
        (os.O_CREAT | os.O_WRONLY, 0, 3, False),
        (os.O_WRONLY, CREATED, 3, False),
        (os.O_TMPFILE | os.O_RDWR, 0, 3, True),
        (os.O_CREAT | os.O_WRONLY, 0, -13, False),
    ],
)
def test_created(flags: int, f_mode: int, ret: int, created: bool) -> None:
    side = _file(b"/w/f", f_mode=f_mode) if ret >= 0 else NAME
    assert _event(WireOp.OPEN, "open", side, ret=ret, args=(flags, 0o644)).created is created


def test_open_that_failed_has_the_name_that_was_passed() -> None:
    event = _event(WireOp.OPEN, "openat", NAME, ret=-30, args=(os.O_WRONLY, 0))
    assert (event.result, event.path.name, event.mode, event.spelled) == ("EROFS", b"new", None, None)


def test_creat_has_flags_of_its_own() -> None:
    event = _event(WireOp.CREAT, "creat", _file(b"/w/f"), ret=3, args=(0, 0o600))
    assert (event.access, event.flags, event.mode) == (Access.WRITE, ("creat", "trunc"), 0o600)


@pytest.mark.parametrize(
    ("flags", "follow"),
    [
        (0, True),
        (os.O_NOFOLLOW, False),
        (os.O_CREAT, True),
        (os.O_CREAT | os.O_EXCL, False),
        (os.O_EXCL, True),
    ],
)
def test_open_follows_a_symlink_unless_told_not_to(flags: int, follow: bool) -> None:
    assert _event(WireOp.OPEN, "open", NAME, ret=-2, args=(flags, 0)).follow is follow


@pytest.mark.parametrize(
    ("flags", "access", "names"),
    [
        (os.O_RDONLY, Access.READ, ()),
        (os.O_WRONLY | os.O_TRUNC | os.O_APPEND, Access.WRITE, ("trunc", "append")),
        (os.O_RDWR, Access.READ_WRITE, ()),
        (3, Access.READ_WRITE, ()),  # asks for both rights and gives a descriptor for ioctl alone
        (os.O_PATH | os.O_CREAT | os.O_WRONLY, Access.PATH, ()),
        (os.O_PATH | os.O_DIRECTORY, Access.PATH, ("directory",)),
        (os.O_RDONLY | os.O_DIRECTORY, Access.READ, ("directory",)),
        (os.O_TMPFILE | os.O_WRONLY, Access.WRITE, ("tmpfile",)),
        (os.O_TMPFILE | os.O_WRONLY | os.O_EXCL, Access.WRITE, ("tmpfile",)),
    ],
)
def test_flags_of_an_open(flags: int, access: Access, names: tuple[str, ...]) -> None:
    assert decode_open_flags(flags) == (access, names)


def test_symlink_holds_text() -> None:
    text = Side(b"", b"../\xff text", F.TEXT | F.NAME)
    event = _event(WireOp.SYMLINK, "symlinkat", NAME, text)
    assert (event.op, event.target_text, event.source) == (Op.SYMLINK, b"../\xff text", None)


def test_attribute_has_a_name() -> None:
    event = _event(WireOp.SETXATTR, "fsetxattr", _file(b"/w/f"), Side(b"", b"user.k", F.TEXT | F.NAME))
    assert (event.op, event.xattr, event.source) == (Op.SETXATTR, b"user.k", None)
    event = _event(WireOp.REMOVEXATTR, "removexattr", NAME, Side(b"", b"user.k", F.TEXT | F.NAME))
    assert event.op is Op.REMOVEXATTR


@pytest.mark.parametrize(
    ("wire", "call", "args", "follow"),
    [
        (WireOp.CHOWN, "chown", (), True),
        (WireOp.CHOWN, "lchown", (), False),
        (WireOp.CHOWN, "fchownat", (0x100,), False),
        (WireOp.UTIME, "utimensat", (0x100,), False),
        (WireOp.UTIME, "utimensat", (), True),
        (WireOp.CHMOD, "fchmodat2", (0x100, 0o600), False),
    ],
)
def test_metadata_of_a_symlink_itself(wire: WireOp, call: str, args: tuple[int, ...], follow: bool) -> None:
    assert _event(wire, call, NAME, args=args).follow is follow


def test_link_follows_on_request_only() -> None:
    assert not _event(WireOp.LINK, "linkat", NAME, OLD).follow_source
    assert _event(WireOp.LINK, "linkat", NAME, OLD, args=(0x400,)).follow_source


def test_rename_flags() -> None:
    event = _event(WireOp.RENAME, "renameat2", NAME, OLD, args=(5,))
    assert (event.op, event.flags) == (Op.RENAME, ("noreplace", "whiteout"))


def test_write_is_counted_and_its_key_kept() -> None:
    payload = bytearray(_payload(WireOp.WRITE, "write", _file(b"/w/f"), ret=512))
    payload[32:40] = (99).to_bytes(8, "little")
    [event] = _decode(bytes(payload))
    assert isinstance(event, RawEvent)
    assert (event.op, event.bytes, event.calls, event.file_key) == (Op.WRITE, 512, 1, 99)
    failed = _event(WireOp.WRITE, "write", _file(b"/w/f"), ret=-28)
    assert (failed.result, failed.bytes, failed.file_key) == ("ENOSPC", 0, None)


def test_total() -> None:
    payload = TOTAL.pack(1, 10, 10, Kind.TOTAL, 0, 0, 0, 0, 99, 1 << 40, 7)
    assert _decode(payload) == [WriteTotal(99, 1 << 40, 7)]


def test_file_without_a_name() -> None:
    assert _event(WireOp.WRITE, "write", _file(b"/tmp/#5", more=F.DELETED), ret=1).path.deleted


@pytest.mark.parametrize("flag", [F.TRUNCATED, F.FAULT, F.UNREACHABLE, F.NOFD])
def test_missing_bytes_are_flagged(flag: F) -> None:
    decoder = Decoder(OWN)
    side = Side(b"/work", b"ne", F.BASE | F.NAME | flag)
    [event] = _decode(_payload(WireOp.MKDIR, "mkdir", side), decoder)
    assert isinstance(event, RawEvent)
    assert event.path.truncated


def test_magic_link_leads_to_the_file_that_it_stands_for() -> None:
    side = Side(b"/w/dir", b"/proc/self/fd/3/below", F.BASE | F.NAME | F.MAGIC, skip=15)
    assert _event(WireOp.MKDIR, "mkdir", side).path.name == b"below"


def test_root_directory() -> None:
    assert _event(WireOp.MKDIR, "mkdir", Side(b"/", b"new")).path.base == b"/"
    assert _event(WireOp.MKDIR, "mkdir", Side(b"", b"/abs", F.NAME | F.ROOT)).path.base == b"/"
    assert _event(WireOp.MKDIR, "mkdir", Side(b"", b"rel", F.NAME)).path.base is None


def test_mapping_that_can_be_written() -> None:
    event = _event(WireOp.MMAP, "mmap", _file(b"/w/f"), ret=0x7000, args=(4096, 3, 1))
    assert (event.op, event.path.base) == (Op.MMAP_WRITE, b"/w/f")


def _map(decoder: Decoder) -> list[Record]:
    return _decode(_payload(WireOp.MMAP, "mmap", _file(b"/w/f"), ret=0x7000, args=(8192, 1, 1)), decoder)


def _protect(decoder: Decoder, start: int, length: int = 4096) -> list[Record]:
    return _decode(_payload(WireOp.MPROTECT, "mprotect", args=(start, length, 3)), decoder)


def test_mapping_that_becomes_writable() -> None:
    decoder = Decoder(OWN)
    assert _map(decoder) == []
    assert _protect(decoder, 0x6000) == []
    assert _protect(decoder, 0x9000) == []
    [event] = _protect(decoder, 0x8000)
    assert isinstance(event, RawEvent)
    assert (event.op, event.path.base) == (Op.MMAP_WRITE, b"/w/f")


def test_mapping_that_moves_and_then_becomes_writable() -> None:
    decoder = Decoder(OWN)
    _map(decoder)
    assert _decode(_payload(WireOp.MREMAP, "mremap", ret=0x20000, args=(0x7000, 8192, 8192)), decoder) == []
    assert _protect(decoder, 0x7000) == []
    assert len(_protect(decoder, 0x21000)) == 1


def test_mapping_is_inherited_by_a_fork_and_gone_after_an_exec() -> None:
    decoder = Decoder(OWN)
    _map(decoder)
    assert _decode(TASK.pack(5, 10, 10, Kind.FORK, 0, 0, 0, 0, 50, 0), decoder) == [ProcessStart(5, 50, 10)]
    _decode(TASK.pack(6, 10, 10, Kind.EXEC, 0, 0, 1, 0, 10, 0) + Side(b"/bin/x", b"x\0").pack(), decoder)
    assert _protect(decoder, 0x7000) == []
    child = bytearray(_payload(WireOp.MPROTECT, "mprotect", args=(0x7000, 4096, 3)))
    child[8:12] = (50).to_bytes(4, "little")
    assert len(_decode(bytes(child), decoder)) == 1


def test_exec() -> None:
    side = Side(b"/usr/bin/uv", b"uv\0sync\0\0--odd=\xff\0", F.FILE | F.BASE | F.NAME)
    payload = TASK.pack(6, 10, 10, Kind.EXEC, 0, 0, 1, 0, 10, 0) + side.pack()
    assert _decode(payload) == [ProcessExec(6, 10, b"/usr/bin/uv", (b"uv", b"sync", b"", b"--odd=\xff"))]


def test_exec_whose_arguments_could_not_be_read() -> None:
    payload = (
        TASK.pack(6, 10, 10, Kind.EXEC, 0, 0, 1, 0, 10, 0) + Side(b"/bin/x", b"", F.FILE | F.BASE).pack()
    )
    assert _decode(payload) == [ProcessExec(6, 10, b"/bin/x", ())]


@pytest.mark.parametrize(
    ("code", "status"), [(0, 0), (3 << 8, 3), (255 << 8, 255), (9, 137), (15, 143), (11 | 0x80, 139)]
)
def test_exit(code: int, status: int) -> None:
    assert _decode(TASK.pack(6, 10, 10, Kind.EXIT, 0, 0, 0, 0, code, 0)) == [ProcessExit(6, 10, status)]


def test_fork_into_a_new_mount_namespace() -> None:
    payload = TASK.pack(5, 10, 10, Kind.FORK, H_NEW_MNT_NS, 0, 0, 0, 50, 0)
    assert _decode(payload) == [ProcessStart(5, 50, 10), MountsChanged(5, 50)]


@pytest.mark.parametrize(
    ("wire", "call", "args", "moves"),
    [
        (WireOp.MOUNT, "mount", (0,), True),
        (WireOp.UMOUNT, "umount2", (), True),
        (WireOp.CHROOT, "chroot", (), True),
        (WireOp.UNSHARE, "unshare", (0x20000,), True),
        (WireOp.UNSHARE, "unshare", (0x400,), False),
        (WireOp.UNSHARE, "setns", (0,), True),
        (WireOp.MKDIR, "mkdir", (), False),
    ],
)
@pytest.mark.parametrize("ret", [0, -1])
def test_what_moves_the_meaning_of_paths(
    wire: WireOp, call: str, args: tuple[int, ...], moves: bool, ret: int
) -> None:
    sides = () if wire is WireOp.UNSHARE else (NAME, OLD) if wire is WireOp.MOUNT else (NAME,)
    records = _decode(_payload(wire, call, *sides, ret=ret, args=args))
    assert (MountsChanged(1000, 10) in records) is (moves and ret == 0)


def test_source_of_a_new_file_system_is_no_path() -> None:
    assert _event(WireOp.MOUNT, "mount", NAME, OLD, args=(1,)).source is None
    assert _event(WireOp.MOUNT, "mount", NAME, OLD, args=(1,)).flags == ("ro",)
    bind = _event(WireOp.MOUNT, "mount", NAME, OLD, args=(4096 | 16384,))
    assert bind.source is not None
    assert set(bind.flags) == {"bind", "rec"}


def test_mount() -> None:
    texts = (b"ext4", b"/dev/vda\xff", b"data\0srv\0", b"mnt\0")
    lengths = tuple(map(len, texts))
    head = (7, 1, 1, Kind.MOUNT, 0, 0, 0, 0)
    payload = MOUNT.pack(*head, OWN, 40, 20, 254 << 20 | 3, 0x40 | 0x01, 0, *lengths, 0) + b"".join(texts)
    assert _decode(payload) == [
        MountSeen(
            7,
            Mount(
                40,
                OWN,
                os.makedev(254, 3),
                "ext4",
                b"/dev/vda\xff",
                b"/srv/data",
                b"/mnt",
                ("ro", "nosuid"),
                20,
                True,
            ),
        )
    ]


@pytest.mark.parametrize(
    ("payload", "kind", "incomplete"),
    [
        (_payload(WireOp.URING, "io_uring_setup", ret=5), "io_uring", True),
        (_payload(WireOp.MKDIR, "mkdir", NAME, flags=H_MORE), "many_at_once", True),
        (TASK.pack(6, 10, 10, Kind.EXIT, H_COREDUMP, 0, 0, 0, 0x8B, 0), "core_dump", False),
    ],
)
def test_blind_spots(payload: bytes, kind: str, incomplete: bool) -> None:
    decoder = Decoder(OWN)
    for _ in range(2):
        _decode(payload, decoder)
    [spot] = decoder.blind_spots()
    assert (spot.kind, spot.count, spot.incomplete) == (kind, 2, incomplete)


def test_io_uring_that_was_refused_is_no_blind_spot() -> None:
    decoder = Decoder(OWN)
    assert _decode(_payload(WireOp.URING, "io_uring_setup", ret=-1), decoder) == []
    assert decoder.blind_spots() == ()


def test_records_are_counted_by_kind() -> None:
    decoder = Decoder(OWN)
    _decode(_payload(WireOp.MKDIR, "mkdir", NAME), decoder)
    _decode(TASK.pack(6, 10, 10, Kind.EXIT, 0, 0, 0, 0, 0, 0), decoder)
    counted = {kind: count for kind, count in decoder.received.items() if count}
    assert counted == {"event": 1, "exit": 1}


def test_small_things() -> None:
    assert reversed_path(b"") == b"/"
    assert reversed_path(b"c\0b\0a\0") == b"/a/b/c"
    assert kernel_dev(254 << 20 | 0xFFFFF) == os.makedev(254, 0xFFFFF)
    assert [errno_name(number) for number in (1, 18, 514, 4094)] == ["EPERM", "EXDEV", "EINTR", "E4094"]
