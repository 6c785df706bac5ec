"""ioctl(2): reflinks, deduplication, file flags, allocation, and the subvolumes of btrfs."""

from __future__ import annotations

import re

from writeaudit.capture.errno_names import errno_name
from writeaudit.capture.strace.calls.arguments import TracedCall, parse_integer
from writeaudit.capture.strace.context import Handlers, TraceContext
from writeaudit.capture.strace.lexer import Arg, Descriptor, Group, Text
from writeaudit.events import Doubt, Op, Operand

_WORDS = (
    b"FICLONE", b"FIDEDUPERANGE", b"SETFLAGS", b"FSSETXATTR", b"BTRFS_IOC_S", b"SETVERSION", b"SETFSLABEL",
    b"SET_TURBO", b"RESVSP", b"ZERO_RANGE",
    b"WRITE, 0x58,", b"WRITE, 0x66,", b"WRITE, 0x76,", b"WRITE, 0x94,",
)  # fmt: skip
_FLAGS: dict[bytes, tuple[str, ...]] = {
    b"FS_IOC_SETFLAGS": (), b"FS_IOC32_SETFLAGS": (), b"FS_IOC_FSSETXATTR": (),
    b"FS_IOC_SETVERSION": ("version",), b"FS_IOC32_SETVERSION": ("version",),
    b"EXT4_IOC_SETVERSION": ("version",), b"EXT4_IOC32_SETVERSION": ("version",),
    # The same number as EXT4_IOC_SETVERSION, for a device that few have.
    b"XSDFEC_SET_TURBO": ("version",),
    b"_IOC(_IOC_WRITE, 0x66, 0x4, 0x8)": ("version",), b"_IOC(_IOC_WRITE, 0x66, 0x4, 0x4)": ("version",),
    b"_IOC(_IOC_WRITE, 0x76, 0x2, 0x8)": ("version",), b"_IOC(_IOC_WRITE, 0x76, 0x2, 0x4)": ("version",),
    b"FS_IOC_SETFSLABEL": ("label",), b"_IOC(_IOC_WRITE, 0x94, 0x32, 0x100)": ("label",),
    b"BTRFS_IOC_SUBVOL_SETFLAGS": ("subvolume",),
}  # fmt: skip
"""What sets flags of a file or of what it lies on. strace prints the parts of a number without a name."""
_SPACE = re.compile(
    rb"_IOC\(_IOC_WRITE, 0x58, 0x(28|29|2a|2b|39), 0x(?:30|2c)\)|X?FS_IOC_((?:UN)?RESVSP|ZERO_RANGE)"
)
_KEEP, _PUNCH, _ZERO = ("keep_size",), ("keep_size", "punch_hole"), ("keep_size", "zero_range")
_SPACE_FLAGS: dict[bytes, tuple[str, ...]] = {
    b"28": _KEEP, b"2a": _KEEP, b"29": _PUNCH, b"2b": _PUNCH, b"39": _ZERO,
    b"RESVSP": _KEEP, b"UNRESVSP": _PUNCH, b"ZERO_RANGE": _ZERO,
}  # fmt: skip
"""What fallocate(2) would be told for it."""

_SUBVOLUME = ("subvolume",)
_SUBVOLUMES: dict[bytes, tuple[Op, tuple[str, ...]]] = {
    b"BTRFS_IOC_SUBVOL_CREATE": (Op.MKDIR, _SUBVOLUME),
    b"BTRFS_IOC_SUBVOL_CREATE_V2": (Op.MKDIR, _SUBVOLUME),
    b"BTRFS_IOC_SNAP_CREATE": (Op.MKDIR, ("subvolume", "snapshot")),
    b"BTRFS_IOC_SNAP_CREATE_V2": (Op.MKDIR, ("subvolume", "snapshot")),
    b"BTRFS_IOC_SNAP_DESTROY": (Op.RMDIR, _SUBVOLUME),
    b"BTRFS_IOC_SNAP_DESTROY_V2": (Op.RMDIR, _SUBVOLUME),
}
_BY_ID = 0x10
"""BTRFS_SUBVOL_SPEC_BY_ID of struct btrfs_ioctl_vol_args_v2, and where its members lie."""
_FLAGS_AT, _NAME_AT = 16, 56


def is_irrelevant(line: bytes) -> bool:
    """Whether a line of an ioctl concerns no file's content or flags, and no subvolume.

    A name that holds one of the words only has its line read without need.
    """
    return not any(word in line for word in _WORDS)


