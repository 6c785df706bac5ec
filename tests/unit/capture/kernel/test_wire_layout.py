"""The C side of the wire format and the host's: member by member, value by value.

The probes' headers are compiled with debugging information, which says where each member
lies; the order of names below is the one in which the host unpacks them.
"""

from __future__ import annotations

import re
import shutil
import struct
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from elftools.elf.elffile import ELFFile

from writeaudit.capture import syscalls
from writeaudit.capture.kernel import loading, session, side, wire

PROBES = Path(__file__).resolve().parents[4] / "probes"

_HEAD = "time_ns pid tid kind flags op operands row"
STRUCTS: Mapping[str, tuple[struct.Struct, str]] = {
    "wa_head": (wire.HEAD, _HEAD),
    "wa_event": (wire.EVENT, f"{_HEAD} ret key arg0 arg1 arg2"),
    "wa_operand": (
        wire.OPERAND,
        "ino chain parent dev mount f_mode nlink i_mode flags base_len in_mount name_len skip room",
    ),
    "wa_total": (wire.TOTAL, f"{_HEAD} key bytes calls"),
    "wa_task_event": (wire.TASK, f"{_HEAD} other pad"),
    "wa_mount_event": (
        wire.MOUNT,
        f"{_HEAD} ns id parent dev mnt_flags sb_flags fstype_len source_len root_len point_len pad",
    ),
    "wa_spec": (
        syscalls._SPEC,
        "op a_kind a_dir a_arg b_kind b_dir b_arg arg0 arg1 arg2 rare told",
    ),
    "wa_config": (
        side.CONFIG,
        (
            "cookie root_mnt root_dentry mount_generation group waiting pid_level shared_seen wake_bytes "
            "ring_bytes lacks hierarchy joining known0 known1 known2 known3"
        ),
    ),
    "wa_file": (side.FILE, "key ino bytes calls dev pad"),
}


@dataclass(frozen=True)
class Layout:
    """A struct of the C side: its size, and name, offset and size of each scalar in it."""

    size: int
    members: tuple[tuple[str, int, int], ...]


class Types:
    """The types in an object's debugging information."""

    def __init__(self, path: Path) -> None:
        self.structs: dict[str, Layout] = {}
        self.enums: dict[str, dict[str, int]] = {}
        with path.open("rb") as file:
            for unit in ELFFile(file).get_dwarf_info().iter_CUs():
                for die in unit.iter_DIEs():
                    name = _name(die)
                    if die.tag == "DW_TAG_enumeration_type":
                        values = {
                            _name(child): _number(child, "const_value") for child in die.iter_children()
                        }
                        self.enums[name] = values
                    elif die.tag == "DW_TAG_structure_type" and name:
                        members = tuple(_scalars(die, "", 0))
                        self.structs[name] = Layout(_number(die, "byte_size"), members)


def _name(die: Any) -> str:
    found = die.attributes.get("DW_AT_name")
    return found.value.decode() if found is not None else ""


def _number(die: Any, what: str) -> int:
    return int(die.attributes[f"DW_AT_{what}"].value)


def _resolved(die: Any) -> Any:
    while die.tag == "DW_TAG_typedef":
        die = die.get_DIE_from_attribute("DW_AT_type")
    return die


def _scalars(die: Any, name: str, offset: int) -> Iterator[tuple[str, int, int]]:
    """Yield every scalar in a type; what lies in an inner struct under its own name."""
    die = _resolved(die)
    if die.tag == "DW_TAG_structure_type":
        for member in die.iter_children():
            if member.tag == "DW_TAG_member":
                at = offset + _number(member, "data_member_location")
                yield from _scalars(member.get_DIE_from_attribute("DW_AT_type"), _name(member), at)
    elif die.tag == "DW_TAG_array_type":
        element = _resolved(die.get_DIE_from_attribute("DW_AT_type"))
        [bounds] = [child for child in die.iter_children() if child.tag == "DW_TAG_subrange_type"]
        # An array without elements (a flexible one) has no upper bound, or -1.
        upper = bounds.attributes.get("DW_AT_upper_bound")
        size = _number(element, "byte_size") if "DW_AT_byte_size" in element.attributes else 0
        for index in range(upper.value + 1 if upper is not None and upper.value < 1 << 31 else 0):
            yield from _scalars(element, f"{name}{index}", offset + index * size)
    elif "DW_AT_byte_size" in die.attributes:
        yield name, offset, _number(die, "byte_size")


