"""Remedies, really pasted into a shell: the finding goes, and nothing else happens."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT, Cli
from tests.scenarios.conftest import Audit, Audited, Mounts, auditor
from writeaudit.capture.interface import Backend

pytestmark = pytest.mark.about_answers

_NO_TMP = ("--zone", "tmp=/nowhere:rw")
"""The tests' own directories lie below /tmp, which profiles allow."""
_START = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from writeaudit.cli import main; main()"


def _code(finding: dict[str, Any], begin: str) -> str:
    """Return the one piece of advice in backticks that begins so."""
    spans = [span for line in finding["advice"] for span in re.findall(r"`([^`]*)`", line)]
    found: list[str] = [span for span in spans if span.startswith(begin)]
    assert len(found) == 1, finding["advice"]
    return found[0]


def _paste(
    backend: Backend, tmp_path: Path, *, options: str = "", before: str = "", command: list[str], cwd: Path
) -> dict[str, Any]:
    """Run ``BEFORE writeaudit run OPTIONS -- COMMAND`` through a shell, as somebody would who pasted them."""
    report = tmp_path / "pasted.json"
    writeaudit = f"{shlex.quote(sys.executable)} -c {shlex.quote(_START)}"
    fixed = f"run --backend {backend.name} -q -o {tmp_path}/pasted.wa --json {report}"
    line = f"{before} {writeaudit} {fixed} {options} -- {shlex.join(command)}"
    done = subprocess.run(
        ["bash", "-c", line], cwd=cwd, capture_output=True, text=True, check=False, timeout=120
    )
    assert report.exists(), f"{line}\n{done.stderr}"
    found: dict[str, Any] = json.loads(report.read_bytes())
    return found


def _rules(report: dict[str, Any]) -> set[str]:
    return {finding["rule"] for finding in report["findings"]}


def _script(tmp_path: Path, text: str) -> list[str]:
    script = tmp_path / "script.py"
    script.write_text(text)
    return [sys.executable, "-B", str(script)]


_AWKWARD = [
    "plain",
    "a b",
    "$(touch run)",
    "`touch run`",
    "it's",
    "star*[x]?",
    "new\nline",
    "\udcff\udcfe",
    "-o",
    "$HOME",
]


@pytest.mark.parametrize("name", _AWKWARD)
def test_zone_options_with_awkward_names(cli: Cli, backend: Backend, tmp_path: Path, name: str) -> None:
    work = tmp_path / "work"
    work.mkdir()
    command = _script(
        tmp_path, f"import os\nos.makedirs({name!r}, exist_ok=True)\nopen({name!r} + '/f', 'w')\n"
    )
    audited = auditor(cli, backend.name, tmp_path)(command, *_NO_TMP, cwd=work)
    assert audited.status == 100
    options = _code(audited.the("WA202"), "--zone")
    for made in work.iterdir():
        subprocess.run(["rm", "-rf", "--", made], check=True)
    pasted = _paste(backend, tmp_path, options=f"{options} --zone tmp=/nowhere:rw", command=command, cwd=work)
    assert "WA202" not in _rules(pasted)
    assert pasted["summary"]["status"] == "clean"
    assert not (work / "run").exists(), "pasting it ran what stood in the name"


def test_options_cover_all_places_and_no_more(audit: Audit, backend: Backend, tmp_path: Path) -> None:
    work = tmp_path / "work"
    for directory in ("one", "two", "three"):
        (work / directory).mkdir(parents=True)
    command = _script(tmp_path, "for d in ('one', 'two', 'three'): open(d + '/f', 'w')\n")
    audited = audit(command, "--zone", f"project={work}:ro", *_NO_TMP, cwd=work)
    options = _code(audited.the("WA201"), "--zone")
    given = f"{options} --zone project={work}:ro --zone tmp=/nowhere:rw"
    assert _paste(backend, tmp_path, options=given, command=command, cwd=work)["summary"]["status"] == "clean"
    more = _script(tmp_path, "for d in ('one', 'two', 'three'): open(d + '/f', 'w')\nopen('four', 'w')\n")
    assert "WA201" in _rules(_paste(backend, tmp_path, options=given, command=more, cwd=work))


