"""Signals that were ignored when writeaudit started, and that the command has to ignore as well.

exec(2) hands on what is ignored. Two things get in the way: CPython ignores SIGPIPE and SIGXFSZ for
itself; and with the first thread of a process, the C library installs handlers for the two real-time
signals that it keeps to itself and that signal(2) and sigaction(2) refuse to touch (nptl(7)).
"""

from __future__ import annotations

import ctypes
import os
import struct

from writeaudit.capture.own_status import own_status

_OF_THE_C_LIBRARY = (32, 33)
_RT_SIGACTION = {"x86_64": 13, "aarch64": 134, "riscv64": 134}
_IGNORE = struct.pack("=QQQQ", 1, 0, 0, 0)
"""The kernel's struct sigaction: handler (SIG_IGN), flags, restorer, mask."""
_SIGNAL_SET_BYTES = 8


class InheritedDispositions:
    """What writeaudit was started with."""

    def __init__(self) -> None:
        self._ignored: tuple[int, ...] = ()

    def note_ignored(self) -> None:
        """Note what is ignored; to be called before the first thread is started."""
        try:
            mask = int(own_status().get("SigIgn", "0"), 16)
        except OSError:
            return  # without /proc no backend runs, and each says so
        self._ignored = tuple(number for number in _OF_THE_C_LIBRARY if mask >> number - 1 & 1)

    def restore_ignored(self) -> None:
        """Make this process, a child about to exec, ignore what was ignored when writeaudit started."""
        import signal  # noqa: PLC0415 - start-up: `note_ignored` comes before all else

        for number in (signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_DFL)
        if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
        call = _RT_SIGACTION.get(os.uname().machine)
        if self._ignored and call is not None:
            libc = ctypes.CDLL(None, use_errno=True)
            for ignored in self._ignored:
                if libc.syscall(call, ignored, _IGNORE, None, _SIGNAL_SET_BYTES) != 0:
                    raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


INHERITED = InheritedDispositions()
"""Those of this process."""
