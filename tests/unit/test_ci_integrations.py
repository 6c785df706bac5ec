"""The Action, the pre-commit hooks and the examples of docs/howto-ci.md parse, and what they run exists."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from writeaudit.commands.group import cli

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "howto-ci.md").read_text(encoding="utf-8")
yaml = pytest.importorskip("yaml")


def _action() -> dict[str, Any]:
    action: dict[str, Any] = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
    return action


def _run_action(directory: Path, program: Path, **inputs: str) -> tuple[int, dict[str, str], str]:
    """Run the script of the Action as a runner does; return its status, outputs and what it wrote."""
    (step,) = _action()["runs"]["steps"]
    known = _action()["inputs"].items()
    given = {
        f"INPUT_{name.upper().replace('-', '_')}": str(each["default"])
        for name, each in known
        if "default" in each
    }
    given |= {f"INPUT_{name.upper()}": value for name, value in inputs.items()}
    output = directory / "output"
    output.touch()
    env = {
        **os.environ, **given, "PATH": f"{program}:{os.environ['PATH']}", "GITHUB_OUTPUT": str(output),
        "GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": str(directory / "summary.md"),
        "RUNNER_TEMP": str(directory), "INPUT_PACKAGE": "",
    }  # fmt: skip
    (directory / "summary.md").touch()
    words = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]]
    done = subprocess.run(words, cwd=directory, env=env, capture_output=True, text=True, check=False)
    told = dict(line.split("=", 1) for line in output.read_text().splitlines())
    return done.returncode, told, done.stdout + done.stderr


def test_every_input_reaches_the_script_as_a_variable_and_none_as_text() -> None:
    (step,) = _action()["runs"]["steps"]
    assert "${{" not in step["run"]
    used = set(re.findall(r"INPUT_\w+", step["run"]))
    assert used == set(step["env"])
    assert set(_action()["inputs"]) - {"working-directory"} == {
        name.removeprefix("INPUT_").lower().replace("_", "-") for name in used
    }


def test_script_of_the_action_passes_what_it_was_given(tmp_path: Path) -> None:
    program = tmp_path / "bin" / "writeaudit"
    program.parent.mkdir()
    program.write_text('#!/bin/sh\nfor word; do echo "<$word>"; done\nexit 100\n')
    program.chmod(0o755)
    hostile = "echo '$(touch pwned)'; `touch pwned`"
    status, told, text = _run_action(
        tmp_path, program.parent, run=hostile, profile="frozen", policy="a b.toml", fail_on="link-fallback"
    )
    assert (status, told["status"]) == (100, "100")
    assert f"<{hostile}>" in text
    assert "<--profile>\n<frozen>\n<--policy>\n<a b.toml>" in text
    assert "<--fail-on>\n<link-fallback>" in text
    assert not (tmp_path / "pwned").exists()
    assert told["recording"] == f"{tmp_path}/writeaudit/audit.wa"


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_script_of_the_action_audits(tmp_path: Path) -> None:
    status, told, text = _run_action(
        tmp_path, Path(sys.executable).parent, run="mkdir made\necho x > made/f", backend="strace"
    )
    assert status == 0, text
    for name in ("recording", "sarif", "html"):
        assert Path(told[name]).stat().st_size
    assert (tmp_path / "summary.md").read_text().startswith("### ")
    assert (tmp_path / "made" / "f").read_text() == "x\n"


def test_hooks_name_options_that_exist() -> None:
    hooks = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))
    run = cli.get_command(None, "run")  # type: ignore[arg-type]
    assert run is not None
    options = {name for parameter in run.params for name in parameter.opts}
    for hook in hooks:
        program, command, *words = shlex.split(hook["entry"])
        assert (program, command) == ("writeaudit", "run")
        assert {word for word in words if word.startswith("-")} <= options
        assert hook["id"] in PAGE


def test_examples_of_the_page_parse_and_name_inputs_that_exist() -> None:
    examples = [yaml.safe_load(text) for text in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)]
    assert len(examples) >= 3
    (steps,) = [each["jobs"]["audit"]["steps"] for each in examples if "jobs" in each]
    (ours,) = [step for step in steps if "writeaudit" in step.get("uses", "")]
    assert set(ours["with"]) <= set(_action()["inputs"])
    assert set(re.findall(r"steps\.audit\.outputs\.(\w+)", PAGE)) <= set(_action()["outputs"])
