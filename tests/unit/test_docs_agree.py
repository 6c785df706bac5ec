"""What the program can do, and what its pages say that it can do."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from tests.scenarios import situations
from writeaudit import __version__, doctor, errors
from writeaudit.analysis import fail_on
from writeaudit.commands import settings
from writeaudit.commands.group import cli
from writeaudit.rules import RULES

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCS = {path: path.read_text(encoding="utf-8") for path in sorted((ROOT / "docs").rglob("*.md"))}
PAGES = {ROOT / "README.md": README, ROOT / "CHANGELOG.md": (ROOT / "CHANGELOG.md").read_text(), **DOCS}


def _commands() -> Iterator[tuple[str, click.Command]]:
    group = cli
    context = click.Context(group, info_name="writeaudit")
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None, f"{name} is listed but cannot be loaded"
        yield name, command


COMMANDS = dict(_commands())


def test_the_promised_commands_are_there() -> None:
    assert set(COMMANDS) >= {"run", "report", "check", "explain", "list", "prune", "doctor", "completion"}


@pytest.mark.parametrize("name", ["", *COMMANDS])
def test_every_command_and_option_has_help(name: str) -> None:
    command = COMMANDS[name] if name else cli
    assert command.help, "no help text"
    assert command.get_short_help_str(limit=100), "no summary for the list of commands"
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, f"{'/'.join(parameter.opts)} has no help text"


@pytest.mark.parametrize("width", [40, 80, 200])
@pytest.mark.parametrize("name", ["", *COMMANDS])
def test_no_help_is_cut_off(name: str, width: int) -> None:
    command = COMMANDS[name] if name else cli
    context = click.Context(command, info_name=f"writeaudit {name}", terminal_width=width)
    _usage, _, rest = command.get_help(context).partition("\n")
    assert "..." not in re.sub(r"(ARGS|COMMAND)\]?\.\.\.", "", rest)
    assert "\N{HORIZONTAL ELLIPSIS}" not in rest


def test_every_value_of_fail_on_is_documented() -> None:
    page = DOCS[ROOT / "docs/cli.md"]
    for value in fail_on.list_choices():
        if value not in {rule.id for rule in RULES}:
            assert f"`{value}`" in page, value
    shown = COMMANDS["run"].get_help(click.Context(COMMANDS["run"], terminal_width=200))
    for alias, rules in fail_on.ALIASES.items():
        assert alias in shown
        (row,) = re.findall(rf"^\| `{alias}` \|.*$", page, re.MULTILINE)
        assert re.findall(r"WA\d+", row) == [*rules], alias


def test_every_setting_is_documented() -> None:
    page = DOCS[ROOT / "docs/configuration.md"]
    there = {
        option.name
        for command in COMMANDS.values()
        for option in command.params
        if isinstance(option, click.Option)
    }
    for name in {*settings.SETTINGS} & there:
        assert f"`{settings.variable(name)}`" in page, name
    for key in settings.PROJECT_KEYS:
        assert f"| `{key}` |" in page, key


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_shows_an_example(name: str) -> None:
    context = click.Context(COMMANDS[name], info_name=f"writeaudit {name}")
    assert re.search(rf"^\s*(sudo )?writeaudit {name}\b", COMMANDS[name].get_help(context), re.MULTILINE)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_documented(name: str) -> None:
    assert any(f"writeaudit {name}" in text for text in PAGES.values())


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_is_documented(name: str) -> None:
    pages = README + "".join(DOCS.values())
    for parameter in COMMANDS[name].params:
        if isinstance(parameter, click.Option) and not parameter.hidden:
            for spelling in parameter.opts:
                if spelling.startswith("--"):
                    assert re.search(rf"{re.escape(spelling)}\b", pages), f"{spelling} stands on no page"


def test_changelog_has_this_version() -> None:
    assert re.search(rf"^## {re.escape(__version__)}\b", PAGES[ROOT / "CHANGELOG.md"], re.MULTILINE)


def test_readme_has_the_exit_statuses_that_errors_use() -> None:
    cells = re.findall(r"^\| ([^|]+) \|", README, re.MULTILINE)
    documented = {int(number) for cell in cells for number in re.findall(r"\b\d+\b", cell)}
    used = {
        value.status
        for value in vars(errors).values()
        if isinstance(value, type) and issubclass(value, errors.WriteauditError)
    }
    assert documented >= used | {0, 100, 101}


def test_readme_names_the_packages_that_doctor_names() -> None:
    for system in ("ID=debian\nVERSION_ID=12", "ID=ubuntu\nVERSION_ID=22.04", "ID=fedora\nVERSION_ID=42"):
        distribution = doctor.parse_os_release(system)
        for program in ("libbpf", "strace", "bcc"):
            package = doctor.find_package(program, distribution)
            assert package is not None
            assert re.search(rf"\b{re.escape(package)}\b", README), f"{package} is not in the README"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    text = re.sub(r"^```.*?^```", "", PAGES[page], flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" not in target and not target.startswith("#"):
            place = page.parent / target.partition("#")[0]
            assert place.exists(), f"{target} does not exist"


def test_make_commands_of_the_readme_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))
    named = set(re.findall(r"\bmake ([a-z]+)\b(?=`|$)", README, re.MULTILINE))
    assert {"demo", "test"} <= named <= targets


def test_demo_is_pinned_and_brings_no_lock() -> None:
    demo = ROOT / "examples/demo"
    project = tomllib.loads((demo / "pyproject.toml").read_text())["project"]
    assert len(project["dependencies"]) >= 20
    assert all(re.fullmatch(r"[a-z0-9-]+==[0-9.]+", line) for line in project["dependencies"])
    assert [path.name for path in demo.iterdir() if path.name != "pyproject.toml"] == []


def test_the_page_of_situations_is_made_of_the_scenario_tests() -> None:
    assert situations.PAGE.read_text(encoding="utf-8") == situations.page()
