"""How the trials of kernels in virtual machines are chosen, judged and told; no machine is booted here."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.conformance import test_hazards, test_loss, test_workloads
from tests.kernels import images, page, trial
from tests.kernels.chosen import PATTERNS, is_chosen
from tests.kernels.kernels import KERNELS, Kernel
from tests.kernels.machine import Record, Run
from tests.kernels.trial import Trial

ROOT = Path(__file__).resolve().parents[2]


def _kernel(name: str) -> Kernel:
    return next(kernel for kernel in KERNELS if kernel.name == name)


@pytest.mark.parametrize(
    ("kernel", "package"),
    [
        ("5.10", "linux-image-5.10.0-32-amd64"),
        ("6.1", "linux-image-6.1.0-50-amd64"),
        ("6.12", "linux-image-6.12.117+deb13-amd64"),
        ("6.12", "linux-image-6.12.90+deb12.1-amd64"),
        ("6.12-rt", "linux-image-6.12.117+deb13-rt-amd64"),
        ("newest", "linux-image-7.3.4+deb13-amd64"),
    ],
)
def test_packages_of_a_series(kernel: str, package: str) -> None:
    assert _kernel(kernel).packages.fullmatch(package)


@pytest.mark.parametrize(
    "package",
    [
        "linux-image-6.12.117+deb13-cloud-amd64",
        "linux-image-6.12.117+deb13-amd64-unsigned",
        "linux-image-6.12.117+deb13-amd64-dbg",
        "linux-image-6.18.15+deb13-amd64",
    ],
)
def test_packages_that_are_not_of_it(package: str) -> None:
    assert not _kernel("6.12").packages.fullmatch(package)
    assert not _kernel("6.1").packages.fullmatch(package)


def test_every_pattern_is_of_a_test() -> None:
    names = {name for module in (test_workloads, test_hazards, test_loss) for name in dir(module)}
    for form in PATTERNS.values():
        for pattern in {pattern for patterns in form.values() for pattern in patterns}:
            name = pattern.partition("|")[0]
            assert any(is_test == name for is_test in names) or any(
                re.fullmatch(name.replace("*", ".*"), is_test) for is_test in names
            ), pattern


def test_what_is_chosen() -> None:
    assert is_chosen("test_io_uring|fixed", "full", "ebpf")
    assert not is_chosen("test_io_uring|fixed", "short", "ebpf")
    assert not is_chosen("test_the_default_buffer_holds_200_000_creations|", "full", "ebpf")


_START: Record = {"kind": "start", "release": "6.12.117+deb13-rt-amd64"}
_DOCTOR: Record = {
    "kind": "doctor",
    "backend": "",
    "outcome": "works",
    "works": {"ebpf": True},
    "reasons": {},
}
_SMOKE: Record = {"kind": "smoke", "backend": "ebpf", "outcome": "works", "said": ""}
_PASSED: Record = {"kind": "workload", "backend": "ebpf", "name": "a", "outcome": "passed", "said": ""}
_RAN: Record = {"kind": "workloads", "backend": "ebpf", "status": 0, "said": ""}
_END: Record = {"kind": "end"}


def _trial(*records: Record, timed_out: bool = False) -> Trial:
    return Trial(_kernel("6.12"), "full", version="1", run=Run(records, "console", timed_out))


def test_a_kernel_on_which_all_is_well() -> None:
    tried = _trial(_START, _DOCTOR, _SMOKE, _PASSED, _RAN, _END)
    assert tried.complaints() == []
    assert "| works, 1 of 1 workloads |" in page.table([tried])[0]
    assert page.summary([tried]).startswith("Tried and found to work: Linux 6.12-rt on x86_64.")


@pytest.mark.parametrize(
    ("records", "complaint"),
    [
        ([_DOCTOR, {**_SMOKE, "outcome": "refused", "said": "no"}, _END], "smoke ebpf refused: no"),
        ([_DOCTOR, {**_SMOKE, "outcome": "refused", "said": "no"}, _END], "doctor says that ebpf works"),
        ([{**_DOCTOR, "works": {"ebpf": False}}, _SMOKE, _END], "doctor says that ebpf does not work"),
        ([_SMOKE, {**_PASSED, "outcome": "failed", "said": "less"}, _RAN, _END], "ebpf, a: less"),
        ([_SMOKE, {**_RAN, "said": "no module"}, _END], "ebpf: the workloads did not run: no module"),
        ([_SMOKE, _PASSED, {**_RAN, "status": 4}, _END], "ebpf: the workloads did not run"),
        ([_SMOKE], "the machine stopped after: smoke ebpf"),
        ([{"kind": "busy", "backend": "bcc", "outcome": "wrong", "said": "x"}, _END], "busy bcc wrong: x"),
    ],
)
def test_what_is_wrong_is_said(records: list[Record], complaint: str) -> None:
    complaints = _trial(_START, *records).complaints()
    assert [text for text in complaints if text.startswith(complaint)], complaints


def test_a_machine_that_hangs() -> None:
    (complaint,) = _trial(_START, _SMOKE, timed_out=True).complaints()
    assert complaint == "the machine ran out of time after: smoke ebpf; its console ends: console"


def test_a_trial_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "PLACE", tmp_path)
    for kept in (_trial(_START, _SMOKE), Trial(_kernel("5.10"), "short", skipped="no mirror", tried="today")):
        assert trial.load_trial(kept.kernel) is None
        kept.save()
        assert trial.load_trial(kept.kernel) == kept


def test_a_kernel_that_was_not_tried() -> None:
    tried = Trial(_kernel("5.10"), "full", skipped="the mirror has no such suite")
    assert tried.complaints() == []
    assert "NOT TRIED: THE MIRROR HAS NO SUCH SUITE" in page.table([tried])[0]


def test_the_readme_is_changed_between_its_marks_only() -> None:
    readme = (ROOT / "README.md").read_text()
    changed = page.with_summary(readme, "Something new.\n")
    assert "\nSomething new.\n" in changed
    assert page.with_summary(changed, "Else.\n") == page.with_summary(readme, "Else.\n")
    assert changed.splitlines()[:40] == readme.splitlines()[:40]


def test_the_readme_names_the_kernels_of_the_page() -> None:
    rows = re.findall(
        r"^\| ([0-9][^ ]*) \| (\S+) \| (\S+) \| [^|]+ \| works",
        (ROOT / "docs/kernels.md").read_text(),
        re.MULTILINE,
    )
    readme = (ROOT / "README.md").read_text()
    told = readme.partition("<!-- kernels:begin")[2].partition("<!-- kernels:end")[0]
    for release, machine, _version in rows:
        assert page.series(release) in told
        assert machine in told


def test_an_archive_as_the_kernel_reads_it() -> None:
    data = images.pack_cpio([("init", 0o100755, b"hello")])
    assert data.startswith(b"070701")
    assert b"init\0" in data
    assert b"TRAILER!!!" in data
    assert len(data) % 4 == 0
