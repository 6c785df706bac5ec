"""`writeaudit diff`: what changed between two runs."""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack

import click

from writeaudit.commands.base import Command
from writeaudit.commands.complete import complete_recording
from writeaudit.commands.options import (
    FINDINGS,
    INCOMPLETE,
    TERMINAL,
    format_option,
    judged_again,
    policy_options,
    recording_path,
    verbose_option,
)
from writeaudit.commands.outputs import check_outputs


@click.command(
    "diff",
    cls=Command,
    short_help="Say what changed between two runs.",
    epilog="""\b
Examples:
  writeaudit diff before.wa after.wa
  writeaudit diff before.wa last --markdown diff.md
  writeaudit diff old.wa new.wa --json - | jq .regressions""",
)
@policy_options
@click.option("--html", metavar="FILE", help="Write the comparison as an HTML page there.")
@click.option("--json", metavar="FILE", help="Write the comparison as JSON there.")
@click.option("--markdown", metavar="FILE", help="Write the comparison as Markdown there.")
@format_option("json", "markdown", "html")
@verbose_option
@click.option("-q", "--quiet", is_flag=True, help="Say nothing; the exit status is the answer.")
@click.argument("old", shell_complete=complete_recording)
@click.argument("new", shell_complete=complete_recording)
def command(
    policy_file: str | None,
    profile: str | None,
    zones: tuple[str, ...],
    fail_on: tuple[str, ...],
    html: str | None,
    json: str | None,
    markdown: str | None,
    form: str | None,
    verbose: bool,
    quiet: bool,
    old: str,
    new: str,
) -> int:
    """Say what changed between the runs of two recordings, OLD and NEW (files, or "last").

    Random parts of names are left out, so that two runs of the same thing differ in nothing. The
    exit status is 0 (nothing is worse), 100 (a regression: a new violation, a change that is
    refused now, links that became copies, a command that fails now), or 101 (one of the audits
    is incomplete).
    """
    paths = recording_path(old), recording_path(new)
    outputs = {"--html": html, "--json": json, "--markdown": markdown}
    for path in paths:
        check_outputs(outputs, recording=path, policy=policy_file)
    options = {"fail_on": fail_on, "policy_file": policy_file, "profile": profile, "zones": zones}
    with ExitStack() as stack:
        judged = [stack.enter_context(judged_again(path, **options))[1] for path in paths]  # type: ignore[arg-type]
        from writeaudit.report.atomic_write import write_whole
        from writeaudit.report.diff import render
        from writeaudit.report.diff.comparison import compare

        comparison = compare(judged[0].report, judged[1].report)
        forms = ((html, render.as_html), (json, render.as_json), (markdown, render.as_markdown))
        for target, rendering in forms:
            if target is not None:
                write_whole(target, rendering(comparison))
                if target != "-" and not quiet:
                    click.echo(f"writeaudit: wrote {os.path.abspath(target)}", err=True)
        if form not in (None, TERMINAL):
            chosen = {"json": render.as_json, "markdown": render.as_markdown, "html": render.as_html}
            write_whole("-", chosen[str(form)](comparison))
        elif not quiet and all(target is None for target, _form in forms):
            render.write_terminal(comparison, sys.stderr, verbose=verbose)
    if comparison.regressions:
        return FINDINGS
    return INCOMPLETE if comparison.incomparable else 0
