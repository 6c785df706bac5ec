"""docs/performance.md: the table, how it was measured, and the machine."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.material import BenchDirectory, file_system
from bench.measure import Session, Spread
from bench.rows import Line
from writeaudit import __version__

_HEAD = """\
# Performance

Written by `make bench`; do not edit. Every line compares writeaudit with its limit (no tracing) or with a
rival, measured in one run on one machine. The variants of a row take turns, each round begins with another
one, and a ratio is that of two runs of the same round. The figure is the median of all rounds, with the
lowest and the highest. Commands are measured with hyperfine.

- *Start-up apart*: what `writeaudit run -q -- true` takes, measured in the same round, is taken off.
- *Processor time* is that of the command, of everything that it started and of writeaudit. What the probes
  take is part of it: they run in the process that they watch.
- *Wall of the command*: from its start to its end, while writeaudit records: what an installer feels.
- *To the end of writeaudit*: what its user waits for. It includes resolving and judging the events, most of
  which happens when the command has ended. [overhead.md](overhead.md) says what takes how long.
- *Time added* by a tracer of the whole machine (bpftrace, opensnoop) is measured with the tracer already
  running, so its start-up, too, is apart.
- `uv sync` installs 20 packages of small files from a warm cache, with no network; the environment is
  removed before each run. Cache and environment lie on the same file system.
"""


@dataclass(frozen=True, slots=True)
class Machine:
    """What the figures were measured on. No names, no paths."""

    facts: Mapping[str, str]

    @classmethod
    def describe(cls, place: BenchDirectory, env: Mapping[str, str]) -> Machine:
        """Look at this machine."""
        facts = {
            "kernel": f"{platform.system()} {platform.release()} {platform.machine()}",
            "processor": f"{_processor()}, {os.cpu_count()} processors",
            "memory": f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 2**30:.0f} GiB",
            "file systems": f"disk: {file_system(place.disk)}; memory: {file_system(place.memory)}",
            "load before the run": f"{os.getloadavg()[0]:.1f} (average of one minute)",
            "Python": platform.python_version(),
            "writeaudit": __version__,
        }
        for name in ("uv", "strace", "bpftrace", "hyperfine"):
            facts[name] = _version(name, env)
        return cls(facts)


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or "unknown processor"


def _version(name: str, env: Mapping[str, str]) -> str:
    found = shutil.which(name, path=env["PATH"])
    if found is None:
        return "not installed"
    done = subprocess.run([found, "--version"], capture_output=True, text=True, check=False)
    first = (done.stdout or done.stderr).partition("\n")[0]
    words = [word for word in first.split() if word[:1].isdigit() or word[:2].strip("v").isdigit()]
    return words[0].lstrip("v") if words else first


def table(lines: Iterable[Line]) -> Iterator[str]:
    """Yield the lines of a Markdown table."""
    yield "| row | what | goal | median (lowest to highest) | |"
    yield "| --- | --- | --- | --- | --- |"
    for line in lines:
        yield f"| {line.row} | {line.what} | {line.goal} | {line.measured} | {line.verdict} |"


def raw(sessions: Iterable[Session]) -> Iterator[str]:
    """Yield a table of all that was measured."""
    yield "| session | figure | median | lowest | highest | rounds |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for session in sessions:
        columns: dict[str, Sequence[float]] = dict(session.facts)
        for name, samples in session.samples.items():
            columns[f"{name} wall_s"] = [sample.wall_s for sample in samples]
            columns[f"{name} cpu_s"] = [sample.cpu_s for sample in samples]
        for name, values in columns.items():
            spread = Spread.of(values)
            figures = " | ".join(_figure(value) for value in (spread.median, spread.low, spread.high))
            yield f"| {session.name} | {name} | {figures} | {len(values)} |"


def _figure(value: float) -> str:
    return f"{value:,.0f}" if float(value).is_integer() or abs(value) >= 1000 else f"{value:.4g}"


def page(lines: Sequence[Line], sessions: Iterable[Session], machine: Machine) -> str:
    """Return the whole page."""
    met = sum(line.verdict == "met" for line in lines)
    missed = sum("missed" in line.verdict for line in lines)
    rest = sum("not measured" in line.verdict for line in lines)
    counted = f"Met: {met}. Missed: {missed}. Could not be measured here: {rest}."
    facts = [f"- {name}: {value}" for name, value in machine.facts.items()]
    parts = [
        _HEAD, "## Goals\n", counted + "\n", *table(lines), "\n## Machine\n", *facts,
        "\n## Raw figures\n", *raw(sessions),
    ]  # fmt: skip
    return "\n".join(parts) + "\n"


BEGIN, END = "<!-- report page -->", "<!-- end of report page -->"
"""Marks of the section that `bench.report_page` writes."""


def put_section(page: str, text: str) -> str:
    """Return a page with the section put in place of the old one, or before "## Machine"."""
    if BEGIN in page:
        return page[: page.index(BEGIN)] + text + page[page.index(END) + len(END) :].removeprefix("\n")
    head, mark, tail = page.partition("\n## Machine\n")
    return f"{head}\n{text}{mark}{tail}"


def keep_section(old: str, new: str) -> str:
    """Return a new page with the section of the old one, if that has any."""
    if BEGIN not in old:
        return new
    return put_section(new, old[old.index(BEGIN) : old.index(END) + len(END)] + "\n")
