"""The decoder: requests of io_uring, which are recorded in two halves."""

from __future__ import annotations

import os

import pytest

from tests.support.doubts import uncertain
from tests.support.wire_records import NAME, OWN, Side, decoded, open_file, packed
from writeaudit.capture.interface import Record
from writeaudit.capture.kernel.decode.decoder import Decoder
from writeaudit.capture.kernel.wire import H_DOUBTFUL, H_IO_URING, F, RecordKind
from writeaudit.capture.syscalls import WireOp
from writeaudit.events import OK, Op, RawEvent

UNKNOWN = Side(b"", b"", F.NOFD)
"""A file of io_uring's own table: not known when the request is submitted."""


def submit(decoder: Decoder, op: WireOp, *sides: Side, key: int = 7, args: tuple[int, ...] = ()) -> None:
    """Submit a request, which gives nothing yet."""
    call = {WireOp.OPEN: "openat", WireOp.WRITE: "write", WireOp.MKDIR: "mkdirat"}[op]
    assert decoded(packed(op, call, *sides, flags=H_IO_URING, key=key, args=args), decoder) == []


def complete(decoder: Decoder, *sides: Side, ret: int = 0, key: int = 7) -> list[Record]:
    """Return what the result of a request gives."""
    return decoded(
        packed(WireOp.NONE, "openat", *sides, ret=ret, key=key, kind=RecordKind.URING_DONE), decoder
    )


def request(op: WireOp, *sides: Side, done: tuple[Side, ...] = (), ret: int = 0, flags: int = 0) -> RawEvent:
    """Return the event of a request."""
    decoder = Decoder(OWN, sees_uring=True)
    submit(decoder, op, *sides, args=(flags, 0o600))
    [event] = complete(decoder, *done, ret=ret)
    assert isinstance(event, RawEvent)
    assert event.flags[-1] == "io_uring"
    assert decoder.blind_spots() == ()
    return event


@pytest.mark.parametrize(("f_mode", "created"), [(0x100000, True), (0, False)])
def test_open_is_of_the_file_that_the_result_names(f_mode: int, created: bool) -> None:
    file = open_file(b"/w/dir/new", f_mode=f_mode)
    event = request(WireOp.OPEN, NAME, done=(file,), ret=5, flags=os.O_CREAT | os.O_RDWR)
    assert (event.op, event.result, event.path.base, event.path.name) == (Op.OPEN, OK, b"/w/dir/new", None)
    assert (event.spelled, event.created, event.flags) == (b"new", created, ("creat", "io_uring"))


def test_open_into_the_table_of_io_uring_keeps_its_name() -> None:
    event = request(WireOp.OPEN, NAME, flags=os.O_CREAT | os.O_RDWR)
    assert (event.path.base, event.path.name, event.created) == (b"/w/dir", b"new", None)


def test_open_that_failed() -> None:
    event = request(WireOp.OPEN, NAME, ret=-30, flags=os.O_RDWR)
    assert (event.result, event.path.name, event.created) == ("EROFS", b"new", False)


def test_operation_on_a_name() -> None:
    event = request(WireOp.MKDIR, NAME, ret=-17)
    assert (event.op, event.result, event.path.name) == (Op.MKDIR, "EEXIST", b"new")


def test_write_has_the_bytes_of_the_result() -> None:
    event = request(WireOp.WRITE, open_file(b"/w/f"), ret=512)
    assert (event.op, event.path.base, event.bytes) == (Op.WRITE, b"/w/f", 512)
    failed = request(WireOp.WRITE, open_file(b"/w/f"), ret=-28)
    assert (failed.result, failed.bytes) == ("ENOSPC", 0)


def test_file_that_is_known_with_the_result_only() -> None:
    event = request(WireOp.WRITE, UNKNOWN, done=(open_file(b"/w/f"),), ret=1)
    assert event.path.base == b"/w/f"


@pytest.mark.parametrize(("file", "ret"), [(open_file(b"/w/f"), 0), (Side(b"/pipe", b"", F.FILE), 9)])
def test_write_of_nothing_and_write_to_no_file_change_nothing(file: Side, ret: int) -> None:
    decoder = Decoder(OWN, sees_uring=True)
    submit(decoder, WireOp.WRITE, file)
    assert complete(decoder, ret=ret) == []
    assert decoder.blind_spots() == ()


def test_result_without_a_request_is_a_blind_spot() -> None:
    decoder = Decoder(OWN, sees_uring=True)
    submit(decoder, WireOp.MKDIR, NAME, key=7)
    assert complete(decoder, key=8) == []
    assert [(spot.kind, spot.incomplete) for spot in decoder.blind_spots()] == [("io_uring", True)]


def test_request_whose_result_never_comes() -> None:
    decoder = Decoder(OWN, sees_uring=True)
    submit(decoder, WireOp.MKDIR, NAME)
    left: list[Record] = []
    decoder.finish_run(left)
    assert [type(record) for record in left] == [RawEvent]
    decoder.finish_run(left)
    assert len(left) == 1
    assert [spot.kind for spot in decoder.blind_spots()] == ["io_uring_result"]


def test_request_under_the_key_of_another_drives_it_out() -> None:
    decoder = Decoder(OWN, sees_uring=True)
    submit(decoder, WireOp.MKDIR, NAME)
    [first] = decoded(packed(WireOp.WRITE, "write", open_file(b"/w/f"), flags=H_IO_URING, key=7), decoder)
    assert isinstance(first, RawEvent)
    assert first.op is Op.MKDIR
    [second] = complete(decoder, ret=3)
    assert isinstance(second, RawEvent)
    assert (second.op, second.bytes) == (Op.WRITE, 3)


@pytest.mark.parametrize("ret", [0, -17])
def test_a_request_that_may_have_begun_elsewhere(ret: int) -> None:
    decoder = Decoder(OWN, sees_uring=True)
    submit(decoder, WireOp.MKDIR, NAME)
    result = packed(
        WireOp.NONE, "openat", ret=ret, key=7, kind=RecordKind.URING_DONE, flags=H_IO_URING | H_DOUBTFUL
    )
    [event] = decoded(result, decoder)
    assert isinstance(event, RawEvent)
    assert (event.path.base, event.path.name, uncertain(event.path)) == (b"/w/dir", b"new", True)


def test_an_open_whose_descriptor_may_be_another_file_keeps_its_name() -> None:
    decoder = Decoder(OWN, sees_uring=True)
    submit(decoder, WireOp.OPEN, NAME, args=(os.O_CREAT | os.O_WRONLY, 0o600))
    result = packed(
        WireOp.NONE, "openat", ret=5, key=7, kind=RecordKind.URING_DONE, flags=H_IO_URING | H_DOUBTFUL
    )
    [event] = decoded(result, decoder)
    assert isinstance(event, RawEvent)
    assert (event.path.name, uncertain(event.path), event.created) == (b"new", True, None)
