"""`writeaudit diff` between real runs: of two releases of uv, and of the same thing twice."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Cli
from tests.scenarios.conftest import Audit, Mounts, SetEnvironment, copy_cache, uv_environment, warm_up
from tests.scenarios.test_uv_versions import installed_uv

pytestmark = [pytest.mark.requires_root, pytest.mark.about_answers]


def test_release_of_uv_that_writes_into_a_frozen_environment(
    audit: Audit,
    cli: Cli,
    tmp_path: Path,
    mounts: Mounts,
    offline_uv: SetEnvironment,
) -> None:
    """`uv run` of 0.7.13 leaves a read-only environment alone; that of 0.7.14 fails in it."""
    older, newer = (installed_uv(version, tmp_path / f"uv-{version}") for version in ("0.7.13", "0.7.14"))
    warm = warm_up(older, tmp_path / "warm")
    cache = copy_cache(warm.cache, tmp_path / "cache")
    project = copy_cache(warm.project, tmp_path / "project")
    for _ in range(2):
        subprocess.run([older, "-q", "sync", "--frozen"], cwd=project, env=uv_environment(cache), check=True)
    mounts.bind(project / ".venv", project / ".venv", read_only=True)
    offline_uv(cache)
    before, again, after = (
        audit((uv, "run", "--frozen", "true"), "--profile", "frozen", cwd=project)
        for uv in (older, older, newer)
    )
    assert before.report["run"]["exit_status"] == 0, before.stderr
    same = cli("diff", before.recording, again.recording)
    assert same.returncode == 0, same.stderr
    assert "The two runs did the same." in same.stderr

    report, page = tmp_path / "diff.json", tmp_path / "diff.html"
    done = cli("diff", before.recording, after.recording, "--json", report, "--html", page)
    assert done.returncode == 100, done.stderr
    found = json.loads(report.read_bytes())
    assert any("the command fails now" in phrase for phrase in found["regressions"])
    assert [change["path"] for change in found["newly_refused"]] == ["./.venv/.lock", "./.venv/.tmp*"]
    assert "Worse than before" in page.read_text()
    back = cli("diff", after.recording, before.recording)
    assert back.returncode == 0, back.stderr


def test_two_runs_of_pip_differ_in_nothing(audit: Audit, cli: Cli, tmp_path: Path) -> None:
    wheels = tmp_path / "wheels"
    subprocess.run([sys.executable, "-m", "pip", "download", "-q", "-d", wheels, "six==1.17.0"], check=True)
    runs = []
    for name in ("one", "two"):
        place = tmp_path / name
        subprocess.run([sys.executable, "-m", "venv", place / ".venv"], check=True)
        words = (place / ".venv/bin/pip", "install", "--no-index", "--find-links", wheels, "six")
        runs.append(audit(words, cwd=place))
    assert [run.status for run in runs] == [0, 0], runs[0].stderr
    done = cli("diff", *(run.recording for run in runs))
    assert done.returncode == 0, done.stderr
    assert "The two runs did the same." in done.stderr


@pytest.mark.skipif(shutil.which("npm") is None, reason="npm is not installed")
def test_two_runs_of_npm_differ_in_nothing(audit: Audit, cli: Cli, tmp_path: Path, monkeypatch: Any) -> None:
    package = tmp_path / "package"
    package.mkdir()
    (package / "package.json").write_text('{"name": "leftish", "version": "1.0.0"}')
    (package / "index.js").write_text("module.exports = 1\n")
    subprocess.run(["npm", "pack", "-s"], cwd=package, check=True, capture_output=True)
    runs = []
    for name in ("one", "two"):
        home, project = tmp_path / name / "home", tmp_path / name / "project"
        home.mkdir(parents=True)
        project.mkdir()
        wanted = {
            "name": "p",
            "version": "1.0.0",
            "dependencies": {"leftish": "../../package/leftish-1.0.0.tgz"},
        }
        (project / "package.json").write_text(json.dumps(wanted))
        monkeypatch.setenv("HOME", str(home))
        runs.append(audit(("npm", "install", "--offline", "--no-audit", "--no-fund"), cwd=project))
    assert [run.status for run in runs] == [0, 0], runs[0].stderr
    done = cli("diff", *(run.recording for run in runs))
    assert (done.returncode, "The two runs did the same." in done.stderr) == (0, True), done.stderr


def test_two_fresh_caches_of_uv_differ_in_nothing(
    audit: Audit, cli: Cli, tmp_path: Path, monkeypatch: Any
) -> None:
    """Entries of the archive, temporary directories and locks have random names; the bucket has a version."""
    wheels = tmp_path / "wheels"
    subprocess.run([sys.executable, "-m", "pip", "download", "-q", "-d", wheels, "six==1.17.0"], check=True)
    runs = []
    for name in ("one", "two"):
        place = tmp_path / name
        place.mkdir()
        monkeypatch.setenv("HOME", str(place))
        monkeypatch.delenv("UV_CACHE_DIR", raising=False)
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", place / ".venv"], check=True)
        words = ("uv", "pip", "install", "-q", "--no-index", "--find-links", wheels, "six")
        runs.append(audit(words, cwd=place))
    assert [run.status for run in runs] == [0, 0], runs[0].stderr
    done = cli("diff", *(run.recording for run in runs))
    assert (done.returncode, "The two runs did the same." in done.stderr) == (0, True), done.stderr
