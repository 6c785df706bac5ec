"""Calls by which others do something for a process, or are made to: see `writeaudit.capture.outside`."""

from __future__ import annotations

from writeaudit.capture import outside
from writeaudit.capture.strace.calls.arguments import TracedCall
from writeaudit.capture.strace.context import Handlers, TraceContext
from writeaudit.capture.strace.lexer import Group, Text
from writeaudit.events import Op


def _note(context: TraceContext, spot: outside.Spot) -> None:
    context.add_blind_spot(spot.kind, spot.message, incomplete=spot.incomplete)


def _reach(context: TraceContext, call: TracedCall) -> None:
    """process_vm_writev(pid, …), ptrace(request, pid, …), pidfd_getfd(pidfd, …)."""
    if not call.ok:
        return
    if call.name == b"ptrace":
        if call.word(0) not in (b"PTRACE_ATTACH", b"PTRACE_SEIZE"):
            return
        pid = call.number(1)
    else:
        pid = call.number(0)
    if call.name == b"pidfd_getfd" or pid not in context.pids:
        _note(context, outside.other_process(call.name.decode()))


def _page_faults(context: TraceContext, call: TracedCall) -> None:
    if call.ok:
        _note(context, outside.USERFAULTFD)


def _connect(context: TraceContext, call: TracedCall) -> None:
    address = call.args[1] if len(call.args) > 1 else None
    if not call.ok or not isinstance(address, Group) or address.get(b"sa_family") != b"AF_UNIX":
        return
    name = address.get(b"sun_path")
    spot = outside.service_at(name.value) if isinstance(name, Text) else None
    if spot is not None:
        _note(context, spot)


def _account(context: TraceContext, call: TracedCall) -> None:
    name = call.args[0] if call.args else None
    if isinstance(name, Text):
        path = context.named(call.thread, None, name)
        context.emit(call, Op.WRITE, path, flags=("acct",))


def _madvise(context: TraceContext, call: TracedCall) -> None:
    if b"MADV_REMOVE" not in call.word(2):
        return
    start, end = call.number(0), call.number(0) + call.number(1)
    within = (m.file for m in call.thread.process.mappings if m.start < end and start < m.end)
    for file in dict.fromkeys(within):
        context.emit(call, Op.FALLOCATE, context.renewed(file), flags=("punch_hole",))


def _other_madvise(context: TraceContext, call: TracedCall) -> None:
    if call.ok and b"MADV_REMOVE" in call.word(3):
        _note(context, outside.other_process("process_madvise"))


HANDLERS: Handlers = {
    **dict.fromkeys((b"process_vm_writev", b"ptrace", b"pidfd_getfd"), _reach),
    b"userfaultfd": _page_faults,
    b"connect": _connect,
    b"acct": _account,
    b"madvise": _madvise,
    b"process_madvise": _other_madvise,
}
"""Every call that this module reads."""
