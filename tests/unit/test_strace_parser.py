"""From strace's lines to records: the whole vocabulary, processes, threads, and what is lost."""

from __future__ import annotations

import stat

import pytest

from writeaudit.capture.interface import MountsChanged, ProcessExec, ProcessExit, ProcessStart, Record
from writeaudit.capture.strace_parser import TRACED, TraceParser
from writeaudit.capture.strace_state import NoHost
from writeaudit.events import Access, Op, Operand, RawEvent, WriteTotal

START = b'10 5.000000 execve("/bin/x", ["x", "a\\nb"], 0x7f /* 3 vars */) = 0 <0.000100>\n'


class Devices(NoHost):
    """A host on which everything below /dev is a character device."""

    def file_type(self, path: bytes) -> int | None:
        """Return the type by the place."""
        return stat.S_IFCHR if path.startswith(b"/dev/") else stat.S_IFREG


def parser(**options: object) -> TraceParser:
    """Return a parser of a command that was executed in /w."""
    made = TraceParser(10, cwd=b"/w", parent=9, **options)  # type: ignore[arg-type]
    made.feed(START)
    return made


def records(*calls: bytes, **options: object) -> list[Record]:
    """Return what the lines of process 10 (or of the thread that a line names) give."""
    made = parser(**options)
    text = b"".join(
        (line if line[:1].isdigit() else b"10 6.000001 " + line + b" <0.000010>") + b"\n" for line in calls
    )
    out = made.feed(text) + made.finish()
    assert made.lost == {}, made.samples
    return out


def events(*calls: bytes, **options: object) -> list[RawEvent]:
    """Return the events among `records`."""
    return [record for record in records(*calls, **options) if isinstance(record, RawEvent)]


def only(*calls: bytes, **options: object) -> RawEvent:
    """Return the one event that the lines give."""
    (event,) = events(*calls, **options)
    return event


def test_the_command_starts_when_it_is_executed() -> None:
    made = TraceParser(10, cwd=b"/w", parent=9, clock_offset_ns=-4_000_000_000)
    assert made.feed(START) == [
        ProcessStart(1_000_000_000, 10, 9),
        ProcessExec(1_000_100_000, 10, b"/bin/x", (b"x", b"a\nb")),
    ]
    assert made.started_ns == 1_000_000_000


def test_nothing_is_told_of_a_program_that_was_looked_for_in_vain() -> None:
    made = TraceParser(10, cwd=b"/w")
    line = b'10 4.000000 execve("/a/x", ["x"], 0x1 /* 1 var */) = -1 ENOENT (No such file or directory)\n'
    assert made.feed(line) == []
    assert made.started_ns is None
    assert [type(record) for record in made.feed(START)] == [ProcessStart, ProcessExec]


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
         b" = 3</w/d/f>"), Access.WRITE, ("creat",), None),
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


def test_a_failed_write_is_told_once() -> None:
    line = b'write(3</w/f>, "abc", 3) = -1 ENOSPC (No space left on device)'
    event = only(line, line)
    assert (event.result, event.bytes, event.file_key) == ("ENOSPC", None, None)


def test_a_private_mapping_made_writable_later() -> None:
    calls = (
        b"mmap(NULL, 8192, PROT_READ, MAP_SHARED, 4</w/f>, 0) = 0x7000",
        b"mprotect(0x8000, 4096, PROT_READ|PROT_WRITE) = 0",
    )
    assert only(*calls).op is Op.MMAP_WRITE
    replaced = b"mmap(0x7000, 8192, PROT_READ, MAP_PRIVATE|MAP_FIXED|MAP_ANONYMOUS, -1, 0) = 0x7000"
    assert not events(calls[0], replaced, calls[1])


def test_calls_broken_in_two_and_interleaved() -> None:
    out = events(
        b"10 6.000001 clone(child_stack=NULL, flags=CLONE_FS|SIGCHLD, child_tidptr=0x7f) = 11 <0.000001>",
        b'10 6.000002 mkdir("a", 0777 <unfinished ...>',
        b'11 6.000003 rename("x",  <unfinished ...>',
        b"10 6.000004 <... mkdir resumed>) = 0 <0.000002>",
        b'11 6.000005 <... rename resumed>"y") = -1 ENOENT (No such file or directory) <0.000002>',
    )  # fmt: skip
    assert [(e.pid, e.op, e.result, e.time_ns) for e in out] == [
        (10, Op.MKDIR, "ok", 6_000_004_000),
        (11, Op.RENAME, "ENOENT", 6_000_005_000),
    ]


