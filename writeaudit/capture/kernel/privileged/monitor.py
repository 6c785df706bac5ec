"""The privileged process: loads the programs, empties the kernel's buffer, looks at followed processes.

It runs as root, for a writeaudit that does not. It opens no file but those of the packaged programs, and
/proc of processes that are followed; it writes none, and it is told no path (`--probes` apart, which only
a writeaudit that was itself started by root can ask for). It ends with whoever it works for.

``python -I -m writeaudit.capture.kernel.privileged.monitor RING_BYTES``, with the socket as standard
input, is what `writeaudit run --sudo` starts through sudo.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import json
import os
import select
import signal
import socket
import struct
import sys
from typing import TYPE_CHECKING, NoReturn

from writeaudit.capture.kernel import loading
from writeaudit.capture.kernel.hooks import CGROUP, PROCESSES
from writeaudit.capture.kernel.privileged.protocol import (
    GONE,
    LONGEST_QUESTION,
    NUMBER,
    OPEN_FILE,
    PAIR,
    STATE,
    Answer,
    Ask,
    Hangup,
    receive_message,
    send_message,
)
from writeaudit.capture.kernel.side import MapSide
from writeaudit.capture.members import pack_facts, read_facts
from writeaudit.capture.requirements import (
    CAP_BPF,
    CAP_PERFMON,
    CAP_SYS_ADMIN,
    CAP_SYS_PTRACE,
    check_bpf,
    effective_capabilities,
)
from writeaudit.errors import BackendUnavailable

if TYPE_CHECKING:
    from writeaudit.capture.kernel.side import Loaded

_CAPABILITY_VERSION = 0x20080522
_SMALLEST_RING, _LARGEST_RING = 1 << 12, 1 << 31


def serve_client(
    channel: socket.socket, ring_bytes: int, *, any_backend: bool, may_join: bool = False
) -> None:
    """Answer questions until whoever asks them hangs up.

    ``ring_bytes``: the size of buffer with which to load the programs at once; 0: wait for what is
    asked. ``any_backend``: load with bcc, and other copies of the probes, too. ``may_join``: follow any
    process and any cgroup; else only processes that whoever asks proves to have the right to look at.
    """
    with contextlib.suppress(Hangup, OSError):
        _Monitor(channel, ring_bytes, any_backend=any_backend, may_join=may_join).run()


class _Monitor:
    def __init__(self, channel: socket.socket, ring_bytes: int, *, any_backend: bool, may_join: bool) -> None:
        self._channel = channel
        self._may_join = may_join
        self._any_backend = any_backend
        self._side: MapSide | None = None
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._poll = select.epoll()
        self._poll.register(channel.fileno(), select.EPOLLIN)
        self._ahead: Loaded | BackendUnavailable | None = None
        self._ahead_bytes = ring_bytes
        if ring_bytes:
            try:
                check_bpf()
                self._ahead = loading.load_side(ring_bytes)
            except BackendUnavailable as error:
                self._ahead = error

    def run(self) -> None:
        """Answer until the other side hangs up."""
        while True:
            for fd, _events in self._poll.poll():
                if fd == self._channel.fileno():
                    kind, body, descriptors = receive_message(self._channel, LONGEST_QUESTION)
                    try:
                        if len(descriptors) > (kind == Ask.FOLLOW):
                            raise Hangup  # it has nothing else to give
                        self._answer_question(kind, body, descriptors[0] if descriptors else None)
                    finally:
                        for given in descriptors:
                            os.close(given)
                elif self._side is not None:
                    os.eventfd_write(self._wake, 1)

    def _answer_question(self, kind: int, body: bytes, proof: int | None) -> None:
        try:
            if kind == Ask.LOAD:
                self._load_programs(body)
            elif kind == Ask.FOLLOW:
                self._follow_process(NUMBER.unpack(body)[0], proof)
            elif kind in (Ask.NAMESPACE, Ask.MOUNTINFO, Ask.ROOT, Ask.FACTS):
                self._look_at_process(kind, NUMBER.unpack(body)[0])
            else:
                self._ask_side(kind, body)
        except BackendUnavailable as error:
            said = {"message": error.reason, "hint": error.hint, "detail": error.detail}
            said |= {"command": error.command, "missing": error.missing}
            self._send_answer(Answer.UNAVAILABLE, _to_json(said))
        except OSError as error:
            self._send_answer(Answer.ERRNO, NUMBER.pack(error.errno or errno.EIO))
        except (ValueError, KeyError, TypeError, RecursionError, struct.error) as error:
            raise Hangup from error

    def _send_answer(self, kind: int, body: bytes = b"", descriptors: tuple[int, ...] = ()) -> None:
        try:
            send_message(self._channel, kind, body, descriptors)
        except OSError as error:
            raise Hangup from error

    def _load_programs(self, body: bytes) -> None:
        if self._side is not None:
            raise Hangup
        wanted = json.loads(body)
        backend, size, probes = wanted["backend"], int(wanted["ring_bytes"]), wanted["probes"]
        joins = wanted.get("joins", "")
        if joins not in ("", PROCESSES, CGROUP):
            raise Hangup
        if not _SMALLEST_RING <= size <= _LARGEST_RING or size & (size - 1):
            raise Hangup
        ahead, self._ahead = self._ahead, None
        if (
            backend == "ebpf"
            and probes is None
            and not joins
            and ahead is not None
            and size == self._ahead_bytes
        ):
            if isinstance(ahead, BackendUnavailable):
                raise ahead
            loaded = ahead
        else:
            if ahead is not None and not isinstance(ahead, BackendUnavailable):
                ahead.close()
            loaded = self._load_other(backend, size, probes, joins)
        self._side = MapSide(loaded)
        self._poll.register(loaded.ring_fd, select.EPOLLIN | select.EPOLLET)
        _keep_capabilities()
        shape = {"ring_bytes": loaded.ring_bytes, "sees_uring": loaded.sees_uring}
        self._send_answer(Answer.DONE, _to_json(shape), (self._wake,))

    def _load_other(self, backend: str, size: int, probes: str | None, joins: str) -> Loaded:
        if not self._any_backend and (backend != "ebpf" or probes is not None):
            raise BackendUnavailable(
                f"only the ebpf backend, with its own probes, runs through --sudo, not {backend}",
                hint="run all of writeaudit as root: sudo writeaudit run …",
            )
        if backend == "ebpf":
            from writeaudit.capture.kernel import ebpf  # noqa: PLC0415 - start-up

            return ebpf.load_programs(size, probes, joins)
        from writeaudit.capture.kernel.bcc import backend as bcc  # noqa: PLC0415 - start-up

        return bcc.load_programs(size, probes, joins)

    def _ask_side(self, kind: int, body: bytes) -> None:
        side = self._side
        if side is None:
            raise Hangup
        answer = b""
        if kind in (Ask.HOLD, Ask.GROUP, Ask.BIRTHS, Ask.RELEASE):
            answer = self._join_running(side, kind, body)
        elif kind == Ask.BEGIN:
            side.begin_recording(NUMBER.unpack(body)[0])
        elif kind == Ask.STATE:
            answer = STATE.pack(*side.read_state())
        elif kind == Ask.TAKE:
            answer = side.take_records()
        elif kind == Ask.COUNTERS:
            answer = b"".join(map(NUMBER.pack, side.read_counters()))
        elif kind == Ask.OPEN_FILES:
            answer = b"".join(OPEN_FILE.pack(*entry) for entry in side.open_files())
        elif kind == Ask.MISSES:
            answer = NUMBER.pack(side.count_misses())
        elif kind == Ask.DETACH:
            side.detach()
        else:
            raise Hangup
        self._send_answer(Answer.DONE, answer)

    def _join_running(self, side: MapSide, kind: int, body: bytes) -> bytes:
        """Do what it takes to join what runs already."""
        if kind == Ask.HOLD:
            side.hold_recording(NUMBER.unpack(body)[0])
        elif kind == Ask.BIRTHS:
            return b"".join(PAIR.pack(*pair) for pair in side.list_births())
        elif kind == Ask.RELEASE:
            side.release_recording()
        elif self._may_join:
            side.follow_group(*PAIR.unpack(body))
        else:
            # Whoever comes into it later would be followed, whosever it is.
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))
        return b""

    def _follow_process(self, pid: int, proof: int | None) -> None:
        """Follow a process that runs, for somebody who may look at it (ptrace(2), access mode checks).

        The kernel itself has decided on that when whoever asks opened the process's `maps`: a descriptor of
        that file, which is no other than ours, cannot be had by anybody else.
        """
        if self._side is None or pid >> 31:
            raise Hangup
        place = os.open(f"/proc/{pid}", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            if not self._may_join and not (proof is not None and _is_maps_of(place, proof)):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
            is_new = self._side.follow_process(pid)
            self._send_answer(Answer.DONE, NUMBER.pack(GONE if is_new is None else is_new))
        finally:
            os.close(place)

    def _look_at_process(self, kind: int, pid: int) -> None:
        """Answer what takes root's rights to see of a process (ptrace(2), access mode checks)."""
        if self._side is None:
            raise Hangup
        place = os.open(f"/proc/{pid}", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            # Asked about after it was opened: the directory stays that of this process.
            if not self._side.follows(pid):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
            if kind == Ask.NAMESPACE:
                self._send_answer(Answer.DONE, NUMBER.pack(os.stat("ns/mnt", dir_fd=place).st_ino))
                return
            if kind == Ask.FACTS:
                self._send_answer(Answer.DONE, pack_facts(read_facts(place)))
                return
            mounts = os.open("mountinfo", os.O_RDONLY | os.O_CLOEXEC, dir_fd=place)
            try:
                if kind == Ask.MOUNTINFO:
                    self._send_answer(Answer.DONE, b"".join(iter(lambda: os.read(mounts, 1 << 20), b"")))
                    return
                root = os.open("root", os.O_PATH | os.O_CLOEXEC, dir_fd=place)
                try:
                    self._send_answer(Answer.DONE, b"", (root, mounts))
                finally:
                    os.close(root)
            finally:
                os.close(mounts)
        finally:
            os.close(place)


def _is_maps_of(place: int, proof: int) -> bool:
    """Whether a descriptor is that of the `maps` of a process; ``place``: its directory in our own /proc.

    A file system of /proc that somebody else mounted is another device; and as long as a file there is
    open, its inode is that process's, and nobody else's. With O_PATH anybody can have a descriptor of it: the
    kernel checks the rights of whoever opens it for reading alone (open(2)).
    """
    if fcntl.fcntl(proof, fcntl.F_GETFL) & os.O_PATH:
        return False
    return os.path.samestat(os.fstat(proof), os.stat("maps", dir_fd=place))


def _to_json(value: object) -> bytes:
    return json.dumps(value).encode()


def _keep_capabilities() -> None:
    """Give up what is not needed once the programs are loaded (capset(2)).

    Looking at other users' processes takes CAP_SYS_PTRACE; maps take CAP_BPF (before Linux 5.19 even
    for those who hold a descriptor of them).
    """
    kept = 1 << CAP_SYS_PTRACE | 1 << CAP_PERFMON | 1 << CAP_BPF
    held = effective_capabilities()
    if not held >> CAP_BPF & 1:
        kept |= 1 << CAP_SYS_ADMIN
    kept &= held
    words = [kept & 0xFFFFFFFF, kept & 0xFFFFFFFF, 0, kept >> 32, kept >> 32, 0]
    libc = ctypes.CDLL(None, use_errno=True)
    libc.capset(struct.pack("=Ii", _CAPABILITY_VERSION, 0), struct.pack("=6I", *words))


def stand_apart(channel: int) -> None:
    """Hold on to nothing of whoever started this process: no file, no terminal, no directory, no signal."""
    os.setsid()
    os.chdir("/")
    os.umask(0o077)
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGTSTP, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    for fd in (0, 1, 2):
        if fd != channel:
            os.dup2(null, fd)
    if null > 2:
        os.close(null)
    os.closerange(3, channel)
    os.closerange(max(channel + 1, 3), _descriptor_limit())


def _descriptor_limit() -> int:
    with contextlib.suppress(OSError):
        return max(map(int, os.listdir("/proc/self/fd"))) + 1
    return 1 << 16


def main() -> NoReturn:
    """Serve what stands at the other end of standard input."""
    try:
        channel = socket.socket(fileno=os.dup(0))
        if channel.family != socket.AF_UNIX:
            raise OSError(errno.ENOTSOCK, os.strerror(errno.ENOTSOCK))
        ring_bytes = int(sys.argv[1])
    except (OSError, IndexError, ValueError):
        sys.stderr.write("writeaudit: this is started by `writeaudit run --sudo`, not by hand\n")
        os._exit(2)
    # sudo need not stay: it would hold the terminal.
    if os.fork():
        os._exit(0)
    stand_apart(channel.fileno())
    serve_client(channel, ring_bytes, any_backend=False)
    os._exit(0)


if __name__ == "__main__":
    main()
