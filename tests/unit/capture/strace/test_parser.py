"""From strace's lines to records: operations and their operands."""

from __future__ import annotations

import stat

import pytest

from tests.support.doubts import uncertain
from tests.support.strace_lines import events, only, parser, records
from writeaudit.capture.interface import Record
from writeaudit.capture.strace.parser import TRACED
from writeaudit.capture.strace.state import NoHost
from writeaudit.events import Access, Doubt, Op, Operand, RawEvent, WriteTotal


class Devices(NoHost):
    """A host on which everything below /dev is a character device."""

    def file_type(self, path: bytes) -> int | None:
        """Return the type by the place."""
        return stat.S_IFCHR if path.startswith(b"/dev/") else stat.S_IFREG


def test_an_open_that_succeeds_is_the_file_itself() -> None:
    event = only(rb'openat(AT_FDCWD</w>, "l/f", O_RDWR|O_CREAT|O_EXCL|O_CLOEXEC, 0644) = 3</w/real/f>')
    assert event.path == Operand(b"/w/real/f", None)
    assert event.spelled == b"l/f"
    assert event.access is Access.READ_WRITE
    assert event.flags == ("creat", "excl")
    assert event.created is True
    assert not event.follow
    assert event.mode == 0o644
    assert event.time_ns == 6_000_011_000


@pytest.mark.parametrize(
    ("line", "access", "flags", "created"),
    [
        (b'open("f", O_RDONLY) = 3</w/f>', Access.READ, (), False),
        (b'open("f", O_WRONLY|O_CREAT|O_TRUNC|O_APPEND, 0600) = 3</w/f>', Access.WRITE,
         ("creat", "trunc", "append"), None),
        (b'creat("f", 0600) = 3</w/f>', Access.WRITE, ("creat", "trunc"), None),
        (b'openat(AT_FDCWD</w>, ".", O_RDWR|O_TMPFILE, 0600) = 3</w/#17>(deleted)', Access.READ_WRITE,
         ("tmpfile",), True),
        (b'open("d", O_RDONLY|O_PATH|O_DIRECTORY) = 3</w/d>', Access.PATH, ("directory",), False),
        ((b'openat2(4</w/d>, "f", {flags=O_WRONLY|O_CREAT, mode=0600, resolve=RESOLVE_NO_XDEV}, 24)'
         b" = 3</w/d/f>"), Access.WRITE, ("creat", "no_xdev"), None),
        (b'openat(AT_FDCWD</w>, "f", O_RDWR|O_CREAT, 0600) = -1 EROFS (Read-only file system)',
         Access.READ_WRITE, ("creat",), False),
    ],
)  # fmt: skip
def test_opens(line: bytes, access: Access, flags: tuple[str, ...], created: bool | None) -> None:
    event = only(line)
    assert (event.op, event.access, event.flags, event.created) == (Op.OPEN, access, flags, created)


def test_a_failed_open_keeps_directory_and_name() -> None:
    event = only(b'openat(7</w/d>, "f", O_RDWR) = -1 EACCES (Permission denied)')
    assert (event.result, event.path, event.spelled) == ("EACCES", Operand(b"/w/d", b"f"), None)


NAMED = Operand(b"/w", b"n")
FILE = Operand(b"/w/f", None)


