"""Tracers of the whole machine that run beside the measured command: bpftrace and opensnoop."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from bench.material import PROGRAMS
from bench.measure import CannotRun

_TRACING = Path("/sys/kernel/tracing/events")
_START_S = 30.0
_SETTLE_S = 0.5


@contextmanager
def bpftrace(env: Mapping[str, str]) -> Iterator[None]:
    """Have a bpftrace script print every open, link and rename to a file."""
    program = _find("bpftrace", env)
    with _tracer([program, str(PROGRAMS / "changes.bt")], env, b"ready"):
        yield


@contextmanager
def opensnoop(env: Mapping[str, str]) -> Iterator[None]:
    """Have opensnoop print every open to a file.

    That of bcc's libbpf-tools, which is compiled once for all kernels; the one in Python needs the headers
    of the running kernel, and is slower to start and to print.
    """
    with _tracer([_find("opensnoop", env)], env, b"COMM"):
        yield


def _find(name: str, env: Mapping[str, str]) -> str:
    found = shutil.which(name, path=env["PATH"])
    if found is None:
        raise CannotRun(f"{name} is not installed")
    return found


@contextmanager
def _tracer(argv: Sequence[str], env: Mapping[str, str], ready: bytes) -> Iterator[None]:
    """Run a tracer until it has said ``ready``, then for as long as the context lasts."""
    words = list(argv)
    if not _TRACING.is_dir():
        # Both look for trace points there; a mount namespace of their own leaves the machine as it is.
        mount = 'mount -t tracefs tracefs /sys/kernel/tracing && exec "$@"'
        words = ["unshare", "--mount", "sh", "-c", mount, "sh", *words]
    with tempfile.NamedTemporaryFile() as output, tempfile.TemporaryFile() as errors:
        tracer = subprocess.Popen(
            words,
            env={**env, "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=errors,
        )
        try:
            _await(tracer, Path(output.name), errors, ready)
            time.sleep(_SETTLE_S)
            yield
        finally:
            if tracer.poll() is None:
                os.kill(tracer.pid, signal.SIGINT)
            try:
                tracer.wait(timeout=_START_S)
            except subprocess.TimeoutExpired:
                tracer.kill()
                tracer.wait()


def _await(tracer: subprocess.Popen[bytes], output: Path, errors: IO[bytes], ready: bytes) -> None:
    """Wait until the tracer has said that it is ready. Raises `CannotRun`."""
    deadline = time.monotonic() + _START_S
    while ready not in output.read_bytes()[:4096]:
        if tracer.poll() is not None:
            errors.seek(0)
            lines = (output.read_bytes() + errors.read()).decode(errors="replace").strip().splitlines()
            said = [line for line in lines if line.startswith("Unable to")] or lines[-1:]
            raise CannotRun(said[0] if said else f"exit status {tracer.returncode}")
        if time.monotonic() >= deadline:
            raise CannotRun(f"not ready after {_START_S:.0f} s")
        time.sleep(0.05)
