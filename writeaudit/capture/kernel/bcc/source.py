"""The probes' C source as bcc takes it: one text, and what the loader must know of it.

bcc treats only the text that it is handed, not what that includes; it inlines every
function but programs; of a program's parameters it leaves only the first; and for a map with
large values it takes ten seconds. The probes are written as functions that the verifier looks
at once each (``WA_FUNC``); inlined they would be far beyond its limits. So each of them becomes
a program of its own here, with its parameters in one small structure (which x86-64 passes in
registers), called under a number that no helper of the kernel has. Maps are likewise referred
to by numbers, and `link` puts everything together: it is the linker that bcc does not have.
"""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from writeaudit.capture.kernel.bpf import Function
from writeaudit.capture.kernel.btf import Field
from writeaudit.capture.kernel.compiler import MAIN, TARGET_ARCH
from writeaudit.errors import BackendUnavailable

_FIRST_NUMBER = 1 << 20
"""Of the functions, and of the maps; the kernel's helpers have some hundreds of numbers."""
_CALL, _LOAD_64 = 0x85, 0x18
_PSEUDO_CALL, _PSEUDO_MAP_FD = 1, 1
RING = "events"
"""The name of the ring buffer, the one map that has no keys."""

_INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]+"([^"]+)"[^\n]*$', re.MULTILINE)
_COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*", re.DOTALL)
_FUNCTION = re.compile(r"^WA_FUNC\s+(\w+)\s+(\w+)\s*\(([^)]*)\)\s*\{", re.MULTILINE)
_MAP = re.compile(r"^WA_(?:SHARED_)?MAP\(\w+, (\w+),", re.MULTILINE)
_READER = re.compile(r"#define\s+(\w+)\(type, field\b")
_SIZES = {"__u32": 4, "__s32": 4, "int": 4, "__u64": 8, "__s64": 8}


@dataclass(frozen=True, slots=True)
class Source:
    """The probes, ready for bcc."""

    text: str
    functions: tuple[Function, ...]
    """What programs call, by number; ``instruction`` is 0."""
    maps: tuple[str, ...]
    """By number."""
    fields: tuple[Field, ...]
    """The fields of the kernel's structures whose offsets the text takes as macros."""
    optional: frozenset[Field]
    """Those that a kernel need not have (``WA_FIND`` of kernel.h)."""

    def list_macros(self, offsets: Mapping[Field, int], *, perf: bool) -> list[str]:
        """Return the compiler's options that the text takes.

        ``offsets``: of every field, -1 for one that is not there. ``perf``: whether the programs are attached
        to the tracepoints of perf.
        """
        return [
            "-DWA_BCC",
            *(["-DWA_PERF"] if perf else []),
            f"-D__TARGET_ARCH_{TARGET_ARCH.get(os.uname().machine, 'x86')}",
            "-g0",  # types for the verifier are made here, see `link`
            *(f"-DWA_REF_{name}={_FIRST_NUMBER + place:#x}" for place, name in enumerate(self.maps)),
            *(f"-DWA_OFF_{structure}_{field}={offset}" for (structure, field), offset in offsets.items()),
        ]


@dataclass(frozen=True, slots=True)
class MapShape:
    """What the kernel must know to make a map (bpf(2))."""

    kind: int
    key_size: int
    value_size: int
    entries: int


def map_shape(code: bytes) -> MapShape:
    """Return what the code of a map's function says of the map (``WA_MAP`` of portable.h)."""
    if len(code) < 16 or code[0] != _LOAD_64:
        raise BackendUnavailable("bcc's compiler made something else of the probes' maps than expected")
    low, high = struct.unpack_from("=I4xI", code, 4)
    return MapShape(high >> 24, high >> 16 & 0xFF, (high & 0xFFFF) << 8 | low >> 24, low & 0xFFFFFF)


def program_symbol(tracepoint: str) -> str:
    """Return the name of a tracepoint's program. Not one that bcc would attach by itself."""
    return f"wa_tp_{tracepoint}"


def map_symbol(name: str) -> str:
    """Return the name of the program that says what a map looks like."""
    return f"wa_map_{name}"


def function_symbol(name: str) -> str:
    """Return the name of the program that a function has become."""
    return f"wa_fn_{name}"


def read_source(directory: Path) -> Source:
    """Read the probes in a directory. Raises `BackendUnavailable` if that cannot be."""
    text = _flatten_includes(directory, MAIN, set())
    functions: list[Function] = []

    def declare_function(match: re.Match[str]) -> str:
        functions.append(_read_function(match, len(functions)))
        return _make_glue(match, _FIRST_NUMBER + len(functions) - 1)

    text = _FUNCTION.sub(declare_function, text)
    plain = _COMMENT.sub(" ", text)
    return Source(text, tuple(functions), (*_MAP.findall(plain), RING), *_find_fields(plain))


