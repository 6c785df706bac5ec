"""libbpf through ctypes: just what loading one object and reading its maps takes.

Works with libbpf 0.5 to 1.x (libbpf.so.0, libbpf.so.1). After `Libbpf.keep_log` errors carry what
libbpf itself printed, for it knows best why the kernel refused.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Collection, Iterator

from writeaudit.capture.kernel.hooks import Hook
from writeaudit.capture.kernel.verifier import verifier_sentence_in
from writeaudit.capture.requirements import BpfRefused
from writeaudit.errors import BackendUnavailable, CaptureError

_PRINT = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)
_LIBRARIES = ("libbpf.so.1", "libbpf.so.0")
_LOG_LIMIT = 4096
_MESSAGE_LIMIT = 1 << 24
"""The longest message, in bytes: that is how much libbpf lets the verifier write."""
_PERCPU_ARRAY = 6
"""BPF_MAP_TYPE_PERCPU_ARRAY, whose values are one for each processor."""
_NOEXIST = 1
"""BPF_NOEXIST."""
_INSTALL = "install libbpf (Debian, Ubuntu: apt-get install libbpf1; Fedora: dnf install libbpf)"

_P, _I, _U32, _U64 = ctypes.c_void_p, ctypes.c_int, ctypes.c_uint32, ctypes.c_uint64
_FUNCTIONS: tuple[tuple[str, type, tuple[type, ...]], ...] = (
    ("bpf_object__open_file", _P, (ctypes.c_char_p, _P)),
    ("bpf_object__load", _I, (_P,)),
    ("bpf_object__close", ctypes.c_int, (_P,)),
    ("bpf_object__find_program_by_name", _P, (_P, ctypes.c_char_p)),
    ("bpf_object__find_map_by_name", _P, (_P, ctypes.c_char_p)),
    ("bpf_object__next_program", _P, (_P, _P)),
    ("bpf_program__name", ctypes.c_char_p, (_P,)),
    ("bpf_program__attach", _P, (_P,)),
    ("bpf_program__fd", _I, (_P,)),
    ("bpf_program__set_autoload", _I, (_P, ctypes.c_bool)),
    ("bpf_link__destroy", _I, (_P,)),
    ("bpf_map__fd", _I, (_P,)),
    ("bpf_map__type", _I, (_P,)),
    ("bpf_map__key_size", _U32, (_P,)),
    ("bpf_map__value_size", _U32, (_P,)),
    ("bpf_map__set_max_entries", _I, (_P, _U32)),
    ("bpf_map_update_elem", _I, (_I, _P, _P, _U64)),
    ("bpf_map_lookup_elem", _I, (_I, _P, _P)),
    ("bpf_map_delete_elem", _I, (_I, _P)),
    ("bpf_map_get_next_key", _I, (_I, _P, _P)),
    ("bpf_obj_get_info_by_fd", _I, (_I, _P, ctypes.POINTER(_U32))),
    ("libbpf_get_error", ctypes.c_long, (_P,)),
    ("libbpf_num_possible_cpus", _I, ()),
    ("libbpf_major_version", _U32, ()),
    ("libbpf_version_string", ctypes.c_char_p, ()),
)
_OPTIONAL = {"libbpf_version_string", "libbpf_major_version"}


class Libbpf:
    """The library. `load` raises `BackendUnavailable` where it is not installed."""

    def __init__(self) -> None:
        for name in _LIBRARIES:
            try:
                self._lib = ctypes.CDLL(name, use_errno=True)
            except OSError:
                continue
            break
        else:
            raise BackendUnavailable("libbpf is not installed", hint=_INSTALL, missing="libbpf")
        for function, result, arguments in _FUNCTIONS:
            try:
                found = getattr(self._lib, function)
            except AttributeError:
                if function in _OPTIONAL:
                    continue
                raise BackendUnavailable(f"{name} is too old: it has no {function}", hint=_INSTALL) from None
            found.restype = result
            found.argtypes = arguments
        self._log: list[bytes] = []
        self._lib.libbpf_set_print(_PRINT())

    def keep_log(self) -> None:
        """Keep what libbpf has to say from now on.

        It says much, warnings among details: as long as all goes well, that takes as much time as
        the work itself.
        """
        # Kept in self: libbpf calls it for as long as the library lives.
        self._print = _PRINT(self._on_print)
        # Its va_list is x86-64's and aarch64's own; libc knows how to print through it.
        self._vsnprintf = ctypes.CDLL(None).vsnprintf
        self._vsnprintf.argtypes = (ctypes.c_char_p, ctypes.c_size_t, ctypes.c_char_p, ctypes.c_void_p)
        self._lib.libbpf_set_print(self._print)

    def _on_print(self, level: int, template: bytes, arguments: int) -> int:
        if level <= 1 and sum(map(len, self._log)) < 16 * _LOG_LIMIT:
            # The verifier's log comes as one message, and what is wrong stands at its end.
            buffer = ctypes.create_string_buffer(_MESSAGE_LIMIT)
            self._vsnprintf(buffer, _MESSAGE_LIMIT, template, arguments)
            self._log.append(buffer.value[-_LOG_LIMIT:])
        return 0

    def log_tail(self) -> str:
        """Return the last line that libbpf printed, or an empty string."""
        lines = [line for line in b"".join(self._log).decode("utf-8", "replace").splitlines() if line.strip()]
        return lines[-1] if lines else ""

    def first_complaint(self) -> str:
        """Return the first line that libbpf printed, which names the cause; the rest follows from it."""
        lines = self.get_log().splitlines()
        return next((line.strip().removeprefix("libbpf: ") for line in lines if line.strip()), "")

    def get_log(self) -> str:
        """Return all that libbpf printed, the verifier's words included."""
        return b"".join(self._log).decode("utf-8", "replace")

    def get_version(self) -> str:
        """Return the version of the library, such as ``v1.1``."""
        if hasattr(self._lib, "libbpf_version_string"):
            return str(self._lib.libbpf_version_string().decode())
        return "v0"

    def count_processors(self) -> int:
        """Return the number of processors that the kernel may ever use."""
        return int(self._lib.libbpf_num_possible_cpus())

    def open_object(self, path: str) -> Object:
        """Open a BPF object file; nothing reaches the kernel yet."""
        handle = self._lib.bpf_object__open_file(os.fsencode(path), None)
        if not handle or self._lib.libbpf_get_error(handle):
            raise CaptureError(f"cannot open the BPF object {path}: {self.log_tail()}")
        return Object(self, handle)


