"""The bench: that it measures and judges rightly. What the figures are is not asked here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench import __main__ as command
from bench.material import SHORT, environment, file_system, project
from bench.measure import CannotRun, Sample, Session, Spread, Variant, alternate, run, single_run
from bench.page import BEGIN, END, Machine, keep_section, page, put_section
from bench.rows import ROWS, Line
from bench.sessions import SESSIONS
from tests.conftest import ROOT

needs_hyperfine = pytest.mark.requires_program("hyperfine")


def _session(name: str, **walls: list[float]) -> Session:
    return Session(
        name, {key.replace("_", " "): [Sample(s, s) for s in taken] for key, taken in walls.items()}
    )


def _lines(row: str, session: Session) -> list[Line]:
    (chosen,) = (each for each in ROWS if each.name == row)
    return list(chosen.judge(dict.fromkeys(chosen.sessions, session)))


def test_every_row_is_fed_by_a_session() -> None:
    assert {session for row in ROWS for session in row.sessions} == set(SESSIONS)
    assert len({row.name for row in ROWS}) == len(ROWS)


def test_ratios_are_those_of_one_round_and_then_their_median() -> None:
    session = _session("startup", python=[0.01, 0.02, 0.04], ebpf=[0.04, 0.04, 0.04])
    ratio = session.paired(lambda bare, ebpf: ebpf / bare, "python", "ebpf")
    assert ratio == Spread(2.0, 1.0, 4.0)


def test_both_forms_of_what_hyperfine_reports() -> None:
    first = {"results": [{"command": "x", "user": 0.25, "system": 0.5, "times": [1.5], "exit_codes": [3]}]}
    times = {"time_wall_clock": 1.5, "time_user": 0.25, "time_system": 0.5}
    run = {name: {"value": value, "unit": "second"} for name, value in times.items()} | {"exit_code": 3}
    assert single_run(first) == single_run({"results": [{"measurements": [run]}]}) == (3, Sample(1.5, 0.75))


@pytest.mark.parametrize(("ebpf", "verdict"), [(0.03, "met"), (0.031, "**missed**")])
def test_a_goal_is_met_up_to_its_limit(ebpf: float, verdict: str) -> None:
    times, seconds = _lines("startup", _session("startup", python=[0.01], ebpf=[ebpf]))
    assert times.verdict == verdict
    assert seconds.verdict == "met"


def test_start_up_is_taken_off_what_an_audit_adds() -> None:
    session = _session("sync", untraced=[1.0], ebpf=[1.5], ebpf_x=[0.0], bare_strace=[11.0], strace=[11.0])
    session.samples["plain strace"] = [Sample(6.0, 6.0)]
    session.samples["ebpf start-up"] = session.samples["strace start-up"] = [Sample(0.4, 0.4)]
    session.add("command wall_s", 1.02)
    own, added, backend, *_ = _lines("strace", session)
    assert own.measured.startswith("0.002 ")
    assert added.measured.startswith("0.010 ")
    assert (own.verdict, added.verdict) == ("met", "met")
    assert backend.measured.startswith("0.964 times")


def test_a_rival_that_cannot_run_is_said_with_its_reason() -> None:
    session = _session("sync", untraced=[1.0], ebpf=[1.5])
    session.samples["ebpf start-up"] = [Sample(0.4, 0.4)]
    session.add("command wall_s", 1.1)
    session.impossible["bpftrace"] = "bpftrace is not installed"
    assert {line.verdict for line in _lines("bpftrace", session)} == {
        "not measured: bpftrace is not installed"
    }


def test_a_loss_of_one_event_in_one_round_of_many_shows() -> None:
    session = Session("flood", facts={"files": [4.0], "lost": [0.0, 0.0, 1.0], "peak_mb": [60.0] * 3})
    session.facts |= {"untraced wall_s": [1.0] * 3, "audited wall_s": [1.2] * 3, "to verdict_s": [9.0] * 3}
    lost, wall, verdict, memory = _lines("flood", session)
    assert (lost.verdict, wall.verdict, memory.verdict) == ("**missed**", "met", "met")
    assert verdict.verdict == "**missed**"


def test_the_page_counts_and_names_no_place() -> None:
    lines = [Line("a", "one", "1", "1 (1 to 1)", "met"), Line("a", "two", "1", "2 (2 to 2)", "**missed**")]
    text = page(lines, [_session("startup", python=[0.5, 0.7])], Machine({"kernel": "Linux 6"}))
    assert "Met: 1. Missed: 1. Could not be measured here: 0." in text
    assert "| a | two | 1 | 2 (2 to 2) | **missed** |" in text
    assert "| startup | python wall_s | 0.6 | 0.5 | 0.7 | 2 |" in text
    assert str(ROOT) not in text


@needs_hyperfine
def test_variants_take_turns_and_are_prepared(tmp_path: Path) -> None:
    log = tmp_path / "log"

    def variant(name: str) -> Variant:
        return Variant(name, ("sh", "-c", f"echo {name} >> {log}"), ("sh", "-c", f"printf +  >> {log}"))

    session = Session("turns")
    alternate(session, [variant("a"), variant("b")], 3, environment(), tmp_path)
    # The first pair warms up; after it each round begins with another one.
    assert log.read_text().split() == ["+b", "+a", "+a", "+b", "+b", "+a", "+a", "+b"]
    assert {name: len(taken) for name, taken in session.samples.items()} == {"a": 3, "b": 3}


@needs_hyperfine
def test_a_variant_that_fails_is_left_out_and_the_others_go_on(tmp_path: Path) -> None:
    session = Session("failing")
    broken = Variant("broken", ("sh", "-c", "echo no such thing >&2; exit 3"))
    alternate(session, [broken, Variant("whole", ("true",))], 2, environment(), tmp_path)
    assert session.impossible == {"broken": "broken: exit status 3: no such thing"}
    assert list(session.samples) == ["whole"]


def test_a_single_run_says_time_memory_and_output(tmp_path: Path) -> None:
    ended = run((sys.executable, "-c", "print(len(b'x' * (50 << 20)))"), environment(), tmp_path)
    assert ended.output == f"{50 << 20}\n"
    assert ended.peak_mb > 50
    assert ended.sample.cpu_s > 0
    with pytest.raises(CannotRun, match="exit status 4"):
        run(("sh", "-c", "exit 4"), environment(), tmp_path)


@pytest.mark.requires_uv
def test_the_project_needs_no_network_and_has_its_files(tmp_path: Path) -> None:
    made = project(tmp_path, "copy", environment(), SHORT.sync_files)
    assert made.files > SHORT.sync_files
    modules = list(Path(made.venv).glob("lib/python*/site-packages/bench*/**/*.py"))
    assert len(modules) == SHORT.sync_files


def test_file_systems_are_named_by_type() -> None:
    assert file_system(Path("/proc/self")) == "proc"


@pytest.mark.parametrize(("setting", "counts"), [("1\n", True), ("0\n", False), (None, False)])
def test_a_kernel_that_times_every_program_is_noticed(
    tmp_path: Path, setting: str | None, counts: bool
) -> None:
    file = tmp_path / "bpf_stats_enabled"
    if setting is not None:
        file.write_text(setting)
    assert command._counts_programs(file) is counts


def test_a_row_that_is_not_there_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--rows", "startup,starup"]) == 1
    assert "no such row: starup" in capsys.readouterr().err


@needs_hyperfine
@pytest.mark.requires_root
@pytest.mark.requires_ebpf
@pytest.mark.requires_strace
@pytest.mark.requires_uv
@pytest.mark.requires_gcc
def test_the_short_form_measures_every_row(tmp_path: Path) -> None:
    rows = [row.name for row in ROWS if row.name not in {"bpftrace", "opensnoop"}]
    options = ["--short", "--rounds", "1", "--results", tmp_path / "results", "--work", tmp_path / "work"]
    done = subprocess.run(
        [sys.executable, "-m", "bench", "--rows", ",".join(rows), *map(str, options)],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    figures = json.loads((tmp_path / "results" / "figures.json").read_text())
    assert {line["row"] for line in figures["lines"]} == set(rows)
    assert [line for line in figures["lines"] if "not measured" in line["verdict"]] == []
    assert {session["name"] for session in figures["sessions"]} == set(SESSIONS)
    assert done.stdout in (tmp_path / "results" / "performance.md").read_text()
    assert list((tmp_path / "work").iterdir()) == [], "something was left behind"


def test_the_section_on_the_report_page_stays_when_the_page_is_written_anew() -> None:
    old = put_section("# P\n\n## Goals\n\nold\n\n## Machine\n\n- x\n", f"{BEGIN}\nfigures\n{END}\n")
    assert old == f"# P\n\n## Goals\n\nold\n\n{BEGIN}\nfigures\n{END}\n\n## Machine\n\n- x\n"
    new = keep_section(old, "# P\n\n## Goals\n\nnew\n\n## Machine\n\n- y\n")
    assert new == old.replace("old", "new").replace("- x", "- y")
    assert put_section(new, f"{BEGIN}\nothers\n{END}\n") == new.replace("figures", "others")
    assert keep_section("no section", "new") == "new"
