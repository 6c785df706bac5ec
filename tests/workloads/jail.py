"""Relative names in a chroot(2): its root directory is where absolute symlinks begin. Needs root."""

from __future__ import annotations

import os

from tests.workloads.calls import CWD, here, quiet


def main() -> None:
    for directory in (b"jail", b"jail/run", b"jail/var", b"run"):
        quiet("mkdir", directory, 0o755)
    quiet("symlink", here(b"run"), b"elsewhere")
    quiet("symlink", b"/run", b"jail/var/run")
    quiet("symlink", b"../run", b"jail/var/near")
    quiet("chroot", b"jail")
    quiet("chdir", b"/")
    quiet("mkdir", b"var/run/one", 0o755)
    var = quiet("openat", CWD, b"var", os.O_RDONLY | os.O_DIRECTORY)
    quiet("mkdirat", var, b"run/two", 0o755)
    quiet("mkdirat", var, b"near/three", 0o755)
    quiet("mkdir", b"../../../four", 0o755)
    quiet("mkdir", b"/var/run/five", 0o755)
    quiet("mkdir", b"var/six", 0o755)


if __name__ == "__main__":
    main()
