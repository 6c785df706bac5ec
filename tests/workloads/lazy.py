"""Files of a mount that is taken away while they are open (umount2(2), MNT_DETACH). Needs root.

``lazy bind`` mounts a directory a second time: its files keep a name. ``lazy tmpfs`` mounts what nobody
else shows: they are called by the last name that they had.
"""

from __future__ import annotations

import os
import sys

from tests.workloads.calls import CWD, do, here, quiet, says

_BIND, _DETACH = 4096, 2
_BUT = "detached-mounts"


def main() -> None:
    bound = sys.argv[1] == "bind"
    base, gone = (b"real/", "") if bound else (b"point/", "deleted")
    do(says("mkdir", b"real"), "mkdir", b"real", 0o755)
    do(says("mkdir", b"point"), "mkdir", b"point", 0o755)
    if bound:
        quiet("mount", here(b"real"), here(b"point"), 0, _BIND, 0)
    else:
        quiet("mount", b"none", here(b"point"), b"tmpfs", 0, 0)
    do(says("mkdir", b"point/sub"), "mkdir", b"point/sub", 0o755)
    made = says("open", b"point/sub/f", access="w", created=True)
    fd = do(made, "openat", CWD, b"point/sub/f", os.O_CREAT | os.O_WRONLY, 0o600)
    directory = do(says("open", b"point/sub", access="r"), "openat", CWD, b"point/sub", os.O_RDONLY)
    quiet("umount2", here(b"point"), _DETACH)

    do(says("write", base + b"sub/f", bytes=3, calls=1, flags=gone, but=_BUT), "write", fd, b"xyz", 3)
    do(says("chmod", base + b"sub/f", mode=0o640, flags=gone, but=_BUT), "fchmod", fd, 0o640)
    quiet("close", fd)
    late = says("open", base + b"sub/late", access="w", flags=f"creat {gone}", created=True, but=_BUT)
    quiet("close", do(late, "openat", directory, b"late", os.O_CREAT | os.O_WRONLY, 0o600))
    moved = says("rename", base + b"sub/later", base + b"sub/late", flags=gone, but=_BUT)
    do(moved, "renameat", directory, b"late", directory, b"later")
    linked = says("link", base + b"sub/again", base + b"sub/later", flags=gone, but=_BUT)
    do(linked, "linkat", directory, b"later", directory, b"again", 0)
    quiet("fchdir", directory)
    do(says("mkdir", base + b"sub/made", flags=gone, but=_BUT), "mkdir", b"made", 0o755)
    do(says("rmdir", base + b"sub/made", flags=gone, but=_BUT), "rmdir", b"made")
    do(says("symlink", base + b"sub/text", text=b"x", flags=gone, but=_BUT), "symlink", b"x", b"text")
    quiet("chdir", here(b""))
    quiet("close", directory)
    # What has the name now is another thing.
    do(says("mkdir", b"point/sub", but=_BUT), "mkdir", b"point/sub", 0o755)


if __name__ == "__main__":
    main()
