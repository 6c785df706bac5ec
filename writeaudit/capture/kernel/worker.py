"""Work on chunks of records beside the command, out of its way, in a thread of its own.

The thread that watches the command empties the kernel's buffer, which takes next to nothing
and cannot wait for long. Decoding, resolving and writing down take much longer, may have to wait for the
disk, and can wait: they happen here, at a lower priority while the command runs, and preferably
in its pauses.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable

from writeaudit.capture.kernel.ring import Backlog
from writeaudit.capture.processors import DrainPolicy, lower_priority

_IDLE_S = 0.5
_LOOK_S = 0.003
"""How often it looks whether the command pauses."""
_MUCH = 24 << 20
"""Bytes of chunks beyond which nothing waits."""


class Worker:
    """Calls ``work`` with one chunk after the other, in their order, and without any while none comes."""

    def __init__(self, work: Callable[[bytes], None], spare: Callable[[], bool] = lambda: True) -> None:
        self._work = work
        self._drain_policy = DrainPolicy(spare, _MUCH)
        self._backlog = Backlog()
        self._changed = threading.Condition()
        self._busy = False
        self._spares = True
        self._over = False
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run_loop, name="writeaudit", daemon=True)
        self._nice: int | None = None
        """Its usual priority, once that has been lowered."""

    def start(self) -> None:
        """Begin, at a low priority. Signals are blocked there as they are in the calling thread."""
        self._thread.start()

    def push_chunk(self, chunk: bytes) -> None:
        """Add a chunk. Raises OSError if there is no room for it, in memory or on the disk."""
        with self._changed:
            self._backlog.push_chunk(chunk)
            self._changed.notify_all()

    def hurry(self) -> None:
        """Go on at once and at the usual priority, if that is permitted: nobody has to be spared any more."""
        with self._changed:
            self._spares = False
            self._changed.notify_all()
            if self._thread.native_id is not None and self._nice is not None:
                with contextlib.suppress(OSError):
                    os.setpriority(os.PRIO_PROCESS, self._thread.native_id, self._nice)

    def give_way(self) -> None:
        """Wait for a pause of the command, but not for long; to be called by ``work`` between batches."""
        with self._changed:
            while self._spares and not self._over and not self._drain_policy.is_due(self._backlog.held):
                self._changed.wait(_LOOK_S)

    def wait_until_done(self, timeout_s: float | None = None) -> bool:
        """Wait until all chunks are done with; returns whether they are. Raises what ``work`` raised.

        Does not wait if nobody works on them: no thread could be started, or it was told to stop.
        """
        with self._changed:
            self._changed.wait_for(
                lambda: self._error or not self._pending or not self._thread.is_alive(), timeout_s
            )
            done = not self._pending
        if self._error is not None:
            raise self._error
        return done

    def close(self) -> None:
        """Stop after the chunk at hand, and forget the rest."""
        with self._changed:
            self._over = True
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join()
        self._backlog.close()

    @property
    def _pending(self) -> bool:
        return self._busy or bool(self._backlog)

    def _run_loop(self) -> None:
        with self._changed:
            if self._spares:
                self._nice = lower_priority()
        while (chunk := self._next_chunk()) or not self._over:
            try:
                if chunk:
                    self.give_way()
                self._work(chunk)
            except BaseException as error:  # noqa: BLE001 - handed to whoever waits
                self._end_work(error)
                return
            self._end_work(None)

    def _next_chunk(self) -> bytes:
        with self._changed:
            self._changed.wait_for(lambda: self._over or self._backlog, _IDLE_S)
            if self._over or not self._backlog:
                return b""
            self._busy = True
            return self._backlog.pop_chunk()

    def _end_work(self, error: BaseException | None) -> None:
        with self._changed:
            self._busy = False
            self._error = error
            self._changed.notify_all()
