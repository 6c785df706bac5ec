"""What the measurements work on: compiled programs, an environment of small files, directories."""

from __future__ import annotations

import compileall
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from bench.measure import CannotRun

ROOT = Path(__file__).resolve().parent.parent
PROGRAMS = Path(__file__).resolve().parent / "programs"
_MEMORY = Path("/dev/shm")

_FILE_SIZES = (0, 180, 700, 1500, 3200, 6400, 12800)
"""Bytes, taken in turn: most modules are small."""
_PACKAGES = 20


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is done. The short form shows that the bench works; its figures say nothing."""

    rounds: int
    """Of short commands."""
    long_rounds: int
    """Of those that take a minute."""
    sync_files: int
    flood_files: int
    """In each of four processes."""
    spin_calls: int
    summary_events: int
    small_recording: int
    large_recording: int
    image_bytes: int
    """Of the files of a container image, before compression."""


FULL = Scale(9, 3, 10_240, 250_000, 2_000_000, 20_000, 10_000, 1_000_000, 180_000_000)
SHORT = Scale(2, 1, 100, 500, 20_000, 500, 200, 2_000, 2_000_000)


@dataclass(frozen=True, slots=True)
class BenchDirectory:
    """The directories of one bench run."""

    disk: Path
    memory: Path
    """On a tmpfs."""
    scale: Scale

    def directory(self, where: str) -> Path:
        """Return ``disk`` or ``memory``."""
        return self.memory if where == "tmpfs" else self.disk

    def program(self, name: str) -> str:
        """Return a program of `bench/programs`, compiled. Raises `CannotRun`."""
        target = self.disk / name
        if not target.exists():
            compiler = shutil.which("gcc") or shutil.which("cc")
            if compiler is None:
                raise CannotRun("there is no C compiler")
            subprocess.run([compiler, "-O2", "-o", target, PROGRAMS / f"{name}.c"], check=True)
        return str(target)

    def recording(self, name: str) -> str:
        """Return where a recording goes: to the disk, as the recordings of users do."""
        return str(self.disk / f"{name}.wa")


@contextmanager
def place(base: Path, scale: Scale) -> Iterator[BenchDirectory]:
    """Make the directories, and remove them at the end."""
    # As an installer leaves it: a checkout may never have been allowed to keep its byte code.
    compileall.compile_dir(ROOT / "writeaudit", quiet=1)
    base.mkdir(parents=True, exist_ok=True)
    if not os.access(_MEMORY, os.W_OK) or file_system(_MEMORY) != "tmpfs":
        raise CannotRun("/dev/shm is no tmpfs that can be written to")
    disk = Path(tempfile.mkdtemp(prefix="bench-", dir=base))
    memory = Path(tempfile.mkdtemp(prefix="writeaudit-bench-", dir=_MEMORY))
    try:
        yield BenchDirectory(disk, memory, scale)
    finally:
        shutil.rmtree(disk, ignore_errors=True)
        shutil.rmtree(memory, ignore_errors=True)


def environment() -> dict[str, str]:
    """Return the environment of everything that is measured: none of the user's settings of uv."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("UV_", "HYPERFINE"))}
    for name in ("VIRTUAL_ENV", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE", "COLUMNS"):
        env.pop(name, None)
    scripts = sysconfig.get_path("scripts")
    env["PATH"] = os.pathsep.join([scripts, env.get("PATH", os.defpath), "/usr/sbin", "/sbin"])
    return env


def writeaudit(*arguments: str) -> tuple[str, ...]:
    """Return the command line of the installed writeaudit of this interpreter."""
    script = Path(sysconfig.get_path("scripts"), "writeaudit")
    if script.exists():
        return (str(script), *arguments)
    start = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from writeaudit.cli import main; main()"
    return (sys.executable, "-c", start, *arguments)


def run_under(backend: str, recording: str, *command: str, quiet: bool = True) -> tuple[str, ...]:
    """Return the command line that audits a command under a backend."""
    options = ["--backend", backend, "-o", recording]
    if quiet:
        options.append("-q")
    return writeaudit("run", *options, "--", *command)


@dataclass(frozen=True, slots=True)
class Project:
    """A project whose environment `uv sync` makes from a warm cache."""

    path: Path
    env: Mapping[str, str]
    files: int

    @property
    def venv(self) -> str:
        """Where the environment is made."""
        return str(self.path / ".venv")


def project(directory: Path, link_mode: str, env: Mapping[str, str], files: int) -> Project:
    """Make a project with ``files`` small files in its dependencies, and warm its cache up.

    The wheels are made here, so that no network takes part. Raises `CannotRun`.
    """
    home = directory / "project"
    settings = {
        **env,
        "UV_CACHE_DIR": str(directory / "cache"),
        "UV_LINK_MODE": link_mode,
        "UV_OFFLINE": "1",
        "UV_NO_CONFIG": "0",
        "UV_PYTHON": sys.executable,
        "UV_PYTHON_DOWNLOADS": "never",
    }
    if not home.exists():
        wheels = directory / "wheels"
        wheels.mkdir(parents=True)
        for number in range(_PACKAGES):
            _wheel(wheels, f"bench{number:02}", files // _PACKAGES)
        home.mkdir()
        wanted = ", ".join(f'"bench{number:02}"' for number in range(_PACKAGES))
        home.joinpath("pyproject.toml").write_text(
            '[project]\nname = "bench"\nversion = "1"\nrequires-python = ">=3.11"\n'
            f"dependencies = [{wanted}]\n\n"
            f'[tool.uv]\nno-index = true\nfind-links = ["{wheels}"]\n'
        )
    for words in (("uv", "lock"), ("uv", "sync", "--frozen")):
        done = subprocess.run(words, env=settings, cwd=home, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise CannotRun(f"{' '.join(words)}: {done.stderr.strip()}")
    made = sum(len(names) for _folder, _subfolders, names in os.walk(home / ".venv"))
    return Project(home, settings, made)


def _wheel(folder: Path, name: str, files: int) -> None:
    info = f"{name}-1.dist-info"
    members = {
        f"{name}/part{number // 40:03}/module{number:04}.py": b"# text\n" * (size // 7)
        for number in range(files)
        for size in (_FILE_SIZES[number % len(_FILE_SIZES)],)
    }
    members[f"{info}/METADATA"] = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n".encode()
    members[f"{info}/WHEEL"] = b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    members[f"{info}/RECORD"] = "".join(f"{member},,\n" for member in (*members, f"{info}/RECORD")).encode()
    with zipfile.ZipFile(folder / f"{name}-1-py3-none-any.whl", "w", zipfile.ZIP_DEFLATED) as archive:
        for member, content in members.items():
            archive.writestr(member, content)


def container_image(directory: Path, size: int) -> Path:
    """Write what `docker save` would: one layer, gzip, with programs, libraries and texts of this machine."""
    layer, config = directory / "layer.tar.gz", directory / "config.json"
    left = size
    with tarfile.open(layer, "w:gz", compresslevel=6) as archive:
        for root, names, files in os.walk("/usr/lib"):
            names.sort()
            for path in (Path(root, name) for name in sorted(files)):
                if path.is_file() and not path.is_symlink() and path.stat().st_size < size // 40 and left > 0:
                    archive.add(path)
                    left -= path.stat().st_size
    config.write_text('{"os": "linux", "architecture": "amd64", "config": {"User": "1000"}}')
    listed = [{"Config": config.name, "RepoTags": ["bench:latest"], "Layers": [layer.name]}]
    (directory / "manifest.json").write_text(json.dumps(listed))
    target = directory / "image.tar"
    with tarfile.open(target, "w") as archive:
        for path in (layer, config, directory / "manifest.json"):
            archive.add(path, path.name)
    return target


def fresh(directory: Path) -> Path:
    """Return an empty directory of that name."""
    with suppress(FileNotFoundError):
        shutil.rmtree(directory)
    directory.mkdir(parents=True)
    return directory


def file_system(path: Path) -> str:
    """Return the type of the file system that holds a path, such as ``ext4``."""
    best, found = b"", "unknown"
    device = os.stat(path).st_dev
    target = os.fsencode(path.resolve())
    for line in Path("/proc/self/mountinfo").read_bytes().splitlines():
        before, _dash, after = line.partition(b" - ")
        fields = before.split()
        major, minor = (int(part) for part in fields[2].split(b":"))
        if (
            os.makedev(major, minor) == device
            and target.startswith(fields[4])
            and len(fields[4]) >= len(best)
        ):
            best, found = fields[4], after.split()[0].decode()
    return found
