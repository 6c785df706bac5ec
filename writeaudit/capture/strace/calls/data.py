"""Calls that change what is in files: write, copy_file_range, sendfile, io_submit, …"""

from __future__ import annotations

import re

from writeaudit.capture.strace.calls.arguments import TracedCall, is_number, parse_integer
from writeaudit.capture.strace.context import Handlers, TraceContext
from writeaudit.capture.strace.lexer import Arg, Descriptor, Group, Result, unescape_string
from writeaudit.capture.strace.lexer import parse_result as read_result
from writeaudit.capture.strace.state import OpenFile, Thread
from writeaudit.events import OK, Op, Operand, RawEvent

WRITES = frozenset({b"write", b"pwrite64", b"pwritev", b"pwritev2", b"writev"})

_head = re.compile(rb"(\d+)(?:<((?:[^<>\\]++|\\.)*+)>(\(deleted\))?+)?+, ").match


def write_line(
    context: TraceContext, thread: Thread, time_ns: int, line: bytes, pos: int, *, whole: bool
) -> None:
    """Read a write whose arguments begin at ``pos``, without looking at the data.

    The descriptor stands first and the result last; what lies between is the file's
    content, which nobody asked for. Neither a number nor an error message holds `` = ``,
    so the last one is the result's, whatever the data may be. ``whole``: ``time_ns`` is
    when the call began, not when it returned. Raises `UnparsedLine`.
    """
    match = _head(line, pos)
    if match is None or _no_file(match):
        return  # or no number that a descriptor can have: EBADF
    result = read_result(line, line.rfind(b" = "))
    if result.value == 0:
        return
    file = _find_target(context, thread, match)
    if file is None:
        if result.error is None:
            context.count_lost("undecoded")  # it went somewhere, and strace could not look
        return
    _note_write(context, thread, time_ns + result.duration_ns if whole else time_ns, file, result)


def _no_file(match: re.Match[bytes]) -> bool:
    """Whether it is a pipe, a socket or the like. (A path may be written in hexadecimal from end to end.)"""
    return match[2] is not None and match[2][:1] != b"/" and unescape_string(match[2])[:1] != b"/"


def _find_target(context: TraceContext, thread: Thread, match: re.Match[bytes]) -> OpenFile | None:
    if match[2] is None:
        return context.find_hidden(thread, match[1])
    descriptor = context.decode_descriptor(
        Descriptor(int(match[1]), unescape_string(match[2]), match[3] is not None)
    )
    assert descriptor is not None
    return context.open_file(thread, descriptor)


def writes_file(context: TraceContext, thread: Thread | None, text: bytes) -> bool:
    """Whether a write that never ended, from its name on, was meant for a file."""
    match = _head(text, text.index(b"(") + 1)
    if match is None or thread is None or _no_file(match):
        return False
    file = _find_target(context, thread, match)
    return file is None or context.holds_data(thread, file)


def _note_write(context: TraceContext, thread: Thread, time_ns: int, file: OpenFile, result: Result) -> None:
    count, error = result.value, result.error
    if not context.holds_data(thread, file):
        return
    if error is not None:
        outcome, count = "EINTR" if error.startswith("ERESTART") else error, 0
    elif count is None:
        context.count_lost("unknown_result")
        return
    else:
        outcome = OK
        file.bytes += count
        file.calls += 1
        if file.key is not None:
            return
    path = context.open_operand(thread, file.path, deleted=file.deleted, fmt=file.fmt)
    context.report_detached_mount()
    context.out.append(
        RawEvent(
            time_ns,
            thread.process.pid,
            thread.tid,
            Op.WRITE,
            outcome,
            path,
            bytes=count,
            calls=1,
            file_key=context.ledger.begin_file(file) if error is None else None,
        )
    )


def data_file(context: TraceContext, call: TracedCall, arg: Arg) -> Operand | None:
    """Return a descriptor's file if it is one whose content a copy can change or read."""
    descriptor = context.decode_descriptor(arg)
    if descriptor is not None:
        file = context.open_file(call.thread, descriptor)
    else:
        hidden = context.find_hidden(call.thread, arg)
        if hidden is None:
            if call.ok and is_number(arg):
                context.count_lost("undecoded")
            return None
        file = hidden
    if not context.holds_data(call.thread, file):
        return None
    return context.open_operand(call.thread, file.path, deleted=file.deleted, fmt=file.fmt)


_COPIES = {b"copy_file_range": (2, 0), b"sendfile": (0, 1), b"sendfile64": (0, 1), b"splice": (2, 0)}
"""Where the target and the source stand."""


def _read_copy(context: TraceContext, call: TracedCall) -> None:
    target, origin = _COPIES[call.name]
    path = data_file(context, call, call.args[target])
    if path is None or call.result.value == 0:
        return
    source = data_file(context, call, call.args[origin])
    size = call.result.value if call.ok else None
    context.emit_event(call, Op.COPY, path, source, bytes=size or 0, calls=1)


def _read_aio(context: TraceContext, call: TracedCall) -> None:
    blocks = call.args[2]
    if not call.ok or not isinstance(blocks, Group):
        return
    for block in blocks.items[: call.result.value or 0]:
        if not isinstance(block, Group):
            continue
        opcode, target = block.get_field(b"aio_lio_opcode"), block.get_field(b"aio_fildes")
        length = block.get_field(b"aio_nbytes")
        if not isinstance(opcode, bytes) or b"WRITE" not in opcode or target is None:
            continue
        path = data_file(context, call, target)
        if path is not None:
            # How much was written is known only to io_getevents: what was asked for stands in.
            count = parse_integer(length) if isinstance(length, bytes) else 0
            context.emit_event(call, Op.WRITE, path, bytes=count, calls=1, flags=("aio",))


HANDLERS: Handlers = {
    **dict.fromkeys(_COPIES, _read_copy),
    b"io_submit": _read_aio,
}
"""Every call that this module reads, but for the writes."""
