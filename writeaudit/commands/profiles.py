"""`writeaudit profiles`: which tools are known, and where each is taken to write."""

from __future__ import annotations

import os
from importlib import resources

import click

from writeaudit.commands.base import Command
from writeaudit.commands.complete import complete_profile
from writeaudit.policy.profiles import (
    check_profile,
    describe_profile,
    list_tools,
    survey_command,
    usual_command,
)
from writeaudit.text import escape_path


@click.command(
    "profiles",
    cls=Command,
    short_help="Show which tools are known, and where they write.",
    context_settings={"allow_interspersed_args": False},
    epilog="""\b
Examples:
  writeaudit profiles                        the tools that are known
  writeaudit profiles uv                     where uv's zones are, here and now
  writeaudit profiles npm -- npm ci -g yarn  the same for one command""",
)
@click.option("--schema", is_flag=True, help="Print the JSON Schema of policy files, for editors.")
@click.argument("profile", required=False, shell_complete=complete_profile)
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
def command(schema: bool, profile: str | None, command: tuple[str, ...]) -> None:
    """List the tools that are known, or show where PROFILE finds its zones, and by what.

    PROFILE is a tool, or TOOL/MODE. Without COMMAND it is shown for the tool's most usual one.
    """
    if schema:
        file = resources.files("writeaudit.policy").joinpath("policy.schema.json")
        click.echo(file.read_text("utf-8"), nl=False)
        return
    if profile is None:
        for name in list_tools():
            known = describe_profile(name)
            click.echo(f"{name}\t{', '.join(known.programs)}\t{known.summary}")
        return
    tool, _mode = check_profile(profile)
    words = tuple(os.fsencode(word) for word in command[command[:1] == ("--",) :])
    found = survey_command(
        words or usual_command(tool or "generic"), os.getcwdb(), dict(os.environ), profile=profile
    )
    click.echo(f"{found.policy.name}: {describe_profile(found.policy.tool).summary}")
    for zone in found.policy.zones:
        click.echo(f"\nzone {zone.name} ({zone.access.value})")
        for pattern in zone.patterns:
            click.echo(f"  {escape_path(pattern)}")
    click.echo("\nvariables that it asks for")
    for name in sorted(found.variables):
        value = os.environ.get(name)
        click.echo(f"  {name}" + ("" if value is None else f"={escape_path(os.fsencode(value))}"))
    if found.files:
        click.echo("\nsettings files that it reads")
        for path in found.files:
            note = "" if os.path.exists(path) else " (not there)"
            click.echo(f"  {escape_path(os.fsencode(path))}{note}")
