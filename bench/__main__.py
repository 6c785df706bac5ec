"""``python -m bench``: measure, judge, write docs/performance.md. ``make bench`` prepares and calls it."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from bench.material import FULL, ROOT, SHORT, Scale, environment, place
from bench.measure import CannotRun, Session
from bench.page import Machine, keep_section, page, table
from bench.rows import ROWS, Line, Row
from bench.sessions import SESSIONS

_PAGE = ROOT / "docs" / "performance.md"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the rows that were asked for. Returns the exit status: 0 whatever the figures are."""
    options = _parser().parse_args(arguments)
    try:
        rows = _chosen(options.rows)
        scale = _scale(options)
        if os.geteuid() != 0 or shutil.which("hyperfine") is None:
            raise CannotRun("the bench needs root and hyperfine 1.13 or later; `make bench` installs it")
        if _counts_programs():
            raise CannotRun(
                "the kernel takes the time of every run of a BPF program, which costs as much as the "
                "program; switch it off: sysctl kernel.bpf_stats_enabled=0"
            )
        lines, sessions, machine = _run(rows, scale, options.work)
    except CannotRun as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    text = page(lines, sessions, machine)
    options.results.mkdir(parents=True, exist_ok=True)
    figures = {
        "machine": dict(machine.facts),
        "scale": dataclasses.asdict(scale),
        "sessions": [session.as_json() for session in sessions],
        "lines": [dataclasses.asdict(line) for line in lines],
    }
    options.results.joinpath("figures.json").write_text(json.dumps(figures, indent=1) + "\n")
    options.results.joinpath("performance.md").write_text(text)
    print("\n".join(table(lines)))
    if len(rows) == len(ROWS) and not options.short:
        _PAGE.write_text(keep_section(_PAGE.read_text(), text))
    return 0


def _counts_programs(setting: Path = Path("/proc/sys/kernel/bpf_stats_enabled")) -> bool:
    return setting.exists() and setting.read_text().strip() != "0"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--rows", default="", help=f"a part: {','.join(row.name for row in ROWS)}")
    parser.add_argument(
        "--short", action="store_true", help="only see that it works; the figures say nothing"
    )
    parser.add_argument("--rounds", type=int, help="of the shorter measurements")
    parser.add_argument(
        "--results", type=Path, default=ROOT / "bench" / "results", help="for the raw figures"
    )
    parser.add_argument(
        "--work", type=Path, default=ROOT / "build" / "bench", help="on the disk to measure on"
    )
    return parser


def _chosen(names: str) -> list[Row]:
    wanted = [name for name in names.replace(" ", ",").split(",") if name]
    known = {row.name for row in ROWS}
    if unknown := [name for name in wanted if name not in known]:
        raise CannotRun(f"no such row: {', '.join(unknown)}; there are {', '.join(sorted(known))}")
    return [row for row in ROWS if not wanted or row.name in wanted]


def _scale(options: argparse.Namespace) -> Scale:
    scale = SHORT if options.short else FULL
    return dataclasses.replace(scale, rounds=options.rounds) if options.rounds else scale


def _run(rows: Sequence[Row], scale: Scale, work: Path) -> tuple[list[Line], list[Session], Machine]:
    names = frozenset(row.name for row in rows)
    needed = {session for row in rows for session in row.sessions}
    taken: dict[str, Session] = {}
    failed: dict[str, str] = {}
    with place(work, scale) as where:
        machine = Machine.describe(where, environment())
        for name, measure in SESSIONS.items():
            if name in needed:
                try:
                    taken[name] = measure(where, names)
                except CannotRun as error:
                    failed[name] = str(error)
    lines: list[Line] = []
    for row in rows:
        if reasons := [failed[name] for name in row.sessions if name in failed]:
            lines.append(Line(row.name, "all of it", "-", "-", f"not measured: {reasons[0]}"))
        else:
            lines.extend(row.judge(taken))
    return lines, list(taken.values()), machine


if __name__ == "__main__":
    sys.exit(main())
