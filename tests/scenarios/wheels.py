"""Wheels made on the spot: what is installed from them needs no index and no network."""

from __future__ import annotations

import os
import shutil
from pathlib import Path


def make_wheels(place: Path, names: tuple[str, ...] = ("alpha", "beta")) -> list[str]:
    """Make a wheel of a few small files for each name, in the new directory ``place``; return the names."""
    place.mkdir()
    for name in names:
        tree = place.parent / f"source-{name}"
        (tree / name).mkdir(parents=True)
        for number in range(3):
            (tree / name / f"part{number}.py").write_text(f"VALUE = {number}\n" * 50)
        (tree / name / "__init__.py").write_text("")
        info = tree / f"{name}-1.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n")
        (info / "WHEEL").write_text("Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        files = [path.relative_to(tree).as_posix() for path in sorted(tree.rglob("*")) if path.is_file()]
        (info / "RECORD").write_text(
            "".join(f"{file},,\n" for file in [*files, f"{name}-1.dist-info/RECORD"])
        )
        archive = shutil.make_archive(str(place / f"{name}-1-py3-none-any"), "zip", tree)
        os.rename(archive, place / f"{name}-1-py3-none-any.whl")
    return list(names)
