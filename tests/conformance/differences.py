"""In what the backends differ: the one place that says so.

A workload marks a step with a difference's name (``but``). Under the backends that the difference
names, the step need not be recorded at all (``unseen``), or some ``fields`` of it are not compared.
Everything else holds under every backend. docs/backends.md is made from this table:
``python -m tests.conformance.differences > docs/backends.md``.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

BACKENDS = ("ebpf", "bcc", "strace")


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that some backends do not see as the others do."""

    name: str
    backends: frozenset[str]
    """Those that fall short."""
    what: str
    """What they do not see, as a user would put it."""
    why: str
    unseen: bool = False
    """No event at all."""
    extra: bool = False
    """Further events of the same operation on the same path."""
    fields: frozenset[str] = frozenset()
    """Fields of the event that may be wrong or missing."""
    said: str = ""
    """The blind spot by which the report says it; empty if nothing is lost by it."""


_KERNEL = frozenset({"ebpf", "bcc"})
_STRACE = frozenset({"strace"})

TABLE: tuple[Difference, ...] = (
    Difference(
        "per-descriptor",
        _STRACE,
        "Writes are added up for each descriptor of each process, not for each open file: one that was "
        "duplicated, inherited or passed on has several sums.",
        "strace shows descriptors; that two of them are one open file is known to the kernel alone.",
        extra=True,
        fields=frozenset({"bytes", "calls"}),
    ),
    Difference(
        "setuid",
        _STRACE,
        "Programs that gain rights (setuid, setgid, file capabilities) run without them, and may fail for "
        "it, unless writeaudit is run by root.",
        "The kernel gives no rights to a process that is traced by somebody who has fewer (execve(2)).",
        said="setuid",
    ),
    Difference(
        "mount-namespaces",
        _STRACE,
        "What the paths of a process in a mount namespace of its own stand for outside of it.",
        "strace prints paths as the process sees them, and what they mean could be read in /proc only later, "
        "if at all.",
        fields=frozenset({"path", "source"}),
        said="namespace",
    ),
    Difference(
        "gone-namespaces",
        _KERNEL,
        "Names that cross mounts which a process made in a mount namespace of its own, if it changed them "
        "again, or was gone, before they could be read. They are recorded as the process spelled them, with "
        "certainty `lexical`; opened files are known by the kernel's own word all the same.",
        "A mount table can be read in /proc only as long as the process lives, some milliseconds behind it.",
        fields=frozenset({"path", "source"}),
        said="namespace",
    ),
    Difference(
        "soon-gone",
        _STRACE,
        "Whether a name that lay there before the run, and was removed within some milliseconds after its "
        "use, was a symlink: such an event is marked as uncertain (WA903).",
        "strace prints names as they were passed; what they stood for is looked up a little later.",
    ),
    Difference(
        "made-and-gone",
        _STRACE,
        "Whether an open with O_CREAT and without O_EXCL made the file, if the file is gone within moments: "
        "it is then taken for a new one unless something earlier spoke of it.",
        "strace shows the flags that were passed; when the file was made is asked of the disk, a bit later.",
        fields=frozenset({"created"}),
    ),
    Difference(
        "younger-calls",
        _STRACE,
        "File names of system calls that are younger than the strace: fchmodat2 before strace 6.6, "
        "setxattrat, removexattrat and file_setattr in most.",
        "strace then prints addresses in the memory of the process, which goes on running.",
        unseen=True,
        extra=True,
        said="unknown_calls",
    ),
    Difference(
        "detached-mounts",
        _STRACE,
        "Which files are meant, once a process has made a mount that is attached nowhere (open_tree with "
        "OPEN_TREE_CLONE, fsmount), until move_mount gives it a place, or has taken a mount away whose files "
        "may still be open (umount2 with MNT_DETACH): all paths from then on have the certainty `lexical`.",
        "Paths in such a mount begin at its root, and nothing in what strace prints tells them from others.",
        unseen=True,
        extra=True,
        said="detached_mount",
    ),
    Difference(
        "undecoded-ioctls",
        _STRACE,
        "The name of a btrfs subvolume that is deleted by BTRFS_IOC_SNAP_DESTROY_V2.",
        "strace up to 6.1 at least prints the address of the structure; the name is read there later.",
        unseen=True,
        extra=True,
        said="ioctl",
    ),
    Difference(
        "unreadable-names",
        _STRACE,
        "Calls that failed with EFAULT since a name lies at no readable address. (ebpf and bcc record the "
        "attempt with an empty path.)",
        "strace prints the address, which names no file; nor did the kernel learn of one.",
        unseen=True,
    ),
    Difference(
        "x32-names",
        _STRACE,
        "Failed calls by a number of the x32 kind with a name beyond the first 4 GB, as only a program makes "
        "them that is none for x32. (Most kernels have no such calls and answer ENOSYS.)",
        "strace takes the addresses of such calls for 32 bits wide, and prints numbers in place of names.",
        unseen=True,
    ),
    Difference(
        "io_uring",
        _STRACE,
        "Operations made through io_uring. (ebpf and bcc see them from Linux 6.0 on.)",
        "They make no system call, and system calls are all that strace sees.",
        unseen=True,
        said="io_uring",
    ),
    Difference(
        "taken-descriptors",
        frozenset(BACKENDS),
        "From which process a descriptor was taken by pidfd_getfd. What is done with it is recorded.",
        "The call names a process by a descriptor, and nothing that is recorded says of whom that is.",
        said="other_process",
    ),
    Difference(
        "silent-requests",
        _KERNEL,
        "The results of io_uring requests that asked for none on success (IOSQE_CQE_SKIP_SUCCESS): they are "
        "recorded as successes, after everything else.",
        "The kernel posts no completion for them, which is where results are read.",
        said="io_uring_result",
    ),
)


def differences(backend: str) -> dict[str, Difference]:
    """Return the known differences of one backend, by name."""
    return {entry.name: entry for entry in TABLE if backend in entry.backends}


def document() -> str:
    """Return docs/backends.md."""
    names = ", ".join(BACKENDS)
    lines = [
        "# In what the backends differ",
        "",
        f"One vocabulary, and the same events, from every backend ({names}): op, path, source and",
        "result of every operation, its flags and access, and whether an open made the file. The table",
        "says where one of them falls short; everything that it does not mention is the same under all,",
        "and the conformance tests (`tests/conformance`) hold them to it. It is made from",
        "`tests/conformance/differences.py`.",
        "",
        "| what | short of it | why | said in the report as |",
        "| --- | --- | --- | --- |",
    ]
    for entry in TABLE:
        short = ", ".join(name for name in BACKENDS if name in entry.backends)
        silent = "nothing: such a call changes nothing" if entry.unseen else "no event is missing"
        said = f"blind spot `{entry.said}`" if entry.said else silent
        lines.append(f"| {entry.what} | {short} | {entry.why} | {said} |")
    lines += [
        "",
        "`ebpf` and `bcc` load the same programs and see the same. What no backend sees, and what a",
        "program can do to hide from each, is in the threat model.",
        "",
        "## What runs already",
        "",
        "`writeaudit attach` joins processes under every backend. `ebpf` and `bcc` follow whoever",
        "descends from them, also through processes that end while they are joined, and cgroups of both",
        "versions, with whoever comes into them. `strace` joins processes only (`strace -p`): a cgroup",
        "is refused. What was forked while it attached itself is the blind spot `not_joined`, a call",
        "that was under way then `call_before`. It traces without a filter there, so that every call of",
        "the processes stops: they are slowed down more than under `run`.",
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.stdout.write(document())
