"""uv where it may not write: what fails, what does not, and what the audit says of it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.scenarios.conftest import Audit, Mounts, SetEnvironment, Warm, linked_files, uv_environment
from tests.scenarios.wheels import make_wheels

pytestmark = pytest.mark.requires_uv

SYNC = ("uv", "sync", "--frozen")
INSTALL = ("uv", "pip", "install", "--no-index")


def _synced(project: Path, cache: Path) -> Path:
    # Twice: the first time uv asks the new environment's interpreter, and keeps the answer.
    for _ in range(2):
        subprocess.run([*SYNC, "-q", "--offline"], cwd=project, env=uv_environment(cache), check=True)
    return project / ".venv"


@pytest.mark.requires_root
def test_read_only_cache_is_refused_and_the_status_is_uvs(
    audit: Audit, cache: Path, project: Path, tmp_path: Path, mounts: Mounts, offline_uv: SetEnvironment
) -> None:
    sealed = mounts.bind(cache, tmp_path / "sealed", read_only=True)
    offline_uv(sealed)
    bare = subprocess.run(SYNC, cwd=project, capture_output=True, text=True, check=False)
    shutil.rmtree(project / ".venv", ignore_errors=True)
    audited = audit(SYNC, "--profile", "frozen", cwd=project)
    assert bare.returncode != 0, "a uv that can do with a read-only cache: rewrite this scenario"
    assert audited.status == bare.returncode
    assert "Read-only file system" in audited.stderr
    finding = audited.the("WA203")
    refused = [event for event in audited.report["events"] if event["result"] == "EROFS"]
    assert refused
    assert {event["verdict"] for event in refused} == {"attempt"}
    assert set(finding["evidence"]) == {event["seq"] for event in refused}
    assert all(event["path"].startswith(f"{sealed}/") for event in refused)


@pytest.mark.requires_root
def test_frozen_run_on_sealed_cache_and_environment_that_need_nothing(
    audit: Audit, cache: Path, project: Path, tmp_path: Path, mounts: Mounts, offline_uv: SetEnvironment
) -> None:
    venv = _synced(project, cache)
    before = linked_files(venv)
    mounts.bind(venv, venv, read_only=True)
    offline_uv(cache)
    audited = audit(SYNC, "--profile", "frozen", cwd=project)
    assert audited.report["run"]["exit_status"] == 0, audited.stderr
    attempts = [event for event in audited.report["events"] if event["verdict"] == "attempt"]
    assert {event["result"] for event in attempts} == {"EROFS"}
    assert all(event["path"].startswith(f"{venv}/") for event in attempts)
    assert set(audited.the("WA203")["evidence"]) == {event["seq"] for event in attempts}
    assert linked_files(venv) == before


def _stamps(*places: Path) -> dict[Path, tuple[int, int]]:
    return {
        path: (status.st_ino, status.st_ctime_ns)
        for place in places
        for path in place.rglob("*")
        if not path.is_dir() and (status := path.lstat())
    }


def test_no_op_sync_under_frozen_is_clean(
    audit: Audit, cache: Path, project: Path, offline_uv: SetEnvironment
) -> None:
    venv = _synced(project, cache)
    offline_uv(cache)
    before = _stamps(venv, cache)
    audited = audit(SYNC, "--profile", "frozen", cwd=project)
    assert _stamps(venv, cache) == before
    assert audited.status == 0, audited.stderr
    # It opens .venv/.lock for writing and leaves it alone: that would fail on a read-only mount,
    # and so is worth a word, but nothing has changed.
    opened = {event["path"] for event in audited.report["events"] if event["verdict"] == "violation"}
    assert f"{venv}/.lock" in opened
    marks = {str(path) for path in cache.glob("sdists-v*/.git")}  # the number changes with uv
    assert opened <= {f"{venv}/.lock", f"{cache}/.lock", *marks}
    assert {finding["severity"] for finding in audited.findings("WA201")} <= {"warning", "note"}


def test_first_sync_under_frozen_violates(
    audit: Audit, cache: Path, project: Path, offline_uv: SetEnvironment
) -> None:
    offline_uv(cache)
    audited = audit(SYNC, "--profile", "frozen", cwd=project)
    assert audited.status == 100
    assert audited.report["run"]["exit_status"] == 0
    assert "error" in {finding["severity"] for finding in audited.findings("WA201")}
    violated = {file["path"] for file in audited.report["files"] if file["verdict"] == "violation"}
    venv = project / ".venv"
    there = {str(path) for path in venv.rglob("*")} | {str(venv)}
    assert there <= violated


@pytest.mark.requires_root
def test_no_cache_puts_it_into_tmp_which_lies_elsewhere(
    audit: Audit, project: Path, warmed: Warm, tmp_path: Path, mounts: Mounts,
    offline_uv: SetEnvironment, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    # Without a cache there must be an index: one of local files will do.
    wheels = tmp_path / "wheels"
    requirements = make_wheels(wheels)
    offline_uv(tmp_path / "unused")
    monkeypatch.delenv("UV_DEFAULT_INDEX", raising=False)
    monkeypatch.setenv("TMPDIR", str(mounts.tmpfs(tmp_path / "tmp")))
    subprocess.run(["uv", "venv", "--no-cache", "--quiet", ".venv"], cwd=project, check=True)
    audited = audit(
        (*INSTALL, "--no-cache", "--find-links", wheels, "--python", ".venv", *requirements), cwd=project
    )
    assert audited.status == 0, audited.stderr
    finding = audited.the("WA101")
    assert finding["count"] == len(requirements)
    assert finding["files"] > len(requirements)
    assert not (tmp_path / "unused").exists()
    links = audited.events("link", result="EXDEV")
    assert all(event["source"].startswith(f"{tmp_path}/tmp/") for event in links)
    assert {
        file["net"] for file in audited.report["files"] if file["path"].startswith(f"{tmp_path}/tmp/")
    } <= {
        "transient",
        "attempted",
        "read",
    }


def test_uv_pip_install_into_a_target(
    audit: Audit, tmp_path: Path, warmed: Warm, offline_uv: SetEnvironment
) -> None:
    wheels = tmp_path / "wheels"
    requirements = make_wheels(wheels)
    offline_uv(tmp_path / "cache")
    target = tmp_path / "target"
    audited = audit((*INSTALL, "--find-links", wheels, "--target", target, *requirements), cwd=tmp_path)
    assert audited.status == 0, audited.stderr
    assert (target / "alpha/part0.py").exists()
    zones = {
        file["zone"] for file in audited.report["files"]
        if file["path"].startswith(f"{target}/") and file["net"] == "created"
    }  # fmt: skip
    assert None not in zones
    assert "WA202" not in audited.rules
