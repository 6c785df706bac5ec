"""From records of the ring buffer to those of the capture interface. Pure."""

from __future__ import annotations

import mmap
from collections.abc import Callable

from writeaudit.audit import BlindSpot, Mount
from writeaudit.capture import core_dumps, outside
from writeaudit.capture.errno_names import errno_name
from writeaudit.capture.interface import (
    MountsChanged,
    MountSeen,
    ProcessExec,
    ProcessExit,
    ProcessStart,
    Record,
)
from writeaudit.capture.kernel.decode.calls import CALLS, MOVES_MOUNTS, DecodedCall, enters_namespace
from writeaudit.capture.kernel.decode.mappings import FMODE_WRITE, Mappings
from writeaudit.capture.kernel.decode.operands import Operands
from writeaudit.capture.kernel.decode.uring import Requests
from writeaudit.capture.kernel.wire import (
    EVENT,
    H_COREDUMP,
    H_IO_URING,
    H_MORE,
    H_NEW_MNT_NS,
    H_SAME_MM,
    MOUNT,
    TASK,
    TOTAL,
    RecordKind,
    kernel_dev,
    reversed_path,
)
from writeaudit.capture.syscalls import WireOp, pack_table
from writeaudit.events import OK, Doubt, Op, Operand, WriteTotal

_MNT_OPTIONS = (
    (0x01, "nosuid"),
    (0x02, "nodev"),
    (0x04, "noexec"),
    (0x08, "noatime"),
    (0x10, "nodiratime"),
    (0x20, "relatime"),
)
_MNT_READONLY, _SB_RDONLY = 0x40, 1

# Looking up a member of an enum takes as long as half an operand.
_EVENT, _EVENT_SIZE = int(RecordKind.EVENT), EVENT.size
_NONE: tuple[Operand, ...] = ()
_NO_OPERAND = Operand(None, None, doubt=Doubt.UNREADABLE)


