"""Root, sudo, and users without privilege."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT, Cli
from tests.scenarios.conftest import Audit, SetEnvironment, Warm, copy_cache
from writeaudit.capture.interface import Backend

pytestmark = [pytest.mark.requires_root, pytest.mark.requires_program("setpriv")]

_LOOK = (
    "import json, os; json.dump({'ids': os.getresuid() + os.getresgid(), 'groups': os.getgroups(), "
    "'home': os.environ.get('HOME'), 'user': os.environ.get('USER'), 'kept': os.environ.get('KEPT')}, "
    "open('seen', 'w'))"
)


@pytest.fixture
def open_place() -> Iterator[Path]:
    """A directory that everybody can reach and write to; pytest's own are root's alone."""
    place = Path("/var/tmp", f"writeaudit-test-{os.getpid()}-{os.urandom(4).hex()}")
    place.mkdir()
    place.chmod(0o777)
    yield place
    shutil.rmtree(place)


@pytest.fixture
def somebody() -> pwd.struct_passwd:
    """An ordinary user that every system has."""
    return pwd.getpwnam("nobody")


def _can_read(user: pwd.struct_passwd) -> bool:
    """Whether a user can run this Python and its packages."""
    words = ("setpriv", *_ids(user), sys.executable, "-c", "import click, rich, jinja2, elftools")
    return subprocess.run(words, check=False, capture_output=True).returncode == 0


def _ids(user: pwd.struct_passwd) -> tuple[str, ...]:
    return (f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups")


def _as(
    user: pwd.struct_passwd, *words: str | Path, cwd: Path, **env: str
) -> subprocess.CompletedProcess[str]:
    """Run ``writeaudit ARG...`` as another user."""
    start = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from writeaudit.cli import main; main()"
    # Where this Python lies in root's own directories, the user is lent the right to read; no other.
    lent = () if _can_read(user) else ("--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search")
    base = {"PATH": os.environ["PATH"], "HOME": str(cwd), "XDG_STATE_HOME": str(cwd / "state"), **env}
    setpriv = shutil.which("setpriv")
    assert setpriv is not None
    return subprocess.run(
        [setpriv, *_ids(user), *lent, sys.executable, "-c", start, *map(str, words)],
        cwd=cwd,
        env=base,
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        timeout=60,
    )


def test_under_sudo_the_command_is_the_callers(
    cli: Cli, backend: Backend, open_place: Path, somebody: pwd.struct_passwd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SUDO_UID", str(somebody.pw_uid))
    monkeypatch.setenv("SUDO_GID", str(somebody.pw_gid))
    monkeypatch.setenv("SUDO_USER", somebody.pw_name)
    monkeypatch.setenv("KEPT", "as it was")
    python = shutil.which("python3", path="/usr/bin")
    if python is None:
        pytest.skip("no system Python, which ordinary users can run for sure")
    outputs = ("-o", open_place / "r.wa", "--json", open_place / "r.json", "--html", open_place / "r.html")
    words = ("run", "--backend", backend.name, *outputs, "--zone", f"w={open_place}:rw")
    done = cli(*words, "--", python, "-c", _LOOK, cwd=open_place)
    assert done.returncode == 0, done.stderr
    seen = json.loads((open_place / "seen").read_text())
    assert seen == {
        "ids": [somebody.pw_uid] * 3 + [somebody.pw_gid] * 3,
        "groups": sorted(set(os.getgrouplist(somebody.pw_name, somebody.pw_gid))),
        "home": somebody.pw_dir,
        "user": somebody.pw_name,
        "kept": "as it was",
    }
    for name in ("r.wa", "r.json", "r.html"):
        status = (open_place / name).stat()
        assert (status.st_uid, status.st_gid) == (somebody.pw_uid, somebody.pw_gid), name
    run = json.loads((open_place / "r.json").read_text())["run"]
    assert (run["user"], run["uid"]) == (somebody.pw_name, somebody.pw_uid)


def test_user_root_under_sudo_stays_root(
    cli: Cli, backend: Backend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SUDO_UID", "65534")
    words = ("run", "--backend", backend.name, "-q", "--user", "root", "-o", tmp_path / "r.wa")
    assert cli(*words, "--", "id", "-u").stdout == "0\n"


def test_command_of_another_user_meets_that_users_limits(
    audit: Audit, somebody: pwd.struct_passwd, open_place: Path
) -> None:
    locked = open_place / "locked"
    locked.mkdir(mode=0o755)
    audited = audit(
        ("touch", locked / "file"), "--user", somebody.pw_name, "--profile", "frozen", cwd=open_place
    )
    assert audited.status == 1
    assert not list(locked.iterdir())
    [refused] = audited.events("open", path=f"{locked}/file")
    assert refused["result"] == "EACCES"


def test_recording_of_root_is_read_by_anybody_who_may(
    cli: Cli, backend: Backend, open_place: Path, somebody: pwd.struct_passwd
) -> None:
    recording = open_place / "r.wa"
    done = cli(
        "run", "--backend", backend.name, "-o", recording, "--", "touch", open_place / "x", cwd=open_place
    )
    assert done.returncode in {0, 100}, done.stderr
    if _can_read(somebody):  # without being lent the right to
        closed = _as(somebody, "report", recording, cwd=open_place)
        assert closed.returncode == 125
        assert "Permission denied" in closed.stderr
    recording.chmod(0o644)
    opened = _as(somebody, "report", recording, "--json", "-", cwd=open_place)
    assert opened.returncode == 0, opened.stderr
    mine = json.loads(cli("report", recording, "--json", "-").stdout)
    assert json.loads(opened.stdout)["events"] == mine["events"]
    assert _as(somebody, "check", recording, cwd=open_place).returncode == done.returncode


@pytest.mark.requires_strace
def test_not_root_falls_back_to_strace_and_says_so(open_place: Path, somebody: pwd.struct_passwd) -> None:
    done = _as(somebody, "run", "--json", "r.json", "--", "touch", "x", cwd=open_place)
    assert done.returncode in {0, 100}, done.stderr
    backend = json.loads((open_place / "r.json").read_text())["run"]["backend"]
    assert backend["name"] == "strace"
    assert "ebpf could not run" in backend["why"]
    assert "root" in backend["why"]
    assert (open_place / "x").stat().st_uid == somebody.pw_uid
    [recording] = (open_place / "state/writeaudit/runs").iterdir()
    assert recording.suffix == ".wa"
    assert _as(somebody, "check", "last", "-q", cwd=open_place).returncode == done.returncode


def test_not_root_and_ebpf_wanted(open_place: Path, somebody: pwd.struct_passwd) -> None:
    done = _as(somebody, "run", "--backend", "ebpf", "--", "touch", "x", cwd=open_place)
    assert done.returncode == 125
    assert "CAP_BPF" in done.stderr
    assert "sudo" in done.stderr
    assert not (open_place / "x").exists()
    assert not list(open_place.glob("state/writeaudit/runs/*"))


def test_not_root_and_another_user_wanted(open_place: Path, somebody: pwd.struct_passwd) -> None:
    done = _as(somebody, "run", "--user", "root", "--", "touch", "x", cwd=open_place)
    assert done.returncode == 2
    assert "only root" in done.stderr


def test_no_backend_at_all_names_each_reason(open_place: Path, somebody: pwd.struct_passwd) -> None:
    done = _as(somebody, "run", "--", "/bin/true", cwd=open_place, PATH=str(open_place))
    assert done.returncode == 125
    for word in ("ebpf:", "strace: strace is not installed", "doctor"):
        assert word in done.stderr
    assert not list(open_place.glob("state/writeaudit/runs/*"))


@pytest.mark.requires_uv
def test_shared_cache_of_another_owner(
    audit: Audit,
    warmed: Warm,
    open_place: Path,
    somebody: pwd.struct_passwd,
    monkeypatch: pytest.MonkeyPatch,
    offline_uv: SetEnvironment,
) -> None:
    if Path("/proc/sys/fs/protected_hardlinks").read_text().strip() != "1":
        pytest.skip("fs.protected_hardlinks is off")
    cache = copy_cache(warmed.cache, open_place / "cache")
    project = copy_cache(warmed.project, open_place / "project")
    # All may read and write there, but the unpacked wheels, which are linked, they may only read.
    for path in [cache, *cache.rglob("*")]:
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o777)
        elif not path.is_symlink() and path.relative_to(cache).parts[0] != "archive-v0":
            path.chmod(0o666)
    project.chmod(0o777)
    offline_uv(cache)
    python = f"/usr/bin/python{sys.version_info[0]}.{sys.version_info[1]}"
    if not os.path.exists(python):
        pytest.skip(f"no {python}, which ordinary users can run for sure")
    monkeypatch.setenv("UV_PYTHON", python)
    found = shutil.which("uv")
    assert found is not None
    uv = shutil.copy2(found, open_place / "uv")  # the other one may lie in a home that is closed to others
    audited = audit((uv, "sync", "--frozen", "--link-mode=hardlink"), "--user", somebody.pw_name, cwd=project)
    assert audited.report["run"]["exit_status"] == 0, audited.stderr
    refused = audited.events("link", result="EPERM")
    finding = audited.the("WA103")
    assert finding["count"] == len(refused) > 0
    assert (finding["files"], finding["bytes"]) == (len(warmed.truth), warmed.bytes)
    assert "protected_hardlinks" in finding["cause"] + finding["message"]
    assert not {"WA101", "WA102"} & audited.rules
