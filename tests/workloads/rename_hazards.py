"""Directories that are moved out of what their mount shows, while processes are in them. Needs root."""

from __future__ import annotations

import os

from tests.workloads.calls import CWD, here, quiet

_BIND = 4096


def main() -> None:
    for directory in (b"shown", b"shown/sub", b"other", b"point"):
        quiet("mkdir", directory, 0o755)
    quiet("mount", here(b"shown"), here(b"point"), 0, _BIND, 0)
    sub = quiet("openat", CWD, b"point/sub", os.O_RDONLY | os.O_DIRECTORY)
    quiet("chdir", b"point/sub")
    marker = quiet("openat", CWD, b"marker", os.O_CREAT | os.O_WRONLY, 0o600)
    quiet("rename", here(b"shown/sub"), here(b"other/moved"))
    quiet("mkdir", b"one", 0o755)
    quiet("mkdirat", CWD, b"two", 0o755)
    quiet("mkdirat", sub, b"three", 0o755)
    fd = quiet("openat", CWD, b"four", os.O_CREAT | os.O_WRONLY, 0o600)
    quiet("write", fd, b"text", 4)
    quiet("rename", b"one", b"uno")
    quiet("chdir", here(b""))
    quiet("mkdir", b"end", 0o755)
    for descriptor in (marker, sub, fd):
        quiet("close", descriptor)
    quiet("umount2", here(b"point"), 0)


if __name__ == "__main__":
    main()