@pytest.mark.parametrize(
    ("line", "op", "path", "details"),
    [
        (b'mkdir("n", 0755) = 0', Op.MKDIR, NAMED, {"mode": 0o755, "follow": False}),
        (b'mkdirat(AT_FDCWD</w>, "n", 000) = -1 EEXIST (File exists)', Op.MKDIR, NAMED,
         {"result": "EEXIST", "mode": 0}),
        (b'mknodat(AT_FDCWD</w>, "n", S_IFIFO|S_ISUID|0600) = 0', Op.MKNOD,
         NAMED._replace(fmt=stat.S_IFIFO), {"mode": stat.S_IFIFO | 0o4600}),
        (b'bind(3<socket:[5]>, {sa_family=AF_UNIX, sun_path="n"}, 110) = 0', Op.BIND, NAMED, {}),
        (b'symlinkat("/t", AT_FDCWD</w>, "n") = 0', Op.SYMLINK, NAMED, {"target_text": b"/t"}),
        (b'link("o", "n") = -1 EXDEV (Invalid cross-device link)', Op.LINK, NAMED,
         {"source": Operand(b"/w", b"o"), "result": "EXDEV"}),
        (b'linkat(4</w/f>, "", AT_FDCWD</w>, "n", AT_EMPTY_PATH) = 0', Op.LINK, NAMED, {"source": FILE}),
        (b'rename("o", "n") = 0', Op.RENAME, NAMED, {"source": Operand(b"/w", b"o")}),
        (b'renameat2(AT_FDCWD</w>, "o", AT_FDCWD</w>, "n", RENAME_NOREPLACE|RENAME_WHITEOUT) = 0',
         Op.RENAME, NAMED, {"flags": ("noreplace", "whiteout")}),
        (b'renameat2(AT_FDCWD</w>, "o", AT_FDCWD</w>, "n", RENAME_EXCHANGE) = 0', Op.EXCHANGE, NAMED, {}),
        (b'unlink("n") = 0', Op.UNLINK, NAMED, {"follow": False}),
        (b'unlinkat(AT_FDCWD</w>, "n", AT_REMOVEDIR) = 0', Op.RMDIR, NAMED, {}),
        (b'truncate("n", 3) = 0', Op.TRUNCATE, NAMED, {"follow": True}),
        (b"ftruncate(4</w/f>, 3) = 0", Op.TRUNCATE, FILE, {}),
        (b"fallocate(4</w/f>, FALLOC_FL_KEEP_SIZE|FALLOC_FL_PUNCH_HOLE, 0, 3) = 0", Op.FALLOCATE, FILE,
         {"flags": ("keep_size", "punch_hole")}),
        (b'chmod("n", 0600) = 0', Op.CHMOD, NAMED, {"mode": 0o600}),
        (b'fchmodat2(AT_FDCWD</w>, "n", 0600, AT_SYMLINK_NOFOLLOW) = 0', Op.CHMOD, NAMED, {"follow": False}),
        (b"fchmod(4</w/f>, 0600) = 0", Op.CHMOD, FILE, {"mode": 0o600}),
        (b'lchown("n", 1, 1) = 0', Op.CHOWN, NAMED, {"follow": False}),
        (b'fchownat(4</w/f>, "", 1, 1, AT_EMPTY_PATH) = 0', Op.CHOWN, FILE, {}),
        (b"utimensat(4</w/f>, NULL, [{tv_sec=1, tv_nsec=2} /* x */, UTIME_OMIT], 0) = 0", Op.UTIME, FILE, {}),
        (b'utimensat(AT_FDCWD</w>, "n", NULL, AT_SYMLINK_NOFOLLOW) = 0', Op.UTIME, NAMED, {"follow": False}),
        (b'lsetxattr("n", "user.a", "v", 1, 0) = 0', Op.SETXATTR, NAMED,
         {"xattr": b"user.a", "follow": False}),
        (b'fremovexattr(4</w/f>, "user.a") = 0', Op.REMOVEXATTR, FILE, {"xattr": b"user.a"}),
        (b"ioctl(4</w/f>, FS_IOC_SETFLAGS, [FS_IMMUTABLE_FL]) = 0", Op.SETFLAGS, FILE, {}),
        (b"mmap(NULL, 9, PROT_READ|PROT_WRITE, MAP_SHARED, 4</w/f>, 0) = 0x7000", Op.MMAP_WRITE, FILE, {}),
        (b"copy_file_range(5</w/s>, NULL, 4</w/f>, NULL, 9, 0) = 9", Op.COPY, FILE,
         {"source": Operand(b"/w/s", None), "bytes": 9}),
        (b"sendfile(4</w/f>, 5</w/s>, [0] => [3], 3) = 3", Op.COPY, FILE, {"source": Operand(b"/w/s", None)}),
        (b"splice(6<pipe:[1]>, NULL, 4</w/f>, NULL, 5, 0) = 5", Op.COPY, FILE, {"source": None}),
        ((b"ioctl(4</w/f>, BTRFS_IOC_CLONE_RANGE or FICLONERANGE, {src_fd=5</w/s>, src_offset=0, "
         b"src_length=3, dest_offset=0}) = 0"), Op.CLONE, FILE, {"source": Operand(b"/w/s", None)}),
        ((b"ioctl(5</w/s>, BTRFS_IOC_FILE_EXTENT_SAME or FIDEDUPERANGE, {src_offset=0, src_length=3, "
         b"dest_count=1, info=[{dest_fd=4</w/f>, dest_offset=0}]} => {info=[{bytes_deduped=3, "
         b"status=0}]}) = 0"),
         Op.CLONE, FILE, {"source": Operand(b"/w/s", None), "flags": ("dedupe",), "bytes": 3}),
        (b'mount("/o", "n", NULL, MS_BIND|MS_REC, NULL) = 0', Op.MOUNT, NAMED,
         {"source": Operand(b"/", b"/o"), "flags": ("bind", "rec")}),
        (b'umount2("n", MNT_DETACH) = -1 EPERM (Operation not permitted)', Op.UMOUNT, NAMED,
         {"result": "EPERM"}),
        (b'pivot_root("n", "o") = -1 EPERM (Operation not permitted)', Op.PIVOT_ROOT, NAMED, {}),
    ],
)  # fmt: skip
def test_the_vocabulary(line: bytes, op: Op, path: Operand, details: dict[str, object]) -> None:
    event = only(line)
    assert (event.op, event.path) == (op, path)
    for name, value in details.items():
        assert getattr(event, name) == value


