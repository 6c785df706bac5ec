"""Every call that is read by a handler, by its name."""

from __future__ import annotations

from writeaudit.capture.strace.calls import data, elsewhere, ioctls, names, namespaces
from writeaudit.capture.strace.calls import mappings as memory
from writeaudit.capture.strace.context import Handlers, merge_handlers
from writeaudit.capture.strace.state import SharedMapping

HANDLERS: Handlers = merge_handlers(
    names.HANDLERS,
    data.HANDLERS,
    ioctls.HANDLERS,
    memory.HANDLERS,
    namespaces.HANDLERS,
    elsewhere.HANDLERS,
)

_MANY = memory.HANDLERS.keys() | ioctls.HANDLERS.keys()


def is_irrelevant(name: bytes, line: bytes, mappings: list[SharedMapping]) -> bool:
    """Whether a call is one of many that do not matter: told from the line before it is read."""
    if name == b"madvise":
        return b"MADV_REMOVE" not in line
    if name not in _MANY:
        return False
    if name in ioctls.HANDLERS:
        return ioctls.is_irrelevant(line)
    return memory.is_irrelevant(name, line, mappings)
