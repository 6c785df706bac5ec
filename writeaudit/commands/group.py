"""The command line's group: it loads a subcommand only when it is asked for."""

from __future__ import annotations

import importlib
import os
import shlex

import click

from writeaudit import __version__
from writeaudit.errors import UsageError
from writeaudit.text import nearest

COMMANDS = (
    "run",
    "attach",
    "report",
    "check",
    "diff",
    "suggest",
    "image",
    "confine",
    "profiles",
    "explain",
    "list",
    "prune",
    "doctor",
    "completion",
)
"""In the order of `--help`; each is the `command` of its module in `writeaudit.commands`."""
_SIGPIPE_STATUS = 141
"""128 and the number of SIGPIPE."""


class _Lazy(click.Group):
    """Imports ``writeaudit.commands.NAME`` when NAME is used: `run` should not wait for the others."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:  # noqa: ARG002
        if name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"writeaudit.commands.{name}").command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the subcommand. Raises UsageError for a word that is none: it may be the program to audit."""
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            near = nearest(args[0], COMMANDS, cutoff=0.75)
            words = shlex.join(args)
            hint = f"to audit it: writeaudit run -- {words}"
            raise UsageError(
                f"no such command: {args[0]}",
                hint=f"did you mean {near}? All commands: writeaudit --help" if near else hint,
            )
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> object:
        """Run the subcommand. If whoever reads the output has gone, end as any filter does; click says 1."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            raise click.exceptions.Exit(_SIGPIPE_STATUS) from None


@click.group(
    cls=_Lazy,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="""\b
Examples:
  writeaudit run -- uv sync --frozen
  writeaudit run --html report.html -- pip install -r requirements.txt
  writeaudit explain WA101""",
)
@click.version_option(__version__, "-V", "--version", prog_name="writeaudit")
def cli() -> None:
    """Run an installer, and learn what it wrote, where, whether it was allowed to, and why it had to copy."""
