from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner

from writeaudit import doctor
from writeaudit.capture.interface import Backend, CaptureLimits, CaptureOutcome, ProcessExec, Sink
from writeaudit.capture.targets import Target
from writeaudit.commands import doctor as command_module
from writeaudit.doctor import Distribution, Facts, PackageFamily
from writeaudit.errors import BackendUnavailable

DEBIAN = Distribution("debian", "12", "Debian GNU/Linux 12 (bookworm)", PackageFamily.DEBIAN)
FEDORA = Distribution("fedora", "42", "Fedora Linux 42", PackageFamily.FEDORA)
OTHER = Distribution("void", "", "Void", PackageFamily.OTHER)
ALL = dict.fromkeys(doctor.CAPABILITIES, True)
NONE = dict.fromkeys(doctor.CAPABILITIES, False)

GOOD = Facts(
    distribution=DEBIAN,
    kernel="6.1.0-30-amd64",
    arch="x86_64",
    btf=True,
    root=True,
    capabilities=ALL,
    lockdown="none",
    unprivileged_bpf_disabled=2,
    ptrace_scope=1,
    protected_hardlinks=1,
    libbpf="1.1",
    strace="6.1",
    bcc=True,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('ID=debian\nVERSION_ID="12"\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n', DEBIAN),
        ('PRETTY_NAME="Fedora Linux 42"\nID=fedora\nVERSION_ID=42\n', FEDORA),
        (
            "ID=linuxmint\nID_LIKE='ubuntu debian'\nNAME=Mint\n",
            Distribution("linuxmint", "", "Mint", PackageFamily.DEBIAN),
        ),
        ("# ID=debian\nID=void\nNAME=Void\n", OTHER),
        ("", Distribution("unknown", "", "an unknown distribution", PackageFamily.OTHER)),
        ('ID="half\n', Distribution('"half', "", "an unknown distribution", PackageFamily.OTHER)),
    ],
)
def test_os_release(text: str, expected: Distribution) -> None:
    assert doctor.parse_os_release(text) == expected


def test_versions() -> None:
    assert doctor.parse_strace_version("strace -- version 6.1\nCopyright …") == "6.1"
    assert doctor.parse_strace_version("busybox") is None


def test_gather_reads_below_the_root_it_is_given(tmp_path: Path) -> None:
    files = {
        "etc/os-release": "ID=fedora\nVERSION_ID=42\nPRETTY_NAME='Fedora Linux 42'\n",
        "proc/sys/kernel/yama/ptrace_scope": "2\n",
        "proc/sys/kernel/unprivileged_bpf_disabled": "odd\n",
        "sys/kernel/security/lockdown": "none integrity [confidentiality]\n",
        "sys/kernel/btf/vmlinux": "",
        "usr/lib/python3.13/site-packages/bcc/__init__.py": "",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    facts = doctor.gather_facts(tmp_path)
    assert facts.distribution == FEDORA
    assert facts.ptrace_scope == 2
    assert facts.unprivileged_bpf_disabled is None
    assert facts.protected_hardlinks is None
    assert facts.lockdown == "confidentiality"
    assert facts.btf
    assert facts.bcc


@pytest.mark.parametrize(
    ("distribution", "root", "commands"),
    [
        (
            DEBIAN,
            True,
            [
                "apt-get install -y libbpf1",
                "apt-get install -y python3-bpfcc",
                "apt-get install -y strace",
            ],
        ),
        (
            Distribution("ubuntu", "22.04", "Ubuntu 22.04", PackageFamily.DEBIAN),
            False,
            [
                "sudo apt-get install -y libbpf0",
                "sudo apt-get install -y python3-bpfcc",
                "sudo apt-get install -y strace",
            ],
        ),
        (
            FEDORA,
            False,
            [
                "sudo dnf install -y libbpf",
                "sudo dnf install -y python3-bcc",
                "sudo dnf install -y strace",
            ],
        ),
        (OTHER, True, [None, None, None]),
    ],
)
def test_package_to_install(distribution: Distribution, root: bool, commands: list[str | None]) -> None:
    facts = dataclasses.replace(GOOD, distribution=distribution, root=root)
    states = [
        doctor.examine_backend(_Fake(name, BackendUnavailable(f"no {name}", missing=program)), facts)
        for name, program in (("ebpf", "libbpf"), ("bcc", "bcc"), ("strace", "strace"))
    ]
    assert [state.remedies[0].command for state in states] == commands
    assert [len(state.remedies) for state in states] == [1, 1, 1]


class _Fake:
    def __init__(self, name: str, error: BackendUnavailable | None = None) -> None:
        self.name = name
        self.tier = "base"
        self.engine = "none"
        self._error = error

    def check(self) -> None:
        if self._error is not None:
            raise self._error

    def capture(self, target: Target, sink: Sink, limits: CaptureLimits) -> CaptureOutcome:
        self.check()
        sink((ProcessExec(1, os.getpid(), b"/bin/true", ()),))
        return CaptureOutcome(0, None, 1, 2)


def _doctor(
    monkeypatch: pytest.MonkeyPatch, backends: Sequence[Backend], facts: Facts, *args: str
) -> tuple[int, str]:
    monkeypatch.setattr(command_module, "list_backends", lambda: backends)
    monkeypatch.setattr(command_module, "gather_facts", lambda: facts)
    result = CliRunner().invoke(command_module.command, args)
    return result.exit_code, result.output


REFUSED = BackendUnavailable(
    "the verifier refuses the programs", detail="stack of 7 calls is 544 [x]", hint="a hint of its own [x]"
)
MISSING = BackendUnavailable("libbpf is not installed", hint="a hint of its own [x]", missing="libbpf")


def test_doctor_names_reason_and_command(monkeypatch: pytest.MonkeyPatch) -> None:
    status, output = _doctor(monkeypatch, [_Fake("ebpf", MISSING), _Fake("strace")], GOOD)
    assert status == 0
    assert "ebpf  does not work here\n    libbpf is not installed\n" in output
    assert "\n      apt-get install -y libbpf1\n" in output
    assert "strace  works (auto takes this one)" in output
    assert "a hint of its own" not in output, "the exact command is better than the hint"
    assert "\x1b" not in output


def test_doctor_shows_the_kernels_own_sentence_and_the_hint(monkeypatch: pytest.MonkeyPatch) -> None:
    _status, output = _doctor(monkeypatch, [_Fake("ebpf", REFUSED), _Fake("strace")], GOOD)
    assert "    stack of 7 calls is 544 [x]\n    a hint of its own [x]\n" in output


def test_doctor_fails_if_nothing_works(monkeypatch: pytest.MonkeyPatch) -> None:
    status, output = _doctor(monkeypatch, [_Fake("ebpf", REFUSED)], GOOD)
    assert status == 125
    assert "No backend works here" in output


def test_doctor_json(monkeypatch: pytest.MonkeyPatch) -> None:
    facts = dataclasses.replace(GOOD, ptrace_scope=None)
    status, output = _doctor(monkeypatch, [_Fake("ebpf", REFUSED), _Fake("strace")], facts, "--json")
    report = json.loads(output)
    assert status == 0
    assert report["auto"] == "strace"
    assert report["backends"][0] == {
        "name": "ebpf",
        "tier": "base",
        "works": False,
        "reason": "the verifier refuses the programs",
        "detail": "stack of 7 calls is 544 [x]",
        "remedies": [{"reason": "a hint of its own [x]", "command": None}],
    }
    assert report["facts"]["ptrace_scope"] is None
    assert report["facts"]["capabilities"]["CAP_BPF"] is True
