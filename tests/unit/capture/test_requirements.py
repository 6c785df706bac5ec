"""What a machine lacks, and what the kernel's refusals mean: asked in one place, by doctor and by run."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from writeaudit.capture import requirements
from writeaudit.capture.requirements import (
    CAP_BPF,
    CAP_PERFMON,
    CAP_SYS_ADMIN,
    CAP_SYS_PTRACE,
    BpfRefused,
    check_bpf,
    explain_bpf_refusal,
    explain_ptrace_refusal,
    kernel_version,
    parse_lockdown,
)
from writeaudit.errors import BackendUnavailable


@pytest.fixture
def good(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """Return a patch of a machine on which nothing is in the way."""
    btf = tmp_path / "vmlinux"
    btf.touch()
    monkeypatch.setattr(requirements, "BTF", str(btf))
    monkeypatch.setattr(requirements, "SCOPE", str(tmp_path / "none"))
    monkeypatch.setattr(requirements, "LOCKDOWN", str(tmp_path / "none"))
    monkeypatch.setattr(requirements, "MACHINES", (os.uname().machine,))
    monkeypatch.setattr(requirements, "effective_capabilities", lambda: -1)
    monkeypatch.setattr(requirements, "in_user_namespace", lambda: False)
    monkeypatch.setattr(requirements, "is_filtered", lambda: False)
    return monkeypatch


def _hold(patch: pytest.MonkeyPatch, *capabilities: int) -> None:
    patch.setattr(requirements, "effective_capabilities", lambda: sum(1 << number for number in capabilities))


def test_nothing_is_in_the_way_on_a_good_machine(good: pytest.MonkeyPatch) -> None:
    check_bpf()


def test_bpf_and_perfmon_are_enough(good: pytest.MonkeyPatch) -> None:
    _hold(good, CAP_BPF, CAP_PERFMON)
    check_bpf()


def test_so_is_sys_admin_alone(good: pytest.MonkeyPatch) -> None:
    _hold(good, CAP_SYS_ADMIN)
    check_bpf()


@pytest.mark.parametrize("held", [(), (CAP_BPF,), (CAP_PERFMON,)])
def test_root_in_a_container_is_told_which_capabilities(
    good: pytest.MonkeyPatch, held: tuple[int, ...]
) -> None:
    _hold(good, *held)
    good.setattr(os, "geteuid", lambda: 0)
    with pytest.raises(BackendUnavailable, match="CAP_BPF and CAP_PERFMON") as caught:
        check_bpf()
    assert caught.value.command is not None
    assert "--cap-add BPF --cap-add PERFMON" in caught.value.command


def test_users_are_told_to_use_sudo(good: pytest.MonkeyPatch) -> None:
    _hold(good)
    good.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(BackendUnavailable, match="takes root") as caught:
        check_bpf()
    assert caught.value.command is not None
    assert caught.value.command == "writeaudit run --sudo -- COMMAND"


def test_root_of_a_user_namespace_is_not_told_to_become_root(good: pytest.MonkeyPatch) -> None:
    good.setattr(requirements, "in_user_namespace", lambda: True)
    with pytest.raises(BackendUnavailable, match="user namespace") as caught:
        check_bpf()
    assert caught.value.hint is not None
    assert "sudo" not in caught.value.hint


def test_kernel_without_types_of_its_own(good: pytest.MonkeyPatch, tmp_path: Path) -> None:
    good.setattr(requirements, "BTF", str(tmp_path / "missing"))
    with pytest.raises(BackendUnavailable) as caught:
        check_bpf()
    assert caught.value.hint is not None
    assert "CONFIG_DEBUG_INFO_BTF" in caught.value.hint


def test_processor_that_the_probes_do_not_know(good: pytest.MonkeyPatch) -> None:
    good.setattr(requirements, "MACHINES", ("vax",))
    with pytest.raises(BackendUnavailable, match="of vax only"):
        check_bpf()


@pytest.mark.parametrize("number", [errno.EACCES, errno.EINVAL, errno.E2BIG])
def test_refusal_by_the_verifier_is_no_lack_of_privileges(good: pytest.MonkeyPatch, number: int) -> None:
    refusal = explain_bpf_refusal(BpfRefused(number, "stack of 7 calls is 544", by_verifier=True))
    assert refusal.reason.startswith("the verifier of Linux ")
    assert refusal.detail == "stack of 7 calls is 544"
    assert "root" not in f"{refusal.message}{refusal.hint}"


@pytest.mark.parametrize("number", [errno.EPERM, errno.EACCES, errno.ENOSYS])
def test_seccomp_filter_is_named(good: pytest.MonkeyPatch, number: int) -> None:
    good.setattr(requirements, "is_filtered", lambda: True)
    refusal = explain_bpf_refusal(OSError(number, os.strerror(number)))
    assert "a seccomp filter is in force" in refusal.message
    assert os.strerror(number) in refusal.message


def test_lockdown_is_named(good: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "lockdown").write_text("none integrity [confidentiality]\n")
    good.setattr(requirements, "LOCKDOWN", str(tmp_path / "lockdown"))
    assert "locked down" in explain_bpf_refusal(OSError(errno.EPERM, "no")).message


def test_limit_on_locked_memory_is_named_where_it_counts(good: pytest.MonkeyPatch) -> None:
    _hold(good, CAP_BPF, CAP_PERFMON)
    release = os.uname_result(("Linux", "x", "5.10.0-30-amd64", "v", os.uname().machine))
    good.setattr(os, "uname", lambda: release)
    assert "RLIMIT_MEMLOCK" in explain_bpf_refusal(OSError(errno.EPERM, "no")).message


def test_interrupted_verifier(good: pytest.MonkeyPatch) -> None:
    assert "interrupted by signals" in explain_bpf_refusal(OSError(errno.EAGAIN, "again")).message


@pytest.mark.parametrize(
    ("scope", "held", "reason", "command"),
    [
        ("1", (), "refuses ptrace", False),
        ("2", (), "only administrators may trace", True),
        ("2", (CAP_SYS_PTRACE,), "refuses ptrace", False),
        ("3", (CAP_SYS_PTRACE,), "nobody may trace", False),
    ],
)
def test_yama(
    good: pytest.MonkeyPatch, tmp_path: Path, scope: str, held: tuple[int, ...], reason: str, command: bool
) -> None:
    (tmp_path / "scope").write_text(f"{scope}\n")
    good.setattr(requirements, "SCOPE", str(tmp_path / "scope"))
    _hold(good, *held)
    refusal = explain_ptrace_refusal(errno.EPERM)
    assert reason in refusal.message
    assert (refusal.command is not None) == command
    assert refusal.hint is not None
    if scope == "3":
        assert "sysctl" not in refusal.hint, "it cannot be set back while the machine runs"


@pytest.mark.parametrize(
    ("text", "mode"),
    [("none [integrity] confidentiality\n", "integrity"), ("[none] integrity\n", "none"), ("", None)],
)
def test_lockdown(text: str, mode: str | None) -> None:
    assert parse_lockdown(text) == mode


@pytest.mark.parametrize(
    ("release", "version"),
    [("5.15.0-1-amd64", (5, 15)), ("7.2", (7, 2)), ("strange", None), ("6.", None), ("", None)],
)
def test_kernel_version(release: str, version: tuple[int, int] | None) -> None:
    assert kernel_version(release) == version


def test_what_is_asked_of_the_running_kernel_is_answered() -> None:
    status = Path("/proc/self/status").read_text()
    held = int(next(line.split()[1] for line in status.splitlines() if line.startswith("CapEff")), 16)
    assert requirements.effective_capabilities() == held
    filtered = next(line.split()[1] for line in status.splitlines() if line.startswith("Seccomp:")) == "2"
    assert requirements.is_filtered() == filtered
