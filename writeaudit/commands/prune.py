"""`writeaudit prune`: remove old recordings."""

from __future__ import annotations

import os

import click

from writeaudit.commands.base import Command
from writeaudit.recording import runs_directory
from writeaudit.recording.kept import DAYS, KEEP, choose_old, kept_recordings, remove_recording
from writeaudit.text import escape_path, plural, size


@click.command(
    "prune",
    cls=Command,
    short_help="Remove old recordings.",
    epilog="""\b
Examples:
  writeaudit prune --dry-run                    say what would go
  writeaudit prune                              all but the newest 10 and those of the last 30 days
  writeaudit prune --keep 1 --older-than 0      all but the newest""",
)
@click.option(
    "--keep",
    type=click.IntRange(min=0),
    default=KEEP,
    show_default=True,
    metavar="N",
    help="Keep the newest N, however old they are.",
)
@click.option(
    "--older-than",
    "days",
    type=click.FloatRange(min=0),
    default=float(DAYS),
    show_default=True,
    metavar="DAYS",
    help="Keep what was written in the last DAYS days, however many they are.",
)
@click.option("-n", "--dry-run", is_flag=True, help="Remove nothing, only say what would go.")
def command(keep: int, days: float, dry_run: bool) -> None:
    """Remove old recordings among those that were made without -o.

    writeaudit never removes a recording by itself. A recording goes if it is neither one of the newest nor
    a young one. Recordings that were made with -o are never touched.
    """
    directory = runs_directory(os.path.expanduser("~"), os.environ)
    old = choose_old(kept_recordings(directory), keep=keep, days=days)
    for each in old:
        if not dry_run:
            remove_recording(each)
        click.echo(escape_path(os.fsencode(each.path)))
    word = "would go" if dry_run else "removed"
    total = size(sum(each.bytes for each in old))
    click.echo(f"writeaudit: {plural(len(old), 'recording')} {word}, {total}, in {directory}", err=True)
