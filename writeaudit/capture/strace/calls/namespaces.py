"""Calls that move the meaning of later paths: chdir, chroot, mount, unshare, …"""

from __future__ import annotations

from writeaudit.capture.interface import MountsChanged
from writeaudit.capture.strace.calls.arguments import TracedCall, has_flag, is_number, text_of
from writeaudit.capture.strace.calls.flags import mount_flags
from writeaudit.capture.strace.context import MAGIC, Handlers, TraceContext
from writeaudit.capture.strace.lexer import Text
from writeaudit.capture.strace.state import OpenFile, Thread
from writeaudit.capture.strace.working_directories import change_root, enter_directory, note_mount
from writeaudit.events import Doubt, Op, Operand


def _from_root(call: TracedCall) -> bool:
    """Whether a chdir or chroot was given a name that begins at the root, and leads through no descriptor."""
    name = text_of(call.args, 0)
    return name is not None and name[:1] == b"/" and not name.startswith(MAGIC)


def _read_chdir(context: TraceContext, call: TracedCall) -> None:
    if not call.ok:
        return
    if context.may_be_detached and not _from_root(call):
        context.detached += 1  # for good: names may begin there even when the mount has a place
    thread, where = call.thread, call.args[0]
    fs = thread.fs
    # Others changed names, or went elsewhere, before this took effect, or after.
    begun = context.resumed
    late = begun is not None and (begun.renames, begun.version) != (context.renames.count, fs.version)
    if call.name == b"fchdir":
        found = context.base_operand(thread, where)
        if found.base is not None:
            fs.set_cwd(found.base, deleted=found.deleted)
        elif is_number(where):
            context.count_lost("undecoded")  # every name from here on depends on it
        if found.base is None or found.doubt & Doubt.UNCERTAIN_BASE:
            fs.mark_lost()
    elif isinstance(where, Text) and not where.truncated:
        enter_directory(context, thread, where.value)
    else:
        fs.mark_lost()
    if late:
        fs.mark_lost()


def _read_chroot(context: TraceContext, call: TracedCall) -> None:
    path = context.named_operand(call.thread, None, call.args[0])
    context.emit_event(call, Op.CHROOT, path)
    name = call.args[0]
    if call.ok and context.may_be_detached and not _from_root(call):
        context.detached += 1
    if call.ok and isinstance(name, Text):
        change_root(context, call.thread, name.value)


def _mounts_changed(context: TraceContext, call: TracedCall, *, moved: bool = False) -> None:
    if call.ok:
        note_mount(context, moved=moved)
        context.out.append(MountsChanged(call.time_ns, call.thread.process.pid))


def _read_mount(context: TraceContext, call: TracedCall) -> None:
    thread, origin = call.thread, call.args[0]
    flags = mount_flags(call.word_at(3))
    source: Operand | None = None
    # The source of a new file system is a device's name or any text at all; a remount has none.
    if isinstance(origin, Text) and ("bind" in flags or "move" in flags) and "remount" not in flags:
        source = context.named_operand(thread, None, origin, follow=True)
    path = context.named_operand(thread, None, call.args[1], follow=True)
    context.emit_event(call, Op.MOUNT, path, source, flags=flags, follow_source=True)
    _mounts_changed(context, call, moved="move" in flags)


def _read_umount(context: TraceContext, call: TracedCall) -> None:
    path = context.named_operand(call.thread, None, call.args[0], follow=True)
    context.emit_event(call, Op.UMOUNT, path, follow=not has_flag(call, 1, b"UMOUNT_NOFOLLOW"))
    if call.ok and has_flag(call, 1, b"MNT_DETACH") and call.thread.mount_ns is None:
        context.detached += 1  # for good: it lives as long as anybody has a file of it open
    _mounts_changed(context, call)


def _move_mount(context: TraceContext, call: TracedCall) -> None:
    thread, args = call.thread, call.args
    flags = call.word_at(4)
    was_detached = _note_attached(context, call)

    def read_side(base: int, empty: bytes) -> Operand:
        name = args[base + 1]
        if isinstance(name, Text) and not name.value and empty in flags:
            found = context.file_operand(call, args[base])
            if found is not None:
                return found
        return context.named_operand(thread, args[base], name)

    path = read_side(2, b"MOVE_MOUNT_T_EMPTY_PATH")
    # What had no place had no name: that which it has now stands for it.
    source = path if was_detached else read_side(0, b"MOVE_MOUNT_F_EMPTY_PATH")
    context.emit_event(call, Op.MOUNT, path, source, flags=("move",))
    _mounts_changed(context, call, moved=not was_detached)


