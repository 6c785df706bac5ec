"""From strace's lines to records: processes, threads, and what they stand in."""

from __future__ import annotations

from tests.support.strace_lines import START, events, parser, records
from writeaudit.capture.interface import MountsChanged, ProcessExec, ProcessExit, ProcessStart
from writeaudit.capture.strace.parser import TraceParser
from writeaudit.capture.strace.state import NoHost
from writeaudit.events import Doubt, Op, Operand, RawEvent


def test_the_command_starts_when_it_is_executed() -> None:
    made = TraceParser(10, cwd=b"/w", parent=9, clock_offset_ns=-4_000_000_000)
    assert made.feed_bytes(START) == [
        ProcessStart(1_000_000_000, 10, 9),
        ProcessExec(1_000_100_000, 10, b"/bin/x", (b"x", b"a\nb")),
    ]
    assert made.started_ns == 1_000_000_000


def test_nothing_is_told_of_a_program_that_was_looked_for_in_vain() -> None:
    made = TraceParser(10, cwd=b"/w")
    line = b'10 4.000000 execve("/a/x", ["x"], 0x1 /* 1 var */) = -1 ENOENT (No such file or directory)\n'
    assert made.feed_bytes(line) == []
    assert made.started_ns is None
    assert [type(record) for record in made.feed_bytes(START)] == [ProcessStart, ProcessExec]


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
    named = [(e.pid, e.tid, e.path.base, e.path.name) for e in made]
    assert named == [(10, 11, b"/w", b"before"), (10, 10, b"/", b"/d/after")]
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
    out = made.feed_bytes(
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
    assert (out[1].pid, out[1].tid, out[1].path) == (10, 10, Operand(b"/", b"/else/n"))
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


def test_a_renamed_directory_is_the_working_directory_still() -> None:
    *_, moved, swapped = events(
        b'chdir("a/b") = 0',
        b'rename("../../a", "../../c") = 0',
        b'mkdir("x", 0700) = 0',
        b'renameat2(AT_FDCWD</w/c/b>, "/w/e", AT_FDCWD</w/c/b>, "/w/c", RENAME_EXCHANGE) = 0',
        b'mkdir("y", 0700) = 0',
    )[1:]
    del moved
    assert swapped.path == Operand(b"/w/e/b", b"y", doubt=Doubt.UNCERTAIN_BASE)


def test_the_command_that_strace_came_with_is_left_out() -> None:
    made = TraceParser(10, cwd=b"/w")
    got = made.feed_bytes(
        b'77 4.000000 execve("/usr/bin/strace", ["strace", "-V"], 0x7f /* 2 vars */) = 0 <0.000100>\n'
        + START
        + b'77 6.000000 openat(AT_FDCWD</>, "x", O_WRONLY|O_CREAT, 0600) = 3</x> <0.000001>\n'
        b"77 6.000001 +++ exited with 0 +++\n"
    )
    assert [type(record) for record in got] == [ProcessStart, ProcessExec]
    assert made.alive == (10,)


def test_cut_arguments_are_asked_of_the_process() -> None:
    class Knows(NoHost):
        def read_cmdline(self, pid: int) -> tuple[bytes, ...] | None:
            return (b"x", b"long" * 9)

    line = b'execve("/x", ["x", "long"...], 0x1 /* 1 var */) = 0'
    assert records(line, host=Knows()) == [ProcessExec(6_000_011_000, 10, b"/x", (b"x", b"long" * 9))]
    assert records(line) == [ProcessExec(6_000_011_000, 10, b"/x", (b"x", b"long"))]
