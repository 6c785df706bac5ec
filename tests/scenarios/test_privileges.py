"""What root's rights are used for, and what not: writeaudit through sudo, and users who want more of it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import ROOT

pytestmark = [
    pytest.mark.requires_root,
    pytest.mark.requires_ebpf,
    pytest.mark.requires_program("setpriv"),
    pytest.mark.requires_program("unshare"),
]

_START = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from writeaudit.cli import main; main()"
_UID = 47113
_NAME = "wa-somebody"
_SUDO = shutil.which("sudo")


@dataclass
class Somebody:
    """A user with a home, in a mount namespace whose /etc knows them; the machine's own does not."""

    place: Path

    @property
    def home(self) -> Path:
        return self.place / "home"

    @property
    def closed(self) -> Path:
        """A directory that all can read and root alone can write to."""
        return self.place / "closed"

    def run(self, *words: str | Path, sudo: bool = False, **env: str) -> subprocess.CompletedProcess[str]:
        """Run ``writeaudit ARG...`` as root for this user, as `sudo writeaudit` does; or as this user."""
        start = [sys.executable, "-c", _START]
        base = {"PATH": os.environ["PATH"], "HOME": "/root", "SUDO_UID": str(_UID), "SUDO_USER": _NAME}
        if sudo:
            # Where this Python lies in root's own directories, the user is lent the right to read.
            lent = ("--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search")
            start = ["setpriv", f"--reuid={_UID}", f"--regid={_UID}", "--clear-groups", *lent, *start]
            base = {"PATH": os.environ["PATH"], "HOME": str(self.home)}
        mounts = "".join(
            f"mount --bind {self.place}/etc/{name} /etc/{name} && "
            for name in ("passwd", "group", "shadow", "sudoers")
        )
        return subprocess.run(
            ["unshare", "-m", "sh", "-c", f'{mounts} exec "$@"', "sh", *start, *map(str, words)],
            cwd=self.home,
            env=base | env,
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
            timeout=60,
            start_new_session=True,  # sudo finds no terminal of the tester's
        )


@pytest.fixture
def somebody() -> Iterator[Somebody]:
    if _SUDO is None:
        pytest.skip("sudo is not installed")
    place = Path("/var/tmp", f"writeaudit-test-{os.getpid()}-{os.urandom(4).hex()}")
    made = Somebody(place)
    for directory in (place, made.home, made.closed, place / "etc"):
        directory.mkdir()
    os.chown(made.home, _UID, _UID)
    entries = {
        "passwd": f"{_NAME}:x:{_UID}:{_UID}::{made.home}:/bin/sh\n",
        "group": f"{_NAME}:x:{_UID}:\n",
        "shadow": f"{_NAME}:*:19000:0:99999:7:::\n",
    }
    for name, line in entries.items():
        (place / "etc" / name).write_text(Path("/etc", name).read_text() + line)
    (place / "etc/shadow").chmod(0o600)
    (place / "etc/sudoers").write_text(
        f"Defaults env_reset\nroot ALL=(ALL) ALL\n{_NAME} ALL=(ALL) NOPASSWD: ALL\n"
    )
    (place / "etc/sudoers").chmod(0o440)
    yield made
    shutil.rmtree(place)


def _snapshot(directory: Path) -> list[tuple[str, int, int]]:
    """Return names, modes and owners below a directory."""
    every = sorted([directory, *directory.rglob("*")])
    return [(str(path), path.lstat().st_mode, path.lstat().st_uid) for path in every]


