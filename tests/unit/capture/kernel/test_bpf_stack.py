"""No chain of calls in the probes comes near the stack that older kernels have for it."""

from __future__ import annotations

import importlib.util
import struct
import sys
from pathlib import Path

import pytest

from tests.support.bpf_stack import FRAMES, LIMIT, chains, functions_of, longest, stack_touched
from writeaudit.capture.kernel import compiler

PROBES = Path(__file__).resolve().parents[4] / "probes"
ROOM = 64
"""What is left for compilers that allot registers differently."""


def _compilers() -> list[str]:
    found = ["clang"] if compiler.system_clang() else []
    if importlib.util.find_spec("ziglang") is not None:
        found.append(f"{sys.executable} -m ziglang cc")
    return found


@pytest.mark.parametrize("machine", sorted(compiler.TARGET_ARCH))
@pytest.mark.parametrize("command", _compilers())
def test_every_chain_of_calls_fits_into_the_stack_of_older_kernels(
    command: str, machine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WRITEAUDIT_BPF_CC", command)
    compiler.compile_all(PROBES, tmp_path, machine=machine)
    for name in compiler.OBJECTS:
        functions = functions_of(tmp_path / name)
        deepest = chains(functions)[0]
        assert deepest.stack <= LIMIT - ROOM, f"{name}: {deepest}"
        assert longest(functions) <= FRAMES, name


def test_there_is_a_compiler_to_try() -> None:
    assert _compilers()


def test_a_store_and_the_address_of_a_variable_are_stack() -> None:
    store = struct.pack("=BBhi", 0x7B, 0x1A, -24, 0)  # *(u64 *)(r10 - 24) = r1
    address = struct.pack("=BBhi", 0xBF, 0xA2, 0, 0) + struct.pack("=BBhi", 0x07, 0x02, 0, -40)
    other = struct.pack("=BBhi", 0x07, 0x03, 0, -400)  # r3 is no copy of the frame pointer
    assert stack_touched(store) == 24
    assert stack_touched(store + address + other) == 40