def test_a_clone_finds_its_undecoded_source_among_the_open_files() -> None:
    event = events(
        b'openat(AT_FDCWD</w>, "s", O_RDONLY) = 5</w/s>',
        b"ioctl(4</w/f>, BTRFS_IOC_CLONE or FICLONE, 5) = -1 EXDEV (Invalid cross-device link)",
    )[1]
    assert (event.op, event.result, event.source) == (Op.CLONE, "EXDEV", Operand(b"/w/s", None))


def test_a_link_through_proc_is_of_the_open_file() -> None:
    event = events(
        b'openat(AT_FDCWD</w>, ".", O_RDWR|O_TMPFILE, 0600) = 5</w/#17>(deleted)',
        b'linkat(AT_FDCWD</w>, "/proc/self/fd/5", AT_FDCWD</w>, "n", AT_SYMLINK_FOLLOW) = 0',
    )[1]
    assert event.source == Operand(b"/w/#17", None, deleted=True)


def test_writes_are_added_up_for_each_open_file() -> None:
    out = records(
        b'openat(AT_FDCWD</w>, "f", O_RDWR|O_CREAT, 0600) = 3</w/f>',
        b'write(3</w/f>, "abc", 3) = 3',
        b'pwrite64(3</w/f>, ") = 99 <0.000001>", 18, 0) = 2',
        b'writev(3</w/f>, [{iov_base="a", iov_len=1}, {iov_base="b", iov_len=1}], 2) = 2',
        b'write(3</w/f>, "", 0) = 0',
        b'openat(AT_FDCWD</w>, "f", O_RDWR) = 3</w/f>',
        b'write(3</w/f>, "abc", 3) = 1',
    )
    writes = [record for record in out if isinstance(record, RawEvent) and record.op is Op.WRITE]
    assert [(w.bytes, w.calls, w.file_key) for w in writes] == [(3, 1, 1), (1, 1, 2)]
    assert [r for r in out if isinstance(r, WriteTotal)] == [WriteTotal(1, 7, 3), WriteTotal(2, 1, 1)]


