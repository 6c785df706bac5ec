"""Loads the CO-RE objects through libbpf, ahead of time if need be.

The kernel takes its time to verify programs. So that nobody waits for it, this module imports
little, and can begin before the rest of writeaudit is imported.
"""

from __future__ import annotations

import contextlib
import os
import resource
import threading
from collections.abc import Sequence

from writeaudit import resources
from writeaudit.capture.kernel.hooks import (
    Hook,
    hooks_in_order,
    is_preemptible,
    missed_runs,
    uring_hooks,
)
from writeaudit.capture.kernel.libbpf import Libbpf, Map, Object
from writeaudit.capture.requirements import check_bpf, explain_bpf_refusal
from writeaudit.errors import BackendUnavailable

RING_BYTES = 16 << 20
"""Size of the kernel's event buffer, unless another one is asked for."""
MOST_BIRTHS = 1 << 14
"""How many forks may be noted while processes are being joined."""
_SLOTS = 4
"""WA_SLOTS of probes/portable.h."""


def fitting_objects() -> tuple[str, ...]:
    """Return the names of the objects that this kernel may take, the one to try first first.

    The others are for kernels whose tracepoints are attached to in the other way (`hooks`).
    """
    if is_preemptible(os.uname().release):
        return ("writeaudit.perf.bpf.o",)
    return ("writeaudit.direct.bpf.o", "writeaudit.bpf.o")


def object_paths() -> tuple[str, ...]:
    """Return the CO-RE objects, the one to try first first. Raises `BackendUnavailable`."""
    try:
        return resources.probe_objects(fitting_objects())
    except resources.ResourceMissing as error:
        raise BackendUnavailable(error.message, hint=error.hint) from error


class CoreSide:
    """The kernel side as libbpf loaded it; see `writeaudit.capture.kernel.session.KernelSide`."""

    def __init__(self, loaded: Object, ring_bytes: int, *, sees_uring: bool, hooks: Sequence[Hook]) -> None:
        self._object = loaded
        self._hooks = hooks
        self.ring_fd = loaded.get_map("events").fd
        self.ring_bytes = ring_bytes
        self.sees_uring = sees_uring

    def get_map(self, name: str) -> Map:
        """Return a map by its name in the source."""
        return self._object.get_map(name)

    def count_misses(self) -> int:
        """Return how often the kernel skipped a program because it was running already."""
        return missed_runs(
            {hook.program: self._object.count_misses(program_symbol(hook)) for hook in self._hooks}
        )

    def detach(self) -> None:
        """Take the programs out; the maps stay."""
        self._object.detach_programs()

    def close(self) -> None:
        """Take everything out of the kernel."""
        self._object.close()


def lift_memory_limit() -> None:
    """Before Linux 5.11 maps count against this limit; where it cannot be raised it is harmless."""
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


def load_side(ring_bytes: int, paths: Sequence[str] | None = None, joins: str = "") -> CoreSide:
    """Load and attach the first object that the kernel takes (default: of `object_paths`).

    ``joins``: with the programs of `hooks.hooks_in_order`. Raises `BackendUnavailable`.
    """
    library = Libbpf()
    lift_memory_limit()
    chosen = paths if paths is not None else object_paths()
    try:
        return _load_first(library, chosen, ring_bytes, joins)
    except OSError:
        library.keep_log()
    try:
        return _load_first(library, chosen, ring_bytes, joins)
    except OSError as refusal:
        raise explain_bpf_refusal(refusal) from refusal


def _load_first(library: Libbpf, paths: Sequence[str], ring_bytes: int, joins: str) -> CoreSide:
    """Load the first of some objects that the kernel takes. Raises OSError, about the last one."""
    *better, last = paths
    for path in better:
        with contextlib.suppress(OSError):
            return _load_one(library, path, ring_bytes, joins)
    # What fails may be the programs for io_uring alone: the others do without them.
    with contextlib.suppress(OSError):
        return _load_one(library, last, ring_bytes, joins)
    return _load_one(library, last, ring_bytes, joins, uring=False)


def _load_one(library: Libbpf, path: str, ring_bytes: int, joins: str, *, uring: bool = True) -> CoreSide:
    loaded = library.open_object(path)
    try:
        return _load_object(library, loaded, ring_bytes, joins, uring=uring)
    except OSError:
        loaded.close()
        raise


def program_symbol(hook: Hook) -> str:
    """Return the name of a program's function."""
    return f"wa_tp_{hook.program}"


def _load_object(library: Libbpf, loaded: Object, ring_bytes: int, joins: str, *, uring: bool) -> CoreSide:
    release = os.uname().release
    loaded.resize_map("scratch", _SLOTS * library.count_processors())
    loaded.resize_map("events", ring_bytes)
    needed = hooks_in_order(release, joins)
    if joins:
        loaded.resize_map("births", MOST_BIRTHS)
    optional = uring_hooks(release) if uring else ()
    loaded.load_only({program_symbol(hook) for hook in (*needed, *optional)})
    loaded.load_programs()
    for hook in needed:
        loaded.attach_program(program_symbol(hook), hook)
    attached = [hook for hook in optional if loaded.attach_program(program_symbol(hook), hook, optional=True)]
    sees_uring = bool(optional) and len(attached) == len(optional)
    return CoreSide(loaded, ring_bytes, sees_uring=sees_uring, hooks=(*needed, *attached))


class _PendingLoad:
    """Programs that are being loaded in the background."""

    def __init__(self, ring_bytes: int) -> None:
        self.ring_bytes = ring_bytes
        self._side: CoreSide | None = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._load_programs, name="load-ahead", daemon=True)
        self._thread.start()

    def _load_programs(self) -> None:
        try:
            check_bpf()
            self._side = load_side(self.ring_bytes)
        except BaseException as error:  # noqa: BLE001 - handed on to whoever asks for the result
            self._error = error

    def wait_for_result(self) -> CoreSide:
        """Wait for the end; raises what loading raised."""
        self._thread.join()
        if self._error is not None:
            raise self._error
        assert self._side is not None
        return self._side


class AheadLoader:
    """Loads programs for a capture before it is asked for: of one size of the buffer at a time."""

    def __init__(self) -> None:
        self._pending: _PendingLoad | None = None

    def start_loading(self, ring_bytes: int) -> None:
        """Begin to load the programs in the background; does nothing where that has begun already."""
        if self._pending is None or self._pending.ring_bytes != ring_bytes:
            self._pending = _PendingLoad(ring_bytes)

    def take_loaded(self, ring_bytes: int) -> CoreSide | None:
        """Return what was loaded, once, if it was asked for with a buffer of that size."""
        pending = self._pending
        if pending is None or pending.ring_bytes != ring_bytes:
            return None
        self._pending = None
        return pending.wait_for_result()


AHEAD = AheadLoader()
"""The loader of this process: `cli.py` starts it, the ebpf backend takes what it loaded."""
