"""What the lines of a process's life say: how it was cloned, what it executes, how it ended."""

from __future__ import annotations

import signal

from writeaudit.capture.strace.calls.arguments import TracedCall
from writeaudit.capture.strace.lexer import Arg, Descriptor, Group, Text
from writeaudit.capture.strace.state import FsContext, join_name


def program_of(call: TracedCall) -> tuple[bytes, Arg]:
    """Return the path of the program that execve or execveat was given, and its arguments."""
    at = 1 if call.name == b"execveat" else 0
    program, argv = call.args[at], call.args[at + 1]
    exe = join_name(call.thread.fs, program.value) if isinstance(program, Text) else b""
    if at and isinstance(program, Text) and program.value[:1] != b"/":
        base = call.args[0]
        if isinstance(base, Descriptor):
            exe = join_name(FsContext(base.path), program.value) if program.value else base.path
    return exe, argv


def clone_flags(call: TracedCall) -> frozenset[bytes]:
    """Return the CLONE_* flags of a call that makes a thread or a process."""
    if call.name == b"vfork":
        return frozenset({b"CLONE_VM", b"CLONE_VFORK"})
    for arg in call.args:
        if isinstance(arg, Group):
            flags = arg.get_field(b"flags")
            if isinstance(flags, bytes):
                return frozenset(flags.split(b"|"))
        elif isinstance(arg, bytes) and arg.startswith(b"flags "):
            return frozenset(arg[6:].split(b"|"))
    return frozenset()


def argv_of(arg: Arg) -> tuple[tuple[bytes, ...], bool]:
    """Return the arguments of an exec, and whether they are complete."""
    if not isinstance(arg, Group):
        return (), False
    words = tuple(item.value for item in arg.items if isinstance(item, Text))
    whole = len(words) == len(arg.items) and not any(i.truncated for i in arg.items if isinstance(i, Text))
    return words, whole


def signal_status(name: str) -> int | None:
    """Return the exit status for a signal as the shell shows it; None for one that is not known."""
    try:
        return 128 + signal.Signals[name]
    except KeyError:
        number = name.removeprefix("SIGRT_")
        return 128 + 32 + int(number) if number.isdigit() else None
