"""Landlock (landlock(7)): what this kernel has of it, a rule set made from a plan, a process put under it.

Nothing here needs a privilege. The three system calls have no wrapper in the C library.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import stat
import struct
from collections.abc import Iterator
from typing import NamedTuple

from writeaudit.confine.landlock_plan import Grant, Plan, Rule
from writeaudit.errors import WriteauditError

# The same on every architecture: they were added after the tables were unified (Linux 5.13).
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_GET_VERSION = 1
_PATH_BENEATH = 1
_PR_SET_NO_NEW_PRIVS = 38

# include/uapi/linux/landlock.h, LANDLOCK_ACCESS_FS_*
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = (1 << bit for bit in range(4))
_REMOVE_DIR, _REMOVE_FILE = 1 << 4, 1 << 5
_MAKE_CHAR, _MAKE_DIR, _MAKE_REG, _MAKE_SOCK, _MAKE_FIFO, _MAKE_BLOCK, _MAKE_SYM = (
    1 << bit for bit in range(6, 13)
)
_REFER, _TRUNCATE, _IOCTL_DEV = 1 << 13, 1 << 14, 1 << 15
_SCOPE_ABSTRACT_UNIX_SOCKET, _SCOPE_SIGNAL = 1, 2

_READS = _EXECUTE | _READ_FILE | _READ_DIR
_FILE_READS = _EXECUTE | _READ_FILE
_FILE_WRITES = _WRITE_FILE | _TRUNCATE | _IOCTL_DEV
# Who may make a device node may write to any device through it: never granted.
_DIRECTORY_WRITES = (
    _FILE_WRITES | _REMOVE_DIR | _REMOVE_FILE | _MAKE_DIR | _MAKE_REG | _MAKE_SOCK | _MAKE_FIFO | _MAKE_SYM
    | _REFER
)  # fmt: skip
_WRITES = _DIRECTORY_WRITES | _MAKE_CHAR | _MAKE_BLOCK


class _Step(NamedTuple):
    """What a version of Landlock brought."""

    abi: int
    linux: str
    rights: int
    without: str
    """What holds without it."""


_STEPS = (
    _Step(
        2, "5.19", _REFER,
        "links and renames from one directory to another are refused, in writable places as well",
    ),
    _Step(
        3, "6.2", _TRUNCATE,
        "truncate(2), and open(2) for reading with O_TRUNC, can shorten files that may not be written",
    ),
    _Step(5, "6.10", _IOCTL_DEV, "ioctl(2) on devices is not restrained"),
    _Step(
        6, "6.12", 0,
        "processes outside can be sent signals, and be reached through abstract Unix sockets",
    ),
)  # fmt: skip
NEWEST_USED = _STEPS[-1].abi
_SCOPES_SINCE, _NETWORK_SINCE = 6, 4


class LandlockUnavailable(WriteauditError):
    """This kernel does not let us confine anything."""


_REASONS = {
    errno.ENOSYS: (
        "this kernel has no Landlock, or a seccomp filter hides it",
        (
            "Linux 5.13 or newer, built with CONFIG_SECURITY_LANDLOCK; in a container: its seccomp profile "
            "must let landlock_create_ruleset through"
        ),
    ),
    errno.EOPNOTSUPP: (
        "Landlock is switched off in this kernel",
        "add landlock to the boot option lsm= (see /sys/kernel/security/lsm)",
    ),
    errno.EPERM: (
        "a seccomp filter refuses Landlock's system calls",
        "in a container: its seccomp profile must let landlock_create_ruleset through",
    ),
}


def _call(number: int, *args: object) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    result = int(libc.syscall(ctypes.c_long(number), *args))
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


def find_abi() -> int:
    """Return the version of Landlock that this kernel has, from 1. Raises `LandlockUnavailable`."""
    try:
        return _call(_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint(_GET_VERSION))
    except OSError as error:
        raise _unavailable(error) from error


def _unavailable(error: OSError) -> LandlockUnavailable:
    reason, hint = _REASONS.get(error.errno or 0, (f"Landlock cannot be used: {error.strerror}", None))
    return LandlockUnavailable(f"the command cannot be confined, and was not run: {reason}", hint=hint)


def list_gaps(abi: int) -> list[str]:
    """Return what a version of Landlock does not enforce, in sentences without a full stop."""
    return [
        f"Landlock has version {abi} here, and {step.abi} is needed (Linux {step.linux}): {step.without}"
        for step in _STEPS
        if abi < step.abi
    ]


class RuleSet:
    """A rule set in the kernel, to be entered by this process or by a child of it."""

    def __init__(self, plan: Plan, abi: int) -> None:
        """Make it, as of version ``abi`` of Landlock. Raises `LandlockUnavailable`, `WriteauditError`."""
        self.abi = abi
        self._handled = _handled_rights(plan, abi)
        scopes = _SCOPE_ABSTRACT_UNIX_SOCKET | _SCOPE_SIGNAL
        attributes = struct.pack("=Q", self._handled)
        if abi >= _NETWORK_SINCE:
            attributes += struct.pack("=Q", 0)  # the network is left alone
        if abi >= _SCOPES_SINCE:
            attributes += struct.pack("=Q", scopes)
        try:
            self.fd = _call(_CREATE_RULESET, attributes, ctypes.c_size_t(len(attributes)), ctypes.c_uint(0))
        except OSError as error:
            raise _unavailable(error) from error
        self._libc = ctypes.CDLL(None, use_errno=True)
        try:
            for rule in plan.rules:
                self._add_rule(rule)
        except OSError as error:
            raise WriteauditError(
                f"the command cannot be confined, and was not run: landlock_add_rule: {error.strerror}"
            ) from error

    def _add_rule(self, rule: Rule) -> None:
        rights = _rights_of(rule) & self._handled
        if not rights:
            return
        try:
            opened = _open_place(rule.path)
        except (FileNotFoundError, NotADirectoryError):
            return  # gone since it was looked at: nothing is granted
        with opened as fd:
            mode = os.fstat(fd).st_mode
            if stat.S_ISDIR(mode) is not rule.is_directory or stat.S_ISLNK(mode):
                return  # exchanged since: what lies below was not looked at
            _call(
                _ADD_RULE, ctypes.c_int(self.fd), ctypes.c_int(_PATH_BENEATH),
                struct.pack("=Qi", rights, fd), ctypes.c_uint(0),
            )  # fmt: skip

    def restrict_process(self) -> None:
        """Put the calling thread, and all that it will start, under the rule set, for good.

        Nothing but system calls: it can be called in a child between fork(2) and exec(2). Raises OSError.
        """
        libc = self._libc
        if (
            libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0
            or libc.syscall(ctypes.c_long(_RESTRICT_SELF), ctypes.c_int(self.fd), ctypes.c_uint(0)) != 0
        ):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _handled_rights(plan: Plan, abi: int) -> int:
    handled = _WRITES | (_READS if plan.handles_reading else 0)
    for step in _STEPS:
        if abi < step.abi:
            handled &= ~step.rights
    return handled


def _rights_of(rule: Rule) -> int:
    rights = 0
    if Grant.READ in rule.grant:
        rights |= _READS if rule.is_directory else _FILE_READS
    if Grant.WRITE in rule.grant:
        rights |= _DIRECTORY_WRITES if rule.is_directory else _FILE_WRITES
    if Grant.WRITE_ONLY_FILES in rule.grant:
        rights |= _WRITE_FILE | _TRUNCATE  # the shell's > opens with O_TRUNC
    return rights


@contextlib.contextmanager
def _held(fd: int) -> Iterator[int]:
    try:
        yield fd
    finally:
        os.close(fd)


def _open_place(path: bytes) -> contextlib.AbstractContextManager[int]:
    """Open what stands at an absolute path, without following a symlink anywhere on the way."""
    flags = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
    fd = os.open(b"/", flags | os.O_DIRECTORY)
    names = [name for name in path.split(b"/") if name]
    for number, name in enumerate(names, 1):
        try:
            inner = os.open(name, flags | (os.O_DIRECTORY if number < len(names) else 0), dir_fd=fd)
        finally:
            os.close(fd)
        fd = inner
    return _held(fd)
