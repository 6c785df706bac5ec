"""The fast path makes of a line what the long way makes of it."""

from __future__ import annotations

from dataclasses import astuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.strace_lines import parser
from tests.unit.capture.strace.test_parser import Devices
from writeaudit.capture.strace.fast_path import READERS
from writeaudit.capture.strace.parser import TraceParser

PLAIN = [
    b'openat(AT_FDCWD</w>, "/usr/f", O_RDONLY|O_CLOEXEC) = 3</usr/f>',
    b'openat(AT_FDCWD</w>, "f", O_WRONLY|O_CREAT|O_EXCL|O_CLOEXEC, 0666) = 3</w/f>',
    b'openat(5</d>, "f", O_RDWR|O_CREAT, 0600) = -1 EACCES (Permission denied)',
    b'open("/dev/null", O_WRONLY) = 4</dev/null>',
    b'open("f", O_RDONLY|O_NOFOLLOW) = -1 ELOOP (Too many levels of symbolic links)',
    b'linkat(AT_FDCWD</w>, "/cache/f", AT_FDCWD</w>, "g", 0) = 0',
    b'linkat(5</d>, "f", AT_FDCWD</w>, "/dev/shm/g", 0) = -1 EXDEV (Invalid cross-device link)',
    b'link("f", "/x/g") = 0',
    b'rename("/w/.tmp1", "/w/f") = 0',
    b'rename("/w", "/v") = 0',
    b'renameat(AT_FDCWD</w>, ".", AT_FDCWD</w>, "../v") = 0',
    b'renameat2(5</d>, "f", 6</e>, "g", RENAME_NOREPLACE) = -1 EEXIST (File exists)',
    b'unlink("f") = -1 ENOENT (No such file or directory)',
    b'unlinkat(5</d>, "f", 0) = 0',
    b'unlinkat(AT_FDCWD</w>, "d", AT_REMOVEDIR) = 0',
    b'rmdir("/w/d")      = 0',
    b'mkdir("d", 0777) = 0',
    b'mkdirat(5</d>, "e", 01755) = -1 ENAMETOOLONG (File name too long)',
    b'chmod("f", 0100644) = 0',
    b'fchmodat(5</d>, "f", 0755) = 0',
    b"fchmod(3</w/f>, 0644) = 0",
    b"fchown(3</w/f>, 0, 0) = -1 EPERM (Operation not permitted)",
    b"ftruncate(3</w/f>, 17) = 0",
    b"copy_file_range(3</cache/f>, NULL, 4</w/f>, NULL, 9223372035781033984, 0) = 17",
    b"copy_file_range(3</cache/f>, NULL, 4</w/f>, NULL, 4096, 0) = 0",
    b"copy_file_range(3</cache/f>, NULL, 4</dev/full>, NULL, 4096, 0) = 12",
]

ODD = [
    b'openat(AT_FDCWD</w>, "f\\n", O_RDONLY) = 3</w/f\\n>',
    b'openat(AT_FDCWD</v>, "f", O_RDONLY) = 3</v/f>',
    b'openat(AT_FDCWD</w (deleted)>, "f", O_RDONLY) = -1 ENOENT (No such file or directory)',
    b'openat(AT_FDCWD</w>, ".", O_RDWR|O_TMPFILE, 0600) = 3</w/#17>(deleted)',
    b'openat(AT_FDCWD</w>, "/proc/self/fd/3", O_RDONLY) = 5<pipe:[7]>',
    b"openat(AT_FDCWD</w>, 0x7ffc, O_RDONLY) = -1 EFAULT (Bad address)",
    b'openat(AT_FDCWD</w>, "f", O_RDWR) = ? ERESTARTSYS (To be restarted if SA_RESTART is set)',
    b'openat(AT_FDCWD</w>, "f", O_RDWR) = 3',
    b'openat(3<socket:[5]>, "f", O_RDWR) = -1 ENOTDIR (Not a directory)',
    b'openat(AT_FDCWD</w>, "abc"..., O_RDWR) = 3</w/abcd>',
    b'linkat(AT_FDCWD</w>, "f", AT_FDCWD</w>, "g", AT_SYMLINK_FOLLOW) = 0',
    b'linkat(3</w/f>, "", AT_FDCWD</w>, "g", AT_EMPTY_PATH) = 0',
    b'linkat(AT_FDCWD</w>, "/proc/self/fd/3", AT_FDCWD</w>, "g", 0) = 0',
    b'renameat2(AT_FDCWD</w>, "f", AT_FDCWD</w>, "g", RENAME_EXCHANGE) = 0',
    b'unlink("/dev/stdin") = 0',
    b'unlink("/dev/fd/3") = 0',
    b"fchmod(3<pipe:[7]>, 0644) = 0",
    b"fchmod(3, 0644) = -1 EBADF (Bad file descriptor)",
    b"fchmod(3</w/f>(deleted), 0644) = 0",
    b'mkdir("d", 0999) = 0',
    b"copy_file_range(3</cache/f>, [0] => [3], 4</w/f>, NULL, 3, 0) = 3",
    b"copy_file_range(3</cache/f>(deleted), NULL, 4</w/f>, NULL, 3, 0) = 3",
    b"copy_file_range(3</cache/f>, NULL, 4</w/f>, NULL, 3, 0) = -1 EXDEV (Invalid cross-device link)",
    b'write(4</w/f>, "x", 1) = 1',
    b'chdir("d") = 0',
]


