"""Waits beside processes that are not our children, until somebody says that it is enough.

The first Ctrl-C (or SIGTERM, SIGHUP, SIGQUIT) ends the audit, and nothing else: no signal is passed on.
"""

from __future__ import annotations

import selectors
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from writeaudit.capture.launch.launcher import SignalFd

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


@contextmanager
def signals_held() -> Iterator[None]:
    """Keep the signals that end an attendance until somebody looks: none may end writeaudit half-way."""
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    try:
        yield
    finally:
        # Those that came too late were meant for what is over by now.
        while signal.sigtimedwait(ENDING, 0) is not None:
            pass
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def attend_sources(
    sources: Mapping[int, Callable[[], object]],
    is_over: Callable[[], bool],
    *,
    tick_s: float,
    on_tick: Callable[[], object],
) -> None:
    """Call a source whose descriptor is readable, and ``on_tick`` every ``tick_s`` seconds.

    Ends when ``is_over`` says so or a signal came. To be called with the signals held.
    """
    signals = SignalFd(ENDING)
    try:
        with selectors.DefaultSelector() as selector:
            selector.register(signals.fd, selectors.EVENT_READ)
            for fd, callback in sources.items():
                selector.register(fd, selectors.EVENT_READ, callback)
            next_tick = time.monotonic() + tick_s
            while not is_over():
                for key, _mask in selector.select(max(0.0, next_tick - time.monotonic())):
                    if key.data is not None:
                        key.data()
                if signals.read():
                    return
                if time.monotonic() >= next_tick:
                    on_tick()
                    next_tick = time.monotonic() + tick_s
    finally:
        signals.close()
