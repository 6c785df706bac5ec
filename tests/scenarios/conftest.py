"""Real installers, real mounts: what a scenario needs.

A project of eight pinned packages is locked at run time (so that no lock file names
anybody's index) and a cache warmed once a session; the scenarios themselves are offline.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import pytest

from tests.conftest import Cli, _path, _uv_settings
from writeaudit.capture.interface import Backend

PACKAGES = (
    "certifi==2025.1.31",
    "click==8.1.8",
    "idna==3.10",
    "jinja2==3.1.6",
    "markupsafe==3.0.2",  # compiled
    "msgpack==1.1.0",  # compiled
    "packaging==24.2",
    "six==1.17.0",
)
_PROJECT = f"""\
[project]
name = "scenario"
version = "0"
requires-python = ">=3.11"
dependencies = {json.dumps(PACKAGES)}

[tool.uv]
package = false
environments = ["sys_platform == 'linux'"]
"""


@dataclass(frozen=True)
class Audited:
    """What `writeaudit run` came to."""

    status: int
    stdout: str
    stderr: str
    report: dict[str, Any]
    recording: Path

    def findings(self, rule: str) -> list[dict[str, Any]]:
        """Return the findings of one rule."""
        return [finding for finding in self.report["findings"] if finding["rule"] == rule]

    def the(self, rule: str) -> dict[str, Any]:
        """Return the only finding of a rule."""
        found = self.findings(rule)
        assert len(found) == 1, f"{rule}: {found}\n{self.stderr}"
        return found[0]

    @property
    def rules(self) -> set[str]:
        """Every rule that was found."""
        return {finding["rule"] for finding in self.report["findings"]}

    def events(self, op: str, **wanted: object) -> list[dict[str, Any]]:
        """Return the events of one op whose fields have these values."""
        return [
            event
            for event in self.report["events"]
            if event["op"] == op and all(event.get(key) == value for key, value in wanted.items())
        ]


class Audit(Protocol):
    """Runs a command under one backend and reads its JSON report."""

    def __call__(
        self, command: Sequence[str | Path], *options: str | Path, cwd: Path | None = None
    ) -> Audited: ...


@pytest.fixture
def audit(cli: Cli, backend: Backend, tmp_path: Path) -> Audit:
    """`writeaudit run` under each backend in turn."""
    return auditor(cli, backend.name, tmp_path)


def auditor(cli: Cli, backend: str, tmp_path: Path) -> Audit:
    """Return an `Audit` for one backend; its files go to a new directory below ``tmp_path``."""

    def run(command: Sequence[str | Path], *options: str | Path, cwd: Path | None = None) -> Audited:
        # As another user everything is written as that user, who cannot reach pytest's own directories.
        outputs = (cwd if cwd is not None and "--user" in options else tmp_path) / "audit"
        outputs.mkdir(exist_ok=True)
        outputs.chmod(0o777)
        number = len(list(outputs.glob("*.json")))
        report, recording = outputs / f"{number}.json", outputs / f"{number}.wa"
        report.unlink(missing_ok=True)
        done = cli(
            *("run", "--backend", backend, "-o", recording, "--json", report),
            *(*options, "--", *command),
            cwd=cwd,
        )
        assert report.exists(), f"status {done.returncode}\n{done.stderr}"
        return Audited(done.returncode, done.stdout, done.stderr, json.loads(report.read_bytes()), recording)

    return run


@dataclass
class Mounts:
    """Mounts that go with the test."""

    points: list[Path] = field(default_factory=list)

    def mount(self, *arguments: str | Path) -> Path:
        """Call mount(8); the last argument is the mount point, which is made."""
        point = Path(arguments[-1])
        point.mkdir(parents=True, exist_ok=True)
        subprocess.run(["mount", *map(str, arguments)], check=True)
        self.points.append(point)
        return point

    def tmpfs(self, point: Path, size: str = "128m") -> Path:
        """Mount a tmpfs."""
        return self.mount("-t", "tmpfs", "-o", f"size={size}", "none", point)

    def bind(self, source: Path, point: Path, *, read_only: bool = False) -> Path:
        """Mount a directory a second time."""
        self.mount("--bind", source, point)
        if read_only:
            subprocess.run(["mount", "-o", "remount,bind,ro", str(point)], check=True)
        return point


@pytest.fixture
def mounts() -> Iterator[Mounts]:
    """Makes mounts and takes them away again. For tests that are marked ``requires_root``."""
    made = Mounts()
    yield made
    for point in reversed(made.points):
        subprocess.run(["umount", "-l", str(point)], check=False)


@dataclass(frozen=True)
class Warm:
    """A locked project and a cache that holds all of it."""

    project: Path
    cache: Path
    truth: dict[str, int]
    """The files that uv links where it can, by name below site-packages, with their sizes."""

    @property
    def bytes(self) -> int:
        """Of all those files."""
        return sum(self.truth.values())


def uv_environment(cache: Path) -> dict[str, str]:
    """Return the environment of a uv that nothing of the user's leads elsewhere."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("UV_")}
    env.pop("VIRTUAL_ENV", None)
    env |= dict(_uv_settings())
    return env | {
        "PATH": _path(),
        "UV_CACHE_DIR": str(cache),
        "UV_PYTHON": sys.executable,
        "UV_PYTHON_DOWNLOADS": "never",
    }


