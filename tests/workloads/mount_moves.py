"""Bind mounts of one file, mounts of file systems that are made for them, mount namespaces that are joined.

    mount_moves.py mounts|roots

``mounts`` leaves time to look at each mount.
"""

from __future__ import annotations

import os
import struct
import sys
import time
from collections.abc import Callable

from tests.workloads.calls import CWD, GROUND, Argument, Says, do, put, quiet, says
from tests.workloads.namespaces import child, create

_NEWNS = 0x00020000
_BIND, _REC, _PRIVATE = 4096, 16384, 1 << 18
_PAUSE_S = 0.2
"""Longer than the ebpf backend waits before it looks at what is mounted."""
_CONFIG_CREATE, _MOVE_EMPTY, _TREE_CLONE, _ATTR_RDONLY = 6, 4, 1, 1


def moved(step: Says, name: str, *args: Argument) -> None:
    """Change what is mounted where, and leave time to look at it."""
    do(step, name, *args)
    time.sleep(_PAUSE_S)


def make(path: bytes, name: bytes | None = None, base: int = CWD) -> None:
    do(says("mkdir", path), "mkdirat", base, path if name is None else name, 0o755)


def private() -> None:
    quiet("unshare", _NEWNS)
    quiet("mount", b"none", b"/", None, _REC | _PRIVATE, None)


def one_file() -> None:
    """A file mounted on a file, as containers mount /etc/hosts."""
    private()
    step = says("mount", b"view/file", b"real/file", flags="bind")
    moved(step, "mount", b"real/file", b"view/file", None, _BIND, None)
    fd = do(says("open", b"real/file"), "openat", CWD, b"view/file", os.O_RDWR)
    do(says("write", b"real/file", bytes=1, calls=1), "write", fd, b"y", 1)
    quiet("close", fd)
    do(says("chmod", b"real/file"), "chmod", b"view/file", 0o600)
    do(says("truncate", b"real/file"), "truncate", b"view/file", 0)
    do(says("link", b"linked", b"real/file", result="EXDEV"), "link", b"view/file", b"linked")
    moved(says("umount", b"view/file"), "umount2", b"view/file", 0)


def made_anew() -> None:
    """fsopen(2), fsmount(2), move_mount(2); then mount_setattr(2) makes it read-only."""
    private()
    context = quiet("fsopen", b"tmpfs", 0)
    quiet("fsconfig", context, _CONFIG_CREATE, None, None, 0)
    mount = quiet("fsmount", context, 0, 0)
    # What is moved has no name before, and this one when it is looked at.
    step = says("mount", b"point", b"point", flags="move")
    moved(step, "move_mount", mount, b"", CWD, b"point", _MOVE_EMPTY)
    create(b"point/in", b"point/in")
    read_only = struct.pack("=QQQQ", _ATTR_RDONLY, 0, 0, 0)
    moved(says("mount", b"point"), "mount_setattr", CWD, b"point", 0, read_only, len(read_only))
    step = says("open", b"point/no", result="EROFS")
    do(step, "openat", CWD, b"point/no", os.O_CREAT | os.O_WRONLY, 0o600)
    quiet("close", mount)
    quiet("close", context)


def attached_nowhere() -> None:
    """open_tree(2): a mount that has no place, used by its descriptor alone."""
    private()
    tree = quiet("open_tree", CWD, b"real", _TREE_CLONE)
    time.sleep(_PAUSE_S)
    create(b"real/by-tree", b"by-tree", tree)
    make(b"real/dir", b"dir", tree)
    do(says("rename", b"real/dir2", b"real/dir"), "renameat", tree, b"dir", tree, b"dir2")
    quiet("fchdir", tree)
    make(b"real/by-cwd", b"by-cwd")
    time.sleep(_PAUSE_S)


def joined() -> None:
    """setns(2) into the mounts of another process."""
    ready, tell_ready = os.pipe()
    over, tell_over = os.pipe()
    pid = os.fork()
    if not pid:
        private()
        step = says("mount", b"view", b"real", flags="bind")
        moved(step, "mount", b"real", b"view", None, _BIND, None)
        os.write(tell_ready, b"x")
        os.read(over, 1)
        os._exit(0)
    os.read(ready, 1)
    other = quiet("pidfd_open", pid, 0)
    quiet("setns", other, _NEWNS)
    quiet("chdir", GROUND)
    create(b"real/by-joiner", b"view/by-joiner")
    make(b"real/joined", b"view/joined")
    time.sleep(_PAUSE_S)
    os.write(tell_over, b"x")
    os.waitpid(pid, 0)


def escaped() -> None:
    """Out of a chroot(2) by a directory that was opened before."""
    before = do(says("open", b""), "openat", CWD, b".", os.O_RDONLY | os.O_DIRECTORY)
    do(says("chroot", b"jail"), "chroot", b"jail")
    make(b"outside", b"outside", before)
    quiet("fchdir", before)
    make(b"by-cwd", b"by-cwd")
    make(b"outside/up", b"outside/../outside/up")
    make(b"jail/absolute", b"/absolute")
    do(says("rename", b"jail/in/taken", b"by-cwd"), "rename", b"by-cwd", b"/in/taken")
    create(b"escaped", b"escaped")
    do(says("chroot", b"outside"), "chroot", b"outside")
    make(b"outside/deeper", b"/deeper")


_PARTS: dict[str, tuple[Callable[[], None], ...]] = {
    "roots": (escaped,),
    "mounts": (one_file, made_anew, attached_nowhere, joined),
}


def main() -> None:
    os.umask(0)
    for name in (b"real", b"view", b"point", b"jail", b"jail/in"):
        make(name)
    put(b"real/file", b"x")
    put(b"view/file")
    for work in _PARTS[sys.argv[1]]:
        child(work)


if __name__ == "__main__":
    main()
