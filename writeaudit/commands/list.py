"""`writeaudit list`: the recordings that are kept."""

from __future__ import annotations

import json
import os
import time

import click

from writeaudit.audit import RunInfo
from writeaudit.commands.base import Command
from writeaudit.recording import runs_directory
from writeaudit.recording.kept import Kept, describe_run, kept_recordings
from writeaudit.text import escape_path, shell_word, size


@click.command(
    "list",
    cls=Command,
    short_help="List the recordings that are kept.",
    epilog="""\b
Examples:
  writeaudit list
  writeaudit list -n 5
  writeaudit list --json | jq -r '.[0].path'""",
)
@click.option("-n", "--number", type=click.IntRange(min=1), metavar="N", help="Only the newest N.")
@click.option("--json", "json_wanted", is_flag=True, help="Print everything as JSON.")
def command(number: int | None, json_wanted: bool) -> None:
    """List the recordings that were made without -o, the newest first.

    Each line: when the run began, how it ended, the recording's size, its path, the command. Any of these
    paths can be given to report and check; "last" is the first line's.
    """
    directory = runs_directory(os.path.expanduser("~"), os.environ)
    found = kept_recordings(directory)[:number]
    if json_wanted:
        click.echo(json.dumps([_as_json(each) for each in found], indent=2))
        return
    if not found:
        click.echo(f"writeaudit: no recording in {directory}", err=True)
    for each in found:
        click.echo(_line(each))


def _line(kept: Kept) -> str:
    run = describe_run(kept)
    if not isinstance(run, RunInfo):
        return f"{'unreadable':16}  {'':>8}  {size(kept.bytes):>10}  {escape_path(os.fsencode(kept.path))}"
    began = time.strftime("%Y-%m-%d %H:%M", time.localtime(run.started))
    words = " ".join(_word(word) for word in run.command)
    path = escape_path(os.fsencode(kept.path))
    return f"{began}  {_end(run):>8}  {size(kept.bytes):>10}  {path}  {_cut(words)}"


def _end(run: RunInfo) -> str:
    if run.signal is not None:
        return f"signal {run.signal}"
    return "cut off" if run.exit_status is None else f"exit {run.exit_status}"


def _word(raw: bytes) -> str:
    # Options are no less safe for their dashes; shell_word quotes them for who pastes a lone one.
    dashes = len(raw) - len(raw.lstrip(b"-"))
    rest = shell_word(raw[dashes:]) if raw[dashes:] else ""
    return "-" * dashes + rest if rest[:1] not in {"'", "$"} else shell_word(raw)


def _cut(words: str, limit: int = 100) -> str:
    return words if len(words) <= limit else f"{words[: limit - 1]}…"


def _as_json(kept: Kept) -> dict[str, object]:
    run = describe_run(kept)
    found: dict[str, object] = {"path": kept.path, "bytes": kept.bytes}
    if not isinstance(run, RunInfo):
        return found | {"error": run.message}
    return found | {
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(run.started)),
        "duration_s": run.duration_s,
        "exit_status": run.exit_status,
        "signal": run.signal,
        "command": [escape_path(word) for word in run.command],
        "backend": run.backend.name,
    }
