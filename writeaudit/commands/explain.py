"""``writeaudit explain``: a rule, its cause, its remedy."""

from __future__ import annotations

import click
from rich.console import Console
from rich.markdown import Markdown
from rich.table import Table

from writeaudit.commands.base import Command
from writeaudit.commands.complete import complete_rule
from writeaudit.judgement import Severity
from writeaudit.rules import RULES, read_page

_STYLE = {Severity.ERROR: "red", Severity.WARNING: "yellow", Severity.NOTE: "cyan"}


@click.command(
    "explain",
    cls=Command,
    short_help="Explain a rule: its cause, an example, its remedy.",
    epilog="""\b
Examples:
  writeaudit explain           every rule in one line
  writeaudit explain WA102     cause, example and remedy of one""",
)
@click.argument("rule", required=False, shell_complete=complete_rule)
def command(rule: str | None) -> None:
    """Explain a rule: its cause, an example, its remedy. Without RULE, list all of them."""
    console = Console()
    if rule is None:
        _list_rules(console)
    elif console.is_terminal:
        # Wider than this, prose is hard to read.
        console.print(Markdown(read_page(rule)), width=min(console.width, 100))
    else:
        click.echo(read_page(rule), nl=False)


def _list_rules(console: Console) -> None:
    if not console.is_terminal:
        for rule in RULES:
            click.echo(f"{rule.id}\t{rule.severity.value}\t{rule.title}")
        return
    table = Table(box=None, pad_edge=False)
    table.add_column("rule", no_wrap=True)
    table.add_column("severity", no_wrap=True)
    table.add_column("finding")
    for rule in RULES:
        table.add_row(rule.id, f"[{_STYLE[rule.severity]}]{rule.severity.value}[/]", rule.title)
    console.print(table)
    console.print("\nwriteaudit explain RULE tells more about one.", style="dim", highlight=False)
