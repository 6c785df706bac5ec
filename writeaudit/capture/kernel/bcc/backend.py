"""The bcc backend: the probes' own source, compiled on the spot by the distribution's bcc.

For those who want to run what they can read, or what they changed (``--probes``). bcc
compiles, makes the maps and fills in their descriptors; linking and loading is done here
(see `source`), with field offsets from the kernel's BTF and without kernel headers.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import functools
import importlib
import importlib.util
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType

from writeaudit import resources
from writeaudit.capture.interface import CaptureLimits, CaptureOutcome, Sink
from writeaudit.capture.kernel import bpf, btf
from writeaudit.capture.kernel.bcc.source import (
    RING,
    MapShape,
    Source,
    link_program,
    map_shape,
    map_symbol,
    read_source,
)
from writeaudit.capture.kernel.compiler import pick_complaint
from writeaudit.capture.kernel.hooks import (
    CGROUP,
    Hook,
    hooks_in_order,
    is_preemptible,
    missed_runs,
    uring_hooks,
)
from writeaudit.capture.kernel.libbpf import Map
from writeaudit.capture.kernel.loading import MOST_BIRTHS, lift_memory_limit
from writeaudit.capture.kernel.perf import attach_perf
from writeaudit.capture.kernel.privileged import client
from writeaudit.capture.kernel.session import capture_with_side, programs_to_join
from writeaudit.capture.kernel.side import KernelSide, Loaded, MapSide
from writeaudit.capture.requirements import check_bpf, explain_bpf_refusal
from writeaudit.capture.targets import Target
from writeaudit.errors import BackendUnavailable

_HOMES = ("/usr/lib/python3/dist-packages", "/usr/lib/python3.*/site-packages")
"""Where Debian and Fedora keep Python modules of the system; not on the path of other Pythons."""
_OF_CGROUPS = frozenset(
    {"cgroup", "cgroup_root", "cgroup_subsys_state", "cgrp_cset_link", "css_set", "kernfs_node"}
)
_INSTALL = "install it: apt-get install python3-bpfcc (Debian, Ubuntu), dnf install python3-bcc (Fedora)"


class BccBackend:
    """Captures as the ebpf backend does, with programs that are compiled on the spot."""

    name = "bcc"
    tier = "base"
    engine = "bcc"

    def __init__(self, probes: str | None = None) -> None:
        self._probes = probes

    def check(self) -> None:
        """Raise `BackendUnavailable` if it cannot run here. Compiles nothing."""
        check_bpf()
        bcc_home()
        self._probes_directory()

    def capture(self, target: Target, sink: Sink, limits: CaptureLimits) -> CaptureOutcome:
        """See `writeaudit.capture.interface.Backend`."""
        return capture_with_side(self._make_side(limits, programs_to_join(target)), target, sink, limits)

    def _make_side(self, limits: CaptureLimits, joins: str) -> KernelSide:
        monitor = client.running_monitor()
        if monitor is not None:
            return monitor.load_programs(self.name, limits.buffer_bytes, self._probes, joins)
        return MapSide(load_programs(limits.buffer_bytes, self._probes, joins))

    def _probes_directory(self) -> Path:
        return Path(self._probes) if self._probes is not None else _packaged_probes()


def load_programs(ring_bytes: int, probes: str | None, joins: str = "") -> Loaded:
    """Compile, load and attach the programs, or those in the directory ``probes``.

    ``joins``: with those of `hooks.hooks_in_order`. Raises `BackendUnavailable`.
    """
    backend = BccBackend(probes)
    backend.check()
    return _load_programs(backend._probes_directory(), ring_bytes, joins)


def _packaged_probes() -> Path:
    try:
        return resources.probe_sources()
    except resources.ResourceMissing as error:
        raise BackendUnavailable(error.message, hint=error.hint) from error


def bcc_home() -> Path | None:
    """Return the directory that holds the module bcc; None if Python finds it by itself.

    Raises `BackendUnavailable` if it is not installed. (The package of that name on the
    Python index is an unrelated lattice library: without ``libbcc`` in it, it does not count.)
    """
    found = importlib.util.find_spec("bcc")
    if found is not None and any(
        (Path(place) / "libbcc.py").exists() for place in found.submodule_search_locations or ()
    ):
        return None
    for pattern in _HOMES:
        for home in sorted(Path("/").glob(pattern.lstrip("/")), reverse=True):
            if (home / "bcc" / "libbcc.py").exists():
                return home
    raise BackendUnavailable("bcc is not installed for Python", hint=_INSTALL, missing="bcc")


@functools.cache
def _import_bcc() -> ModuleType:
    home = bcc_home()
    kept_path = list(sys.path)
    if home is not None:
        # First: another module of this name may be installed beside writeaudit.
        sys.path.insert(0, os.fspath(home))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # newer Pythons dislike how some of it is written
            return importlib.import_module("bcc")
    except Exception as error:
        raise BackendUnavailable(
            f"Python {sys.version.split()[0]} cannot use the system's bcc: {error}",
            hint="run writeaudit with the Python of the distribution (/usr/bin/python3)",
        ) from error
    finally:
        sys.path[:] = kept_path


class _BccSide:
    """The kernel side as bcc compiled it."""

    def __init__(self, ring_bytes: int, cpus: int) -> None:
        self._fds: list[int] = []
        self._links: list[int] = []
        self._programs: dict[str, int] = {}
        self._maps: dict[str, bpf.BpfMap] = {}
        self.ring_fd = self._own_descriptor(bpf.create_map(RING, bpf.MAP_TYPE_RINGBUF, 0, 0, ring_bytes))
        self.ring_bytes = ring_bytes
        self.cpus = cpus
        self.sees_uring = False

    def _own_descriptor(self, fd: int) -> int:
        self._fds.append(fd)
        return fd

    def create_map(self, name: str, shape: MapShape) -> None:
        """Make a map. Raises OSError."""
        flags = bpf.MAP_MMAPABLE if name == "config" else 0
        fd = self._own_descriptor(
            bpf.create_map(name, shape.kind, shape.key_size, shape.value_size, shape.entries, flags)
        )
        values = self.cpus if shape.kind == bpf.MAP_TYPE_PERCPU_ARRAY else 1
        self._maps[name] = bpf.BpfMap(fd, shape.key_size, shape.value_size * values)

    def get_map(self, name: str) -> Map:
        return self._maps[name]

    def attach_program(self, hook: Hook, source: Source, code_of: Callable[[str], bytes]) -> None:
        """Link, load and attach one program. Raises OSError."""
        fds = {name: made.fd for name, made in self._maps.items()} | {RING: self.ring_fd}
        linked = link_program(hook.program, source, code_of, fds)
        kind = bpf.PROG_TYPE_RAW_TRACEPOINT if hook.category is None else bpf.PROG_TYPE_TRACEPOINT
        program = self._own_descriptor(bpf.load_program(hook.program, kind, *linked))
        self._programs[hook.program] = program
        if hook.category is None:
            self._links.append(bpf.open_raw_tracepoint(hook.tracepoint, program))
        else:
            self._links.append(attach_perf(hook, program))

    def count_misses(self) -> int:
        return missed_runs({name: bpf.recursion_misses(fd) for name, fd in self._programs.items()})

    def detach(self) -> None:
        while self._links:
            os.close(self._links.pop())

    def close(self) -> None:
        self.detach()
        while self._fds:
            os.close(self._fds.pop())


def _load_programs(directory: Path, ring_bytes: int, joins: str = "") -> _BccSide:
    lift_memory_limit()
    source = read_source(directory)
    offsets = _find_offsets(source, joins)
    headers = (directory if (directory / "bcc").is_dir() else _packaged_probes()) / "bcc"
    flags = source.list_macros(offsets, perf=is_preemptible(os.uname().release))
    with _compile_probes(source, flags, headers.resolve()) as code_of:
        side: _BccSide | None = None
        try:
            possible, highest = _count_processors()
            side = _BccSide(ring_bytes, possible)
            for name in source.maps[:-1]:
                shape = map_shape(code_of(map_symbol(name)))
                if name == "scratch":
                    shape = replace(shape, entries=shape.entries * highest)
                if name == "births" and joins:
                    shape = replace(shape, entries=MOST_BIRTHS)
                side.create_map(name, shape)
            release = os.uname().release
            for hook in hooks_in_order(release, joins):
                side.attach_program(hook, source, code_of)
            side.sees_uring = _attach_uring(side, uring_hooks(release), source, code_of)
        except BaseException as error:
            if side is not None:
                side.close()
            if isinstance(error, OSError):
                raise explain_bpf_refusal(error) from error
            raise
    return side


def _attach_uring(
    side: _BccSide, hooks: Sequence[Hook], source: Source, code_of: Callable[[str], bytes]
) -> bool:
    try:
        for hook in hooks:
            side.attach_program(hook, source, code_of)
    except OSError:
        return False
    return bool(hooks)


def _find_offsets(source: Source, joins: str) -> dict[btf.Field, int]:
    """Return where the fields lie; -1 for those that this kernel does not have, and need not."""
    try:
        found = btf.kernel_offsets(source.fields)
    except (OSError, btf.BtfError) as error:
        raise BackendUnavailable(f"cannot read the kernel's types ({btf.VMLINUX}): {error}") from error
    for structure, field in source.fields:
        if (structure, field) in found:
            continue
        needless = structure.startswith("io_") or (joins != CGROUP and _is_of_cgroups(structure, field))
        if not needless and (structure, field) not in source.optional:
            raise BackendUnavailable(
                f"the probes do not know this kernel: its struct {structure} has no {field}"
            )
        found[structure, field] = -1
    return found


def _is_of_cgroups(structure: str, field: str) -> bool:
    """Whether only a cgroup that is joined needs a field (probes/join.h)."""
    return structure in _OF_CGROUPS or (structure, field) == ("task_struct", "cgroups")


def _count_processors() -> tuple[int, int]:
    """Return how many processors the kernel may ever use, and the highest number plus one."""
    text = Path("/sys/devices/system/cpu/possible").read_text(encoding="ascii")
    spans = [span.partition("-") for span in text.strip().split(",")]
    bounds = [(int(low), int(high or low)) for low, _dash, high in spans]
    return sum(high - low + 1 for low, high in bounds), max(high for _low, high in bounds) + 1


@contextlib.contextmanager
def _compile_probes(source: Source, flags: list[str], headers: Path) -> Iterator[Callable[[str], bytes]]:
    """Have bcc compile the probes; yield what gives the instructions of a symbol.

    Raises `BackendUnavailable` with the compiler's words.
    """
    module = _import_bcc()
    library = importlib.import_module("bcc.libbcc").lib
    compiled, reason = None, None
    with _captured_output() as complaints, _as_kernel_source(headers):
        try:
            compiled = module.BPF(text=source.text.encode(), cflags=flags)
        except Exception as error:  # noqa: BLE001 - bcc raises bare Exception for whatever it is
            reason = error
    if compiled is None:
        raise BackendUnavailable(
            f"bcc cannot compile the probes: {pick_complaint(complaints()) or reason}",
            hint="with --probes: fix that copy of the sources; else use --backend ebpf",
        ) from reason

    def code_of(symbol: str) -> bytes:
        start = library.bpf_function_start(compiled.module, symbol.encode())
        size = library.bpf_function_size(compiled.module, symbol.encode())
        if not start or not size:
            raise BackendUnavailable(f"bcc compiled the probes, but they lack {symbol}")
        return ctypes.string_at(start, size)

    try:
        yield code_of
    finally:
        compiled.cleanup()
        atexit.unregister(compiled.cleanup)


@contextlib.contextmanager
def _captured_output() -> Iterator[Callable[[], str]]:
    """Keep what the compiler prints to file descriptors 1 and 2; yield how to get it afterwards."""
    printed = os.memfd_create("writeaudit-bcc")
    kept: dict[int, int] = {}
    for fd in (1, 2):
        with contextlib.suppress(OSError):  # closed by whoever started writeaudit
            kept[fd] = os.dup(fd)
    text = ""
    try:
        for fd in kept:
            os.dup2(printed, fd)
        yield lambda: text
    finally:
        for fd, saved in kept.items():
            os.dup2(saved, fd)
            os.close(saved)
        text = os.pread(printed, 1 << 20, 0).decode("utf-8", "replace")
        os.close(printed)


@contextlib.contextmanager
def _as_kernel_source(headers: Path) -> Iterator[None]:
    """Let bcc find stand-ins for the kernel's headers, and none in the user's directory.

    It takes their place from the environment, and looks into the working directory first.
    """
    wanted = {"BCC_KERNEL_SOURCE": os.fspath(headers), "ARCH": None, "BCC_LINUX_VERSION_CODE": None}
    kept = {name: os.environ.get(name) for name in wanted}
    here = os.open(".", os.O_PATH | os.O_DIRECTORY)
    try:
        _set_environment(wanted)
        os.chdir(headers)
        yield
    finally:
        _set_environment(kept)
        os.fchdir(here)
        os.close(here)


def _set_environment(values: Mapping[str, str | None]) -> None:
    for name, value in values.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