def _flatten_includes(directory: Path, name: str, seen: set[str]) -> str:
    """Return a file with the local headers that it includes, each of them once."""
    seen.add(name)
    try:
        text = (directory / name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise BackendUnavailable(
            f"cannot read the probes' source {directory / name}: {reason}",
            hint="--probes takes a directory with a full copy of the probes",
        ) from error
    parts, end = [f'#line 1 "{name}"\n'], 0
    for match in _INCLUDE.finditer(text):
        parts.append(text[end : match.start()])
        if match[1] not in seen:
            parts.append(_flatten_includes(directory, match[1], seen))
            following = text.count("\n", 0, match.end()) + 2
            parts.append(f'\n#line {following} "{name}"')  # the directive's own line break ends it
        end = match.end()
    parts.append(text[end:])
    return "".join(parts)


def _read_parameters(match: re.Match[str]) -> list[tuple[str, str]]:
    """Return type and name of each parameter of a WA_FUNC."""
    parameters = []
    for one in match[3].split(","):
        kind, _, name = one.strip().rpartition(" ")
        if kind not in _SIZES:
            raise BackendUnavailable(
                f"the probes' function {match[2]} takes '{one.strip()}'",
                hint=f"the parameters of a WA_FUNC are of type {', '.join(_SIZES)}",
            )
        parameters.append((kind, name))
    return parameters


def _read_function(match: re.Match[str], number: int) -> Function:
    """Return the function; a structure of up to 16 bytes takes a register for every eight."""
    size = 0
    for kind, _name in _read_parameters(match):
        width = _SIZES[kind]
        size = (size + width - 1) // width * width + width
    if size > 16:
        raise BackendUnavailable(
            f"the parameters of the probes' function {match[2]} take {size} bytes",
            hint="those of a WA_FUNC may take 16 bytes in all: bcc passes them in two registers",
        )
    return Function(match[2], number, (size + 7) // 8)


def _make_glue(match: re.Match[str], number: int) -> str:
    """Return what stands in for the head of a WA_FUNC, on as many lines as that."""
    result, name = match[1], match[2]
    parameters = _read_parameters(match)
    declared = ", ".join(f"{kind} {word}" for kind, word in parameters)
    names = ", ".join(word for _kind, word in parameters)
    members = " ".join(f"{kind} {word};" for kind, word in parameters)
    taken = ", ".join(f"wa_a.{word}" for _kind, word in parameters)
    structure = f"struct wa_args_{name}"
    return (
        f"{structure} {{ {members} }};"
        f" WA_INLINE {result} wa_body_{name}({declared});"
        f" {result} {function_symbol(name)}({structure} wa_a) {{ return wa_body_{name}({taken}); }}"
        f" static {result} (*wa_call_{name})({structure}) = (void *){number:#x};"
        f" WA_INLINE {result} {name}({declared})"
        f" {{ {structure} wa_a = {{ {names} }}; return wa_call_{name}(wa_a); }}"
        f" WA_INLINE {result} wa_body_{name}({declared})" + "\n" * match[0].count("\n") + "{"
    )


def _find_fields(text: str) -> tuple[tuple[Field, ...], frozenset[Field]]:
    """Return what is handed to any macro that takes a type and a field of it, and which of it is optional."""
    readers = "|".join(sorted(set(_READER.findall(text)) | {"WA_OFFSET"}))
    uses = re.findall(rf"\b({readers})\((\w+),\s*(\w+)", text)
    fields = {(structure, field) for _reader, structure, field in uses} - {("type", "field")}
    required = {(structure, field) for reader, structure, field in uses if not reader.startswith("WA_FIND")}
    return tuple(sorted(fields)), frozenset(fields - required)


def link_program(
    program: str, source: Source, code_of: Callable[[str], bytes], maps: Mapping[str, int]
) -> tuple[bytes, tuple[Function, ...]]:
    """Put a program (by its tracepoint), all that it calls, and the descriptors of maps together.

    ``code_of`` gives the instructions of a symbol. Returns the whole, and where in it each
    function begins, the program first.
    """
    whole = bytearray(code_of(program_symbol(program)))
    placed: dict[int, Function] = {}
    functions = [Function(program_symbol(program), 0, 0)]
    at = 0
    while at < len(whole):
        code, target = whole[at], whole[at + 1] >> 4
        number = struct.unpack_from("=i", whole, at + 4)[0] - _FIRST_NUMBER
        if code == _LOAD_64:
            if target == _PSEUDO_MAP_FD:
                struct.pack_into("=i", whole, at + 4, maps[source.maps[number]])
            at += 8  # such an instruction is twice as long
        elif code == _CALL and not target and number >= 0:
            if number not in placed:
                function = source.functions[number]
                placed[number] = Function(function.name, len(whole) // 8, function.arguments)
                functions.append(placed[number])
                whole += code_of(function_symbol(function.name))
            # Relative to the next instruction; the register field says that it is no helper.
            whole[at + 1] = _PSEUDO_CALL << 4
            struct.pack_into("=i", whole, at + 4, placed[number].instruction - at // 8 - 1)
        at += 8
    return bytes(whole), tuple(functions)
