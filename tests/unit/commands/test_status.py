"""Exit statuses: the command's own first, then what the audit says of it."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from tests.conftest import Cli
from writeaudit.capture.interface import Backend

Words = tuple[str | Path, ...]


@pytest.fixture
def zoned(tmp_path: Path) -> tuple[str, ...]:
    """Options under which everything in ``tmp_path``/ok is allowed and the rest of it read-only."""
    (tmp_path / "ok").mkdir()
    return ("--zone", f"ok={tmp_path}/ok:rw", "--zone", f"shut={tmp_path}:ro")


@pytest.mark.parametrize("status", [1, 2, 42, 100, 101, 125, 127, 255])
def test_status_of_a_command_that_failed_passes_through(
    cli: Cli, backend: Backend, tmp_path: Path, status: int
) -> None:
    done = cli("run", "--backend", backend.name, "-o", tmp_path / "r.wa", "--", "sh", "-c", f"exit {status}")
    assert done.returncode == status


def test_status_of_a_failure_goes_before_findings(
    cli: Cli, backend: Backend, tmp_path: Path, zoned: tuple[str, ...]
) -> None:
    script = f"touch {tmp_path}/forbidden; exit 3"
    done = cli("run", "--backend", backend.name, *zoned, "-o", tmp_path / "r.wa", "--", "sh", "-c", script)
    assert done.returncode == 3
    assert "WA201" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGSEGV, signal.SIGPIPE])
def test_signal(cli: Cli, backend: Backend, tmp_path: Path, number: signal.Signals) -> None:
    report = tmp_path / "r.json"
    script = f"ulimit -c 0; kill -{number.value} $$"
    done = cli(
        *("run", "--backend", backend.name, "-o", tmp_path / "r.wa", "--json", report),
        *("--", "sh", "-c", script),
    )
    assert done.returncode == 128 + number
    run = json.loads(report.read_text())["run"]
    assert (run["exit_status"], run["signal"]) == (None, number)


def test_allowed_changes_are_clean(
    cli: Cli, backend: Backend, tmp_path: Path, zoned: tuple[str, ...]
) -> None:
    words: Words = ("run", "--backend", backend.name, *zoned, "-o", tmp_path / "r.wa")
    done = cli(*words, "--", "touch", tmp_path / "ok/file")
    assert done.returncode == 0, done.stderr
    assert "Clean" in done.stderr


def test_violation(cli: Cli, backend: Backend, tmp_path: Path, zoned: tuple[str, ...]) -> None:
    words: Words = ("run", "--backend", backend.name, *zoned, "-o", tmp_path / "r.wa")
    done = cli(*words, "--", "touch", tmp_path / "forbidden")
    assert done.returncode == 100
    assert "WA201" in done.stderr


def test_fail_on_none_lets_a_violation_pass(
    cli: Cli, backend: Backend, tmp_path: Path, zoned: tuple[str, ...]
) -> None:
    words: Words = (
        "run",
        "--backend",
        backend.name,
        *zoned,
        "--fail-on",
        "none",
        "-o",
        tmp_path / "r.wa",
    )
    assert cli(*words, "--", "touch", tmp_path / "forbidden").returncode == 0


def test_place_outside_every_zone(cli: Cli, backend: Backend, tmp_path: Path) -> None:
    policy = tmp_path / "policy.toml"
    (tmp_path / "ok").mkdir()
    policy.write_text(f'[zones.ok]\npaths = ["{tmp_path}/ok"]\naccess = "rw"\n')
    words: Words = (
        "run",
        "--backend",
        backend.name,
        "--policy",
        policy,
        "-o",
        tmp_path / "r.wa",
    )
    done = cli(*words, "--", "touch", tmp_path / "elsewhere")
    assert done.returncode == 100, done.stderr
    assert "WA202" in done.stderr


def test_process_that_outlives_the_audit_makes_it_incomplete(
    cli: Cli, backend: Backend, tmp_path: Path
) -> None:
    script = "sleep 3 >/dev/null 2>&1 </dev/null &"
    words: Words = (
        "run",
        "--backend",
        backend.name,
        "--linger",
        "0.3",
        "-o",
        tmp_path / "r.wa",
    )
    done = cli(*words, "--", "sh", "-c", script)
    assert done.returncode == 101, done.stderr
    assert "WA904" in done.stderr
    assert "Incomplete" in done.stderr


def test_linger_waits_for_what_ends_in_time(cli: Cli, backend: Backend, tmp_path: Path) -> None:
    late, report = tmp_path / "late", tmp_path / "r.json"
    script = f"(sleep 0.6; echo x > {late}) >/dev/null 2>&1 </dev/null &"
    words: Words = (
        "run",
        "--backend",
        backend.name,
        "--linger",
        "20",
        "-o",
        tmp_path / "r.wa",
        "--json",
        report,
    )
    done = cli(*words, "--json", report, "--zone", f"here={tmp_path}:rw", "--", "sh", "-c", script)
    assert done.returncode == 0, done.stderr
    events = json.loads(report.read_text())["events"]
    assert [event["created"] for event in events if event["op"] == "open" and event["path"] == str(late)] == [
        True
    ]


def test_check_and_report_say_what_run_said(
    cli: Cli, backend: Backend, tmp_path: Path, zoned: tuple[str, ...]
) -> None:
    recording = tmp_path / "r.wa"
    words: Words = (
        "run",
        "--backend",
        backend.name,
        *zoned,
        "-o",
        recording,
        "--json",
        tmp_path / "one.json",
    )
    assert cli(*words, "--", "touch", tmp_path / "forbidden").returncode == 100
    done = cli("check", recording)
    assert (done.returncode, done.stdout) == (100, "")
    assert "WA201" in done.stderr
    quiet = cli("check", recording, "-q")
    assert (quiet.returncode, quiet.stdout, quiet.stderr) == (100, "", "")
    assert cli("check", recording, "--zone", f"shut={tmp_path}:rw").returncode == 0
    assert cli("check", recording, "--fail-on", "none").returncode == 0
    again = cli("report", recording, "--json", "-")
    assert again.returncode == 0
    assert json.loads(again.stdout) == json.loads((tmp_path / "one.json").read_text())


def test_check_does_not_pass_the_commands_status_on(cli: Cli, backend: Backend, tmp_path: Path) -> None:
    recording = tmp_path / "r.wa"
    cli("run", "--backend", backend.name, "-o", recording, "--", "sh", "-c", "exit 9")
    assert cli("check", recording).returncode == 0


def test_last_is_the_newest(cli: Cli, backend: Backend) -> None:
    for number in (1, 2):
        cli("run", "--backend", backend.name, "-q", "--", "sh", "-c", f"exit {number}")
    done = cli("report", "last", "--json", "-")
    assert json.loads(done.stdout)["run"]["exit_status"] == 2


def test_quiet_says_nothing(cli: Cli, backend: Backend, tmp_path: Path) -> None:
    done = cli("run", "--backend", backend.name, "-q", "-o", tmp_path / "r.wa", "--", "true")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_json_on_standard_output_comes_after_the_commands_own(
    cli: Cli, backend: Backend, tmp_path: Path
) -> None:
    done = cli("run", "--backend", backend.name, "-o", tmp_path / "r.wa", "--json", "-", "--", "echo", "mine")
    first, _newline, rest = done.stdout.partition("\n")
    assert first == "mine"
    assert json.loads(rest)["run"]["command"] == ["echo", "mine"]


def test_arguments_after_the_command_are_its_own(cli: Cli, backend: Backend, tmp_path: Path) -> None:
    words: Words = ("run", "--backend", backend.name, "-q", "-o", tmp_path / "r.wa")
    done = cli(*words, "--", "printf", "%s|", "--json", "-o", "--", "-q")
    assert done.stdout == "--json|-o|--|-q|"
    assert cli(*words, "printf", "%s|", "--help", "-q").stdout == "--help|-q|"
