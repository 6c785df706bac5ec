"""Lines as strace writes them, and what its parser makes of them."""

from __future__ import annotations

from writeaudit.capture.interface import Record
from writeaudit.capture.strace.parser import TraceParser
from writeaudit.events import RawEvent

START = b'10 5.000000 execve("/bin/x", ["x", "a\\nb"], 0x7f /* 3 vars */) = 0 <0.000100>\n'


def parser(**options: object) -> TraceParser:
    """Return a parser of a command that was executed in /w."""
    made = TraceParser(10, cwd=b"/w", parent=9, **options)  # type: ignore[arg-type]
    made.feed_bytes(START)
    return made


def records(*calls: bytes, **options: object) -> list[Record]:
    """Return what the lines of process 10 (or of the thread that a line names) give."""
    made = parser(**options)
    text = b"".join(
        (line if line[:1].isdigit() else b"10 6.000001 " + line + b" <0.000010>") + b"\n" for line in calls
    )
    out = made.feed_bytes(text) + made.finish_trace()
    assert made.lost == {}, made.samples
    return out


def events(*calls: bytes, **options: object) -> list[RawEvent]:
    """Return the events among `records`."""
    return [record for record in records(*calls, **options) if isinstance(record, RawEvent)]


def only(*calls: bytes, **options: object) -> RawEvent:
    """Return the one event that the lines give."""
    (event,) = events(*calls, **options)
    return event