def test_threads_belong_to_their_process_and_share_its_directory() -> None:
    flags = b"CLONE_VM|CLONE_FS|CLONE_FILES|CLONE_SIGHAND|CLONE_THREAD"
    out = records(
        b"10 6.000001 clone3({flags=" + flags + b", exit_signal=0, stack_size=0x7fff80} <unfinished ...>",
        b'11 6.000002 mkdir("before", 0700) = 0 <0.000001>',
        b"10 6.000003 <... clone3 resumed> => {parent_tid=[11]}, 88) = 11 <0.000002>",
        b'11 6.000004 chdir("/d") = 0 <0.000001>',
        b'10 6.000005 mkdir("after", 0700) = 0 <0.000001>',
        b"11 6.000006 +++ exited with 0 +++",
    )
    made = [r for r in out if isinstance(r, RawEvent)]
    assert [(e.pid, e.tid, e.path.base) for e in made] == [(10, 11, b"/w"), (10, 10, b"/d")]
    assert not [r for r in out if isinstance(r, ProcessStart | ProcessExit)]


def test_a_child_that_runs_before_vfork_returns() -> None:
    out = records(
        b"10 6.000001 vfork( <unfinished ...>",
        b'11 6.000002 chdir("sub") = 0 <0.000001>',
        b'11 6.000003 execve("./p", ["p"], 0x1 /* 1 var */ <unfinished ...>',
        b"10 6.000004 <... vfork resumed>) = 11 <0.000002>",
        b"11 6.000005 <... execve resumed>) = 0 <0.000002>",
        b"11 6.000006 +++ exited with 3 +++",
        b'10 6.000007 mkdir("n", 0700) = 0 <0.000001>',
    )
    assert out[:3] == [
        ProcessStart(6_000_002_000, 11, 10),
        ProcessExec(6_000_005_000, 11, b"/w/sub/p", (b"p",)),
        ProcessExit(6_000_006_000, 11, 3),
    ]
    assert isinstance(out[3], RawEvent)
    assert out[3].path.base == b"/w"


def test_an_exec_from_another_thread_takes_the_leaders_id() -> None:
    made = parser()
    out = made.feed(
        b"10 6.000001 clone(child_stack=0x1, flags=CLONE_VM|CLONE_FILES|CLONE_THREAD) = 11 <0.000001>\n"
        b'11 6.000002 chdir("/else") = 0 <0.000001>\n'
        b'11 6.000003 execve("/bin/sh", ["sh"], 0x1 /* 1 var */ <unfinished ...>\n'
        b"10 6.000004 +++ superseded by execve in pid 11 +++\n"
        b"10 6.000005 <... execve resumed>) = 0 <0.000002>\n"
        b'10 6.000006 mkdir("n", 0700) = 0 <0.000001>\n'
        b"10 6.000007 +++ exited with 4 +++\n"
    )
    assert made.lost == {}
    assert out[0] == ProcessExec(6_000_005_000, 10, b"/bin/sh", (b"sh",))
    assert isinstance(out[1], RawEvent)
    assert (out[1].pid, out[1].tid, out[1].path.base) == (10, 10, b"/else")
    assert out[2:] == [ProcessExit(6_000_007_000, 10, 4)]
    assert made.alive == ()


def test_an_exec_that_changes_its_id_in_the_line() -> None:
    out = records(
        b"10 6.000001 clone(child_stack=0x1, flags=CLONE_VM|CLONE_FS|CLONE_THREAD) = 11 <0.000001>",
        b'11 6.000002 execve("/bin/sh", ["sh"], 0x1 /* 1 var */ <pid changed to 10 ...>',
        b"10 6.000003 +++ superseded by execve in pid 11 +++",
        b"10 6.000004 <... execve resumed>) = 0 <0.000002>",
    )
    assert out == [ProcessExec(6_000_004_000, 10, b"/bin/sh", (b"sh",))]


def test_ends_by_signal_and_signal_lines() -> None:
    out = records(
        b"10 6.000001 --- SIGINT {si_signo=SIGINT, si_code=SI_KERNEL} ---",
        b"10 6.000002 +++ killed by SIGSEGV (core dumped) +++",
    )
    assert out == [ProcessExit(6_000_002_000, 10, 139)]


