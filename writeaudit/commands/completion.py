"""`writeaudit completion`: what a shell needs to complete commands, options and values."""

from __future__ import annotations

import os

import click
from click.shell_completion import get_completion_class

from writeaudit.commands.base import Command
from writeaudit.errors import WriteauditError

SHELLS = ("bash", "zsh", "fish")


@click.command(
    "completion",
    cls=Command,
    short_help="Print the code by which a shell completes writeaudit's words.",
    epilog="""\b
Examples:
  eval "$(writeaudit completion bash)"          in ~/.bashrc
  eval "$(writeaudit completion zsh)"           in ~/.zshrc, after compinit
  writeaudit completion fish > ~/.config/fish/completions/writeaudit.fish""",
)
@click.argument("shell", type=click.Choice(SHELLS))
def command(shell: str) -> None:
    """Print the code by which SHELL completes commands, options, rules, profiles and backends."""
    from writeaudit.commands.group import cli

    made = get_completion_class(shell)
    if made is None:
        raise WriteauditError(f"this click knows no completion for {shell}", hint="upgrade click")
    # Only what is printed counts; click's own check of the version would start the shell.
    completer = made(cli, {}, "writeaudit", "_WRITEAUDIT_COMPLETE")
    click.echo(completer.source_template % completer.source_vars(), nl=False)
    if os.isatty(1):
        click.echo(f"# for {shell} to evaluate: see writeaudit completion --help", err=True)
