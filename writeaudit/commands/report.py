"""`writeaudit report`: render a recording again."""

from __future__ import annotations

import click

from writeaudit.commands.base import Command
from writeaudit.commands.complete import complete_recording
from writeaudit.commands.options import (
    Outputs,
    judged_again,
    output_options,
    policy_options,
    recording_path,
    show_summary,
    write_reports,
)
from writeaudit.commands.outputs import check_outputs


@click.command(
    "report",
    cls=Command,
    short_help="Render a recording again.",
    epilog="""\b
Examples:
  writeaudit report last
  writeaudit report last --html report.html
  writeaudit report run.wa --json - | jq .summary""",
)
@policy_options
@output_options
@click.argument("recording", shell_complete=complete_recording)
def command(
    policy_file: str | None,
    profile: str | None,
    zones: tuple[str, ...],
    fail_on: tuple[str, ...],
    recording: str,
    outputs: Outputs,
) -> int:
    """Render RECORDING (a file, or "last") again: as a summary, or as the reports asked for."""
    path = recording_path(recording)
    check_outputs(outputs.by_option, recording=path, policy=policy_file)
    judged = judged_again(path, fail_on=fail_on, policy_file=policy_file, profile=profile, zones=zones)
    with judged as (opened, examined):
        written = write_reports(examined, outputs)
        if not outputs.wanted:
            show_summary(examined, {"recording": opened.path})
        else:
            for name, path in written.items():
                click.echo(f"writeaudit: {name} report: {path}", err=True)
    return 0
