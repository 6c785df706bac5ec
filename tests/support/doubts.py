"""What is in doubt about an operand, asked in one word."""

from __future__ import annotations

from writeaudit.events import Doubt, Operand


def uncertain(operand: Operand) -> bool:
    return bool(operand.doubt & Doubt.UNCERTAIN_BASE)


def unreadable(operand: Operand) -> bool:
    return bool(operand.doubt & Doubt.UNREADABLE)


def maybe_detached(operand: Operand) -> bool:
    return bool(operand.doubt & Doubt.DETACHED_MOUNT)


def unreachable(operand: Operand) -> bool:
    return bool(operand.doubt & Doubt.UNREACHABLE)
