"""Loads the CO-RE objects through libbpf, ahead of time if need be.

The kernel takes its time to verify programs. So that nobody waits for it, this module imports
little, and can begin before the rest of writeaudit is imported.
"""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import threading
from collections.abc import Sequence

from writeaudit import resources
from writeaudit.capture.libbpf import Libbpf, Map, Object
from writeaudit.capture.own_status import own_status
from writeaudit.errors import BackendUnavailable

RING_BYTES = 16 << 20
"""Size of the kernel's event buffer, unless another one is asked for."""
PROGRAMS = ("sys_exit", "sched_process_fork", "sched_process_exec", "sched_process_exit")
"""Raw tracepoints that the kernel side cannot do without; each program is named after its own."""

_SLOTS = 4
"""WA_SLOTS of probes/portable.h."""
_BTF = "/sys/kernel/btf/vmlinux"


def check_platform() -> None:
    """Raise `BackendUnavailable` unless machine, kernel and privileges admit the kernel side."""
    machine = os.uname().machine
    if machine != "x86_64":
        raise BackendUnavailable(
            f"the kernel side knows the system calls of x86-64 only, and this is {machine}",
            hint="use --backend strace",
        )
    if not os.path.exists(_BTF):
        raise BackendUnavailable(
            "the kernel does not describe its own types (no /sys/kernel/btf/vmlinux)",
            hint="boot a kernel built with CONFIG_DEBUG_INFO_BTF=y (Debian 11, Ubuntu 20.10, Fedora 31 "
            "or later have it); in a container, mount /sys",
        )
    if not _may_load():
        raise BackendUnavailable(
            "loading BPF programs takes root, or the capabilities CAP_BPF and CAP_PERFMON",
            hint="run it through sudo: sudo writeaudit run …",
        )


def _may_load() -> bool:
    """Whether this process has CAP_SYS_ADMIN, or CAP_BPF and CAP_PERFMON (capabilities(7))."""
    effective = int(own_status().get("CapEff", "0"), 16)
    return bool(effective >> 21 & 1 or (effective >> 39 & 1 and effective >> 38 & 1))


def object_paths() -> tuple[str, ...]:
    """Return the CO-RE objects, the one to try first first. Raises `BackendUnavailable`."""
    try:
        return resources.probe_objects()
    except resources.ResourceMissing as error:
        raise BackendUnavailable(error.message, hint=error.hint) from error


class CoreSide:
    """The kernel side as libbpf loaded it; see `writeaudit.capture.kernel.KernelSide`."""

    def __init__(self, loaded: Object, ring_bytes: int, *, sees_uring: bool) -> None:
        self._object = loaded
        self.ring_fd = loaded.map("events").fd
        self.ring_bytes = ring_bytes
        self.sees_uring = sees_uring

    def map(self, name: str) -> Map:
        """Return a map by its name in the source."""
        return self._object.map(name)

    def misses(self) -> int:
        """Return how often the kernel skipped a program because it was running already."""
        return sum(self._object.misses(f"raw_tracepoint__{name}") for name in PROGRAMS)

    def detach(self) -> None:
        """Take the programs out; the maps stay."""
        self._object.detach()

    def close(self) -> None:
        """Take everything out of the kernel."""
        self._object.close()


def lift_memory_limit() -> None:
    """Before Linux 5.11 maps count against this limit; where it cannot be raised it is harmless."""
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


def load(ring_bytes: int, paths: Sequence[str] | None = None) -> CoreSide:
    """Load and attach the first object that the kernel takes (default: of `object_paths`).

    Raises `BackendUnavailable`.
    """
    library = Libbpf()
    lift_memory_limit()
    chosen = paths if paths is not None else object_paths()
    try:
        return _load_first(library, chosen, ring_bytes)
    except OSError:
        library.listen()
    try:
        return _load_first(library, chosen, ring_bytes)
    except OSError as refusal:
        raise explain_refusal(refusal) from refusal


def _load_first(library: Libbpf, paths: Sequence[str], ring_bytes: int) -> CoreSide:
    """Load the first of some objects that the kernel takes. Raises OSError, about the last one."""
    *better, last = paths
    for path in better:
        with contextlib.suppress(OSError):
            return _load_one(library, library.open(path), ring_bytes)
    return _load_one(library, library.open(last), ring_bytes)


