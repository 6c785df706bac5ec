"""A set-user-ID program, executed by nobody: it is followed like any other.

argv: the program, a copy of touch(1) that belongs to root.
"""

from __future__ import annotations

import os
import sys

from tests.workloads.calls import CWD, do, here, says, tell


def main() -> None:
    os.umask(0)
    os.setgroups([])
    os.setresgid(65534, 65534, 65534)
    os.setresuid(65534, 65534, 65534)
    do(says("mkdir", b"forbidden", result="EACCES"), "mkdirat", CWD, b"forbidden", 0o700)
    pid = os.fork()
    if not pid:
        os.execv(sys.argv[1], [os.fsencode(sys.argv[1]), here(b"by-root")])
    if os.waitpid(pid, 0)[1]:
        sys.exit("the set-user-ID program failed")
    tell(says("open", b"by-root", access="w", created=True))
    tell(says("utime", b"by-root"))


if __name__ == "__main__":
    main()
