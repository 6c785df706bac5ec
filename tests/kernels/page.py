"""docs/kernels.md, from what `make kernels` saw."""

from __future__ import annotations

import re
from collections.abc import Sequence

from tests.kernels.guest import BACKENDS
from tests.kernels.trial import Trial

_BEGIN = "<!-- kernels:begin (written by `make kernels`) -->"
_END = "<!-- kernels:end -->"
_HEAD = """# Kernels and processors

Written by `make kernels`; do not edit. Each kernel is Debian's, unchanged, and was booted in an
emulated virtual machine with two processors and a small Debian 12 (Python {python}, libbpf {libbpf},
strace {strace}). There `writeaudit doctor` was asked, every backend audited a short shell script (*smoke*),
six shells made 720 files at once (*busy*), and a part of the conformance suite ran: workloads that together
make every operation that writeaudit knows, io_uring, mount namespaces, a buffer that overflows. *Skipped* are
workloads of calls that the kernel does not have, or that the backend does not see.

The probes were compiled by {compilers}; the workloads ran with the first of
these, the smoke run with each.

| kernel | processor | Debian package | tried on | {backends} |
| --- | --- | --- | --- | {rule} |
"""


def page(trials: Sequence[Trial], compilers: Sequence[str]) -> str:
    """Return the whole page."""
    facts = next(
        (record["facts"] for trial in trials for record in trial.records("doctor") if "facts" in record), {}
    )
    assert isinstance(facts, dict)
    head = _HEAD.format(
        python=facts.get("python"),
        libbpf=facts.get("libbpf"),
        strace=facts.get("strace"),
        compilers=" and by ".join(compilers),
        backends=" | ".join(f"`{backend}`" for backend in BACKENDS),
        rule=" | ".join("---" for _backend in BACKENDS),
    )
    return head + "\n".join([*table(trials), "", *_details(trials)])


def table(trials: Sequence[Trial]) -> list[str]:
    """Return a row for each kernel."""
    rows: list[str] = []
    for trial in trials:
        cells = [trial.release or trial.kernel.name, trial.kernel.machine, trial.version or "-", trial.tried]
        if trial.skipped is not None:
            cells += [f"NOT TRIED: {_cell(trial.skipped.upper())}"] + ["" for _ in BACKENDS[1:]]
        else:
            cells += [_of_backend(trial, backend) for backend in BACKENDS]
        rows.append(f"| {' | '.join(cells)} |")
    return rows


def _of_backend(trial: Trial, backend: str) -> str:
    smoke = next((record for record in trial.records("smoke") if record["backend"] == backend), None)
    if smoke is None:
        return "**not reached**"
    if smoke["outcome"] == "refused":
        return "refused" if backend in trial.kernel.without else "**refused**"
    parts = ["works" if smoke["outcome"] == "works" else f"**{smoke['outcome']}**"]
    count = trial.count(backend)
    if count.total:
        parts.append(f"{count.passed} of {count.passed + count.failed} workloads")
        if count.skipped:
            parts.append(f"{count.skipped} skipped")
        if count.late:
            parts.append(f"{count.late} not reached")
    else:
        parts.append("no workloads tried")
    return ", ".join(parts)


def _details(trials: Sequence[Trial]) -> list[str]:
    lines: list[str] = []
    for trial in trials:
        said = list(_told(trial))
        if said:
            lines += [f"## {trial.release} ({trial.kernel.machine})", "", *said, ""]
    return lines


def _told(trial: Trial) -> list[str]:
    lines: list[str] = []
    for record in (*trial.records("smoke"), *trial.records("busy")):
        what = {"smoke": "", "busy": ", busy"}[str(record["kind"])]
        numbers = f"{record['recorded']} of {record['of']} recorded" if "of" in record else ""
        if record["outcome"] != "works":
            said = _cell(str(record["said"])).removeprefix("writeaudit: ")
            lines.append(f"- `{record['backend']}`{what}: {record['outcome']}: {f'{numbers} {said}'.strip()}")
        elif "," in str(record["backend"]):
            lines.append(f"- `{record['backend']}`: works")
        elif numbers:
            lines.append(f"- `{record['backend']}`{what}: {numbers}, nothing missed")
    for record in trial.records("workload"):
        if record["outcome"] == "failed":
            name = str(record["name"]).removeprefix("test_").replace("|", " ").replace("_", " ").strip()
            lines.append(f"- `{record['backend']}`, {name}: failed: {_cell(str(record['said']))}")
    return lines


def _cell(text: str, limit: int = 400) -> str:
    """Return a text on one line that a table can hold."""
    line = " ".join(text.split()).replace("|", "\\|")
    return line if len(line) <= limit else line[: limit - 1] + "…"


def summary(trials: Sequence[Trial]) -> str:
    """Return in a sentence or two, for the README, which kernels were tried and with what success."""
    good: dict[str, list[str]] = {}
    bad: list[str] = []
    for trial in trials:
        if trial.skipped is not None:
            continue
        if trial.complaints():
            bad.append(f"{series(trial.release)} on {trial.kernel.machine}")
        else:
            good.setdefault(trial.kernel.machine, []).append(series(trial.release))
    tried = "; ".join(f"Linux {_listed(names)} on {machine}" for machine, names in good.items())
    text = f"Tried and found to work: {tried or 'none yet'}."
    if bad:
        text += f" Something fails on {_listed(bad)}."
    return f"{text} [docs/kernels.md](docs/kernels.md) has the exact versions and what was tried.\n"


def series(release: str) -> str:
    """Return what people call a kernel: ``6.12-rt`` for ``6.12.117+deb13-rt-amd64``."""
    number = re.match(r"[0-9]+\.[0-9]+", release)
    return (number[0] if number else release) + ("-rt" if "-rt-" in release else "")


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def with_summary(readme: str, text: str) -> str:
    """Return the README with another summary between its marks."""
    begin, rest = readme.split(_BEGIN)
    _old, end = rest.split(_END)
    return f"{begin}{_BEGIN}\n\n{text}\n{_END}{end}"
