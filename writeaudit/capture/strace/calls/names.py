"""Calls that act on names: open, mkdir, link, rename, unlink, chmod, xattrs, …

One table says, for the calls of one shape, where the directory, the name, the flags and
the mode stand. `HANDLERS` maps a call's name to what reads it.
"""

from __future__ import annotations

from dataclasses import dataclass

from writeaudit.capture.strace.calls.arguments import TracedCall, has_flag, parse_integer, text_of
from writeaudit.capture.strace.calls.flags import fallocate_flags, mode_bits, open_flags
from writeaudit.capture.strace.context import Handlers, TraceContext, has_name
from writeaudit.capture.strace.lexer import Arg, Group, Text, strip_deleted
from writeaudit.capture.strace.state import FsContext, OpenFile, join_name
from writeaudit.capture.strace.working_directories import note_removal, note_rename
from writeaudit.events import Doubt, Op, Operand


@dataclass(frozen=True, slots=True)
class CallShape:
    """Where the arguments of a call that acts on one name stand; None where it has none."""

    op: Op
    name: int
    base: int | None = None
    flags: int | None = None
    mode: int | None = None
    follow: bool = True
    xattr: int | None = None


_NAMED: dict[bytes, CallShape] = {
    b"mkdir": CallShape(Op.MKDIR, 0, mode=1, follow=False),
    b"mkdirat": CallShape(Op.MKDIR, 1, 0, mode=2, follow=False),
    b"mknod": CallShape(Op.MKNOD, 0, mode=1, follow=False),
    b"mknodat": CallShape(Op.MKNOD, 1, 0, mode=2, follow=False),
    b"rmdir": CallShape(Op.RMDIR, 0, follow=False),
    b"unlink": CallShape(Op.UNLINK, 0, follow=False),
    b"unlinkat": CallShape(Op.UNLINK, 1, 0, 2, follow=False),
    b"truncate": CallShape(Op.TRUNCATE, 0),
    b"truncate64": CallShape(Op.TRUNCATE, 0),
    b"chmod": CallShape(Op.CHMOD, 0, mode=1),
    b"fchmodat": CallShape(Op.CHMOD, 1, 0, mode=2),
    b"fchmodat2": CallShape(Op.CHMOD, 1, 0, 3, mode=2),
    b"chown": CallShape(Op.CHOWN, 0),
    b"chown32": CallShape(Op.CHOWN, 0),
    b"lchown": CallShape(Op.CHOWN, 0, follow=False),
    b"lchown32": CallShape(Op.CHOWN, 0, follow=False),
    b"fchownat": CallShape(Op.CHOWN, 1, 0, 4),
    b"utime": CallShape(Op.UTIME, 0),
    b"utimes": CallShape(Op.UTIME, 0),
    b"futimesat": CallShape(Op.UTIME, 1, 0),
    b"utimensat": CallShape(Op.UTIME, 1, 0, 3),
    b"utimensat_time64": CallShape(Op.UTIME, 1, 0, 3),
    b"setxattr": CallShape(Op.SETXATTR, 0, xattr=1),
    b"lsetxattr": CallShape(Op.SETXATTR, 0, follow=False, xattr=1),
    b"setxattrat": CallShape(Op.SETXATTR, 1, 0, 2, xattr=3),
    b"removexattr": CallShape(Op.REMOVEXATTR, 0, xattr=1),
    b"lremovexattr": CallShape(Op.REMOVEXATTR, 0, follow=False, xattr=1),
    b"removexattrat": CallShape(Op.REMOVEXATTR, 1, 0, 2, xattr=3),
    b"access": CallShape(Op.ACCESS, 0),
    b"faccessat": CallShape(Op.ACCESS, 1, 0),
    b"faccessat2": CallShape(Op.ACCESS, 1, 0, 3),
    b"file_setattr": CallShape(Op.SETFLAGS, 1, 0, 4),
}

_RESOLVE = ((b"RESOLVE_NO_XDEV", "no_xdev"), (b"RESOLVE_BENEATH", "beneath"))
"""How openat2(2) keeps a name from leading elsewhere: EXDEV if it would."""

