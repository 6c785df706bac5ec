"""The command line's group: it loads a subcommand only when it is asked for."""

from __future__ import annotations

import importlib

import click

from writeaudit import __version__

COMMANDS = ("run", "report", "check", "explain", "doctor")
"""In the order of `--help`; each is the `command` of its module in `writeaudit.commands`."""


class _Lazy(click.Group):
    """Imports ``writeaudit.commands.NAME`` when NAME is used: `run` should not wait for the others."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:  # noqa: ARG002
        if name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"writeaudit.commands.{name}").command
        return command


@click.group(
    cls=_Lazy,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="""\b
Examples:
  writeaudit run -- uv sync --frozen
  writeaudit run --html report.html -- pip install -r requirements.txt
  writeaudit explain WA101""",
)
@click.version_option(__version__, prog_name="writeaudit")
def cli() -> None:
    """Run an installer, and learn what it wrote, where, whether it was allowed to, and why it had to copy."""
