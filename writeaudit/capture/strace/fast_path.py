"""A fast path for the lines that installers make most of.

Each reader takes a call in its plainest shape at one go: one regular expression for all of the
arguments and the result, no escapes, no marks, descriptors that are paths. It returns whether it
did. If not, it has changed nothing, and the line goes the long way (`lexer`, and the handlers of
`calls/names` and `calls/data`), which says what is right for these lines as well.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable

from writeaudit.capture.strace.calls.flags import mode_bits, open_flags
from writeaudit.capture.strace.context import MAGIC, TraceContext
from writeaudit.capture.strace.lexer import Descriptor
from writeaudit.capture.strace.state import OpenFile, Thread
from writeaudit.capture.strace.working_directories import note_removal, note_rename
from writeaudit.events import OK, Op, Operand, RawEvent

Reader = Callable[[TraceContext, Thread, int, bytes, int, bool], bool]
"""Takes the context, the thread, the line's time, the line, where its arguments begin, and whether it
is whole: whether that time is when the call began, not when it returned."""

_new = tuple.__new__
"""Makes a named tuple of all of its fields, in less than half the time that its own constructor takes."""

# What stands before a name: a directory, or nothing (and two empty groups).
_AT = rb"(AT_FDCWD|\d++)<(/[^<>\\]*+)>, "
_NO_AT = rb"()()"
_FILE = rb"(\d++)<(/[^<>\\]*+)>"
_NAME = rb'"([^"\\]*+)"'
_WORD = rb"(?:, ([\w|]++))?+"
_FAILED = rb"-1 ([A-Z]\w*+) \([^()]*+\)"
_TOOK = rb" <0\.(\d{6})>"
_DONE = rb"\) += (?:0|" + _FAILED + rb")" + _TOOK

_one_file = re.compile(_FILE + _WORD + rb"(?:, \w++)*+" + _DONE).fullmatch
_copied = re.compile(_FILE + rb", NULL, " + _FILE + rb", NULL, \d++, 0\) += (\d++)" + _TOOK).fullmatch


def _event_tail(op: Op, *, first: str = "target_text", **fields: object) -> tuple[object, ...]:
    """Return the fields of an event from ``first`` on, but for the last, ``lasted_ns``."""
    event = RawEvent(0, 0, 0, op, OK, Operand(None, None), **fields)  # type: ignore[arg-type]
    return event[RawEvent._fields.index(first) : -1]


# What follows the fields that differ from event to event.
_KNOWN = Operand(None, None)[Operand._fields.index("mount_ns") + 1 :]
_OPEN = _event_tail(Op.OPEN, first="xattr")
_LINK = {b"0": _event_tail(Op.LINK, follow=False)}
_RENAME = {
    b"0": _event_tail(Op.RENAME, follow=False),
    b"RENAME_NOREPLACE": _event_tail(Op.RENAME, follow=False, flags=("noreplace",)),
}


def _named_operand(
    context: TraceContext, thread: Thread, base: bytes, directory: bytes, name: bytes
) -> Operand | None:
    """Do as `TraceContext.named_operand` does; None: the long way must. No ``base``: the call takes none."""
    fs = thread.fs
    at_cwd = not base or base == b"AT_FDCWD"
    if at_cwd and (not fs.sure or (base and not fs.is_shown(directory))):
        return None
    if directory == b"/" and not at_cwd:
        return None
    if name[:1] == b"/":
        if name.startswith(MAGIC) or fs.root_guessed:
            return None
        return _new(Operand, (fs.root, name, None, thread.mount_ns, *_KNOWN))
    if context.resumed is not None or fs.root != b"/":
        return None
    if at_cwd:
        return Operand(fs.cwd, name, mount_ns=thread.mount_ns, deleted=fs.cwd_deleted)
    return Operand(directory, name, mount_ns=thread.mount_ns)


def _make_open_reader(at: bytes) -> Reader:
    """Return a reader of open or openat; ``at``: what stands before the name."""
    result = rb"\) += (?:" + _FILE + rb"|" + _FAILED + rb")" + _TOOK
    matched = re.compile(at + _NAME + _WORD + _WORD + result).fullmatch

    def read(context: TraceContext, thread: Thread, time_ns: int, line: bytes, pos: int, whole: bool) -> bool:
        match = matched(line, pos)
        if match is None:
            return False
        base, directory, name, words, mode_word, number, path, error, took = match.groups()
        spelled: bytes | None = None
        operand: Operand | None = None
        if path is None:
            operand = _named_operand(context, thread, base, directory, name)
        elif base != b"AT_FDCWD" or thread.fs.is_shown(directory):
            operand = _new(Operand, (path, None, None, thread.mount_ns, *_KNOWN))
            spelled = name
        if operand is None or words is None:
            return False
        flags = open_flags(words)
        outcome, created = OK, flags.created
        if path is None:
            outcome, created = error.decode(), False
        else:
            context.now_open(thread, int(number), OpenFile(path, deleted=False, is_file=created or None))
        mode = mode_bits(mode_word or b"")[0] if flags.makes else None
        lasted_ns = int(took) * 1000
        if whole:
            time_ns += lasted_ns
        head = (time_ns, thread.process.pid, thread.tid, Op.OPEN, outcome, operand, None, None)
        how = (flags.access, flags.names, created, flags.follow, False, mode, spelled, *_OPEN, lasted_ns)
        context.out.append(_new(RawEvent, head + how))
        return True

    return read


def _two_names(at: bytes) -> Callable[[bytes, int], re.Match[bytes] | None]:
    flags = _WORD if at == _AT else rb"()"
    return re.compile(at + _NAME + rb", " + at + _NAME + flags + _DONE).fullmatch


def _on_two_names(op: Op, at: bytes) -> Reader:
    """Return a reader of link, linkat, rename, renameat or renameat2."""
    matched = _two_names(at)
    rests = _LINK if op is Op.LINK else _RENAME

    def read(context: TraceContext, thread: Thread, time_ns: int, line: bytes, pos: int, whole: bool) -> bool:
        match = matched(line, pos)
        if match is None:
            return False
        old_base, old_directory, old, new_base, new_directory, new, flags, error, took = match.groups()
        source = _named_operand(context, thread, old_base, old_directory, old)
        path = _named_operand(context, thread, new_base, new_directory, new)
        rest = rests.get(flags or b"0")
        if source is None or path is None or rest is None:
            return False
        lasted_ns = int(took) * 1000
        if whole:
            time_ns += lasted_ns
        outcome = OK if error is None else error.decode()
        fields = (time_ns, thread.process.pid, thread.tid, op, outcome, path, source, *rest, lasted_ns)
        context.out.append(_new(RawEvent, fields))
        if error is None and op is Op.RENAME:
            note_rename(context, source, path, both=False)
        return True

    return read


def _on_name(op: Op, at: bytes, *, takes_mode: bool = False, follow: bool = False) -> Reader:
    """Return a reader of a call on one name."""
    matched = re.compile(at + _NAME + _WORD + _DONE).fullmatch
    without = _event_tail(op, follow=follow)
    rmdir = _event_tail(Op.RMDIR, follow=follow)

    def read(context: TraceContext, thread: Thread, time_ns: int, line: bytes, pos: int, whole: bool) -> bool:
        match = matched(line, pos)
        if match is None:
            return False
        base, directory, name, word, error, took = match.groups()
        path = _named_operand(context, thread, base, directory, name)
        if path is None:
            return False
        what, rest = op, without
        if takes_mode:
            if word is None:
                return False
            rest = _with_mode(op, word, follow)
        elif word is not None and word != b"0":
            if word != b"AT_REMOVEDIR" or at == _NO_AT:
                return False
            what, rest = Op.RMDIR, rmdir
        lasted_ns = int(took) * 1000
        if whole:
            time_ns += lasted_ns
        outcome = OK if error is None else error.decode()
        fields = (time_ns, thread.process.pid, thread.tid, what, outcome, path, None, *rest, lasted_ns)
        context.out.append(_new(RawEvent, fields))
        if what is Op.RMDIR and error is None:
            note_removal(context, path)
        return True

    return read


@functools.lru_cache(maxsize=1024)
def _with_mode(op: Op, word: bytes, follow: bool) -> tuple[object, ...]:
    return _event_tail(op, follow=follow, mode=mode_bits(word)[0])


def _on_file(op: Op, *, takes_mode: bool = False) -> Reader:
    """Return a reader of a call on an open file."""
    without = _event_tail(op)

    def read(context: TraceContext, thread: Thread, time_ns: int, line: bytes, pos: int, whole: bool) -> bool:
        match = _one_file(line, pos)
        if match is None:
            return False
        _number, name, word, error, took = match.groups()
        if word is None or name == b"/" or context.resumed is not None:
            return False
        rest = _with_mode(op, word, True) if takes_mode else without
        path = _new(Operand, (name, None, None, thread.mount_ns, *_KNOWN))
        lasted_ns = int(took) * 1000
        if whole:
            time_ns += lasted_ns
        outcome = OK if error is None else error.decode()
        fields = (time_ns, thread.process.pid, thread.tid, op, outcome, path, None, *rest, lasted_ns)
        context.out.append(_new(RawEvent, fields))
        return True

    return read


def _copy_file_range(
    context: TraceContext, thread: Thread, time_ns: int, line: bytes, pos: int, whole: bool
) -> bool:
    match = _copied(line, pos)
    if match is None:
        return False
    source_number, source_path, number, path, count, took = match.groups()
    size = int(count)
    target = context.open_file(thread, Descriptor(int(number), path, deleted=False))
    if not context.holds_data(thread, target) or not size:
        return True
    source = context.open_file(thread, Descriptor(int(source_number), source_path, deleted=False))
    origin = None
    if context.holds_data(thread, source):
        origin = context.open_operand(thread, source_path, deleted=False, fmt=source.fmt)
    lasted_ns = int(took) * 1000
    if whole:
        time_ns += lasted_ns
    changed = context.open_operand(thread, path, deleted=False, fmt=target.fmt)
    pid = thread.process.pid
    context.out.append(
        RawEvent(
            time_ns, pid, thread.tid, Op.COPY, OK, changed, origin, bytes=size, calls=1, lasted_ns=lasted_ns
        )
    )
    return True


READERS: dict[bytes, Reader] = {
    b"open": _make_open_reader(_NO_AT),
    b"openat": _make_open_reader(_AT),
    b"link": _on_two_names(Op.LINK, _NO_AT),
    b"linkat": _on_two_names(Op.LINK, _AT),
    b"rename": _on_two_names(Op.RENAME, _NO_AT),
    **dict.fromkeys((b"renameat", b"renameat2"), _on_two_names(Op.RENAME, _AT)),
    b"unlink": _on_name(Op.UNLINK, _NO_AT),
    b"unlinkat": _on_name(Op.UNLINK, _AT),
    b"rmdir": _on_name(Op.RMDIR, _NO_AT),
    b"mkdir": _on_name(Op.MKDIR, _NO_AT, takes_mode=True),
    b"mkdirat": _on_name(Op.MKDIR, _AT, takes_mode=True),
    b"chmod": _on_name(Op.CHMOD, _NO_AT, takes_mode=True, follow=True),
    b"fchmodat": _on_name(Op.CHMOD, _AT, takes_mode=True, follow=True),
    b"fchmod": _on_file(Op.CHMOD, takes_mode=True),
    b"fchown": _on_file(Op.CHOWN),
    b"ftruncate": _on_file(Op.TRUNCATE),
    b"copy_file_range": _copy_file_range,
}
"""The fast path of a call, by its name. Not for a strace that leaves the kernel's mark in its paths."""
