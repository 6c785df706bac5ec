"""A daemon: the command is over, what it left behind works on."""

from __future__ import annotations

import os
import sys
import time

from tests.workloads.calls import CWD, do, quiet, says


def main() -> None:
    if os.fork():
        os._exit(0)
    os.setsid()
    if os.fork():
        os._exit(0)
    time.sleep(float(sys.argv[1]))
    step = says("open", b"by-daemon", created=True)
    fd = do(step, "openat", CWD, b"by-daemon", os.O_CREAT | os.O_WRONLY, 0o600)
    do(says("write", b"by-daemon", bytes=6, calls=1), "write", fd, b"daemon", 6)
    quiet("close", fd)


if __name__ == "__main__":
    main()
