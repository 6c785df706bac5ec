"""Attaching programs to the tracepoints of perf, see perf_event_open(2).

The number of a tracepoint, and where the values lie that it passes, are in tracefs. Where that is not
mounted it is mounted for us alone: nobody else sees it.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import functools
import os
import re
import struct

from writeaudit.capture.kernel.hooks import Hook

_PLACES = ("/sys/kernel/tracing", "/sys/kernel/debug/tracing")
_SYS_PERF_EVENT_OPEN = {"x86_64": 298, "aarch64": 241}
_SYS_FSOPEN, _SYS_FSCONFIG, _SYS_FSMOUNT = 430, 431, 432
_FSCONFIG_CREATE = 6
_CLOEXEC = 1
_TRACEPOINT, _ATTR_BYTES = 2, 112
_SET_BPF = 0x40042408
"""PERF_EVENT_IOC_SET_BPF."""
_PERF_CLOEXEC = 8
_FIELD = re.compile(r"field:.*?(\w+)(?:\[[^\]]*\])?;\s*offset:(\d+);")

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


def _call_system(number: int, *arguments: int | bytes | ctypes.Array[ctypes.c_char] | None) -> int:
    """Make a system call. Raises OSError."""
    values = (ctypes.c_long(each) if isinstance(each, int) else each for each in arguments)
    result = int(_libc.syscall(ctypes.c_long(number), *values))
    if result < 0:
        found = ctypes.get_errno()
        raise OSError(found, os.strerror(found))
    return result


@functools.cache
def open_tracefs() -> int:
    """Return a descriptor of tracefs' directory. Raises OSError, if it is nowhere to be had."""
    for place in _PLACES:
        with contextlib.suppress(OSError):
            found = os.open(place, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            with contextlib.suppress(OSError):
                os.stat("events", dir_fd=found)
                return found
            os.close(found)
    context = _call_system(_SYS_FSOPEN, b"tracefs\0", _CLOEXEC)
    try:
        _call_system(_SYS_FSCONFIG, context, _FSCONFIG_CREATE, None, None, 0)
        return _call_system(_SYS_FSMOUNT, context, _CLOEXEC, 0)
    finally:
        os.close(context)


def _read_file(hook: Hook, name: str) -> str:
    path = f"events/{hook.category}/{hook.tracepoint}/{name}"
    with open(os.open(path, os.O_RDONLY | os.O_CLOEXEC, dir_fd=open_tracefs()), encoding="ascii") as file:
        return file.read()


def check_passed(hook: Hook) -> None:
    """Raise OSError unless the kernel passes what the program takes, and where it takes it."""
    if not hook.passed:
        return
    places = {name: int(offset) for name, offset in _FIELD.findall(_read_file(hook, "format"))}
    for name, offset in hook.passed:
        if places.get(name) != offset:
            raise OSError(errno.EINVAL, f"the tracepoint {hook.tracepoint} does not pass {name} at {offset}")


def attach_perf(hook: Hook, program: int) -> int:
    """Attach a program; it is detached when the file descriptor that is returned is closed.

    It runs for every process on every processor, whatever the event is opened for. Raises OSError.
    """
    check_passed(hook)
    number = int(_read_file(hook, "id"))
    # struct perf_event_attr: type, size, config, sample_period, sample_type, read_format, flags, wakeup
    attributes = struct.pack("=IIQQQQQI", _TRACEPOINT, _ATTR_BYTES, number, 1, 0, 0, 1, 1)
    buffer = ctypes.create_string_buffer(attributes, _ATTR_BYTES)
    every, first, none = -1, 0, -1
    syscall = _SYS_PERF_EVENT_OPEN.get(os.uname().machine)
    if syscall is None:
        raise OSError(errno.ENOSYS, "the number of perf_event_open is not known for this processor")
    event = _call_system(syscall, buffer, every, first, none, _PERF_CLOEXEC)
    try:
        fcntl.ioctl(event, _SET_BPF, program)
    except OSError:
        os.close(event)
        raise
    return event
