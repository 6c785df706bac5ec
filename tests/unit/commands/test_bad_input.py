"""What goes wrong, and what the command line says: the reason, a remedy, the status, nothing half-written."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.conftest import Cli
from tests.support.databases import open_database
from tests.support.small_recording import write_recording
from writeaudit.capture.interface import Backend
from writeaudit.recording import APPLICATION_ID, SCHEMA_VERSION


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """A recording of a run that made one file."""
    return write_recording(tmp_path / "made.wa")


def _complains(done: subprocess.CompletedProcess[str], status: int, *words: str) -> None:
    assert done.returncode == status, done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert "internal error" not in done.stderr
    for word in words:
        assert word in done.stderr


def _names(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("run",), "COMMAND"),
        (("run", "--nonsense", "--", "true"), "--nonsense"),
        (("run", "--backend", "dtrace", "--", "true"), "dtrace"),
        (("run", "--fail-on", "WA999", "--", "true"), "WA999"),
        (("run", "--fail-on", "eror", "--", "true"), "error"),
        (("run", "--buffer", "5M", "--", "true"), "power of two"),
        (("run", "--buffer", "many", "--", "true"), "power of two"),
        (("run", "--buffer", "²K", "--", "true"), "power of two"),
        (("run", "--buffer", "9" * 5000, "--", "true"), "power of two"),
        (("run", "--linger", "-1", "--", "true"), "linger"),
        (("run", "--linger", "nan", "--", "true"), "not a number of seconds"),
        (("run", "--linger", "inf", "--", "true"), "linger"),
        (("run", "--zone", "cache", "--", "true"), "cache"),
        (("run", "--zone", "cache=/x:rx", "--", "true"), "rx"),
        (("run", "--profile", "strict", "--", "true"), "strict"),
        (("run", "--policy", "/nowhere/policy.toml", "--", "true"), "/nowhere/policy.toml"),
        (("run", "--user", "no-such-user-here", "--", "true"), "no-such-user-here"),
        (("run", "--user", "²", "--", "true"), "no such user"),
        (("run", "--user", "9" * 5000, "--", "true"), "no such user"),
        (("rnu",), "rnu"),
        (("explain", "WA1O1"), "WA101"),
        (("report",), "RECORDING"),
        (("check", "last", "--fail-on", ""), "--fail-on"),
    ],
)
def test_usage_errors_come_before_anything_runs(
    cli: Cli, tmp_path: Path, words: tuple[str, ...], says: str
) -> None:
    done = cli(*words, cwd=tmp_path)
    _complains(done, 2, says)
    assert _names(tmp_path) == set()


def test_policy_with_a_typo_names_the_line(cli: Cli, tmp_path: Path) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text('# mine\n[zones.cache]\npaths = ["/srv/cache"]\nacces = "ro"\n')
    done = cli("run", "--policy", policy, "-o", tmp_path / "r.wa", "--", "touch", tmp_path / "ran")
    _complains(done, 2, "policy.toml:4:", "acces")
    assert _names(tmp_path) == {"policy.toml"}


def test_policy_that_is_no_toml_names_the_line(cli: Cli, tmp_path: Path) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text('[zones.cache]\npaths = ["/srv/cache"\naccess = "ro"\n')
    _complains(cli("run", "--policy", policy, "--", "touch", tmp_path / "ran"), 2, "policy.toml:3:")
    assert _names(tmp_path) == {"policy.toml"}


def test_no_such_command(cli: Cli, backend: Backend, tmp_path: Path) -> None:
    done = cli(
        "run",
        "--backend",
        backend.name,
        "-o",
        tmp_path / "r.wa",
        "--html",
        tmp_path / "r.html",
        "--",
        "no-such",
    )
    _complains(done, 127, "no-such", "not found", "hint:")
    assert _names(tmp_path) == set()


def test_command_that_cannot_be_executed(cli: Cli, backend: Backend, tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("text")
    done = cli("run", "--backend", backend.name, "-o", tmp_path / "r.wa", "--", tmp_path / "plain")
    _complains(done, 126, "plain", "Permission denied")
    assert _names(tmp_path) == {"plain"}


def test_command_that_is_a_directory(cli: Cli, backend: Backend, tmp_path: Path) -> None:
    done = cli("run", "--backend", backend.name, "-o", tmp_path / "r.wa", "--", tmp_path)
    _complains(done, 126, "cannot be executed")
    assert _names(tmp_path) == set()


def test_command_whose_interpreter_is_missing(cli: Cli, backend: Backend, tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text("#!/no/such/interpreter\n")
    script.chmod(0o755)
    done = cli("run", "--backend", backend.name, "-o", tmp_path / "r.wa", "--", script)
    _complains(done, 127, "script")
    assert _names(tmp_path) == {"script"}


def test_empty_name_of_a_command(cli: Cli, backend: Backend, tmp_path: Path) -> None:
    done = cli("run", "--backend", backend.name, "-o", tmp_path / "r.wa", "--", "", "argument")
    _complains(done, 127, "not found", "hint:")
    assert _names(tmp_path) == set()


@pytest.mark.parametrize("command", ["report", "check"])
def test_no_such_recording(cli: Cli, tmp_path: Path, command: str) -> None:
    _complains(cli(command, tmp_path / "none.wa"), 125, "none.wa", "no such recording", "hint:")
    assert _names(tmp_path) == set()


@pytest.mark.parametrize("command", ["report", "check"])
def test_no_recording_yet(cli: Cli, command: str) -> None:
    _complains(cli(command, "last"), 125, "no recording yet", "writeaudit run")


@pytest.mark.parametrize("content", [b"", b"text", b"SQLite format 3\0" + bytes(200), os.urandom(5000)])
def test_file_that_is_no_recording(cli: Cli, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "odd.wa"
    path.write_bytes(content)
    _complains(cli("report", path, "--json", tmp_path / "r.json"), 125, "odd.wa", "no recording")
    assert _names(tmp_path) == {"odd.wa"}
    assert path.read_bytes() == content


def test_database_of_somebody_else(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    with open_database(path) as database:
        database.execute("CREATE TABLE event (x)")
    _complains(cli("report", path), 125, "no recording of writeaudit")


def test_directory_as_recording(cli: Cli, tmp_path: Path) -> None:
    _complains(cli("report", tmp_path), 125, str(tmp_path))


@pytest.mark.parametrize("command", ["report", "check"])
def test_fifo_as_recording_is_not_waited_for(cli: Cli, tmp_path: Path, command: str) -> None:
    os.mkfifo(tmp_path / "fifo")
    _complains(cli(command, tmp_path / "fifo"), 125, "fifo", "not a regular file")


def test_recording_onto_a_fifo(cli: Cli, backend: Backend, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    done = cli("run", "--backend", backend.name, "-o", tmp_path / "fifo", "--", "touch", tmp_path / "ran")
    _complains(done, 125, "fifo", "left alone", "hint:")
    assert _names(tmp_path) == {"fifo"}


def test_recording_of_a_later_version(cli: Cli, recording: Path) -> None:
    with open_database(recording) as database:
        database.execute(f"PRAGMA user_version={SCHEMA_VERSION + 1}")
    before = recording.read_bytes()
    done = cli("report", recording, "--html", recording.with_suffix(".html"))
    _complains(done, 125, "later writeaudit", f"schema {SCHEMA_VERSION + 1}", "upgrade")
    assert recording.read_bytes() == before
    assert not recording.with_suffix(".html").exists()


def test_damaged_recording(cli: Cli, recording: Path) -> None:
    data = bytearray(recording.read_bytes())
    page = int.from_bytes(data[16:18], "big")
    for start in range(page, len(data), page):
        data[start : start + page] = bytes(page)
    recording.write_bytes(data)
    _complains(cli("report", recording, "--json", recording.with_suffix(".json")), 125, "damaged")
    assert not recording.with_suffix(".json").exists()


def test_truncated_recording(cli: Cli, recording: Path) -> None:
    os.truncate(recording, recording.stat().st_size // 2)
    _complains(cli("report", recording, "--json", recording.with_suffix(".json")), 125, "damaged")
    assert not recording.with_suffix(".json").exists()


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM meta WHERE key = 'run'",
        "UPDATE meta SET value = '{' WHERE key = 'run'",
        "UPDATE meta SET value = '[]' WHERE key = 'run'",
        "UPDATE meta SET value = '{}' WHERE key = 'completeness'",
        "UPDATE meta SET value = '[]' WHERE key = 'policy'",
        "UPDATE chunk SET kinds = '[]'",
        "UPDATE chunk SET path = zeroblob(length(path))",
        "UPDATE chunk SET names = 5",
        "DROP TABLE chunk",
        "DROP TABLE correction",
        "UPDATE process SET argv = 7",
    ],
)
def test_recording_with_something_wrong_inside(cli: Cli, recording: Path, statement: str) -> None:
    with open_database(recording) as database:
        database.execute(statement)
    _complains(cli("report", recording, "--json", recording.with_suffix(".json")), 125, "damaged")
    assert not recording.with_suffix(".json").exists()


def test_recording_onto_a_foreign_file(cli: Cli, backend: Backend, tmp_path: Path) -> None:
    precious = tmp_path / "thesis.txt"
    precious.write_text("years of work")
    done = cli("run", "--backend", backend.name, "-o", precious, "--", "touch", tmp_path / "ran")
    _complains(done, 125, "thesis.txt", "left alone", "hint:")
    assert precious.read_text() == "years of work"
    assert _names(tmp_path) == {"thesis.txt"}


def test_recording_onto_an_older_one(cli: Cli, recording: Path, backend: Backend) -> None:
    words = ("run", "--backend", backend.name, "-q", "-o", recording)
    assert cli(*words, "--", "sh", "-c", "exit 3").returncode == 3
    with open_database(recording) as database:
        assert database.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)
        assert '"exit_status": 3' in database.execute("SELECT value FROM meta WHERE key='run'").fetchone()[0]
    assert {path.name for path in recording.parent.iterdir()} == {"made.wa"}


def test_command_that_does_not_start_leaves_the_older_recording(
    cli: Cli, recording: Path, backend: Backend
) -> None:
    before = recording.read_bytes()
    assert cli("run", "--backend", backend.name, "-o", recording, "--", "no-such").returncode == 127
    assert recording.read_bytes() == before
    assert {path.name for path in recording.parent.iterdir()} == {"made.wa"}


@pytest.mark.parametrize("option", ["-o", "--json", "--html"])
def test_output_into_a_directory_that_is_not_there(
    cli: Cli, backend: Backend, tmp_path: Path, option: str
) -> None:
    outputs = ("-o", tmp_path / "r.wa") if option != "-o" else ()
    done = cli("run", "--backend", backend.name, *outputs, option, tmp_path / "no/such", "--", "true")
    _complains(done, 125, "no/such")
    assert _names(tmp_path) <= {"r.wa"}


def test_full_disk_while_the_report_is_written(cli: Cli, recording: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    _complains(cli("report", recording, "--html", "/dev/full"), 125, "No space left", "hint:")


def test_strace_missing(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    done = cli("run", "--backend", "strace", "-o", tmp_path / "r.wa", "--", "/bin/true")
    _complains(done, 125, "strace is not installed", "apt install strace")
    assert _names(tmp_path) == set()
