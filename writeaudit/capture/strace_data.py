"""Calls that change what is in files: write, copy_file_range, sendfile, FICLONE, mmap, …"""

from __future__ import annotations

import re

from writeaudit.capture.strace_context import Call, Context, Handlers, has_name, integer, is_number
from writeaudit.capture.strace_lexer import Arg, Descriptor, Group, Result, unescape
from writeaudit.capture.strace_lexer import result as read_result
from writeaudit.capture.strace_state import Mapping, OpenFile, Thread
from writeaudit.events import OK, Op, Operand, RawEvent

WRITES = frozenset({b"write", b"pwrite64", b"pwritev", b"pwritev2", b"writev"})

_head = re.compile(rb"(\d+)(?:<((?:[^<>\\]++|\\.)*+)>(\(deleted\))?+)?+, ").match


def write_line(context: Context, thread: Thread, time_ns: int, line: bytes, pos: int, *, whole: bool) -> None:
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
    file = _target(context, thread, match)
    if file is None:
        if result.error is None:
            context.lose("undecoded")  # it went somewhere, and strace could not look
        return
    _wrote(context, thread, time_ns + result.duration_ns if whole else time_ns, file, result)


def _no_file(match: re.Match[bytes]) -> bool:
    """Whether it is a pipe, a socket or the like. (A path may be written in hexadecimal from end to end.)"""
    return match[2] is not None and match[2][:1] != b"/" and unescape(match[2])[:1] != b"/"


def _target(context: Context, thread: Thread, match: re.Match[bytes]) -> OpenFile | None:
    if match[2] is None:
        return context.hidden(thread, match[1])
    descriptor = context.descriptor(Descriptor(int(match[1]), unescape(match[2]), match[3] is not None))
    assert descriptor is not None
    return context.open_file(thread, descriptor)


def writes_file(context: Context, thread: Thread | None, text: bytes) -> bool:
    """Whether a write that never ended, from its name on, was meant for a file."""
    match = _head(text, text.index(b"(") + 1)
    if match is None or thread is None or _no_file(match):
        return False
    file = _target(context, thread, match)
    return file is None or context.holds_data(file)


def _wrote(context: Context, thread: Thread, time_ns: int, file: OpenFile, result: Result) -> None:
    count = result.value
    if not context.holds_data(file):
        return
    if count is None and result.error is None:
        context.lose("unknown_result")
        return
    outcome = OK
    if result.error is not None or count is None:
        outcome = "EINTR" if result.error is None or result.error.startswith("ERESTART") else result.error
        if outcome in file.failures:
            return
        file.failures |= {outcome}
        count = None
    else:
        file.bytes += count
        file.calls += 1
        if file.key is not None:
            return
    path = context.opened(thread, file.path, deleted=file.deleted, fmt=file.fmt)
    context.out.append(
        RawEvent(
            time_ns,
            thread.process.pid,
            thread.tid,
            Op.WRITE,
            outcome,
            path,
            bytes=count,
            calls=None if count is None else 1,
            file_key=None if count is None else context.ledger.begin(file),
        )
    )


def _data_file(context: Context, call: Call, arg: Arg) -> Operand | None:
    """Return a descriptor's file if it is one whose content a copy can change or read."""
    descriptor = context.descriptor(arg)
    if descriptor is not None:
        file = context.open_file(call.thread, descriptor)
    else:
        hidden = context.hidden(call.thread, arg)
        if hidden is None:
            if call.ok and is_number(arg):
                context.lose("undecoded")
            return None
        file = hidden
    if not context.holds_data(file):
        return None
    return context.opened(call.thread, file.path, deleted=file.deleted, fmt=file.fmt)


_COPIES = {b"copy_file_range": (2, 0), b"sendfile": (0, 1), b"sendfile64": (0, 1), b"splice": (2, 0)}
"""Where the target and the source stand."""


def _copy(context: Context, call: Call) -> None:
    target, origin = _COPIES[call.name]
    path = _data_file(context, call, call.args[target])
    if path is None or call.result.value == 0:
        return
    source = _data_file(context, call, call.args[origin])
    context.emit(call, Op.COPY, path, source, bytes=call.result.value if call.ok else None)


def _ioctl(context: Context, call: Call) -> None:
    request = call.word(1)
    path = context.file(call, call.args[0])
    if path is None:
        return
    if b"FICLONERANGE" in request:
        what = call.args[2]
        source = what.get(b"src_fd") if isinstance(what, Group) else None
        context.emit(call, Op.CLONE, path, None if source is None else _source(context, call, source))
    elif b"FICLONE" in request:
        context.emit(call, Op.CLONE, path, _source(context, call, call.args[2]))
    elif b"FIDEDUPERANGE" in request:
        what = call.args[2]
        if isinstance(what, Group):
            _dedupe(context, call, path, what)
    elif b"FS_IOC_SETFLAGS" in request or b"FS_IOC_FSSETXATTR" in request or b"FS_IOC32_SETFLAGS" in request:
        context.emit(call, Op.SETFLAGS, path)


