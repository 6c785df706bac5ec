"""The filter, run by an interpreter of its own, and its numbers against the kernel's headers."""

from __future__ import annotations

import platform
import re
import struct
from pathlib import Path

import pytest

from writeaudit.capture.strace import seccomp_filter
from writeaudit.capture.strace.parser import TRACED

pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="the filter is for x86-64")

_X86_64, _I386, _AARCH64 = 0xC000003E, 0x40000003, 0xC00000B7
_TRACE, _ALLOW = 0x7FF00000, 0x7FFF0000
_X32 = 0x40000000
_HEADERS = Path("/usr/include/x86_64-linux-gnu/asm")


def verdict(arch: int, number: int) -> int:
    """Return what the filter says of a call: classic BPF, as far as the filter uses it."""
    code = seccomp_filter.build_program()
    assert code is not None
    data = struct.pack("=iIQ6Q", number if number < 1 << 31 else number - (1 << 32), arch, 0, *range(6))
    accumulator, at = 0, 0
    for _step in range(1000):
        operation, jump_true, jump_false, k = struct.unpack_from("=HBBI", code, at * 8)
        at += 1
        match operation:
            case 0x20:
                (accumulator,) = struct.unpack_from("=I", data, k)
            case 0x54:
                accumulator &= k
            case 0x05:
                at += k
            case 0x15:
                at += jump_true if accumulator == k else jump_false
            case 0x35:
                at += jump_true if accumulator >= k else jump_false
            case 0x06:
                return int(k)
            case _:
                raise AssertionError(f"an instruction that seccomp refuses: {operation:#x}")
    raise AssertionError("no end")


def test_each_call_stops_or_does_not() -> None:
    native, compat = seccomp_filter.list_stopping_calls()
    for number in range(seccomp_filter.NEWEST + 1):
        assert verdict(_X86_64, number) == (_TRACE if number in native else _ALLOW), number
        assert verdict(_X86_64, number | _X32) == (_TRACE if number in native else _ALLOW), number
        assert verdict(_I386, number) == (_TRACE if number in compat else _ALLOW), number


def test_what_is_not_known_stops() -> None:
    for number in (seccomp_filter.NEWEST + 1, 999, 0xFFFFFFFF):
        assert verdict(_X86_64, number) == _TRACE
        assert verdict(_I386, number) == _TRACE
    assert verdict(_AARCH64, 0) == _TRACE


@pytest.mark.parametrize(("header", "which"), [("unistd_64.h", 0), ("unistd_x32.h", 0), ("unistd_32.h", 1)])
def test_every_call_that_strace_is_asked_for_stops(header: str, which: int) -> None:
    path = _HEADERS / header
    if not path.exists():
        pytest.skip("the kernel's headers are not installed")
    defined = re.findall(r"#define __NR_(\w+) (?:\(__X32_SYSCALL_BIT \+ )?(\d+)", path.read_text())
    numbers = {name: int(number) for name, number in defined}
    assert len(numbers) > 300
    # What strace calls by another name than the headers do.
    other = {"umount2": ("umount", "umount2"), "mmap": ("mmap", "mmap2"), "bind": ("bind", "socketcall")}
    stops = seccomp_filter.list_stopping_calls()[which]
    asked = {each for name in TRACED for each in other.get(name, (name,))}
    for name in sorted(asked & numbers.keys()):
        assert numbers[name] in stops, name