_ON_FILE: dict[bytes, CallShape] = {
    b"ftruncate": CallShape(Op.TRUNCATE, 0),
    b"ftruncate64": CallShape(Op.TRUNCATE, 0),
    b"fallocate": CallShape(Op.FALLOCATE, 0),
    b"fchmod": CallShape(Op.CHMOD, 0, mode=1),
    b"fchown": CallShape(Op.CHOWN, 0),
    b"fchown32": CallShape(Op.CHOWN, 0),
    b"fsetxattr": CallShape(Op.SETXATTR, 0, xattr=1),
    b"fremovexattr": CallShape(Op.REMOVEXATTR, 0, xattr=1),
}


def _is_unreadable(call: TracedCall, arg: Arg) -> bool:
    """A name that neither strace nor the kernel could read: the call concerned no file."""
    return not call.ok and not isinstance(arg, Text)


def _read_named(context: TraceContext, call: TracedCall) -> None:
    shape = _NAMED[call.name]
    name = call.args[shape.name]
    base = None if shape.base is None else call.args[shape.base]
    flags = b"" if shape.flags is None else call.word_at(shape.flags)
    op, follow = shape.op, shape.follow
    if op is Op.UNLINK and b"AT_REMOVEDIR" in flags:
        op = Op.RMDIR
    if b"AT_SYMLINK_NOFOLLOW" in flags:
        follow = False
    path: Operand | None = None
    spelled: bytes | None = None
    if base is not None and (
        (name == b"NULL" and op is Op.UTIME)
        or (isinstance(name, Text) and not name.value and b"AT_EMPTY_PATH" in flags)
    ):
        path = context.file_operand(call, base)
    elif not _is_unreadable(call, name):
        path = context.named_operand(call.thread, base, name, follow=follow)
        if path.name is None and isinstance(name, Text):
            spelled = name.value
    if path is None:
        return
    mode: int | None = None
    if shape.mode is not None:
        mode, fmt = mode_bits(call.word_at(shape.mode))
        if op is Op.MKNOD and fmt is not None:
            path = path._replace(fmt=fmt)
            mode = (mode or 0) | fmt
    xattr = None if shape.xattr is None else text_of(call.args, shape.xattr)
    context.emit_event(call, op, path, follow=follow, mode=mode, spelled=spelled, xattr=xattr)
    if op is Op.RMDIR and call.ok:
        note_removal(context, path)


def _read_access(context: TraceContext, call: TracedCall) -> None:
    """Only the question whether a file may be written is an event."""
    shape = _NAMED[call.name]
    asked = call.word_at(shape.name + 1)
    if b"W_OK" not in asked:
        return
    flags = b"" if shape.flags is None else call.word_at(shape.flags)
    follow = b"AT_SYMLINK_NOFOLLOW" not in flags
    name, base = call.args[shape.name], None if shape.base is None else call.args[shape.base]
    if _is_unreadable(call, name):
        return
    mode = sum(bit for word, bit in ((b"R_OK", 4), (b"W_OK", 2), (b"X_OK", 1)) if word in asked)
    path = context.named_operand(call.thread, base, name, follow=follow)
    spelled = name.value if path.name is None and isinstance(name, Text) else None
    context.emit_event(call, Op.ACCESS, path, follow=follow, mode=mode, spelled=spelled)


def _read_restrict(context: TraceContext, call: TracedCall) -> None:
    ruleset = context.decode_descriptor(call.args[0])
    if ruleset is not None:
        path = context.opened_object(call.thread, ruleset.path, deleted=ruleset.deleted)
        context.emit_event(call, Op.RESTRICT, path, flags=("landlock",))


def _on_file(context: TraceContext, call: TracedCall) -> None:
    shape = _ON_FILE[call.name]
    path = context.file_operand(call, call.args[0])
    if path is None:
        return
    mode = None if shape.mode is None else mode_bits(call.word_at(shape.mode))[0]
    xattr = None if shape.xattr is None else text_of(call.args, shape.xattr)
    flags = fallocate_flags(call.word_at(1)) if shape.op is Op.FALLOCATE else ()
    context.emit_event(call, shape.op, path, flags=flags, mode=mode, xattr=xattr)


