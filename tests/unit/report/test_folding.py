"""What differs from run to run is folded, and nothing else."""

from __future__ import annotations

import pytest

from writeaudit.report.folding import fold_name, fold_path


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (".tmpAb3xQ9", ".tmpZz81Kd"),
        ("pip-unpack-x1y2z3a4", "pip-unpack-b9c8d7e6"),
        ("tmp8k2_x9qa", "tmpq7r_m1zz"),
        ("sdists-v10", "sdists-v9"),
        ("3f2a9c0d1e4b5a69", "00ff11ee22dd33cc"),
        ("uv-3f2a9c0d1e4b5a69.lock", "uv-00ff11ee22dd33cc.lock"),
        (".lock.12345", ".lock.999"),
        ("2026-12-01T05_22_37_471Z-debug-0.log", "2027-01-31T23_59_00_000Z-debug-0.log"),
        ("pip-20261201-052237.log", "pip-20270102-235901.log"),
        ("V1StGXR8_Z5jdHi6B-myT", "kQ9-aB3xLm_Zp71Tw0RsD"),
        ("_tmp_4711_0a1b2c3d", "_tmp_12_99887766"),
    ],
)
def test_names_that_are_drawn_by_lot(one: str, other: str) -> None:
    assert fold_name(one) == fold_name(other)
    assert "*" in fold_name(one)


@pytest.mark.parametrize(
    "name",
    [
        "python3.11", "site-packages", "linux_x86_64", "CamelCase", "RECORD", "utf8", "sha256", "base64.py",
        "six-1.16.0.dist-info", "libfoo.so.6", "x86_64-linux-gnu", "requests", "v2026.12.01",
        "CPython-3.12-Linux-x86_64", "__init__.cpython-311.pyc",
    ],
)  # fmt: skip
def test_names_that_mean_something_stay(name: str) -> None:
    assert fold_name(name) == name


def test_paths_are_folded_part_by_part() -> None:
    assert fold_path("/a/.tmpAb3xQ9/b") == "/a/.tmp*/b"


def test_entries_of_the_archive_of_uv_are_one_whatever_they_are_called() -> None:
    assert fold_path("~/.cache/uv/archive-v0/onlyletters/six.py") == "~/.cache/uv/archive-v*/*/six.py"
