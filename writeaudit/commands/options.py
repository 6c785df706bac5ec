"""Options that several commands share, and what they do with them."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import click

from writeaudit.errors import UsageError

if TYPE_CHECKING:
    from writeaudit.pipeline import Examined
    from writeaudit.policy.expand import UnsetVariable
    from writeaudit.recording import Recording

_F = TypeVar("_F", bound=Callable[..., Any])

FINDINGS, INCOMPLETE = 100, 101
"""Exit statuses of an audit that is not clean (docs/cli.md)."""


def policy_options(function: _F) -> _F:
    """Add --policy, --profile, --zone and --fail-on."""
    for option in reversed(
        (
            click.option("--policy", "policy_file", metavar="FILE", help="Judge by this policy (TOML)."),
            click.option(
                "--profile",
                metavar="NAME",
                help="install (default: cache, venv and tmp may be written), frozen (only tmp may), "
                "or TOOL/MODE such as uv/frozen.",
            ),
            click.option(
                "--zone",
                "zones",
                multiple=True,
                metavar="NAME=PATH:ro|rw|none",
                help="Add or replace a zone; may be given more than once.",
            ),
            click.option(
                "--fail-on",
                "fail_on",
                multiple=True,
                metavar="RULE|SEVERITY",
                help="What makes the exit status 100: error (default), warning, note, none, a rule "
                "such as WA203, or link-fallback; may be given more than once.",
            ),
        )
    ):
        function = option(function)
    return function


def output_options(function: _F) -> _F:
    """Add --html and --json."""
    for option in reversed(
        (
            click.option(
                "--html", metavar="FILE", help="Write the HTML report there (- is standard output)."
            ),
            click.option(
                "--json", metavar="FILE", help="Write the JSON report there (- is standard output)."
            ),
        )
    ):
        function = option(function)
    return function


def write_reports(
    examined: Examined, outputs: Mapping[str, str | None], owner: tuple[int, int] | None = None
) -> dict[str, str]:
    """Write the reports that were asked for; return what was written where. Raises `OutputError`."""
    written: dict[str, str] = {}
    for name, path in outputs.items():
        if path is None:
            continue
        from writeaudit.report.output import write_whole

        if name == "html":
            from writeaudit.report import html

            write_whole(path, html.render(examined.report), owner=owner)
        elif name == "json":
            from writeaudit.report import jsonreport

            write_whole(path, jsonreport.render(examined.report), owner=owner)
        if path != "-":
            written[name] = os.path.abspath(path)
    return written


def show_summary(examined: Examined, outputs: Mapping[str, str]) -> None:
    """Write the summary to standard error. That nobody reads it to the end changes no exit status."""
    from writeaudit.report.terminal import write_summary

    try:
        write_summary(examined.report, sys.stderr, outputs)
        sys.stderr.flush()
    except (OSError, SystemExit):  # rich turns a broken pipe into SystemExit
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


def audit_status(examined: Examined) -> int:
    """Return 0, 100 or 101: what an audit of a command that succeeded comes to."""
    if examined.failing:
        return FINDINGS
    return 0 if examined.complete else INCOMPLETE


def recording_path(name: str) -> str:
    """Return the path of a recording: ``last`` is the newest one of this user."""
    if name != "last":
        return name
    from writeaudit.recording import last, runs_directory

    return last(runs_directory(os.path.expanduser("~"), os.environ))


@contextmanager
def judged_again(
    name: str,
    *,
    fail_on: tuple[str, ...],
    policy_file: str | None,
    profile: str | None,
    zones: tuple[str, ...],
) -> Iterator[tuple[Recording, Examined]]:
    """Open a recording (see `recording_path`) and judge it by what the options of `policy_options` say.

    Raises `UsageError`, `PolicyError` and `RecordingError`.
    """
    from writeaudit import pipeline
    from writeaudit.analysis.fail_on import parse_fail_on
    from writeaudit.policy.expand import UnsetVariable
    from writeaudit.recording import Recording

    failing = parse_fail_on(fail_on)
    with Recording(recording_path(name)) as opened:
        try:
            examined = pipeline.examine(
                opened,
                fail_on=failing,
                fail_on_words=fail_on or ("error",),
                policy_file=policy_file,
                profile=profile,
                zones=zones,
            )
        except UsageError as error:
            # The error of the file or option in which the variable stands was raised from this one.
            unset = error.__context__
            if isinstance(unset, UnsetVariable):
                raise _not_held(error, unset) from error
            raise
        yield opened, examined


def _not_held(error: UsageError, unset: UnsetVariable) -> UsageError:
    """Return the error for a variable of which a recording knows nothing: to set it now would not help."""
    return UsageError(
        error.message.replace(unset.message, f"{unset.message} in the recording"),
        hint="A recording holds the variables that its own run's policy names, and those that say where "
        f"tools put things. Write ${{{unset.name}:-/some/directory}}, or the path itself.",
    )
