"""What all commands have in common: settings, completion, and mistakes said in the program's own form."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from typing import Any, ClassVar

import click
from click.core import ParameterSource

from writeaudit.commands.settings import SETTINGS, project_defaults, variable
from writeaudit.errors import UsageError
from writeaudit.text import nearest


class Command(click.Command):
    """A command that takes its settings from the environment, too, and completes its values."""

    project_settings: ClassVar[frozenset[str]] = frozenset({"fail_on"})
    """Which options the project's pyproject.toml can set."""

    def __init__(self, *args: Any, **keywords: Any) -> None:
        super().__init__(*args, **keywords)
        for parameter in self.params:
            if isinstance(parameter, click.Option) and parameter.name in SETTINGS:
                parameter.envvar = variable(parameter.name)
                parameter.show_envvar = True

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """Take from the project's pyproject.toml what the command line and the environment leave open."""
        names = {parameter.name for parameter in self.params} & self.project_settings
        if names:
            with contextlib.suppress(FileNotFoundError):  # a working directory that is gone
                found = project_defaults(os.getcwd())
                extra["default_map"] = {name: value for name, value in found.items() if name in names}
        return super().make_context(info_name, args, parent, **extra)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse as usual; but `--json -- COMMAND` is a mistake, not a report in a file called `--`."""
        rest = super().parse_args(ctx, args)
        given = ctx.get_parameter_source("profile")
        if ctx.params.get("policy_file") is not None and given is ParameterSource.DEFAULT_MAP:
            ctx.params["profile"] = None  # the policy that was asked for stands alone
        for parameter in self.params:
            if not isinstance(parameter, click.Option) or parameter.is_flag:
                continue
            value = ctx.params.get(parameter.name or "")
            values = value if isinstance(value, tuple) else (value,)
            for each in values:
                if isinstance(each, str) and each.startswith("-") and each != "-":
                    _refuse(ctx, parameter, each)
        return rest


class RunCommand(Command):
    """`run`, which a project can tell how it is to be audited."""

    project_settings = frozenset({"backend", "buffer", "fail_on", "linger", "profile"})


class AttachCommand(Command):
    """`attach`, whose profile nobody guesses: what is joined need not be of the project at hand."""

    project_settings = frozenset({"backend", "buffer", "fail_on"})


def _refuse(ctx: click.Context, option: click.Option, value: str) -> None:
    """Raise UsageError for a value that is no value, but the next option or `--`."""
    name = max(option.opts, key=len)
    what = option.metavar or "VALUE"
    hint = f"for example: {name} {what}; see: {ctx.command_path} --help"
    if what in {"FILE", "RECORDING", "DIR"}:
        hint = f"a file of that name is ./{value}; see: {ctx.command_path} --help"
    raise UsageError(f"{name} needs a value ({what}), and {value} follows it", hint=hint)


def own_form(error: click.ClickException) -> UsageError:
    """Return a mistake that click has found as one of this program's: what is wrong, and what to do next."""
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "writeaudit"
    if isinstance(error, click.NoSuchOption):
        return UsageError(
            f"no such option: {error.option_name}", hint=_guess(error.option_name, error.possibilities, path)
        )
    message = error.format_message().rstrip(".").replace("\n", " ")
    if isinstance(error, click.MissingParameter):
        parameter = error.param
        if isinstance(parameter, click.Argument):
            name = parameter.human_readable_name
            params = context.command.params if context is not None else [parameter]
            words = " ".join(each.human_readable_name for each in params if isinstance(each, click.Argument))
            example = (
                f"{path} -- COMMAND [ARG]…" if path.endswith((" run", " confine")) else f"{path} {words}"
            )
            article = "an" if name[:1] in "AEIOU" else "a"
            return UsageError(f"{path} needs {article} {name}", hint=f"{example}; see: {path} --help")
    return UsageError(message[:1].lower() + message[1:], hint=f"see: {path} --help")


def _guess(word: str, possibilities: Iterable[str] | None, path: str) -> str:
    near = nearest(word, possibilities or ())
    meant = f"did you mean {near}? " if near else ""
    return f"{meant}All options: {path} --help"
