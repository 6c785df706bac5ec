"""From records of the ring buffer to those of the capture interface. Pure."""

from __future__ import annotations

import mmap
import os
import stat
from collections.abc import Callable
from typing import Any

from writeaudit.audit import BlindSpot, Mount
from writeaudit.capture.interface import (
    MountsChanged,
    MountSeen,
    ProcessExec,
    ProcessExit,
    ProcessStart,
    Record,
)
from writeaudit.capture.syscalls import NOFOLLOW_CALLS, WireOp, table
from writeaudit.capture.wire import (
    EVENT,
    H_COREDUMP,
    H_IO_URING,
    H_MORE,
    H_NEW_MNT_NS,
    MOUNT,
    OPERAND,
    TASK,
    TOTAL,
    F,
    Kind,
    decode_open_flags,
    errno_name,
    kernel_dev,
    reversed_path,
)
from writeaudit.events import OK, Access, Op, Operand, RawEvent, WriteTotal

_BASE, _NAME, _FILE, _TEXT = int(F.BASE), int(F.NAME), int(F.FILE), int(F.TEXT)
_BAD = int(F.TRUNCATED | F.FAULT | F.UNREACHABLE | F.NOFD)
_DELETED, _DETACHED, _ROOT, _MAGIC = int(F.DELETED), int(F.DETACHED), int(F.ROOT), int(F.MAGIC)

_FMODE_CREATED = 0x100000
"""The kernel's FMODE_CREATED: this open made the file (Linux 4.19)."""

_AT_SYMLINK_NOFOLLOW, _AT_REMOVEDIR, _AT_SYMLINK_FOLLOW = 0x100, 0x200, 0x400
_RENAME_NOREPLACE, _RENAME_EXCHANGE, _RENAME_WHITEOUT = 1, 2, 4
_CLONE_NEWNS = 0x00020000
_MS_REMOUNT, _MS_BIND, _MS_MOVE = 32, 4096, 8192
_MS_BITS = {1: "ro", _MS_REMOUNT: "remount", _MS_BIND: "bind", _MS_MOVE: "move", 16384: "rec"}
_FALLOCATE = (
    (0x01, "keep_size"),
    (0x02, "punch_hole"),
    (0x08, "collapse_range"),
    (0x10, "zero_range"),
    (0x20, "insert_range"),
    (0x40, "unshare_range"),
)
_MOVES_MOUNTS = frozenset(
    {
        WireOp.MOUNT,
        WireOp.MOVE_MOUNT,
        WireOp.MOUNT_SETATTR,
        WireOp.UMOUNT,
        WireOp.PIVOT_ROOT,
        WireOp.CHROOT,
        WireOp.UNSHARE,
    }
)
_MNT_OPTIONS = (
    (0x01, "nosuid"),
    (0x02, "nodev"),
    (0x04, "noexec"),
    (0x08, "noatime"),
    (0x10, "nodiratime"),
    (0x20, "relatime"),
)
_MNT_READONLY, _SB_RDONLY = 0x40, 1


_O_TMPFILE = 0o20000000


class _Call:
    """One system call while it is decoded."""

    __slots__ = (
        "args", "f_mode", "key", "name", "op", "path", "path_name", "pid", "result", "ret",
        "source", "source_name", "tid", "time_ns",
    )  # fmt: skip
    time_ns: int
    pid: int
    tid: int
    op: int
    name: str
    """Of the system call."""
    ret: int
    result: str
    key: int
    args: list[int]
    path: Operand
    path_name: bytes
    f_mode: int
    source: Operand | None
    source_name: bytes


_EVENT = int(Kind.EVENT)
_STORED = frozenset({stat.S_IFREG, stat.S_IFBLK})
_NO_OPERAND = Operand(None, None, truncated=True)


