"""What a machine offers the capture backends: facts to show, and the packages of what is missing.

Reads files below a root directory and nothing else where it can, so that a test can
show it any machine. It judges no backend: each is tried (`capture.trial`), and what a
refusal means stands in `capture.requirements`.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import enum
import os
import platform
import re
import shlex
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import assert_never

from writeaudit.capture import requirements
from writeaudit.capture.interface import Backend
from writeaudit.capture.trial import try_backend
from writeaudit.errors import BackendUnavailable

CAPABILITIES = {
    "CAP_SYS_PTRACE": requirements.CAP_SYS_PTRACE,
    "CAP_SYS_ADMIN": requirements.CAP_SYS_ADMIN,
    "CAP_PERFMON": requirements.CAP_PERFMON,
    "CAP_BPF": requirements.CAP_BPF,
}
"""Those that decide what may be traced."""


class PackageFamily(enum.StrEnum):
    """Distributions whose packages have the same names and the same installer."""

    DEBIAN = "debian"
    FEDORA = "fedora"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Distribution:
    """What os-release(5) says about the system."""

    id: str
    version: str
    pretty: str
    family: PackageFamily


@dataclass(frozen=True, slots=True)
class Facts:
    """What decides which backends can run. None stands for what the system does not tell."""

    distribution: Distribution
    kernel: str
    arch: str
    btf: bool
    """Whether the kernel describes its own types (/sys/kernel/btf/vmlinux)."""
    root: bool
    capabilities: Mapping[str, bool]
    """Effective ones, by the names of `CAPABILITIES`."""
    lockdown: str | None
    """none, integrity or confidentiality (kernel_lockdown(7))."""
    unprivileged_bpf_disabled: int | None
    ptrace_scope: int | None
    """Yama's: 0 anybody's, 1 one's own children, 2 administrators only, 3 nobody (ptrace(2))."""
    protected_hardlinks: int | None
    libbpf: str | None
    """Version of the library that would be loaded."""
    strace: str | None
    """Version of the program on PATH."""
    bcc: bool
    """Whether the distribution's Python package for bcc is installed."""
    user_namespace: bool = False
    """Whether this is another user namespace than the machine's first, where capabilities count for less."""
    seccomp: bool = False
    """Whether a seccomp filter is in force, as in most containers."""


@dataclass(frozen=True, slots=True)
class Remedy:
    """One step that helps: why, and the exact command if there is one."""

    reason: str
    command: str | None = None


@dataclass(frozen=True, slots=True)
class BackendState:
    """What one backend's own check said."""

    name: str
    tier: str
    works: bool
    reason: str | None
    """Why it does not."""
    detail: str | None = None
    """The kernel's, or the tool's, own sentence."""
    remedies: tuple[Remedy, ...] = ()


def parse_os_release(text: str) -> Distribution:
    """Read os-release(5). Unknown or missing fields give an unknown distribution."""
    fields: dict[str, str] = {}
    for line in text.splitlines():
        name, equals, value = line.strip().partition("=")
        if equals and not name.startswith("#"):
            try:
                fields[name] = "".join(shlex.split(value))
            except ValueError:  # a quote without its partner
                fields[name] = value
    names = {fields.get("ID", ""), *fields.get("ID_LIKE", "").split()}
    if names & {"debian", "ubuntu"}:
        family = PackageFamily.DEBIAN
    elif names & {"fedora", "rhel", "centos"}:
        family = PackageFamily.FEDORA
    else:
        family = PackageFamily.OTHER
    return Distribution(
        fields.get("ID", "unknown"),
        fields.get("VERSION_ID", ""),
        fields.get("PRETTY_NAME", fields.get("NAME", "an unknown distribution")),
        family,
    )


def parse_strace_version(text: str) -> str | None:
    """Read the first line of ``strace --version``."""
    match = re.match(r"strace -- version (\S+)", text)
    return match[1] if match else None


def _read_text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None


def _read_number(path: Path) -> int | None:
    text = _read_text(path)
    try:
        return int(text) if text is not None else None
    except ValueError:
        return None


