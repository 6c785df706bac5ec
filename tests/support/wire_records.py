"""Records of the ring buffer, put together as the kernel side would."""

from __future__ import annotations

import stat
from dataclasses import dataclass

from writeaudit.capture.interface import MountsChanged, Record
from writeaudit.capture.kernel.decode.decoder import Decoder
from writeaudit.capture.kernel.wire import EVENT, OPERAND, F, RecordKind
from writeaudit.capture.syscalls import WireOp, pack_table
from writeaudit.events import RawEvent

OWN = 77
ROWS = {name: row for row, name in sorted(pack_table()[1].items(), reverse=True)}
"""The row of each call; of those that exist twice the 64-bit one."""


@dataclass(frozen=True)
class Side:
    """One operand, as the kernel side writes it."""

    base: bytes = b""
    name: bytes = b""
    flags: F = F.BASE | F.NAME
    ino: int = 0
    dev: int = 0
    mount: int = 21
    f_mode: int = 0
    i_mode: int = 0
    in_mount: int = 0
    skip: int = 0
    nlink: int = 1
    parent: int = 0
    chain: int = 0
    room: int = 0

    def pack(self) -> bytes:
        """Return struct wa_operand and what follows it."""
        reverse = b"".join(part + b"\0" for part in reversed(self.base.strip(b"/").split(b"/")) if part)
        numbers = (self.ino, self.chain, self.parent, self.dev, self.mount, self.f_mode, self.nlink)
        fields = (*numbers, self.i_mode, self.flags)
        if self.room:  # brief: the last component, if any, then the name at skip
            body = bytearray(self.room)
            body[: len(self.base)] = self.base
            body[self.skip : self.skip + len(self.name)] = self.name
            return OPERAND.pack(*fields, len(self.base), 0, len(self.name), self.skip, self.room) + body
        lengths = (len(reverse), self.in_mount, len(self.name), self.skip, 0)
        return OPERAND.pack(*fields, *lengths) + self.name + reverse


def open_file(path: bytes, *, f_mode: int = 0, name: bytes = b"", more: int = 0) -> Side:
    """Return an operand that is an open file."""
    flags = F.BASE | F.FILE | F(more)
    return Side(path, name, flags, ino=5, dev=254 << 20 | 1, f_mode=f_mode, i_mode=stat.S_IFREG | 0o644)


def packed(
    op: WireOp,
    call: str,
    *sides: Side,
    ret: int = 0,
    args: tuple[int, ...] = (),
    flags: int = 0,
    key: int = 0,
    kind: RecordKind = RecordKind.EVENT,
    time_ns: int = 1000,
    tid: int = 11,
) -> bytes:
    """Return the record of a system call."""
    words = (*args, 0, 0, 0)[:3]
    head = EVENT.pack(time_ns, 10, tid, kind, flags, op, len(sides), ROWS[call], ret, key, *words)
    return head + b"".join(side.pack() for side in sides)


def decoded(payload: bytes, decoder: Decoder | None = None) -> list[Record]:
    """Return what a record gives."""
    out: list[Record] = []
    (decoder or Decoder(OWN)).decode_record(payload, out)
    return out


def event_of(op: WireOp, call: str, *sides: Side, ret: int = 0, args: tuple[int, ...] = ()) -> RawEvent:
    """Return the event of a system call, which gives one."""
    [found, *rest] = decoded(packed(op, call, *sides, ret=ret, args=args))
    assert all(isinstance(record, MountsChanged) for record in rest)
    assert isinstance(found, RawEvent)
    assert (found.time_ns, found.pid, found.tid) == (1000, 10, 11)
    return found


NAME = Side(b"/w/dir", b"new")
OLD = Side(b"/w", b"old", mount=22)
