"""Where working directories are: strace shows them with some calls only.

``openat(AT_FDCWD</w>, …`` is the kernel's own word, and every program says such a thing sooner or
later. Until then a directory that was entered by a name is that name (`FsContext.way`), to be resolved
like any other, for as long as nothing on its way is taken away; after that it is a guess. What /proc
and the disk tell comes too late: that they agree may be chance.
"""

from __future__ import annotations

from writeaudit.capture.strace.context import MAGIC, TraceContext
from writeaudit.capture.strace.state import FsContext, Thread, join_name
from writeaudit.events import Doubt, Operand
from writeaudit.paths import last_name


def enter_directory(context: TraceContext, thread: Thread, name: bytes) -> None:
    """Note that a thread went to another directory by a name."""
    fs, host = thread.fs, context.host
    text = join_name(fs, name)
    if thread.mount_ns is not None:
        fs.set_cwd(host.read_cwd(thread.tid) or text)  # the report says that such paths mean little
    elif fs.root != b"/" or name.startswith(MAGIC):
        # Its symlinks lead elsewhere for that thread than for us.
        led = None
        if name.startswith(MAGIC) and fs.root == b"/":
            led = context.through_proc(thread, name, follow=True)
        if led is not None and led.base is not None:
            probably = join_name(FsContext(led.base), led.name or b".")
        else:
            probably = host.read_cwd(thread.tid) or text
        fs.set_cwd(probably)
        fs.mark_lost()
    else:
        fs.enter_by_name(name, text)
        _watch_names(context, fs)


def note_rename(context: TraceContext, source: Operand, path: Operand, *, both: bool) -> None:
    """Keep up with the names of working directories."""
    if source.base is None or source.name is None or path.base is None or path.name is None:
        return
    last, new_last = last_name(source.name), last_name(path.name)
    context.renames.note_name(last)
    if both:
        context.renames.note_name(new_last)
    for thread in context.threads.values():
        fs = thread.fs
        if last in fs.cwd or new_last in fs.cwd or last in fs.root:
            break
    else:
        return  # nobody's directory is below one of that name
    if not both:
        note_removal(context, path)
    followed: set[int] = set()
    _follow_rename(context, source, path, followed)
    if both:
        _follow_rename(context, path, source, followed)


def _follow_rename(context: TraceContext, old: Operand, new: Operand, followed: set[int]) -> None:
    """Give the working directories below a name another one; those in ``followed`` have theirs."""
    assert old.base is not None
    assert old.name is not None
    assert new.base is not None
    assert new.name is not None
    name, new_name = old.name.rstrip(b"/"), new.name.rstrip(b"/")
    last = last_name(name)
    # No symlink can be on the way to a name in a directory that the kernel named.
    certain = b"/" not in name and not old.doubt & Doubt.UNCERTAIN_BASE
    old_text = join_name(FsContext(old.base), name)
    for fs in context.fs_contexts():
        fs.root_guessed |= last in fs.root.split(b"/")
        if id(fs) in followed or last not in fs.cwd.split(b"/"):
            continue
        below = fs.path_below(old_text)
        if below is None:
            fs.mark_lost()  # a mount or a symlink may show the directory by another name
        else:
            followed.add(id(fs))
            sure = certain and fs.sure and not fs.cwd_deleted and not new.doubt & Doubt.UNCERTAIN_BASE
            fs.move_cwd(new.base, new_name, below, sure=sure)
            _watch_names(context, fs)


def note_removal(context: TraceContext, directory: Operand) -> None:
    """Note that a directory is no more, if it is somebody's."""
    if directory.base is None or directory.name is None:
        return
    name = directory.name.rstrip(b"/")
    for fs in context.fs_contexts():
        if fs.cwd.endswith(b"/" + last_name(name)):
            if b"/" in name or directory.doubt & Doubt.UNCERTAIN_BASE or not fs.sure:
                fs.mark_lost()
                fs.cwd_deleted = True
            else:
                fs.cwd_deleted |= fs.cwd == join_name(FsContext(directory.base), name)


def note_mount(context: TraceContext, *, moved: bool) -> None:
    """Note that something was mounted or unmounted; or ``moved``, with all that lies below it."""
    for fs in context.fs_contexts():
        if moved or fs.way is not None:
            fs.mark_lost()


def change_root(context: TraceContext, thread: Thread, name: bytes) -> None:
    """Note that a thread has another root directory."""
    fs = thread.fs
    text = join_name(fs, name)
    plain = b".." not in name.split(b"/") and (name[:1] == b"/" or fs.sure)
    real = context.host.real_path(text) if thread.mount_ns is None else text
    # An absolute symlink leads elsewhere in a chroot; without any, it makes no difference.
    fs.root_guessed |= not plain or real != text
    fs.root = (real if fs.root == b"/" else None) or text


def _watch_names(context: TraceContext, fs: FsContext) -> None:
    """Have the names on the way to a directory watched, if it is known by that."""
    if fs.way is not None:
        base, name = fs.way
        fs.passed = context.host.names_on(name if name[:1] == b"/" else base + b"/" + name)
        context.unsure = True