def test_writes_that_change_no_file_are_none() -> None:
    assert not events(
        b'write(1<pipe:[7]>, "x", 1) = 1',
        b'write(2<socket:[7]>, "x", 1) = -1 EPIPE (Broken pipe)',
        b'write(9, "x", 1) = -1 EBADF (Bad file descriptor)',
        b'write(4</dev/null>, "x", 1) = 1',
        b'write(5</memfd:x>(deleted), "x", 1) = 1',
        host=Devices(),
    )


def test_each_failed_write_is_told() -> None:
    line = b'write(3</w/f>, "abc", 3) = -1 ENOSPC (No space left on device)'
    found = events(line, line)
    assert [(e.result, e.bytes, e.calls, e.file_key) for e in found] == [("ENOSPC", 0, 1, None)] * 2


@pytest.mark.parametrize(
    ("line", "size", "outcome"),
    [
        (b"copy_file_range(5</w/s>, NULL, 4</w/f>, NULL, 9, 0) = 9", 9, "ok"),
        (b"copy_file_range(5</w/s>, [0] => [9], 4</w/f>, NULL, 9, 0) = 9", 9, "ok"),
        (b"sendfile(4</w/f>, 5</w/s>, NULL, 9) = -1 EBADF (Bad file descriptor)", 0, "EBADF"),
    ],
)
def test_each_copy_is_one_call(line: bytes, size: int, outcome: str) -> None:
    event = only(line)
    assert (event.bytes, event.calls, event.result) == (size, 1, outcome)


def test_a_removed_working_directory() -> None:
    refused = b'openat(AT_FDCWD</w/gone (deleted)>, "f", O_RDWR) = -1 ENOENT (No such file or directory)'
    entered = b'chdir("gone") = 0'
    for call in (
        b'rmdir("/w/gone") = 0',
        b'rmdir("../gone") = 0',
        b'unlinkat(3</w>, "gone", AT_REMOVEDIR) = 0',
    ):
        assert events(entered, call, refused)[-1].path == Operand(b"/w/gone", b"f", deleted=True)
    # Nobody removed it: it may be its name.
    assert events(entered, refused)[-1].path == Operand(
        b"/w/gone", b"f", deleted=True, doubt=Doubt.UNCERTAIN_BASE
    )
    assert uncertain(only(refused).path)


def test_a_file_whose_name_looks_deleted() -> None:
    line = b'openat(AT_FDCWD</w>, "x (deleted)", O_RDONLY) = 3</w/x (deleted)>'
    assert only(line).path == Operand(b"/w/x (deleted)", None)
    assert only(line, deleted_inside=True).path == Operand(b"/w/x", None, deleted=True)


def test_an_injected_line_stays_a_name() -> None:
    event = only(rb'openat(AT_FDCWD</w>, "a\n10 6.000002 mkdir(\"b\", 0) = 0", O_RDONLY) = -1 ENOENT (No)')
    assert event.path.name == b'a\n10 6.000002 mkdir("b", 0) = 0'


def test_files_whose_path_is_longer_than_the_kernel_tells() -> None:
    opened, wrote, changed, made_below = events(
        b'openat(AT_FDCWD, "deep", O_WRONLY|O_CREAT, 0600) = 3',
        b'write(3, "x", 1) = 1',
        b"fchmod(3, 0600) = 0",
        b'mkdirat(3, "x", 0700) = -1 ENOTDIR (Not a directory)',
    )
    assert opened.path == Operand(b"/w", b"deep")
    assert wrote.path == Operand(b"/w/deep", None)
    # So the process called it, by a symlink perhaps.
    assert changed.path == Operand(b"/w/deep", None, doubt=Doubt.UNCERTAIN_BASE)
    assert made_below.path == Operand(b"/w/deep", b"x", doubt=Doubt.UNCERTAIN_BASE)