def site_packages(venv: Path) -> Path:
    """Return where an environment's packages lie."""
    [found] = venv.glob("lib/python3*/site-packages")
    return found


def linked_files(venv: Path) -> dict[str, int]:
    """Return the files of an environment that have a second name, with their sizes."""
    root = site_packages(venv)
    return {
        path.relative_to(root).as_posix(): status.st_size
        for path in root.rglob("*")
        if not path.is_symlink() and path.is_file() and (status := path.stat()).st_nlink > 1
    }


def warm_up(uv: str, base: Path) -> Warm:
    """Lock the project with a uv, fill a cache, and learn from the disk what it links."""
    project, cache = base / "project", base / "cache"
    project.mkdir(parents=True)
    (project / "pyproject.toml").write_text(_PROJECT)
    env = uv_environment(cache) | {"UV_LINK_MODE": "hardlink"}
    for arguments in (("lock",), ("sync", "--frozen")):
        done = subprocess.run(
            [uv, "--quiet", *arguments], cwd=project, env=env, capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            pytest.skip(f"uv cannot fill a cache here: {done.stderr.strip()}")
    truth = linked_files(project / ".venv")
    shutil.rmtree(project / ".venv")
    assert len(truth) > 50, "cache and environment are on one mount, and still nothing was linked"
    return Warm(project, cache, truth)


@pytest.fixture(scope="session")
def warmed(tmp_path_factory: pytest.TempPathFactory) -> Warm:
    """The project and the cache of the session; scenarios work on copies."""
    uv = shutil.which("uv", path=_path())
    if uv is None:
        pytest.skip("uv is not installed")
    return warm_up(uv, tmp_path_factory.mktemp("uv"))


@pytest.fixture
def project(warmed: Warm, tmp_path: Path) -> Path:
    """A copy of the locked project, without environment."""
    return Path(shutil.copytree(warmed.project, tmp_path / "project"))


@pytest.fixture
def cache(warmed: Warm, tmp_path: Path) -> Path:
    """A copy of the warmed cache, on the disk of ``tmp_path``."""
    return copy_cache(warmed.cache, tmp_path / "cache")


def copy_cache(source: Path, target: Path) -> Path:
    """Copy a cache, its symlinks included."""
    return Path(shutil.copytree(source, target, symlinks=True, dirs_exist_ok=True))


SetEnvironment = Callable[[Path], None]


@pytest.fixture
def offline_uv(clean_environment: None, monkeypatch: pytest.MonkeyPatch) -> SetEnvironment:
    """Call it with a cache: from there on uv uses that cache, and no network."""

    def use(cache: Path) -> None:
        for name, value in uv_environment(cache).items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("UV_OFFLINE", "1")

    return use
