"""Containers and sandboxes by real runtimes: whose file it is, what it is called there, and who made it.

The container's root is made by hand: busybox and a few directories.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="containers are made by root here")

_PRIVATE = ("unshare", "--mount", "sh", "-c", 'umount /sys/fs/cgroup/unified 2>/dev/null; exec "$@"', "sh")
"""crun refuses a hybrid hierarchy of cgroups."""
_SCRIPT = (
    "echo x >/etc/new; echo x >/tmp/f; mv /tmp/f /tmp/g; mkdir /tmp/d; rm /tmp/g; echo x >/shared/through; "
    "ln /shared/through /shared/again"
)
_CHANGES = {"/etc/new", "/tmp/f", "/tmp/g", "/tmp/d", "/shared/through", "/shared/again"}


def _needs(*programs: str) -> None:
    for program in programs:
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")


def _audit(base: Path, command: Sequence[str | Path], *options: str | Path) -> dict[str, Any]:
    report = base / "report.json"
    words = (sys.executable, "-m", "writeaudit", "run", "--backend", "ebpf", "-o", base / "run.wa")
    done = subprocess.run(
        [*map(str, (*_PRIVATE, *words, "--json", report, *options, "--", *command))],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        cwd=base,
    )
    if not report.exists():
        pytest.skip(f"no audit: {done.stderr[-500:]}")
    found: dict[str, Any] = json.loads(report.read_bytes())
    if found["run"]["exit_status"] != 0:
        pytest.skip(f"the runtime cannot start here: {done.stderr[:500]}")
    return found


def _bundle(base: Path, script: str = _SCRIPT) -> Path:
    """Make a bundle for crun or runc, whose /tmp is a tmpfs and whose /shared is the host's."""
    _needs("busybox")
    root = base / "bundle" / "root"
    for name in ("bin", "proc", "dev", "etc", "tmp", "shared"):
        (root / name).mkdir(parents=True)
    (base / "shared").mkdir()
    shutil.copy(str(shutil.which("busybox")), root / "bin" / "busybox")
    for name in ("sh", "mv", "rm", "mkdir", "ln"):
        (root / "bin" / name).symlink_to("busybox")
    shared = {"destination": "/shared", "type": "bind", "source": str(base / "shared"), "options": ["bind"]}
    config = {
        "ociVersion": "1.0.0",
        "process": {
            "user": {"uid": 0, "gid": 0}, "args": ["sh", "-ec", script], "env": ["PATH=/bin"], "cwd": "/",
        },
        "root": {"path": "root"},
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs"},
            shared,
        ],
        "linux": {"namespaces": [{"type": kind} for kind in ("pid", "mount")]},
    }  # fmt: skip
    (base / "bundle" / "config.json").write_text(json.dumps(config))
    return base / "bundle"


def _in_frame(report: dict[str, Any], number: int) -> list[dict[str, Any]]:
    """Return the changes that the contained program made."""
    return [
        event
        for event in report["events"]
        if event.get("frame") == number and "setup" not in event and event["verdict"] != "read"
        and event["result"] == "ok"
    ]  # fmt: skip


def _sequence(runtime: str, base: Path, name: str) -> list[str]:
    """Return what creates a container, starts it, and waits for its end."""
    call = f"{runtime} --root {base}/state"
    script = (
        f"{call} create --bundle {base}/bundle {name}; sleep 0.3; {call} start {name}; "
        f"until {call} state {name} | grep -q stopped; do sleep 0.05; done; {call} delete {name}"
    )
    return ["sh", "-ec", script]


@pytest.mark.parametrize("runtime", ["crun", "runc"])
def test_created_then_started(runtime: str, tmp_path: Path) -> None:
    _needs(runtime, "unshare")
    _bundle(tmp_path)
    report = _audit(tmp_path, _sequence(runtime, tmp_path, "web"))
    (frame,) = [frame for frame in report["frames"] if frame["kind"] == "container"]
    assert frame["name"] == "web"
    assert frame["root"] == f"{tmp_path}/bundle/root"
    assert frame["setup"]["mount"] >= 3
    assert frame["setup"]["pivot_root"] == 1
    events = _in_frame(report, frame["id"])
    assert {event["inner_path"] for event in events} == _CHANGES
    # The container waits until its mounts have been read: nothing that its program did is uncertain.
    assert {event["certainty"] for event in events} <= {"kernel", "resolved"}
    for event in events:
        inner = event["inner_path"]
        if inner.startswith("/tmp/"):
            assert (event["path"], event["zone"], event["verdict"]) == (inner, "in container web", "allowed")
        elif inner.startswith("/shared/"):
            assert event["path"] == f"{tmp_path}{inner}"
            assert event["zone"] != "in container web"
        else:
            assert event["path"] == f"{tmp_path}/bundle/root{inner}"


def test_what_the_runtime_does_on_the_host_is_set_up(tmp_path: Path) -> None:
    _needs("runc", "unshare")
    _bundle(tmp_path)
    report = _audit(tmp_path, _sequence("runc", tmp_path, "web"))
    state = [event for event in report["events"] if event["path"].startswith(f"{tmp_path}/state/")]
    assert state
    assert all(event.get("setup") for event in state)
    assert report["frames"][0]["kind"] == "host"
    assert sum(report["frames"][0]["setup"].values()) >= len(state)


def test_bubblewrap(tmp_path: Path) -> None:
    """A private tmpfs at /etc is no place of the host's, and /tmp/f in it is not /tmp/f."""
    _needs("bwrap")
    (tmp_path / "shared").mkdir()
    script = "sleep 0.3; echo x >/etc/new; echo x >/tmp/f; rm /tmp/f; echo x >/shared/through"
    sandbox = (
        *("bwrap", "--ro-bind", "/usr", "/usr", "--symlink", "usr/bin", "/bin"),
        *("--symlink", "usr/lib", "/lib", "--symlink", "usr/lib64", "/lib64"),
        *("--tmpfs", "/etc", "--tmpfs", "/tmp"),
        *("--bind", tmp_path / "shared", "/shared", "sh", "-ec", script),
    )  # fmt: skip
    policy = tmp_path / "policy.toml"
    policy.write_text(
        '[zones.etc]\naccess = "ro"\npath = "/etc"\n[zones.tmp]\naccess = "rw"\npath = "/tmp"\n'
        '[zones.shared]\naccess = "rw"\npath = "/nowhere"\n'
        '[container.zones.etc]\naccess = "ro"\npath = "/etc"\n'
    )
    report = _audit(tmp_path, sandbox, "--policy", policy)
    (frame,) = report["frames"][1:]
    assert (frame["kind"], frame["name"]) == ("sandbox", "bwrap")
    by_path: dict[str, set[tuple[str, str]]] = {}
    for event in _in_frame(report, frame["id"]):
        by_path.setdefault(event["inner_path"], set()).add((event["zone"], event["verdict"]))
    assert by_path == {
        "/etc/new": {("container:etc", "violation")},
        "/tmp/f": {("in sandbox bwrap", "allowed")},
        "/shared/through": {("tmp", "allowed") if str(tmp_path).startswith("/tmp/") else (None, "violation")},
    }
    assert not [event for event in report["events"] if event["path"] == "/tmp/f" and event["zone"] == "tmp"]
