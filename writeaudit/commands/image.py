"""`writeaudit image`: review a container image."""

from __future__ import annotations

import os
import sys

import click

from writeaudit.commands.base import Command
from writeaudit.commands.complete import complete_fail_on, complete_file
from writeaudit.commands.options import (
    FORMATS,
    TERMINAL,
    Outputs,
    audit_status,
    check_targets,
    format_option,
    output_options,
    verbose_option,
    write_form,
    write_reports,
)
from writeaudit.commands.outputs import check_outputs
from writeaudit.errors import UsageError


@click.command(
    "image",
    cls=Command,
    short_help="Review a container image, layer by layer.",
    epilog="""\b
Examples:
  writeaudit image image.tar --html review.html
  writeaudit image layout:1.4 --platform linux/arm64 --fail-on warning
  writeaudit image docker-daemon:app:latest --json - | jq '.image.layers'""",
)
@click.option(
    "--static",
    "is_static",
    is_flag=True,
    help="Only read the image and run nothing of it, which is the only way so far.",
)
@click.option(
    "--platform",
    metavar="OS/ARCH",
    help="Which image of several, linux/arm64 say (usual: the one for this machine).",
)
@click.option(
    "--fail-on",
    "fail_on",
    multiple=True,
    metavar="LEVEL|RULE|NAME",
    shell_complete=complete_fail_on,
    help="What makes the exit status 100: as of `run`; WA5xx and image stand for the rules on images.",
)
@format_option(*FORMATS)
@verbose_option
@click.option("-q", "--quiet", is_flag=True, help="No summary; the exit status is the answer.")
@output_options
@click.argument("source", shell_complete=complete_file)
def command(
    is_static: bool,  # noqa: ARG001 - the only way so far
    platform: str | None,
    fail_on: tuple[str, ...],
    form: str | None,
    verbose: bool,
    quiet: bool,
    source: str,
    outputs: Outputs,
) -> int:
    """Review SOURCE, a container image: what each layer did to which path, secrets, files with rights of
    their own, what everybody can write, what is deleted and still there, what is stored twice.

    SOURCE is an OCI layout (DIR or DIR:NAME), an archive (docker save, skopeo copy), the root directory of a
    file system, or a reference that skopeo can fetch (docker-daemon:NAME:TAG, containers-storage:NAME,
    docker://NAME). Nothing of the image is run or unpacked, and it takes no privilege.

    The exit status is 0 (nothing found), 100 (findings at or above --fail-on), or 101 (not all of it could be
    read).
    """
    from writeaudit import pipeline
    from writeaudit.analysis.fail_on import parse_fail_on
    from writeaudit.commands.ci import announce_to_github
    from writeaudit.report.image.terminal import write_summary

    failing = parse_fail_on(fail_on)
    _check_platform(platform)
    if outputs.files.get("sqlite") is not None:
        raise UsageError(
            "--sqlite holds the events of a run, and an image that is only read has none",
            hint="--json has every fact of the image",
        )
    written_to = {**outputs.by_option, "--format": None if form in (None, TERMINAL) else "-"}
    if os.path.isfile(source):
        check_outputs(written_to, recording=source, recording_is="SOURCE")
    else:
        check_outputs(written_to)
    check_targets(outputs)
    examined = pipeline.examine_image(
        source, platform=platform, fail_on=failing, fail_on_words=fail_on or ("error",)
    )
    written = write_reports(examined, outputs)
    if form not in (None, TERMINAL):
        write_form(examined, str(form), outputs)
    elif not quiet:
        announce_to_github(examined.report, os.environ)
        try:
            write_summary(examined.report, sys.stderr, written, verbose=verbose)
            sys.stderr.flush()
        except (OSError, SystemExit):  # rich turns a broken pipe into SystemExit
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    return audit_status(examined)


def _check_platform(platform: str | None) -> None:
    """Raise UsageError if a text names no platform."""
    from writeaudit.image.documents import parse_platform
    from writeaudit.image.errors import ImageError

    try:
        if platform is not None:
            parse_platform(platform)
    except ImageError as error:
        raise UsageError(error.message, hint=error.hint) from error