def _read_open(context: TraceContext, call: TracedCall) -> None:
    args, in_root = call.args, False
    kept: tuple[str, ...] = ()
    match call.name:
        case b"open":
            base, name, flags, mode = None, args[0], call.word_at(1), call.word_at(2)
        case b"creat":
            base, name, flags, mode = None, args[0], b"O_WRONLY|O_CREAT|O_TRUNC", call.word_at(1)
        case b"openat2":
            base, name = args[0], args[1]
            how = args[2]
            asked = how.get_field(b"flags") if isinstance(how, Group) else None
            bits = how.get_field(b"mode") if isinstance(how, Group) else None
            flags = asked if isinstance(asked, bytes) else b""
            mode = bits if isinstance(bits, bytes) else b""
            resolve = how.get_field(b"resolve") if isinstance(how, Group) else None
            words = resolve if isinstance(resolve, bytes) else b""
            in_root = b"RESOLVE_IN_ROOT" in words
            kept = tuple(flag for word, flag in _RESOLVE if word in words)
        case b"open_by_handle_at":
            _open_handle(context, call)
            return
        case _:
            base, name, flags, mode = args[0], args[1], call.word_at(2), call.word_at(3)
    _emit_open(context, call, base, name, flags, mode, in_root=in_root, kept=kept)


def _emit_open(
    context: TraceContext,
    call: TracedCall,
    base: Arg | None,
    name: Arg,
    flag_words: bytes,
    mode_word: bytes,
    *,
    in_root: bool = False,
    kept: tuple[str, ...] = (),
) -> None:
    if _is_unreadable(call, name):
        return
    thread, result = call.thread, call.result
    flags = open_flags(flag_words)
    if result.path is not None and result.value is not None:
        if base is not None:
            context.base_operand(thread, base)  # which may be shown here
        path_bytes, deleted = result.path, result.deleted
        if context.deleted_inside and not deleted:
            path_bytes, deleted = strip_deleted(path_bytes)
        file = context.now_open(thread, result.value, OpenFile(path_bytes, deleted))
        if flags.created and not deleted:
            file.is_file = True
        if path_bytes == b"/" and (flags.makes or flags.access.writes):
            # It is no directory: it lies outside of what its mount shows, and has no path.
            path = context.named_operand(thread, base, name)
            path = path._replace(doubt=path.doubt | Doubt.UNREADABLE)
        elif has_name(path_bytes, deleted=deleted):
            path = context.open_operand(thread, path_bytes, deleted=deleted)
        else:  # a pipe, through /proc/self/fd: named, but no file
            path = context.opened_object(thread, path_bytes, deleted=deleted)
    else:
        if in_root and isinstance(name, Text):
            path = _in_root(context.base_operand(thread, base), name)
        else:
            path = context.named_operand(thread, base, name, follow=flags.follow)
        if result.value is not None and call.ok and path.base is not None and path.name is not None:
            # Its path is longer than the kernel tells.
            known = join_name(FsContext(path.base), path.name)
            context.now_open(thread, result.value, OpenFile(known, deleted=False, hidden=True))
    spelled = name.value if path.name is None and isinstance(name, Text) else None
    context.emit_event(
        call,
        Op.OPEN,
        path,
        access=flags.access,
        flags=(*flags.names, *kept),
        created=flags.created if call.ok else False,
        follow=flags.follow,
        mode=mode_bits(mode_word)[0] if flags.makes else None,
        spelled=spelled,
    )


def _in_root(start: Operand, name: Text) -> Operand:
    """Return the operand of a name whose directory is its root directory, too (openat2)."""
    doubt = start.doubt | name.doubt
    if start.name is not None:
        # The directory itself is known by a name only.
        return start._replace(name=start.name + b"/" + name.value, doubt=doubt | Doubt.UNCERTAIN_BASE)
    return start._replace(name=name.value, doubt=doubt, root=start.base)


def _open_handle(context: TraceContext, call: TracedCall) -> None:
    """A handle is no name, and strace does not tell what it led to."""
    result, mount, handle = call.result, context.file_operand(call, call.args[0]), call.args[1]
    if not call.ok or result.value is None:
        return  # what it stood for, if anything, was not touched
    path: bytes | None = result.path
    if path is None and isinstance(handle, Group) and mount is not None and mount.base is not None:
        kind, content = handle.get_field(b"handle_type"), handle.get_field(b"f_handle")
        if isinstance(kind, bytes) and isinstance(content, Text) and not content.truncated:
            path = context.host.by_handle(mount.base, parse_integer(kind), content.value)
    if path is None:
        context.add_blind_spot(
            "open_by_handle",
            "a file was opened by its handle (open_by_handle_at), and could not be found by it later; "
            "the ebpf backend sees which one it was",
        )
        return
    words = call.word_at(2)
    flags = open_flags(words)
    context.now_open(call.thread, result.value, OpenFile(path, deleted=False))
    context.emit_event(
        call,
        Op.OPEN,
        context.open_operand(call.thread, path, deleted=False),
        access=flags.access,
        flags=flags.names,
        created=False,
    )