def test_child_ids_of_another_namespace_are_translated() -> None:
    out = records(b"clone(child_stack=NULL, flags=SIGCHLD) = 2 /* 77 in strace's PID NS */")
    assert out == [ProcessStart(6_000_011_000, 77, 10)]


def test_in_a_chroot_the_base_is_the_path_outside() -> None:
    out = events(
        b'chroot("jail") = 0', b'chdir("/") = 0', b'mkdir("/a", 0700) = 0', b'mkdir("b", 0700) = 0',
        b'openat(AT_FDCWD</w/jail>, "/f", O_RDONLY) = 3</w/jail/f>',
    )  # fmt: skip
    assert [e.path[:2] for e in out[1:]] == [
        (b"/w/jail", b"/a"), (b"/w/jail", b"b"), (b"/w/jail/f", None),
    ]  # fmt: skip


def test_a_new_mount_namespace_is_told() -> None:
    class Elsewhere(NoHost):
        def mount_ns(self, tid: int) -> int | None:
            return 4026532000 + tid

    out = records(b"unshare(CLONE_NEWNS) = 0", b'mkdir("n", 0700) = 0', host=Elsewhere(), own_mount_ns=1)
    assert out[0] == MountsChanged(6_000_011_000, 10)
    assert isinstance(out[1], RawEvent)
    assert out[1].path.mount_ns == 4026532010


def test_a_removed_working_directory() -> None:
    event = only(b'openat(AT_FDCWD</w/gone (deleted)>, "f", O_RDWR) = -1 ENOENT (No such file or directory)')
    assert event.path == Operand(b"/w/gone", b"f", deleted=True)


def test_a_file_whose_name_looks_deleted() -> None:
    line = b'openat(AT_FDCWD</w>, "x (deleted)", O_RDONLY) = 3</w/x (deleted)>'
    assert only(line).path == Operand(b"/w/x (deleted)", None)
    assert only(line, deleted_inside=True).path == Operand(b"/w/x", None, deleted=True)


def test_an_injected_line_stays_a_name() -> None:
    event = only(rb'openat(AT_FDCWD</w>, "a\n10 6.000002 mkdir(\"b\", 0) = 0", O_RDONLY) = -1 ENOENT (No)')
    assert event.path.name == b'a\n10 6.000002 mkdir("b", 0) = 0'


def test_cut_and_unreadable_names() -> None:
    made = parser()
    (event,) = made.feed(b'10 6.000001 mkdir("aaa"..., 0700) = 0\n')
    assert isinstance(event, RawEvent)
    assert event.path.truncated
    assert made.truncated == 1
    assert not events(b"mkdir(0x1, 0700) = -1 EFAULT (Bad address)")


def test_a_name_that_was_too_long_for_the_kernel_too_lacks_nothing() -> None:
    made = parser()
    (event,) = made.feed(b'10 6.000001 mkdir("aaa"..., 0700) = -1 ENAMETOOLONG (File name too long)\n')
    assert isinstance(event, RawEvent)
    assert not event.path.truncated
    assert made.truncated == 0


def test_files_whose_path_is_longer_than_the_kernel_tells() -> None:
    opened, wrote, changed, made_below = events(
        b'openat(AT_FDCWD, "deep", O_WRONLY|O_CREAT, 0600) = 3',
        b'write(3, "x", 1) = 1',
        b"fchmod(3, 0600) = 0",
        b'mkdirat(3, "x", 0700) = -1 ENOTDIR (Not a directory)',
    )
    assert opened.path == Operand(b"/w", b"deep")
    assert wrote.path == changed.path == Operand(b"/w/deep", None)
    assert made_below.path == Operand(b"/w/deep", b"x")


def test_descriptors_that_nobody_can_name_are_counted() -> None:
    made = parser()
    made.feed(
        b'10 6.000001 write(3, "x", 1) = 1 <0.000001>\n'
        b"10 6.000002 fchmod(3, 0600) = 0 <0.000001>\n"
        b"10 6.000003 copy_file_range(4</w/f>, NULL, 3, NULL, 9, 0) = 9 <0.000001>\n"
        b'10 6.000004 write(3, "x", 1) = -1 EBADF (Bad file descriptor) <0.000001>\n'
        b"10 6.000005 fchmod(3, 0600) = -1 EBADF (Bad file descriptor) <0.000001>\n"
    )
    assert made.lost == {"undecoded": 3}


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


