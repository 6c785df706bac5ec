"""`writeaudit suggest`: from what a run did to what it should be allowed."""

from __future__ import annotations

import os

import click

from writeaudit.commands.base import Command
from writeaudit.commands.complete import complete_recording
from writeaudit.commands.options import judged_again


@click.command(
    "suggest",
    cls=Command,
    short_help="Write a policy that allows what a run did.",
    epilog="""\b
Examples:
  writeaudit suggest last --for policy > policy.toml
  writeaudit run --policy policy.toml -- make""",
)
@click.option(
    "--for", "target", type=click.Choice(["policy"]), default="policy", show_default=True,
    help="What to write: a policy file.",
)  # fmt: skip
@click.argument("recording", shell_complete=complete_recording)
def command(target: str, recording: str) -> None:  # noqa: ARG001 - one choice so far
    """Write, to standard output, what would allow what RECORDING (a file, or "last") did.

    Files that start programs or grant access (shell start files, ssh keys, cron, git hooks) are left out, and
    named in comments.
    """
    from writeaudit.confine.policy_file import suggest_policy

    with judged_again(recording, fail_on=(), policy_file=None, profile=None, zones=()) as (_opened, examined):
        report = examined.report
        run = report.audit.run
        home = run.env.get("HOME")
        name = os.path.basename(os.fsdecode(run.command[0])) if run.command else "run"
        made = suggest_policy(
            report.policy, report.files, name=name, cwd=run.cwd, home=os.fsencode(home) if home else None
        )
    click.echo(made.text, nl=False)
    if made.left_out:
        click.echo(
            f"writeaudit: {len(made.left_out)} of the changed files start programs or grant access: they are "
            "named in comments, and not allowed",
            err=True,
        )
