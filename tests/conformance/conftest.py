"""Ground to work on: file systems of several kinds, and programs built from C."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

WORKLOADS = Path(__file__).resolve().parent.parent / "workloads"
_IMAGE_BYTES = 320 << 20
"""The least that mkfs.xfs takes is 300 MB; the file is sparse."""


def _run(*argv: str | Path) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"{argv[0]}: {done.stderr.strip() or done.returncode}")


def _mounted(kind: str, place: Path, point: Path) -> None:
    """Mount a fresh file system; the test is skipped with the reason where that cannot be done."""
    point.mkdir()
    match kind:
        case "tmpfs":
            _run("mount", "-t", "tmpfs", "none", point)
        case "overlay":
            lower, upper, work = (place / name for name in ("lower", "upper", "work"))
            for directory in (lower, upper, work):
                directory.mkdir()
            (lower / "from-below").write_bytes(b"lower")
            (lower / "dir-below").mkdir()
            (lower / "dir-below" / "file").write_bytes(b"lower")
            options = f"lowerdir={lower},upperdir={upper},workdir={work}"
            _run("mount", "-t", "overlay", "-o", options, "none", point)
        case _:
            image = place / "image"
            with image.open("wb") as file:
                file.truncate(_IMAGE_BYTES)
            _run(f"mkfs.{kind}", "-q", image)
            _run("mount", "-o", "loop", image, point)


@pytest.fixture
def file_system(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Mount a file system of a kind (tmpfs, btrfs, xfs, overlay) and return its mount point."""
    if os.geteuid() != 0:
        pytest.skip("mounting takes root")
    points: list[Path] = []

    def mount(kind: str) -> Path:
        point = tmp_path / f"on-{kind}"
        points.append(point)
        _mounted(kind, tmp_path, point)
        return point

    yield mount
    for point in reversed(points):
        subprocess.run(["umount", point], check=False, capture_output=True)


@pytest.fixture(scope="session")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Build a C workload (``name``, further flags) and return the program.

    Where WRITEAUDIT_BUILT names a directory (machines without a compiler), they are found there.
    """
    ready = os.environ.get("WRITEAUDIT_BUILT")
    directory = Path(ready) if ready else tmp_path_factory.mktemp("built")

    def build(name: str, *flags: str) -> Path:
        program = directory / "-".join([name, *(flag.strip("-") for flag in flags)])
        if ready and not program.exists():
            pytest.skip(f"{program.name} could not be built")
        if not program.exists():
            source = WORKLOADS / f"{name}.c"
            _run("gcc", "-O1", "-Wall", "-Wextra", "-Werror", *flags, "-o", program, source)
        return program

    return build
