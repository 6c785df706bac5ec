"""Every call that is read by a handler, by its name."""

from __future__ import annotations

from writeaudit.capture import strace_data, strace_ioctl, strace_mappings, strace_names, strace_tree
from writeaudit.capture.strace_context import Handlers, merged
from writeaudit.capture.strace_state import Mapping

HANDLERS: Handlers = merged(
    strace_names.HANDLERS,
    strace_data.HANDLERS,
    strace_ioctl.HANDLERS,
    strace_mappings.HANDLERS,
    strace_tree.HANDLERS,
)

_MANY = strace_mappings.HANDLERS.keys() | strace_ioctl.HANDLERS.keys()


def irrelevant(name: bytes, line: bytes, mappings: list[Mapping]) -> bool:
    """Whether a call is one of many that do not matter: told from the line before it is read."""
    if name not in _MANY:
        return False
    if name in strace_ioctl.HANDLERS:
        return strace_ioctl.irrelevant(line)
    return strace_mappings.irrelevant(name, line, mappings)
