"""Why the command failed: the refused operation that most likely explains it.

A process that fails of a refusal ends soon after it. So the search begins at the command and goes down
to the process whose failure was passed on: the last one of its children to fail. Of the refusals that it
met, the last one counts that it neither made up for (the same name was written in another way
later) nor survived (it went on to make many other files).
"""

from __future__ import annotations

from collections import defaultdict, deque

from writeaudit.analysis.collector import EVERY_OP, RunContext
from writeaudit.analysis.mounts import describe_mount
from writeaudit.analysis.processes import ProcessHistory, name_process
from writeaudit.audit import Mount, Process
from writeaudit.events import NAMESPACE_OPS, OK, FsEvent, Op
from writeaudit.judgement import CommandOutcome, Judged
from writeaudit.text import quote_name

_REFUSED = frozenset(
    {"EROFS", "EACCES", "EPERM", "ETXTBSY", "EBUSY", "EDQUOT", "ENOSPC", "EOVERFLOW", "ENOKEY", "EXDEV"}
    | {"EMLINK", "EFBIG", "EIO", "EOPNOTSUPP"}
)
"""Errors by which the system refuses what it understood."""
_ALWAYS_MADE_UP_FOR = {
    Op.CLONE: _REFUSED,
    Op.COPY: frozenset({"EXDEV", "EOPNOTSUPP", "EPERM"}),
    Op.SETXATTR: frozenset({"EOPNOTSUPP"}),
    Op.SETFLAGS: frozenset({"EOPNOTSUPP"}),
    Op.FALLOCATE: frozenset({"EOPNOTSUPP"}),
}
"""Refusals that programs are prepared for: they copy in another way, or do without."""
_MAKES = frozenset({Op.MKDIR, Op.MKNOD, Op.BIND, Op.SYMLINK, Op.LINK, Op.RENAME, Op.EXCHANGE})
_KEPT = 8
"""How many of the last refusals of a process are remembered."""
_NAMES = 1 << 14
_WENT_ON = 8
"""Who makes so many other names after a refusal has survived it."""

_WORDS = {
    Op.MKDIR: "making the directory {path}",
    Op.MKNOD: "making the node {path}",
    Op.BIND: "making the socket {path}",
    Op.SYMLINK: "making the symlink {path}",
    Op.LINK: "the hard link from {source} to {path}",
    Op.RENAME: "the rename from {source} to {path}",
    Op.EXCHANGE: "the exchange of {source} and {path}",
    Op.UNLINK: "removing {path}",
    Op.RMDIR: "removing the directory {path}",
    Op.WRITE: "writing to {path}",
    Op.COPY: "copying to {path}",
    Op.MMAP_WRITE: "mapping {path} for writing",
    Op.TRUNCATE: "truncating {path}",
    Op.FALLOCATE: "reserving room for {path}",
    Op.CHMOD: "changing the mode of {path}",
    Op.CHOWN: "changing the owner of {path}",
    Op.UTIME: "setting the times of {path}",
    Op.SETXATTR: "setting an attribute of {path}",
    Op.REMOVEXATTR: "removing an attribute of {path}",
    Op.SETFLAGS: "setting flags of {path}",
}


class _Met:
    """A refusal that a process met."""

    __slots__ = ("event", "made_up_for")

    def __init__(self, event: FsEvent) -> None:
        self.event = event
        self.made_up_for = False


