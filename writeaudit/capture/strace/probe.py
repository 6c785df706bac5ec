"""Whether strace can trace here, and which strace it is."""

from __future__ import annotations

import ctypes
import os
import re
import subprocess
from typing import NamedTuple

from writeaudit.capture.own_status import own_status
from writeaudit.capture.requirements import (
    CAP_SYS_ADMIN,
    CAP_SYS_PTRACE,
    explain_ptrace_refusal,
    holds_capabilities,
)
from writeaudit.errors import BackendUnavailable

INSTALL = "install it: `apt install strace` (Debian, Ubuntu), `dnf install strace` (Fedora)"

_PTRACE_TRACEME = 0


class Version(NamedTuple):
    """The release of strace."""

    major: int
    minor: int


def kernel_filters() -> bool:
    """Whether the kernel's seccomp can hand calls to a tracer (SECCOMP_RET_TRACE)."""
    try:
        with open("/proc/sys/kernel/seccomp/actions_avail", encoding="ascii") as file:
            return "trace" in file.read().split()
    except OSError:
        return False


def keeps_privileges(*, filtered: bool) -> bool:
    """Whether a set-user-ID program gains its rights although it is traced by a child of ours.

    That takes a tracer with CAP_SYS_PTRACE (execve(2)), and no no_new_privs, which a filter can
    do without if CAP_SYS_ADMIN installs it (seccomp(2)).
    """
    needed = (CAP_SYS_PTRACE, CAP_SYS_ADMIN) if filtered else (CAP_SYS_PTRACE,)
    try:
        no_new_privileges = own_status().get("NoNewPrivs", "0") != "0"
    except OSError:
        return False
    return holds_capabilities(*needed) and not no_new_privileges


def version_of(program: str) -> Version:
    """Ask a strace for its release. Raises `BackendUnavailable` if it does not say."""
    try:
        text = subprocess.run(
            [program, "-V"], capture_output=True, text=True, timeout=10, check=False, stdin=subprocess.DEVNULL
        ).stdout
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BackendUnavailable(f"{program} cannot be run: {error}", hint=INSTALL) from error
    match = re.search(r"version (\d+)\.(\d+)", text)
    if match is None:
        raise BackendUnavailable(f"{program} -V does not say which version it is", hint=INSTALL)
    return Version(int(match[1]), int(match[2]))


def probe_ptrace() -> None:
    """Ask the kernel whether a child of ours may be traced. Raises `BackendUnavailable`."""
    libc = ctypes.CDLL(None, use_errno=True)
    pid = os.fork()
    if pid == 0:
        failed = libc.ptrace(_PTRACE_TRACEME, 0, None, None) < 0
        os._exit(ctypes.get_errno() & 0xFF if failed else 0)
    _pid, status = os.waitpid(pid, 0)
    number = os.WEXITSTATUS(status) if os.WIFEXITED(status) else 0
    if os.WIFEXITED(status) and number == 0:
        return
    raise explain_ptrace_refusal(number)
