"""A directory by a mount that is attached nowhere (open_tree(2)), by its descriptor alone. Needs root."""

from __future__ import annotations

import os
import time

from tests.workloads.calls import CWD, GROUND, do, here, quiet, says

_TREE_CLONE = 1
_BUT = "detached-mounts"


def main() -> None:
    do(says("mkdir", b"real"), "mkdir", b"real", 0o755)
    tree = quiet("open_tree", CWD, b"real", _TREE_CLONE)
    step = says("open", b"real/made", access="w", flags="creat", created=True, but=_BUT)
    fd = do(step, "openat", tree, b"made", os.O_CREAT | os.O_WRONLY, 0o600)
    do(says("write", b"real/made", bytes=1, calls=1, but=_BUT), "write", fd, b"x", 1)
    quiet("close", fd)
    other = os.dup(tree)
    do(says("mkdir", b"real/dir", but=_BUT), "mkdirat", other, b"dir", 0o755)
    quiet("fchdir", tree)
    do(says("rename", b"real/dir2", b"real/dir", but=_BUT), "rename", b"dir", b"dir2")
    quiet("close", tree)
    by_turns()


def by_turns() -> None:
    """Mounts that come and go: what one was known by comes again, and means another."""
    quiet("chdir", GROUND)
    for name in (b"left", b"right"):
        do(says("mkdir", name, but=_BUT), "mkdir", here(name), 0o755)
    for turn in range(8):
        for name in (b"left", b"right"):
            tree = quiet("open_tree", CWD, here(name), _TREE_CLONE)
            made = b"%d" % turn
            do(says("mkdir", name + b"/" + made, but=_BUT), "mkdirat", tree, made, 0o755)
            quiet("close", tree)
            # A mount is freed a little later, and its number with it.
            time.sleep(0.02)


if __name__ == "__main__":
    main()
