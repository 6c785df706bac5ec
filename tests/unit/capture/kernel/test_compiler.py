"""The probes are compiled, by whichever compiler there is."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import sys
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

from writeaudit.capture.kernel import compiler

ROOT = Path(__file__).resolve().parents[4]
SOURCES = ROOT / "probes"


def _section_names(path: Path) -> set[str]:
    with path.open("rb") as stream:
        elf = ELFFile(stream)
        assert elf.header.e_machine == "EM_BPF"
        assert elf.little_endian
        return {section.name for section in elf.iter_sections()}


@pytest.mark.skipif(compiler.target_arch() is None, reason="the probes do not know this processor")
@pytest.mark.parametrize("kind", ["clang", "ziglang"])
def test_either_compiler_builds_the_object_without_a_warning(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if kind == "clang":
        if compiler.system_clang() is None:
            pytest.skip("no clang that can compile for BPF")
        monkeypatch.setenv("WRITEAUDIT_BPF_CC", "clang")
    else:
        if importlib.util.find_spec("ziglang") is None:
            pytest.skip("the package ziglang is not installed")
        monkeypatch.setenv("WRITEAUDIT_BPF_CC", f"{sys.executable} -m ziglang cc")
    target = tmp_path / "deep" / compiler.OBJECT_NAME
    assert compiler.compile_object(SOURCES, target, extra=["-Werror"]) == ""
    # What libbpf needs: types, relocations against the running kernel, the licence for helpers.
    assert {".BTF", ".BTF.ext", ".maps", "license"} <= _section_names(target)
    assert os.fsencode(ROOT) not in target.read_bytes(), "the build directory leaks into the object"
    assert [path.name for path in target.parent.iterdir()] == [target.name]


def test_a_source_error_is_shown_and_leaves_nothing(tmp_path: Path) -> None:
    sources = tmp_path / "probes"
    sources.mkdir()
    (sources / "writeaudit.bpf.c").write_text("int broken(\n")
    target = tmp_path / "build" / compiler.OBJECT_NAME
    try:
        compiler.find_compiler()
    except compiler.BuildError as error:
        pytest.skip(str(error))
    with pytest.raises(compiler.BuildError, match=r"(?s)writeaudit\.bpf\.c.*failed:.*error:"):
        compiler.compile_object(sources, target)
    assert list(target.parent.iterdir()) == []


def test_no_compiler_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WRITEAUDIT_BPF_CC", raising=False)
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(compiler.BuildError, match="apt-get install clang, or pip install ziglang"):
        compiler.find_compiler()


def test_unknown_processor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "mips64")
    with pytest.raises(compiler.BuildError, match="mips64"):
        compiler.compile_object(SOURCES, tmp_path / compiler.OBJECT_NAME)
