"""Where uv keeps its cache decides whether it links or copies: the findings against the disk."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.scenarios.conftest import (
    Audit,
    Audited,
    Mounts,
    SetEnvironment,
    Warm,
    copy_cache,
    linked_files,
)

pytestmark = pytest.mark.requires_uv

SYNC = ("uv", "sync", "--frozen")
PACKAGES = 8


def _mount(audited: Audited, number: int) -> dict[str, object]:
    [found] = [mount for mount in audited.report["mounts"] if mount["id"] == number]
    return dict(found)


def _copied_instead(audited: Audited, rule: str, warmed: Warm, cache: Path, project: Path) -> None:
    """Check a link fallback: figures as on the disk, evidence that leads to the refused links."""
    assert audited.status == 0, audited.stderr
    finding = audited.the(rule)
    assert (finding["files"], finding["bytes"]) == (len(warmed.truth), warmed.bytes)
    assert finding["severity"] == "warning"
    assert finding["count"] == PACKAGES
    refused = audited.events("link", result="EXDEV")
    assert len(refused) == PACKAGES
    assert set(finding["evidence"]) >= {event["seq"] for event in refused}
    for event in refused:
        assert event["source"].startswith(f"{cache}/")
        assert event["path"].startswith(f"{project}/.venv/")
        assert _mount(audited, event["mount"])["dev"] == _device(project)
        assert _mount(audited, event["source_mount"])["mountpoint"] == str(cache)
        assert _mount(audited, event["source_mount"])["dev"] == _device(cache)
    assert not linked_files(project / ".venv")
    assert audited.report["completeness"]["complete"]
    assert finding["cause"]
    assert finding["advice"]


def _device(path: Path) -> str:
    number = path.stat().st_dev
    return f"{os.major(number)}:{os.minor(number)}"


@pytest.mark.requires_root
def test_cache_on_a_tmpfs(
    audit: Audit, warmed: Warm, project: Path, tmp_path: Path, mounts: Mounts, offline_uv: SetEnvironment
) -> None:
    cache = copy_cache(warmed.cache, mounts.tmpfs(tmp_path / "elsewhere"))
    offline_uv(cache)
    audited = audit(SYNC, cwd=project)
    _copied_instead(audited, "WA101", warmed, cache, project)
    assert "WA102" not in audited.rules
    assert "tmpfs" in audited.the("WA101")["message"]


@pytest.mark.requires_root
def test_cache_bind_mounted_from_the_same_disk(
    audit: Audit, cache: Path, warmed: Warm, project: Path, tmp_path: Path, mounts: Mounts,
    offline_uv: SetEnvironment,
) -> None:  # fmt: skip
    volume = mounts.bind(cache, tmp_path / "volume")
    offline_uv(volume)
    audited = audit(SYNC, cwd=project)
    _copied_instead(audited, "WA102", warmed, volume, project)
    assert "WA101" not in audited.rules
    assert volume.stat().st_dev == project.stat().st_dev


def test_cache_and_environment_on_one_mount(
    audit: Audit, cache: Path, warmed: Warm, project: Path, offline_uv: SetEnvironment
) -> None:
    offline_uv(cache)
    audited = audit(SYNC, cwd=project)
    assert audited.status == 0, audited.stderr
    assert not {"WA101", "WA102", "WA103", "WA104"} & audited.rules
    assert linked_files(project / ".venv") == warmed.truth
    links = audited.events("link", result="ok")
    assert len(links) == len(warmed.truth)
    assert {Path(event["path"]).stat().st_ino for event in links} == {event["ino"] for event in links}
    assert audited.report["completeness"]["complete"]


@pytest.mark.requires_root
def test_link_mode_copy_asks_for_no_link_and_finds_none_refused(
    audit: Audit, warmed: Warm, project: Path, tmp_path: Path, mounts: Mounts, offline_uv: SetEnvironment
) -> None:
    cache = copy_cache(warmed.cache, mounts.tmpfs(tmp_path / "elsewhere"))
    offline_uv(cache)
    audited = audit((*SYNC, "--link-mode=copy"), cwd=project)
    assert audited.status == 0, audited.stderr
    assert not audited.events("link")
    assert not {"WA101", "WA102", "WA105"} & audited.rules


@pytest.mark.requires_root
def test_fail_on_link_fallback(
    audit: Audit, warmed: Warm, project: Path, tmp_path: Path, mounts: Mounts, offline_uv: SetEnvironment
) -> None:
    cache = copy_cache(warmed.cache, mounts.tmpfs(tmp_path / "elsewhere"))
    offline_uv(cache)
    audited = audit(SYNC, "--fail-on", "link-fallback", cwd=project)
    assert audited.status == 100
    assert audited.report["run"]["exit_status"] == 0


@pytest.mark.requires_root
@pytest.mark.requires_program("mkfs.btrfs")
def test_two_subvolumes_are_one_mount_and_two_devices(
    audit: Audit, warmed: Warm, tmp_path: Path, mounts: Mounts, offline_uv: SetEnvironment
) -> None:
    image = tmp_path / "image"
    with image.open("wb") as file:
        file.truncate(256 << 20)
    subprocess.run(["mkfs.btrfs", "-q", str(image)], check=True)
    try:
        disk = mounts.mount("-o", "loop", image, tmp_path / "disk")
    except subprocess.CalledProcessError:
        pytest.skip("no loop devices, or no btrfs, here")
    for name in ("cache", "work"):
        subprocess.run(["btrfs", "-q", "subvolume", "create", str(disk / name)], check=True)
    cache = copy_cache(warmed.cache, disk / "cache")
    project = copy_cache(warmed.project, disk / "work" / "project")
    offline_uv(cache)
    # Reflinks work across subvolumes: uv's default makes them and nothing is wrong.
    assert not {"WA101", "WA102", "WA105"} & audit(SYNC, cwd=project).rules
    subprocess.run(["rm", "-r", str(project / ".venv")], check=True)
    audited = audit((*SYNC, "--link-mode=hardlink"), cwd=project)
    assert audited.the("WA101")["files"] == len(warmed.truth)
    assert "subvolume" in audited.the("WA101")["message"] + audited.the("WA101")["cause"]
