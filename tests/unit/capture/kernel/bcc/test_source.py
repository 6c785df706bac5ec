from __future__ import annotations

import re
import struct
from pathlib import Path

import pytest

from writeaudit import resources
from writeaudit.capture.kernel.bcc.source import (
    MapShape,
    Source,
    function_symbol,
    link_program,
    map_shape,
    program_symbol,
    read_source,
)
from writeaudit.capture.kernel.bpf import Function, function_types
from writeaudit.errors import BackendUnavailable

_FIRST = 1 << 20


def _call(number: int) -> bytes:
    return struct.pack("=BBhi", 0x85, 0, 0, number)


def _load_map(number: int) -> bytes:
    return struct.pack("=BBhiBBhi", 0x18, 0x11, 0, _FIRST + number, 0, 0, 0, 0)


_EXIT = struct.pack("=BBhi", 0x95, 0, 0, 0)
_MOVE = struct.pack("=BBhi", 0xB7, 0, 0, 7)


def _probes(directory: Path, **files: str) -> Path:
    for name, text in files.items():
        (directory / {"main": "writeaudit.bpf.c"}.get(name, f"{name}.h")).write_text(text)
    return directory


def test_headers_are_taken_in_once_and_lines_keep_their_numbers(tmp_path: Path) -> None:
    _probes(
        tmp_path,
        main='// first\n#include "a.h"\n#include "b.h"\nint last;\n',
        a='#include "b.h"\nint a;\n',
        b="int b;\n",
    )
    text = read_source(tmp_path).text
    assert text.count("int b;") == 1
    seen: dict[str, tuple[str, int]] = {}
    name, number = "", 0
    for line in text.splitlines():
        if found := re.match(r'#line (\d+) "(.*)"', line):
            number, name = int(found[1]), found[2]
            continue
        seen[line] = (name, number)
        number += 1
    assert seen["int b;"] == ("b.h", 1)
    assert seen["int a;"] == ("a.h", 2)
    assert seen["int last;"] == ("writeaudit.bpf.c", 4)


def test_a_header_that_is_missing_is_named(tmp_path: Path) -> None:
    _probes(tmp_path, main='#include "gone.h"\n')
    with pytest.raises(BackendUnavailable, match=r"gone\.h: No such file") as caught:
        read_source(tmp_path)
    assert "full copy" in (caught.value.hint or "")


def test_functions_become_programs_with_their_registers(tmp_path: Path) -> None:
    _probes(
        tmp_path,
        main="WA_FUNC int one(__u32 slot)\n{\n\treturn 1;\n}\n"
        "WA_FUNC __u32 two(__u32 a, __u32 b,\n\t\t   __u64 c)\n{\n\treturn b;\n}\n"
        "WA_FUNC int gap(__u32 a, __s64 c)\n{\n}\n",
    )
    source = read_source(tmp_path)
    assert [(each.name, each.arguments) for each in source.functions] == [("one", 1), ("two", 2), ("gap", 2)]
    assert "WA_FUNC" not in source.text
    assert "int wa_fn_one(struct wa_args_one wa_a) { return wa_body_one(wa_a.slot); }" in source.text
    assert f"(*wa_call_two)(struct wa_args_two) = (void *){_FIRST + 1:#x};" in source.text
    # As many lines as before, so that the compiler names the right ones.
    assert source.text.count("\n") == (tmp_path / "writeaudit.bpf.c").read_text().count("\n") + 1


@pytest.mark.parametrize(
    ("parameters", "why"),
    [
        ("__u64 a, __u64 b, __u32 c", "take 20 bytes"),
        ("__u32 a, __u64 b, __u32 c", "take 20 bytes"),
        ("struct wa_walk *walk", "struct wa_walk"),
        ("void", "void"),
    ],
)
def test_parameters_that_bcc_cannot_pass_are_refused(tmp_path: Path, parameters: str, why: str) -> None:
    _probes(tmp_path, main=f"WA_FUNC int much({parameters})\n{{\n}}\n")
    with pytest.raises(BackendUnavailable, match=re.escape(why)):
        read_source(tmp_path)


