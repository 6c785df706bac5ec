"""Processes that see other mounts, another root, other users and other process numbers.

What lies on a file system that writeaudit sees as well must be recorded under the name that it has
there; what does not, under the name that the process has for it.

    namespaces.py roots|mounts [unhurried]
"""

from __future__ import annotations

import ctypes
import os
import sys
import time
from collections.abc import Callable

from tests.workloads.calls import CWD, GROUND, Argument, Says, call, do, here, put, quiet, says

_NEWNS, _NEWUSER, _NEWPID = 0x00020000, 0x10000000, 0x20000000
_BIND, _REC, _PRIVATE, _MOVE, _REMOUNT, _RDONLY = 4096, 16384, 1 << 18, 8192, 32, 1
_DETACH = 2
_TREE_CLONE, _MOVE_EMPTY = 1, 4


def child(work: Callable[[], None]) -> None:
    """Run in a process of its own, and wait for it."""
    pid = os.fork()
    if not pid:
        try:
            work()
        except SystemExit as error:
            sys.stderr.write(f"{error}\n")
            os._exit(1)
        os._exit(0)
    if os.waitpid(pid, 0)[1]:
        sys.exit(f"{work.__name__} failed")


def moved(step: Says, name: str, *args: Argument) -> None:
    """Change what is mounted where; then leave time to look at it, if so wished."""
    do(step, name, *args)
    if "unhurried" in sys.argv:
        time.sleep(0.1)


def create(path: bytes, name: bytes, base: int = CWD) -> None:
    step = says("open", path, access="w", flags="creat", created=True)
    quiet("close", do(step, "openat", base, name, os.O_CREAT | os.O_WRONLY, 0o600))


def make(path: bytes, name: bytes | None = None) -> None:
    do(says("mkdir", path), "mkdir", path if name is None else name, 0o755)


def own_mounts() -> None:
    """unshare(CLONE_NEWNS), as root: a bind mount that nobody else sees."""
    quiet("unshare", _NEWNS)
    quiet("mount", b"none", b"/", None, _REC | _PRIVATE, None)
    moved(says("mount", b"view", b"real", flags="bind"), "mount", b"real", b"view", None, _BIND, None)
    create(b"real/through-bind", b"view/through-bind")
    make(b"real/dir", b"view/dir")
    do(says("link", b"real/linked", b"real/through-bind"), "link", b"view/through-bind", b"view/linked")
    do(
        says("link", b"real/cross", b"real/through-bind", result="EXDEV"),
        "link",
        b"view/through-bind",
        b"real/cross",
    )
    do(says("rename", b"real/moved", b"real/linked"), "rename", b"view/linked", b"view/moved")
    quiet("chdir", b"view/dir")
    create(b"real/dir/by-cwd", b"by-cwd")
    create(b"above-mount", b"../../above-mount")
    create(b"real/one-up", b"../one-up")
    quiet("chdir", GROUND)
    moved(
        says("mount", b"view", flags="ro remount bind"),
        "mount",
        None,
        b"view",
        None,
        _REMOUNT | _BIND | _RDONLY,
        None,
    )
    do(says("open", b"real/ro", result="EROFS"), "openat", CWD, b"view/ro", os.O_CREAT | os.O_WRONLY, 0o600)
    moved(says("umount", b"view"), "umount2", b"view", 0)
    create(b"view/below", b"view/below")


def own_tmpfs() -> None:
    """A file system that only the process sees has no name elsewhere."""
    quiet("unshare", _NEWNS)
    quiet("mount", b"none", b"/", None, _REC | _PRIVATE, None)
    moved(says("mount", b"private"), "mount", b"tmpfs", b"private", b"tmpfs", 0, None)
    create(b"private/hidden", b"private/hidden")
    do(says("rename", b"private/hidden2", b"private/hidden"), "rename", b"private/hidden", b"private/hidden2")
    do(
        says("link", b"from-hidden", b"private/hidden2", result="EXDEV"),
        "link",
        b"private/hidden2",
        b"from-hidden",
    )
    fd = do(says("open", b"private/hidden2"), "openat", CWD, b"private/hidden2", os.O_RDWR)
    moved(says("umount", b"private"), "umount2", b"private", _DETACH)
    quiet("close", fd)


