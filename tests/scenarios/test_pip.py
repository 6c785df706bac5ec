"""pip, which links nothing: where it writes, and where it must not."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.scenarios.conftest import Audit, site_packages
from tests.scenarios.wheels import make_wheels


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with pip and nothing else: making one takes its time."""
    place = tmp_path_factory.mktemp("pip") / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(place)], check=True)
    return place


@pytest.fixture
def venv(pristine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it; all that pip keeps goes below ``tmp_path``."""
    for name, place in (("HOME", "home"), ("PIP_CACHE_DIR", "pip-cache"), ("TMPDIR", "tmp")):
        (tmp_path / place).mkdir()
        monkeypatch.setenv(name, str(tmp_path / place))
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    return Path(shutil.copytree(pristine, tmp_path / "venv", symlinks=True))


def _pip(venv: Path, wheels: Path, *words: str | Path) -> list[str | Path]:
    return [venv / "bin/python", "-m", "pip", "install", "-q", "--no-index", "--find-links", wheels, *words]


def test_install_into_an_environment_is_clean(audit: Audit, venv: Path, tmp_path: Path) -> None:
    names = make_wheels(tmp_path / "wheels")
    audited = audit(_pip(venv, tmp_path / "wheels", *names), cwd=tmp_path)
    assert audited.status == 0, audited.stderr
    assert audited.report["policy"]["tool"] == "pip"
    assert not {"WA201", "WA202", "WA203"} & audited.rules
    files = {file["path"]: file for file in audited.report["files"]}
    for path in site_packages(venv).glob("alpha*/*"):
        if path.is_file():
            assert files[str(path)]["zone"] == "venv"
            assert files[str(path)]["net"] == "created"
            assert files[str(path)]["bytes_written"] >= path.stat().st_size
    temporary = [file for file in files.values() if file["path"].startswith(f"{tmp_path}/tmp/")]
    assert temporary
    assert {file["net"] for file in temporary} <= {"transient", "read", "attempted", "deleted"}


def test_target_outside_every_zone_is_a_violation(audit: Audit, venv: Path, tmp_path: Path) -> None:
    names = make_wheels(tmp_path / "wheels")
    policy = tmp_path / "policy.toml"
    policy.write_text(
        "".join(
            f'[zones.{name}]\npaths = ["{tmp_path}/{place}"]\naccess = "rw"\n'
            for name, place in (("venv", "venv"), ("tmp", "tmp"), ("cache", "pip-cache"))
        )
    )
    target = tmp_path / "elsewhere"
    audited = audit(
        _pip(venv, tmp_path / "wheels", "--target", target, *names), "--policy", policy, cwd=tmp_path
    )
    assert audited.status == 100, audited.stderr
    # pip asks rustc for its version, and a rustc managed by rustup makes files in HOME: more of the same.
    findings = audited.findings("WA202")
    assert {finding["severity"] for finding in findings} == {"error"}
    assert any(str(target) in finding["message"] for finding in findings)
    # pip installs below $TMPDIR and moves whole directories from there.
    made = {str(path) for path in (target, *target.iterdir())}
    assert made <= {file["path"] for file in audited.report["files"] if file["verdict"] == "violation"}
    assert audited.report["run"]["exit_status"] == 0


def test_upgrade_replaces_and_leaves_nothing_behind(audit: Audit, venv: Path, tmp_path: Path) -> None:
    names = make_wheels(tmp_path / "wheels")
    subprocess.run([str(word) for word in _pip(venv, tmp_path / "wheels", *names)], check=True)
    audited = audit(_pip(venv, tmp_path / "wheels", "--force-reinstall", "alpha"), cwd=tmp_path)
    assert audited.status == 0, audited.stderr
    moved = [event for event in audited.events("rename", result="ok") if "/~" in event["path"]]
    assert moved or audited.events("unlink", result="ok"), "pip removes the old version one way or the other"
    assert not list(site_packages(venv).glob("~*"))
