"""How much stack the deepest chain of calls takes in BPF code, worked out from its instructions.

As the kernel's verifier counts it (check_max_stack_depth): what each function touches, rounded up to
32 bytes, added up along a chain. Newer kernels give each program a stack of its own where the
chain is long, so that loading there proves nothing about older ones.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from elftools.elf.elffile import ELFFile
from elftools.elf.relocation import RelocationSection
from elftools.elf.sections import SymbolTableSection

LIMIT = 512
"""Of a chain (MAX_BPF_STACK)."""
FRAMES = 8
"""Functions that may be under way at once (MAX_CALL_FRAMES)."""

_FRAME_POINTER = 10
_CALL, _LOAD_64, _MOVE, _ADD = 0x85, 0x18, 0xBF, 0x07
_LOAD, _STORE_NUMBER, _STORE = 1, 2, 3
"""Classes of instructions that touch memory."""
_PSEUDO_FUNCTION = 4


@dataclass(slots=True)
class Code:
    """One function: the stack that it touches, and what it calls."""

    stack: int = 0
    calls: set[str] = field(default_factory=set)


def stack_touched(instructions: bytes) -> int:
    """Return how many bytes below the frame pointer a function's instructions touch."""
    deepest = 0
    copies = set[int]()
    for at in range(0, len(instructions), 8):
        code, registers, offset, number = struct.unpack_from("=BBhi", instructions, at)
        target, source = registers & 0xF, registers >> 4
        kind = code & 7
        if (kind == _LOAD and source == _FRAME_POINTER) or (
            kind in (_STORE_NUMBER, _STORE) and target == _FRAME_POINTER
        ):
            deepest = max(deepest, -offset)
        if code == _MOVE and source == _FRAME_POINTER:
            copies.add(target)
        elif code == _ADD and target in copies:
            deepest = max(deepest, -number)
            copies.discard(target)
        elif kind in (_LOAD, 4, 7) and target in copies:
            copies.discard(target)
    return deepest


def functions_of(path: Path) -> dict[str, Code]:
    """Return the functions of an object file that a compiler made, by name."""
    with path.open("rb") as file:
        elf = ELFFile(file)
        symbols = next(each for each in elf.iter_sections() if isinstance(each, SymbolTableSection))
        places: dict[int, list[tuple[int, int, str]]] = {}
        for symbol in symbols.iter_symbols():
            if symbol["st_info"]["type"] == "STT_FUNC":
                places.setdefault(symbol["st_shndx"], []).append(
                    (symbol["st_value"], symbol["st_size"], symbol.name)
                )
        found: dict[str, Code] = {}
        for section, functions in places.items():
            data = elf.get_section(section).data()
            targets = _called(elf, section, places)
            for start, size, name in functions:
                calls = {target for at, target in targets.items() if start <= at < start + size}
                found[name] = Code(stack_touched(data[start : start + size]), calls)
        return found


def _called(elf: ELFFile, section: int, places: Mapping[int, list[tuple[int, int, str]]]) -> dict[int, str]:
    """Return by the place of each instruction in a section which function it calls or refers to."""
    symbols = next(each for each in elf.iter_sections() if isinstance(each, SymbolTableSection))
    data = elf.get_section(section).data()
    targets: dict[int, str] = {}
    linked = set[int]()
    """What is put in when the object is loaded: the kernel's own functions, too."""
    for relocations in elf.iter_sections():
        if not isinstance(relocations, RelocationSection) or relocations["sh_info"] != section:
            continue
        for relocation in relocations.iter_relocations():
            at = relocation["r_offset"]
            linked.add(at)
            symbol = symbols.get_symbol(relocation["r_info_sym"])
            if symbol["st_info"]["type"] == "STT_FUNC":
                targets[at] = symbol.name
            elif symbol["st_shndx"] in places:  # the section that static functions are in
                number = struct.unpack_from("=i", data, at + 4)[0]
                start = number if data[at] == _LOAD_64 else (number + 1) * 8
                targets[at] = next(name for place, _, name in places[symbol["st_shndx"]] if place == start)
    # Static functions of the same section are called without a relocation.
    for at in range(0, len(data), 8):
        if data[at] == _CALL and data[at + 1] >> 4 == 1 and at not in linked:
            start = at + 8 + 8 * struct.unpack_from("=i", data, at + 4)[0]
            targets[at] = next(name for place, _, name in places[section] if place == start)
    return targets


@dataclass(frozen=True, slots=True)
class Chain:
    """A chain of calls, and the stack that it takes."""

    stack: int
    names: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.stack} bytes in {len(self.names)} functions: {' > '.join(self.names)}"


def chains(functions: Mapping[str, Code]) -> list[Chain]:
    """Return the deepest chain from each function that no other one calls, the deepest first."""
    called = {name for code in functions.values() for name in code.calls}
    found = [_deepest(functions, name) for name in functions if name not in called]
    return sorted(found, key=lambda chain: -chain.stack)


def longest(functions: Mapping[str, Code]) -> int:
    """Return how many functions are under way at once at most."""
    return max((1 + _depth(functions, code) for code in functions.values()), default=0)


def _depth(functions: Mapping[str, Code], code: Code) -> int:
    return max((1 + _depth(functions, functions[name]) for name in code.calls), default=0)


def _deepest(functions: Mapping[str, Code], name: str) -> Chain:
    code = functions[name]
    below = max(
        (_deepest(functions, each) for each in code.calls), key=lambda c: c.stack, default=Chain(0, ())
    )
    own = max(1, code.stack)  # a function takes some stack, even if it touches none
    return Chain((own + 31) // 32 * 32 + below.stack, (f"{name} ({code.stack})", *below.names))