def _load_one(library: Libbpf, loaded: Object, ring_bytes: int) -> CoreSide:
    try:
        return _loaded(library, loaded, ring_bytes)
    except OSError:
        loaded.close()
        raise


def _loaded(library: Libbpf, loaded: Object, ring_bytes: int) -> CoreSide:
    cpus = library.cpus()
    loaded.resize("scratch", _SLOTS * cpus)
    loaded.resize("events", ring_bytes)
    uring = uring_programs(os.uname().release)
    for name in _URING_PROGRAMS:
        if name not in uring:
            loaded.leave_out(f"raw_tracepoint__{name}")
    loaded.load()
    for name in PROGRAMS:
        loaded.attach(f"raw_tracepoint__{name}")
    attached = [loaded.attach(f"raw_tracepoint__{name}", optional=True) for name in uring]
    sees_uring = bool(attached) and all(attached)
    return CoreSide(loaded, ring_bytes, sees_uring=sees_uring)


_URING_PROGRAMS = ("io_uring_submit_req", "io_uring_submit_sqe", "io_uring_complete")


def uring_programs(release: str) -> tuple[str, ...]:
    """Return the tracepoints that tell of io_uring requests in a kernel (`uname -r`).

    Linux 6.3 renamed one of them; before 6.0 requests are laid out in a way we do not read.
    """
    major, _, rest = release.partition(".")
    minor = rest[: len(rest) - len(rest.lstrip("0123456789"))]
    version = (int(major), int(minor)) if major.isdecimal() and minor else (0, 0)
    if version < (6, 0):
        return ()
    return ("io_uring_submit_req" if version >= (6, 3) else "io_uring_submit_sqe", "io_uring_complete")


def explain_refusal(error: OSError) -> BackendUnavailable:
    """Turn the kernel's refusal to load or attach into a reason and a remedy."""
    if error.errno == errno.EAGAIN:
        return BackendUnavailable(
            "the kernel's check of the BPF programs was interrupted by signals, again and again",
            hint="try again, without what stops writeaudit all the time (a profiler, a debugger)",
        )
    if error.errno in (errno.EPERM, errno.EACCES):
        return BackendUnavailable(
            f"the kernel refuses BPF programs to this user: {error}",
            hint="run as root (sudo writeaudit run …), or in a container with "
            "CAP_BPF, CAP_PERFMON and CAP_SYS_RESOURCE; kernel lockdown must not be 'confidentiality'",
        )
    return BackendUnavailable(
        f"the kernel did not take the BPF programs: {error}",
        hint="Linux 5.8 or later with BTF (CONFIG_DEBUG_INFO_BTF) is needed",
    )


class _Ahead:
    """Programs that are being loaded in the background."""

    def __init__(self, ring_bytes: int) -> None:
        self.ring_bytes = ring_bytes
        self._side: CoreSide | None = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name="load-ahead", daemon=True)
        self._thread.start()

    def _work(self) -> None:
        try:
            check_platform()
            self._side = load(self.ring_bytes)
        except BaseException as error:  # noqa: BLE001 - handed on to whoever asks for the result
            self._error = error

    def result(self) -> CoreSide:
        """Wait for the end; raises what loading raised."""
        self._thread.join()
        if self._error is not None:
            raise self._error
        assert self._side is not None
        return self._side


_ahead: list[_Ahead] = []


def load_ahead(ring_bytes: int) -> None:
    """Begin to load the programs in the background, for the capture that is about to be asked for.

    Does nothing where that has begun already.
    """
    if not _ahead or _ahead[-1].ring_bytes != ring_bytes:
        _ahead.append(_Ahead(ring_bytes))


def loaded_ahead(ring_bytes: int) -> CoreSide | None:
    """Return what `load_ahead` loaded, once, if that was asked for with a buffer of that size."""
    pending = _ahead.pop() if _ahead and _ahead[-1].ring_bytes == ring_bytes else None
    return pending.result() if pending is not None else None
