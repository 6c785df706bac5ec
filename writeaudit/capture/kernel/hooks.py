"""Which programs there are, and where they are attached in a kernel.

Up to Linux 6.x all are attached to raw tracepoints, where nothing can preempt them. From 7.0 on those
can be preempted: the kernel then skips a program that is at work on that processor already. The
tracepoints of perf still cannot, so the programs are attached to these there (``WA_PERF`` of
probes/portable.h).
"""

from __future__ import annotations


class Hook:
    """A program and its tracepoint. No named tuple: this is imported before the programs are loaded."""

    __slots__ = ("category", "passed", "program", "tracepoint")

    def __init__(
        self,
        program: str,
        tracepoint: str,
        category: str | None = None,
        passed: tuple[tuple[str, int], ...] = (),
    ) -> None:
        self.program = program
        """Its name in the source, without what all begin with."""
        self.tracepoint = tracepoint
        self.category = category
        """Of the tracepoint, if the program is attached to it through perf; None: it is a raw one."""
        self.passed = passed
        """What the program takes from what perf passes: names and offsets."""


_FORK, _EXIT, _MOVE = "sched_process_fork", "sched_process_exit", "cgroup_attach_task"
_RAW = tuple(Hook(name, name) for name in ("sys_exit", _FORK, "sched_process_exec", "sched_process_exit"))
_PERF = (
    Hook("sys_exit", "sys_exit", "raw_syscalls", (("ret", 16),)),
    *(Hook(f"{_FORK}{copy}", _FORK) for copy in ("", "_2", "_3", "_4")),
    Hook("sched_process_exec", "sched_process_exec", "sched", (("old_pid", 16),)),
    Hook("sched_process_exit", "sched_process_exit", "sched"),
)
_URING_PERF = (
    Hook("io_uring_submit_req", "io_uring_submit_req", "io_uring", (("req", 16),)),
    Hook("io_uring_complete", "io_uring_complete", "io_uring", (("req", 16),)),
)


def kernel_version(release: str) -> tuple[int, int]:
    """Return the first two numbers of a kernel's release (`uname -r`); (0, 0) if it begins otherwise."""
    major, _, rest = release.partition(".")
    minor = rest[: len(rest) - len(rest.lstrip("0123456789"))]
    return (int(major), int(minor)) if major.isdecimal() and minor else (0, 0)


def is_preemptible(release: str) -> bool:
    """Whether raw tracepoints can be preempted in a kernel."""
    return kernel_version(release) >= (7, 0)


def needed_hooks(release: str) -> tuple[Hook, ...]:
    """Return what the kernel side cannot do without."""
    return _PERF if is_preemptible(release) else _RAW


def uring_hooks(release: str) -> tuple[Hook, ...]:
    """Return what tells of io_uring requests in a kernel.

    Linux 6.3 renamed one of the tracepoints; before 6.0 requests are laid out in a way we do not read.
    """
    if is_preemptible(release):
        return _URING_PERF
    version = kernel_version(release)
    if version < (6, 0):
        return ()
    submit = "io_uring_submit_req" if version >= (6, 3) else "io_uring_submit_sqe"
    return tuple(Hook(name, name) for name in (submit, "io_uring_complete"))


PROCESSES, CGROUP = "processes", "cgroup"
"""What may be joined (`hooks_in_order`)."""


def hooks_in_order(release: str, joins: str = "") -> tuple[Hook, ...]:
    """Return what the kernel side cannot do without, in the order in which it is to be attached.

    ``joins``: with what it takes to join processes, or a cgroup, that are there already. Of those at a fork
    the one that follows children goes first, of those at an exit the one that lets go of a process last.
    """
    needed = needed_hooks(release)
    if not joins:
        return needed
    copies = ("", "_2") if is_preemptible(release) else ("",)
    exits = tuple(Hook(f"{_EXIT}_join{copy}", _EXIT) for copy in copies)
    births = tuple(Hook(f"{_FORK}_join{copy}", _FORK) for copy in copies)
    moves = tuple(Hook(f"{_MOVE}{copy}", _MOVE) for copy in copies) if joins == CGROUP else ()
    return (*exits, *needed, *births, *moves)


def missed_runs(misses: dict[str, int]) -> int:
    """Return how many events may have been missed, by how often each program was skipped.

    Copies of a program see the same events, and an event is missed only if all of them were skipped.
    """
    copies: dict[str, int] = {}
    for program, count in misses.items():
        name = program.rstrip("_234")
        copies[name] = min(count, copies.get(name, count))
    return sum(copies.values())
