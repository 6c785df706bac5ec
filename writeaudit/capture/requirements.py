"""What the backends need of a machine, and what a refusal of the kernel's means.

The backends ask before they run, and `writeaudit doctor` shows the same answers: there is no other
place that knows. Nothing here needs /proc or /sys, unless it is what is asked for. It imports
little, because the BPF programs are loaded before the rest of writeaudit is imported.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct

from writeaudit.errors import BackendUnavailable

CAP_SYS_PTRACE, CAP_SYS_ADMIN, CAP_PERFMON, CAP_BPF = 19, 21, 38, 39
"""Numbers of linux/capability.h."""
OLDEST_KERNEL = (5, 8)
"""The first one with the BPF ring buffer and with CAP_BPF (bpf-helpers(7), capabilities(7))."""
MACHINES = ("x86_64", "aarch64")
"""Processors whose registers and system call numbers the kernel side knows."""
BTF = "/sys/kernel/btf/vmlinux"
"""Where the kernel describes its own types."""
SCOPE = "/proc/sys/kernel/yama/ptrace_scope"
LOCKDOWN = "/sys/kernel/security/lockdown"

_CAPABILITY_VERSION_3 = 0x20080522
_INITIAL_USER_NAMESPACE = 0xEFFFFFFD
"""Inode number of the initial user namespace (include/linux/proc_ns.h: PROC_USER_INIT_INO)."""
_PR_GET_SECCOMP = 21
_SECCOMP_MODE_FILTER = 2
_SYS_BPF = {"x86_64": 321, "aarch64": 280}
_libc = ctypes.CDLL(None, use_errno=True)


class BpfRefused(OSError):
    """The kernel refused a BPF map, a program or an attachment; ``strerror`` is its own sentence.

    ``by_verifier``: the program was looked at and found wanting. That is never for want of
    privileges, though the errno is often EACCES.
    """

    def __init__(self, number: int, sentence: str, *, by_verifier: bool = False) -> None:
        super().__init__(number, sentence)
        self.by_verifier = by_verifier


def effective_capabilities() -> int:
    """Return the set of effective capabilities, bit N for capability N (capget(2)). Raises OSError."""
    header = ctypes.create_string_buffer(struct.pack("=Ii", _CAPABILITY_VERSION_3, 0))
    data = ctypes.create_string_buffer(24)
    if _libc.capget(header, data) < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    low, _permitted, _inheritable, high, *_rest = struct.unpack("=6I", data.raw)
    return int(low | high << 32)


def holds_capabilities(*capabilities: int) -> bool:
    """Whether this process has all of these capabilities, in the user namespace that it is in."""
    try:
        held = effective_capabilities()
    except OSError:
        return os.geteuid() == 0
    return all(held >> number & 1 for number in capabilities)


def in_user_namespace() -> bool:
    """Whether this process is in another user namespace than the machine's first (user_namespaces(7))."""
    try:
        return os.stat("/proc/self/ns/user").st_ino != _INITIAL_USER_NAMESPACE
    except OSError:
        return False


def is_filtered() -> bool:
    """Whether a seccomp filter is in force for this process (prctl(2), PR_GET_SECCOMP)."""
    return bool(_libc.prctl(_PR_GET_SECCOMP, 0, 0, 0, 0) == _SECCOMP_MODE_FILTER)


def read_lockdown() -> str | None:
    """Return none, integrity or confidentiality (kernel_lockdown(7)); None if the kernel does not tell."""
    return parse_lockdown(_read_text(LOCKDOWN))


def parse_lockdown(text: str) -> str | None:
    """Return the word that stands in brackets: the one that was chosen."""
    _before, bracket, rest = text.partition("[")
    return rest.partition("]")[0] if bracket else None


def read_ptrace_scope() -> int | None:
    """Return Yama's kernel.yama.ptrace_scope (ptrace(2)); None without Yama or without /proc."""
    text = _read_text(SCOPE).strip()
    return int(text) if text.isdecimal() else None


def kernel_version(release: str) -> tuple[int, int] | None:
    """Return the first two numbers of a kernel release (`uname -r`), None if it has none."""
    major, dot, rest = release.partition(".")
    minor = rest[: len(rest) - len(rest.lstrip("0123456789"))]
    return (int(major), int(minor)) if major.isdecimal() and dot and minor else None


def check_proc() -> None:
    """Raise `BackendUnavailable` where /proc is not mounted: mount tables and namespaces are read there."""
    if not os.path.exists("/proc/self/mountinfo"):
        raise BackendUnavailable("/proc is not mounted", hint="mount it", command="mount -t proc proc /proc")


def check_bpf() -> None:
    """Raise `BackendUnavailable` unless processor, kernel and privileges admit the kernel side.

    Costs little, and so settles only what is certain: whether the kernel takes the programs is
    known once it has been asked (`explain_bpf_refusal`).
    """
    check_kernel()
    if not (holds_capabilities(CAP_SYS_ADMIN) or holds_capabilities(CAP_BPF, CAP_PERFMON)):
        raise _lacks_privileges()
    _check_namespace()
    if is_filtered() and _is_fatal_to_ask():
        raise BackendUnavailable(
            "a seccomp filter is in force that kills whoever calls bpf(2), as in a container",
            hint="start the container with --cap-add BPF --cap-add PERFMON (which lets bpf(2) through)",
        )


