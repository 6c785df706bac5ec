"""The values that a shell is offered for options and arguments."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem


def complete_rule(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer the rules, with their titles."""
    from writeaudit.rules import RULES

    word = incomplete.upper()
    from click.shell_completion import CompletionItem

    return [CompletionItem(rule.id, help=rule.title) for rule in RULES if rule.id.startswith(word)]


def complete_profile(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer the modes, the tools, and after a slash the modes of a tool."""
    from writeaudit.policy.profiles import known_profiles

    tool, slash, _mode = incomplete.partition("/")
    names = (f"{tool}/install", f"{tool}/frozen") if slash else known_profiles()
    return _beginning_with(names, incomplete)


def complete_fail_on(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer what --fail-on takes."""
    from writeaudit.analysis.fail_on import list_choices

    return _beginning_with(list_choices(), incomplete)


def complete_recording(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer `last`, and files."""
    return [
        *_beginning_with(("last",), incomplete),
        _file(incomplete),
    ]


def complete_file(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer files."""
    return [_file(incomplete)]


def complete_user(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer the names of users."""
    import pwd

    return _beginning_with((entry.pw_name for entry in pwd.getpwall()), incomplete)


def complete_command(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer programs of PATH for the first word of a command, files for the others."""
    if ctx.params.get(param.name or "") or os.sep in incomplete or not incomplete:
        return [_file(incomplete)]
    found: set[str] = set()
    for directory in os.get_exec_path():
        try:
            found.update(name for name in os.listdir(directory) if name.startswith(incomplete))
        except OSError:
            continue
    return _beginning_with(sorted(found), incomplete)


def _beginning_with(names: Iterable[str], incomplete: str) -> list[CompletionItem]:
    from click.shell_completion import CompletionItem

    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


def _file(incomplete: str) -> CompletionItem:
    from click.shell_completion import CompletionItem

    return CompletionItem(incomplete, type="file")
