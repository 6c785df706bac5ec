"""Subvolumes of one btrfs: one mount, several devices."""

from __future__ import annotations

import os

from tests.workloads.calls import CWD, do, put, quiet, says

_FICLONE = 0x40049409


def main() -> None:
    put(b"one/file", b"x" * 4096)
    do(says("link", b"two/link", b"one/file", result="EXDEV"), "link", b"one/file", b"two/link")
    do(says("rename", b"two/moved", b"one/file", result="EXDEV"), "rename", b"one/file", b"two/moved")
    source = do(says("open", b"one/file"), "openat", CWD, b"one/file", os.O_RDONLY)
    step = says("open", b"two/clone", created=True)
    target = do(step, "openat", CWD, b"two/clone", os.O_CREAT | os.O_WRONLY, 0o600)
    do(says("clone", b"two/clone", b"one/file"), "ioctl", target, _FICLONE, source)
    quiet("close", target)
    quiet("close", source)
    do(says("mkdir", b"one/dir"), "mkdir", b"one/dir", 0o700)
    quiet("chdir", b"one/dir")
    do(says("unlink", b"two/clone"), "unlink", b"../../two/clone")


if __name__ == "__main__":
    main()