class Object:
    """A BPF object: programs and maps. Closing it takes everything out of the kernel."""

    def __init__(self, library: Libbpf, handle: int) -> None:
        self._bpf = library
        self._lib = library._lib
        self._handle: int | None = handle
        self._links: list[int] = []
        self._events: list[int] = []

    def resize_map(self, name: str, entries: int) -> None:
        """Set the number of entries (of a ring buffer: bytes) of a map, before `load`."""
        if self._lib.bpf_map__set_max_entries(self._find_map(name), entries):
            raise CaptureError(f"the BPF map {name} cannot have {entries} entries")

    def load_only(self, programs: Collection[str]) -> None:
        """Load no other programs than these; before `load`."""
        program = self._lib.bpf_object__next_program(self._handle, None)
        while program:
            name = self._lib.bpf_program__name(program).decode()
            self._lib.bpf_program__set_autoload(program, name in programs)
            program = self._lib.bpf_object__next_program(self._handle, program)

    def load_programs(self) -> None:
        """Load maps and programs. Raises `BpfRefused` with the kernel's errno and sentence."""
        status = self._lib.bpf_object__load(self._handle)
        if status:
            number = -status if status < 0 else ctypes.get_errno()
            verdict = verifier_sentence_in(self._bpf.get_log())
            sentence = verdict or self._bpf.first_complaint() or os.strerror(number)
            raise BpfRefused(number, sentence, by_verifier=verdict is not None)

    def attach_program(self, program: str, hook: Hook, *, optional: bool = False) -> bool:
        """Attach a program. Raises `BpfRefused`."""
        if hook.category is not None:
            return self._attach_perf(program, hook, optional=optional)
        link = self._lib.bpf_program__attach(self._find_program(program))
        if not link or self._lib.libbpf_get_error(link):
            number = ctypes.get_errno()
            if optional:
                return False
            raise BpfRefused(number, self._bpf.log_tail() or os.strerror(number))
        self._links.append(link)
        return True

    def _attach_perf(self, program: str, hook: Hook, *, optional: bool) -> bool:
        from writeaudit.capture.kernel.perf import attach_perf  # noqa: PLC0415 - start-up of older kernels

        try:
            self._events.append(
                attach_perf(hook, int(self._lib.bpf_program__fd(self._find_program(program))))
            )
        except OSError as error:
            if optional:
                return False
            where = f"{hook.category}/{hook.tracepoint}"
            raise BpfRefused(
                error.errno or 0, f"the tracepoint {where} (tracefs) cannot be used: {error.strerror}"
            ) from error
        return True

    def detach_programs(self) -> None:
        """Detach every program; the maps stay readable."""
        while self._events:
            os.close(self._events.pop())
        while self._links:
            self._lib.bpf_link__destroy(self._links.pop())

    def close(self) -> None:
        """Detach and unload everything. Safe to call twice."""
        self.detach_programs()
        if self._handle is not None:
            self._lib.bpf_object__close(self._handle)
            self._handle = None

    def get_map(self, name: str) -> Map:
        """Return a map, once it is loaded."""
        found = self._find_map(name)
        value_size = int(self._lib.bpf_map__value_size(found))
        if self._lib.bpf_map__type(found) == _PERCPU_ARRAY:
            value_size = (value_size + 7 & ~7) * self._bpf.count_processors()
        fd, key_size = int(self._lib.bpf_map__fd(found)), int(self._lib.bpf_map__key_size(found))
        return Map(self._bpf, fd, key_size, value_size)

    def count_misses(self, program: str) -> int:
        """Return how often the kernel skipped a program because it was running already.

        struct bpf_prog_info, member recursion_misses (Linux 5.12); 0 on older kernels.
        """
        found = self._find_program(program)
        buffer = ctypes.create_string_buffer(256)
        size = _U32(len(buffer))
        if self._lib.bpf_obj_get_info_by_fd(self._lib.bpf_program__fd(found), buffer, ctypes.byref(size)):
            return 0
        offset = 208
        return int(struct.unpack_from("=Q", buffer, offset)[0]) if size.value >= offset + 8 else 0

    def _find_program(self, name: str) -> int:
        found = self._lib.bpf_object__find_program_by_name(self._handle, name.encode())
        if not found:
            raise CaptureError(f"the BPF object has no program {name}")
        return int(found)

    def _find_map(self, name: str) -> int:
        found = self._lib.bpf_object__find_map_by_name(self._handle, name.encode())
        if not found:
            raise CaptureError(f"the BPF object has no map {name}")
        return int(found)


