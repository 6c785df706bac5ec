"""The decoder: what each system call becomes."""

from __future__ import annotations

import dataclasses
import os
import stat

import pytest

from tests.support.doubts import unreadable
from tests.support.wire_records import NAME, OLD, OWN, Side, decoded, event_of, open_file, packed
from writeaudit.capture.errno_names import errno_name
from writeaudit.capture.kernel.decode.decoder import Decoder
from writeaudit.capture.kernel.wire import F, decode_open_flags, kernel_dev, reversed_path
from writeaudit.capture.syscalls import WireOp
from writeaudit.events import OK, Access, Doubt, Op, Operand, RawEvent

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
    event = event_of(wire, call, NAME, ret=ret, args=args)
    assert (event.op, event.result, event.source) == (op, result, None)
    assert (event.path.base, event.path.name, event.path.mount) == (b"/w/dir", b"new", 21)
    assert not unreadable(event.path)


@pytest.mark.parametrize(("wire", "call", "op", "args"), PAIRS)
def test_operations_on_two(wire: WireOp, call: str, op: Op, args: tuple[int, ...]) -> None:
    event = event_of(wire, call, NAME, OLD, args=args)
    assert event.op is op
    assert (event.path.name, event.path.mount) == (b"new", 21)
    assert event.source is not None
    assert (event.source.base, event.source.name, event.source.mount) == (b"/w", b"old", 22)


def test_every_operation_of_the_table_can_be_decoded() -> None:
    # IOCTL, SOCKETCALL and OLD_MMAP become others in the kernel; these are not sent, nor is NONE.
    unsent = {WireOp.CLOSE, WireOp.CHDIR, WireOp.OPEN_TREE}
    never = {WireOp.NONE, WireOp.IOCTL, WireOp.SOCKETCALL, WireOp.OLD_MMAP, *unsent}
    assert set(WireOp) - never <= set(Decoder(OWN)._calls)


def test_mode_of_what_is_made() -> None:
    assert event_of(WireOp.MKDIR, "mkdir", NAME, args=(0, 0o41777)).mode == 0o1777
    assert event_of(WireOp.MKNOD, "mknod", NAME, args=(0, stat.S_IFIFO | 0o600)).mode == stat.S_IFIFO | 0o600
    assert event_of(WireOp.CHMOD, "chmod", NAME, args=(0, 0o106755)).mode == 0o6755


CREATED = 0x100000


