"""What the reader is told first, where the policy alone would say "clean" or "violation"."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.scenarios.conftest import Audit, Mounts
from writeaudit.capture.interface import Backend


def test_output_that_the_caller_redirected_is_no_violation(backend: Backend, tmp_path: Path) -> None:
    project, outside = tmp_path / "project", tmp_path / "elsewhere"
    project.mkdir()
    outside.mkdir()
    report = tmp_path / "report.json"
    start = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from writeaudit.cli import main; main()"
    words = [sys.executable, "-c", start, "run", "--backend", backend.name, "-q", "--json", str(report)]
    words += ["-o", str(tmp_path / "run.wa"), "--zone", f"project={project}:ro", "--"]
    words += ["sh", "-c", "echo out; echo err >&2; echo log >&5; echo other > other"]
    script = '"$@" > "build [1].log" 2> build.err 5>> ../elsewhere/log'
    done = subprocess.run(["bash", "-c", script, "-", *words], cwd=project, check=False, timeout=60)
    assert done.returncode == 100
    found = json.loads(report.read_bytes())
    logs = {f"{project}/build [1].log", f"{project}/build.err", f"{outside}/log"}
    written = {event["path"]: event for event in found["events"] if event["op"] == "write"}
    assert {written[log]["verdict"] for log in logs} == {"allowed"}
    assert {log for log in logs if written[log]["zone"] == "inherited"} == logs - {f"{outside}/log"}
    assert (project / "build [1].log").read_text() == "out\n"
    violations = {event["path"] for event in found["events"] if event["verdict"] == "violation"}
    assert violations == {f"{project}/other"}


@pytest.mark.requires_root
def test_refused_writes_that_the_policy_allows(audit: Audit, tmp_path: Path, mounts: Mounts) -> None:
    place = tmp_path / "place"
    place.mkdir()
    sealed = mounts.bind(place, tmp_path / "sealed", read_only=True)
    zone = ("--zone", f"cache={sealed}:rw")
    failed = audit(("mkdir", sealed / "a", sealed / "b"), *zone)
    assert failed.status == 1
    finding = failed.the("WA205")
    assert (finding["severity"], finding["count"]) == ("warning", 2)
    assert f"EROFS, as `{sealed}` (" in finding["message"]
    assert "The command failed (exit status 1), most likely because making the directory " in " ".join(
        failed.stderr.split()
    )
    assert {event["verdict"] for event in failed.events("mkdir")} == {"failed"}
    did_without = audit(("sh", "-c", f"mkdir '{sealed}/a' 2>&-; true"), *zone)
    assert (did_without.status, did_without.the("WA205")["severity"]) == (0, "note")


def test_protected_file_that_is_written_through_a_hard_link(audit: Audit, tmp_path: Path) -> None:
    cache, venv = tmp_path / "cache", tmp_path / "venv"
    cache.mkdir()
    venv.mkdir()
    (cache / "module.py").write_text("sound\n")
    command = f"ln '{cache}/module.py' '{venv}/module.py' && echo poison > '{venv}/module.py'"
    audited = audit(
        ("sh", "-c", command), "--zone", f"cache={cache}:ro", "--zone", f"venv={venv}:rw", cwd=tmp_path
    )
    assert audited.status == 100
    assert audited.report["summary"]["status"] == "violations"
    finding = audited.the("WA301")
    assert finding["details"]["examples"] == [{"path": f"{venv}/module.py", "source": f"{cache}/module.py"}]
    assert (cache / "module.py").read_text() == "poison\n"


@pytest.mark.requires_root
def test_protected_file_that_is_written_through_another_mount(
    audit: Audit, tmp_path: Path, mounts: Mounts
) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    other = mounts.bind(cache, tmp_path / "other")
    zones = ("--zone", f"cache={cache}:ro", "--zone", f"other={other}:rw")
    audited = audit(("sh", "-c", f"echo new > '{other}/file'; mkdir '{other}/sub'"), *zones)
    assert audited.status == 100
    assert audited.the("WA301")["files"] == 2
    assert audit(("cat", cache / "file"), *zones).status == 0
