"""A seccomp filter as containers have them: one system call is refused, or deadly."""

from __future__ import annotations

import ctypes
import struct

_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _MODE_FILTER = 38, 22, 2
_LOAD, _JUMP_IF_EQUAL, _RETURN = 0x20, 0x15, 0x06
_ALLOW = 0x7FFF0000


def forbid(call: int, answer: int) -> None:
    """Have the system call number ``call`` answered by ``answer`` (SECCOMP_RET_*, seccomp(2)) from now on."""
    libc = ctypes.CDLL(None, use_errno=True)
    code = ((_LOAD, 0, 0, 0), (_JUMP_IF_EQUAL, 0, 1, call), (_RETURN, 0, 0, answer), (_RETURN, 0, 0, _ALLOW))
    text = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *each) for each in code))
    program = struct.pack("HxxxxxxQ", len(code), ctypes.addressof(text))
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.prctl(
        _PR_SET_SECCOMP, _MODE_FILTER, ctypes.c_char_p(program), 0, 0
    ):
        raise OSError(ctypes.get_errno(), "seccomp")