class Map:
    """A map by its file descriptor, whoever made it."""

    def __init__(self, library: Libbpf, fd: int, key_size: int, value_size: int) -> None:
        self._lib = library._lib
        self.fd = fd
        self._key_size = key_size
        self._value_size = value_size

    def update(self, key: bytes, value: bytes) -> None:
        """Set an entry. Raises OSError."""
        if self._lib.bpf_map_update_elem(self.fd, key, value, 0):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))

    def add(self, key: bytes, value: bytes) -> bool:
        """Set an entry of a hash, unless there is one; returns whether there was none. Raises OSError."""
        if not self._lib.bpf_map_update_elem(self.fd, key, value, _NOEXIST):
            return True
        number = ctypes.get_errno()
        if number == errno.EEXIST:
            return False
        raise OSError(number, os.strerror(number))

    def remove(self, key: bytes) -> None:
        """Take an entry of a hash away, if it is there."""
        self._lib.bpf_map_delete_elem(self.fd, key)

    def lookup(self, key: bytes) -> bytes | None:
        """Return an entry, or None."""
        value = ctypes.create_string_buffer(self._value_size)
        if self._lib.bpf_map_lookup_elem(self.fd, key, value):
            number = ctypes.get_errno()
            if number == errno.ENOENT:
                return None
            raise OSError(number, os.strerror(number))
        return value.raw

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """Yield the entries of a hash that nobody changes meanwhile."""
        key: bytes | None = None
        following = ctypes.create_string_buffer(self._key_size)
        while not self._lib.bpf_map_get_next_key(self.fd, key, following):
            key = following.raw
            value = self.lookup(key)
            if value is not None:
                yield key, value