def test_fields_are_found_through_every_macro_that_reads_one(tmp_path: Path) -> None:
    _probes(
        tmp_path,
        main="#define WA_OFFSET(type, field) WA_OFF_##type##_##field\n"
        "#define READ(type, field, at) load((at) + WA_OFFSET(type, field))\n"
        "/* READ(no, comment) */\n"
        "int x = READ(dentry, d_name, READ(file,\n\tf_path, 0)) + WA_OFFSET(inode, i_ino);\n",
    )
    assert read_source(tmp_path).fields == (("dentry", "d_name"), ("file", "f_path"), ("inode", "i_ino"))


def test_the_probes_declare_every_field_that_they_read() -> None:
    """bcc takes offsets by name, CO-RE from the declarations: both must be there for each field."""
    sources = resources.probe_sources()
    text = re.sub(r"/\*.*?\*/", "", (sources / "kernel.h").read_text(), flags=re.DOTALL)
    declared = {
        (structure[1], member)
        for structure in re.finditer(r"^struct (\w+) \{(.*?)^\}", text, re.MULTILINE | re.DOTALL)
        for member in re.findall(r"(\w+)(?:\[\d+\])?;", structure[2])
    }
    fields = set(read_source(sources).fields)
    assert len(fields) > 60
    assert fields <= declared


def test_macros_name_offsets_and_maps() -> None:
    source = Source("", (), ("scratch", "events"), (("file", "f_path"),), frozenset())
    assert {"-DWA_BCC", "-DWA_OFF_file_f_path=64", f"-DWA_REF_events={_FIRST + 1:#x}"} <= set(
        source.list_macros({("file", "f_path"): 64}, perf=False)
    )


def test_a_map_says_what_it_is() -> None:
    value = 2 << 56 | 4 << 48 | 37_144 << 24 | 65_536
    code = struct.pack("=BBhIBBhI", 0x18, 0, 0, value & 0xFFFFFFFF, 0, 0, 0, value >> 32) + _EXIT
    assert map_shape(code) == MapShape(kind=2, key_size=4, value_size=37_144, entries=65_536)
    with pytest.raises(BackendUnavailable):
        map_shape(_MOVE + _EXIT)


def test_link_puts_in_what_is_called_each_once() -> None:
    code = {
        program_symbol("sys_exit"): _load_map(1) + _call(14) + _call(_FIRST) + _call(_FIRST + 2) + _EXIT,
        function_symbol("a"): _call(_FIRST + 2) + _EXIT,
        function_symbol("b"): _MOVE + _EXIT,
        function_symbol("c"): _load_map(0) + _call(_FIRST) + _EXIT,
    }
    source = Source("", tuple(Function(name, 0, 1) for name in "abc"), ("tasks", "events"), (), frozenset())
    whole, functions = link_program("sys_exit", source, code.__getitem__, {"tasks": 5, "events": 9})

    assert [(each.name, each.instruction) for each in functions] == [
        (program_symbol("sys_exit"), 0),
        ("a", 6),
        ("c", 8),
    ]
    instructions = list(struct.iter_unpack("=BBhi", whole))
    assert len(instructions) == 12
    assert instructions[0] == (0x18, 0x11, 0, 9)
    assert instructions[2] == (0x85, 0, 0, 14)  # a helper stays one
    calls = {at: at + 1 + each[3] for at, each in enumerate(instructions) if each[:2] == (0x85, 0x10)}
    assert calls == {3: 6, 4: 8, 6: 8, 10: 6}
    assert instructions[8] == (0x18, 0x11, 0, 5)


def test_types_of_functions_are_what_the_verifier_takes() -> None:
    blob, ids = function_types([Function("main", 0, 0), Function("one", 4, 1), Function("two", 9, 2)])
    magic, version, _flags, header, _at, types, strings_at, strings = struct.unpack_from("=HBBIIIII", blob)
    assert (magic, version, header) == (0xEB9F, 1, 24)
    assert len(blob) == header + types + strings
    assert strings_at == types
    assert ids == {"main": 3, "one": 5, "two": 7}
    names = blob[header + types :].split(b"\0")
    assert {b"main", b"one", b"two", b"argument"} <= set(names)


def test_a_field_of_one_kind_of_processor_may_be_missing() -> None:
    source = read_source(resources.probe_sources())
    assert ("thread_info", "status") in source.optional  # x86 alone has it
    assert ("thread_info", "flags") not in source.optional
    assert ("task_struct", "thread_info") not in source.optional