def _detached_mount(context: TraceContext, call: TracedCall) -> None:
    """open_tree(2) and fsmount(2): paths in what they make begin at its root, and look like any others."""
    number, path = call.result.value, call.result.path
    if not call.ok or number is None:
        return
    detached = call.name == b"fsmount" or has_flag(call, 2, b"OPEN_TREE_CLONE")
    context.now_open(call.thread, number, OpenFile(path or b"/", call.result.deleted, detached=detached))
    context.detached += detached


def _note_attached(context: TraceContext, call: TracedCall) -> bool:
    """Note that a mount got its place; returns whether it is one that had none.

    One whose descriptor was duplicated is not known by the copy, and goes on counting.
    """
    descriptor = context.decode_descriptor(call.args[0])
    known = None if descriptor is None else call.thread.files.open.get(descriptor.number)
    if not call.ok or text_of(call.args, 1) != b"" or known is None or not known.detached:
        return False
    known.detached = False
    context.detached -= 1
    return True


def _mount_setattr(context: TraceContext, call: TracedCall) -> None:
    path = context.named_operand(call.thread, call.args[0], call.args[1])
    context.emit_event(call, Op.MOUNT, path, flags=("setattr",))
    _mounts_changed(context, call)


def _pivot_root(context: TraceContext, call: TracedCall) -> None:
    thread = call.thread
    new, old = (context.named_operand(thread, None, arg) for arg in call.args[:2])
    context.emit_event(call, Op.PIVOT_ROOT, new, old)
    if call.ok:
        fs = thread.fs
        inside = fs.cwd.removeprefix(new.base or b"/") if new.name in (b".", None) else fs.cwd
        fs.root, fs.root_guessed = b"/", False
        fs.set_cwd(context.host.read_cwd(thread.tid) or inside or b"/")
    _mounts_changed(context, call)


def new_namespace(context: TraceContext, thread: Thread, time_ns: int, *, may_be_ours: bool = False) -> None:
    """Note that a thread is in another mount namespace from now on.

    ``may_be_ours``: it may have come back to writeaudit's own.
    """
    found = context.host.mount_ns(thread.tid)
    thread.mount_ns = None if found == context.own_mount_ns else found
    if not may_be_ours or found is None or thread.mount_ns is not None:
        context.add_blind_spot(
            "namespace",
            "a process had a mount namespace of its own: its paths are those that it saw, which may stand "
            "for other files outside; the ebpf backend tells which",
        )
    context.out.append(MountsChanged(time_ns, thread.process.pid))


def _read_unshare(context: TraceContext, call: TracedCall) -> None:
    if not call.ok:
        return
    thread = call.thread
    index = 1 if call.name == b"setns" else 0
    flags = call.word_at(index).split(b"|")
    # A new user namespace implies it.
    if not {b"CLONE_FS", b"CLONE_NEWNS", b"CLONE_NEWUSER"}.isdisjoint(flags):
        thread.fs = thread.fs.copy()
    if b"CLONE_NEWNS" in flags or (index and _may_be_mounts(context, call, flags)):
        new_namespace(context, thread, call.time_ns, may_be_ours=bool(index))
        if index:
            # setns(2) also moves the root and the working directory to the new namespace's root.
            thread.fs.root, thread.fs.root_guessed = b"/", False
            thread.fs.set_cwd(b"/")
    if b"CLONE_FILES" in flags:
        thread.files.users -= 1
        thread.files = thread.files.copy()


def _may_be_mounts(context: TraceContext, call: TracedCall, flags: list[bytes]) -> bool:
    """Whether a setns that does not say what it enters can have entered a mount namespace."""
    if flags != [b"0"]:
        return False
    found = context.decode_descriptor(call.args[0])
    # ``net:[4026531840]`` once nobody has it mounted, ``/run/netns/blue`` as long as it is.
    return found is None or found.path[:1] == b"/" or found.path.startswith(b"mnt:")


def _io_uring(context: TraceContext, call: TracedCall) -> None:
    if call.ok:
        context.add_blind_spot(
            "io_uring",
            "a process set up io_uring: what it does through it makes no system call, and strace sees "
            "none of it; the ebpf backend does",
        )


HANDLERS: Handlers = {
    **dict.fromkeys((b"chdir", b"fchdir"), _read_chdir),
    b"chroot": _read_chroot,
    b"mount": _read_mount,
    **dict.fromkeys((b"umount", b"umount2"), _read_umount),
    **dict.fromkeys((b"open_tree", b"fsmount"), _detached_mount),
    b"move_mount": _move_mount,
    b"mount_setattr": _mount_setattr,
    b"pivot_root": _pivot_root,
    **dict.fromkeys((b"unshare", b"setns"), _read_unshare),
    b"io_uring_setup": _io_uring,
}
"""Every call that this module reads."""
