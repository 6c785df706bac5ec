"""io_uring: a request is recorded when it is submitted, its result later. Pure."""

from __future__ import annotations

from writeaudit.capture.errno_names import errno_name
from writeaudit.capture.kernel.decode.calls import FMODE_CREATED, STORED
from writeaudit.capture.kernel.decode.operands import Operands
from writeaudit.capture.kernel.wire import EVENT, H_DOUBTFUL
from writeaudit.events import OK, Doubt, Op, Operand, RawEvent


class Requests:
    """Requests whose result is not known yet."""

    def __init__(self, operands: Operands) -> None:
        self._operands = operands
        self._events: dict[int, RawEvent] = {}

    def hold_request(self, key: int, event: RawEvent) -> RawEvent | None:
        """Hold a request back. Returns one that was held under the same key, and has no result."""
        earlier = self._events.pop(key, None)
        self._events[key] = event._replace(flags=(*event.flags, "io_uring"))
        return earlier

    def join_result(self, payload: bytes) -> tuple[bool, RawEvent | None]:
        """Join a result with its request: whether there is one, and the event if one comes of it."""
        time_ns, _pid, _tid, _kind, flags, _op, operands, _row, ret, key, *_args = EVENT.unpack_from(payload)
        event = self._events.pop(key, None)
        if event is None:
            return False, None
        lasted_ns = time_ns - event.time_ns
        result = OK if ret >= 0 else errno_name(-ret)
        event = event._replace(time_ns=time_ns, lasted_ns=lasted_ns, result=result)
        if flags & H_DOUBTFUL:
            source = None if event.source is None else _mark_uncertain(event.source)
            event = event._replace(path=_mark_uncertain(event.path), source=source)
        path, f_mode = event.path, 0
        if operands:
            path, _name, f_mode, _pos = self._operands.read_operand(payload, EVENT.size)
        if event.op is Op.OPEN:
            if operands and ret >= 0:
                made = event.created is not None and "creat" in event.flags and f_mode & FMODE_CREATED
                event = event._replace(path=path, spelled=event.path.name, created=bool(made))
            elif ret >= 0:
                # Opened into io_uring's own table of files, or its descriptor may stand for another file
                # by now: there is nothing to look it up by.
                event = event._replace(created=None)
        elif event.path.name is None or event.path.base is None:
            # An open file, known by now at the latest (one of io_uring's own table is not before).
            event = event._replace(path=path)
            if path.fmt not in STORED:
                return True, None
        if event.op in (Op.WRITE, Op.COPY):
            if not ret:
                return True, None
            event = event._replace(bytes=max(ret, 0))
        return True, event

    def take_all(self) -> list[RawEvent]:
        """Return what is still held back, and forget it."""
        events = list(self._events.values())
        self._events.clear()
        return events


def _mark_uncertain(operand: Operand) -> Operand:
    """Return an operand of which it is not known what its name began at when it was used."""
    return operand._replace(doubt=operand.doubt | Doubt.UNCERTAIN_BASE)
