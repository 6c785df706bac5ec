"""`profiles`, `suggest`, and `check --explain`: what a user learns about where a tool may write."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from tests.conftest import Cli
from writeaudit.capture.interface import Backend
from writeaudit.policy.profiles import list_tools


def test_profiles_are_listed_and_shown(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listed = cli("profiles")
    assert listed.returncode == 0
    rows = [line.split("\t") for line in listed.stdout.splitlines()]
    assert [row[0] for row in rows] == list(list_tools())
    assert all(len(row) == 3 and row[2] for row in rows)
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "here"))
    shown = cli("profiles", "uv/frozen", cwd=tmp_path)
    assert f"zone cache (ro)\n  {tmp_path}/here" in shown.stdout
    assert f"  UV_CACHE_DIR={tmp_path}/here" in shown.stdout
    assert "uv.toml (not there)" in shown.stdout
    assert cli("profiles", "uvv").returncode == 2
    command = cli("profiles", "git", "--", "git", "clone", "/x/y.git", cwd=tmp_path)
    assert f"  {tmp_path}/y\n" in command.stdout
    schema = json.loads(cli("profiles", "--schema").stdout)
    jsonschema.Draft202012Validator.check_schema(schema)


def test_a_path_is_explained(cli: Cli, backend: Backend, tmp_path: Path) -> None:
    policy, recording, work = tmp_path / "p.toml", tmp_path / "r.wa", tmp_path / "work"
    (work / "cache").mkdir(parents=True)
    policy.write_text(
        f'[[zones]]\nname = "work"\naccess = "ro"\npaths = ["{work}"]\n'
        f'[[zones]]\nname = "cache"\naccess = "rw"\npaths = ["{work}/c*"]\n'
        '[[exceptions]]\nreason = "known"\npaths = ["known"]\n'
    )
    words = ("run", "--backend", backend.name, "--policy", policy, "-o", recording)
    done = cli(*words, "--", "touch", "cache/a", "new", "known", cwd=work)
    assert done.returncode == 100

    def explain(path: str) -> str:
        return cli("check", recording, "--explain", path).stdout

    assert "zone cache (rw): it may be changed" in explain("cache/a")
    assert f"by the pattern {work}/c*" in explain("cache/a")
    assert f"also below {work} of zone work (ro)" in explain("cache/a")
    new = explain(f"{work}/new")
    assert "zone work (ro): it may be read; a change is a violation (WA201)" in new
    assert "in this run: violation, created" in new
    assert "see WA201" in new
    assert "excepted from WA201 to WA204: known" in explain("known")
    assert "in no zone" in explain("/elsewhere")
    assert "nothing happened to it" in explain("/elsewhere")


def test_an_unknown_command_is_not_accused(cli: Cli, backend: Backend, tmp_path: Path) -> None:
    recording, report = tmp_path / "r.wa", tmp_path / "r.json"
    # The test's own directory lies below /tmp, which every profile allows: /run is none.
    words = ("run", "--backend", backend.name, "-o", recording, "--json", report)
    place = Path("/run") / f"writeaudit-test-{tmp_path.name}"
    if not place.parent.is_dir() or not _may_write(place.parent):
        pytest.skip("needs a directory outside /tmp that may be written")
    try:
        done = cli(*words, "--", "mkdir", place)
    finally:
        if place.exists():
            place.rmdir()
    assert done.returncode == 0
    told = " ".join(done.stderr.split())
    assert "No profile knows `mkdir`, so nothing says where it may write: 1 path changed" in told
    found = json.loads(report.read_bytes())
    assert found["policy"]["open"] is True
    (finding,) = found["findings"]
    assert (finding["rule"], finding["severity"]) == ("WA202", "note")
    assert cli("check", "-q", recording, "--profile", "install").returncode == 100
    assert cli("check", "-q", recording, "--fail-on", "WA2xx").returncode == 100


def _may_write(directory: Path) -> bool:
    try:
        probe = directory / "writeaudit-probe"
        probe.mkdir()
        probe.rmdir()
    except OSError:
        return False
    return True
