"""The command line: a group that loads a subcommand only when it is asked for."""

from __future__ import annotations

import importlib
import os
import sys
from typing import NoReturn

import click

from writeaudit import __version__
from writeaudit.errors import WriteauditError

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


def main() -> NoReturn:
    """Run the command line; the exit statuses are those of docs/cli.md."""
    _open_missing_streams()
    try:
        status = cli.main(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        _leave(error.exit_code)
    except click.exceptions.Abort:
        _leave(130)
    except WriteauditError as error:
        complain(error)
        _leave(error.status)
    except BrokenPipeError:
        # Whoever read our output has gone: as any other filter would end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        _leave(141)
    except Exception as error:  # the last resort: say it in one line, with a way to learn more
        if os.environ.get("WRITEAUDIT_DEBUG"):
            raise
        message = f"internal error: {type(error).__name__}: {error}"
        complain(WriteauditError(message, hint="please report it, with the output of WRITEAUDIT_DEBUG=1"))
        _leave(125)
    _leave(status if isinstance(status, int) else 0)


def _open_missing_streams() -> None:
    """Let standard streams that the caller closed go nowhere: Python has None for them."""
    sys.stdout = sys.stdout or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - until the end
    sys.stderr = sys.stderr or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - until the end


def complain(error: WriteauditError) -> None:
    """Print what went wrong and what to do next. Names in it cannot reach the terminal raw."""
    lines = [f"writeaudit: {error.message}"]
    if error.hint:
        lines.append(f"  hint: {error.hint}")
    for line in lines:
        click.echo("".join(c if c.isprintable() else repr(c)[1:-1] for c in line), err=True)


def _leave(status: int) -> NoReturn:
    sys.stdout.flush()
    sys.stderr.flush()
    sys.exit(status)