def test_a_renamed_directory_is_the_working_directory_still() -> None:
    *_, moved, swapped = events(
        b'chdir("a/b") = 0',
        b'rename("../../a", "../../c") = 0',
        b'mkdir("x", 0700) = 0',
        b'renameat2(AT_FDCWD</w/c/b>, "/w/e", AT_FDCWD</w/c/b>, "/w/c", RENAME_EXCHANGE) = 0',
        b'mkdir("y", 0700) = 0',
    )[1:]
    del moved
    assert swapped.path == Operand(b"/w/e/b", b"y")


class Memory(NoHost):
    """A host that can still read what lies at an address, and find a file by its handle."""

    def text_at(self, tid: int, address: int) -> bytes | None:
        """Return a text for each address that is a round number."""
        return {0x1000: b"f", 0x2000: b"", 0x3000: b"user.a", 0x4000: b"/abs"}.get(address)

    def open_file(self, pid: int, fd: int) -> bytes | None:
        """Return one open directory."""
        return b"/w/d" if fd == 3 else None

    def by_handle(self, near: bytes, kind: int, handle: bytes) -> bytes | None:
        """Return the file of one handle."""
        return b"/w/h" if (near, kind, handle) == (b"/w", 0x81, b"\x01\xff") else None


@pytest.mark.parametrize(
    ("line", "op", "path", "details"),
    [
        (b"syscall_0x1c4(0xffffff9c, 0x1000, 0x1a0, 0, 0, 0) = 0", Op.CHMOD, Operand(b"/w", b"f"),
         {"mode": 0o640, "follow": True}),
        (b"syscall_0x1c4(0xffffffffffffff9c, 0x1000, 0x1a0, 0x100, 0, 0) = -1 EOPNOTSUPP (No)", Op.CHMOD,
         Operand(b"/w", b"f"), {"follow": False, "result": "EOPNOTSUPP"}),
        (b"syscall_0x1c4(0x3, 0x1000, 0x1a0, 0, 0, 0) = 0", Op.CHMOD, Operand(b"/w/d", b"f"), {}),
        (b"syscall_0x1c4(0x3, 0x4000, 0x1a0, 0, 0, 0) = 0", Op.CHMOD, Operand(b"/", b"/abs"), {}),
        (b"syscall_0x1c4(0x3, 0x2000, 0x1a0, 0x1000, 0, 0) = 0", Op.CHMOD, Operand(b"/w/d", None), {}),
        (b"syscall_0x400001c4(0x3, 0x1000, 0x1a0, 0, 0, 0) = 0", Op.CHMOD, Operand(b"/w/d", b"f"), {}),
        (b"syscall_0x1cf(0xffffff9c, 0x1000, 0, 0x3000, 0x9, 0x10) = 0", Op.SETXATTR, Operand(b"/w", b"f"),
         {"xattr": b"user.a"}),
        (b"syscall_0x1d2(0xffffff9c, 0x1000, 0x100, 0x3000, 0, 0) = 0", Op.REMOVEXATTR,
         Operand(b"/w", b"f"), {"xattr": b"user.a", "follow": False}),
        (b"syscall_0x1d5(0xffffff9c, 0x1000, 0x9, 0x18, 0, 0) = 0", Op.SETFLAGS, Operand(b"/w", b"f"), {}),
    ],
)  # fmt: skip
def test_calls_younger_than_strace(line: bytes, op: Op, path: Operand, details: dict[str, object]) -> None:
    made = parser(host=Memory())
    (event,) = made.feed(b"10 6.000001 " + line + b" <0.000001>\n")
    assert isinstance(event, RawEvent)
    assert (event.op, event.path) == (op, path._replace(truncated=True))
    for name, value in details.items():
        assert getattr(event, name) == value
    assert [(spot.kind, spot.incomplete) for spot in made.blind_spots] == [("unknown_calls", True)]


