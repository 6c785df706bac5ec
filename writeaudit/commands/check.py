"""`writeaudit check`: judge a recording again."""

from __future__ import annotations

import click

from writeaudit.commands.base import Command
from writeaudit.commands.complete import complete_recording
from writeaudit.commands.options import (
    FORMATS,
    TERMINAL,
    audit_status,
    format_option,
    judged_again,
    policy_options,
    show_summary,
    verbose_option,
    write_form,
)


@click.command(
    "check",
    cls=Command,
    short_help="Judge a recording again.",
    epilog="""\b
Examples:
  writeaudit check last --profile frozen
  writeaudit check last --explain ~/.config/pkg/settings.json
  writeaudit check run.wa --policy ci.toml --fail-on warning""",
)
@policy_options
@click.option(
    "--explain",
    "explained",
    multiple=True,
    metavar="PATH",
    help="Say which zone and pattern decide on PATH, and why; may be given more than once.",
)
@format_option(*FORMATS)
@verbose_option
@click.option("-q", "--quiet", is_flag=True, help="Say nothing; the exit status is the answer.")
@click.argument("recording", shell_complete=complete_recording)
def command(
    policy_file: str | None,
    profile: str | None,
    zones: tuple[str, ...],
    fail_on: tuple[str, ...],
    explained: tuple[str, ...],
    form: str | None,
    verbose: bool,
    quiet: bool,
    recording: str,
) -> int:
    """Judge RECORDING (a file, or "last") again, by its own policy or by another one.

    The exit status is 0 (nothing found), 100 (findings at or above --fail-on), or 101 (the
    audit is incomplete).
    """
    judged = judged_again(recording, fail_on=fail_on, policy_file=policy_file, profile=profile, zones=zones)
    with judged as (opened, examined):
        if explained:
            from writeaudit.commands.explain_path import explain_path

            for path in explained:
                click.echo(explain_path(examined.report, path))
        elif form not in (None, TERMINAL):
            write_form(examined, str(form))
        elif not quiet:
            show_summary(examined, {"recording": opened.path}, verbose=verbose)
        return audit_status(examined)
