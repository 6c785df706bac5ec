"""Every call that is read by a handler, by its name."""

from __future__ import annotations

from writeaudit.capture.strace.calls import data, elsewhere, ioctls, names, namespaces
from writeaudit.capture.strace.calls import mappings as strace_mappings
from writeaudit.capture.strace.context import Handlers, merged
from writeaudit.capture.strace.state import Mapping

HANDLERS: Handlers = merged(
    names.HANDLERS,
    data.HANDLERS,
    ioctls.HANDLERS,
    strace_mappings.HANDLERS,
    namespaces.HANDLERS,
    elsewhere.HANDLERS,
)

_MANY = strace_mappings.HANDLERS.keys() | ioctls.HANDLERS.keys()


def irrelevant(name: bytes, line: bytes, mappings: list[Mapping]) -> bool:
    """Whether a call is one of many that do not matter: told from the line before it is read."""
    if name == b"madvise":
        return b"MADV_REMOVE" not in line
    if name not in _MANY:
        return False
    if name in ioctls.HANDLERS:
        return ioctls.irrelevant(line)
    return strace_mappings.irrelevant(name, line, mappings)