def moved_mounts() -> None:
    """open_tree(2), move_mount(2), and mount(MS_MOVE)."""
    quiet("unshare", _NEWNS)
    quiet("mount", b"none", b"/", None, _REC | _PRIVATE, None)
    tree = quiet("open_tree", CWD, b"real", _TREE_CLONE)
    moved(says("mount", b"view", b"real", flags="move"), "move_mount", tree, b"", CWD, b"view", _MOVE_EMPTY)
    quiet("close", tree)
    create(b"real/by-move", b"view/by-move")
    moved(says("mount", b"private", b"view", flags="move"), "mount", b"view", b"private", None, _MOVE, None)
    create(b"real/by-move2", b"private/by-move2")


def jailed() -> None:
    """chroot(2): absolute names begin elsewhere."""
    do(says("chroot", b"jail"), "chroot", b"jail")
    quiet("chdir", b"/")
    create(b"jail/etc/absolute", b"/etc/absolute")
    create(b"jail/relative", b"relative")
    create(b"jail/no-further", b"/../../no-further")
    create(b"jail/etc/via-link", b"/link/via-link")
    do(says("symlink", b"jail/new", text=b"/etc"), "symlink", b"/etc", b"/new")
    do(says("rename", b"jail/etc/r", b"jail/relative"), "rename", b"/relative", b"/new/r")
    do(says("mkdir", b"jail/missing/x", result="ENOENT"), "mkdir", b"/missing/x", 0o700)


def jailed_by_name() -> None:
    """chroot(2) by absolute names, one in another, and one that fails."""
    do(says("chroot", b"jail"), "chroot", here(b"jail"))
    do(says("chroot", b"jail/missing", result="ENOENT"), "chroot", b"/missing")
    do(says("chroot", b"jail/plain", result="ENOTDIR"), "chroot", b"/plain")
    create(b"jail/etc/by-name", b"/etc/by-name")
    do(says("chroot", b"jail/etc"), "chroot", b"/etc")
    create(b"jail/etc/nested", b"/nested")
    make(b"jail/etc/deep", b"/deep")
    do(says("chroot", b"jail/etc/deep"), "chroot", b"/../deep/.")
    create(b"jail/etc/deep/nested", b"/nested")
    # The working directory is still outside.
    create(b"outside", b"outside")
    do(says("chroot", b"jail"), "chroot", b"jail")
    quiet("chdir", b"/")
    do(says("chroot", b"jail"), "chroot", b"/")


def jailed_with_lookalikes() -> None:
    """What looks like links of /proc need not be any."""
    for name in (b"jail/proc", b"jail/proc/self", b"jail/dev", b"jail/dev/fd"):
        make(name)
    do(says("symlink", b"jail/proc/self/cwd", text=b"/etc"), "symlink", b"/etc", b"jail/proc/self/cwd")
    for name in (b"jail/dev/fd/8", b"jail/dev/fd/9"):
        put(name, b"x")
    put(b"real/victim", b"x")
    fd = do(says("open", b"real/victim"), "openat", CWD, b"real/victim", os.O_RDWR)
    os.dup2(fd, 9)
    quiet("chdir", b"real")
    do(says("chroot", b"jail"), "chroot", here(b"jail"))
    make(b"jail/etc/by-lookalike", b"/proc/self/cwd/by-lookalike")
    do(says("truncate", b"jail/dev/fd/9"), "truncate", b"/dev/fd/9", 0)
    do(says("unlink", b"jail/dev/fd/8"), "unlink", b"/dev/fd/8")
    do(says("rmdir", b"jail/proc/self/fd", result="ENOENT"), "rmdir", b"/proc/self/fd")


