"""The ebpf backend: the CO-RE object, built when writeaudit was packaged, through libbpf."""

from __future__ import annotations

import contextlib
import os
import platform
import resource
from pathlib import Path

from writeaudit import resources
from writeaudit.capture.interface import Command, Limits, Outcome, Sink
from writeaudit.capture.kernel import CONFIG, FILE, PROGRAMS, capture, explain_refusal
from writeaudit.capture.libbpf import Libbpf, Map, Object
from writeaudit.capture.syscalls import SPECS
from writeaudit.errors import BackendUnavailable

_SLOTS = 4
"""WA_SLOTS of probes/portable.h."""
_BTF = Path("/sys/kernel/btf/vmlinux")
_COUNTER = 8


class EbpfBackend:
    """Captures at system-call exits, in the kernel (probes/)."""

    name = "ebpf"
    tier = "base"

    def check(self) -> None:
        """Raise `BackendUnavailable` if it cannot run here. Loads nothing into the kernel."""
        check_platform()
        Libbpf()
        object_path()

    def capture(self, command: Command, sink: Sink, limits: Limits) -> Outcome:
        """See `writeaudit.capture.interface.Backend`."""
        self.check()
        return capture(_load(limits), command, sink, limits)


def check_platform() -> None:
    """Raise `BackendUnavailable` unless machine, kernel and privileges admit the kernel side."""
    machine = platform.machine()
    if machine != "x86_64":
        raise BackendUnavailable(
            f"the kernel side knows the system calls of x86-64 only, and this is {machine}",
            hint="use --backend strace",
        )
    if not _BTF.exists():
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


def object_path() -> str:
    """Return the path of the CO-RE object. Raises `BackendUnavailable`."""
    try:
        return os.fspath(resources.probe_object())
    except resources.ResourceMissing as error:
        raise BackendUnavailable(error.message, hint=error.hint) from error


def _may_load() -> bool:
    """Whether this process has CAP_SYS_ADMIN, or CAP_BPF and CAP_PERFMON (capabilities(7))."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapEff:"):
            effective = int(line.split()[1], 16)
            return bool(effective >> 21 & 1 or (effective >> 39 & 1 and effective >> 38 & 1))
    return False


class _CoreSide:
    """The kernel side as libbpf loaded it."""

    def __init__(self, library: Libbpf, loaded: Object, ring_bytes: int, cpus: int) -> None:
        self._library = library
        self._object = loaded
        self.ring_fd = loaded.map_fd("events")
        self.ring_bytes = ring_bytes
        self.cpus = cpus
        self._sizes = {
            "table": (4, 16 * SPECS),
            "config": (4, CONFIG.size),
            "files": (8, FILE.size),
            "counters": (4, _COUNTER * cpus),
        }

    def map(self, name: str) -> Map:
        key_size, value_size = self._sizes[name]
        return Map(self._library, self._object.map_fd(name), key_size, value_size)

    def misses(self) -> int:
        return sum(self._object.misses(f"raw_tracepoint__{name}") for name in PROGRAMS)

    def detach(self) -> None:
        self._object.detach()

    def close(self) -> None:
        self._object.close()


def _load(limits: Limits) -> _CoreSide:
    library = Libbpf()
    # Before Linux 5.11 maps count against this limit; where it cannot be raised it is harmless.
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    loaded = library.open(object_path())
    try:
        cpus = library.cpus()
        loaded.resize("scratch", _SLOTS * cpus)
        loaded.resize("events", limits.buffer_bytes)
        loaded.load()
        for name in PROGRAMS:
            loaded.attach(f"raw_tracepoint__{name}")
    except OSError as error:
        loaded.close()
        raise explain_refusal(error) from error
    return _CoreSide(library, loaded, limits.buffer_bytes, cpus)
