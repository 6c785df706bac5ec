"""Calls by which others do something for a process, or are made to: see `writeaudit.capture.outside`."""

from __future__ import annotations

from writeaudit.capture import outside
from writeaudit.capture.strace.calls.arguments import TracedCall
from writeaudit.capture.strace.context import Handlers, TraceContext
from writeaudit.capture.strace.lexer import Group, Text
from writeaudit.events import Op


def _add_spot(context: TraceContext, spot: outside.Spot) -> None:
    context.add_blind_spot(spot.kind, spot.message, incomplete=spot.incomplete)


def _read_reach(context: TraceContext, call: TracedCall) -> None:
    """process_vm_writev(pid, …), ptrace(request, pid, …), pidfd_getfd(pidfd, …)."""
    if not call.ok:
        return
    if call.name == b"ptrace":
        if call.word_at(0) not in (b"PTRACE_ATTACH", b"PTRACE_SEIZE"):
            return
        pid = call.number_at(1)
    else:
        pid = call.number_at(0)
    if call.name == b"pidfd_getfd" or pid not in context.pids:
        _add_spot(context, outside.other_process(call.name.decode()))


def _page_faults(context: TraceContext, call: TracedCall) -> None:
    if call.ok:
        _add_spot(context, outside.USERFAULTFD)


def _read_connect(context: TraceContext, call: TracedCall) -> None:
    address = call.args[1] if len(call.args) > 1 else None
    if not call.ok or not isinstance(address, Group) or address.get_field(b"sa_family") != b"AF_UNIX":
        return
    name = address.get_field(b"sun_path")
    spot = outside.service_at(name.value) if isinstance(name, Text) else None
    if spot is not None:
        _add_spot(context, spot)


def _read_acct(context: TraceContext, call: TracedCall) -> None:
    name = call.args[0] if call.args else None
    if isinstance(name, Text):
        path = context.named_operand(call.thread, None, name)
        context.emit_event(call, Op.WRITE, path, flags=("acct",))


def _read_madvise(context: TraceContext, call: TracedCall) -> None:
    if b"MADV_REMOVE" not in call.word_at(2):
        return
    start, end = call.number_at(0), call.number_at(0) + call.number_at(1)
    within = (m.file for m in call.thread.process.mappings if m.start < end and start < m.end)
    for file in dict.fromkeys(within):
        context.emit_event(call, Op.FALLOCATE, context.renew_operand(file), flags=("punch_hole",))


def _other_madvise(context: TraceContext, call: TracedCall) -> None:
    if call.ok and b"MADV_REMOVE" in call.word_at(3):
        _add_spot(context, outside.other_process("process_madvise"))


HANDLERS: Handlers = {
    **dict.fromkeys((b"process_vm_writev", b"ptrace", b"pidfd_getfd"), _read_reach),
    b"userfaultfd": _page_faults,
    b"connect": _read_connect,
    b"acct": _read_acct,
    b"madvise": _read_madvise,
    b"process_madvise": _other_madvise,
}
"""Every call that this module reads."""
