from __future__ import annotations

import random
import shutil
import sys
from pathlib import Path

import pytest

from writeaudit.events import OK, Access, FsEvent, Op
from writeaudit.resolve.binaries import Binaries


def _wrote(path: Path) -> FsEvent:
    raw = str(path).encode()
    return FsEvent(1, 0, 1, 1, Op.OPEN, raw, access=Access.WRITE, created=True, mode=0o755, result=OK)


def _inspected(*paths: Path) -> list[str]:
    binaries = Binaries()
    for path in paths:
        binaries.note_event(_wrote(path))
    return [f"{each.kind} {each.damaged}".strip() for each in binaries.inspect_files()]


def test_a_program_is_read(tmp_path: Path) -> None:
    copy = tmp_path / "python"
    shutil.copy(Path(sys.executable).resolve(), copy)
    binaries = Binaries()
    binaries.note_event(_wrote(copy))
    (found,) = binaries.inspect_files()
    assert (found.kind, found.damaged) == ("elf", "")
    assert found.type in {"exec", "dyn"}
    assert found.machine
    assert found.interpreter


def test_scripts_and_what_is_neither(tmp_path: Path) -> None:
    script, text, gone = tmp_path / "script", tmp_path / "text", tmp_path / "gone"
    script.write_text("#!/bin/sh\n")
    text.write_text("text")
    link = tmp_path / "link.so"
    link.symlink_to(script)
    directory = tmp_path / "directory.so"
    directory.mkdir()
    assert _inspected(script, text, gone, link, directory) == ["script"]


@pytest.mark.parametrize("seed", range(3))
def test_hostile_files_are_damaged_and_raise_nothing(seed: int, tmp_path: Path) -> None:
    sound = Path(sys.executable).resolve().read_bytes()[:200_000]
    chance = random.Random(seed)
    paths = []
    for number in range(60):
        content = bytearray(sound[: chance.choice([5, 60, 64, 1000, 200_000])])
        for _ in range(chance.randrange(1, 40)):
            content[chance.randrange(4, len(content))] = chance.randrange(256)
        paths.append(tmp_path / f"{number}.so")
        paths[-1].write_bytes(content)
    found = _inspected(*paths)
    assert len(found) <= len(paths)
    assert all(each.startswith("elf") for each in found)
    assert any("while it was parsed" in each or "point to more" in each for each in found)