def test_temporary_names_and_wide_directories_are_no_remedy(audit: Audit, tmp_path: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    command = _script(tmp_path, "import tempfile\ntempfile.mkstemp(dir='.')\n")
    finding = audit(command, "--zone", f"project={project}:ro", cwd=project).the("WA201")
    assert not any("--zone" in line for line in finding["advice"]), finding["advice"]
    assert any("suggest" in line for line in finding["advice"])


@pytest.mark.usefixtures("clean_environment")
def test_files_that_grant_access_are_never_allowed_by_a_paste(
    audit: Audit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    (home / ".ssh").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    script = "import os\nfor n in ('.ssh/authorized_keys', '.bashrc', 'a', 'b', 'c', 'd', 'e', 'f'):\n"
    script += "    open(os.path.expanduser('~/' + n), 'a').write('x')\n"
    audited = audit(_script(tmp_path, script), *_NO_TMP, cwd=tmp_path)
    advice = [line for finding in audited.report["findings"] for line in finding["advice"]]
    assert not any(f"={home}:rw" in line or ".ssh:rw" in line or "keys:rw" in line for line in advice), advice
    assert any("authorized_keys` starts programs or grants access" in line for line in advice), advice


def test_suggested_policy_allows_what_was_done(
    cli: Cli, backend: Backend, tmp_path: Path, audit: Audit
) -> None:
    work = tmp_path / "work"
    work.mkdir()
    script = "import os\nopen('log', 'w')\n"
    script += "for n in ('a', 'b/c', '$x *[1]'):\n    os.makedirs(n)\n    open(n + '/f', 'w')\n"
    command = _script(tmp_path, script)
    audited = audit(command, *_NO_TMP, cwd=work)
    assert audited.status == 100
    made = cli("suggest", audited.recording, "--for", "policy", cwd=work)
    assert made.returncode == 0
    policy = tmp_path / "policy.toml"
    policy.write_text(made.stdout)
    assert cli("check", "-q", audited.recording, "--policy", policy).returncode == 0
    empty = tmp_path / "empty.toml"
    empty.write_text('[[zones]]\nname = "x"\naccess = "rw"\npatterns = ["/x"]\n')
    assert cli("check", "-q", audited.recording, "--policy", empty).returncode == 100


def _fake_installer(tmp_path: Path, name: str) -> Path:
    """Make a program that links from its cache, and copies where it may not."""
    program = tmp_path / "bin" / name
    program.parent.mkdir(exist_ok=True)
    program.write_text(
        f"#!{sys.executable} -B\n"
        "import os, shutil\n"
        "cache = os.environ.get('UV_CACHE_DIR') or os.path.expanduser('~/.cache/uv')\n"
        "os.makedirs(cache + '/a', exist_ok=True); os.makedirs('.venv/lib', exist_ok=True)\n"
        "for n in range(3):\n"
        "    s, t = f'{cache}/a/{n}.py', f'.venv/lib/{n}.py'\n"
        "    open(s, 'w').write('x = 1')\n"
        "    if os.environ.get('UV_LINK_MODE') == 'copy': shutil.copyfile(s, t); continue\n"
        "    try: os.link(s, t)\n"
        "    except OSError: shutil.copyfile(s, t)\n"
    )
    program.chmod(0o755)
    return program


@pytest.fixture
def two_disks(tmp_path: Path, mounts: Mounts, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """A home on one file system, and a project on another."""
    home, project = mounts.tmpfs(tmp_path / "a home"), mounts.tmpfs(tmp_path / "disk") / "pro'ject"
    project.mkdir()
    (project / "pyproject.toml").write_text('[project]\nname = "x"\nversion = "1"\n')
    monkeypatch.setenv("HOME", str(home))
    return home, project


@pytest.mark.requires_root
@pytest.mark.usefixtures("clean_environment")
@pytest.mark.parametrize("setting", ["UV_CACHE_DIR=", "UV_LINK_MODE=copy"])
def test_settings_for_links(
    audit: Audit, backend: Backend, tmp_path: Path, two_disks: tuple[Path, Path], setting: str
) -> None:
    _home, project = two_disks
    command = [str(_fake_installer(tmp_path, "uv")), "sync", "--frozen"]
    audited: Audited = audit(command, cwd=project)
    pasted = _code(audited.the("WA101"), setting)
    subprocess.run(["rm", "-rf", project / ".venv"], check=True)
    report = _paste(backend, tmp_path, before=pasted, command=command, cwd=project)
    assert not _rules(report) & {"WA101", "WA102", "WA201", "WA202"}, report["findings"]


@pytest.mark.requires_root
@pytest.mark.usefixtures("clean_environment")
def test_no_cache_is_put_into_an_environment(
    audit: Audit, tmp_path: Path, two_disks: tuple[Path, Path], mounts: Mounts
) -> None:
    _home, project = two_disks
    mounts.tmpfs(project / ".venv")
    audited = audit([str(_fake_installer(tmp_path, "uv")), "sync", "--frozen"], cwd=project)
    assert not any("UV_CACHE_DIR=" in line for line in audited.the("WA101")["advice"])


@pytest.mark.usefixtures("clean_environment")
def test_profile_of_a_tool_behind_another_command(
    audit: Audit, backend: Backend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project, home = tmp_path / "project", tmp_path / "home"
    project.mkdir()
    home.mkdir()
    (project / "pyproject.toml").write_text('[project]\nname = "x"\nversion = "1"\n')
    monkeypatch.setenv("HOME", str(home))
    uv = _fake_installer(tmp_path, "uv")
    (tmp_path / "ci.sh").write_text(f"'{uv}' sync\n")
    command = ["sh", str(tmp_path / "ci.sh")]
    monkeypatch.setenv("TMPDIR", "/nowhere")
    finding = audit(command, *_NO_TMP, cwd=project)
    hints = [line for each in finding.report["findings"] for line in each["advice"] if "--profile uv" in line]
    assert hints
    pasted = _paste(
        backend, tmp_path, options="--profile uv --zone tmp=/nowhere:rw", command=command, cwd=project
    )
    assert not _rules(pasted) & {"WA201", "WA202"}
    other = audit(
        ["sh", "-c", f"{uv} sync; echo > '{tmp_path}/elsewhere'"], "--profile", "uv", *_NO_TMP, cwd=project
    )
    lines = [line for each in other.report["findings"] for line in each["advice"]]
    assert lines
    assert not any("--profile" in line for line in lines), "it is in force, and would change nothing"
