"""The system call bpf(2) itself: loading, attaching, and maps by their file descriptors.

What libbpf does for the CO-RE object, for programs that another compiler made. Numbers and
layouts: Linux, include/uapi/linux/bpf.h, which is ABI.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from writeaudit.capture.kernel.libbpf import Map
from writeaudit.capture.kernel.verifier import verifier_sentence
from writeaudit.capture.requirements import BpfRefused

_SYS_BPF = {"x86_64": 321, "aarch64": 280}.get(os.uname().machine, 321)
_MAP_CREATE, _MAP_LOOKUP, _MAP_UPDATE, _MAP_DELETE, _MAP_NEXT_KEY = 0, 1, 2, 3, 4
_NOEXIST = 1
_PROG_LOAD, _INFO_BY_FD, _RAW_TRACEPOINT_OPEN, _BTF_LOAD = 5, 15, 17, 18
MAP_TYPE_PERCPU_ARRAY, MAP_TYPE_RINGBUF = 6, 27
PROG_TYPE_TRACEPOINT, PROG_TYPE_RAW_TRACEPOINT = 5, 17
MAP_MMAPABLE = 1 << 10
"""BPF_F_MMAPABLE (Linux 5.5)."""
_RECURSION_MISSES = 208
"""Offset of that member in struct bpf_prog_info (Linux 5.12)."""
_LOG_BYTES = 1 << 24

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


def _call_bpf(command: int, attributes: bytes) -> int:
    """Make the call. Raises OSError."""
    buffer = ctypes.create_string_buffer(attributes, len(attributes))
    size = ctypes.c_uint(len(attributes))
    result = int(_libc.syscall(ctypes.c_long(_SYS_BPF), ctypes.c_int(command), buffer, size))
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


@dataclass(frozen=True, slots=True)
class Function:
    """One function of a linked program, as BTF describes it to the verifier."""

    name: str
    instruction: int
    """At which it begins."""
    arguments: int
    """How many registers it takes; each a plain number."""


def load_program(name: str, kind: int, instructions: bytes, functions: Sequence[Function]) -> int:
    """Load a program of a kind (``PROG_TYPE_*``); return its file descriptor.

    The first of ``functions`` is the program, the others are what it calls, in order of their
    place. They are global functions: the verifier looks at each of them once, whatever it is
    called with (Linux 5.6). Raises OSError; `BpfRefused` with the verifier's sentence.
    """
    code = ctypes.create_string_buffer(instructions, len(instructions))
    licence = ctypes.create_string_buffer(b"GPL")
    blob, types = function_types(functions)
    infos = b"".join(struct.pack("=II", each.instruction, types[each.name]) for each in functions)
    info = ctypes.create_string_buffer(infos, len(infos))
    btf = _load_btf(blob)
    try:

        def pack_attributes(level: int, log: int, log_size: int) -> bytes:
            return struct.pack(
                "=IIQQIIQII16sIIIIQII",
                kind,
                len(instructions) // 8,
                ctypes.addressof(code),
                ctypes.addressof(licence),
                level,
                log_size,
                log,
                0,  # kernel version: of no interest since 5.0
                0,  # flags
                name.encode()[:15],
                0,  # interface
                0,  # attach type
                btf,
                8,  # bytes of each function's description
                ctypes.addressof(info),
                len(functions),
                0,  # bytes of each line's: there are none
            )

        try:
            return _call_bpf(_PROG_LOAD, pack_attributes(0, 0, 0))
        except OSError as error:
            if error.errno == errno.EPERM:
                raise
            # Again, for the reason: the log costs time and memory.
            log = ctypes.create_string_buffer(_LOG_BYTES)
            try:
                return _call_bpf(_PROG_LOAD, pack_attributes(1, ctypes.addressof(log), _LOG_BYTES))
            except OSError as again:
                text = log.value.decode("utf-8", "replace")
                number = again.errno or 0
                sentence = verifier_sentence(text) or os.strerror(number)
                raise BpfRefused(number, f"{name}: {sentence}", by_verifier=bool(text)) from error
    finally:
        os.close(btf)


def create_map(name: str, kind: int, key_size: int, value_size: int, entries: int, flags: int = 0) -> int:
    """Make a map; return its file descriptor. Raises OSError."""
    sizes = (kind, key_size, value_size, entries)
    return _call_bpf(_MAP_CREATE, struct.pack("=IIIIIII16s", *sizes, flags, 0, 0, name.encode()[:15]))


def open_raw_tracepoint(tracepoint: str, program: int) -> int:
    """Attach a program; it is detached when the file descriptor that is returned is closed.

    Raises OSError: ENOENT if the kernel has no such tracepoint.
    """
    name = ctypes.create_string_buffer(tracepoint.encode())
    return _call_bpf(_RAW_TRACEPOINT_OPEN, struct.pack("=QIxxxx", ctypes.addressof(name), program))


def recursion_misses(program: int) -> int:
    """Return how often the kernel skipped a program because it was running already; 0 before 5.12."""
    info = ctypes.create_string_buffer(256)
    attributes = ctypes.create_string_buffer(struct.pack("=IIQ", program, len(info), ctypes.addressof(info)))
    size = ctypes.c_uint(16)
    if _libc.syscall(ctypes.c_long(_SYS_BPF), ctypes.c_int(_INFO_BY_FD), attributes, size) < 0:
        return 0
    filled: int = struct.unpack_from("=I", attributes, 4)[0]
    if filled < _RECURSION_MISSES + 8:
        return 0
    misses: int = struct.unpack_from("=Q", info, _RECURSION_MISSES)[0]
    return misses


class BpfMap(Map):
    """A map by its file descriptor, without libbpf."""

    def __init__(self, fd: int, key_size: int, value_size: int) -> None:
        self.fd = fd
        self._key_size = key_size
        self._value_size = value_size

    def update(self, key: bytes, value: bytes) -> None:
        """Set an entry. Raises OSError."""
        self._call_map(_MAP_UPDATE, key, ctypes.create_string_buffer(value, len(value)))

    def add(self, key: bytes, value: bytes) -> bool:
        """Set an entry of a hash, unless there is one; returns whether there was none. Raises OSError."""
        try:
            self._call_map(_MAP_UPDATE, key, ctypes.create_string_buffer(value, len(value)), _NOEXIST)
        except FileExistsError:
            return False
        return True

    def remove(self, key: bytes) -> None:
        """Take an entry of a hash away, if it is there."""
        with contextlib.suppress(FileNotFoundError):
            self._call_map(_MAP_DELETE, key, None)

    def lookup(self, key: bytes) -> bytes | None:
        """Return an entry, or None."""
        value = ctypes.create_string_buffer(self._value_size)
        try:
            self._call_map(_MAP_LOOKUP, key, value)
        except OSError as error:
            if error.errno == errno.ENOENT:
                return None
            raise
        return value.raw

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """Yield the entries of a hash that nobody changes meanwhile."""
        key: bytes | None = None
        following = ctypes.create_string_buffer(self._key_size)
        while True:
            try:
                self._call_map(_MAP_NEXT_KEY, key, following)
            except OSError as error:
                if error.errno == errno.ENOENT:
                    return
                raise
            key = following.raw
            value = self.lookup(key)
            if value is not None:
                yield key, value

    def _call_map(
        self, command: int, key: bytes | None, value: ctypes.Array[ctypes.c_char] | None, flags: int = 0
    ) -> None:
        buffer = ctypes.create_string_buffer(key, len(key)) if key is not None else None
        address = ctypes.addressof(buffer) if buffer is not None else 0
        place = ctypes.addressof(value) if value is not None else 0
        _call_bpf(command, struct.pack("=IxxxxQQQ", self.fd, address, place, flags))


def _load_btf(blob: bytes) -> int:
    data = ctypes.create_string_buffer(blob, len(blob))
    return _call_bpf(_BTF_LOAD, struct.pack("=QQIIII", ctypes.addressof(data), 0, len(blob), 0, 0, 0))


_KIND_INT, _KIND_FUNC, _KIND_FUNC_PROTO = 1, 12, 13
_GLOBAL = 1


def function_types(functions: Sequence[Function]) -> tuple[bytes, dict[str, int]]:
    """Return BTF that declares ``functions``, and the type id of each by its name.

    Every argument and every result is a 64-bit number: registers have no other types. The
    first function is a program; what it is called with its kind of program says.
    """
    strings = bytearray(b"\0")
    types = bytearray()
    count = 0

    def add_text(word: str) -> int:
        at = len(strings)
        strings.extend(word.encode() + b"\0")
        return at

    def add_type(name: str, kind: int, vlen: int, size_or_type: int, rest: bytes = b"") -> int:
        nonlocal count
        types.extend(
            struct.pack("=III", add_text(name) if name else 0, kind << 24 | vlen, size_or_type) + rest
        )
        count += 1
        return count

    number = add_type("number", _KIND_INT, 0, 8, struct.pack("=I", 64))
    argument = add_text("argument")
    ids = {}
    for place, function in enumerate(functions):
        arity = function.arguments if place else 0
        parameters = struct.pack("=II", argument, number) * arity
        prototype = add_type("", _KIND_FUNC_PROTO, arity, number, parameters)
        ids[function.name] = add_type(function.name, _KIND_FUNC, _GLOBAL, prototype)
    header = struct.pack("=HBBIIIII", 0xEB9F, 1, 0, 24, 0, len(types), len(types), len(strings))
    return header + bytes(types) + bytes(strings), ids