def _read_link(context: TraceContext, call: TracedCall) -> None:
    args, thread = call.args, call.thread
    if call.name == b"link":
        old_base, old, new_base, new, flags = None, args[0], None, args[1], b""
    else:
        old_base, old, new_base, new, flags = args[0], args[1], args[2], args[3], call.word_at(4)
    if _is_unreadable(call, old) or _is_unreadable(call, new):
        return
    follow = b"AT_SYMLINK_FOLLOW" in flags
    source: Operand | None = None
    if old_base is not None and isinstance(old, Text) and not old.value and b"AT_EMPTY_PATH" in flags:
        source = context.file_operand(call, old_base)
    if source is None:
        source = context.named_operand(thread, old_base, old, follow=follow)
    context.emit_event(
        call,
        Op.LINK,
        context.named_operand(thread, new_base, new),
        source,
        follow=False,
        follow_source=follow,
    )


def _read_rename(context: TraceContext, call: TracedCall) -> None:
    args, thread = call.args, call.thread
    if call.name == b"rename":
        old_base, old, new_base, new = None, args[0], None, args[1]
    else:
        old_base, old, new_base, new = args[0], args[1], args[2], args[3]
    if _is_unreadable(call, old) or _is_unreadable(call, new):
        return
    op = Op.EXCHANGE if has_flag(call, 4, b"RENAME_EXCHANGE") else Op.RENAME
    flags = tuple(
        name
        for word, name in ((b"RENAME_NOREPLACE", "noreplace"), (b"RENAME_WHITEOUT", "whiteout"))
        if has_flag(call, 4, word)
    )
    source = context.named_operand(thread, old_base, old)
    path = context.named_operand(thread, new_base, new)
    context.emit_event(call, op, path, source, flags=flags, follow=False)
    if call.ok:
        note_rename(context, source, path, both=op is Op.EXCHANGE)


def _read_duplicate(context: TraceContext, call: TracedCall) -> None:
    """dup(2) and similar calls give a number another meaning."""
    found, number = context.decode_descriptor(call.args[0]), call.result.value
    if not call.ok or number is None:
        return
    if found is not None:
        context.now_open(call.thread, number, OpenFile(found.path, found.deleted))
    else:
        call.thread.files.open.pop(number, None)


def _read_symlink(context: TraceContext, call: TracedCall) -> None:
    base, name = (None, call.args[1]) if call.name == b"symlink" else (call.args[1], call.args[2])
    if _is_unreadable(call, name) or _is_unreadable(call, call.args[0]):
        return
    path = context.named_operand(call.thread, base, name)
    context.emit_event(call, Op.SYMLINK, path, target_text=text_of(call.args, 0) or b"", follow=False)


def _read_bind(context: TraceContext, call: TracedCall) -> None:
    address = call.args[1]
    if not isinstance(address, Group) or address.get_field(b"sa_family") != b"AF_UNIX":
        return
    name = address.get_field(b"sun_path")
    # An abstract address is printed as @"…" and has no file; an unnamed one has no sun_path.
    if isinstance(name, Text):
        context.emit_event(call, Op.BIND, context.named_operand(call.thread, None, name), follow=False)


HANDLERS: Handlers = {
    **dict.fromkeys(_NAMED, _read_named),
    **dict.fromkeys(_ON_FILE, _on_file),
    **dict.fromkeys((b"access", b"faccessat", b"faccessat2"), _read_access),
    b"landlock_restrict_self": _read_restrict,
    **dict.fromkeys((b"open", b"openat", b"openat2", b"creat", b"open_by_handle_at"), _read_open),
    **dict.fromkeys((b"link", b"linkat"), _read_link),
    **dict.fromkeys((b"rename", b"renameat", b"renameat2"), _read_rename),
    **dict.fromkeys((b"symlink", b"symlinkat"), _read_symlink),
    b"bind": _read_bind,
    **dict.fromkeys((b"dup", b"dup2", b"dup3"), _read_duplicate),
}
"""Every call that this module reads."""
