"""Reads strace's output, line by line, into records of the capture interface.

Options that the text was made with: ``-f -y -ttt -T -x`` and, where strace knows it,
``--decode-pids=pidns``. Pure but for what it asks of its `Host`: the same bytes give the
same records. What cannot be read is counted in `TraceParser.lost`, never dropped.

Order: strace prints a call in one line if nothing else happened meanwhile, and otherwise
in two, the second when the call returned. So taking each call at the line that holds its
result gives the order in which the calls were finished.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from writeaudit.audit import BlindSpot
from writeaudit.capture import core_dumps
from writeaudit.capture.interface import ProcessExec, ProcessExit, ProcessStart, Record
from writeaudit.capture.strace.calls import namespaces
from writeaudit.capture.strace.calls.arguments import TracedCall
from writeaudit.capture.strace.calls.data import WRITES, write_line, writes_file
from writeaudit.capture.strace.calls.newer import unknown_call
from writeaudit.capture.strace.calls.registry import HANDLERS, is_irrelevant
from writeaudit.capture.strace.context import UNSETTLING, TraceContext
from writeaudit.capture.strace.fast_path import READERS, Reader
from writeaudit.capture.strace.lexer import UnparsedLine, parse_arguments, parse_result
from writeaudit.capture.strace.lifetime import argv_of, clone_flags, program_of, signal_status
from writeaudit.capture.strace.state import (
    DescriptorTable,
    FsContext,
    Host,
    NoHost,
    Pending,
    Thread,
    ThreadGroup,
)

_head = re.compile(rb"(\d+) +(\d+)\.(\d{6}) (?:([a-z_]\w*)\(|<\.\.\. (\w+) resumed>|(\+\+\+ )|(--- ))").match
_changed = re.compile(rb" <pid changed to (\d+) \.\.\.>$").search
_superseded = re.compile(rb"superseded by execve in pid (\d+)").match
_exited = re.compile(rb"exited with (\d+)").match
_killed = re.compile(rb"killed by (\w+)( \(core dumped\))?").match

_UNFINISHED = b" <unfinished ...>"
_DETACHED = b" <detached ...>"
_CLONES = frozenset({b"clone", b"clone2", b"clone3", b"fork", b"vfork"})
_EXECS = frozenset({b"execve", b"execveat"})
_OPENS = frozenset({b"open", b"openat", b"openat2"})
_CHANGING_OPEN = (b"O_CREAT", b"O_TRUNC", b"O_TMPFILE")
_HARMLESS = (
    {b"chdir", b"fchdir", b"unshare", b"setns", b"io_uring_setup", b"open_tree", b"fsmount"}
    | {b"open_by_handle_at"} | _CLONES | _EXECS
)  # fmt: skip
"""Calls whose result may stay unknown (the thread died in them): they change no file."""

_SAMPLES = 5
"""How many unreadable lines are kept for the message."""

TRACED: tuple[str, ...] = tuple(sorted(name.decode() for name in HANDLERS.keys() | WRITES | _CLONES | _EXECS))
"""Every call that the parser reads: what strace has to be told to trace."""


class TraceParser:
    """Turns the bytes that strace writes into records.

    ``root`` is the process id of the command, ``cwd`` its working directory and
    ``parent`` the process that started it. ``clock_offset_ns`` is added to strace's
    wall-clock times and makes them CLOCK_MONOTONIC. ``own_mount_ns`` is the inode number of
    writeaudit's mount namespace. ``deleted_inside`` tells that strace
    is older than 5.19, and leaves the kernel's `` (deleted)`` in its paths.
    ``keeps_privileges``: set-user-ID programs gain their rights although they are traced;
    ``dumps_are_files``: of a process that crashes (`core_dumps.are_files`).

    What happens before ``root`` executes its program is left out, and so is every process
    that was seen before that: strace has one of its own.
    """

    def __init__(
        self,
        root: int,
        *,
        cwd: bytes,
        parent: int = 0,
        clock_offset_ns: int = 0,
        host: Host | None = None,
        own_mount_ns: int | None = None,
        deleted_inside: bool = False,
        keeps_privileges: bool = False,
        dumps_are_files: bool = True,
    ) -> None:
        self._context = TraceContext(NoHost() if host is None else host, deleted_inside, own_mount_ns)
        self._keeps_privileges = keeps_privileges
        self._dumps_are_files = dumps_are_files
        self._root = root
        self._offset = clock_offset_ns
        process = ThreadGroup(root, parent, started=False)
        self._threads = self._context.threads
        self._threads[root] = Thread(root, process, FsContext(cwd), DescriptorTable())
        self._processes: dict[int, ThreadGroup] = {root: process}
        self._context.pids.add(root)
        self._pending: dict[int, Pending] = {}
        self._strangers: set[int] = set()
        self._fast: Mapping[bytes, Reader] = {}
        self._rest = b""
        self._joined = self._leaving = False
        self.started_ns: int | None = None
        """When the command's own program was executed; None before that."""
        self.lines = 0
        self.samples: list[bytes] = []
        """The first lines that could not be read."""

    def join_running(self, pids: Iterable[int], time_ns: int) -> list[Record]:
        """Begin with processes that run already, and are traced by now; return what they are."""
        out: list[Record] = []
        self._context.out = out
        self._joined = True
        self.started_ns = time_ns
        if not self._context.deleted_inside:
            self._fast = READERS
        self._threads.clear()
        self._processes.clear()
        self._context.pids.clear()
        for pid in sorted(pids):
            self._join_process(pid, time_ns)
        return out

    def _join_process(self, pid: int, time_ns: int) -> None:
        context, host = self._context, self._context.host
        known = host.find_parent(pid)
        if known is None:
            return  # it has ended meanwhile
        process = ThreadGroup(pid, known[1])
        self._processes[pid] = process
        context.pids.add(pid)
        context.out.append(ProcessStart(time_ns, pid, process.ppid))
        context.out.append(ProcessExec(time_ns, pid, host.read_exe(pid) or b"", host.read_cmdline(pid) or ()))
        files = DescriptorTable(users=0)
        for tid in host.list_threads(pid) or (pid,):
            cwd, root = host.read_cwd(tid), host.read_root(tid)
            fs = FsContext(cwd or b"/", root or b"/")
            fs.guessed, fs.root_guessed = cwd is None, root is None
            files.users += 1
            thread = Thread(tid, process, fs, files)
            self._threads[tid] = thread
            if host.mount_ns(tid) not in (None, context.own_mount_ns):
                namespaces.new_namespace(context, thread, time_ns)

    def leave_calls(self) -> None:
        """Calls that are under way now have ended after the audit, as far as it is concerned."""
        self._leaving = True

    @property
    def lost(self) -> Mapping[str, int]:
        """Events that are missing, by reason: ``unparsed``, ``unknown_result``, …"""
        return dict(self._context.lost)

    @property
    def truncated(self) -> int:
        """How many names were longer than strace prints, or could not be read."""
        return self._context.truncated

    @property
    def blind_spots(self) -> tuple[BlindSpot, ...]:
        """What was met and cannot be seen in full."""
        return tuple(self._context.spots.values())

    @property
    def alive(self) -> tuple[int, ...]:
        """The processes that have not ended."""
        return tuple(sorted(self._processes))

    def feed_bytes(self, chunk: bytes) -> list[Record]:
        """Read some bytes of the trace; a line that is not whole waits for the next call."""
        lines = (self._rest + chunk if self._rest else chunk).split(b"\n")
        self._rest = lines.pop()
        context = self._context
        out: list[Record] = []
        context.out = out
        self.lines += len(lines)
        for line in lines:
            try:
                self._read_line(line)
            except (UnparsedLine, ValueError, IndexError):
                context.count_lost("unparsed")
                if len(self.samples) < _SAMPLES:
                    self.samples.append(line)
        return out

    def finish_trace(self, *, ended: bool = False, given_up: bool = False) -> list[Record]:
        """Hand out what was still being added up. Call it once, at the end of the trace.

        ``ended``: strace itself has ended, which it does only after the last process that it traced.
        ``given_up``: it was made to, as it waited for memory of a process that did not come.
        """
        out = self.feed_bytes(b"\n") if self._rest else []
        self._context.out = out
        if given_up:
            self._context.add_blind_spot(
                "tracer",
                "a process kept strace waiting for its memory, so strace was given up: what was done after "
                "that was not seen; the ebpf backend never waits for a process",
            )
        elif ended and self._threads and self.started_ns is not None:
            self._context.add_blind_spot(
                "tracer",
                "strace ended before the processes that it traced did: what they did after that was not seen",
            )
        for tid, pending in self._pending.items():
            self._count_unknown(self._threads.get(tid), pending.name, pending.text)
        self._pending.clear()
        self._context.ledger.settle_all(out)
        return out

    def _read_line(self, line: bytes) -> None:
        match = _head(line)
        if match is None:
            if line:
                raise UnparsedLine("no call, signal or exit")
            return
        tid_text, seconds, micros, name, resumed, special, _signal = match.groups()
        tid = int(tid_text)
        time_ns = int(seconds + micros) * 1000 + self._offset
        thread = self._threads.get(tid) or self._meet_thread(tid, time_ns, ended=special is not None)
        if thread is None:
            return
        context = self._context
        context.resumed = None
        if name is not None:
            if line.endswith(b" ...>"):
                self._begin_call(thread, name, line, match.start(4))
                return
            text, pos, child = line, match.end(), None
        elif resumed is not None:
            name, pos = resumed, len(resumed) + 1
            pending = self._pending.pop(tid, None)
            if pending is None and self._joined:
                context.add_blind_spot(
                    "call_before",
                    "a call was under way when strace joined its process: its beginning is not known",
                )
                return
            if pending is None or pending.name != name:
                raise UnparsedLine("the end of a call that never began")
            text, child = pending.text + line[match.end() :], pending.child
            pending.end_call()
            context.resumed = pending
        else:
            if special is not None:
                self._end_thread(thread, time_ns, line, match.end())
            return
        whole = resumed is None
        fast = self._fast.get(name)
        if context.detached or (context.unsure and name in UNSETTLING):
            fast = None
        if fast is None or not fast(context, thread, time_ns, text, pos, whole):
            self._finish_call(thread, time_ns, name, text, pos, whole=whole, child=child)

    def _meet_thread(self, tid: int, time_ns: int, *, ended: bool) -> Thread | None:
        """Return a thread that is seen for the first time; None if it is none of the command's."""
        if self.started_ns is None:
            # The command that strace was started with, and is of no interest.
            self._strangers.add(tid)
        if tid in self._strangers:
            if ended:
                self._strangers.discard(tid)
            return None
        return self._adopt_thread(tid, time_ns)

    def _begin_call(self, thread: Thread, name: bytes, line: bytes, pos: int) -> None:
        renames = self._context.renames.count
        if line.endswith(_UNFINISHED):
            self._pending[thread.tid] = Pending.begin_call(
                thread, name, line[pos : -len(_UNFINISHED)], renames
            )
        elif line.endswith(_DETACHED):
            self._count_unknown(thread, name, line[pos:])
        elif changed := _changed(line):
            self._pending[int(changed[1])] = Pending.begin_call(
                thread, name, line[pos : changed.start()], renames
            )
        else:
            raise UnparsedLine("a call that strace left for an unknown reason")

    def _count_unknown(self, thread: Thread | None, name: bytes, text: bytes) -> None:
        """Count a call whose result nobody will ever see."""
        if name in _HARMLESS or self.started_ns is None or self._leaving:
            return
        if name in _OPENS and not any(word in text for word in _CHANGING_OPEN):
            return
        if is_irrelevant(name, text, []) or (name in WRITES and not writes_file(self._context, thread, text)):
            return
        self._context.count_lost("unknown_result")

    def _finish_call(
        self,
        thread: Thread,
        time_ns: int,
        name: bytes,
        line: bytes,
        pos: int,
        *,
        whole: bool,
        child: int | None = None,
    ) -> None:
        """Read a call that has returned; ``pos`` is where its arguments begin."""
        context = self._context
        if name in WRITES:
            if self.started_ns is not None:
                write_line(context, thread, time_ns, line, pos, whole=whole)
            return
        if is_irrelevant(name, line, thread.process.mappings):
            return
        args, end = parse_arguments(line, pos)
        outcome = parse_result(line, end)
        call = TracedCall(time_ns + outcome.duration_ns if whole else time_ns, thread, name, args, outcome)
        if name in _EXECS:
            self._note_exec(call, time_ns)
        elif self.started_ns is None:
            return
        elif outcome.value is None and outcome.error is None:
            self._count_unknown(thread, name, line)
        elif name in _CLONES:
            self._note_clone(call, child)
        else:
            handler = HANDLERS.get(name)
            if handler is None and name.startswith(b"syscall_0x"):
                handler = unknown_call
            if handler is None:
                raise UnparsedLine("a call that was not asked for")
            handler(context, call)

    # Processes and threads.

    def _note_clone(self, call: TracedCall, child: int | None) -> None:
        value = call.result.value
        if not call.ok or value is None or child is not None:
            return
        tid = call.result.pid or value
        if tid not in self._threads:
            self._create_thread(tid, call.thread, clone_flags(call), call.time_ns)

    def _adopt_thread(self, tid: int, time_ns: int) -> Thread:
        """Find the parent of a thread that is seen before the call that made it returned."""
        waiting = [
            (parent, pending)
            for parent, pending in self._pending.items()
            if pending.name in _CLONES and pending.child is None and parent in self._threads
        ]
        if len(waiting) > 1:
            known = self._context.host.find_parent(tid)
            if known is not None:
                process = known[1] if known[0] == tid else known[0]
                fitting = [pair for pair in waiting if self._threads[pair[0]].process.pid == process]
                waiting = fitting or waiting
        if not waiting:
            made = self._create_thread(tid, self._threads.get(self._root), frozenset(), time_ns)
            made.fs.mark_lost()  # it may be anybody's child
            return made
        parent, pending = waiting[0]
        pending.child = tid
        thread = self._threads[parent]
        args, _end = parse_arguments(pending.text + b")", len(pending.name) + 1)
        begun = TracedCall(time_ns, thread, pending.name, args, parse_result(b" = 0", 0))
        made = self._create_thread(tid, thread, clone_flags(begun), time_ns)
        if made.fs is not thread.fs and (len(waiting) > 1 or pending.version != thread.fs.version):
            made.fs.mark_lost()
        return made

    def _create_thread(
        self, tid: int, parent: Thread | None, flags: frozenset[bytes], time_ns: int
    ) -> Thread:
        if parent is None:
            process = ThreadGroup(tid, 0)
            thread = Thread(tid, process, FsContext(b"/"), DescriptorTable())
        else:
            if b"CLONE_THREAD" in flags:
                process = parent.process
            else:
                of = parent.process
                process = ThreadGroup(tid, of.ppid if b"CLONE_PARENT" in flags else of.pid, list(of.mappings))
            fs = parent.fs if b"CLONE_FS" in flags else parent.fs.copy()
            if b"CLONE_FILES" in flags:
                files = parent.files
                files.users += 1
            else:
                files = parent.files.copy()
            thread = Thread(tid, process, fs, files, parent.mount_ns)
        self._threads[tid] = thread
        if process.pid == tid:
            self._processes[tid] = process
            self._context.pids.add(tid)
            self._context.out.append(ProcessStart(time_ns, tid, process.ppid))
        if b"CLONE_NEWNS" in flags:
            namespaces.new_namespace(self._context, thread, time_ns)
        return thread

    def _note_exec(self, call: TracedCall, began_ns: int) -> None:
        if not call.ok or call.result.value is None:
            return
        thread, process = call.thread, call.thread.process
        if self.started_ns is None:
            self.started_ns = began_ns
            if not self._context.deleted_inside:
                self._fast = READERS
            self._context.out.append(ProcessStart(began_ns, process.pid, process.ppid))
        if thread.files.users > 1:
            thread.files.users -= 1
            thread.files = thread.files.copy()
        process.mappings = []
        exe, argv = program_of(call)
        if not self._keeps_privileges and self._context.host.gains_privileges(exe, thread.tid):
            self._context.add_blind_spot(
                "setuid",
                "a program ran without the privileges that it gains (setuid, setgid, file capabilities) "
                "when nobody traces it; the ebpf backend leaves it alone, and so does strace run by root",
                incomplete=False,
            )
        words, whole = argv_of(argv)
        if not whole:
            # strace cut it short; the process itself still knows, if it is still the same one.
            known = self._context.host.read_cmdline(process.pid)
            if known is not None and known[: len(words) - 1] == words[:-1] and len(known) >= len(words):
                words = known
        self._context.out.append(ProcessExec(call.time_ns, process.pid, exe, words))

    def _end_thread(self, thread: Thread, time_ns: int, line: bytes, pos: int) -> None:
        tid = thread.tid
        if match := _superseded(line, pos):
            self._supersede_leader(thread, int(match[1]))
            return
        if match := _exited(line, pos):
            status: int | None = int(match[1])
        elif match := _killed(line, pos):
            status = signal_status(match[1].decode())
            if match[2] is not None:
                self._context.add_blind_spot(
                    core_dumps.KIND, core_dumps.MESSAGE, incomplete=self._dumps_are_files
                )
        else:
            raise UnparsedLine("an end of an unknown kind")
        pending = self._pending.pop(tid, None)
        if pending is not None:
            pending.end_call()
            self._count_unknown(thread, pending.name, pending.text)
        self._threads.pop(tid, None)
        files = thread.files
        files.users -= 1
        if files.users <= 0:
            for file in files.open.values():
                self._context.ledger.settle_file(file, self._context.out)
        process = thread.process
        if process.pid == tid:
            self._processes.pop(tid, None)
            if self.started_ns is not None:
                self._context.out.append(ProcessExit(time_ns, tid, status))

    def _supersede_leader(self, leader: Thread, executor: int) -> None:
        """A thread that is not the leader executes: it goes on under the leader's id."""
        pending = self._pending.pop(executor, None)
        thread = self._threads.pop(executor, None)
        if pending is not None:
            self._pending[leader.tid] = pending
        if thread is not None:
            leader.files.users -= 1
            leader.fs, leader.files, leader.mount_ns = thread.fs, thread.files, thread.mount_ns
