"""Events in words, for the messages of failing tests."""

from __future__ import annotations

from writeaudit.events import FsEvent


def describe(event: FsEvent) -> str:
    """Return an event in one line, for messages."""
    parts = [f"#{event.seq} {event.op} {event.path!r}"]
    if event.source is not None:
        parts.append(f"from {event.source!r}")
    parts.append(event.result)
    if event.access is not None:
        parts.append(event.access.value)
    parts.extend(event.flags)
    if event.created:
        parts.append("created")
    if event.bytes is not None:
        parts.append(f"{event.bytes} bytes in {event.calls} calls")
    if event.seen_as is not None:
        parts.append(f"seen as {event.seen_as!r}")
    return " ".join([*parts, f"[{event.certainty}, ino {event.ino}, tid {event.tid}]"])
