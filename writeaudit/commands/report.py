"""`writeaudit report`: render a recording again."""

from __future__ import annotations

import gc

import click

from writeaudit.commands.options import (
    output_options,
    policy_options,
    recording_path,
    show_summary,
    write_reports,
)


@click.command(
    "report",
    epilog="""\b
Examples:
  writeaudit report last
  writeaudit report last --html report.html
  writeaudit report run.wa --json - | jq .summary""",
)
@policy_options
@output_options
@click.argument("recording")
def command(
    policy_file: str | None,
    profile: str | None,
    zones: tuple[str, ...],
    fail_on: tuple[str, ...],
    html: str | None,
    json: str | None,
    recording: str,
) -> int:
    """Render RECORDING (a file, or "last") again: as a summary, or as the reports asked for."""
    from writeaudit import pipeline
    from writeaudit.analysis.fail_on import parse_fail_on
    from writeaudit.recording import Recording

    gc.disable()  # as in run.py
    failing = parse_fail_on(fail_on)
    with Recording(recording_path(recording)) as opened:
        examined = pipeline.examine(
            opened,
            fail_on=failing,
            fail_on_words=fail_on or ("error",),
            policy_file=policy_file,
            profile=profile,
            zones=zones,
        )
        written = write_reports(examined, {"html": html, "json": json})
        if html is None and json is None:
            show_summary(examined, {"recording": opened.path})
        else:
            for name, path in written.items():
                click.echo(f"writeaudit: {name} report: {path}", err=True)
    return 0