def _host_members(packed: struct.Struct) -> tuple[tuple[int, int], ...]:
    """Return offset and size of each field of a struct format without alignment."""
    found: list[tuple[int, int]] = []
    offset = 0
    for repeat, code in re.findall(r"(\d*)([a-zA-Z?])", packed.format):
        size = struct.calcsize(f"={code}")
        for _ in range(int(repeat or 1)):
            if code != "x":
                found.append((offset, size))
            offset += size
    return tuple(found)


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("layout")
    source = directory / "layout.c"
    uses = "".join(f"struct {name} use_{name};\n" for name in STRUCTS)
    enums = ("wa_kind", "wa_op", "wa_operand_kind", "wa_counter", "wa_slot")
    uses += "".join(f"enum {name} use_{name};\n" for name in enums)
    source.write_text(f'#include "portable.h"\n{uses}')
    compiler = shutil.which("gcc") or shutil.which("clang")
    assert compiler is not None
    command = [compiler, "-g", "-gdwarf-4", "-w", "-c", f"-I{PROBES}", str(source), "-o"]
    subprocess.run([*command, str(directory / "layout.o")], check=True)
    return directory / "layout.o"


@pytest.fixture(scope="module")
def types(compiled: Path) -> Types:
    return Types(compiled)


@pytest.fixture(scope="module")
def macros() -> dict[str, int]:
    command = [
        "gcc",
        "-E",
        "-dM",
        "-D__u64=int",
        "-include",
        str(PROBES / "events.h"),
        "-x",
        "c",
        "/dev/null",
    ]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    pairs = re.findall(r"^#define (WA_\w+) (0x[0-9a-f]+|\d+)$", text, re.MULTILINE)
    return {name: int(value, 0) for name, value in pairs}


pytestmark = pytest.mark.requires_gcc


@pytest.mark.parametrize("name", STRUCTS)
def test_struct_lies_in_memory_as_the_host_unpacks_it(types: Types, name: str) -> None:
    packed, names = STRUCTS[name]
    layout = types.structs[name]
    assert packed.size == layout.size
    host = tuple(zip(names.split(), _host_members(packed), strict=True))
    # What the host has no field for may only be padding at the end.
    rest = layout.members[len(host) :]
    assert all(member.startswith("pad") for member, _offset, _size in rest)
    kernel_side = tuple((member, (offset, size)) for member, offset, size in layout.members[: len(host)])
    assert kernel_side == host


@pytest.mark.parametrize("name", STRUCTS)
def test_struct_has_no_hole_between_members(types: Types, name: str) -> None:
    layout = types.structs[name]
    end = 0
    for _member, offset, size in layout.members:
        assert offset == end, "the compiler put padding there that no one initializes"
        end = offset + size
    assert end == layout.size


def test_only_the_result_is_signed() -> None:
    assert {name for name, (packed, _) in STRUCTS.items() if re.search("[bhilq]", packed.format)} == {
        "wa_event"
    }


def _without(prefix: str, values: Mapping[str, int], *leave_out: str) -> dict[str, int]:
    return {name.removeprefix(prefix): value for name, value in values.items() if name not in leave_out}


def test_kinds_of_records(types: Types) -> None:
    values = types.enums["wa_kind"]
    assert _without("WA_", values, "WA_KINDS") == {kind.name: kind.value for kind in wire.RecordKind}
    assert values["WA_KINDS"] == max(wire.RecordKind) + 1


def test_operations(types: Types) -> None:
    values = types.enums["wa_op"]
    assert _without("WA_OP_", values, "WA_OPS") == {op.name: op.value for op in syscalls.WireOp}


def test_kinds_of_operands(types: Types) -> None:
    values = types.enums["wa_operand_kind"]
    assert _without("WA_ARG_", values) == {kind.name: kind.value for kind in syscalls.Arg}


def test_counters(types: Types) -> None:
    values = types.enums["wa_counter"]
    host = {
        "WA_N_EMITTED": session._EMITTED,
        "WA_N_LOST": session._LOST,
        "WA_N_FAULT": session._FAULT,
        "WA_N_UNTRACKED": session._UNTRACKED,
        "WA_N_NO_ROOM": session._NO_ROOM,
        "WA_N_GONE": session._GONE,
        "WA_COUNTERS": side.COUNTERS,
    }
    assert values == host
    assert values["WA_N_EMITTED"] + types.enums["wa_kind"]["WA_KINDS"] <= values["WA_N_LOST"]
    assert values["WA_N_LOST"] + types.enums["wa_kind"]["WA_KINDS"] <= values["WA_N_FAULT"]


def test_slots(types: Types) -> None:
    assert types.enums["wa_slot"]["WA_SLOTS"] == loading._SLOTS


