"""The decoder: which file an mprotect(2) is about."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from tests.support.wire_records import OWN, Side, decoded, event_of, open_file, packed
from writeaudit.capture.interface import ProcessStart
from writeaudit.capture.kernel.decode.decoder import Decoder
from writeaudit.capture.kernel.decode.mappings import FMODE_WRITE
from writeaudit.capture.kernel.wire import H_SAME_MM, TASK, RecordKind
from writeaudit.capture.syscalls import WireOp
from writeaudit.events import Op, RawEvent

_READ, _WRITE = 1, 3
_SHARED, _PRIVATE_ANONYMOUS = 1, 0x22
_EACCES, _EPERM, _ENOMEM = 13, 1, 12
_PAGE = 4096
_AT = 0x7000
"""Where the file of `decoder` is mapped, two pages long."""


class _Change(NamedTuple):
    path: bytes | None
    result: str


_NOW_WRITABLE = [_Change(b"/w/f", "ok")]


def _map(
    decoder: Decoder, path: bytes, start: int, pages: int = 1, *, writable: bool = True, prot: int = _READ
) -> list[_Change]:
    side = open_file(path, f_mode=FMODE_WRITE if writable else 0)
    payload = packed(WireOp.MMAP, "mmap", side, ret=start, args=(pages * _PAGE, prot, _SHARED))
    return _changes(decoder, payload)


def _map_other(decoder: Decoder, start: int, length: int = _PAGE) -> list[_Change]:
    args = (length, _READ, _PRIVATE_ANONYMOUS)
    return _changes(decoder, packed(WireOp.MMAP_OTHER, "mmap", ret=start, args=args))


def _move(decoder: Decoder, start: int, old_length: int, to: int, length: int) -> list[_Change]:
    return _changes(decoder, packed(WireOp.MREMAP, "mremap", ret=to, args=(start, old_length, length)))


def _protect(decoder: Decoder, start: int, pages: int = 1, errno: int = 0) -> list[_Change]:
    args = (start, pages * _PAGE, _WRITE)
    return _changes(decoder, packed(WireOp.MPROTECT, "mprotect", ret=-errno, args=args))


def _changes(decoder: Decoder, payload: bytes) -> list[_Change]:
    changes = []
    for event in decoded(payload, decoder):
        assert isinstance(event, RawEvent)
        assert event.op is Op.MMAP_WRITE
        changes.append(_Change(event.path.base, event.result))
    return changes


@pytest.fixture
def decoder() -> Decoder:
    decoder = Decoder(OWN)
    assert _map(decoder, b"/w/f", _AT, 2) == []
    return decoder


def test_mapping_that_can_be_written() -> None:
    event = event_of(WireOp.MMAP, "mmap", open_file(b"/w/f"), ret=_AT, args=(_PAGE, _WRITE, _SHARED))
    assert (event.op, event.path.base) == (Op.MMAP_WRITE, b"/w/f")


def test_mapping_that_becomes_writable(decoder: Decoder) -> None:
    assert _protect(decoder, _AT - _PAGE) == []
    assert _protect(decoder, _AT + 2 * _PAGE) == []
    assert _protect(decoder, _AT + _PAGE) == _NOW_WRITABLE


def test_pages_count_not_bytes() -> None:
    decoder = Decoder(OWN)
    side = open_file(b"/w/f", f_mode=FMODE_WRITE)
    args = (2 * _PAGE - 1, _READ, _SHARED)
    decoded(packed(WireOp.MMAP, "mmap", side, ret=_AT, args=args), decoder)
    _map_other(decoder, _AT, 1)
    assert _protect(decoder, _AT) == []
    _map_other(decoder, _AT + 2 * _PAGE)
    assert _protect(decoder, _AT + _PAGE) == _NOW_WRITABLE
    _map_other(decoder, _AT + _PAGE, 1)
    assert _protect(decoder, _AT, 2) == []


def test_room_that_is_used_again(decoder: Decoder) -> None:
    """munmap(2) is not recorded."""
    _map_other(decoder, _AT)
    assert _protect(decoder, _AT) == []
    assert _protect(decoder, _AT, 2) == _NOW_WRITABLE
    _map_other(decoder, _AT - _PAGE, 8 * _PAGE)
    assert _protect(decoder, _AT, 2) == []


def test_room_that_is_used_for_a_mapping_that_can_be_written(decoder: Decoder) -> None:
    assert _map(decoder, b"/w/other", _AT, 2, prot=_WRITE) == [(b"/w/other", "ok")]
    assert _protect(decoder, _AT, 2) == []


def test_mapping_that_was_refused_takes_no_room(decoder: Decoder) -> None:
    side = open_file(b"/w/other")
    args = (_PAGE, _WRITE, _SHARED)
    assert _changes(decoder, packed(WireOp.MMAP, "mmap", side, ret=-_EACCES, args=args)) == [
        (b"/w/other", "EACCES")
    ]
    assert _protect(decoder, _AT) == _NOW_WRITABLE


def test_mapping_that_moves_and_then_becomes_writable(decoder: Decoder) -> None:
    assert _move(decoder, _AT, 2 * _PAGE, 0x20000, 4 * _PAGE) == []
    assert _protect(decoder, 0x20000 + 3 * _PAGE) == _NOW_WRITABLE
    assert _protect(decoder, 0x20000 + 4 * _PAGE) == []


def test_what_is_moved_may_stay(decoder: Decoder) -> None:
    """MREMAP_DONTUNMAP and an old length of 0 leave it where it was."""
    _move(decoder, _AT, 0, 0x20000, 2 * _PAGE)
    assert _protect(decoder, _AT) == _NOW_WRITABLE
    assert _protect(decoder, 0x20000 + _PAGE) == _NOW_WRITABLE


def test_mapping_that_shrinks_as_it_moves(decoder: Decoder) -> None:
    _move(decoder, _AT, 2 * _PAGE, 0x20000, _PAGE)
    assert _protect(decoder, 0x20000) == _NOW_WRITABLE
    assert _protect(decoder, 0x20000 + _PAGE) == []


def test_memory_that_moves_to_where_a_mapping_was(decoder: Decoder) -> None:
    _move(decoder, 0x90000, _PAGE, _AT, 2 * _PAGE)
    assert _protect(decoder, _AT, 2) == []


def test_mapping_that_is_replaced_in_part_keeps_the_rest() -> None:
    decoder = Decoder(OWN)
    _map(decoder, b"/w/f", 0x7000, 3)
    _map(decoder, b"/w/other", 0x8000)
    for start, path in ((0x7000, b"/w/f"), (0x8000, b"/w/other"), (0x9000, b"/w/f")):
        assert _protect(decoder, start) == [(path, "ok")]


def test_one_mprotect_over_several_mappings_names_each_file_once() -> None:
    decoder = Decoder(OWN)
    _map(decoder, b"/w/f", 0x7000, 3)
    _map(decoder, b"/w/other", 0x8000)
    assert _protect(decoder, 0x7000, 3) == [(b"/w/f", "ok"), (b"/w/other", "ok")]


@pytest.mark.parametrize(("errno", "name"), [(_EACCES, "EACCES"), (_EPERM, "EPERM")])
def test_refusal(errno: int, name: str) -> None:
    decoder = Decoder(OWN)
    assert _protect(decoder, _AT, errno=errno) == []
    _map(decoder, b"/w/f", _AT, writable=False)
    assert _protect(decoder, _AT, errno=errno) == [(b"/w/f", name)]


def test_refusal_of_a_file_that_was_opened_for_writing(decoder: Decoder) -> None:
    assert _protect(decoder, _AT, errno=_EACCES) == [(b"/w/f", "EACCES")]


def test_file_that_was_not_opened_for_writing_cannot_have_become_writable(decoder: Decoder) -> None:
    _map(decoder, b"/w/other", _AT + _PAGE, writable=False)
    assert _protect(decoder, _AT + _PAGE) == []
    assert _protect(decoder, _AT, 2) == _NOW_WRITABLE


def test_what_lies_before_a_refusal_is_writable_now(decoder: Decoder) -> None:
    _map(decoder, b"/w/other", _AT + 2 * _PAGE, writable=False)
    assert _protect(decoder, _AT, 3, errno=_EACCES) == _NOW_WRITABLE


def test_what_lies_before_a_hole_is_writable_now(decoder: Decoder) -> None:
    assert _protect(decoder, _AT, 3, errno=_ENOMEM) == _NOW_WRITABLE
    assert _protect(decoder, _AT, 2, errno=_ENOMEM) == [(b"/w/f", "ENOMEM")]


@pytest.mark.parametrize("mapper", [10, 50])
def test_processes_that_share_memory_share_its_mappings(mapper: int) -> None:
    decoder = Decoder(OWN)
    decoded(TASK.pack(5, 10, 10, RecordKind.FORK, H_SAME_MM, 0, 0, 0, 50, 0), decoder)
    side = open_file(b"/w/f", f_mode=FMODE_WRITE)
    mapping = bytearray(packed(WireOp.MMAP, "mmap", side, ret=_AT, args=(_PAGE, _READ, _SHARED)))
    mapping[8:12] = mapper.to_bytes(4, "little")
    decoded(bytes(mapping), decoder)
    decoded(TASK.pack(6, 50, 50, RecordKind.EXIT, 0, 0, 0, 0, 0, 0), decoder)
    assert _protect(decoder, _AT) == _NOW_WRITABLE


def test_mapping_is_inherited_by_a_fork_and_gone_after_an_exec(decoder: Decoder) -> None:
    fork = TASK.pack(5, 10, 10, RecordKind.FORK, 0, 0, 0, 0, 50, 0)
    assert decoded(fork, decoder) == [ProcessStart(5, 50, 10)]
    decoded(
        TASK.pack(6, 10, 10, RecordKind.EXEC, 0, 0, 1, 0, 10, 0) + Side(b"/bin/x", b"x\0").pack(), decoder
    )
    assert _protect(decoder, _AT) == []
    child = bytearray(packed(WireOp.MPROTECT, "mprotect", args=(_AT, _PAGE, _WRITE)))
    child[8:12] = (50).to_bytes(4, "little")
    assert _changes(decoder, bytes(child)) == _NOW_WRITABLE