def jailed_with_proc() -> None:
    """Where /proc is there, its links mean what they say."""
    quiet("unshare", _NEWNS)
    quiet("mount", b"none", b"/", None, _REC | _PRIVATE, None)
    moved(says("mount", b"proc", b"/proc", flags="bind"), "mount", b"/proc", b"proc", None, _BIND, None)
    quiet("chdir", b"real")
    do(says("chroot", GROUND), "chroot", GROUND)
    make(b"real/by-proc", b"/proc/self/cwd/by-proc")
    make(b"real/by-number", b"/proc/%d/cwd/by-number" % os.getpid())
    fd = do(says("open", b"real/by-proc", access="path"), "openat", CWD, b"by-proc", os.O_PATH)
    do(says("chmod", b"real/by-proc"), "chmod", b"/proc/self/fd/%d" % fd, 0o700)


def pivoted() -> None:
    """pivot_root(2), as containers do."""
    quiet("unshare", _NEWNS)
    quiet("mount", b"none", b"/", None, _REC | _PRIVATE, None)
    moved(says("mount", b"jail", b"jail", flags="bind"), "mount", b"jail", b"jail", None, _BIND, None)
    quiet("chdir", b"jail")
    make(b"jail/old-root", b"old-root")
    moved(says("pivot_root", b"jail", b"jail/old-root"), "pivot_root", b".", b"old-root")
    quiet("chdir", b"/")
    create(b"jail/etc/pivoted", b"/etc/pivoted")
    create(b"real/old", b"/old-root" + here(b"real/old"))
    moved(says("umount", b"jail/old-root"), "umount2", b"/old-root", _DETACH)
    create(b"jail/etc/pivoted2", b"/etc/pivoted2")


def user_namespace() -> None:
    """As nobody, who is root in a namespace of his own."""
    os.setgroups([])
    os.setresgid(65534, 65534, 65534)
    os.setresuid(65534, 65534, 65534)
    if call("unshare", _NEWUSER | _NEWNS) < 0:
        return  # this system forbids it
    moved(
        says("mount", b"view", b"public", flags="bind rec"),
        "mount",
        b"public",
        b"view",
        None,
        _BIND | _REC,
        None,
    )
    create(b"public/by-nobody", b"view/by-nobody")
    do(says("open", b"secret", result="EACCES"), "openat", CWD, b"secret", os.O_WRONLY)


def process_namespace() -> None:
    """Process numbers begin at 1: /proc/self and pids must not be confused with ours."""
    quiet("unshare", _NEWPID)

    def first() -> None:
        create(b"by-pid-1", b"by-pid-1")
        fd = do(says("open", b"by-pid-1"), "openat", CWD, b"by-pid-1", os.O_RDWR)
        do(says("write", b"by-pid-1", bytes=1, calls=1), "write", fd, b"1", 1)

        def second() -> None:
            do(says("unlink", b"by-pid-1"), "unlink", b"by-pid-1")

        child(second)

    child(first)


_PARTS = {
    "roots": (jailed, jailed_by_name, jailed_with_lookalikes, process_namespace),
    "mounts": (own_mounts, own_tmpfs, moved_mounts, pivoted, jailed_with_proc, user_namespace),
}


def main() -> None:
    libc = ctypes.CDLL(None)
    libc.umask(0)
    for name in (b"real", b"view", b"private", b"jail", b"jail/etc", b"public", b"proc"):
        make(name)
    do(says("chmod", b"public"), "chmod", b"public", 0o777)
    do(says("symlink", b"jail/link", text=b"/etc"), "symlink", b"/etc", b"jail/link")
    put(b"jail/plain")
    put(b"secret")
    do(says("chmod", b"secret"), "chmod", b"secret", 0o600)
    for work in _PARTS[sys.argv[1]]:
        child(work)


if __name__ == "__main__":
    main()
