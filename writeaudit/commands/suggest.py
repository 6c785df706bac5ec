"""`writeaudit suggest`: from what a run did to what it should be allowed, and proof that it is enough."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from writeaudit.commands.base import Command
from writeaudit.commands.complete import complete_recording
from writeaudit.commands.options import INCOMPLETE, judged_again
from writeaudit.confine.dialects import DIALECTS
from writeaudit.errors import UsageError

if TYPE_CHECKING:
    from writeaudit.audit import Audit, RunInfo
    from writeaudit.confine.proof import Proof
    from writeaudit.confine.writable import WritableSet
    from writeaudit.report.view import Report


@click.command(
    "suggest",
    cls=Command,
    short_help="Say what must be writable for a run, and prove it.",
    epilog="""\b
Examples:
  writeaudit suggest last --for policy > policy.toml
  writeaudit suggest last --for docker --prove --minimal
  writeaudit suggest run.wa --for kubernetes > pod.yaml
  writeaudit suggest last --prove --json""",
)
@click.option(
    "--for", "target", type=click.Choice(["policy", *DIALECTS]), default="policy", show_default=True,
    help="What to write: a policy file, or the places that must be writable under a read-only root, as "
    "options "
    "or settings of that tool.",
)  # fmt: skip
@click.option(
    "--prove", is_flag=True,
    help="Run the recorded command again, on a read-only root with these places, then without each in turn. "
    "Files "
    "change in scratch copies only; all else that the command does (network, signals) happens again.",
)  # fmt: skip
@click.option(
    "--minimal", is_flag=True,
    help="With --prove: leave out what the command is content without.",
)  # fmt: skip
@click.option("--json", "json_wanted", is_flag=True, help="Print the places and the proof as JSON.")
@click.argument("recording", shell_complete=complete_recording)
def command(target: str, prove: bool, minimal: bool, json_wanted: bool, recording: str) -> int:
    """Write, to standard output, what would allow what RECORDING (a file, or "last") did.

    --for policy: a policy file. Files that start programs or grant access (shell start files, ssh keys,
    cron, git
    hooks) are left out, and named in comments.

    All others: the smallest set of directories that must be writable while the rest is read-only. Owners and
    modes are those on this machine now. The exit status is 101 if --prove could not prove the set.
    """
    if minimal and not prove:
        raise UsageError("--minimal needs --prove", hint="only a rerun tells what the command can do without")
    with judged_again(recording, fail_on=(), policy_file=None, profile=None, zones=()) as (_opened, examined):
        report = examined.report
        if target == "policy" and not (json_wanted or prove):
            _write_policy(report)
            return 0
        return _write_set(report.audit, target, prove=prove, minimal=minimal, json_wanted=json_wanted)


def _write_policy(report: Report) -> None:
    from writeaudit.confine.policy_file import suggest_policy

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


def _write_set(audit: Audit, target: str, *, prove: bool, minimal: bool, json_wanted: bool) -> int:
    from writeaudit.confine.dialects import Subject, render_set
    from writeaudit.confine.disk import read_place
    from writeaudit.confine.form import render_json
    from writeaudit.confine.writable import find_writable_set

    writable = find_writable_set(audit, read_place)
    proof = _prove(audit.run, writable, minimal=minimal) if prove else None
    if json_wanted:
        text = render_json(audit.run, writable, proof)
    else:
        # What a policy allows is what Landlock is given: the places are the same.
        dialect = "landlock" if target == "policy" else target
        text = render_set(dialect, Subject(audit.run, writable, proof))
    click.echo(text, nl=False)
    if proof is None or proof.proven:
        return 0
    click.echo(f"writeaudit: not proven. {proof.failure}", err=True)
    if proof.output:
        click.echo("The command's last words:\n" + proof.output.rstrip(), err=True)
    return INCOMPLETE


def _prove(run: RunInfo, writable: WritableSet, *, minimal: bool) -> Proof:
    from writeaudit.commands.rerun import rerun_command, rerun_environment
    from writeaudit.commands.users import credentials_of
    from writeaudit.confine.disk import read_place
    from writeaudit.confine.proof import Rerun, prove_writable_set
    from writeaudit.confine.sandbox import Shown
    from writeaudit.text import escape_path, escape_text, plural, shell_word

    env = rerun_environment(run, os.environb)
    count = 0

    def rerun(shown: Sequence[Shown]) -> Rerun:
        nonlocal count
        count += 1
        left_out = [escape_path(each.place.path) for each in shown if not each.writable]
        what = f"without {', '.join(left_out)}" if left_out else "with all of the set"
        click.echo(f"writeaudit: rerun {count}, {what} …", err=True)
        return rerun_command(run, shown, env)

    words = " ".join(shell_word(word) for word in run.command)
    who = credentials_of(str(run.uid)).name  # by the number that counts, whatever name a recording gives it
    times = plural(len(writable.places) + 1 + minimal, "time")
    click.echo(
        f"writeaudit: --prove runs the recorded command again, {times} or more, as {escape_text(who)} "
        "in "
        f"{escape_path(run.cwd)}: {words}\nwriteaudit: its root is read-only then, and the places are "
        "scratch copies "
        "in memory: no file of this machine changes. What else it does (network, signals, other programs) "
        "happens again.",
        err=True,
    )
    return prove_writable_set(writable, run, rerun, read_place, minimal=minimal)
