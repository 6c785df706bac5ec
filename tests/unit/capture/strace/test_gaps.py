"""From strace's lines to records: what is lost, unreadable or unknown, and said to be."""

from __future__ import annotations

import pytest

from tests.support.doubts import unreadable
from tests.support.strace_lines import START, events, only, parser
from writeaudit.capture.strace.parser import TraceParser
from writeaudit.capture.strace.state import NoHost
from writeaudit.events import Access, Doubt, Op, Operand, RawEvent


def test_cut_and_unreadable_names() -> None:
    made = parser()
    (event,) = made.feed_bytes(b'10 6.000001 mkdir("aaa"..., 0700) = 0\n')
    assert isinstance(event, RawEvent)
    assert unreadable(event.path)
    assert made.truncated == 1
    assert not events(b"mkdir(0x1, 0700) = -1 EFAULT (Bad address)")
    assert not events(b"mkdir(0x7f6e1e111970, 0700) = -1 ENOSYS (Function not implemented)")  # of x32


def test_a_name_that_was_too_long_for_the_kernel_too_lacks_nothing() -> None:
    made = parser()
    (event,) = made.feed_bytes(b'10 6.000001 mkdir("aaa"..., 0700) = -1 ENAMETOOLONG (File name too long)\n')
    assert isinstance(event, RawEvent)
    assert not unreadable(event.path)
    assert made.truncated == 0


def test_descriptors_that_nobody_can_name_are_counted() -> None:
    made = parser()
    made.feed_bytes(
        b'10 6.000001 write(3, "x", 1) = 1 <0.000001>\n'
        b"10 6.000002 fchmod(3, 0600) = 0 <0.000001>\n"
        b"10 6.000003 copy_file_range(4</w/f>, NULL, 3, NULL, 9, 0) = 9 <0.000001>\n"
        b'10 6.000004 write(3, "x", 1) = -1 EBADF (Bad file descriptor) <0.000001>\n'
        b"10 6.000005 fchmod(3, 0600) = -1 EBADF (Bad file descriptor) <0.000001>\n"
    )
    assert made.lost == {"undecoded": 3}


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
        (b"syscall_0x1c4(0x3, 0x1000, 0x1a0, 0, 0, 0) = 0", Op.CHMOD,
         Operand(b"/w/d", b"f", doubt=Doubt.UNCERTAIN_BASE), {}),
        (b"syscall_0x1c4(0x3, 0x4000, 0x1a0, 0, 0, 0) = 0", Op.CHMOD, Operand(b"/", b"/abs"), {}),
        (b"syscall_0x1c4(0x3, 0x2000, 0x1a0, 0x1000, 0, 0) = 0", Op.CHMOD,
         Operand(b"/w/d", None, doubt=Doubt.UNCERTAIN_BASE), {}),
        (b"syscall_0x400001c4(0x3, 0x1000, 0x1a0, 0, 0, 0) = 0", Op.CHMOD,
         Operand(b"/w/d", b"f", doubt=Doubt.UNCERTAIN_BASE), {}),
        (b"syscall_0x1cf(0xffffff9c, 0x1000, 0, 0x3000, 0x9, 0x10) = 0", Op.SETXATTR, Operand(b"/w", b"f"),
         {"xattr": b"user.a"}),
        (b"syscall_0x1d2(0xffffff9c, 0x1000, 0x100, 0x3000, 0, 0) = 0", Op.REMOVEXATTR,
         Operand(b"/w", b"f"), {"xattr": b"user.a", "follow": False}),
        (b"syscall_0x1d5(0xffffff9c, 0x1000, 0x9, 0x18, 0, 0) = 0", Op.SETFLAGS, Operand(b"/w", b"f"), {}),
    ],
)  # fmt: skip
def test_calls_younger_than_strace(line: bytes, op: Op, path: Operand, details: dict[str, object]) -> None:
    made = parser(host=Memory())
    (event,) = made.feed_bytes(b"10 6.000001 " + line + b" <0.000001>\n")
    assert isinstance(event, RawEvent)
    assert (event.op, event.path) == (op, path._replace(doubt=path.doubt | Doubt.UNREADABLE))
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
    assert made.feed_bytes(b"10 6.000001 " + line + b" <0.000001>\n") == []
    assert [spot.kind for spot in made.blind_spots] == ["unknown_calls"] * blind
    assert made.lost == {}


_BY_HANDLE = rb'open_by_handle_at(5</w>, {handle_bytes=2, handle_type=%s, f_handle="\x01\xff"}, O_RDWR) = 7'


def test_a_handle_is_looked_up() -> None:
    event = only(_BY_HANDLE % b"0x81", host=Memory())
    assert (event.op, event.path, event.access) == (Op.OPEN, Operand(b"/w/h", None), Access.READ_WRITE)


def test_a_handle_that_leads_nowhere_is_a_blind_spot() -> None:
    made = parser(host=Memory())
    assert made.feed_bytes(b"10 6.000001 " + _BY_HANDLE % b"0x82" + b" <0.000001>\n") == []
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
    made.feed_bytes(b"10 6.000001 " + line + b" <0.000001>\n")
    assert [spot.kind for spot in made.blind_spots] == ["namespace"] * blind
    assert all(spot.incomplete for spot in made.blind_spots)


def test_a_tracer_that_dies_first_is_a_blind_spot() -> None:
    made = parser()
    made.finish_trace(ended=True)
    assert [(spot.kind, spot.incomplete) for spot in made.blind_spots] == [("tracer", True)]
    whole = parser()
    whole.feed_bytes(b"10 6.000001 +++ exited with 0 +++\n")
    whole.finish_trace(ended=True)
    assert whole.blind_spots == ()


@pytest.mark.parametrize("keeps", [False, True])
def test_programs_that_lose_their_privileges_are_named(keeps: bool) -> None:
    class Setuid(NoHost):
        """Every program is set-user-ID."""

        def gains_privileges(self, path: bytes, tid: int) -> bool:
            """Return True."""
            return True

    made = TraceParser(10, cwd=b"/w", host=Setuid(), keeps_privileges=keeps)
    made.feed_bytes(START)
    assert [(spot.kind, spot.incomplete) for spot in made.blind_spots] == [("setuid", False)] * (not keeps)


def test_io_uring_is_a_blind_spot() -> None:
    made = parser()
    made.feed_bytes(b"10 6.000001 io_uring_setup(4, {flags=0}) = 4<anon_inode:[io_uring]> <0.000001>\n")
    assert [(spot.kind, spot.incomplete) for spot in made.blind_spots] == [("io_uring", True)]


def test_nothing_unreadable_is_dropped_in_silence() -> None:
    made = parser()
    made.feed_bytes(b'garbage\n10 6.000001 mkdir("a\n10 6.000002 <... link resumed>) = 0\n')
    assert made.lost == {"unparsed": 3}
    assert made.samples[0] == b"garbage"


def test_calls_whose_result_nobody_saw() -> None:
    made = parser()
    made.feed_bytes(
        b'10 6.000001 mkdir("a", 0700 <unfinished ...>) = ?\n'
        b'10 6.000002 openat(AT_FDCWD</w>, "r", O_RDONLY <unfinished ...>) = ?\n'
        b'10 6.000003 write(3<pipe:[1]>, "x", 1 <unfinished ...>\n'
        b"10 6.000004 +++ killed by SIGKILL +++\n"
    )
    made.finish_trace()
    assert made.lost == {"unknown_result": 1}