def _dedupe(context: Context, call: Call, source: Operand, what: Group) -> None:
    """Read FIDEDUPERANGE: one source, many targets, and what became of each behind ``=>``."""
    asked, *answered = (each for each in what.all(b"info") if isinstance(each, Group))
    answers = answered[0].items if answered else ()
    for index, each in enumerate(asked.items):
        target = each.get(b"dest_fd") if isinstance(each, Group) else None
        named = None if target is None else _source(context, call, target)
        if named is None:
            continue
        answer = answers[index] if index < len(answers) else None
        count = answer.get(b"bytes_deduped") if isinstance(answer, Group) else None
        context.emit(
            call,
            Op.CLONE,
            named,
            source,
            flags=("dedupe",),
            bytes=integer(count) if isinstance(count, bytes) else None,
        )


IOCTL_WORDS = (b"FICLONE", b"FIDEDUPERANGE", b"SETFLAGS", b"FSSETXATTR")
"""A line of an ioctl without any of these concerns no file's content or flags."""


def _source(context: Context, call: Call, arg: Arg) -> Operand | None:
    """Return the file of a descriptor, decoded by strace or, as for FICLONE, not."""
    if isinstance(arg, Descriptor):
        return context.file(call, arg)
    if isinstance(arg, bytes) and arg[:1].isdigit():
        return context.by_number(call.thread, integer(arg))
    return None


def _mmap(context: Context, call: Call) -> None:
    mappings = call.thread.process.mappings
    start, length = call.result.value, call.number(1)
    if call.ok and start is not None and mappings:
        _forget(mappings, start, length)
    descriptor = context.descriptor(call.args[4]) if len(call.args) > 4 else None
    if descriptor is None or b"MAP_SHARED" not in call.word(3):
        return
    if not has_name(descriptor.path, deleted=descriptor.deleted):
        return
    path = _data_file(context, call, descriptor)
    if path is None:
        return
    if b"PROT_WRITE" in call.word(2):
        context.emit(call, Op.MMAP_WRITE, path)
    elif call.ok and start is not None:
        mappings.append(Mapping(start, length, descriptor.path, descriptor.deleted))


def _forget(mappings: list[Mapping], start: int, length: int) -> None:
    """Drop what a new mapping lies upon (munmap is not traced, but its room is used again)."""
    mappings[:] = [m for m in mappings if m.start + m.length <= start or start + length <= m.start]


def _mprotect(context: Context, call: Call) -> None:
    if b"PROT_WRITE" not in call.word(2) or not call.ok:
        return
    start, length = call.number(0), call.number(1)
    mappings = call.thread.process.mappings
    for mapping in list(mappings):
        if mapping.start < start + length and start < mapping.start + mapping.length:
            mappings.remove(mapping)
            context.emit(
                call,
                Op.MMAP_WRITE,
                context.opened(call.thread, mapping.path, deleted=mapping.deleted),
            )


def _mremap(context: Context, call: Call) -> None:  # noqa: ARG001
    start = call.number(0)
    for mapping in call.thread.process.mappings:
        if (
            call.ok
            and call.result.value is not None
            and mapping.start <= start < mapping.start + mapping.length
        ):
            mapping.start, mapping.length = call.result.value, call.number(2)


def _aio(context: Context, call: Call) -> None:
    blocks = call.args[2]
    if not call.ok or not isinstance(blocks, Group):
        return
    for block in blocks.items[: call.result.value or 0]:
        if not isinstance(block, Group):
            continue
        opcode, target = block.get(b"aio_lio_opcode"), block.get(b"aio_fildes")
        length = block.get(b"aio_nbytes")
        if not isinstance(opcode, bytes) or b"WRITE" not in opcode or target is None:
            continue
        path = _data_file(context, call, target)
        if path is not None:
            # How much was written is known only to io_getevents: what was asked for stands in.
            count = integer(length) if isinstance(length, bytes) else 0
            context.emit(call, Op.WRITE, path, bytes=count, calls=1, flags=("aio",))


_MMAPS = frozenset({b"mmap", b"mmap2"})
_MPROTECTS = frozenset({b"mprotect", b"pkey_mprotect"})


def irrelevant(name: bytes, line: bytes, mappings: list[Mapping]) -> bool:
    """Whether a call of many is none of those that matter: told from the line before it is read.

    A name that holds one of the words only has its line read in vain.
    """
    if name in _MMAPS:
        return b"MAP_SHARED" not in line and not mappings
    if name in _MPROTECTS or name == b"mremap":
        return not mappings
    return name == b"ioctl" and not any(word in line for word in IOCTL_WORDS)


HANDLERS: Handlers = {
    **dict.fromkeys(_COPIES, _copy),
    b"ioctl": _ioctl,
    **dict.fromkeys(_MMAPS, _mmap),
    **dict.fromkeys(_MPROTECTS, _mprotect),
    b"mremap": _mremap,
    b"io_submit": _aio,
}
"""Every call that this module reads, but for the writes."""
