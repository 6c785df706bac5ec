"""The ebpf backend: the CO-RE object, built when writeaudit was packaged, through libbpf."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from writeaudit.capture.interface import CaptureLimits, CaptureOutcome, Sink
from writeaudit.capture.kernel.libbpf import Libbpf
from writeaudit.capture.kernel.loading import AHEAD, CoreSide, load_side, object_paths
from writeaudit.capture.kernel.privileged import client
from writeaudit.capture.kernel.session import capture_with_side, programs_to_join
from writeaudit.capture.kernel.side import KernelSide, MapSide
from writeaudit.capture.requirements import check_bpf
from writeaudit.capture.targets import Target
from writeaudit.errors import BackendUnavailable

if TYPE_CHECKING:
    from pathlib import Path


class EbpfBackend:
    """Captures at system-call exits, in the kernel (probes/)."""

    name = "ebpf"
    tier = "base"
    engine = "libbpf"

    def __init__(self, probes: str | None = None) -> None:
        self._probes = probes

    def check(self) -> None:
        """Raise `BackendUnavailable` if it cannot run here. Loads nothing into the kernel."""
        check_bpf()
        Libbpf()
        if self._probes is None:
            object_paths()

    def capture(self, target: Target, sink: Sink, limits: CaptureLimits) -> CaptureOutcome:
        """See `writeaudit.capture.interface.Backend`."""
        return capture_with_side(self._make_side(limits, programs_to_join(target)), target, sink, limits)

    def _make_side(self, limits: CaptureLimits, joins: str) -> KernelSide:
        monitor = client.running_monitor()
        if monitor is not None:
            return monitor.load_programs(self.name, limits.buffer_bytes, self._probes, joins)
        return MapSide(load_programs(limits.buffer_bytes, self._probes, joins))


def load_programs(ring_bytes: int, probes: str | None, joins: str = "") -> CoreSide:
    """Load and attach the programs: those that are being loaded already, if they are the ones.

    ``probes``: a directory with a copy of their sources to compile. ``joins``: see
    `loading.load_side`. Raises `BackendUnavailable`.
    """
    if probes is not None:
        import tempfile  # noqa: PLC0415 - start-up
        from pathlib import Path  # noqa: PLC0415 - start-up

        check_bpf()
        Libbpf()
        with tempfile.TemporaryDirectory(prefix="writeaudit-probes-") as directory:
            return load_side(ring_bytes, compiled_objects(Path(probes), Path(directory)), joins)
    side = None if joins else AHEAD.take_loaded(ring_bytes)
    if side is None:
        check_bpf()
        side = load_side(ring_bytes, joins=joins)
    return side


def compiled_objects(sources: Path, directory: Path) -> tuple[str, ...]:
    """Compile a copy of the probes; return the objects as `object_paths`.

    Raises `BackendUnavailable` with the compiler's words.
    """
    from writeaudit.capture.kernel.compiler import (  # noqa: PLC0415 - start-up
        MAIN,
        OBJECTS,
        BuildError,
        compile_all,
        pick_complaint,
    )

    if not (sources / MAIN).is_file():
        raise BackendUnavailable(
            f"there is no {MAIN} in {sources}",
            hint="--probes takes a directory with a full copy of the probes",
        )
    try:
        compile_all(sources.resolve(), directory)
    except BuildError as error:
        raise BackendUnavailable(
            f"cannot compile the probes in {sources}: {pick_complaint(str(error))}"
        ) from error
    return tuple(os.fspath(directory / name) for name in sorted(OBJECTS, key=lambda name: not OBJECTS[name]))
