"""Events as capture emits them, for tests of the resolver."""

from __future__ import annotations

from typing import Any

from writeaudit.events import OK, Op, Operand, RawEvent


def raw(op: Op, path: Operand, **more: Any) -> RawEvent:
    """Return an event that ended at 1500 ns, unless ``more`` says otherwise."""
    return RawEvent(1500, 10, 10, op, str(more.pop("result", OK)), path, follow=False)._replace(**more)


def at(base: bytes, name: bytes, **more: Any) -> Operand:
    """Return a name that a process passed, relative to a directory."""
    return Operand(base, name)._replace(**more)