def told(made: TraceParser, text: bytes) -> tuple[object, ...]:
    """Return all that reading a text leaves behind."""
    out = made.feed_bytes(text)
    threads = made._threads.values()
    return (
        out,
        made.lost,
        made.truncated,
        [astuple(thread.fs) for thread in threads],
        [{fd: astuple(file) for fd, file in thread.files.open.items()} for thread in threads],
        made.finish_trace(),
    )


def compare(text: bytes) -> tuple[object, ...]:
    """Read a text both ways, which have to agree; return what it tells."""
    slow = parser(host=Devices())
    slow._fast = {}
    expected = told(slow, text)
    assert told(parser(host=Devices()), text) == expected
    return expected


def stamped(*calls: bytes) -> bytes:
    """Return whole lines of process 10."""
    return b"".join(b"10 6.%06d %s <0.000010>\n" % (index, call) for index, call in enumerate(calls))


def halved(call: bytes) -> bytes:
    """Return a call in two lines."""
    begun, _, ended = call.rpartition(b") ")
    name = call.partition(b"(")[0]
    return b"10 6.000001 %s <unfinished ...>\n10 6.000009 <... %s resumed>) %s <0.000008>\n" % (
        begun, name, ended,
    )  # fmt: skip


@pytest.mark.parametrize("call", PLAIN)
def test_a_plain_line_takes_the_fast_path(call: bytes) -> None:
    made = parser(host=Devices())
    name, _, rest = (call + b" <0.000010>").partition(b"(")
    assert READERS[name](made._context, made._threads[10], 0, rest, 0, True)


@pytest.mark.parametrize("name", sorted(READERS))
def test_every_reader_is_tried(name: bytes) -> None:
    assert any(call.startswith(name + b"(") for call in PLAIN)


@pytest.mark.parametrize("call", PLAIN + ODD)
def test_both_ways_agree(call: bytes) -> None:
    compare(stamped(call))
    if b" = ?" not in call and not call.startswith((b"write", b"chdir")):
        compare(halved(call.replace(b")      =", b") =")))


@given(st.lists(st.sampled_from(PLAIN + ODD), min_size=2, max_size=8))
def test_they_agree_on_what_comes_of_earlier_lines(calls: list[bytes]) -> None:
    compare(stamped(*calls))


PIECES = [
    b"AT_FDCWD</w>, ", b"AT_FDCWD</v>, ", b"3</d>, ", b'"', b'"/x/f", ', b'"f", ', b'"/proc/self/cwd/f", ',
    b", ", b" = 0", b" = 3</w/f>", b" = -1 EPERM (Operation not permitted)", b"(deleted)", b"NULL, ", b"0",
    b"|", b"\\", b"<", b">", b"...", b"AT_EMPTY_PATH", b"RENAME_EXCHANGE", b" ", b"0x8", b"/", b".",
    b"O_CREAT", b")",
]  # fmt: skip


@given(
    st.sampled_from(PLAIN + ODD),
    st.lists(
        st.tuples(st.integers(0, 120), st.integers(0, 12), st.sampled_from(PIECES)), min_size=1, max_size=3
    ),
)
def test_they_agree_on_lines_that_are_not_quite_so_plain(
    call: bytes, changes: list[tuple[int, int, bytes]]
) -> None:
    name, _, rest = call.partition(b"(")
    for at, removed, piece in changes:
        rest = rest[:at] + piece + rest[at + removed :]
    compare(stamped(name + b"(" + rest))


def test_a_strace_that_leaves_the_kernels_mark_goes_the_long_way() -> None:
    made = parser(deleted_inside=True)
    (event,) = made.feed_bytes(stamped(b"fchmod(3</w/f (deleted)>, 0644) = 0"))
    assert event.path.deleted  # type: ignore[union-attr]
