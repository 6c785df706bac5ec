"""What tests need of the machine, and the backends that they run under.

A test that cannot run here is skipped with the reason; ``-ra`` prints it. Unit tests need
nothing of this.
"""

from __future__ import annotations

import functools
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

import hypothesis
import pytest

from writeaudit.capture.interface import Backend
from writeaudit.errors import BackendUnavailable

# Whoever starts the tests in the background may have them ignore these, and every command inherits that.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGQUIT, signal.SIG_DFL)

# How long one example takes says how busy the machine is, not whether the program is right.
hypothesis.settings.register_profile(
    "writeaudit", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("writeaudit")

ROOT = Path(__file__).resolve().parent.parent
BACKENDS = ("ebpf", "bcc", "strace")
"""Every name that `--backend` takes; those that `select.list_backends` does not offer are left out."""


def _offered() -> dict[str, Backend]:
    from writeaudit.capture.select import list_backends

    return {backend.name: backend for backend in list_backends()}


@functools.cache
def _backend_lacks(name: str) -> str | None:
    """Return why a backend cannot run here, None if it can."""
    backend = _offered().get(name)
    if backend is None:
        return f"there is no backend {name}"
    try:
        backend.check()
    except BackendUnavailable as error:
        return f"backend {name}: {error.message}"
    return None


def _program_lacks(name: str) -> str | None:
    return None if shutil.which(name, path=_path()) else f"{name} is not installed"


def _path() -> str:
    """PATH with the programs of the running environment first, whether it is activated or not,
    and with those of the administrator (mkfs), which ordinary users lack."""
    return os.pathsep.join(
        [str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"]
    )


_NEEDS: Mapping[str, tuple[str, Callable[[], str | None]]] = {
    "requires_root": ("needs root", lambda: None if os.geteuid() == 0 else "not root"),
    "requires_ebpf": ("needs the ebpf backend", lambda: _backend_lacks("ebpf")),
    "requires_bcc": ("needs the bcc backend", lambda: _backend_lacks("bcc")),
    "requires_strace": ("needs the strace backend", lambda: _backend_lacks("strace")),
    "requires_uv": ("needs uv", lambda: _program_lacks("uv")),
    "requires_gcc": (
        "needs a C compiler",
        lambda: None if os.environ.get("WRITEAUDIT_BUILT") else _program_lacks("gcc"),
    ),
}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--backend",
        action="append",
        choices=BACKENDS,
        help="run backend tests under this backend only (can be given more than once)",
    )


def pytest_configure(config: pytest.Config) -> None:
    for name, (what, _lacks) in _NEEDS.items():
        config.addinivalue_line("markers", f"{name}: {what}")
    config.addinivalue_line("markers", "requires_program(name): needs a program on PATH")
    config.addinivalue_line(
        "markers",
        "about_answers: what is said of events, not how they are captured; so ebpf stands for bcc, which "
        "runs the same programs (tests/conformance compares them)",
    )


def pytest_sessionstart(session: pytest.Session) -> None:
    """Bring the checkout's probes up to date: nobody wants to test yesterday's."""
    if hasattr(session.config, "workerinput"):
        return  # the controller has done it
    builder = ROOT / "hatch_build.py"
    done = subprocess.run([sys.executable, builder], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        # Not fatal: the strace backend and most tests do without. Those that do not, say so.
        reporter = session.config.pluginmanager.get_plugin("terminalreporter")
        if reporter is not None:
            reporter.write_line(done.stderr.rstrip(), yellow=True)


def pytest_runtest_setup(item: pytest.Item) -> None:
    for name, (_what, lacks) in _NEEDS.items():
        if item.get_closest_marker(name) is not None and (reason := lacks()) is not None:
            pytest.skip(reason)
    for marker in item.iter_markers("requires_program"):
        if (reason := _program_lacks(marker.args[0])) is not None:
            pytest.skip(reason)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "backend" not in metafunc.fixturenames:
        return
    wanted = metafunc.config.getoption("--backend") or BACKENDS
    names = [name for name in _offered() if name in wanted]
    if metafunc.definition.get_closest_marker("about_answers") is not None and "ebpf" in names:
        names = [name for name in names if name != "bcc"]
    metafunc.parametrize("backend", names, indirect=True)


@pytest.fixture
def backend(request: pytest.FixtureRequest) -> Backend:
    """Each backend in turn; the test is skipped under those that cannot run here."""
    name: str = request.param
    if (reason := _backend_lacks(name)) is not None:
        pytest.skip(reason)
    return _offered()[name]


@pytest.fixture
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting of the user's that decides where an installer writes."""
    for name in list(os.environ):
        if name.startswith("UV_") and name not in {"UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_CONFIG_FILE"}:
            monkeypatch.delenv(name)
    monkeypatch.delenv("VIRTUAL_ENV", raising=False)
    monkeypatch.setenv("PATH", _path())


@functools.cache
def _uv_settings() -> tuple[tuple[str, str], ...]:
    script = ROOT / "scripts" / "uv_settings.py"
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True)
    pairs = (line.partition("=") for line in done.stdout.splitlines())
    return tuple((name, value) for name, _equals, value in pairs)


@pytest.fixture
def uv(clean_environment: None, monkeypatch: pytest.MonkeyPatch) -> str:
    """Path of uv, which uses the package index that pip is configured for."""
    program = shutil.which("uv")
    if program is None:
        pytest.skip("uv is not installed")
    for name, value in _uv_settings():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("UV_PYTHON", sys.executable)
    monkeypatch.setenv("UV_PYTHON_DOWNLOADS", "never")
    return program


class Cli(Protocol):
    """Runs ``writeaudit ARG...`` as a user would, in a process of its own."""

    def __call__(
        self, *args: str | Path, cwd: Path | None = None, timeout: float = 120
    ) -> subprocess.CompletedProcess[str]: ...


@pytest.fixture
def cli(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Cli:
    """Run the command line; recordings go to a directory of the test's own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
    monkeypatch.setenv("PATH", _path())
    # A terminal of the tester's must not change what is compared.
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    monkeypatch.setenv("COLUMNS", "120")
    start = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from writeaudit.cli import main; main()"

    def run(
        *args: str | Path, cwd: Path | None = None, timeout: float = 120
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", start, *map(str, args)],
            cwd=cwd,
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout,
            stdin=subprocess.DEVNULL,
        )

    return run
