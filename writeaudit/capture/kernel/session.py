"""Capture with the kernel side, whoever loaded it: what the ebpf and bcc backends share.

The child is held at its start line until the programs are attached; then it announces
itself to them with a random cookie and execs the command. From that exec on everything
in its process tree is recorded, the first system call included.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import struct
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from writeaudit.audit import BlindSpot
from writeaudit.capture import core_dumps, outside
from writeaudit.capture.interface import (
    CaptureLimits,
    CaptureOutcome,
    Command,
    ProcessExit,
    ProcessStart,
    Record,
    Sink,
)
from writeaudit.capture.kernel.decode.decoder import Decoder
from writeaudit.capture.kernel.hooks import CGROUP, PROCESSES
from writeaudit.capture.kernel.joining import Joiner
from writeaudit.capture.kernel.ring import split_records
from writeaudit.capture.kernel.side import KernelSide
from writeaudit.capture.kernel.wire import H_JOINED, RecordKind
from writeaudit.capture.kernel.worker import Worker
from writeaudit.capture.launch.attendance import attend_sources, signals_held
from writeaudit.capture.launch.launcher import Child, Exit, spawn_child, supervise_child
from writeaudit.capture.members import SharedMapping
from writeaudit.capture.process_state import has_threads, process_exists
from writeaudit.capture.processors import DrainPolicy, Processors
from writeaudit.capture.targets import Attachment, ControlGroup, Processes, Target, joined_spot
from writeaudit.errors import CaptureError
from writeaudit.events import Operand, WriteTotal

_ANNOUNCE = 0x77615F31
_EMITTED, _LOST, _FAULT, _UNTRACKED, _NO_ROOM, _GONE = 0, 8, 16, 17, 18, 19

_LOOK_S = 1.0
"""How often it is looked whether those who were joined are still there."""
_TICK_S = 0.01
"""How often it is looked at whether the buffer should be emptied."""
_SWITCH_S = 0.0002
"""How long the thread that empties the buffer may have to wait for the one that decodes
(sys.setswitchinterval)."""
_BATCH = 512
"""How many records are resolved with knowledge of one another, and written down at once."""


_LACKING = {
    1: BlindSpot(
        "proc_unknown",
        "this kernel does not show whether /proc is the usual one: names below /proc/PID are uncertain",
    ),
    2: BlindSpot("argv_unknown", "this kernel does not show the arguments of programs", incomplete=False),
    4: BlindSpot(
        "io_uring_cmd", "this kernel keeps io_uring requests in a way that the kernel side does not know"
    ),
}
"""WA_LACKS_* of probes/events.h: said only where it mattered."""


def programs_to_join(target: Target) -> str:
    """Return which programs a target takes besides the usual ones (`hooks.hooks_in_order`)."""
    if not isinstance(target, Attachment):
        return ""
    return CGROUP if isinstance(target.joined, ControlGroup) else PROCESSES


def capture_with_side(side: KernelSide, target: Target, sink: Sink, limits: CaptureLimits) -> CaptureOutcome:
    """Capture under an attached kernel side, which is taken out again in any case."""
    session = _Session(side, sink)
    try:
        if isinstance(target, Attachment):
            return session.attach_running(target)
        return session.run_command(target, limits)
    finally:
        session.close()


def _draw_announcement() -> tuple[int, Callable[[], int]]:
    """Return a cookie, and what tells it to the programs: a call of prctl(2), and nothing else."""
    cookie = int.from_bytes(os.urandom(8), "little") | 1
    libc = ctypes.CDLL(None, use_errno=True)
    words = (ctypes.c_int(_ANNOUNCE), *(ctypes.c_ulong(value) for value in (cookie, 0, 0, 0)))
    return cookie, lambda: int(libc.prctl(*words))


def _taken_start(batch: list[Record]) -> ProcessStart:
    """Take the last record, of a process that was met, out of a batch."""
    start = batch.pop()
    assert isinstance(start, ProcessStart)
    return start


class _Session:
    def __init__(self, side: KernelSide, sink: Sink) -> None:
        self._side = side
        self._sink = sink
        self._decoder = Decoder(
            os.stat("/proc/self/ns/mnt").st_ino,
            sees_uring=side.sees_uring,
            dumps_are_files=core_dumps.are_files(),
        )
        self._switch_s = sys.getswitchinterval()
        self._processors = Processors()
        self._drain_policy = DrainPolicy(self._processors.has_spare, side.ring_bytes // 4)
        self._worker = Worker(self._decode_chunk, self._processors.has_spare)
        self._dropped = 0
        self._undecoded = 0
        self._failure: Exception | None = None
        """What of ours failed: what came after it is only counted."""
        self._mounts_move = False
        """Whether audited processes change mounts or have made a namespace for them."""
        self._alive: set[int] = set()
        self._command = 0
        self._joiner: Joiner | None = None
        """If what is audited was there before."""
        self._ended_ns: int | None = None
        """When the command's first process ended, as the kernel saw it: we come to hear of it later."""

    def close(self) -> None:
        sys.setswitchinterval(self._switch_s)
        self._worker.close()
        self._processors.close()
        self._side.close()

    def attach_running(self, attachment: Attachment) -> CaptureOutcome:
        """Join what runs already. See `capture_with_side`."""
        cookie, announce = _draw_announcement()
        with signals_held():
            # Before anything is mapped that a fork would have to copy.
            child = spawn_child(attachment.command) if attachment.command is not None else None
            try:
                self._side.hold_recording(cookie)
                announce()
                joined_ns, released_ns = self._join_running(attachment.joined)
                attachment.on_joined()
            except BaseException:
                self._side.detach()
                if child is not None:
                    child.abandon_child()
                raise
            try:
                ended = self._watch_attached(attachment, child)
                ended_ns = time.monotonic_ns()
                self._side.detach()
                with self._keeping_on():
                    self._worker.hurry()
                    self._finish_decoding()
            except BaseException:
                self._side.detach()
                raise
        left = len(self._alive)
        outcome = self._make_outcome(ended, joined_ns, ended_ns)
        spots = (joined_spot(released_ns, ended_ns, left), *attachment.spots, *self._joined_spots())
        return replace(outcome, blind_spots=(*spots, *outcome.blind_spots), survivors=())

    def _join_running(self, joined: Processes | ControlGroup) -> tuple[int, int]:
        """Follow all who are there; returns when that was so, and since when what they do is recorded."""
        own_ns = os.stat("/proc/self/ns/mnt").st_ino
        self._joiner = Joiner(self._side, joined, own_ns, self._note_mapping)
        self._joiner.join_all()
        joined_ns = time.monotonic_ns()
        known: list[Record] = []
        for pid in sorted(self._joiner.followed):
            known += self._joiner.describe_process(pid, joined_ns)
            self._alive.add(pid)
            self._decoder.note_process(pid)
        self._sink(known or [ProcessExit(joined_ns, 0, None)])
        self._side.release_recording()
        return joined_ns, time.monotonic_ns()

    def _note_mapping(self, pid: int, mapping: SharedMapping, file: Operand) -> None:
        self._decoder.note_mapping(pid, mapping.start, mapping.end - mapping.start, file)

    def _watch_attached(self, attachment: Attachment, child: Child | None) -> Exit:
        """Watch until the audit is to end."""
        with self._keeping_on():
            self._worker.start()
        sys.setswitchinterval(_SWITCH_S)
        ended = Exit(None, None)
        if child is not None:
            child.release_child()
            ended = self._supervise_child(child)
            if not attachment.until_exit:
                return ended
        deadline = None if attachment.seconds is None else time.monotonic() + attachment.seconds
        leaves = attachment.until_exit or isinstance(attachment.joined, Processes)
        met = bool(self._alive)
        next_look = 0.0

        def is_over() -> bool:
            nonlocal met, next_look
            now = time.monotonic()
            met = met or bool(self._alive)
            if self._failure is not None or (deadline is not None and now >= deadline):
                return True
            if leaves and now >= next_look:
                next_look = now + _LOOK_S
                self._forget_ended()
            return leaves and met and not self._alive

        drain, tick = self._guarded_steps()
        attend_sources({self._side.wake_fd: drain}, is_over, tick_s=_TICK_S, on_tick=tick)
        return ended

    def _forget_ended(self) -> None:
        """Forget processes that are gone: one that ended while nothing was recorded yet has told nobody."""
        for pid in set(self._alive):
            if not process_exists(pid) and not has_threads(pid):
                self._alive.discard(pid)

    def _joined_spots(self) -> tuple[BlindSpot, ...]:
        return () if self._joiner is None else tuple(self._joiner.list_blind_spots())

    def run_command(self, command: Command, limits: CaptureLimits) -> CaptureOutcome:
        """Run a command. See `capture_with_side`."""
        cookie, announce = _draw_announcement()
        child = spawn_child(command, announce=announce)
        try:
            # While the child comes up: mapped before, the buffer would be a burden to the fork.
            self._side.begin_recording(cookie)
        except BaseException:
            child.abandon_child()
            raise
        try:
            started_ns = child.release_child()
        except BaseException:
            self._side.detach()
            raise
        try:
            ended = self._watch_command(child)
            ended_ns = time.monotonic_ns()
            # Whoever presses Ctrl-C now does not want to wait: those left over are named.
            with self._keeping_on(), contextlib.suppress(KeyboardInterrupt):
                self._worker.hurry()
                self._wait_for_survivors(limits.linger_s)
            self._side.detach()
            with self._keeping_on():
                self._finish_decoding()
            return self._make_outcome(ended, started_ns, self._ended_ns or ended_ns)
        except BaseException:
            self._sink(())  # it has begun, if nothing was heard of it yet
            raise

    def _finish_decoding(self) -> None:
        """Take in what is left, once the programs are out of the kernel."""
        self._drain_buffer()
        self._worker.wait_until_done()
        left: list[Record] = []
        self._decoder.finish_run(left)
        self._sink(left)
        self._final_totals()

    def _watch_command(self, child: Child) -> Exit:
        """Wait until the command has ended, whatever part of writeaudit fails meanwhile."""
        self._alive.add(child.pid)
        self._command = child.pid
        sys.setswitchinterval(_SWITCH_S)
        with self._keeping_on():
            if self._side.read_state().expects:
                raise CaptureError("the command started without being noticed by the kernel side")
        with self._keeping_on():
            self._worker.start()
        return self._supervise_child(child)

    def _supervise_child(self, child: Child) -> Exit:
        drain, tick = self._guarded_steps()
        return supervise_child(child, {self._side.wake_fd: drain}, tick_s=_TICK_S, on_tick=tick)

    def _guarded_steps(self) -> tuple[Callable[[], None], Callable[[], None]]:
        """Return what is to be done when the buffer fills up, and again and again."""

        def drain() -> None:
            with self._keeping_on():
                self._drain_buffer()

        def tick() -> None:
            with self._keeping_on():
                self._drain_if_due()

        return drain, tick

    @contextlib.contextmanager
    def _keeping_on(self) -> Iterator[None]:
        """Note what fails, for the outcome: the command goes on, and is waited for."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 - the outcome tells it
            self._failure = self._failure or error

    def _drain_if_due(self) -> None:
        """Empty the kernel's buffer if that is in nobody's way, or if it cannot wait."""
        state = self._side.read_state()
        self._note_mounts(state.mount_generation)
        if state.waiting and (self._mounts_move or self._drain_policy.is_due(state.waiting)):
            self._drain_buffer()

    def _drain_buffer(self) -> None:
        """Empty the kernel's buffer."""
        if not self._mounts_move:
            self._note_mounts(self._side.read_state().mount_generation)
        while chunk := self._side.take_records():
            try:
                self._worker.push_chunk(chunk)
            except OSError:
                # No room to keep it, in memory or on the disk: lost, and counted as such.
                self._dropped += sum(1 for _ in split_records(chunk))
        self._drain_policy.note_done()

    def _note_mounts(self, generation: int) -> None:
        """If audited processes change mounts: what /proc tells of these is gone with the processes."""
        if generation and not self._mounts_move:
            self._mounts_move = True
            self._worker.hurry()

    def _decode_chunk(self, chunk: bytes) -> None:
        """Decode one chunk and hand it on; in the background."""
        decode = self._decoder.decode_record
        batch: list[Record] = []
        for payload in split_records(chunk):
            kind = payload[16]
            if kind == RecordKind.FORK:
                self._alive.add(struct.unpack_from("=I", payload, 24)[0])
            elif kind == RecordKind.EXIT:
                pid = struct.unpack_from("=I", payload, 8)[0]
                self._alive.discard(pid)
                if pid == self._command:
                    self._ended_ns = struct.unpack_from("=Q", payload)[0]
            if self._failure is not None:
                self._undecoded += 1
                continue
            try:
                decode(payload, batch)
                if kind == RecordKind.FORK and payload[18] & H_JOINED and self._joiner is not None:
                    batch += self._joiner.describe_newcomer(_taken_start(batch))
                if len(batch) >= _BATCH:
                    full, batch = batch, []
                    self._sink(full)
                    self._worker.give_way()
            except Exception as error:  # noqa: BLE001 - the outcome tells it
                self._failure = error
        if batch or (not chunk and (self._command or self._joiner)):
            with self._keeping_on():
                self._sink(batch)

    def _wait_for_survivors(self, limit_s: float) -> None:
        """Wait for what the command left behind; daemons may outlive any patience."""
        deadline = time.monotonic() + limit_s
        while True:
            self._drain_buffer()
            # Once all is decoded nobody is missing from `_alive`: a fork is told before an exit.
            if (self._worker.wait_until_done(_TICK_S) and not self._alive) or time.monotonic() >= deadline:
                return
            if self._alive:
                time.sleep(_TICK_S / 2)

    def _final_totals(self) -> None:
        totals = [WriteTotal(key, total, calls) for key, total, calls in self._side.open_files()]
        if totals:
            self._sink(totals)

    def _make_outcome(self, ended: Exit, started_ns: int, ended_ns: int) -> CaptureOutcome:
        counters = self._side.read_counters()
        received = self._decoder.received
        emitted = {kind.name.lower(): counters[_EMITTED + kind] for kind in RecordKind}
        lost = {kind.name.lower(): counters[_LOST + kind] for kind in RecordKind}
        # Besides the buffer that was full: what the host had no room for, and what the kernel
        # never ran because the program was at work on that processor already.
        lost["dropped"] = self._dropped + self._undecoded
        lost["missed"] = self._side.count_misses()
        lost["untracked"] = counters[_UNTRACKED]
        return CaptureOutcome(
            exit_status=ended.status,
            signal=ended.signal,
            started_ns=started_ns,
            ended_ns=ended_ns,
            lost_events=sum(lost.values()),
            blind_spots=self._blind_spots(counters),
            survivors=self._list_survivors(lost["exit"] + lost["dropped"]),
            emitted=emitted,
            received=dict(received),
            lost=lost,
            failure=self._failure,
        )

    def _list_survivors(self, lost: int) -> tuple[int, ...]:
        """Return who still runs. Where ends of processes were lost, /proc says who else is gone."""
        alive = sorted(self._alive - {self._command})
        return tuple(pid for pid in alive if not lost or process_exists(pid))

    def _blind_spots(self, counters: Sequence[int]) -> tuple[BlindSpot, ...]:
        spots = list(self._decoder.blind_spots())
        lacks = self._side.read_state().lacks
        spots += [spot for bit, spot in _LACKING.items() if lacks & bit]
        if counters[_GONE]:
            spots.append(BlindSpot(outside.CLOSED.kind, outside.CLOSED.message, counters[_GONE]))
        if counters[_FAULT]:
            spots.append(
                BlindSpot(
                    "unreadable",
                    "memory that an event needed could not be read in the kernel",
                    counters[_FAULT],
                )
            )
        return tuple(spots)
