from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import sys
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

import hatch_build

SOURCES = hatch_build.ROOT / "probes"


def _section_names(path: Path) -> set[str]:
    with path.open("rb") as stream:
        elf = ELFFile(stream)
        assert elf.header.e_machine == "EM_BPF"
        assert elf.little_endian
        return {section.name for section in elf.iter_sections()}


@pytest.mark.skipif(hatch_build.target_arch() is None, reason="the probes do not know this processor")
@pytest.mark.parametrize("compiler", ["clang", "ziglang"])
def test_either_compiler_builds_the_object_without_a_warning(
    compiler: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if compiler == "clang":
        if hatch_build.system_clang() is None:
            pytest.skip("no clang that can compile for BPF")
        monkeypatch.setenv("WRITEAUDIT_BPF_CC", "clang")
    else:
        if importlib.util.find_spec("ziglang") is None:
            pytest.skip("the package ziglang is not installed")
        monkeypatch.setenv("WRITEAUDIT_BPF_CC", f"{sys.executable} -m ziglang cc")
    target = tmp_path / "deep" / hatch_build.OBJECT_NAME
    assert hatch_build.compile_object(SOURCES, target, extra=["-Werror"]) == ""
    # What libbpf needs: types, relocations against the running kernel, the licence for helpers.
    assert {".BTF", ".BTF.ext", ".maps", "license"} <= _section_names(target)
    assert os.fsencode(hatch_build.ROOT) not in target.read_bytes(), (
        "the build directory leaks into the object"
    )
    assert [path.name for path in target.parent.iterdir()] == [target.name]


def test_a_source_error_is_shown_and_leaves_nothing(tmp_path: Path) -> None:
    sources = tmp_path / "probes"
    sources.mkdir()
    (sources / "writeaudit.bpf.c").write_text("int broken(\n")
    target = tmp_path / "build" / hatch_build.OBJECT_NAME
    try:
        hatch_build.compiler()
    except hatch_build.BuildError as error:
        pytest.skip(str(error))
    with pytest.raises(hatch_build.BuildError, match=r"(?s)writeaudit\.bpf\.c.*failed:.*error:"):
        hatch_build.compile_object(sources, target)
    assert list(target.parent.iterdir()) == []


def test_no_compiler_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WRITEAUDIT_BPF_CC", raising=False)
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(hatch_build.BuildError, match="apt-get install clang, or pip install ziglang"):
        hatch_build.compiler()


def test_unknown_processor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "mips64")
    with pytest.raises(hatch_build.BuildError, match="mips64"):
        hatch_build.compile_object(SOURCES, tmp_path / hatch_build.OBJECT_NAME)


def test_up_to_date(tmp_path: Path) -> None:
    sources = tmp_path / "probes"
    sources.mkdir()
    header = sources / "events.h"
    header.touch()
    target = tmp_path / hatch_build.OBJECT_NAME
    assert not hatch_build.up_to_date(sources, target)
    target.touch()
    assert hatch_build.up_to_date(sources, target)
    later = target.stat().st_mtime_ns + 1_000_000_000
    os.utime(header, ns=(later, later))
    assert not hatch_build.up_to_date(sources, target)
