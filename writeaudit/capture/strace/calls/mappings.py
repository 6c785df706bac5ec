"""Shared mappings of files: mmap, and what makes one writable later (mprotect) or moves it."""

from __future__ import annotations

from typing import NamedTuple

from writeaudit.capture.strace.calls.arguments import TracedCall
from writeaudit.capture.strace.calls.data import data_file
from writeaudit.capture.strace.context import Handlers, TraceContext, has_name
from writeaudit.capture.strace.state import SharedMapping
from writeaudit.events import Op

_PAGE = 4096


class _Range(NamedTuple):
    start: int
    end: int
    """The address behind the last."""

    @classmethod
    def from_length(cls, start: int, length: int) -> _Range:
        return cls(start, start + -(-length // _PAGE) * _PAGE)


def _cut_range(mappings: list[SharedMapping], gone: _Range) -> None:
    """Take a range out of all mappings; what lies before and behind it stays."""
    left: list[SharedMapping] = []
    for mapping in mappings:
        if mapping.end <= gone.start or gone.end <= mapping.start:
            left.append(mapping)
            continue
        if mapping.start < gone.start:
            left.append(mapping._replace(end=gone.start))
        if gone.end < mapping.end:
            left.append(mapping._replace(start=gone.end))
    mappings[:] = left


def _read_mmap(context: TraceContext, call: TracedCall) -> None:
    mappings = call.thread.process.mappings
    start = call.result.value
    where: _Range | None = None
    if call.ok and start is not None:
        where = _Range.from_length(start, call.number_at(1))
        _cut_range(mappings, where)
    descriptor = context.decode_descriptor(call.args[4]) if len(call.args) > 4 else None
    if descriptor is None or b"MAP_SHARED" not in call.word_at(3):
        return
    if not has_name(descriptor.path, deleted=descriptor.deleted):
        return
    path = data_file(context, call, descriptor)
    if path is None:
        return
    if b"PROT_WRITE" in call.word_at(2):
        context.emit_event(call, Op.MMAP_WRITE, path)
    elif where is not None:
        mappings.append(SharedMapping(*where, path))


def _read_munmap(context: TraceContext, call: TracedCall) -> None:  # noqa: ARG001
    if call.ok:
        _cut_range(call.thread.process.mappings, _Range.from_length(call.number_at(0), call.number_at(1)))


def _read_mprotect(context: TraceContext, call: TracedCall) -> None:
    """One event for each file in the range; with an errno if the kernel refused it."""
    if b"PROT_WRITE" not in call.word_at(2):
        return
    asked = _Range.from_length(call.number_at(0), call.number_at(1))
    mappings = call.thread.process.mappings
    within = (mapping.file for mapping in mappings if mapping.start < asked.end and asked.start < mapping.end)
    for file in dict.fromkeys(within):
        context.emit_event(call, Op.MMAP_WRITE, context.renew_operand(file))


def _read_mremap(context: TraceContext, call: TracedCall) -> None:  # noqa: ARG001
    to = call.result.value
    if not call.ok or to is None:
        return
    mappings = call.thread.process.mappings
    start, old_length = call.number_at(0), call.number_at(1)
    moved = next((mapping for mapping in mappings if mapping.start <= start < mapping.end), None)
    # A length of 0 asks for a second mapping of the same file.
    if old_length and b"MREMAP_DONTUNMAP" not in call.word_at(3):
        _cut_range(mappings, _Range.from_length(start, old_length))
    where = _Range.from_length(to, call.number_at(2))
    _cut_range(mappings, where)
    if moved is not None:
        mappings.append(SharedMapping(*where, moved.file))


_MMAPS = frozenset({b"mmap", b"mmap2"})


def is_irrelevant(name: bytes, line: bytes, mappings: list[SharedMapping]) -> bool:
    """Whether a call concerns plain memory only: told from the line before it is read.

    A name that holds the word only has its line read without need.
    """
    return not mappings and (name not in _MMAPS or b"MAP_SHARED" not in line)


HANDLERS: Handlers = {
    **dict.fromkeys(_MMAPS, _read_mmap),
    **dict.fromkeys((b"mprotect", b"pkey_mprotect"), _read_mprotect),
    b"mremap": _read_mremap,
    b"munmap": _read_munmap,
}
"""Every call that this module reads."""