def test_sudo_starts_capture_alone(somebody: Somebody) -> None:
    look = "id -u; id -u >seen; echo $KEPT; cat /proc/$PPID/status | grep ^Uid"
    done = somebody.run(
        *("run", "--sudo", "--backend", "ebpf", "-o", "r.wa", "--json", "r.json", "--", "sh", "-c", look),
        sudo=True,
        KEPT="as it was",
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[:2] == [str(_UID), "as it was"]
    assert lines[2].split()[1:] == [str(_UID)] * 4
    report = json.loads((somebody.home / "r.json").read_bytes())
    assert report["run"]["backend"]["name"] == "ebpf"
    assert report["run"]["notes"] == []
    assert report["summary"]["status"] == "clean"
    assert any(event["path"].endswith("/home/seen") for event in report["events"])
    assert {path.stat().st_uid for path in somebody.home.iterdir()} == {_UID}


def test_sudo_that_refuses_is_said(somebody: Somebody) -> None:
    (somebody.place / "etc/sudoers").write_text("root ALL=(ALL) ALL\n")
    words = ("run", "--sudo", "--backend", "ebpf", "-o", "r.wa", "--", "touch", "x")
    done = somebody.run(*words, sudo=True)
    assert done.returncode == 125
    assert "sudo did not start the capture part" in done.stderr
    assert "sudo:" in done.stderr
    assert list(somebody.home.iterdir()) == []


@pytest.mark.requires_strace
def test_auto_without_sudo_goes_on_with_strace(somebody: Somebody) -> None:
    (somebody.place / "etc/sudoers").write_text("root ALL=(ALL) ALL\n")
    done = somebody.run("run", "--sudo", "-o", "r.wa", "--json", "r.json", "--", "touch", "x", sudo=True)
    assert done.returncode == 0, done.stderr
    backend = json.loads((somebody.home / "r.json").read_bytes())["run"]["backend"]
    assert backend["name"] == "strace"
    assert "sudo did not start" in backend["why"]


def test_namespaces_of_processes_that_only_root_may_look_at(somebody: Somebody) -> None:
    tree = somebody.place / "tree"
    (tree / "d").mkdir(parents=True)
    (tree / "l").symlink_to("d")
    # Where a symlink leads that was there before, no event says: it has to be looked up in that namespace.
    inside = (
        "import ctypes, os, time\nlibc = ctypes.CDLL(None)\n"
        "assert not libc.unshare(0x20000) and not libc.mount(b'none', b'/', None, 1 << 18 | 1 << 14, None)\n"
        f"assert not libc.mount({os.fsencode(tree)!r}, b'/mnt', None, 1 << 12, None)\n"
        "time.sleep(0.5)\nos.mkdir('/mnt/l/x')\ntime.sleep(0.5)"
    )
    python = shutil.which("python3", path="/usr/bin")
    if python is None:
        pytest.skip("no system Python, which ordinary users can run for sure")
    words = ("--zone", "m=/mnt:rw", "--", "sudo", "-n", python, "-c", inside)
    done = somebody.run(
        "run", "--sudo", "--backend", "ebpf", "-o", "r.wa", "--json", "r.json", *words, sudo=True
    )
    report = json.loads((somebody.home / "r.json").read_bytes())
    assert any(event["path"].endswith("/d/x") for event in report["events"]), done.stderr
    assert report["completeness"]["blind_spots"] == [], done.stderr


@pytest.mark.requires_strace
def test_strace_run_recommends_sudo(somebody: Somebody) -> None:
    done = somebody.run("run", "-o", "r.wa", "--", "touch", "x", sudo=True)
    assert done.returncode == 0, done.stderr
    assert "by strace" in done.stderr
    assert "writeaudit run --sudo" in done.stderr


def test_through_sudo_writeaudit_is_the_caller_for_good(somebody: Somebody) -> None:
    look = "grep -E '^(Uid|Gid|CapPrm)' /proc/$PPID/status"
    done = somebody.run("run", "--backend", "ebpf", "-o", "r.wa", "--json", "r.json", "--", "sh", "-c", look)
    assert done.returncode == 0, done.stderr
    uids, gids, permitted = (line.split()[1:] for line in done.stdout.splitlines())
    assert uids == gids == [str(_UID)] * 4
    assert int(permitted[0], 16) == 0
    [note] = json.loads((somebody.home / "r.json").read_bytes())["run"]["notes"]
    assert "--sudo" in note
    assert "--sudo" in done.stderr


@pytest.mark.parametrize("link", [".local", ".local/state", ".local/state/writeaudit"])
def test_symlinks_of_the_user_lead_root_nowhere(somebody: Somebody, link: str) -> None:
    target = somebody.home / link
    target.parent.mkdir(parents=True, exist_ok=True)
    target.symlink_to(somebody.closed)
    for path in somebody.home.rglob("*"):
        os.chown(path, _UID, _UID, follow_symlinks=False)
    before = _snapshot(somebody.closed)
    somebody.run("run", "--", "true")
    assert _snapshot(somebody.closed) == before


def test_output_directory_that_the_command_replaces(somebody: Somebody) -> None:
    out = somebody.home / "out"
    out.mkdir(mode=0o777)
    out.chmod(0o777)
    swap = f"mv out away; ln -s {somebody.closed} out"
    words = ("--html", "out/r.html", "--json", "out/r.json", "--zone", f"h={somebody.home}:rw")
    before = _snapshot(somebody.closed)
    done = somebody.run("run", "-o", "r.wa", *words, "--", "sh", "-c", swap)
    assert done.returncode == 125
    assert "Permission denied" in done.stderr
    assert _snapshot(somebody.closed) == before


def test_race_for_a_directory_in_the_home(somebody: Somebody) -> None:
    """What used to win in a few tries: the directory is swapped for a symlink while writeaudit makes it."""
    swap = (
        f"import os, sys\nhome, closed = sys.argv[1:]\nos.setgid({_UID}); os.setuid({_UID})\n"
        "while True:\n"
        "    for step in (lambda: os.rename(home + '/.local', home + '/x%d' % os.getpid()),"
        " lambda: os.symlink(closed, home + '/.local'), lambda: os.unlink(home + '/.local')):\n"
        "        try: step()\n"
        "        except OSError: pass\n"
        "    os.system('rm -rf ' + home + '/x*')\n"
    )
    attacker = subprocess.Popen(["/usr/bin/env", "python3", "-c", swap, somebody.home, somebody.closed])
    before = _snapshot(somebody.closed)
    try:
        for _ in range(6):
            somebody.run("run", "-q", "--", "true")
    finally:
        attacker.kill()
        attacker.wait()
    assert _snapshot(somebody.closed) == before