def check_kernel() -> None:
    """Raise `BackendUnavailable` unless processor and kernel admit the kernel side, whoever asks."""
    machine = os.uname().machine
    if machine not in MACHINES:
        known = " and ".join(MACHINES)
        raise BackendUnavailable(
            f"the kernel side knows the system calls of {known} only, and this is {machine}",
            hint="use --backend strace",
        )
    release = os.uname().release
    version = kernel_version(release)
    if version is not None and version < OLDEST_KERNEL:
        raise BackendUnavailable(
            f"Linux {release} is too old: BPF ring buffers came with 5.8", hint="use --backend strace"
        )
    check_proc()
    if not os.path.exists(BTF):
        if not os.path.isdir("/sys/kernel"):
            raise BackendUnavailable(
                f"/sys is not mounted, so {BTF} cannot be read",
                hint="mount it",
                command="mount -t sysfs sysfs /sys",
            )
        raise BackendUnavailable(
            f"the kernel does not describe its own types (no {BTF})",
            hint="boot a kernel built with CONFIG_DEBUG_INFO_BTF=y (Debian 11, Ubuntu 20.10, Fedora 31 "
            "or later have it)",
        )


def _check_namespace() -> None:
    if in_user_namespace():
        raise BackendUnavailable(
            "this is root in a user namespace only (a rootless container, unshare -U): "
            "the kernel takes tracing programs from the machine's own root",
            hint="start writeaudit outside of the namespace; or use --backend strace",
        )


def _is_fatal_to_ask() -> bool:
    """Whether bpf(2) ends the process that calls it; asked in a child."""
    call = _SYS_BPF.get(os.uname().machine)
    if call is None:
        return False
    pid = os.fork()
    if pid == 0:
        _libc.syscall(call, -1, None, 0)  # no such command: EINVAL, or what the filter says
        os._exit(0)
    return os.WIFSIGNALED(os.waitpid(pid, 0)[1])


def _lacks_privileges() -> BackendUnavailable:
    if os.geteuid() == 0:
        return BackendUnavailable(
            "root lacks the capabilities CAP_BPF and CAP_PERFMON, as in a container",
            hint="start the container with both",
            command="docker run --cap-add BPF --cap-add PERFMON …",
        )
    return BackendUnavailable(
        "loading BPF programs takes root, or the capabilities CAP_BPF and CAP_PERFMON",
        hint="let sudo start that part alone; all the rest, the audited command too, runs as you",
        command="writeaudit run --sudo -- COMMAND",
    )


def explain_bpf_refusal(error: OSError) -> BackendUnavailable:
    """Turn the kernel's refusal to load or attach into a reason and a remedy."""
    words = error.strerror or str(error)
    if error.errno == errno.EAGAIN:
        return BackendUnavailable(
            "the kernel's check of the BPF programs was interrupted by signals, again and again",
            hint="try again, without what stops writeaudit all the time (a profiler, a debugger)",
        )
    if isinstance(error, BpfRefused) and error.by_verifier:
        return BackendUnavailable(
            f"the verifier of Linux {os.uname().release} refuses the BPF programs",
            detail=words,
            hint="use --backend strace, and please report it with the output of `writeaudit doctor --json`",
        )
    if error.errno in (errno.EPERM, errno.EACCES, errno.ENOSYS):
        reason, hint = _reason_for_no()
        return BackendUnavailable(reason, detail=words, hint=hint)
    return BackendUnavailable(
        "the kernel did not take the BPF programs", detail=words, hint="use --backend strace"
    )


def _reason_for_no() -> tuple[str, str]:
    """Return why bpf(2) was refused before the verifier had its say, and what helps."""
    if read_lockdown() == "confidentiality":
        return (
            "the kernel is locked down (confidentiality): no BPF program may read its memory",
            "use --backend strace; or boot without lockdown=confidentiality",
        )
    if is_filtered():
        return (
            "bpf(2) is refused, and a seccomp filter is in force, as in a container",
            "start the container with --cap-add BPF --cap-add PERFMON (which lets bpf(2) through)",
        )
    version = kernel_version(os.uname().release)
    if version is not None and version < (5, 11) and not holds_capabilities(CAP_SYS_ADMIN):
        return (
            "the kernel refuses BPF maps: before Linux 5.11 they count against RLIMIT_MEMLOCK",
            "raise that limit (ulimit -l unlimited), or add CAP_SYS_RESOURCE",
        )
    return (
        "the kernel refuses BPF programs although the capabilities for them are held",
        "a security module (SELinux, AppArmor) may forbid it: see the system's log; or use --backend strace",
    )


def explain_ptrace_refusal(number: int) -> BackendUnavailable:
    """Turn a refusal of ptrace(2) into a reason and a remedy; ``number``: its errno, 0 if unknown."""
    scope = read_ptrace_scope()
    if scope is not None and scope >= 3:
        return BackendUnavailable(
            f"nobody may trace here: kernel.yama.ptrace_scope is {scope}",
            hint="only another setting at the next start of the machine undoes it; "
            "use --backend ebpf as root",
        )
    if scope == 2 and not holds_capabilities(CAP_SYS_PTRACE):
        return BackendUnavailable(
            "only administrators may trace here: kernel.yama.ptrace_scope is 2",
            hint="run as root, or allow it",
            command=f"{'' if os.geteuid() == 0 else 'sudo '}sysctl kernel.yama.ptrace_scope=1",
        )
    reason = os.strerror(number) if number else "the probe was killed"
    if is_filtered():
        return BackendUnavailable(
            "ptrace(2) is refused, and a seccomp filter is in force, as in a container",
            detail=reason,
            hint="start the container with --cap-add SYS_PTRACE (docker, podman)",
        )
    return BackendUnavailable(
        "the kernel refuses ptrace(2)",
        detail=reason,
        hint="a program that is traced already (strace, gdb, another audit) cannot be traced twice; "
        "in a container, add --cap-add SYS_PTRACE",
    )


def _read_text(path: str) -> str:
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.read()
    except OSError:
        return ""