def test_open_that_made_a_file() -> None:
    flags = os.O_CREAT | os.O_EXCL | os.O_RDWR
    event = event_of(
        WireOp.OPEN,
        "openat",
        open_file(b"/w/dir/new", f_mode=CREATED, name=b"new"),
        ret=3,
        args=(flags, 0o100666),
    )
    assert event.path.name is None
    assert (event.path.base, event.path.dev, event.path.ino, event.path.fmt) == (
        b"/w/dir/new", os.makedev(254, 1), 5, stat.S_IFREG,
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
    side = open_file(b"/w/f", f_mode=f_mode) if ret >= 0 else NAME
    assert event_of(WireOp.OPEN, "open", side, ret=ret, args=(flags, 0o644)).created is created


def test_open_that_failed_has_the_name_that_was_passed() -> None:
    event = event_of(WireOp.OPEN, "openat", NAME, ret=-30, args=(os.O_WRONLY, 0))
    assert (event.result, event.path.name, event.mode, event.spelled) == ("EROFS", b"new", None, None)


def test_creat_has_flags_of_its_own() -> None:
    event = event_of(WireOp.CREAT, "creat", open_file(b"/w/f"), ret=3, args=(0, 0o600))
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
    assert event_of(WireOp.OPEN, "open", NAME, ret=-2, args=(flags, 0)).follow is follow


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
    event = event_of(WireOp.SYMLINK, "symlinkat", NAME, text)
    assert (event.op, event.target_text, event.source) == (Op.SYMLINK, b"../\xff text", None)


def test_attribute_has_a_name() -> None:
    event = event_of(WireOp.SETXATTR, "fsetxattr", open_file(b"/w/f"), Side(b"", b"user.k", F.TEXT | F.NAME))
    assert (event.op, event.xattr, event.source) == (Op.SETXATTR, b"user.k", None)
    event = event_of(WireOp.REMOVEXATTR, "removexattr", NAME, Side(b"", b"user.k", F.TEXT | F.NAME))
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
    assert event_of(wire, call, NAME, args=args).follow is follow


def test_link_follows_on_request_only() -> None:
    assert not event_of(WireOp.LINK, "linkat", NAME, OLD).follow_source
    assert event_of(WireOp.LINK, "linkat", NAME, OLD, args=(0x400,)).follow_source


def test_rename_flags() -> None:
    event = event_of(WireOp.RENAME, "renameat2", NAME, OLD, args=(5,))
    assert (event.op, event.flags) == (Op.RENAME, ("noreplace", "whiteout"))


def test_write_is_counted_and_its_key_kept() -> None:
    [event] = decoded(packed(WireOp.WRITE, "write", open_file(b"/w/f"), ret=512, key=99))
    assert isinstance(event, RawEvent)
    assert (event.op, event.bytes, event.calls, event.file_key) == (Op.WRITE, 512, 1, 99)
    failed = event_of(WireOp.WRITE, "write", open_file(b"/w/f"), ret=-28)
    assert (failed.result, failed.bytes, failed.file_key) == ("ENOSPC", 0, None)


def test_call_began_after_the_last_one_of_its_thread() -> None:
    decoder = Decoder(OWN)
    lasted: list[int] = []
    for time_ns, tid in ((5000, 11), (7000, 12), (9000, 11), (9500, 12)):
        [event] = decoded(packed(WireOp.MKDIR, "mkdir", NAME, time_ns=time_ns, tid=tid), decoder)
        assert isinstance(event, RawEvent)
        lasted.append(event.lasted_ns)
    assert lasted == [5000, 7000, 4000, 2500]  # of the first ones nothing is known


def test_file_without_a_name() -> None:
    assert event_of(WireOp.WRITE, "write", open_file(b"/tmp/#5", more=F.DELETED), ret=1).path.deleted


@pytest.mark.parametrize(
    ("flag", "doubt"),
    [
        (F.TRUNCATED, Doubt.UNREADABLE),
        (F.FAULT, Doubt.UNREADABLE),
        (F.UNREACHABLE, Doubt.UNREACHABLE),
        (F.NOFD, Doubt.UNREADABLE),
        (F.FAULT | F.UNREACHABLE, Doubt.UNREADABLE | Doubt.UNREACHABLE),
    ],
)
def test_what_is_in_doubt_is_flagged(flag: F, doubt: Doubt) -> None:
    decoder = Decoder(OWN)
    side = Side(b"/w", b"ne", F.BASE | F.NAME | flag)
    [event] = decoded(packed(WireOp.MKDIR, "mkdir", side), decoder)
    assert isinstance(event, RawEvent)
    assert event.path.doubt == doubt


def test_magic_link_leads_to_the_file_that_it_stands_for() -> None:
    side = Side(b"/w/dir", b"/proc/self/fd/3/below", F.BASE | F.NAME | F.MAGIC, skip=15)
    assert event_of(WireOp.MKDIR, "mkdir", side).path.name == b"below"


def test_root_directory() -> None:
    assert event_of(WireOp.MKDIR, "mkdir", Side(b"/", b"new")).path.base == b"/"
    assert event_of(WireOp.MKDIR, "mkdir", Side(b"", b"/abs", F.NAME | F.ROOT)).path.base == b"/"
    assert event_of(WireOp.MKDIR, "mkdir", Side(b"", b"rel", F.NAME)).path.base is None


@pytest.mark.parametrize("more", [0, F.FILE])
@pytest.mark.parametrize("path", [b"/", b"/f", b"/w/f", b"/w/d/f"])
def test_paths_of_any_depth(path: bytes, more: int) -> None:
    decoder = Decoder(OWN)
    side = Side(path, b"", F.BASE | F.NAME | F(more))
    for _ in range(2):  # the second time what is kept of the first one serves
        [event] = decoded(packed(WireOp.CHMOD, "fchmod", side), decoder)
        assert isinstance(event, RawEvent)
        assert event.path.base == path


def test_every_field_is_in_its_place() -> None:
    new = dataclasses.replace(open_file(b"/w/dir/new", f_mode=CREATED, name=b"new"), nlink=2, parent=4)
    flags = os.O_CREAT | os.O_WRONLY | os.O_NOFOLLOW
    assert event_of(WireOp.OPEN, "openat", new, ret=3, args=(flags, 0o640)) == RawEvent(
        time_ns=1000,
        pid=10,
        tid=11,
        op=Op.OPEN,
        result=OK,
        path=Operand(
            base=b"/w/dir/new",
            name=None,
            mount=21,
            dev=os.makedev(254, 1),
            ino=5,
            fmt=stat.S_IFREG,
            inner=0,
            nlink=2,
            parent_dev=os.makedev(254, 1),
            parent_ino=4,
        ),
        access=Access.WRITE,
        flags=("creat",),
        created=True,
        follow=False,
        mode=0o640,
        spelled=b"new",
        lasted_ns=1000,
    )
    named = Operand(base=b"/w/dir", name=b"new", mount=21, inner=0)
    old = Operand(base=b"/w", name=b"old", mount=22, inner=0)
    assert event_of(WireOp.LINK, "linkat", NAME, OLD, args=(0x400,)) == RawEvent(
        1000, 10, 11, Op.LINK, OK, named, old, follow=False, follow_source=True, lasted_ns=1000
    )
    below = Side(b"/w/dir", b"new", dev=254 << 20 | 1, parent=4)
    assert event_of(WireOp.MKDIR, "mkdir", below).path == named._replace(
        parent_dev=os.makedev(254, 1), parent_ino=4
    )
    text = Side(b"", b"text", F.TEXT | F.NAME)
    assert event_of(WireOp.SYMLINK, "symlink", NAME, text) == RawEvent(
        1000, 10, 11, Op.SYMLINK, OK, named, target_text=b"text", follow=False, lasted_ns=1000
    )
    assert event_of(WireOp.SETXATTR, "setxattr", NAME, text) == RawEvent(
        1000, 10, 11, Op.SETXATTR, OK, named, xattr=b"text", lasted_ns=1000
    )
    assert event_of(WireOp.COPY, "sendfile", NAME, ret=9) == RawEvent(
        1000, 10, 11, Op.COPY, OK, named, bytes=9, calls=1, lasted_ns=1000
    )


def test_small_things() -> None:
    assert reversed_path(b"") == b"/"
    assert reversed_path(b"c\0b\0a\0") == b"/a/b/c"
    assert kernel_dev(254 << 20 | 0xFFFFF) == os.makedev(254, 0xFFFFF)
    assert [errno_name(number) for number in (1, 18, 514, 4094)] == ["EPERM", "EXDEV", "EINTR", "E4094"]


def test_a_new_root_directory_is_what_the_kernel_says_it_is() -> None:
    event = event_of(WireOp.CHROOT, "chroot", open_file(b"/jail", name=b"/jail"))
    assert (event.op, event.path.base, event.path.name, event.spelled) == (
        Op.CHROOT,
        b"/jail",
        None,
        b"/jail",
    )


@pytest.mark.parametrize("name", [b"/new", b"new", b"../new"])
def test_an_open_whose_directory_is_its_root(name: bytes) -> None:
    side = dataclasses.replace(NAME, name=name)
    event = event_of(WireOp.OPENAT2, "openat2", side, ret=-17, args=(os.O_CREAT, 0o600, 0x10))
    assert (event.path.base, event.path.name, event.path.root) == (b"/w/dir", name, b"/w/dir")
    assert event_of(WireOp.OPENAT2, "openat2", side, ret=-17, args=(0, 0, 8)).path.root == b"/"


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (0x40305828, ("keep_size",)), (0x402C582A, ("keep_size",)), (0x40305829, ("keep_size", "punch_hole")),
        (0x4030582B, ("keep_size", "punch_hole")), (0x40305839, ("keep_size", "zero_range")),
    ],
)  # fmt: skip
def test_ioctls_that_allocate(command: int, words: tuple[str, ...]) -> None:
    event = event_of(WireOp.FALLOCATE, "ioctl", open_file(b"/w/f"), args=(command,))
    assert (event.op, event.flags) == (Op.FALLOCATE, words)


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (0x40086602, ()), (0x40087602, ("version",)), (0x40046604, ("version",)), (0x41009432, ("label",)),
        (0x4008941A, ("subvolume",)),
    ],
)  # fmt: skip
def test_ioctls_that_set_flags(command: int, words: tuple[str, ...]) -> None:
    event = event_of(WireOp.SETFLAGS, "ioctl", open_file(b"/w/f"), args=(command,))
    assert (event.op, event.flags) == (Op.SETFLAGS, words)