def _read_ioctl(context: TraceContext, call: TracedCall) -> None:
    request = call.word_at(1)
    path = context.file_operand(call, call.args[0])
    if path is None:
        return
    if b"FICLONERANGE" in request:
        what = call.args[2]
        source = what.get_field(b"src_fd") if isinstance(what, Group) else None
        context.emit_event(
            call, Op.CLONE, path, None if source is None else _named_file(context, call, source)
        )
    elif b"FICLONE" in request:
        context.emit_event(call, Op.CLONE, path, _named_file(context, call, call.args[2]))
    elif b"FIDEDUPERANGE" in request:
        what = call.args[2]
        if isinstance(what, Group):
            _read_dedupe(context, call, path, what)
    elif request in _SUBVOLUMES:
        _read_subvolume(context, call, path)
    elif found := _SPACE.search(request):
        context.emit_event(call, Op.FALLOCATE, path, flags=_SPACE_FLAGS[found[1] or found[2]])
    else:
        _read_setter(context, call, path, request)


def _read_setter(context: TraceContext, call: TracedCall, path: Operand, request: bytes) -> None:
    """Read what sets flags and the like; a number may have several names (``A or B``)."""
    for name in request.split(b" or "):
        if (flags := _FLAGS.get(name)) is not None:
            context.emit_event(call, Op.SETFLAGS, path, flags=flags)
            return


def _read_dedupe(context: TraceContext, call: TracedCall, source: Operand, what: Group) -> None:
    """Read FIDEDUPERANGE: one source, many targets, and what became of each behind ``=>``."""
    asked, *answered = (each for each in what.all_fields(b"info") if isinstance(each, Group))
    answers = answered[0].items if answered else ()
    for index, each in enumerate(asked.items):
        target = each.get_field(b"dest_fd") if isinstance(each, Group) else None
        named = None if target is None else _named_file(context, call, target)
        if named is None:
            continue
        answer = answers[index] if index < len(answers) else None
        count = status = 0
        if isinstance(answer, Group):
            count, status = _number_at(answer, b"bytes_deduped"), _number_at(answer, b"status")
        of_target = call
        if call.ok and status < 0:
            of_target = call._replace(result=call.result._replace(error=errno_name(-status)))
        # Any other status than 0 means that nothing was changed: FILE_DEDUPE_RANGE_DIFFERS is 1.
        size = 0 if status or not call.ok else count
        context.emit_event(of_target, Op.CLONE, named, source, flags=("dedupe",), bytes=size)


def _number_at(group: Group, key: bytes) -> int:
    value = group.get_field(key)
    return parse_integer(value) if isinstance(value, bytes) else 0


def _named_file(context: TraceContext, call: TracedCall, arg: Arg) -> Operand | None:
    """Return the file of a descriptor, decoded by strace or, as for FICLONE, not."""
    if isinstance(arg, Descriptor):
        return context.file_operand(call, arg)
    if isinstance(arg, bytes) and arg[:1].isdigit():
        return context.by_number(call.thread, parse_integer(arg))
    return None


def _read_subvolume(context: TraceContext, call: TracedCall, directory: Operand) -> None:
    op, flags = _SUBVOLUMES[call.word_at(1)]
    what = call.args[2]
    path = directory._replace(fmt=None)
    if isinstance(what, Group):
        name = what.get_field(b"name")
        if isinstance(name, Text):
            path = path._replace(name=name.value, doubt=path.doubt | name.doubt)
            context.emit_event(call, op, path, flags=flags, follow=False)
            return
    elif call.outcome == "EFAULT":
        return
    else:
        # An address: strace does not know the structure. What lies there now may not have been there then.
        text_at, address = context.host.text_at, call.number_at(2)
        options = text_at(call.thread.tid, address + _FLAGS_AT)
        if options is not None and not (options and options[0] & _BY_ID):
            found = text_at(call.thread.tid, address + _NAME_AT)
            if found:
                context.emit_event(
                    call,
                    op,
                    path._replace(name=found, doubt=path.doubt | Doubt.UNREADABLE),
                    flags=flags,
                    follow=False,
                )
    if call.ok:
        context.add_blind_spot(
            "ioctl",
            "a btrfs subvolume was deleted by an ioctl that names it by a number, or that strace does not "
            "decode: its name was read later, or not at all",
        )


HANDLERS: Handlers = {b"ioctl": _read_ioctl}
"""The one call that this module reads."""
