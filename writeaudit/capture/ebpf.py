"""The ebpf backend: the CO-RE object, built when writeaudit was packaged, through libbpf."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from writeaudit.capture.interface import Command, Limits, Outcome, Sink
from writeaudit.capture.kernel import capture
from writeaudit.capture.libbpf import Libbpf
from writeaudit.capture.loading import CoreSide, check_platform, load, loaded_ahead, object_paths
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
        check_platform()
        Libbpf()
        if self._probes is None:
            object_paths()

    def capture(self, command: Command, sink: Sink, limits: Limits) -> Outcome:
        """See `writeaudit.capture.interface.Backend`."""
        return capture(self._loaded(limits), command, sink, limits)

    def _loaded(self, limits: Limits) -> CoreSide:
        ring_bytes = limits.buffer_bytes
        if self._probes is not None:
            import tempfile  # noqa: PLC0415 - start-up
            from pathlib import Path  # noqa: PLC0415 - start-up

            self.check()
            with tempfile.TemporaryDirectory(prefix="writeaudit-probes-") as directory:
                return load(ring_bytes, compiled_objects(Path(self._probes), Path(directory)))
        side = loaded_ahead(ring_bytes)
        if side is None:
            self.check()
            side = load(ring_bytes)
        return side


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