@pytest.mark.parametrize(
    ("line", "blind"),
    [
        (b"syscall_0x1c4(0xffffff9c, 0x9, 0x1a0, 0, 0, 0) = 0", True),  # the name is gone
        (b"syscall_0x1c4(0xffffff9c, 0x1000, 0x1a0, 0, 0, 0) = -1 ENOSYS (Not implemented)", False),
        (b"syscall_0x1c3(0x3, 0, 0, 0, 0, 0) = 0", False),  # cachestat(2) changes nothing
        (b"syscall_0x1b5(0xffffff9c, 0x1000, 0x2000, 0x18, 0, 0) = 3", True),  # openat2(2)
        (b"syscall_0x3e7(0, 0, 0, 0, 0, 0) = 0", True),
        (b"syscall_0x3e7(0, 0, 0, 0, 0, 0) = -1 ENOSYS (Not implemented)", False),
    ],
)
def test_calls_that_nothing_is_known_of(line: bytes, blind: bool) -> None:
    made = parser(host=Memory())
    assert made.feed(b"10 6.000001 " + line + b" <0.000001>\n") == []
    assert [spot.kind for spot in made.blind_spots] == ["unknown_calls"] * blind
    assert made.lost == {}


_BY_HANDLE = rb'open_by_handle_at(5</w>, {handle_bytes=2, handle_type=%s, f_handle="\x01\xff"}, O_RDWR) = 7'


def test_a_handle_is_looked_up() -> None:
    event = only(_BY_HANDLE % b"0x81", host=Memory())
    assert (event.op, event.path, event.access) == (Op.OPEN, Operand(b"/w/h", None), Access.READ_WRITE)


def test_a_handle_that_leads_nowhere_is_a_blind_spot() -> None:
    made = parser(host=Memory())
    assert made.feed(b"10 6.000001 " + _BY_HANDLE % b"0x82" + b" <0.000001>\n") == []
    assert [(spot.kind, spot.incomplete) for spot in made.blind_spots] == [("open_by_handle", True)]


class Namespaces(NoHost):
    """A host on which thread 10 is where it says."""

    def __init__(self, now: int | None) -> None:
        self._now = now

    def mount_ns(self, tid: int) -> int | None:
        """Return the namespace."""
        return self._now


@pytest.mark.parametrize(
    ("line", "now", "blind"),
    [
        (b"unshare(CLONE_NEWNS) = 0", 2, True),
        (b"unshare(CLONE_NEWNS|CLONE_NEWUSER) = 0", None, True),
        (b"unshare(CLONE_NEWNS) = 0", 1, True),  # it was elsewhere meanwhile
        (b"unshare(CLONE_NEWNS) = -1 EPERM (Operation not permitted)", 1, False),
        (b"unshare(CLONE_NEWPID) = 0", 1, False),
        (b"setns(3</proc/7/ns/mnt>, CLONE_NEWNS) = 0", 2, True),
        (b"setns(3</proc/7/ns/mnt>, 0) = 0", 2, True),
        (b"setns(3</proc/7/ns/mnt>, CLONE_NEWNS) = 0", 1, False),  # back in ours
        (b"setns(3</proc/7/ns/mnt>, 0) = 0", None, True),
        (b"setns(3<net:[4026531840]>, 0) = 0", None, False),
        (b"clone(child_stack=NULL, flags=CLONE_NEWNS|SIGCHLD) = 11", 2, True),
    ],
)
def test_another_mount_namespace_is_a_blind_spot(line: bytes, now: int | None, blind: bool) -> None:
    made = parser(host=Namespaces(now), own_mount_ns=1)
    made.feed(b"10 6.000001 " + line + b" <0.000001>\n")
    assert [spot.kind for spot in made.blind_spots] == ["namespace"] * blind
    assert all(spot.incomplete for spot in made.blind_spots)


def test_a_tracer_that_dies_first_is_a_blind_spot() -> None:
    made = parser()
    made.finish(ended=True)
    assert [(spot.kind, spot.incomplete) for spot in made.blind_spots] == [("tracer", True)]
    whole = parser()
    whole.feed(b"10 6.000001 +++ exited with 0 +++\n")
    whole.finish(ended=True)
    assert whole.blind_spots == ()


def test_the_command_that_strace_came_with_is_left_out() -> None:
    made = TraceParser(10, cwd=b"/w")
    got = made.feed(
        b'77 4.000000 execve("/usr/bin/strace", ["strace", "-V"], 0x7f /* 2 vars */) = 0 <0.000100>\n'
        + START
        + b'77 6.000000 openat(AT_FDCWD</>, "x", O_WRONLY|O_CREAT, 0600) = 3</x> <0.000001>\n'
        b"77 6.000001 +++ exited with 0 +++\n"
    )
    assert [type(record) for record in got] == [ProcessStart, ProcessExec]
    assert made.alive == (10,)


