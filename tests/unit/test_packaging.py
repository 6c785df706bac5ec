"""The source distribution makes a wheel, and the wheel is all that a user needs."""

from __future__ import annotations

import email
import os
import platform
import re
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

import hatch_build
from writeaudit import __version__
from writeaudit.capture.kernel.compiler import OBJECTS, target_arch

ROOT = hatch_build.ROOT
KNOWN_PROCESSOR = target_arch() is not None


def _run(*command: str | Path, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # type: ignore[call-overload, no-any-return]
        [str(part) for part in command],
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        timeout=300,
        **options,
    )


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, made from the source distribution, so that this is complete too."""
    out = tmp_path_factory.mktemp("dist")
    # Without isolation: hatchling and a compiler are here, and nothing is downloaded.
    done = _run(sys.executable, "-m", "build", "--no-isolation", "--outdir", out, ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = out.glob("*.whl")
    return path


@dataclass(frozen=True)
class Installation:
    """An environment that holds the wheel and its dependencies."""

    prefix: Path
    home: Path

    def run(self, *args: str) -> subprocess.CompletedProcess[str]:
        """Run the installed command, far from the checkout and with no setting of the tester's."""
        environment = {
            "HOME": str(self.home),
            "PATH": os.environ.get("PATH", os.defpath),
            "LANG": "C.UTF-8",
        }
        return _run(self.prefix / "bin/writeaudit", *args, cwd=self.home, env=environment)


@pytest.fixture(scope="session")
def installation(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installation:
    prefix = tmp_path_factory.mktemp("installed") / "venv"
    made = _run(sys.executable, "-m", "venv", "--without-pip", prefix)
    assert made.returncode == 0, made.stderr
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", prefix / "bin/python")
    done = _run(*pip, "install", "--quiet", wheel)
    assert done.returncode == 0, done.stdout + done.stderr
    checked = _run(*pip, "check")
    assert checked.returncode == 0, checked.stdout
    return Installation(prefix, tmp_path_factory.mktemp("home"))


def test_tag_names_the_processor_and_no_python(wheel: Path) -> None:
    tag = f"py3-none-{hatch_build.WHEEL_PLATFORMS.format(platform.machine())}"
    assert wheel.name == f"writeaudit-{__version__}-{tag}.whl"


def test_wheel_holds_everything_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    expected = {
        f"writeaudit/_resources/{place}/{path.relative_to(ROOT / source).as_posix()}"
        for source, place in (
            ("probes", "probes"),
            ("reports/templates", "templates"),
            ("docs/rules", "rules"),
        )
        for path in (ROOT / source).rglob("*")
        if path.is_file()
    }
    assert len(expected) > 3
    assert names >= expected
    objects = OBJECTS if KNOWN_PROCESSOR else {}
    expected |= {f"writeaudit/_resources/{name}" for name in objects}
    assert {name for name in names if "/_resources/" in name} == expected
    tops = {name.split("/")[0] for name in names}
    assert tops == {"writeaudit", f"writeaudit-{__version__}.dist-info"}
    modules = {path.relative_to(ROOT).as_posix() for path in (ROOT / "writeaudit").rglob("*.py")}
    assert names >= modules


@pytest.mark.skipif(not KNOWN_PROCESSOR, reason="the probes do not know this processor")
@pytest.mark.parametrize("name", OBJECTS)
def test_object_can_be_loaded_by_libbpf(wheel: Path, tmp_path: Path, name: str) -> None:
    with zipfile.ZipFile(wheel) as archive:
        path = Path(archive.extract(f"writeaudit/_resources/{name}", tmp_path))
    with path.open("rb") as stream:
        elf = ELFFile(stream)
        assert elf.header.e_machine == "EM_BPF"
        assert {".BTF", ".BTF.ext", "license"} <= {section.name for section in elf.iter_sections()}


def test_dependencies(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        text = archive.read(f"writeaudit-{__version__}.dist-info/METADATA").decode()
    needed = email.message_from_string(text).get_all("Requires-Dist", [])
    names = {re.split(r"[^A-Za-z0-9._-]", line)[0].lower() for line in needed}
    assert "bcc" not in names, "the package of that name is an unrelated lattice library"
    at_run_time = {re.split(r"[^A-Za-z0-9._-]", line)[0] for line in needed if "extra ==" not in line}
    assert at_run_time == {"click", "jinja2", "pyelftools", "rich"}


def test_installed_version(installation: Installation) -> None:
    done = installation.run("--version")
    assert done.returncode == 0, done.stderr
    assert __version__ in done.stdout


def test_installed_doctor(installation: Installation) -> None:
    done = installation.run("doctor")
    assert done.returncode in {0, 125}, done.stderr
    assert "strace" in done.stdout
    assert "not found" not in done.stdout, "a resource of the wheel is missing"


def test_installed_explain(installation: Installation) -> None:
    done = installation.run("explain", "WA101")
    assert done.returncode == 0, done.stderr
    assert "WA101" in done.stdout


@pytest.mark.requires_root
@pytest.mark.requires_ebpf
def test_installed_run(installation: Installation, tmp_path: Path) -> None:
    report = tmp_path / "report.html"
    done = installation.run("run", "--backend", "ebpf", "--html", str(report), "--", "true")
    assert done.returncode == 0, done.stderr
    assert report.read_text().startswith("<!")


@pytest.mark.requires_strace
def test_installed_run_under_strace(installation: Installation, tmp_path: Path) -> None:
    report = tmp_path / "report.html"
    done = installation.run("run", "--backend", "strace", "--html", str(report), "--", "true")
    assert done.returncode == 0, done.stderr
    assert report.read_text().startswith("<!")