@pytest.mark.parametrize("uring", [0, 1])
def test_what_is_newer_than_the_table_is_a_blind_spot(uring: int) -> None:
    decoder = Decoder(OWN)
    assert decoded(packed(WireOp.UNKNOWN, "openat", args=(555, uring)), decoder) == []
    [spot] = decoder.blind_spots()
    assert spot.kind == "unknown_calls"
    assert spot.incomplete
    assert "555" in spot.message


def test_a_directory_that_was_told_before_is_known_by_its_number() -> None:
    decoder = Decoder(OWN)
    told = dataclasses.replace(open_file(b"/w/dir/first", name=b"first"), chain=7, in_mount=10)
    decoded(packed(WireOp.OPEN, "openat", told, ret=3), decoder)
    flags = F.BASE | F.FILE | F.KNOWN | F.NAME
    brief = dataclasses.replace(told, base=b"next", name=b"dir/next", flags=flags, skip=32, room=192)
    [opened] = decoded(packed(WireOp.OPEN, "openat", brief, ret=3), decoder)
    assert isinstance(opened, RawEvent)
    assert (opened.path.base, opened.path.name, opened.spelled) == (b"/w/dir/next", None, b"dir/next")
    assert opened.path.inner == 9  # "/dir/next"
    known = Side(b"", b"new", F.BASE | F.NAME | F.KNOWN, chain=7, room=160)
    absolute = Side(b"", b"/w/old", F.NAME | F.ROOT, room=160)
    [linked] = decoded(packed(WireOp.LINK, "linkat", known, absolute), decoder)
    assert isinstance(linked, RawEvent)
    assert (linked.path.base, linked.path.name, linked.path.inner) == (b"/w/dir", b"new", 4)
    assert linked.source is not None
    assert (linked.source.base, linked.source.name) == (b"/", b"/w/old")


def test_a_directory_whose_record_was_lost_is_not_made_up() -> None:
    known = Side(b"", b"new", F.BASE | F.NAME | F.KNOWN, chain=7, room=160)
    path = event_of(WireOp.MKDIR, "mkdir", known).path
    assert (path.base, path.name, path.doubt) == (None, b"new", Doubt.UNREADABLE)