class OutcomeCollector:
    """Keeps the last refusals of each process."""

    def __init__(self, context: RunContext) -> None:
        run = context.run
        self._processes = context.table
        self._mounts = context.mount_table
        self._context = context
        self._met: defaultdict[int, deque[_Met]] = defaultdict(lambda: deque(maxlen=_KEPT))
        self._made: defaultdict[int, deque[int]] = defaultdict(lambda: deque(maxlen=_WENT_ON))
        """When each process made the last names that it made."""
        self._pending: dict[bytes, list[_Met]] = {}
        self._wanted = run.ended and not run.succeeded

    @property
    def ops(self) -> frozenset[Op]:
        """All that touch files; none of a run that did not fail."""
        return EVERY_OP - NAMESPACE_OPS if self._wanted else frozenset()

    def add_event(self, event: FsEvent, _judged: Judged, /) -> None:
        """Take the next event."""
        if event.result == OK:
            self._note_success(event)
        elif event.result in _REFUSED and event.result not in _ALWAYS_MADE_UP_FOR.get(event.op, ()):
            met = _Met(event)
            self._met[event.pid].append(met)
            if len(self._pending) < _NAMES:
                self._pending.setdefault(event.path, []).append(met)

    def _note_success(self, event: FsEvent) -> None:
        op = event.op
        if op is Op.OPEN:
            if not event.created and (event.access is None or not event.access.writes):
                return
            if event.created:
                self._made[event.pid].append(event.time_ns)
        elif op in _MAKES:
            self._made[event.pid].append(event.time_ns)
        if self._pending and event.path in self._pending:
            for met in self._pending.pop(event.path):
                if met.event.op in (op, Op.LINK, Op.RENAME, Op.OPEN):
                    met.made_up_for = True

    def get_outcome(self) -> CommandOutcome:
        """Return the outcome, once all events have been fed."""
        if not self._wanted:
            return CommandOutcome(failed=False)
        root = self._processes.root
        met = None if root is None else self._explain_failure(root, set())
        if root is None and len(self._met) == 1:
            met = self._last_refusal(next(iter(self._met)))
        if met is None:
            return CommandOutcome(failed=True)
        event = met.event
        program = self._processes.find_program(event.pid, event.time_ns)
        return CommandOutcome(True, event.seq, self._describe_refusal(event, program), event.pid)

    def _explain_failure(self, family: ProcessHistory, seen: set[int]) -> _Met | None:
        """Return the refusal that explains why a process failed: its own refusal or a child's."""
        if id(family) in seen:
            return None
        seen.add(id(family))
        own = self._last_refusal(family.pid, family)
        failed = [child for child in family.children if child.failed and child.last.ended_ns is not None]
        if failed:
            last = max(failed, key=lambda child: child.last.ended_ns or 0)
            ended = last.last.ended_ns or 0
            if (own is None or own.event.time_ns < ended) and not self._went_on(family.pid, ended):
                return self._explain_failure(last, seen) or own
        return own

    def _last_refusal(self, pid: int, family: ProcessHistory | None = None) -> _Met | None:
        for met in reversed(self._met.get(pid, ())):
            if met.made_up_for or self._went_on(pid, met.event.time_ns):
                continue
            if family is not None and not _is_within(met.event, family):
                continue
            return met
        return None

    def _went_on(self, pid: int, time_ns: int) -> bool:
        """Whether a process went on to make many names after a time."""
        made = self._made.get(pid)
        return made is not None and len(made) >= _WENT_ON and made[0] > time_ns

    def _describe_refusal(self, event: FsEvent, program: Process | None) -> str:
        if event.op is Op.OPEN:
            writes = event.access is not None and event.access.writes
            what = f"opening {quote_name(event.path)}{' for writing' if writes else ''}"
        else:
            words = _WORDS.get(event.op, f"{event.op} of {{path}}")
            source = "" if event.source is None else quote_name(event.source)
            what = (
                words.replace("{source}", "\0")
                .replace("{path}", quote_name(event.path))
                .replace("\0", source)
            )
        why = self._describe_cause(event)
        return f"{what} was refused with {event.result}{why}, in {name_process(program, event.pid)}"

    def _describe_cause(self, event: FsEvent) -> str:
        mount = self._mounts.find_mount(event.mount, event.path)
        if event.result == "EROFS" and mount is not None:
            return f", as {describe_mount(mount)} is mounted read-only"
        if event.result in {"ENOSPC", "EDQUOT"} and mount is not None:
            return (
                f", as {describe_mount(mount)} is full"
                if event.result == "ENOSPC"
                else f" on {describe_mount(mount)}"
            )
        if event.result == "EXDEV" and event.source is not None:
            return self._describe_across(mount, self._mounts.find_mount(event.source_mount, event.source))
        return ""

    @staticmethod
    def _describe_across(target: Mount | None, source: Mount | None) -> str:
        if source is None or target is None or source.id == target.id:
            return ""
        return f", as these lie on two mounts, {describe_mount(source)} and {describe_mount(target)}"


def _is_within(event: FsEvent, family: ProcessHistory) -> bool:
    ended = family.last.ended_ns
    return family.lives[0].started_ns <= event.time_ns and (ended is None or event.time_ns <= ended)
