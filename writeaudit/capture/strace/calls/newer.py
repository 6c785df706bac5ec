"""Calls that are newer than this strace: it prints numbers where it should print names.

``syscall_0x1c4(0xffffff9c, 0x7ffc8e4d1010, 0x1a4, 0) = 0``: which file that was about lies in the
memory of the process, which goes on running. So a name that is read there later is one that may
have changed by then, and the event says so.
"""

from __future__ import annotations

from writeaudit.capture.strace.calls.arguments import TracedCall
from writeaudit.capture.strace.calls.names import CallShape
from writeaudit.capture.strace.context import TraceContext
from writeaudit.capture.strace.lexer import Text
from writeaudit.capture.strace.seccomp_filter import NEWEST
from writeaudit.events import Doubt, Op, Operand

_SHAPES: dict[int, tuple[bytes, CallShape]] = {
    452: (b"fchmodat2", CallShape(Op.CHMOD, 1, 0, 3, mode=2)),
    463: (b"setxattrat", CallShape(Op.SETXATTR, 1, 0, 2, xattr=3)),
    466: (b"removexattrat", CallShape(Op.REMOVEXATTR, 1, 0, 2, xattr=3)),
    469: (b"file_setattr", CallShape(Op.SETFLAGS, 1, 0, 4)),
}
_UNREAD: dict[int, bytes] = {
    425: b"io_uring_setup",
    428: b"open_tree",
    429: b"move_mount",
    432: b"fsmount",
    435: b"clone3",
    437: b"openat2",
    442: b"mount_setattr",
}
"""Calls that matter as much, but are known to every strace of the last years."""

_X32_BIT = 0x40000000
_AT_SYMLINK_NOFOLLOW, _AT_EMPTY_PATH = 0x100, 0x1000
_HARMLESS_ERRORS = frozenset({"ENOSYS", "EBADF", "EFAULT", "ENAMETOOLONG"})
"""The kernel has no such call, or named no file."""


def unknown_call(context: TraceContext, call: TracedCall) -> None:
    """Read a call of which strace knows the number only."""
    number = int(call.name.removeprefix(b"syscall_0x"), 16) & ~_X32_BIT
    known = _SHAPES.get(number)
    if known is None:
        name = _UNREAD.get(number, b"number %d" % number if number > NEWEST else None)
        if name is not None and call.ok:
            _add_blind_spot(context, name)
        return
    if call.outcome in _HARMLESS_ERRORS:
        return
    _add_blind_spot(context, known[0])
    shape = known[1]
    flags = call.number_at(shape.flags or 0)
    path = _find_operand(context, call, shape, flags)
    if path is None:
        return
    name_of_xattr: bytes | None = None
    if shape.xattr is not None:
        name_of_xattr = context.host.text_at(call.thread.tid, call.number_at(shape.xattr))
    context.emit_event(
        call,
        shape.op,
        path._replace(doubt=path.doubt | Doubt.UNREADABLE),
        follow=not flags & _AT_SYMLINK_NOFOLLOW,
        mode=None if shape.mode is None else call.number_at(shape.mode) & 0o7777,
        xattr=name_of_xattr,
    )


def _find_operand(context: TraceContext, call: TracedCall, shape: CallShape, flags: int) -> Operand | None:
    """Return the operand, as far as it can be found out now; None if it cannot."""
    thread = call.thread
    name = context.host.text_at(thread.tid, call.number_at(shape.name))
    if name is None:
        return None
    number = call.number_at(shape.base or 0) & 0xFFFFFFFF
    if number < 1 << 31:
        directory = context.by_number(thread, number)
        if directory is None or (not name and flags & _AT_EMPTY_PATH):
            return directory
        if name[:1] != b"/":
            return directory._replace(name=name)
    return context.named_operand(
        thread, b"AT_FDCWD", Text(name, truncated=False), follow=not flags & _AT_SYMLINK_NOFOLLOW
    )


def _add_blind_spot(context: TraceContext, name: bytes) -> None:
    context.add_blind_spot(
        "unknown_calls",
        f"strace is too old for a system call that was made ({name.decode()}) and shows no file name for it: "
        "the name was read later, or not at all; a newer strace, or the ebpf backend, sees it",
    )
