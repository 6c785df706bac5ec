"""Options that several commands share, and what they do with them."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, cast

import click

from writeaudit.commands.complete import complete_fail_on, complete_file, complete_profile
from writeaudit.errors import UsageError
from writeaudit.report.forms import FORMS, GITHUB
from writeaudit.rules import group_aliases

if TYPE_CHECKING:
    from writeaudit.pipeline import Examined, ExaminedImage
    from writeaudit.policy.expand import UnsetVariable
    from writeaudit.recording import Recording

_F = TypeVar("_F", bound=Callable[..., Any])

TERMINAL = "terminal"
"""What --format calls the summary."""
FORMATS = tuple(form.name for form in (*FORMS, GITHUB) if not form.binary)
"""What --format of `report` and `check` can write."""

FINDINGS, INCOMPLETE = 100, 101
"""Exit statuses of an audit that is not clean (docs/cli.md)."""


def policy_options(function: _F) -> _F:
    """Add --policy, --profile, --zone and --fail-on."""
    for option in reversed(
        (
            click.option(
                "--policy",
                "policy_file",
                metavar="FILE",
                shell_complete=complete_file,
                help="Judge by this policy (TOML).",
            ),
            click.option(
                "--profile",
                metavar="NAME",
                shell_complete=complete_profile,
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
                metavar="LEVEL|RULE|NAME",
                shell_complete=complete_fail_on,
                help="What makes the exit status 100: a level (error, the default; warning; note; none), a "
                f"rule such as WA203, a group such as WA1xx, or a name for several: "
                f"{', '.join(group_aliases())}. May be given more than once, or with commas.",
            ),
        )
    ):
        function = option(function)
    return function


def output_options(function: _F) -> _F:
    """Add an option for each form of the report, and --redact; the function is given ``outputs``."""

    @functools.wraps(function)
    def gather(*args: Any, redact: bool | None, readable: bool, events: str, **kwargs: Any) -> Any:
        files = {form.name: kwargs.pop(form.name) for form in FORMS}
        return function(*args, outputs=Outputs(files, redact, readable, events == "all"), **kwargs)

    wrapped: Any = click.option(
        "--redact/--no-redact",
        default=None,
        help="Leave out of every report, or of none, home directories, user and host names and "
        "credentials (usual: of Markdown only).",
    )(gather)
    wrapped = click.option(
        "--readable", is_flag=True, help="Let the umask say who may read the reports (usual: you alone)."
    )(wrapped)
    wrapped = click.option(
        "--events",
        type=click.Choice(("all", "none")),
        default="all",
        show_default=True,
        help="none: leave the list of events out of the JSON report.",
    )(wrapped)
    for form in reversed(FORMS):
        wrapped = click.option(
            f"--{form.name}",
            metavar="FILE",
            shell_complete=complete_file,
            help=f"Write {form.summary} there.",
        )(wrapped)
    return cast(_F, wrapped)


class Outputs(NamedTuple):
    """The reports that were asked for."""

    files: Mapping[str, str | None]
    """Where to, by the name of the form (`writeaudit.report.forms`); None: not asked for."""
    redact: bool | None = None
    readable: bool = False
    """Whether the umask says who may read them; their owner alone if not."""
    with_events: bool = True
    """Whether JSON has the list of events."""

    @property
    def by_option(self) -> dict[str, str | None]:
        """The same by option: ``--html``."""
        return {f"--{name}": path for name, path in self.files.items()}

    @property
    def wanted(self) -> bool:
        """Whether any report was asked for."""
        return any(path is not None for path in self.files.values())


def check_targets(outputs: Outputs) -> None:
    """Make sure that the reports can be written, before a whole command has run. Raises `OutputError`."""
    if outputs.wanted:
        from writeaudit.report.atomic_write import check_target

        for path in outputs.files.values():
            if path is not None:
                check_target(path)


def write_reports(examined: Examined | ExaminedImage, outputs: Outputs) -> dict[str, str]:
    """Write the reports that were asked for; return what was written where. Raises `OutputError`."""
    written: dict[str, str] = {}
    for name, path in outputs.files.items():
        if path is None:
            continue
        from writeaudit.report.atomic_write import write_whole
        from writeaudit.report.forms import render_form

        pieces = render_form(
            name, examined.report, path, redact=outputs.redact, with_events=outputs.with_events
        )
        write_whole(path, pieces, mode=0o666 if outputs.readable else 0o600)
        if path != "-":
            written[name] = os.path.abspath(path)
    return written


def format_option(*names: str) -> Callable[[_F], _F]:
    """Return a decorator that adds --format, for standard output, by the names that other tools use."""
    return click.option(
        "-f",
        "--format",
        "form",
        type=click.Choice((TERMINAL, *names)),
        help=f"Write this form to standard output ({TERMINAL}: the summary, as without it).",
    )


def verbose_option(function: _F) -> _F:
    """Add --verbose."""
    option = click.option("-v", "--verbose", is_flag=True, help="Show every finding, with cause and proof.")
    return option(function)


def write_form(examined: Examined | ExaminedImage, form: str, outputs: Outputs | None = None) -> None:
    """Write one form of the report to standard output. Raises `OutputError`."""
    from writeaudit.report.atomic_write import write_whole
    from writeaudit.report.forms import render_form

    given = outputs or Outputs({})
    pieces = render_form(form, examined.report, "-", redact=given.redact, with_events=given.with_events)
    write_whole("-", pieces)


def show_summary(examined: Examined, outputs: Mapping[str, str], *, verbose: bool = False) -> None:
    """Write the summary to standard error. That nobody reads it to the end changes no exit status."""
    from writeaudit.commands.ci import announce_to_github
    from writeaudit.report.terminal import write_summary

    announce_to_github(examined.report, os.environ)
    try:
        write_summary(examined.report, sys.stderr, outputs, verbose=verbose)
        sys.stderr.flush()
    except (OSError, SystemExit):  # rich turns a broken pipe into SystemExit
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


def audit_status(examined: Examined | ExaminedImage) -> int:
    """Return 0, 100 or 101: what an audit of a command that succeeded comes to."""
    if examined.failing:
        return FINDINGS
    return 0 if examined.complete else INCOMPLETE


def recording_path(name: str) -> str:
    """Return the path of a recording: ``last`` is the newest one of this user."""
    if name != "last":
        return name
    from writeaudit.recording import find_last, runs_directories

    return find_last(*runs_directories(os.environ))


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
