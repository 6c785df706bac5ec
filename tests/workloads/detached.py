"""A directory by a mount that is attached nowhere (open_tree(2)), by its descriptor alone. Needs root."""

from __future__ import annotations

import os

from tests.workloads.calls import CWD, do, quiet, says

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


if __name__ == "__main__":
    main()
