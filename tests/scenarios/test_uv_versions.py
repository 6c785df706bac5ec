"""Older releases of uv, which link, copy and fail in other ways than today's."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.scenarios.conftest import (
    Audit,
    Mounts,
    SetEnvironment,
    Warm,
    copy_cache,
    linked_files,
    uv_environment,
    warm_up,
)

pytestmark = [pytest.mark.requires_root, pytest.mark.about_answers]


def installed_uv(version: str, place: Path) -> str:
    """Install a release of uv with pip into a directory of its own; return its path."""
    words = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "-q",
        "--no-deps",
        "--target",
        str(place),
        f"uv=={version}",
    ]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"uv {version} cannot be had here: {done.stderr.strip().splitlines()[-1:]}")
    return str(place / "bin/uv")


@pytest.fixture(scope="module", params=["0.5.29", "0.7.14"])
def old(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str, Warm]:
    """An old uv: its version, its path, and a project and cache of its own."""
    place = tmp_path_factory.mktemp("old-uv")
    uv = installed_uv(request.param, place / "uv")
    return request.param, uv, warm_up(uv, place)


def test_cache_on_a_tmpfs(
    audit: Audit, old: tuple[str, str, Warm], tmp_path: Path, mounts: Mounts, offline_uv: SetEnvironment
) -> None:
    _version, uv, warm = old
    cache = copy_cache(warm.cache, mounts.tmpfs(tmp_path / "elsewhere"))
    project = copy_cache(warm.project, tmp_path / "project")
    offline_uv(cache)
    audited = audit((uv, "sync", "--frozen"), cwd=project)
    assert audited.status == 0, audited.stderr
    finding = audited.the("WA101")
    assert (finding["files"], finding["bytes"]) == (len(warm.truth), warm.bytes)
    assert finding["count"] == len(audited.events("link", result="EXDEV"))
    assert not linked_files(project / ".venv")


def test_read_only_environment(
    audit: Audit, old: tuple[str, str, Warm], tmp_path: Path, mounts: Mounts, offline_uv: SetEnvironment
) -> None:
    version, uv, warm = old
    cache = copy_cache(warm.cache, tmp_path / "cache")
    project = copy_cache(warm.project, tmp_path / "project")
    for _ in range(2):
        subprocess.run([uv, "-q", "sync", "--frozen"], cwd=project, env=uv_environment(cache), check=True)
    mounts.bind(project / ".venv", project / ".venv", read_only=True)
    offline_uv(cache)
    bare = subprocess.run([uv, "sync", "--frozen"], cwd=project, capture_output=True, text=True, check=False)
    audited = audit((uv, "sync", "--frozen"), "--profile", "frozen", cwd=project)
    assert audited.report["run"]["exit_status"] == bare.returncode
    refused = [event for event in audited.report["events"] if event["result"] == "EROFS"]
    assert {event["verdict"] for event in refused} <= {"attempt"}
    if version == "0.7.14":
        # It makes .venv/.tmpXXXXXX to find out whether it may write, and does not take no for an answer.
        assert audited.status == bare.returncode != 0
        assert any("/.venv/.tmp" in event["path"] for event in refused)
    if refused:
        assert set(audited.the("WA203")["evidence"]) == {event["seq"] for event in refused}
