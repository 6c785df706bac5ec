"""Tries kernels, two at a time, and judges what came of it."""

from __future__ import annotations

import contextlib
import fcntl
import functools
import json
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from tests.kernels import images, packages
from tests.kernels.guest import OUT_OF_TIME
from tests.kernels.kernels import ROOT_SUITE, Kernel
from tests.kernels.machine import Record, Run, boot, lacking
from tests.kernels.packages import Unavailable

PLACE = images.REPOSITORY / "build" / "kernels"
_ABREAST = 2
_SLOW = "did not end within"
"""Doctor's words for a trial that took too long."""
_LEAST_SECONDS = 120
"""Nothing could be said of a kernel that had less."""


@dataclass(frozen=True, slots=True)
class Trial:
    """What became of one kernel."""

    kernel: Kernel
    form: str
    skipped: str | None = None
    """Why it was not tried."""
    version: str = ""
    """Of the Debian package."""
    tried: str = ""
    """On which day (UTC)."""
    run: Run | None = None

    def save(self) -> None:
        """Keep the trial, for a page that is written after others have been tried, too."""
        raw = {
            "form": self.form,
            "skipped": self.skipped,
            "version": self.version,
            "tried": self.tried,
            "run": None if self.run is None else asdict(self.run),
        }
        PLACE.mkdir(parents=True, exist_ok=True)
        _file(self.kernel).write_text(json.dumps(raw, indent=1) + "\n")

    def records(self, kind: str) -> list[Record]:
        """Return what the machine said of one kind."""
        return [] if self.run is None else [record for record in self.run.records if record["kind"] == kind]

    @property
    def release(self) -> str:
        """The kernel's own word for its version."""
        return next((str(record["release"]) for record in self.records("start")), "")

    def complaints(self) -> list[str]:
        """Return everything that is wrong; empty if nothing is, or if it was not tried."""
        if self.run is None:
            return []
        found = [
            f"{record['kind']} {record['backend']} {record['outcome']}: {record['said']}"
            for record in self.run.records
            if record.get("outcome") in {"failed", "refused", "wrong"} and record["kind"] != "workload"
            and not self._is_expected(record)
        ]  # fmt: skip
        found += self._disagreements()
        found += [
            f"{record['backend']}, {record['name']}: {record['said']}"
            for record in self.records("workload")
            if record["outcome"] == "failed"
        ]
        for record in self.records("workloads"):
            # 0 and 1 are pytest's for tests that ran.
            if record["status"] not in {0, 1} or not self.count(str(record["backend"])).total:
                found.append(f"{record['backend']}: the workloads did not run: {record['said']}")
        if not self.run.ended:
            last = self.run.records[-1]
            what = f"{last['kind']} {last.get('backend', '')} {last.get('name', '')}".strip()
            why = "ran out of time" if self.run.timed_out else "stopped"
            found.append(f"the machine {why} after: {what}; its console ends: {self.run.console[-800:]}")
        return found

    def _is_expected(self, record: Record) -> bool:
        return record["outcome"] == "refused" and str(record["backend"]) in self.kernel.without

    def _disagreements(self) -> Iterator[str]:
        """Yield where `doctor` and `run` say different things."""
        ran = {str(record["backend"]): record["outcome"] for record in self.records("smoke")}
        for record in self.records("doctor"):
            works = record.get("works")
            assert isinstance(works, dict)
            reasons = record.get("reasons")
            assert isinstance(reasons, dict)
            for backend, can in works.items():
                if _SLOW in str(reasons.get(backend)):
                    continue  # doctor waits for a while only, whatever the machine
                if backend in ran and can == (ran[backend] == "refused"):
                    said = "works" if can else "does not work"
                    yield f"doctor says that {backend} {said}, run says: {ran[backend]}"

    def count(self, backend: str) -> Count:
        """Return how the workloads of a backend ended."""
        ended = [record for record in self.records("workload") if record["backend"] == backend]
        late = sum(record["said"] == OUT_OF_TIME for record in ended)
        outcomes = [record["outcome"] for record in ended]
        return Count(
            outcomes.count("passed"), outcomes.count("failed"), outcomes.count("skipped") - late, late
        )


