"""Measures commands, alternating: what disturbs the machine for a while disturbs all of them."""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

AUDITED = frozenset({0, 100, 101})
"""Exit statuses of an audit whose command succeeded."""


class CannotRun(Exception):
    """A row cannot be measured on this machine; the message says why."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One run of one command."""

    wall_s: float
    cpu_s: float
    """User and system time of the command and of all that it waited for."""


@dataclass(frozen=True, slots=True)
class Variant:
    """One way to run the work that is measured."""

    name: str
    argv: tuple[str, ...]
    prepare: tuple[str, ...] | None = None
    """Runs before each measurement; not measured."""
    accept: frozenset[int] = frozenset({0})
    around: Callable[[], AbstractContextManager[object]] = nullcontext
    """What must be running meanwhile, such as a tracer of the whole machine."""
    after: Callable[[], Mapping[str, float]] = dict
    """Asked once a run: other figures of it, which become facts of the session."""


@dataclass(frozen=True, slots=True)
class Spread:
    """A median, with what it was taken from."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Summarise at least one value."""
        return cls(statistics.median(values), min(values), max(values))


@dataclass(slots=True)
class Session:
    """Measurements that belong together: sample i of each variant was taken in the same round."""

    name: str
    samples: dict[str, list[Sample]] = field(default_factory=dict)
    facts: dict[str, list[float]] = field(default_factory=dict)
    """Other figures, one list a name."""
    impossible: dict[str, str] = field(default_factory=dict)
    """Variants that could not run here, with the reason."""

    def paired(self, ratio: Callable[..., float], *names: str, of: str = "wall_s") -> Spread:
        """Apply ``ratio`` to the variants' values of each round. Raises `CannotRun`."""
        for name in names:
            self._must_have(name)
        columns = ([getattr(sample, of) for sample in self.samples[name]] for name in names)
        return Spread.of([ratio(*values) for values in zip(*columns, strict=True)])

    def beside(self, ratio: Callable[..., float], fact: str, *names: str) -> Spread:
        """Apply ``ratio`` to a fact of each round and to the variants' wall times. Raises `CannotRun`."""
        for name in names:
            self._must_have(name)
        self.fact(fact)
        columns = ([sample.wall_s for sample in self.samples[name]] for name in names)
        return Spread.of([ratio(*values) for values in zip(self.facts[fact], *columns, strict=True)])

    def spread(self, name: str, of: str = "wall_s") -> Spread:
        """Return one variant's own figures. Raises `CannotRun`."""
        self._must_have(name)
        return Spread.of([getattr(sample, of) for sample in self.samples[name]])

    def fact(self, name: str) -> Spread:
        """Return another figure. Raises `CannotRun` if no round gave it."""
        if name not in self.facts:
            raise CannotRun("; ".join(self.impossible.values()) or f"no figure for {name}")
        return Spread.of(self.facts[name])

    def _must_have(self, name: str) -> None:
        if name in self.impossible:
            raise CannotRun(self.impossible[name])

    def add(self, name: str, value: float) -> None:
        """Add to a fact."""
        self.facts.setdefault(name, []).append(value)

    def as_json(self) -> dict[str, object]:
        """Return the raw figures."""
        return {
            "name": self.name,
            "samples": {
                name: {"wall_s": [s.wall_s for s in taken], "cpu_s": [s.cpu_s for s in taken]}
                for name, taken in self.samples.items()
            },
            "facts": self.facts,
            "impossible": self.impossible,
        }


def alternate(
    session: Session, variants: Sequence[Variant], rounds: int, env: Mapping[str, str], cwd: Path
) -> None:
    """Run every variant once a round with hyperfine; each round begins with another one.

    A variant that cannot run is left out from then on, with its reason.
    """
    for number in range(-1, rounds):
        shift = number % len(variants)
        for variant in (*variants[shift:], *variants[:shift]):
            if variant.name in session.impossible:
                continue
            try:
                with variant.around():
                    sample = hyperfine(variant, env, cwd)
            except CannotRun as error:
                session.impossible[variant.name] = str(error)
                session.samples.pop(variant.name, None)
                continue
            if number >= 0:  # the first round only warms caches up
                session.samples.setdefault(variant.name, []).append(sample)
                for name, value in variant.after().items():
                    session.add(name, value)
        tell(f"{session.name}: {number + 1} of {rounds} rounds")
    tell("")


