"""From strace's lines to records: shared mappings that become writable, or are refused to."""

from __future__ import annotations

import pytest

from tests.support.strace_lines import events, only, records
from writeaudit.capture.interface import ProcessExit
from writeaudit.events import Op, Operand

FILE = Operand(b"/w/f", None)
MAPPED = b"mmap(NULL, 16384, PROT_READ, MAP_SHARED, 4</w/f>, 0) = 0x10000"
ANONYMOUS = b"mmap(0x%x, %d, PROT_READ, MAP_PRIVATE|MAP_FIXED|MAP_ANONYMOUS, -1, 0) = 0x%x"


def writable(address: int, length: int = 4096) -> bytes:
    """Return an mprotect that succeeds."""
    return b"mprotect(0x%x, %d, PROT_READ|PROT_WRITE) = 0" % (address, length)


def mapped(*calls: bytes) -> list[bytes | None]:
    """Return the files that became writable, in order; the first call is `MAPPED`."""
    found = events(MAPPED, *calls)
    assert all(event.op is Op.MMAP_WRITE for event in found)
    return [event.path.base for event in found]


def test_each_part_that_becomes_writable_is_told() -> None:
    protected = b"mprotect(0x10000, 4096, PROT_READ) = 0"
    assert mapped(writable(0x10000), protected, writable(0x12000)) == [b"/w/f", b"/w/f"]
    assert mapped(writable(0xF000)) == []
    assert mapped(writable(0x14000)) == []
    assert mapped(writable(0xF000, 0x8000)) == [b"/w/f"]


@pytest.mark.parametrize(
    "line",
    [
        ANONYMOUS % (0x11000, 8192, 0x11000),
        b"munmap(0x11000, 8192) = 0",
        b"munmap(0x11000, 4097) = 0",  # of whole pages, whatever was asked for
        b"mremap(0x70000, 4096, 8192, MREMAP_MAYMOVE|MREMAP_FIXED, 0x11000) = 0x11000",
        b"mmap(0x11000, 8192, PROT_READ|PROT_EXEC, MAP_PRIVATE|MAP_FIXED, 5</w/lib>, 0) = 0x11000",
    ],
)
def test_what_lies_upon_a_mapping_replaces_that_part_of_it(line: bytes) -> None:
    assert mapped(line, writable(0x11000, 8192)) == []
    assert mapped(line, writable(0x10000)) == [b"/w/f"]
    assert mapped(line, writable(0x13000)) == [b"/w/f"]


def test_what_failed_replaces_nothing() -> None:
    refused = b"munmap(0x10000, 1) = -1 EINVAL (Invalid argument)"
    assert mapped(refused, writable(0x10000)) == [b"/w/f"]


def test_a_mapping_that_moved() -> None:
    line = b"mremap(0x11000, 4096, 8192, MREMAP_MAYMOVE) = 0x90000"
    assert mapped(line, writable(0x91000)) == [b"/w/f"]
    assert mapped(line, writable(0x11000)) == []
    assert mapped(line, writable(0x10000)) == [b"/w/f"]
    shrunk = b"mremap(0x10000, 16384, 4096, 0) = 0x10000"
    assert mapped(shrunk, writable(0x11000)) == []
    assert mapped(shrunk, writable(0x10000)) == [b"/w/f"]


@pytest.mark.parametrize(
    "line",
    [
        b"mremap(0x10000, 0, 4096, MREMAP_MAYMOVE) = 0x90000",
        b"mremap(0x10000, 4096, 4096, MREMAP_MAYMOVE|MREMAP_DONTUNMAP, NULL) = 0x90000",
    ],
)
def test_a_mapping_that_was_doubled(line: bytes) -> None:
    assert mapped(line, writable(0x90000), writable(0x10000)) == [b"/w/f", b"/w/f"]


def test_one_mprotect_names_each_file_once() -> None:
    other = b"mmap(0x11000, 4096, PROT_READ, MAP_SHARED|MAP_FIXED, 5</w/g>, 0) = 0x11000"
    assert mapped(other, writable(0x10000, 16384)) == [b"/w/f", b"/w/g"]


@pytest.mark.parametrize("error", ["EACCES", "EPERM", "ENOMEM"])
def test_a_refusal_is_an_attempt(error: str) -> None:
    refused = b"mprotect(0x10000, 4096, PROT_READ|PROT_WRITE) = -1 %s (No)" % error.encode()
    first, second = events(MAPPED, refused, refused)
    assert first == second
    assert (first.op, first.path, first.result) == (Op.MMAP_WRITE, FILE, error)


def test_a_refused_mmap_is_an_attempt() -> None:
    event = only(
        b"mmap(NULL, 9, PROT_READ|PROT_WRITE, MAP_SHARED, 4</w/f>, 0) = -1 EACCES (Permission denied)"
    )
    assert (event.op, event.path, event.result) == (Op.MMAP_WRITE, FILE, "EACCES")
    assert not events(b"mmap(NULL, 9, PROT_READ, MAP_SHARED, 4</w/f>, 0) = -1 EACCES (Permission denied)")


def test_nothing_of_a_file_that_is_not_mapped() -> None:
    assert not events(writable(0x10000), b"munmap(0x10000, 4096) = 0")
    assert not events(b"mprotect(0x10000, 4096, PROT_WRITE) = -1 EACCES (Permission denied)")


def test_a_child_has_mappings_of_its_own() -> None:
    child = b"10 6.000002 clone(child_stack=NULL, flags=SIGCHLD) = 11 <0.000001>"
    moved = b"11 6.000003 mremap(0x10000, 16384, 16384, MREMAP_MAYMOVE) = 0x90000 <0.000001>"
    out = records(MAPPED, child, moved, b"11 6.000004 +++ exited with 0 +++", writable(0x10000))
    assert [type(record) for record in out].count(ProcessExit) == 1
    assert only(MAPPED, child, moved, writable(0x10000)).pid == 10