def load_trial(kernel: Kernel) -> Trial | None:
    """Return the trial of a kernel that was kept last; None if there is none."""
    try:
        raw = json.loads(_file(kernel).read_text())
    except FileNotFoundError:
        return None
    run = raw["run"] and Run(tuple(raw["run"]["records"]), raw["run"]["console"], raw["run"]["timed_out"])
    return Trial(kernel, raw["form"], raw["skipped"], raw["version"], raw["tried"], run)


def _file(kernel: Kernel) -> Path:
    return PLACE / f"{kernel.name}.json"


@dataclass(frozen=True, slots=True)
class Count:
    """How many workloads ended how."""

    passed: int
    failed: int
    skipped: int
    """The kernel has not what they are about."""
    late: int
    """Not begun: the time was over."""

    @property
    def total(self) -> int:
        """All that were chosen."""
        return self.passed + self.failed + self.skipped + self.late


class Trials:
    """Tries kernels in the background, two at a time, from the moment that this is made."""

    def __init__(self, kernels: Sequence[Kernel], form: str | None, seconds: float) -> None:
        """``form``: None for each kernel's own. ``seconds``: until when all must have ended."""
        self._deadline = time.monotonic() + seconds
        self._pool = ThreadPoolExecutor(_ABREAST)
        turns = -(-len(kernels) // _ABREAST)
        self._share = seconds / turns
        self._trials: dict[str, Future[Trial]] = {
            kernel.name: self._pool.submit(self._try, kernel, form or kernel.form) for kernel in kernels
        }

    def result(self, kernel: Kernel) -> Trial:
        """Wait for a kernel's turn and return what became of it."""
        return self._trials[kernel.name].result()

    def close(self) -> None:
        """Begin no more of them."""
        self._pool.shutdown(cancel_futures=True)

    def _try(self, kernel: Kernel, form: str) -> Trial:
        begun = time.monotonic()
        try:
            return _try_kernel(kernel, form, begun + self._share, self._deadline)
        except Unavailable as error:
            return Trial(kernel, form, skipped=str(error), tried=_today())


def _try_kernel(kernel: Kernel, form: str, share: float, deadline: float) -> Trial:
    """Try a kernel. It begins no workload after ``share``, and is stopped at ``deadline``."""
    if (reason := lacking(kernel.arch)) is not None:
        raise Unavailable(reason)
    place = PLACE / kernel.arch
    with _locked():
        root_apt = _apt(place / "apt-root", kernel.arch, (ROOT_SUITE,))
        root = _root(root_apt, place)
        repository = _repository(kernel.machine, place)
        bootable = images.prepare_kernel(
            kernel,
            _apt(place / "apt", kernel.arch, tuple(packages.suites(kernel.arch))),
            images.fetch_busybox(root_apt, place),
            place,
        )
    now = time.monotonic()
    if deadline - now < _LEAST_SECONDS:
        raise Unavailable("no time is left")
    # The last workload to begin needs time to end, and the kernel needs some to boot.
    options = [f"kernels.form={form}", f"kernels.seconds={max((share - now) * 0.8, 60):.0f}"]
    run = boot(kernel, bootable, root, repository, options, deadline - now)
    (PLACE / f"{kernel.name}.console").write_text(run.console)
    if not run.booted:
        last = (run.console.strip().splitlines() or ["it said nothing"])[-1]
        raise Unavailable(f"{bootable.release} does not boot: {last}")
    return Trial(kernel, form, version=bootable.version, tried=_today(), run=run)


def _today() -> str:
    return datetime.now(UTC).date().isoformat()


@contextlib.contextmanager
def _locked() -> Iterator[None]:
    """Let nobody else prepare anything in the same place: no thread, and no other run of the tests."""
    PLACE.mkdir(parents=True, exist_ok=True)
    with (PLACE / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@functools.cache
def _apt(place: Path, arch: str, suites: tuple[str, ...]) -> packages.Apt:
    apt = packages.Apt(place, arch)
    apt.update(suites)
    return apt


@functools.cache
def _root(apt: packages.Apt, place: Path) -> Path:
    """Return the image of the root file system, looked at once a session."""
    return images.prepare_root(apt, place)


@functools.cache
def _repository(machine: str, place: Path) -> Path:
    """Return the image of this repository, made once a session."""
    return images.prepare_repository(machine, place)
