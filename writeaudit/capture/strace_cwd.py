"""Where working directories are: strace shows them with some calls only.

``openat(AT_FDCWD</w>, …`` is the kernel's own word, and every program says such a thing sooner or
later. Until then a directory that was entered by a name is that name (`Place.way`), to be resolved
like any other, for as long as nothing on its way is taken away; after that it is a guess. What /proc
and the disk tell comes too late: that they agree may be chance.
"""

from __future__ import annotations

from writeaudit.capture.strace_context import MAGIC, Context
from writeaudit.capture.strace_state import Place, Thread, joined, last_of
from writeaudit.events import Operand


def enter(context: Context, thread: Thread, name: bytes) -> None:
    """Note that a thread went to another directory by a name."""
    place, host = thread.place, context.host
    text = joined(place, name)
    if thread.mount_ns is not None:
        place.entered(host.cwd(thread.tid) or text)  # the report says that such paths mean little
    elif place.root != b"/" or name.startswith(MAGIC):
        # Its symlinks lead elsewhere for that thread than for us.
        led = None
        if name.startswith(MAGIC) and place.root == b"/":
            led = context.through_proc(thread, name, follow=True)
        if led is not None and led.base is not None:
            probably = joined(Place(led.base), led.name or b".")
        else:
            probably = host.cwd(thread.tid) or text
        place.entered(probably)
        place.lost()
    else:
        place.led(name, text)
        _watch(context, place)


def renamed(context: Context, source: Operand, path: Operand, *, both: bool) -> None:
    """Keep up with the names of working directories."""
    if source.base is None or source.name is None or path.base is None or path.name is None:
        return
    last, new_last = last_of(source.name), last_of(path.name)
    context.renames.note(last)
    if both:
        context.renames.note(new_last)
    for thread in context.threads.values():
        place = thread.place
        if last in place.cwd or new_last in place.cwd or last in place.root:
            break
    else:
        return  # nobody's directory is below one of that name
    if not both:
        removed(context, path)
    followed: set[int] = set()
    _follow(context, source, path, followed)
    if both:
        _follow(context, path, source, followed)


def _follow(context: Context, old: Operand, new: Operand, followed: set[int]) -> None:
    """Give the working directories below a name another one; those in ``followed`` have theirs."""
    assert old.base is not None
    assert old.name is not None
    assert new.base is not None
    assert new.name is not None
    name, new_name = old.name.rstrip(b"/"), new.name.rstrip(b"/")
    last = last_of(name)
    # No symlink can be on the way to a name in a directory that the kernel named.
    certain = b"/" not in name and not old.guessed
    old_text = joined(Place(old.base), name)
    for place in context.places():
        place.root_guessed |= last in place.root.split(b"/")
        if id(place) in followed or last not in place.cwd.split(b"/"):
            continue
        below = place.below(old_text)
        if below is None:
            place.lost()  # a mount or a symlink may show the directory by another name
        else:
            followed.add(id(place))
            sure = certain and place.sure and not place.cwd_deleted and not new.guessed
            place.moved(new.base, new_name, below, sure=sure)
            _watch(context, place)


def removed(context: Context, directory: Operand) -> None:
    """Note that a directory is no more, if it is somebody's."""
    if directory.base is None or directory.name is None:
        return
    name = directory.name.rstrip(b"/")
    for place in context.places():
        if place.cwd.endswith(b"/" + last_of(name)):
            if b"/" in name or directory.guessed or not place.sure:
                place.lost()
                place.cwd_deleted = True
            else:
                place.cwd_deleted |= place.cwd == joined(Place(directory.base), name)


def mounted(context: Context, *, moved: bool) -> None:
    """Note that something was mounted or unmounted; or ``moved``, with all that lies below it."""
    for place in context.places():
        if moved or place.way is not None:
            place.lost()


def change_root(context: Context, thread: Thread, name: bytes) -> None:
    """Note that a thread has another root directory."""
    place = thread.place
    text = joined(place, name)
    plain = b".." not in name.split(b"/") and (name[:1] == b"/" or place.sure)
    real = context.host.real_path(text) if thread.mount_ns is None else text
    # An absolute symlink leads elsewhere in a chroot; without any, it makes no difference.
    place.root_guessed |= not plain or real != text
    place.root = (real if place.root == b"/" else None) or text


def _watch(context: Context, place: Place) -> None:
    """Have the names on the way to a directory watched, if it is known by that."""
    if place.way is not None:
        base, name = place.way
        place.passed = context.host.names_on(name if name[:1] == b"/" else base + b"/" + name)
        context.unsure = True
