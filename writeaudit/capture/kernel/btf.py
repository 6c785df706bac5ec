"""Where the running kernel keeps the fields of its structures: BTF, the kernel's own type data.

What libbpf does for the CO-RE object when it loads it, for a loader that compiles on the
spot. Format: Linux, Documentation/bpf/btf.rst.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from pathlib import Path

VMLINUX = Path("/sys/kernel/btf/vmlinux")

Field = tuple[str, str]
"""A structure's name and the name of one of its fields."""

_HEADER = struct.Struct("=HBBIIIII")
_MAGIC, _VERSION = 0xEB9F, 1
_STRUCT, _UNION = 4, 5
_MODIFIERS = frozenset({8, 9, 10, 11, 18})
"""typedef, volatile, const, restrict and type tags: they stand for another type."""
_FIXED_WORDS = (0, 1, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 1, 0, 0)
"""32-bit words after the three of every type, by its kind."""
_WORDS_EACH = (0, 0, 0, 0, 3, 3, 2, 0, 0, 0, 0, 0, 0, 2, 0, 3, 0, 0, 0, 3)
"""Further words for each member, enumerator, parameter or variable."""


class BtfError(ValueError):
    """Not BTF, or of a kind that is not known here."""


def find_offsets(data: bytes, fields: Iterable[Field]) -> dict[Field, int]:
    """Return the offset in bytes of each of ``fields`` that ``data`` knows.

    A field is looked for in the anonymous structures and unions of its structure, too. One
    that is not there is left out. Raises `BtfError`.
    """
    wanted = tuple(fields)
    words, strings = _split_sections(data)
    names = {structure: _name_offset(strings, structure) for structure, _field in wanted}
    result = {}
    try:
        starts, found = _index_types(
            words, {offset: name for name, offset in names.items() if offset is not None}
        )
        for structure, field in wanted:
            name = _name_offset(strings, field)
            start = found.get(structure)
            if name is None or start is None:
                continue
            bits = _find_member(words, starts, start, name)
            if bits is not None:
                result[structure, field] = bits // 8
    except IndexError:
        raise BtfError("BTF holds a kind of type that is not known here, or is cut off") from None
    return result


def kernel_offsets(fields: Iterable[Field]) -> dict[Field, int]:
    """Return `find_offsets` in the running kernel. Raises OSError, `BtfError`."""
    return find_offsets(VMLINUX.read_bytes(), fields)


def _split_sections(data: bytes) -> tuple[memoryview, bytes]:
    """Return the types as 32-bit words, and the strings."""
    if len(data) < _HEADER.size:
        raise BtfError("too short for BTF")
    magic, version, _flags, header, type_at, type_size, string_at, string_size = _HEADER.unpack_from(data)
    if magic != _MAGIC or version != _VERSION:
        raise BtfError(f"not BTF of version {_VERSION} in this machine's byte order")
    end = max(type_at + type_size, string_at + string_size)
    if type_size % 4 or header + end > len(data):
        raise BtfError("BTF is cut off")
    types = memoryview(data)[header + type_at : header + type_at + type_size].cast("I")
    return types, data[header + string_at : header + string_at + string_size]


def _name_offset(strings: bytes, name: str) -> int | None:
    """Return where a name lies among the strings; each is there once."""
    at = strings.find(b"\0" + name.encode() + b"\0")
    return None if at < 0 else at + 1


def _index_types(words: memoryview, wanted: dict[int, str]) -> tuple[list[int], dict[str, int]]:
    """Return the place of every type by its id, and of the structures that are wanted by name."""
    starts = [-1]  # id 0 is void
    add = starts.append
    found: dict[str, int] = {}
    fixed, each = _FIXED_WORDS, _WORDS_EACH
    at, end = 0, len(words)
    while at < end:
        add(at)
        info = words[at + 1]
        kind = info >> 24 & 0x1F
        if kind == _STRUCT and words[at] in wanted:
            found.setdefault(wanted[words[at]], at)
        at += 3 + fixed[kind] + each[kind] * (info & 0xFFFF)
    return starts, found


def _find_member(words: memoryview, starts: list[int], start: int, name: int) -> int | None:
    """Return the offset in bits of a member of the structure at ``start``, or None."""
    info = words[start + 1]
    bitfields = info >> 31
    for at in range(start + 3, start + 3 + 3 * (info & 0xFFFF), 3):
        # Where the structure has bit fields, the upper byte is a member's width in bits.
        bits: int = words[at + 2] & 0xFFFFFF if bitfields else words[at + 2]
        if words[at] == name:
            return bits
        if words[at]:
            continue
        inner = starts[words[at + 1]]
        while inner >= 0 and (words[inner + 1] >> 24 & 0x1F) in _MODIFIERS:
            inner = starts[words[inner + 2]]
        if inner >= 0 and (words[inner + 1] >> 24 & 0x1F) in {_STRUCT, _UNION}:
            deeper = _find_member(words, starts, inner, name)
            if deeper is not None:
                return bits + deeper
    return None