def test_asynchronous_writes() -> None:
    event = only(
        b"io_submit(0x7f, 2, [{aio_data=0, aio_lio_opcode=IOCB_CMD_PWRITE, aio_fildes=3</w/f>, "
        b'aio_buf="x", aio_nbytes=12, aio_offset=0}, {aio_data=0, aio_lio_opcode=IOCB_CMD_PREAD, '
        b"aio_fildes=3</w/f>, aio_buf=0x7f, aio_nbytes=9, aio_offset=0}]) = 2"
    )
    assert (event.op, event.path.base, event.bytes, event.calls) == (Op.WRITE, b"/w/f", 12, 1)
    assert event.flags == ("aio",)


def test_a_mapping_that_is_moved_before_it_becomes_writable() -> None:
    event = only(
        b"mmap(NULL, 4096, PROT_READ, MAP_SHARED, 4</w/f>, 0) = 0x1000",
        b"mremap(0x1000, 4096, 8192, MREMAP_MAYMOVE) = 0x9000",
        b"mprotect(0x1000, 4096, PROT_READ|PROT_WRITE) = 0",
        b"mprotect(0xa000, 4096, PROT_READ|PROT_WRITE) = 0",
    )
    assert (event.op, event.path) == (Op.MMAP_WRITE, Operand(b"/w/f", None))


@pytest.mark.parametrize("keeps", [False, True])
def test_programs_that_lose_their_privileges_are_named(keeps: bool) -> None:
    class Setuid(NoHost):
        """Every program is set-user-ID."""

        def gains_privileges(self, path: bytes, tid: int) -> bool:
            """Return True."""
            return True

    made = TraceParser(10, cwd=b"/w", host=Setuid(), keeps_privileges=keeps)
    made.feed(START)
    assert [(spot.kind, spot.incomplete) for spot in made.blind_spots] == [("setuid", False)] * (not keeps)


def test_io_uring_is_a_blind_spot() -> None:
    made = parser()
    made.feed(b"10 6.000001 io_uring_setup(4, {flags=0}) = 4<anon_inode:[io_uring]> <0.000001>\n")
    assert [(spot.kind, spot.incomplete) for spot in made.blind_spots] == [("io_uring", True)]


def test_nothing_unreadable_is_dropped_in_silence() -> None:
    made = parser()
    made.feed(b'garbage\n10 6.000001 mkdir("a\n10 6.000002 <... link resumed>) = 0\n')
    assert made.lost == {"unparsed": 3}
    assert made.samples[0] == b"garbage"


def test_calls_whose_result_nobody_saw() -> None:
    made = parser()
    made.feed(
        b'10 6.000001 mkdir("a", 0700 <unfinished ...>) = ?\n'
        b'10 6.000002 openat(AT_FDCWD</w>, "r", O_RDONLY <unfinished ...>) = ?\n'
        b'10 6.000003 write(3<pipe:[1]>, "x", 1 <unfinished ...>\n'
        b"10 6.000004 +++ killed by SIGKILL +++\n"
    )
    made.finish()
    assert made.lost == {"unknown_result": 1}


def test_a_call_that_a_signal_broke_off() -> None:
    event = only(b'open("p", O_WRONLY) = ? ERESTARTSYS (To be restarted if SA_RESTART is set)')
    assert event.result == "EINTR"


def test_lines_may_come_in_pieces() -> None:
    whole = parser()
    text = b'10 6.000001 mkdir("a", 0700) = 0\n10 6.000002 rmdir("a") = 0\n'
    expected = whole.feed(text)
    pieces = parser()
    got: list[Record] = []
    for index in range(len(text)):
        got += pieces.feed(text[index : index + 1])
    assert got == expected
    assert len(got) == 2


def test_cut_arguments_are_asked_of_the_process() -> None:
    class Knows(NoHost):
        def cmdline(self, pid: int) -> tuple[bytes, ...] | None:
            return (b"x", b"long" * 9)

    line = b'execve("/x", ["x", "long"...], 0x1 /* 1 var */) = 0'
    assert records(line, host=Knows()) == [ProcessExec(6_000_011_000, 10, b"/x", (b"x", b"long" * 9))]
    assert records(line) == [ProcessExec(6_000_011_000, 10, b"/x", (b"x", b"long"))]


def test_every_traced_call_has_a_plain_name() -> None:
    assert all(name.replace("_", "").isalnum() for name in TRACED)
    assert {"openat", "write", "clone3", "io_uring_setup", "renameat2", "ioctl"} <= set(TRACED)
