"""Joins processes that run already: follows them before anybody of theirs can slip through.

The programs are in the kernel, and record nothing yet. From then on every fork is noted there, so whoever
descends from a process that is to be joined is found, even if those between have ended: this goes on until
nobody new is found.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator

from writeaudit.audit import BlindSpot
from writeaudit.capture.cgroups import list_members
from writeaudit.capture.interface import MountsChanged, ProcessExec, ProcessStart, Record
from writeaudit.capture.kernel.side import KernelSide
from writeaudit.capture.members import Facts, ProcessTable, SharedMapping, tree_of
from writeaudit.capture.targets import JOINED_FLAG, ControlGroup, Processes
from writeaudit.errors import CaptureError
from writeaudit.events import OK, Op, Operand, RawEvent

_PATIENCE_S = 30.0
_QUIET_S = 0.01
"""How long a fork that has just been made may take to be noted."""

Note = Callable[[int, SharedMapping, Operand], None]
"""Told of each shared mapping that a process has."""


class Joiner:
    """Follows processes, or the members of a cgroup, and tells what they are."""

    def __init__(self, side: KernelSide, joined: Processes | ControlGroup, own_ns: int, note: Note) -> None:
        self._side = side
        self._joined = joined
        self._own_ns = own_ns
        self._note = note
        self._table = ProcessTable()
        self._ours = {os.getpid()}
        self._seen: set[int] = set()
        self._unsure: set[int] = set()
        """Who was there before forks were noted, or was noted: any other was followed from birth."""
        self._namespaces: set[int] = {own_ns}
        self._refused: set[int] = set()
        self._hidden = 0
        self._busy: set[int] = set()
        self._unread: set[int] = set()
        self.followed: set[int] = set()

    def join_all(self) -> None:
        """Follow all. Raises `CaptureError` if that cannot be."""
        if isinstance(self._joined, ControlGroup):
            self._side.follow_group(self._joined.hierarchy, self._joined.id)
        deadline = time.monotonic() + _PATIENCE_S
        quiet = False
        while True:
            found = [
                self._follow_process(pid) for pid in sorted(self._list_targets() - self.followed - self._seen)
            ]
            if not any(found) and quiet:
                break
            quiet = not any(found)
            if time.monotonic() > deadline:
                raise CaptureError(
                    "the processes to join make new ones faster than they can be followed",
                    hint="stop them while they are joined: kill -STOP, and kill -CONT afterwards",
                )
            if quiet:
                time.sleep(_QUIET_S)
        if isinstance(self._joined, Processes) and not self.followed:
            raise CaptureError("the processes to join have ended", hint="see: ps -e")

    def _list_targets(self) -> set[int]:
        """Return who is to be followed, as far as can be known now."""
        if isinstance(self._joined, ControlGroup):
            members = list_members(self._joined, self._table)
            self._hidden = max(self._hidden, members.unseen)
            return set(members.pids)
        # The present first: who loses a parent meanwhile is noted in the kernel.
        parents = self._table.read_parents()
        births = self._side.list_births()
        self._unsure = self._unsure or set(parents)
        self._unsure.update(child for child, _parent in births)
        return tree_of({*self._joined.pids, *self.followed}, parents, births)

    def _follow_process(self, pid: int) -> bool:
        """Follow one; returns whether that may have come too late for its children. Raises `CaptureError`."""
        self._seen.add(pid)
        status = self._table.read_status(pid)
        if status is None:
            return pid in self._unsure
        if status.is_kernel:
            return False
        if status.pid in self._ours:
            raise CaptureError(
                "writeaudit itself is among the processes to join",
                hint="join those below it, or start writeaudit from elsewhere",
            )
        try:
            followed = self._side.follow_process(pid)
        except PermissionError as error:
            if isinstance(self._joined, Processes) and pid in self._joined.pids:
                raise refusal_error(pid, error) from error
            self._refused.add(pid)
            return True
        if followed is None:
            return pid in self._unsure
        self.followed.add(pid)
        return followed

    def describe_process(self, pid: int, time_ns: int) -> Iterator[Record]:
        """Yield what the rest of writeaudit has to know of a process that was followed just now."""
        status = self._table.read_status(pid)
        if status is None or status.is_over:
            return
        facts = self._read_facts(pid)
        exe, argv = b"" if facts is None else facts.exe, self._table.read_argv(pid)
        yield ProcessStart(time_ns, pid, status.ppid)
        if exe or argv:
            yield ProcessExec(time_ns, pid, exe, argv)
        yield from self.describe_namespace(pid, time_ns)
        if facts is None:
            return
        seen: set[tuple[int, int]] = set()
        for mapping in facts.mappings:
            operand = self._make_operand(pid, mapping)
            self._note(pid, mapping, operand)
            if mapping.writable and (mapping.dev, mapping.ino) not in seen:
                seen.add((mapping.dev, mapping.ino))
                yield RawEvent(time_ns, pid, pid, Op.MMAP_WRITE, OK, operand, flags=(JOINED_FLAG,))

    def describe_namespace(self, pid: int, time_ns: int) -> Iterator[Record]:
        """Have the mount table of a process read, unless it is one that was read already."""
        namespace = self._read_namespace(pid)
        if namespace not in self._namespaces:
            self._namespaces.add(namespace)
            yield MountsChanged(time_ns, pid)

    def describe_newcomer(self, start: ProcessStart) -> Iterator[Record]:
        """Yield the same of one that came into the cgroup later, in place of what the kernel told of it."""
        for record in self.describe_process(start.pid, start.time_ns):
            if isinstance(record, ProcessStart) and (start.ppid or not record.ppid):
                yield start
            else:
                yield record

    def list_blind_spots(self) -> Iterator[BlindSpot]:
        """Yield what of those that are joined cannot be seen."""
        if self._refused:
            yield BlindSpot(
                "not_joined",
                "processes of other users that were there before could not be joined: what they do is not "
                "in here; root can join them",
                len(self._refused),
            )
        if self._hidden:
            yield BlindSpot(
                "not_joined",
                "processes in the cgroup belong to a pid namespace that cannot be looked into from here",
                self._hidden,
            )
        if self._busy:
            yield BlindSpot(
                "io_uring_before",
                "a process had io_uring requests under way when it was joined: their results were not seen",
                len(self._busy),
            )
        if self._unread:
            yield BlindSpot(
                "joined_mapping",
                "of processes that were joined it could not be told which files they had mapped for writing: "
                "stores into these are not seen",
                len(self._unread),
            )

    def _read_facts(self, pid: int) -> Facts | None:
        try:
            facts = self._side.read_facts(pid)
        except PermissionError:
            self._unread.add(pid)
            return None
        except OSError:
            return None  # it has ended
        if facts.rings_busy:
            self._busy.add(pid)
        if facts.more_mappings:
            self._unread.add(pid)
        return facts

    def _read_namespace(self, pid: int) -> int:
        try:
            return os.stat(f"/proc/{pid}/ns/mnt").st_ino
        except OSError:
            return 0

    def _make_operand(self, pid: int, mapping: SharedMapping) -> Operand:
        namespace = self._read_namespace(pid)
        return Operand(
            mapping.path,
            None,
            mount_ns=None if namespace in (0, self._own_ns) else namespace,
            dev=mapping.dev,
            ino=mapping.ino,
            fmt=0o100000,
            deleted=mapping.deleted,
        )


def refusal_error(pid: int, error: OSError) -> CaptureError:
    """Return what to say where a process may not be joined."""
    return CaptureError(
        f"process {pid} cannot be joined: {error.strerror} (it is another user's, or has rights that you "
        "lack; ptrace(2) would be refused as well)",
        hint="run all of writeaudit as root: sudo writeaudit attach …",
    )