@pytest.mark.parametrize(
    ("name", "path"),
    [
        (b"/proc/self/fd/3/in", Operand(b"/w/d", b"in")),
        (b"/proc/10/fd/3/in/../x", Operand(b"/w/d", b"in/../x")),
        (b"/dev/fd/3/in", Operand(b"/w/d", b"in")),
        (b"/proc/self/cwd/in", Operand(b"/w", b"in")),
        (b"/proc/thread-self/root/in", Operand(b"/", b"in")),
        (b"/proc/self/fd/9/in", Operand(b"/", b"/proc/self/fd/9/in")),
        (b"/proc/1/cwd/in", Operand(b"/", b"/proc/1/cwd/in")),
        (b"/dev/shm/in", Operand(b"/", b"/dev/shm/in")),
    ],
)
def test_names_that_lead_through_the_links_of_proc(name: bytes, path: Operand) -> None:
    *_, event = events(
        b'openat(AT_FDCWD</w>, "d", O_RDONLY|O_DIRECTORY) = 3</w/d>', b'unlink("' + name + b'") = 0'
    )
    assert event.path == path


def test_standard_streams_by_their_names() -> None:
    *_, event = events(
        b'openat(AT_FDCWD</w>, "log", O_WRONLY) = 1</w/log>', b'chmod("/dev/stdout", 0600) = 0'
    )
    assert event.path == Operand(b"/w/log", None)


def test_asynchronous_writes() -> None:
    event = only(
        b"io_submit(0x7f, 2, [{aio_data=0, aio_lio_opcode=IOCB_CMD_PWRITE, aio_fildes=3</w/f>, "
        b'aio_buf="x", aio_nbytes=12, aio_offset=0}, {aio_data=0, aio_lio_opcode=IOCB_CMD_PREAD, '
        b"aio_fildes=3</w/f>, aio_buf=0x7f, aio_nbytes=9, aio_offset=0}]) = 2"
    )
    assert (event.op, event.path.base, event.bytes, event.calls) == (Op.WRITE, b"/w/f", 12, 1)
    assert event.flags == ("aio",)


def test_a_call_that_a_signal_broke_off() -> None:
    event = only(b'open("p", O_WRONLY) = ? ERESTARTSYS (To be restarted if SA_RESTART is set)')
    assert event.result == "EINTR"


def test_lines_may_come_in_pieces() -> None:
    whole = parser()
    text = b'10 6.000001 mkdir("a", 0700) = 0\n10 6.000002 rmdir("a") = 0\n'
    expected = whole.feed_bytes(text)
    pieces = parser()
    got: list[Record] = []
    for index in range(len(text)):
        got += pieces.feed_bytes(text[index : index + 1])
    assert got == expected
    assert len(got) == 2


def test_every_traced_call_has_a_plain_name() -> None:
    assert all(name.replace("_", "").isalnum() for name in TRACED)
    assert {"openat", "write", "clone3", "io_uring_setup", "renameat2", "ioctl"} <= set(TRACED)


class _Later(NoHost):
    """A host where a FIFO has come to stand under the name of a file that is open."""

    def __init__(self, opened: int | None) -> None:
        self.opened = opened

    def file_type(self, path: bytes) -> int | None:
        return stat.S_IFIFO

    def open_type(self, pid: int, fd: int, path: bytes) -> int | None:
        return self.opened


@pytest.mark.parametrize(("opened", "events"), [(stat.S_IFIFO, 0), (stat.S_IFREG, 1), (None, 1)])
def test_write_is_not_lost_to_what_took_the_name_of_its_file(opened: int | None, events: int) -> None:
    read = parser(host=_Later(opened))
    found = read.feed_bytes(b'10 5.000000 write(3</w/f>, "x"..., 1) = 1 <0.000010>\n')
    assert len([event for event in found if isinstance(event, RawEvent)]) == events