class Decoder:
    """Turns records of the ring buffer into those of the capture interface.

    It keeps what one record needs of earlier ones: directories seen before, the shared mappings
    of each process, io_uring requests under way, the blind spots met.
    """

    def __init__(self, own_mount_ns: int, *, sees_uring: bool = False, dumps_are_files: bool = True) -> None:
        self._own_ns = own_mount_ns
        self._dumps_are_files = dumps_are_files
        self._sees_uring = sees_uring
        self._operands = Operands()
        self._mappings = Mappings()
        self._requests = Requests(self._operands)
        self._names = pack_table()[1]
        self._spots: dict[str, BlindSpot] = {}
        self._pids: set[int] = set()
        """Every process that the run ever had."""
        self._received: dict[str, int] = {kind.name.lower(): 0 for kind in RecordKind}
        self._count_events = 0
        self._times: dict[int, int] = {}
        """When each thread's last call returned, of those that were recorded."""
        calls: dict[int, tuple[Op | None, Callable[[DecodedCall], None]]] = {
            **CALLS,
            WireOp.MMAP: (Op.MMAP_WRITE, self._note_mmap),
            WireOp.MMAP_OTHER: (None, self._mmap_other),
            WireOp.MPROTECT: (Op.MMAP_WRITE, self._note_mprotect),
            WireOp.MREMAP: (None, self._note_mremap),
            WireOp.SUBVOL_DESTROY: (Op.RMDIR, self._subvolume_gone),
            WireOp.URING: (None, self._note_uring),
            WireOp.URING_OTHER: (None, self._uring_other),
            WireOp.UNSHARE: (None, _do_nothing),
            WireOp.MADVISE: (Op.FALLOCATE, self._note_madvise),
            WireOp.OUTSIDE: (None, self._note_outside),
            WireOp.PTRACE: (None, self._note_outside),
            WireOp.CONNECT: (None, self._note_connect),
            WireOp.ACCT: (Op.WRITE, _decode_acct),
            WireOp.UNKNOWN: (None, self._note_unknown),
        }
        self._calls = {int(wire_op): call for wire_op, call in calls.items()}

    def blind_spots(self) -> tuple[BlindSpot, ...]:
        """Return what was met and could not be seen in full."""
        return tuple(self._spots.values())

    @property
    def received(self) -> dict[str, int]:
        """How many records of each kind have been decoded."""
        return {**self._received, RecordKind.EVENT.name.lower(): self._count_events}

    def decode_record(self, payload: bytes, out: list[Record]) -> None:
        """Append the records that one ring-buffer record stands for (mostly one, at times none)."""
        if payload[16] != _EVENT:
            self._decode_other(payload, out)
            return
        self._count_events += 1
        call = DecodedCall()
        (
            call.time_ns,
            call.pid,
            call.tid,
            _kind,
            flags,
            wire_op,
            operands,
            row,
            ret,
            call.key,
            call.arg0,
            call.arg1,
            call.arg2,
        ) = EVENT.unpack_from(payload)
        # Its call began after that.
        call.lasted_ns = call.time_ns - self._times.get(call.tid, 0)
        self._times[call.tid] = call.time_ns
        call.ret = ret
        call.name = self._names.get(row, "")
        call.source = call.target_text = call.access = call.created = call.mode = call.spelled = None
        call.xattr = call.size = call.calls = call.file_key = None
        call.flags, call.source_name = (), b""
        call.more = _NONE
        call.follow = True
        call.follow_source = False
        if operands:
            call.path, call.path_name, call.f_mode, pos = self._operands.read_operand(payload, _EVENT_SIZE)
            if operands > 1:
                call.source, call.source_name, _, _ = self._operands.read_operand(payload, pos)
        else:
            call.path, call.path_name, call.f_mode = _NO_OPERAND, b"", 0
        if flags & H_MORE:
            self._add_blind_spot("many_at_once", "one call changed more files than a record can hold")
        if ret >= 0:
            call.result = OK
        else:
            call.result = errno_name(-ret)
            if call.result == "EBADF" and call.path.base is None and call.path.name is None:
                return  # a descriptor that was not open: nothing is named, nothing was tried
        call.op, fill = self._calls[wire_op]
        fill(call)
        if call.op is not None:
            base = call.path.base
            if base is not None and base[-4:] in _TELLING_ENDS:
                self._note_opened(call, base)
            event = call.make_event()
            if not flags & H_IO_URING:
                out.append(event)
                out.extend(event._replace(path=path) for path in call.more)
            elif (earlier := self._requests.hold_request(call.key, event)) is not None:
                out.append(earlier)
        if ret >= 0 and wire_op in MOVES_MOUNTS and (wire_op != WireOp.UNSHARE or enters_namespace(call)):
            out.append(MountsChanged(call.time_ns, call.pid))

    def _decode_other(self, payload: bytes, out: list[Record]) -> None:
        kind = RecordKind(payload[16])
        self._received[kind.name.lower()] += 1
        if kind is RecordKind.TOTAL:
            *_, key, total, calls = TOTAL.unpack_from(payload)
            out.append(WriteTotal(key, total, calls))
        elif kind is RecordKind.URING_DONE:
            known, event = self._requests.join_result(payload)
            if not known:
                self._add_blind_spot("io_uring", "the result of an io_uring request came without the request")
            if event is not None:
                out.append(event)
        elif kind is RecordKind.MOUNT:
            out.append(self._decode_mount(payload))
        else:
            self._decode_task(kind, payload, out)

    def note_process(self, pid: int) -> None:
        """Take note of a process that was there before."""
        self._pids.add(pid)

    def note_mapping(self, pid: int, start: int, length: int, file: Operand) -> None:
        """Take note of a shared mapping that was there before. It may be one that can be made writable."""
        self._mappings.add_mapping(pid, start, length, file, writable=True)

    def finish_run(self, out: list[Record]) -> None:
        """Append what is still held back when the run is over."""
        for event in self._requests.take_all():
            self._add_blind_spot("io_uring_result", "an io_uring request was still under way at the end")
            out.append(event)

    def _decode_task(self, kind: RecordKind, payload: bytes, out: list[Record]) -> None:
        time_ns, pid, _tid, _kind, flags, _op, _n, _row, other, _pad = TASK.unpack_from(payload)
        if kind is RecordKind.FORK:
            self._pids.add(other)
            self._mappings.fork_process(pid, other, shares=flags & H_SAME_MM != 0)
            out.append(ProcessStart(time_ns, other, pid))
            if flags & H_NEW_MNT_NS:
                out.append(MountsChanged(time_ns, other))
        elif kind is RecordKind.EXEC:
            self._pids.add(pid)
            self._mappings.drop_process(pid)
            operand, name, _f_mode, _pos = self._operands.read_operand(payload, TASK.size)
            argv = tuple(name.removesuffix(b"\0").split(b"\0")) if name else ()
            if flags & H_MORE:
                argv = (*argv, "…".encode())
            out.append(ProcessExec(time_ns, pid, operand.base or b"", argv))
        else:
            self._mappings.drop_process(pid)
            if flags & H_COREDUMP:
                self._add_blind_spot(core_dumps.KIND, core_dumps.MESSAGE, incomplete=self._dumps_are_files)
            signal = other & 0x7F
            out.append(ProcessExit(time_ns, pid, 128 + signal if signal else (other >> 8) & 0xFF))

    def _decode_mount(self, payload: bytes) -> MountSeen:
        fields = MOUNT.unpack_from(payload)
        time_ns = fields[0]
        ns, mount_id, parent, dev, mnt_flags, sb_flags, *lengths, _pad = fields[8:]
        pos = MOUNT.size
        texts: list[bytes] = []
        for length in lengths:
            texts.append(payload[pos : pos + length])
            pos += length
        fstype, source, root, point = texts
        options = ["ro" if mnt_flags & _MNT_READONLY or sb_flags & _SB_RDONLY else "rw"]
        options += [name for bit, name in _MNT_OPTIONS if mnt_flags & bit]
        mount = Mount(
            id=mount_id,
            mount_ns=ns,
            dev=kernel_dev(dev),
            fstype=fstype.decode("ascii", "replace"),
            source=source,
            root=reversed_path(root),
            mountpoint=reversed_path(point),
            options=tuple(options),
            parent=parent,
            own=ns == self._own_ns,
        )
        return MountSeen(time_ns, mount)

    # Calls that take more than the record itself (the others: `decode_calls`).

    def _note_mmap(self, call: DecodedCall) -> None:
        if not call.arg1 & mmap.PROT_WRITE:
            writable = call.f_mode & FMODE_WRITE != 0
            self._mappings.add_mapping(call.pid, call.ret, call.arg0, call.path, writable=writable)
            call.op = None
        elif call.ret >= 0:
            self._mappings.forget_range(call.pid, call.ret, call.arg0)

    def _mmap_other(self, call: DecodedCall) -> None:
        self._mappings.forget_range(call.pid, call.ret, call.arg0)

    def _note_mprotect(self, call: DecodedCall) -> None:
        files, made = self._mappings.protect_range(call.pid, call.arg0, call.arg1, call.result)
        if not files:
            call.op = None
            return
        if made:
            call.result = OK
        call.path, *call.more = files

    def _note_mremap(self, call: DecodedCall) -> None:
        self._mappings.move_mapping(call.pid, call.arg0, call.arg1, call.ret, call.arg2)

    def _subvolume_gone(self, call: DecodedCall) -> None:
        call.flags, call.follow = ("subvolume",), False
        if call.path.name is None:
            call.op = None
            if call.ret >= 0:
                self._add_blind_spot(
                    "subvolume", "a btrfs subvolume was deleted by its number: its name is not known"
                )

    def _note_madvise(self, call: DecodedCall) -> None:
        call.flags = ("punch_hole",)
        files = self._mappings.files_within(call.pid, call.arg0, call.arg1)
        if not files:
            call.op = None  # memory that is no file's, or of one that was opened for reading
            return
        call.path, *call.more = files

    def _note_outside(self, call: DecodedCall) -> None:
        if call.name == "userfaultfd":
            self._add_spot(outside.USERFAULTFD)
        elif call.name == "process_madvise":
            if call.arg1 == outside.MADV_REMOVE:
                self._add_spot(outside.other_process(call.name))
        elif call.name == "pidfd_getfd" or call.arg0 not in self._pids:
            self._add_spot(outside.other_process(call.name))

    def _note_connect(self, call: DecodedCall) -> None:
        name = call.path.name or call.path.base
        spot = outside.service_at(name) if name is not None else None
        if spot is not None:
            self._add_spot(spot)

    def _note_opened(self, call: DecodedCall, path: bytes) -> None:
        if call.op is not Op.OPEN or call.ret < 0 or path[:5] not in _TELLING:
            return
        spot = outside.spot_of_open(path, self._pids, writes=call.access is not None and call.access.writes)
        if spot is not None:
            self._add_spot(spot)

    def _add_spot(self, spot: outside.Spot) -> None:
        self._add_blind_spot(spot.kind, spot.message, incomplete=spot.incomplete)

    def _note_uring(self, call: DecodedCall) -> None:
        if call.ret >= 0 and not self._sees_uring:
            self._add_blind_spot(
                "io_uring",
                "a process set up io_uring: what it does through it makes no system call",
            )

    def _uring_other(self, call: DecodedCall) -> None:
        self._add_blind_spot(
            "io_uring_cmd", f"an io_uring operation that is not decoded was used: {call.name}"
        )

    def _note_unknown(self, call: DecodedCall) -> None:
        if call.arg1:
            self._add_blind_spot(
                "unknown_calls", f"io_uring's operation {call.arg0} is newer than writeaudit"
            )
        elif call.arg2:
            self._add_blind_spot("unknown_calls", f"the 32-bit system call number {call.arg0} is not known")
        else:
            self._add_blind_spot("unknown_calls", f"system call number {call.arg0} is newer than writeaudit")

    def _add_blind_spot(self, kind: str, message: str, *, incomplete: bool = True) -> None:
        known = self._spots.get(kind)
        self._spots[kind] = BlindSpot(kind, message, known.count + 1 if known else 1, incomplete)


_TELLING, _TELLING_ENDS = frozenset({b"/proc", b"/dev/"}), frozenset({b"/mem", b"fuse", b"ltfd"})
"""How names of files begin and end whose opening tells something (`outside.spot_of_open`)."""


def _decode_acct(call: DecodedCall) -> None:
    """acct(2): the kernel writes to the file from here on, whenever a process ends."""
    call.flags = ("acct",)


def _do_nothing(_call: DecodedCall) -> None:
    """Do nothing: unshare(2) and setns(2) only move the meaning of paths."""