def libbpf_version() -> str | None:
    """Return the version of the libbpf that the loader finds, ``?`` if it does not say."""
    for name in ("libbpf.so.1", "libbpf.so.0", ctypes.util.find_library("bpf")):
        if name is None:
            continue
        try:
            library = ctypes.CDLL(name)
        except OSError:
            continue
        try:
            version = library.libbpf_version_string  # since 0.6
        except AttributeError:
            return "?"
        version.restype = ctypes.c_char_p
        text: bytes = version()
        return text.decode("ascii", "replace").removeprefix("v")
    return None


def strace_version() -> str | None:
    """Return the version of the strace on PATH, None if there is none that runs."""
    program = shutil.which("strace")
    if program is None:
        return None
    try:
        done = subprocess.run(
            [program, "--version"],
            capture_output=True,
            text=True,
            check=False,
            timeout=10,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return parse_strace_version(done.stdout) or "?"


def gather_facts(root: Path = Path("/")) -> Facts:
    """Look at this machine; files are read below ``root``."""
    proc, sys = root / "proc", root / "sys"
    release = _read_text(root / "etc/os-release") or _read_text(root / "usr/lib/os-release") or ""
    # Debian's place for Python modules of the system; Fedora's has the version in it.
    bcc_homes = [
        root / "usr/lib/python3/dist-packages/bcc",
        *root.glob("usr/lib/python3.*/site-packages/bcc"),
    ]
    return Facts(
        distribution=parse_os_release(release),
        kernel=platform.release(),
        arch=platform.machine(),
        btf=(sys / "kernel/btf/vmlinux").exists(),
        root=os.geteuid() == 0,
        capabilities={name: requirements.holds_capabilities(number) for name, number in CAPABILITIES.items()},
        lockdown=requirements.parse_lockdown(_read_text(sys / "kernel/security/lockdown") or ""),
        unprivileged_bpf_disabled=_read_number(proc / "sys/kernel/unprivileged_bpf_disabled"),
        ptrace_scope=_read_number(proc / "sys/kernel/yama/ptrace_scope"),
        protected_hardlinks=_read_number(proc / "sys/fs/protected_hardlinks"),
        libbpf=libbpf_version(),
        strace=strace_version(),
        bcc=any(home.is_dir() for home in bcc_homes),
        user_namespace=requirements.in_user_namespace(),
        seccomp=requirements.is_filtered(),
    )


_LIBBPF0 = {"debian": ("11",), "ubuntu": ("20.04", "20.10", "21.04", "21.10", "22.04")}
"""Releases that have no libbpf1 yet."""


def find_package(program: str, distribution: Distribution) -> str | None:
    """Return the package that holds libbpf, strace or bcc, None where its name is not known."""
    match distribution.family:
        case PackageFamily.DEBIAN:
            if program == "libbpf":
                return "libbpf0" if distribution.version in _LIBBPF0.get(distribution.id, ()) else "libbpf1"
            return {"strace": "strace", "bcc": "python3-bpfcc"}.get(program)
        case PackageFamily.FEDORA:
            return {"libbpf": "libbpf", "strace": "strace", "bcc": "python3-bcc"}.get(program)
        case PackageFamily.OTHER:
            return None
        case _:
            assert_never(distribution.family)


def suggest_install(program: str, distribution: Distribution, *, root: bool) -> Remedy:
    """Return how to install libbpf, strace or bcc on that distribution."""
    package = find_package(program, distribution)
    if package is None:
        return Remedy(f"{program} is missing: install your distribution's package of it")
    tool = "apt-get" if distribution.family is PackageFamily.DEBIAN else "dnf"
    prefix = "" if root else "sudo "
    return Remedy(f"{program} is missing", f"{prefix}{tool} install -y {package}")


def examine_backend(backend: Backend, facts: Facts) -> BackendState:
    """Try a backend; if it does not work here, say why and what helps."""
    try:
        try_backend(backend)
    except BackendUnavailable as error:
        return BackendState(
            backend.name, backend.tier, False, error.reason, error.detail, _list_remedies(error, facts)
        )
    return BackendState(backend.name, backend.tier, True, None)


def _list_remedies(error: BackendUnavailable, facts: Facts) -> tuple[Remedy, ...]:
    if error.missing is not None:
        return (suggest_install(error.missing, facts.distribution, root=facts.root),)
    if error.hint is None:
        return ()
    return (Remedy(error.hint, error.command),)
