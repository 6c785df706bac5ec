"""Mistakes on the command line, said in the program's own form: what is wrong, and what to do next."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import Cli


@pytest.mark.parametrize(
    ("words", "message", "hint"),
    [
        (["uv", "sync", "a b"], "no such command: uv", "writeaudit run -- uv sync 'a b'"),
        (["reprot", "last"], "no such command: reprot", "did you mean report?"),
        (["run", "--htlm", "x", "--", "true"], "no such option: --htlm", "did you mean --html?"),
        (
            ["run", "--unheard-of", "--", "true"],
            "no such option: --unheard-of",
            "All options: writeaudit run --help",
        ),
        (["run"], "writeaudit run needs a COMMAND", "writeaudit run -- COMMAND"),
        (["report"], "writeaudit report needs a RECORDING", "writeaudit report --help"),
        (["diff"], "writeaudit diff needs an OLD", "writeaudit diff OLD NEW"),
        (["diff", "x"], "writeaudit diff needs a NEW", "writeaudit diff OLD NEW"),
        (["image", ".", "--platform", "arm64"], "no platform: arm64", "--platform linux/arm64"),
        (["image", ".", "--json", "-", "--format", "json"], "are the same file", "name another file"),
        (["run", "--linger", "soon", "--", "true"], "'soon' is not a valid", "writeaudit run --help"),
        (["completion", "csh"], "'csh' is not one of", "writeaudit completion --help"),
    ],
)
def test_mistake_has_a_hint(cli: Cli, words: list[str], message: str, hint: str) -> None:
    done = cli(*words)
    assert done.returncode == 2
    first, second, *rest = done.stderr.splitlines()
    assert first.startswith("writeaudit: ")
    assert message in first
    assert second.startswith("  hint: ")
    assert hint in second
    assert rest == []
    assert done.stdout == ""


@pytest.mark.parametrize("option", ["--json", "--html", "-o", "--profile", "--user"])
def test_double_dash_is_no_value(cli: Cli, option: str, tmp_path: Path) -> None:
    done = cli("run", option, "--", "touch", "made", cwd=tmp_path)
    assert done.returncode == 2
    assert "needs a value" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_words_of_the_command_are_left_alone(cli: Cli, tmp_path: Path) -> None:
    done = cli("run", "-q", "-o", tmp_path / "r.wa", "--", "printf", "%s", "--json")
    assert (done.returncode, done.stdout) == (0, "--json")


@pytest.mark.parametrize("option", ["-V", "--version"])
def test_version(cli: Cli, option: str) -> None:
    assert cli(option).stdout.startswith("writeaudit, version ")
