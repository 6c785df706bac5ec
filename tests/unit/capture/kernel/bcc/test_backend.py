from __future__ import annotations

import importlib.util
import json
import os
import shutil
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

from tests.conftest import Cli
from writeaudit import resources
from writeaudit.audit import BackendInfo
from writeaudit.capture import select
from writeaudit.capture.interface import Backend, CaptureLimits, CaptureOutcome, Command
from writeaudit.capture.kernel.bcc import backend as bcc
from writeaudit.capture.kernel.side import CONFIG, FILE
from writeaudit.capture.syscalls import SPECS
from writeaudit.errors import BackendUnavailable, UsageError


def _python_home(directory: Path, *files: str) -> Path:
    package = directory / "bcc"
    package.mkdir(parents=True)
    for name in files:
        (package / name).touch()
    return directory


def _spec(home: Path) -> ModuleSpec:
    spec = ModuleSpec("bcc", None, is_package=True)
    spec.submodule_search_locations = [str(home / "bcc")]
    return spec


def test_the_systems_bcc_is_found_beside_another_python(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = _python_home(tmp_path / "usr", "__init__.py", "libbcc.py")
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    monkeypatch.setattr(bcc, "_HOMES", (str(home),))
    assert bcc.bcc_home() == home


def test_a_python_that_has_bcc_needs_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = _python_home(tmp_path / "own", "__init__.py", "libbcc.py")
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: _spec(home))
    assert bcc.bcc_home() is None


def test_another_package_of_that_name_does_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lattice = _python_home(tmp_path / "site", "__init__.py")
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: _spec(lattice))
    monkeypatch.setattr(bcc, "_HOMES", (str(lattice), str(tmp_path / "nowhere")))
    with pytest.raises(BackendUnavailable, match="not installed") as caught:
        bcc.bcc_home()
    assert "apt-get install python3-bpfcc" in (caught.value.hint or "")
    assert "dnf install python3-bcc" in (caught.value.hint or "")


def test_what_the_compiler_prints_is_kept_and_nothing_else(capfd: pytest.CaptureFixture[str]) -> None:
    with bcc._captured_output() as printed:
        os.write(2, b"send.h:3: error: no\n")
        os.write(1, b"out\n")
    os.write(2, b"after\n")
    assert printed() == "send.h:3: error: no\nout\n"
    assert capfd.readouterr() == ("", "after\n")


def test_bcc_looks_neither_at_the_users_directory_nor_at_kernel_headers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    headers = tmp_path / "headers"
    headers.mkdir()
    monkeypatch.chdir(gone)
    monkeypatch.setenv("ARCH", "mips")
    monkeypatch.delenv("BCC_KERNEL_SOURCE", raising=False)
    gone.rmdir()  # a working directory without a name must do
    before = os.stat(".").st_ino
    with bcc._as_kernel_source(headers):
        assert Path.cwd() == headers
        assert os.environ["BCC_KERNEL_SOURCE"] == str(headers)
        assert "ARCH" not in os.environ
    assert os.stat(".").st_ino == before
    assert os.environ["ARCH"] == "mips"
    assert "BCC_KERNEL_SOURCE" not in os.environ


def test_only_what_runs_probes_takes_a_copy_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="strace"):
        select.get_backend("strace", "/some/probes")
    asked: list[str] = []

    def refuse(backend: Backend) -> CaptureOutcome:
        raise BackendUnavailable(f"not {backend.name}")

    def note(info: BackendInfo) -> None:
        asked.append(info.name)

    with pytest.raises(BackendUnavailable, match="not bcc"):
        select.capture_with(select.AUTO, refuse, note, "/some/probes")
    assert asked == ["ebpf", "bcc"]


@pytest.mark.parametrize("name", ["ebpf", "bcc"])
def test_a_directory_without_probes_is_refused_before_the_command_runs(name: str, tmp_path: Path) -> None:
    backend = select.get_backend(name, str(tmp_path))
    ran = tmp_path / "ran"
    command = Command((b"touch", os.fsencode(ran)), os.environb)
    with pytest.raises(BackendUnavailable):
        backend.capture(command, lambda _records: None, CaptureLimits())
    assert not ran.exists()


@pytest.mark.requires_bcc
def test_maps_are_as_the_host_has_them() -> None:
    descriptors = len(os.listdir("/proc/self/fd"))
    path, directory = list(sys.path), Path.cwd()
    side = bcc._load_programs(resources.probe_sources(), 1 << 16)
    try:
        assert len(side.get_map("config").lookup(bytes(4)) or b"") == CONFIG.size
        assert len(side.get_map("table").lookup(bytes(4)) or b"") == 16 * SPECS
        assert len(side.get_map("counters").lookup(bytes(4)) or b"") == 8 * side.cpus
        assert side.get_map("files").lookup(bytes(8)) is None
        side.get_map("files").update(bytes(8), FILE.pack(1, 2, 3, 4, 5, 0))
        assert [FILE.unpack(value) for _key, value in side.get_map("files").items()] == [(1, 2, 3, 4, 5, 0)]
        assert side.count_misses() == 0
    finally:
        side.close()
    assert len(os.listdir("/proc/self/fd")) == descriptors
    assert (sys.path, Path.cwd()) == (path, directory)


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    return Path(shutil.copytree(resources.probe_sources(), tmp_path / "probes"))


@pytest.mark.requires_bcc
def test_an_error_in_the_source_is_shown_where_it_is(copied: Path, capfd: pytest.CaptureFixture[str]) -> None:
    header = copied / "walk.h"
    lines = header.read_text().count("\n")
    header.write_text(header.read_text() + "int broken = nothing;\n")
    with pytest.raises(BackendUnavailable, match=rf"walk\.h:{lines + 1}:\d+: error: .*nothing"):
        bcc._load_programs(copied, 16 << 20)
    assert capfd.readouterr() == ("", "")


@pytest.mark.requires_bcc
def test_the_verifiers_words_are_shown(copied: Path) -> None:
    header = copied / "tasks.h"
    text = header.read_text()
    opening = "WA_RAW_TP(sched_process_exit, )\n{\n"
    assert opening in text
    header.write_text(text.replace(opening, opening + "\t*(volatile __u64 *)(ctx->args[0]) = 1;\n"))
    with pytest.raises(BackendUnavailable, match=r"sched_process_exit: .*invalid mem access"):
        bcc._load_programs(copied, 16 << 20)


@pytest.mark.requires_root
@pytest.mark.parametrize(
    "name",
    [
        pytest.param("ebpf", marks=pytest.mark.requires_ebpf),
        pytest.param("bcc", marks=pytest.mark.requires_bcc),
    ],
)
def test_a_changed_copy_is_what_runs(name: str, copied: Path, tmp_path: Path, cli: Cli) -> None:
    header = copied / "syscalls.h"
    text = header.read_text()
    looking = "\top = t->spec[WA_ROW(slot)].op;\n"
    assert looking in text
    header.write_text(text.replace(looking, looking + "\tif (op != WA_OP_MKDIR)\n\t\treturn 0;\n"))
    report = tmp_path / "report.json"
    made = tmp_path / "made"
    done = cli(
        "run", "--backend", name, "--probes", copied, "-o", tmp_path / "run.wa", "--json", report,
        "--", "mkdir", made,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    events = json.loads(report.read_text())["events"]
    assert [(event["op"], event["path"]) for event in events] == [("mkdir", str(made))]