def test_flags_of_operands(macros: dict[str, int]) -> None:
    found = {name.removeprefix("WA_F_"): value for name, value in macros.items() if name.startswith("WA_F_")}
    assert found == {flag.name: flag.value for flag in wire.F}


def test_flags_of_records(macros: dict[str, int]) -> None:
    found = {name.removeprefix("WA_"): value for name, value in macros.items() if name.startswith("WA_H_")}
    assert found == {name: getattr(wire, name) for name in found}
    assert set(found) == {name for name in vars(wire) if name.startswith("H_")}


def test_constants(macros: dict[str, int]) -> None:
    assert macros["WA_ANNOUNCE"] == session._ANNOUNCE
    assert macros["WA_NO_ARG"] == syscalls.NO_ARG
    for name in ("ABI_64", "ABI_32", "ABI_X32", "SPECS"):
        assert macros[f"WA_{name}"] == getattr(syscalls, name)


def test_table_of_calls_fills_its_map(types: Types) -> None:
    rows, names = syscalls.pack_table()
    assert len(rows) == syscalls.SPECS * types.structs["wa_spec"].size
    assert max(names) < syscalls.SPECS - 1, "the last row must stay empty: it stands for no call"


def test_no_two_calls_share_a_row() -> None:
    numbered = (
        (syscalls.ABI_64, syscalls._NUMBERS_64),
        (syscalls.ABI_32, syscalls._NUMBERS_32),
        (syscalls.ABI_X32 - 512, syscalls._NUMBERS_X32),
    )
    _rows, names = syscalls.pack_table()
    calls = sum(len(numbers) for _start, numbers in numbered)
    assert len(names) == calls + len(syscalls._URING)
    for _start, numbers in numbered:
        assert len(set(numbers.values())) == len(numbers)


def _header_numbers(*options: str) -> dict[str, int]:
    text = subprocess.run(
        ["gcc", *options, "-E", "-dM", "-include", "sys/syscall.h", "-x", "c", "/dev/null"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    pairs = re.findall(r"^#define __NR_(\w+) (?:\(?__X32_SYSCALL_BIT \+ )?(\d+)\)?$", text, re.MULTILINE)
    return {name: int(number) for name, number in pairs}


@pytest.mark.parametrize(
    ("option", "numbers"),
    [("-m64", syscalls._NUMBERS_64), ("-mx32", syscalls._NUMBERS_X32)],
    ids=["64", "x32"],
)
def test_numbers_are_the_kernels(option: str, numbers: Mapping[str, int]) -> None:
    try:
        known = _header_numbers(option)
    except subprocess.CalledProcessError:
        pytest.skip(f"no headers for gcc {option}")
    assert known["openat"] == 257
    for name, number in numbers.items():
        # Headers older than the call do not know it.
        assert known.get(name, number) == number, name


def test_numbers_of_32_bit_calls_are_the_kernels() -> None:
    header = Path("/usr/include/x86_64-linux-gnu/asm/unistd_32.h")
    if not header.exists():
        pytest.skip("no asm/unistd_32.h here")
    pairs = re.findall(r"^#define __NR_(\w+) (\d+)$", header.read_text(), re.MULTILINE)
    known = {name: int(number) for name, number in pairs}
    # The 32-bit table calls some entries otherwise than we do: mmap is the old one there.
    ours = {"old_mmap": "mmap", "mmap": "mmap2"}
    for name, number in syscalls._NUMBERS_32.items():
        kernel_name = ours.get(name, name)
        assert known.get(kernel_name, number) == number, name


def test_numbers_of_aarch64_are_those_that_newer_processors_share() -> None:
    header = Path("/usr/include/asm-generic/unistd.h")
    if not header.exists():
        pytest.skip("no asm-generic/unistd.h here")
    pairs = re.findall(r"^#define __NR(?:3264)?_(\w+) (\d+)$", header.read_text(), re.MULTILINE)
    known = {name: int(number) for name, number in pairs}
    assert known["openat"] == 56
    for name, number in syscalls._NUMBERS_ARM64.items():
        assert known.get(name, number) == number, name


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_every_row_of_the_table_is_below_what_is_known(machine: str) -> None:
    rows, names = syscalls.pack_table(machine)
    assert len(rows) == syscalls._SPEC.size * syscalls.SPECS
    wide, narrow, x32, uring = syscalls.known_numbers(machine)
    for row in names:
        if row < syscalls.ABI_32:
            assert row < wide
        elif row < syscalls.ABI_X32:
            assert row - syscalls.ABI_32 < narrow
        elif row < syscalls.ABI_URING:
            assert row - syscalls.ABI_X32 + 512 < x32
        else:
            assert row - syscalls.ABI_URING < uring
