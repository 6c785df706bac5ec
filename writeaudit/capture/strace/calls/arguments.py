"""One call of a trace, and what its arguments say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeGuard

from writeaudit.capture.strace.lexer import AT_FDCWD, Arg, Descriptor, Result, Text
from writeaudit.capture.strace.state import Thread
from writeaudit.events import OK

_RESTART = frozenset({"ERESTARTSYS", "ERESTARTNOINTR", "ERESTARTNOHAND", "ERESTART_RESTARTBLOCK"})
"""The kernel's own codes for a call that a signal broke off; the process sees EINTR or a restart."""


class TracedCall(NamedTuple):
    """One finished system call."""

    time_ns: int
    """CLOCK_MONOTONIC at which it returned."""
    thread: Thread
    name: bytes
    args: list[Arg]
    result: Result

    @property
    def ok(self) -> bool:
        """Whether it succeeded."""
        return self.result.error is None

    @property
    def outcome(self) -> str:
        """`OK` or the errno's name."""
        error = self.result.error
        return OK if error is None else "EINTR" if error in _RESTART else error

    def word_at(self, index: int) -> bytes:
        """Return a bare word, b"" if there is none at ``index``."""
        if index < len(self.args):
            arg = self.args[index]
            if isinstance(arg, bytes):
                return arg
        return b""

    def number_at(self, index: int) -> int:
        """Return an integer argument, 0 if it is none."""
        return parse_integer(self.word_at(index))


def parse_integer(word: bytes) -> int:
    """Return the value of a bare number, 0 if it is none."""
    try:
        return int(word, 16 if word[:2] == b"0x" else 10)
    except ValueError:
        return 0


def is_cwd(base: Arg) -> bool:
    """Whether a base directory is the working directory."""
    return base == b"AT_FDCWD" or (isinstance(base, Descriptor) and base.number == AT_FDCWD)


def is_number(arg: Arg) -> TypeGuard[bytes]:
    """Whether an argument is a bare number: a descriptor that strace could not decode, say."""
    return isinstance(arg, bytes) and arg.isdigit()


def has_flag(call: TracedCall, index: int, flag: bytes) -> bool:
    """Whether a word of flags has one of them."""
    return flag in call.word_at(index).split(b"|")


def text_of(args: Sequence[Arg], index: int) -> bytes | None:
    """Return a string argument; None if it is none."""
    if index < len(args):
        arg = args[index]
        if isinstance(arg, Text):
            return arg.value
    return None