class Decoder:
    """Turns records of the ring buffer into those of the capture interface.

    It keeps what one record needs of earlier ones: directories seen before (most paths
    share theirs), the shared mappings of each process, the blind spots met.
    """

    def __init__(self, own_mount_ns: int, *, sees_uring: bool = False) -> None:
        self._own_ns = own_mount_ns
        self._sees_uring = sees_uring
        self._requests: dict[int, RawEvent] = {}
        self._paths: dict[bytes, bytes] = {b"": b"/"}
        self._names = table()[1]
        self._open_flags: dict[int, tuple[Access, tuple[str, ...]]] = {}
        self._shared: dict[int, list[tuple[int, int, Operand]]] = {}
        self._spots: dict[str, BlindSpot] = {}
        self._received: dict[str, int] = {kind.name.lower(): 0 for kind in Kind}
        self._count_events = 0
        self._handlers: dict[int, Callable[[_Call], RawEvent | None]] = {
            WireOp.OPEN: self._open,
            WireOp.OPENAT2: self._open,
            WireOp.CREAT: self._open,
            WireOp.HANDLE: self._open,
            WireOp.MKDIR: self._mkdir,
            WireOp.MKNOD: self._mknod,
            WireOp.BIND: self._bind,
            WireOp.SYMLINK: self._symlink,
            WireOp.LINK: self._link,
            WireOp.RENAME: self._rename,
            WireOp.UNLINK: self._unlink,
            WireOp.RMDIR: self._unlink,
            WireOp.WRITE: self._write,
            WireOp.AIO_WRITE: self._aio,
            WireOp.COPY: self._copy,
            WireOp.CLONE: self._clone,
            WireOp.DEDUPE: self._dedupe,
            WireOp.SETFLAGS: self._setflags,
            WireOp.MMAP: self._mmap,
            WireOp.MPROTECT: self._mprotect,
            WireOp.MREMAP: self._mremap,
            WireOp.TRUNCATE: self._truncate,
            WireOp.FALLOCATE: self._fallocate,
            WireOp.CHMOD: self._chmod,
            WireOp.CHOWN: self._chown,
            WireOp.UTIME: self._utime,
            WireOp.SETXATTR: self._xattr,
            WireOp.REMOVEXATTR: self._xattr,
            WireOp.MOUNT: self._mount_op,
            WireOp.MOVE_MOUNT: self._mount_move,
            WireOp.MOUNT_SETATTR: self._mount_move,
            WireOp.UMOUNT: self._umount,
            WireOp.CHROOT: self._chroot,
            WireOp.PIVOT_ROOT: self._pivot,
            WireOp.UNSHARE: self._unshare,
            WireOp.URING: self._uring,
            WireOp.URING_OTHER: self._uring_other,
        }

    def blind_spots(self) -> tuple[BlindSpot, ...]:
        """Return what was met and could not be seen in full."""
        return tuple(self._spots.values())

    def decode(self, payload: bytes, out: list[Record]) -> None:
        """Append the records that one ring-buffer record stands for (mostly one, at times none)."""
        kind = payload[16]
        if kind == _EVENT:
            self._count_events += 1
            self._event(payload, out)
        elif kind == Kind.TOTAL:
            self._received["total"] += 1
            *_, key, total, calls = TOTAL.unpack_from(payload)
            out.append(WriteTotal(key, total, calls))
        elif kind == Kind.URING_DONE:
            self._received["uring_done"] += 1
            self._uring_done(payload, out)
        else:
            self._task_or_mount(Kind(kind), payload, out)

    @property
    def received(self) -> dict[str, int]:
        """How many records of each kind have been decoded."""
        return {**self._received, "event": self._count_events}

    def _task_or_mount(self, kind: Kind, payload: bytes, out: list[Record]) -> None:
        self._received[kind.name.lower()] += 1
        if kind is Kind.MOUNT:
            out.append(self._mount(payload))
            return
        time_ns, pid, _tid, _kind, flags, _op, _n, _row, other, _pad = TASK.unpack_from(payload)
        if kind is Kind.FORK:
            if pid in self._shared:
                self._shared[other] = list(self._shared[pid])
            out.append(ProcessStart(time_ns, other, pid))
            if flags & H_NEW_MNT_NS:
                out.append(MountsChanged(time_ns, other))
        elif kind is Kind.EXEC:
            self._shared.pop(pid, None)
            operand, name, _f_mode, _pos = self._operand(payload, TASK.size)
            argv = tuple(name.removesuffix(b"\0").split(b"\0")) if name else ()
            if flags & H_MORE:
                argv = (*argv, "…".encode())
            out.append(ProcessExec(time_ns, pid, operand.base or b"", argv))
        else:
            self._shared.pop(pid, None)
            if flags & H_COREDUMP:
                self._blind(
                    "core_dump",
                    "the kernel wrote a core dump of a process that crashed, wherever "
                    "kernel.core_pattern says: no system call shows that",
                    incomplete=False,
                )
            signal = other & 0x7F
            out.append(ProcessExit(time_ns, pid, 128 + signal if signal else (other >> 8) & 0xFF))

    def _mount(self, payload: bytes) -> MountSeen:
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

    def _operand(self, payload: bytes, pos: int) -> tuple[Operand, bytes, int, int]:
        """Return an operand, the bytes of its name, the open file's mode, and where the next one begins."""
        ino, dev, mount, f_mode, i_mode, flags, base_len, in_mount, name_len, skip = OPERAND.unpack_from(
            payload, pos
        )
        pos += OPERAND.size
        name = payload[pos : pos + name_len]
        pos += name_len
        base: bytes | None = None
        if flags & _BASE:
            raw = payload[pos : pos + base_len]
            base = self._paths.get(raw)
            if base is None:
                base = self._paths[raw] = reversed_path(raw)
        elif flags & _ROOT:
            base = b"/"
        if flags & _FILE:
            operand = Operand(
                base,
                None,
                mount,
                None,
                kernel_dev(dev),
                ino,
                i_mode & 0o170000,
                bool(flags & _DELETED),
                bool(flags & _BAD),
                in_mount,
                bool(flags & _DETACHED),
            )
        else:
            operand = Operand(
                base,
                # What follows a magic link is relative to where the link leads.
                name[skip:].lstrip(b"/") if skip else name,
                mount or None,
                None,
                None,
                None,
                None,
                bool(flags & _DELETED),
                bool(flags & _BAD),
                in_mount,
                bool(flags & _DETACHED),
            )
        return operand, name, f_mode, pos + base_len

    def _event(self, payload: bytes, out: list[Record]) -> None:
        call = _Call()
        (
            call.time_ns,
            call.pid,
            call.tid,
            _kind,
            flags,
            op,
            operands,
            row,
            call.ret,
            call.key,
            *call.args,
        ) = EVENT.unpack_from(payload)
        call.op = op
        call.name = self._names.get(row, "")
        call.path = _NO_OPERAND
        call.source = None
        call.path_name = call.source_name = b""
        call.f_mode = 0
        pos = EVENT.size
        if operands:
            call.path, call.path_name, call.f_mode, pos = self._operand(payload, pos)
            if operands > 1:
                call.source, call.source_name, _, pos = self._operand(payload, pos)
        call.result = OK if call.ret >= 0 else errno_name(-call.ret)
        if flags & H_MORE:
            self._blind("many_at_once", "one call changed more files than a record can hold")
        if call.result == "EBADF" and call.path.base is None and call.path.name is None:
            return  # a descriptor that was not open: nothing is named, nothing was tried
        event = self._handlers[op](call)
        if event is not None and flags & H_IO_URING:
            # Held back until its result is known.
            earlier = self._requests.pop(call.key, None)
            self._requests[call.key] = event._replace(flags=(*event.flags, "io_uring"))
            event = earlier
        if event is not None:
            out.append(event)
        if call.ret >= 0 and op in _MOVES_MOUNTS and (op != WireOp.UNSHARE or _moves_namespace(call)):
            out.append(MountsChanged(call.time_ns, call.pid))

    def _uring_done(self, payload: bytes, out: list[Record]) -> None:
        """Join the result of an io_uring request with what was said when it was submitted."""
        time_ns, *_rest, _op, operands, _row, ret, key, _a0, _a1, _a2 = EVENT.unpack_from(payload)
        event = self._requests.pop(key, None)
        if event is None:
            self._blind("io_uring", "the result of an io_uring request came without the request")
            return
        event = event._replace(time_ns=time_ns, result=OK if ret >= 0 else errno_name(-ret))
        path, f_mode = event.path, 0
        if operands:
            path, _name, f_mode, _pos = self._operand(payload, EVENT.size)
        if event.op is Op.OPEN:
            if operands and ret >= 0:
                made = event.created is not None and "creat" in event.flags and f_mode & _FMODE_CREATED
                event = event._replace(path=path, spelled=event.path.name, created=bool(made))
            elif ret >= 0:
                # Opened into io_uring's own table of files: no descriptor to look it up by.
                event = event._replace(created=None)
        elif event.path.name is None or event.path.base is None:
            # An open file, known by now at the latest (one of io_uring's own table is not before).
            event = event._replace(path=path)
            if path.fmt not in _STORED:
                return
        if event.op in (Op.WRITE, Op.COPY):
            if not ret:
                return
            event = event._replace(bytes=max(ret, 0))
        out.append(event)

    def finish(self, out: list[Record]) -> None:
        """Append what is still held back when the run is over."""
        for event in self._requests.values():
            self._blind("io_uring_result", "an io_uring request was still under way at the end")
            out.append(event)
        self._requests.clear()

    # One method for each kind of call from here on; None: nothing to report.

    def _open(self, call: _Call) -> RawEvent:
        flags, mode = call.args[0], call.args[1]
        if call.op == WireOp.CREAT:
            flags = os.O_CREAT | os.O_WRONLY | os.O_TRUNC
        known = self._open_flags.get(flags)
        if known is None:
            known = self._open_flags[flags] = decode_open_flags(flags)
        access, names = known
        makes = flags & os.O_CREAT or "tmpfile" in names
        return RawEvent(
            call.time_ns,
            call.pid,
            call.tid,
            Op.OPEN,
            call.result,
            call.path,
            access=access,
            flags=names,
            created=bool(call.ret >= 0 and makes and (call.f_mode & _FMODE_CREATED or "tmpfile" in names)),
            follow=not flags & os.O_NOFOLLOW and not (flags & os.O_CREAT and flags & os.O_EXCL),
            mode=mode & 0o7777 if makes else None,
            spelled=call.path_name if call.path.name is None else None,
        )

    def _plain(self, call: _Call, op: Op, **more: Any) -> RawEvent:
        return RawEvent(call.time_ns, call.pid, call.tid, op, call.result, call.path, call.source, **more)

    def _mkdir(self, call: _Call) -> RawEvent:
        return self._plain(call, Op.MKDIR, mode=call.args[1] & 0o7777, follow=False)

    def _mknod(self, call: _Call) -> RawEvent:
        return self._plain(call, Op.MKNOD, mode=call.args[1] & 0o177777, follow=False)

    def _bind(self, call: _Call) -> RawEvent:
        return self._plain(call, Op.BIND, follow=False)

    def _symlink(self, call: _Call) -> RawEvent:
        return self._plain(call, Op.SYMLINK, target_text=call.source_name, follow=False)._replace(source=None)

    def _link(self, call: _Call) -> RawEvent:
        follow = bool(call.args[0] & _AT_SYMLINK_FOLLOW)
        return self._plain(call, Op.LINK, follow=False, follow_source=follow)

    def _rename(self, call: _Call) -> RawEvent:
        flags = call.args[0]
        names = tuple(
            name
            for bit, name in ((_RENAME_NOREPLACE, "noreplace"), (_RENAME_WHITEOUT, "whiteout"))
            if flags & bit
        )
        op = Op.EXCHANGE if flags & _RENAME_EXCHANGE else Op.RENAME
        return self._plain(call, op, flags=names, follow=False)

    def _unlink(self, call: _Call) -> RawEvent:
        op = Op.RMDIR if call.args[0] & _AT_REMOVEDIR or call.op == WireOp.RMDIR else Op.UNLINK
        return self._plain(call, op, follow=False)

    def _write(self, call: _Call) -> RawEvent:
        return self._plain(
            call,
            Op.WRITE,
            bytes=max(call.ret, 0),
            calls=1,
            file_key=call.key or None,
        )

    def _aio(self, call: _Call) -> RawEvent:
        return self._plain(call, Op.WRITE, bytes=call.args[0], calls=1, flags=("aio",))

    def _copy(self, call: _Call) -> RawEvent:
        if call.source is not None and call.source.fmt not in _STORED:
            call.source = None  # a pipe, a socket: no place on any disk
        return self._plain(call, Op.COPY, bytes=max(call.ret, 0), calls=1)

    def _clone(self, call: _Call) -> RawEvent:
        return self._plain(call, Op.CLONE)

    def _dedupe(self, call: _Call) -> RawEvent:
        return self._plain(call, Op.CLONE, flags=("dedupe",), bytes=max(call.ret, 0))

    def _setflags(self, call: _Call) -> RawEvent:
        return self._plain(call, Op.SETFLAGS)

    def _truncate(self, call: _Call) -> RawEvent:
        return self._plain(call, Op.TRUNCATE)

    def _fallocate(self, call: _Call) -> RawEvent:
        names = tuple(name for bit, name in _FALLOCATE if call.args[0] & bit)
        return self._plain(call, Op.FALLOCATE, flags=names)

    def _follows(self, call: _Call) -> bool:
        return call.name not in NOFOLLOW_CALLS and not call.args[0] & _AT_SYMLINK_NOFOLLOW

    def _chmod(self, call: _Call) -> RawEvent:
        return self._plain(call, Op.CHMOD, mode=call.args[1] & 0o7777, follow=self._follows(call))

    def _chown(self, call: _Call) -> RawEvent:
        return self._plain(call, Op.CHOWN, follow=self._follows(call))

    def _utime(self, call: _Call) -> RawEvent:
        return self._plain(call, Op.UTIME, follow=self._follows(call))

    def _xattr(self, call: _Call) -> RawEvent:
        op = Op.SETXATTR if call.op == WireOp.SETXATTR else Op.REMOVEXATTR
        event = self._plain(call, op, follow=self._follows(call), xattr=call.source_name)
        return event._replace(source=None)

    def _mmap(self, call: _Call) -> RawEvent | None:
        length, protection, _flags = call.args
        if protection & mmap.PROT_WRITE:
            return self._plain(call, Op.MMAP_WRITE)
        # Only readable so far; mprotect may change that without naming the file again.
        self._shared.setdefault(call.pid, []).append((call.ret, call.ret + length, call.path))
        return None

    def _mprotect(self, call: _Call) -> RawEvent | None:
        start, length, _protection = call.args
        for low, high, path in self._shared.get(call.pid, ()):
            if low < start + length and start < high:
                call.path = path
                return self._plain(call, Op.MMAP_WRITE)
        return None

    def _mremap(self, call: _Call) -> RawEvent | None:
        start, _old, length = call.args
        mappings = self._shared.get(call.pid, [])
        for index, (low, high, path) in enumerate(mappings):
            if low <= start < high:
                mappings[index] = (call.ret, call.ret + length, path)
        return None

    def _uring_other(self, call: _Call) -> None:
        self._blind("io_uring_cmd", f"an io_uring operation that is not decoded was used: {call.name}")

    def _uring(self, call: _Call) -> None:
        if call.ret >= 0 and not self._sees_uring:
            self._blind(
                "io_uring",
                "a process set up io_uring: what it does through it makes no system call",
            )

    def _unshare(self, call: _Call) -> None:
        """Only moves the meaning of paths; see `_event`."""

    def _mount_op(self, call: _Call) -> RawEvent:
        names = tuple(name for bit, name in _MS_BITS.items() if call.args[0] & bit)
        event = self._plain(call, Op.MOUNT, flags=names, follow_source=True)
        bind = call.args[0] & (_MS_BIND | _MS_MOVE) and not call.args[0] & _MS_REMOUNT
        if call.op == WireOp.MOUNT and not bind:
            # The source of a new file system is a device's name or any text at all.
            return event._replace(source=None)
        return event

    def _mount_move(self, call: _Call) -> RawEvent:
        names = ("setattr",) if call.op == WireOp.MOUNT_SETATTR else ("move",)
        return self._plain(call, Op.MOUNT, flags=names)

    def _umount(self, call: _Call) -> RawEvent:
        return self._plain(call, Op.UMOUNT)

    def _chroot(self, call: _Call) -> RawEvent:
        return self._plain(call, Op.CHROOT)

    def _pivot(self, call: _Call) -> RawEvent:
        return self._plain(call, Op.PIVOT_ROOT, follow_source=True)

    def _blind(self, kind: str, message: str, *, incomplete: bool = True) -> None:
        known = self._spots.get(kind)
        self._spots[kind] = BlindSpot(kind, message, known.count + 1 if known else 1, incomplete)


def _moves_namespace(call: _Call) -> bool:
    """Whether an unshare or setns can have changed the mount namespace."""
    return call.name == "setns" or bool(call.args[0] & _CLONE_NEWNS)
