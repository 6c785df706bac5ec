"""The ebpf backend: the CO-RE object, built when writeaudit was packaged, through libbpf."""

from __future__ import annotations

import contextlib
import os
import platform
import re
import resource
import tempfile
import threading
from collections.abc import Sequence
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
    engine = "libbpf"

    def __init__(self, probes: str | None = None) -> None:
        self._probes = probes

    def check(self) -> None:
        """Raise `BackendUnavailable` if it cannot run here. Loads nothing into the kernel."""
        check_platform()
        Libbpf()
        if self._probes is None:
            object_paths()

    def capture(self, command: Command, sink: Sink, limits: Limits) -> Outcome:
        """See `writeaudit.capture.interface.Backend`."""
        return capture(self._loaded(limits), command, sink, limits)

    def _loaded(self, limits: Limits) -> _CoreSide:
        if self._probes is not None:
            self.check()
            with tempfile.TemporaryDirectory(prefix="writeaudit-probes-") as directory:
                return _load(limits, compiled_objects(Path(self._probes), Path(directory)))
        side = _loaded_ahead(limits)
        if side is None:
            self.check()
            side = _load(limits)
        return side


class _Ahead:
    """Programs that are being loaded in the background."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._side: _CoreSide | None = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name="load-ahead", daemon=True)
        self._thread.start()

    def _work(self) -> None:
        try:
            check_platform()
            self._side = _load(self.limits)
        except BaseException as error:  # noqa: BLE001 - handed on to whoever asks for the result
            self._error = error

    def result(self) -> _CoreSide:
        """Wait for the end; raises what loading raised."""
        self._thread.join()
        if self._error is not None:
            raise self._error
        assert self._side is not None
        return self._side


_ahead: list[_Ahead] = []


def load_ahead(limits: Limits) -> None:
    """Begin to load the programs in the background, for the capture that is about to be asked for.

    The kernel takes its time to verify them, and meanwhile the rest of writeaudit is imported.
    """
    _ahead.append(_Ahead(limits))


def _loaded_ahead(limits: Limits) -> _CoreSide | None:
    """Return what `load_ahead` loaded, once, if that was asked for with the same limits."""
    pending = _ahead.pop() if _ahead and _ahead[-1].limits == limits else None
    return pending.result() if pending is not None else None


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


def object_paths() -> tuple[str, ...]:
    """Return the CO-RE objects, the one to try first first. Raises `BackendUnavailable`."""
    try:
        return tuple(os.fspath(path) for path in resources.probe_objects())
    except resources.ResourceMissing as error:
        raise BackendUnavailable(error.message, hint=error.hint) from error


def compiled_objects(sources: Path, directory: Path) -> tuple[str, ...]:
    """Compile a copy of the probes; return the objects as `object_paths`.

    Raises `BackendUnavailable` with the compiler's words.
    """
    from writeaudit.capture.compiler import (  # noqa: PLC0415 - start-up
        MAIN,
        OBJECTS,
        BuildError,
        compile_all,
        gist,
    )

    if not (sources / MAIN).is_file():
        raise BackendUnavailable(
            f"there is no {MAIN} in {sources}",
            hint="--probes takes a directory with a full copy of the probes",
        )
    try:
        compile_all(sources.resolve(), directory)
    except BuildError as error:
        raise BackendUnavailable(f"cannot compile the probes in {sources}: {gist(str(error))}") from error
    return tuple(os.fspath(directory / name) for name in sorted(OBJECTS, key=lambda name: not OBJECTS[name]))


def _may_load() -> bool:
    """Whether this process has CAP_SYS_ADMIN, or CAP_BPF and CAP_PERFMON (capabilities(7))."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapEff:"):
            effective = int(line.split()[1], 16)
            return bool(effective >> 21 & 1 or (effective >> 39 & 1 and effective >> 38 & 1))
    return False


class _CoreSide:
    """The kernel side as libbpf loaded it."""

    def __init__(
        self, library: Libbpf, loaded: Object, ring_bytes: int, cpus: int, *, sees_uring: bool
    ) -> None:
        self._library = library
        self._object = loaded
        self.ring_fd = loaded.map_fd("events")
        self.ring_bytes = ring_bytes
        self.cpus = cpus
        self.sees_uring = sees_uring
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


def lift_memory_limit() -> None:
    """Before Linux 5.11 maps count against this limit; where it cannot be raised it is harmless."""
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


def _load(limits: Limits, paths: Sequence[str] | None = None) -> _CoreSide:
    library = Libbpf()
    lift_memory_limit()
    refusal: OSError | None = None
    for path in paths if paths is not None else object_paths():
        loaded = library.open(path)
        try:
            return _load_one(library, loaded, limits)
        except OSError as error:
            loaded.close()
            refusal = error
    assert refusal is not None
    raise explain_refusal(refusal) from refusal


def _load_one(library: Libbpf, loaded: Object, limits: Limits) -> _CoreSide:
    cpus = library.cpus()
    loaded.resize("scratch", _SLOTS * cpus)
    loaded.resize("events", limits.buffer_bytes)
    uring = uring_programs(os.uname().release)
    for name in _URING_PROGRAMS:
        if name not in uring:
            loaded.leave_out(f"raw_tracepoint__{name}")
    loaded.load()
    for name in PROGRAMS:
        loaded.attach(f"raw_tracepoint__{name}")
    attached = [loaded.attach(f"raw_tracepoint__{name}", optional=True) for name in uring]
    sees_uring = bool(attached) and all(attached)
    return _CoreSide(library, loaded, limits.buffer_bytes, cpus, sees_uring=sees_uring)


_URING_PROGRAMS = ("io_uring_submit_req", "io_uring_submit_sqe", "io_uring_complete")


def uring_programs(release: str) -> tuple[str, ...]:
    """Return the tracepoints that tell of io_uring requests in a kernel (`uname -r`).

    Linux 6.3 renamed one of them; before 6.0 requests are laid out in a way we do not read.
    """
    found = re.match(r"(\d+)\.(\d+)", release)
    version = (int(found[1]), int(found[2])) if found else (0, 0)
    if version < (6, 0):
        return ()
    return ("io_uring_submit_req" if version >= (6, 3) else "io_uring_submit_sqe", "io_uring_complete")
