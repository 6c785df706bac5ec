"""Container engines for tests: state and mount namespaces of their own, and nothing left behind.

The image is made by hand: a handful of programs of this machine, with the libraries that they load.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

_PROGRAMS = "sh cat touch ls cp chmod chown grep mkdir stat rm mv sleep".split()  # noqa: SIM905
_CONTAINERS = """\
[containers]
default_ulimits = []
netns = "none"
log_driver = "k8s-file"
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "crun"
"""


def make_image(directory: Path, *, data: str = "/var/lib/app") -> Path:
    """Return an archive of a root file system with a shell, and with one file in a directory of data."""
    root = directory / "rootfs"
    for name in ("bin", "dev", "etc", "proc", "run", "sys", "tmp", data.lstrip("/")):
        (root / name).mkdir(parents=True)
    (root / data.lstrip("/") / "seed").write_text("from the image\n")
    (root / data.lstrip("/")).chmod(0o750)
    for name in _PROGRAMS:
        program = shutil.which(name)
        assert program is not None, name
        shutil.copy(os.path.realpath(program), root / "bin" / name)
        loaded = subprocess.run(["ldd", program], capture_output=True, text=True, check=False).stdout
        for library in re.findall(r"/[^ )]+", loaded):
            place = root / library.lstrip("/")
            place.parent.mkdir(parents=True, exist_ok=True)
            if not place.exists():
                shutil.copy(os.path.realpath(library), place)
    archive = directory / "image.tar"
    subprocess.run(["tar", "-C", root, "-cf", archive, "."], check=True)
    return archive


def in_namespace(script: str, *, timeout: float = 60) -> subprocess.CompletedProcess[str]:
    """Run a shell script in a mount namespace of its own."""
    return subprocess.run(
        ["unshare", "--mount", "--propagation", "private", "bash", "-c", script],
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout,
        stdin=subprocess.DEVNULL,
    )


class Podman:
    """podman with storage of its own. ``image`` is what `run` calls IMAGE."""

    image = "localhost/wa:test"

    def __init__(self, directory: Path, archive: Path) -> None:
        (directory / "containers.conf").write_text(_CONTAINERS)
        (directory / "storage.conf").write_text(
            f'[storage]\ndriver = "overlay"\ngraphroot = "{directory}/graph"\nrunroot = "{directory}/run"\n'
        )
        self._before = f"""
            export CONTAINERS_CONF={directory}/containers.conf
            export CONTAINERS_STORAGE_CONF={directory}/storage.conf
            export IMAGE={self.image}
            # crun refuses both hierarchies of control groups side by side.
            umount /sys/fs/cgroup/unified 2>/dev/null
            mount -t tmpfs tmpfs /run && mkdir /run/lock && mount -t tmpfs tmpfs /dev/shm || exit 70
            cd {directory}
        """
        done = self.run(f"podman import --quiet --change ENV=PATH=/bin {archive} wa:test")
        self.trouble = "" if done.returncode == 0 else done.stderr.strip()[-300:]
        if not self.trouble:
            done = self.run('podman run --rm "$IMAGE" cat /var/lib/app/seed')
            self.trouble = "" if done.returncode == 0 else done.stderr.strip()[-300:]

    def run(self, script: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        """Run a script in which podman works."""
        return in_namespace(self._before + script, timeout=timeout)

    def close(self) -> None:
        """Remove what it keeps outside of its directory."""
        self.run("podman pod rm --all --force; podman rm --all --force; podman volume rm --all --force")
        _remove_groups("libpod_parent")


class Docker:
    """A dockerd of its own."""

    image = "wa:test"

    def __init__(self, directory: Path, archive: Path) -> None:
        self._directory = directory
        self._socket = directory / "socket"
        script = f"""
            mount -t tmpfs tmpfs /run
            umount /sys/fs/cgroup/unified 2>/dev/null
            exec dockerd --bridge=none --iptables=false --ip6tables=false --storage-driver=overlay2 \\
                --data-root {directory}/data --exec-root {directory}/exec --pidfile {directory}/pid \\
                -H unix://{self._socket}
        """
        self._log = (directory / "log").open("w")
        self._daemon = subprocess.Popen(
            ["unshare", "--mount", "--propagation", "private", "bash", "-c", script],
            stdout=self._log,
            stderr=self._log,
            stdin=subprocess.DEVNULL,
        )
        self.trouble = self._wait()
        if not self.trouble:
            done = self.run(f"docker import --change 'ENV PATH=/bin' {archive} wa:test")
            self.trouble = "" if done.returncode == 0 else done.stderr.strip()[-300:]
        if not self.trouble:
            done = self.run('docker run --rm "$IMAGE" cat /var/lib/app/seed')
            self.trouble = "" if done.returncode == 0 else done.stderr.strip()[-300:]

    def _wait(self) -> str:
        for _attempt in range(200):
            if self._daemon.poll() is not None:
                break
            if self.run("docker version").returncode == 0:
                return ""
            time.sleep(0.1)
        return (self._directory / "log").read_text().strip()[-300:]

    def run(self, script: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        """Run a script in which docker is this daemon's, and has no network."""
        before = f"""
            export DOCKER_HOST=unix://{self._socket} IMAGE={self.image}
            docker() {{
                sub=$1; shift
                case $sub in run) set -- --network=none "$@" ;; esac
                command docker "$sub" "$@"
            }}
            cd {self._directory}
        """
        return subprocess.run(
            ["bash", "-c", before + script],
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout,
            stdin=subprocess.DEVNULL,
        )

    def close(self) -> None:
        """End the daemon, which ends its containers."""
        if self._daemon.poll() is None:
            self.run("docker ps -aq | xargs -r docker rm -f; docker volume prune -f")
            self._daemon.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._daemon.wait(20)
            self._daemon.kill()
            self._daemon.wait()
        self._log.close()
        _remove_groups("docker")


def _remove_groups(name: str) -> None:
    """Remove the control groups that an engine leaves behind, as far as they are empty."""
    for top in Path("/sys/fs/cgroup").glob(f"*/{name}"):
        for place in sorted([top, *(each for each in top.rglob("*") if each.is_dir())], reverse=True):
            with contextlib.suppress(OSError):
                place.rmdir()
