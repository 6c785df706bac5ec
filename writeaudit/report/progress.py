"""A line that shows that the audit is alive, drawn only while the command says nothing itself.

The command keeps the terminal: its standard error is ours, and installers draw progress
bars of their own there. So the line appears only when standard error is a terminal, when
nobody has written to that terminal for a while, and when the terminal is in the plain mode
of a command that just runs (no editor, no password prompt). It is drawn on the row below
the cursor, which stays where the command left it, and it goes as soon as the command
speaks, at the latest with `Progress.clear`, before the summary.

How silence is known: a terminal device's time of modification moves when anybody writes to
it. The kernel moves it in steps of eight seconds only, unless it lies further back; so it is
set back by an hour after each look, and whoever writes moves it on. Where it cannot be set
(another user's terminal) no line is drawn at all.
"""

from __future__ import annotations

import contextlib
import os
import termios
import time

_DRAW_EVERY_S = 0.25
_QUIET_S = 1.0
_SET_BACK_NS = 3_600 * 10**9
_LFLAG = 3
"""Index of the local modes in what termios.tcgetattr returns."""

_BELOW = "\x1bD\x1b[A\x1b7\x1b[B\r\x1b[K"
"""Index (scrolls if need be) and up again: there is a row below now and the column is kept.
Save the cursor, go down, to the left margin, erase the row."""
_BACK = "\x1b8"
_ERASE_BELOW = "\x1b7\x1b[J\x1b8"


class Progress:
    """Draws ``writeaudit: 12,345 events, 678 changes, 0:07`` on a terminal.

    ``update`` is cheap and may be called at any rate.
    """

    def __init__(self, fd: int = 2) -> None:
        self._fd = fd
        self._start = time.monotonic()
        self._next = self._start + _QUIET_S
        self._spoken = self._start
        self._visible = False
        self._mark = 0
        self._usable = os.isatty(fd) and os.environ.get("TERM", "dumb") != "dumb" and self._set_mark()

    def update(self, events: int, changes: int) -> None:
        """Take the figures so far; draw them if it is time and nobody else is writing."""
        if not self._usable:
            return
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + _DRAW_EVERY_S
        if self._others_wrote():
            self._spoken = now
            self.clear()
        elif now - self._spoken >= _QUIET_S and self._plain_mode():
            self._write(_BELOW + self._line(events, changes, now - self._start) + _BACK)
            self._visible = True

    def clear(self) -> None:
        """Take the line away; nothing happens if there is none."""
        if self._visible:
            self._visible = False
            self._write(_ERASE_BELOW)

    def _line(self, events: int, changes: int, elapsed: float) -> str:
        minutes, seconds = divmod(int(elapsed), 60)
        text = f"writeaudit: {events:,} events, {changes:,} changes, {minutes}:{seconds:02d}"
        try:
            columns = os.get_terminal_size(self._fd).columns or 80
        except OSError:
            columns = 80
        return f"\x1b[2m{text[: max(0, columns - 1)]}\x1b[22m"

    def _others_wrote(self) -> bool:
        try:
            wrote = os.fstat(self._fd).st_mtime_ns != self._mark
        except OSError:
            self._usable = False
            return True
        return wrote and self._set_mark()

    def _set_mark(self) -> bool:
        try:
            status = os.fstat(self._fd)
            self._mark = (time.time_ns() - _SET_BACK_NS) // 10**9 * 10**9
            os.utime(self._fd, ns=(status.st_atime_ns, self._mark))
        except OSError:
            self._usable = False
            return False
        return True

    def _plain_mode(self) -> bool:
        """Whether the terminal edits and echoes lines, and we are in its foreground."""
        try:
            flags = termios.tcgetattr(self._fd)[_LFLAG]
            foreground = os.tcgetpgrp(self._fd) == os.getpgrp()
        except (OSError, termios.error):
            return False
        wanted = termios.ICANON | termios.ECHO
        return foreground and flags & wanted == wanted

    def _write(self, text: str) -> None:
        with contextlib.suppress(OSError):
            os.write(self._fd, text.encode("ascii"))
        self._set_mark()
