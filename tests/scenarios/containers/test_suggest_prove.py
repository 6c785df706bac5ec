"""`suggest --prove` with real programs, as root and as somebody else, and what is left behind: nothing."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import ROOT, Cli

pytestmark = pytest.mark.requires_program("unshare")

_START = f"import sys; sys.path.insert(0, '{ROOT}'); from writeaudit.cli import main; main()"
_PACKAGES = ("nginx", "nginx-common", "redis-server", "redis-tools", "libjemalloc2", "liblzf1")
_REDIS = """\
#!/bin/sh
redis-server /etc/redis/redis.conf --daemonize no --logfile '' --port 6399 &
server=$!
until redis-cli -p 6399 ping 2>/dev/null | grep -q PONG; do
    kill -0 $server || exit 1
    sleep 0.1
done
redis-cli -p 6399 set key value
redis-cli -p 6399 save | grep -q OK || { kill -9 $server; exit 1; }
redis-cli -p 6399 shutdown
wait $server
"""


def _needs(document: str) -> dict[str, str]:
    found = json.loads(document)
    assert found["proof"]["proven"], found["proof"]
    return {place["path"]: place["need"] for place in found["writable"] if place["need"] != "optional"}


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """nginx and redis of the distribution, unpacked and not installed."""
    place = tmp_path_factory.mktemp("services")
    (place / "packages").mkdir()
    for program in ("apt-get", "dpkg-deb"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not here")
    words = ["apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", *_PACKAGES]
    done = subprocess.run(words, cwd=place / "packages", capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"the packages cannot be had: {done.stderr.strip()[-200:]}")
    for package in (place / "packages").iterdir():
        subprocess.run(["dpkg-deb", "-x", package, place / "root"], check=True)
    root = place / "root"
    if (root / "lib").is_dir():  # /lib is a symlink
        shutil.copytree(root / "lib", root / "usr/lib", dirs_exist_ok=True)
        shutil.rmtree(root / "lib")
    (root / "etc/nginx/sites-enabled/default").symlink_to("/etc/nginx/sites-available/default")
    for name in ("lib/redis", "log/redis"):  # what the package makes when it is configured
        (root / "var" / name).mkdir(parents=True, exist_ok=True)
    script = root / "usr/local/bin/redis-once"
    script.parent.mkdir(parents=True, exist_ok=True)
    script.write_text(_REDIS)
    script.chmod(0o755)
    return root


def _in_services(root: Path, work: Path, script: str) -> subprocess.CompletedProcess[str]:
    """Run a script where the packages are installed: on an overlay, without a network."""
    before = f"""
        set -e
        mkdir -p {work}/layers {work}/result
        mount -t tmpfs tmpfs {work}/layers
        cd {work}/layers
        mkdir upper work merged
        cp -a {root} packages
        mount -t overlay overlay -o lowerdir=packages:/,upperdir=upper,workdir=work merged
        cd merged
        mount --bind {work}/result mnt
        for place in dev proc sys tmp; do mount --rbind /$place $place; done
        for place in {ROOT} {sys.prefix} {sys.base_prefix}; do
            [ -d .$place ] || {{ mkdir -p .$place; mount --bind $place .$place; }}
        done
        mkdir -p srv/old
        pivot_root . srv/old
        umount -l /srv/old
        cd /
        ip link set lo up
        writeaudit() {{ {sys.executable} -P -c "{_START}" "$@"; }}
        set +e
    """
    return subprocess.run(
        ["unshare", "--mount", "--net", "--propagation", "private", "bash", "-c", before + script],
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
        stdin=subprocess.DEVNULL,
    )


@pytest.mark.requires_root
@pytest.mark.requires_ebpf
@pytest.mark.requires_program("ip")
def test_nginx_needs_its_pid_file_its_logs_and_its_state(services: Path, tmp_path: Path) -> None:
    script = """
        writeaudit run -q -o /mnt/r.wa -- timeout -s QUIT 1 nginx -g 'daemon off;' >&2
        writeaudit suggest /mnt/r.wa --prove --json
    """
    done = _in_services(services, tmp_path, script)
    assert done.stdout, done.stderr
    assert _needs(done.stdout) == {"/run": "needed", "/var/lib/nginx": "needed", "/var/log/nginx": "needed"}


@pytest.mark.requires_root
@pytest.mark.requires_ebpf
@pytest.mark.requires_program("ip")
def test_redis_needs_its_data_and_they_are_kept(services: Path, tmp_path: Path) -> None:
    script = """
        writeaudit run -q -o /mnt/r.wa -- redis-once >&2 || exit
        writeaudit suggest /mnt/r.wa --prove --json
    """
    done = _in_services(services, tmp_path, script)
    assert done.stdout, done.stderr
    assert _needs(done.stdout) == {"/var/lib/redis": "needed"}, done.stdout + done.stderr
    (place,) = json.loads(done.stdout)["writable"]
    assert place["kind"] == "volume"
    assert "dump.rdb" in place["note"]


def test_a_rerun_changes_nothing_on_this_machine(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "old").write_text("old\n")
    script = "set -e; test ! -e sub || exit 7; echo more >>old; echo x >new; mkdir sub; mv new sub; cat old"
    run = cli("run", "-q", "-o", tmp_path / "r.wa", "--", "sh", "-c", script, cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    done = cli("suggest", tmp_path / "r.wa", "--prove", "--json", cwd=tmp_path)
    if "no mount namespace" in done.stderr:
        pytest.skip(done.stderr)
    # What the recorded run had made is not there for a rerun, or it would have ended with 7.
    assert _needs(done.stdout) == {str(tmp_path): "needed"}, done.stderr
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before
    assert (tmp_path / "old").read_text() == "old\nmore\n"


def test_a_proof_that_fails_says_how(cli: Cli, tmp_path: Path) -> None:
    script = "echo words of its own >&2; touch here; test ! -e /dev/shm/.writeaudit-*"
    run = cli("run", "-q", "-o", tmp_path / "r.wa", "--", "sh", "-c", script, cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    done = cli("suggest", tmp_path / "r.wa", "--for", "docker", "--prove", cwd=tmp_path)
    if "no mount namespace" in done.stderr:
        pytest.skip(done.stderr)
    assert done.returncode == 101
    assert f"not proven. With {tmp_path} writable, the command ended with status 1, not with 0" in done.stderr
    assert "words of its own" in done.stderr
    assert "# NOT PROVEN." in done.stdout


@pytest.mark.requires_root
def test_the_rerun_has_the_rights_of_the_user_concerned(cli: Cli, tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    for place in (work, *work.parents):
        if place == Path("/tmp"):
            break
        place.chmod(0o755)
    os.chown(work, 12345, 12345)
    script = "id -u >who; touch /etc/not-allowed 2>/dev/null; test $(id -u) = 12345"
    options = ("--user", "12345", "-o", work / "r.wa")
    run = cli("run", "-q", *options, "--", "sh", "-c", script, cwd=work)
    assert run.returncode == 0, run.stderr
    done = cli("suggest", work / "r.wa", "--prove", "--json", cwd=work)
    assert json.loads(done.stdout)["proof"]["proven"], done.stdout
    refused = json.loads(done.stdout)["proof"]["reruns"][0]["refusals"]
    assert [each["path"] for each in refused] == ["/etc/not-allowed"]


@pytest.mark.requires_root
def test_root_who_reruns_for_another_user_lends_no_rights(cli: Cli, tmp_path: Path) -> None:
    """A set-user-ID program must not find a /etc that its caller has changed."""
    work = tmp_path / "work"
    work.mkdir()
    for place in (work, *work.parents):
        if place == Path("/tmp"):
            break
        place.chmod(0o755)
    os.chown(work, 12345, 12345)
    shutil.copy("/usr/bin/id", work / "special")
    (work / "special").chmod(0o4755)
    # Refused in the recorded run, so that /etc is to belong to the user in a rerun.
    script = "touch /etc/not-allowed || exit 3; test $(./special -u) = 12345 || exit 4; exit 5"
    run = cli("run", "-q", "--user", "12345", "-o", work / "r.wa", "--", "sh", "-c", script, cwd=work)
    assert run.returncode == 3, run.stderr
    done = cli("suggest", work / "r.wa", "--prove", "--json", cwd=work)
    assert done.returncode == 101, done.stderr
    assert 4 not in [rerun["status"] for rerun in json.loads(done.stdout)["proof"]["reruns"]], done.stdout


def test_kill_9_leaves_nothing_behind(cli: Cli, tmp_path: Path) -> None:
    word = f"writeaudit-test-{os.getpid()}"
    # The recorded run ends at once; a rerun finds its root read-only, and waits.
    script = f"touch here /usr/{word} || exec sleep 86399; rm /usr/{word}" if os.geteuid() == 0 else "exit 0"
    if os.geteuid() != 0:
        pytest.skip("needs a place that only the recorded run can write")
    run = cli("run", "-q", "-o", tmp_path / "r.wa", "--", "sh", "-c", script, cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    words = [sys.executable, "-c", _START, "suggest", str(tmp_path / "r.wa"), "--prove", "--for", "bwrap"]
    running = subprocess.Popen(
        words, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL
    )
    try:
        assert _appears(tmp_path, wanted=True), "no rerun was seen to wait"
    finally:
        running.send_signal(signal.SIGKILL)
        running.wait()
    assert _appears(tmp_path, wanted=False)
    assert not list(Path("/dev/shm").glob(".writeaudit-*"))
    assert str(tmp_path) not in Path("/proc/self/mountinfo").read_text()


def _appears(cwd: Path, *, wanted: bool) -> bool:
    """Wait until a process sleeps in a directory, or until none does any more."""
    for _attempt in range(300):
        found = False
        for place in Path("/proc").glob("[0-9]*"):
            try:
                command = (place / "cmdline").read_bytes()
                found |= command.startswith(b"sleep\x0086399") and os.readlink(place / "cwd") == str(cwd)
            except OSError:
                continue
        if found is wanted:
            return True
        time.sleep(0.1)
    return False
