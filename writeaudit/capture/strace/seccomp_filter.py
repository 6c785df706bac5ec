"""The seccomp filter by which only the calls that matter stop for strace (seccomp(2)).

strace can make one for a command that it starts (--seccomp-bpf), but not for a process that
it attaches to, and up to 6.1 it sets no_new_privs even where that is not needed: set-user-ID
programs then lose their rights. So the child that becomes the command installs its own. strace
finds out by itself that a process has a filter, as it has to for every fork of one.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
from collections.abc import Iterable, Sequence

from writeaudit.capture.syscalls import ABI_32, ABI_64, ABI_URING, ABI_X32, pack_table

# linux/bpf_common.h: BPF_LD|BPF_W|BPF_ABS, BPF_ALU|BPF_AND|BPF_K, BPF_RET|BPF_K, then the jumps.
_LOAD, _AND, _RETURN = 0x20, 0x54, 0x06
_JUMP, _EQUAL, _NOT_BELOW = 0x05, 0x15, 0x35
_NUMBER_AT, _ARCH_AT = 0, 4
"""Offsets in struct seccomp_data."""
_TRACE, _ALLOW = 0x7FF00000, 0x7FFF0000
_ARCH_X86_64, _ARCH_I386 = 0xC000003E, 0x40000003
_X32_BIT = 0x40000000

_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, _PR_SET_NO_NEW_PRIVS = 22, 2, 38

NEWEST = 470
"""The last system call known when this was written; whatever came after it is traced."""

# Calls that strace follows beyond those that the kernel side of the other backends looks at.
_FURTHER_64 = {
    "munmap": 11, "dup": 32, "dup2": 33, "clone": 56, "fork": 57, "vfork": 58, "execve": 59, "chdir": 80,
    "fchdir": 81, "dup3": 292, "execveat": 322, "open_tree": 428, "fsmount": 432, "clone3": 435,
}  # fmt: skip
_FURTHER_32 = {
    "fork": 2, "execve": 11, "chdir": 12, "dup": 41, "dup2": 63, "munmap": 91, "clone": 120, "fchdir": 133,
    "vfork": 190, "dup3": 330, "execveat": 358, "open_tree": 428, "fsmount": 432, "clone3": 435,
}  # fmt: skip
_FURTHER_X32 = {"execve": 520, "execveat": 545}

_Instruction = tuple[int, int, int, int]
"""struct sock_filter: code, jt, jf, k."""


def list_stopping_calls() -> tuple[frozenset[int], frozenset[int]]:
    """Return the calls that stop: 64-bit ones (those of x32 without their bit), and 32-bit ones."""
    rows = pack_table()[1]
    native = {row - ABI_64 for row in rows if row < ABI_32}
    x32 = {row - ABI_X32 + 512 for row in rows if ABI_X32 <= row < ABI_URING}
    compat = {row - ABI_32 for row in rows if ABI_32 <= row < ABI_X32}
    return (
        frozenset(native | x32 | set(_FURTHER_64.values()) | set(_FURTHER_X32.values())),
        frozenset(compat | set(_FURTHER_32.values())),
    )


def build_program() -> bytes | None:
    """Return the filter as an array of struct sock_filter; None for a processor that is not known here."""
    if platform.machine() != "x86_64":
        return None
    native, compat = list_stopping_calls()
    code = _for_numbers(native)
    code = [(_LOAD, 0, 0, _NUMBER_AT), (_AND, 0, 0, ~_X32_BIT & 0xFFFFFFFF), *code]
    other = [(_LOAD, 0, 0, _NUMBER_AT), *_for_numbers(compat)]
    whole: list[_Instruction] = [
        (_LOAD, 0, 0, _ARCH_AT),
        (_EQUAL, 1, 0, _ARCH_X86_64),
        (_JUMP, 0, 0, len(code)),
        *code,
        (_EQUAL, 1, 0, _ARCH_I386),
        (_RETURN, 0, 0, _TRACE),
        *other,
    ]
    return b"".join(struct.pack("=HBBI", *each) for each in whole)


def _for_numbers(traced: Iterable[int]) -> list[_Instruction]:
    """Return a search tree over the ranges of numbers; the number is in the accumulator."""
    wanted = set(traced)
    edges: list[tuple[int, int]] = [(0, _TRACE if 0 in wanted else _ALLOW)]
    for number in range(1, NEWEST + 2):
        verdict = _TRACE if number in wanted or number > NEWEST else _ALLOW
        if verdict != edges[-1][1]:
            edges.append((number, verdict))
    return _build_tree(edges)


def _build_tree(edges: Sequence[tuple[int, int]]) -> list[_Instruction]:
    if len(edges) == 1:
        return [(_RETURN, 0, 0, edges[0][1])]
    middle = len(edges) // 2
    low, high = _build_tree(edges[:middle]), _build_tree(edges[middle:])
    # A conditional jump reaches 255 instructions: far enough for some 120 ranges.
    return [(_NOT_BELOW, len(low), 0, edges[middle][0]), *low, *high]


class _Program(ctypes.Structure):
    """struct sock_fprog."""

    _fields_ = (("len", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def install_filter(code: bytes) -> None:
    """Give this process, for good, a filter. Raises OSError; the kernel may lack seccomp.

    Without CAP_SYS_ADMIN that takes no_new_privs, and only then it is set.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    given = _Program(len(code) // 8, code)

    def set_filter() -> int:
        failed = libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(given), 0, 0)
        return ctypes.get_errno() if failed else 0

    number = set_filter()
    if number == errno.EACCES:
        libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        number = set_filter()
    if number:
        raise OSError(number, os.strerror(number))
