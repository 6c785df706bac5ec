"""Writes the manual page writeaudit(1), made of what `--help` says: `make man`."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from writeaudit import __version__
from writeaudit.commands.group import cli

_STATUSES = (
    ("the command's own", "It failed: its status passes through, 128+N when signal N ended it."),
    ("0", "It succeeded, and nothing at or above the --fail-on level was found."),
    ("100", "It succeeded; there are findings at or above that level."),
    ("101", "It succeeded; the audit is incomplete, so that \"clean\" cannot be said."),
    ("125", "writeaudit itself failed."),
    ("126, 127", "The command cannot be executed, is not found."),
    ("2", "Usage error, before anything ran."),
)  # fmt: skip


def page() -> str:
    """Return the page in man(7)'s macros."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    context = click.Context(cli, info_name="writeaudit")
    yield f'.TH WRITEAUDIT 1 "" "writeaudit {__version__}" "User Commands"'
    yield ".SH NAME"
    yield "writeaudit \\- audit what an installer does to files"
    yield ".SH SYNOPSIS"
    yield ".B writeaudit run\n[\\fIOPTION\\fR]... \\-\\- \\fICOMMAND\\fR [\\fIARG\\fR]..."
    yield ".br\n.B writeaudit\n\\fICOMMAND\\fR [\\fIOPTION\\fR]..."
    yield ".SH DESCRIPTION"
    yield from _paragraphs(cli.help or "")
    yield ".SH COMMANDS"
    for name in cli.list_commands(context):
        command = cli.get_command(context, name)
        if command is not None:
            yield from _command(name, command, context)
    yield ".SH EXIT STATUS"
    for status, meaning in _STATUSES:
        yield f".TP\n.B {_plain(status)}\n{_plain(meaning)}"


def _command(name: str, command: click.Command, parent: click.Context) -> Iterator[str]:
    context = click.Context(command, info_name=name, parent=parent)
    usage = " ".join(command.collect_usage_pieces(context))
    yield f".SS writeaudit {name} {_plain(usage)}"
    yield from _paragraphs(command.help or "")
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if record is not None:
            yield f".TP\n.B {_plain(record[0])}\n{_plain(record[1])}"
    if command.epilog:
        yield ".PP\n.nf"
        yield from (_plain(line) for line in command.epilog.replace("\b\n", "").splitlines())
        yield ".fi"


def _paragraphs(text: str) -> Iterator[str]:
    for paragraph in re.split(r"\n\s*\n", text.replace("\b\n", "")):
        yield ".PP"
        yield _plain(" ".join(paragraph.split()))


def _plain(text: str) -> str:
    """Return text that means nothing to roff."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{text}" if text.startswith((".", "'")) else text


if __name__ == "__main__":
    target = Path(sys.argv[1])
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(page(), encoding="utf-8")
