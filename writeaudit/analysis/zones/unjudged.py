"""What a command that no profile knows changed outside every zone: listed by place, not as violations."""

from __future__ import annotations

import os
from collections.abc import Sequence

from writeaudit.analysis.collector import RunContext
from writeaudit.analysis.files.activity import (
    PathActivity,
    by_directory,
    common_directory,
    count_operations,
    in_words,
    name_paths,
    pick_evidence,
    pick_examples,
)
from writeaudit.analysis.zones.advice import ZoneAdviser
from writeaudit.judgement import Finding, Severity
from writeaudit.text import escape_path, plural, quote_name, size

_MOST_PLACES = 8


def unjudged_finding(
    activities: Sequence[PathActivity], context: RunContext, adviser: ZoneAdviser, *, setup: bool = False
) -> Finding:
    """Return the one finding for all that changed where nobody said whether it may (at least one place).

    ``setup``: it is what container runtimes did to make their containers ready.
    """
    home = context.run.env.get("HOME")
    groups = by_directory(activities, os.fsencode(home) if home else None, _MOST_PLACES)
    listed = "; ".join(_describe_group(group) for group in groups)
    words = context.run.command
    program = quote_name(os.path.basename(words[0])) if words else "this command"
    nobody = f"No profile knows {program}, and no"
    if context.run.joined:
        nobody = "Of what is joined no profile is guessed, and no"
    return Finding(
        rule="WA202",
        title="written outside temporary places by container runtimes, to set containers up"
        if setup
        else "written outside temporary places by what was joined"
        if context.run.joined
        else "written outside temporary places by a command that no profile knows",
        severity=Severity.NOTE,
        message=f"{plural(len(activities), 'path')} changed: {listed}.",
        count=sum(activity.events for activity in activities),
        bytes=sum(activity.bytes for activity in activities),
        files=len(activities),
        evidence=pick_evidence(activities),
        cause=f"{nobody} zone, profile or policy was given. So nobody said where "
        "it may write, and what it changed is listed without blame.",
        advice=adviser.advise_unjudged(activities),
        details={
            "zone": None,
            "unjudged": True,
            "ops": count_operations(activities),
            "examples": pick_examples(list(activities)),
            "places": [
                {"path": escape_path(common_directory(group)), "files": len(group)} for group in groups
            ],
        },
    )


def _describe_group(group: Sequence[PathActivity]) -> str:
    directory = common_directory(group)
    where = f"in {quote_name(directory)}" if directory != b"/" else "elsewhere"
    written = sum(activity.bytes for activity in group)
    return (
        f"{len(group):,} {where} ({name_paths(group)}: {in_words(count_operations(group))}; "
        f"{size(written)} written)"
    )
