"""On an overlay file system: changes of what lies in the lower layer only."""

from __future__ import annotations

import os
import time

from tests.workloads.calls import CWD, do, quiet, says


def main() -> None:
    fd = do(says("open", b"from-below", access="rw"), "openat", CWD, b"from-below", os.O_RDWR)
    do(says("write", b"from-below", bytes=5, calls=1), "write", fd, b"upper", 5)
    quiet("close", fd)
    # By its own name and through no link: nobody can look in time whether it is one.
    do(says("chown", b"dir-below/file"), "lchown", b"dir-below/file", 0, 0)
    do(says("rename", b"renamed", b"dir-below/file"), "rename", b"dir-below/file", b"renamed")
    do(says("rename", b"dir-moved", b"dir-below", result="EXDEV"), "rename", b"dir-below", b"dir-moved")
    time.sleep(0.2)  # dir-below is looked at until here
    do(says("unlink", b"renamed"), "unlink", b"renamed")
    do(says("rmdir", b"dir-below"), "rmdir", b"dir-below")
    do(says("mkdir", b"dir-below"), "mkdir", b"dir-below", 0o700)
    do(says("truncate", b"from-below"), "truncate", b"from-below", 1)


if __name__ == "__main__":
    main()
