"""`writeaudit report`: render a recording again."""

from __future__ import annotations

import click

from writeaudit.commands.base import Command
from writeaudit.commands.complete import complete_recording
from writeaudit.commands.options import (
    FORMATS,
    TERMINAL,
    Outputs,
    format_option,
    judged_again,
    output_options,
    policy_options,
    recording_path,
    show_summary,
    verbose_option,
    write_form,
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
  writeaudit report last --format markdown | gh issue comment 7 -F -
  writeaudit report run.wa --json - | jq .summary""",
)
@policy_options
@output_options
@format_option(*FORMATS)
@verbose_option
@click.option("-q", "--quiet", is_flag=True, help="Say nothing but errors.")
@click.argument("recording", shell_complete=complete_recording)
def command(
    policy_file: str | None,
    profile: str | None,
    zones: tuple[str, ...],
    fail_on: tuple[str, ...],
    form: str | None,
    verbose: bool,
    quiet: bool,
    recording: str,
    outputs: Outputs,
) -> int:
    """Render RECORDING (a file, or "last") again: as a summary, or as the reports asked for."""
    path = recording_path(recording)
    if form == TERMINAL:
        form = None
    check_outputs(
        {**outputs.by_option, "--format": None if form is None else "-"}, recording=path, policy=policy_file
    )
    judged = judged_again(path, fail_on=fail_on, policy_file=policy_file, profile=profile, zones=zones)
    with judged as (opened, examined):
        written = write_reports(examined, outputs)
        if form is not None:
            write_form(examined, form, outputs)
        elif not outputs.wanted and not quiet:
            show_summary(examined, {"recording": opened.path}, verbose=verbose)
        if not quiet:
            for name, path in written.items():
                click.echo(f"writeaudit: {name} report: {path}", err=True)
    return 0