def hyperfine(variant: Variant, env: Mapping[str, str], cwd: Path) -> Sample:
    """Measure one run with hyperfine. Raises `CannotRun`."""
    with tempfile.NamedTemporaryFile(suffix=".json") as report:
        argv = ["hyperfine", "-N", "--runs", "1", "--ignore-failure", "--style", "none"]
        argv += ["--export-json", report.name]
        if variant.prepare is not None:
            argv += ["--prepare", _quoted(variant.prepare)]
        done = subprocess.run(
            [*argv, _quoted(variant.argv)],
            env=dict(env),
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise CannotRun(f"{variant.name}: {_complaint(done.stderr)}")
        status, sample = single_run(json.load(report))
    if status not in variant.accept:
        again = subprocess.run(
            variant.argv, env=dict(env), cwd=cwd, capture_output=True, text=True, check=False
        )
        raise CannotRun(f"{variant.name}: exit status {status}: {_complaint(again.stderr)}")
    return sample


def single_run(report: Mapping[str, Any]) -> tuple[int, Sample]:
    """Return the exit status and the times of the one run in hyperfine's JSON, of release 1 or 2."""
    result = report["results"][0]
    if "measurements" in result:
        (run,) = result["measurements"]
        wall, user, system = (run[f"time_{name}"]["value"] for name in ("wall_clock", "user", "system"))
        return run.get("exit_code") or 0, Sample(wall, user + system)
    (wall,) = result["times"]
    return (result.get("exit_codes") or [0])[0] or 0, Sample(wall, result["user"] + result["system"])


@dataclass(frozen=True, slots=True)
class Ended:
    """A command that was run once, outside hyperfine."""

    sample: Sample
    peak_mb: float
    """Largest resident set of the command or of any process that it waited for."""
    ended_ns: int
    """CLOCK_MONOTONIC at its end."""
    output: str


def run(
    argv: Sequence[str], env: Mapping[str, str], cwd: Path, accept: frozenset[int] = frozenset({0})
) -> Ended:
    """Run a command to its end and measure it. Raises `CannotRun`."""
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        started = time.monotonic_ns()
        child = subprocess.Popen(
            argv, env=dict(env), cwd=cwd, stdin=subprocess.DEVNULL, stdout=output, stderr=errors
        )
        _pid, status, used = os.wait4(child.pid, 0)
        ended = time.monotonic_ns()
        child.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        errors.seek(0)
        if child.returncode not in accept:
            complaint = _complaint(errors.read().decode(errors="replace"))
            raise CannotRun(f"{Path(argv[0]).name}: exit status {child.returncode}: {complaint}")
        text = output.read().decode()
    sample = Sample((ended - started) / 1e9, cpu_s(used))
    return Ended(sample, used.ru_maxrss / 1024, ended, text)


def cpu_s(used: resource.struct_rusage) -> float:
    """Return user and system time together."""
    return used.ru_utime + used.ru_stime


def tell(line: str) -> None:
    """Show what is going on, on a terminal only."""
    if sys.stderr.isatty():
        print(f"\r\033[K{line}", end="", file=sys.stderr, flush=True)


def _quoted(argv: Sequence[str]) -> str:
    # hyperfine takes a command as one string and splits it as a POSIX shell would.
    return " ".join("'" + word.replace("'", "'\\''") + "'" for word in argv)


def _complaint(text: str) -> str:
    """Return the last line of an error message that is no advice."""
    lines = [line.strip() for line in text.splitlines()]
    lines = [line for line in lines if line and not line.startswith("hint:")]
    return lines[-1] if lines else "no message"
