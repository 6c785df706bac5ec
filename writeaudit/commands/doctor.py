"""`writeaudit doctor`: what can run here, and what is missing."""

from __future__ import annotations

import json
import sys

import click
from rich.console import Console
from rich.markup import escape

from writeaudit import __version__
from writeaudit.capture.select import list_backends
from writeaudit.commands.base import Command
from writeaudit.doctor import BackendState, Facts, examine_backend, gather_facts
from writeaudit.errors import WriteauditError

_SCHEMA_VERSION = "1.0"


def as_json(facts: Facts, states: list[BackendState]) -> str:
    """Render for programs; the names are documented in docs/doctor.md."""
    distribution = facts.distribution
    document = {
        "schema_version": _SCHEMA_VERSION,
        "tool": {"name": "writeaudit", "version": __version__},
        "backends": [
            {
                "name": state.name,
                "tier": state.tier,
                "works": state.works,
                "reason": state.reason,
                "detail": state.detail,
                "remedies": [{"reason": step.reason, "command": step.command} for step in state.remedies],
            }
            for state in states
        ],
        "auto": _chosen(states),
        "facts": {
            "distribution": {
                "id": distribution.id,
                "version": distribution.version,
                "pretty": distribution.pretty,
            },
            "kernel": facts.kernel,
            "arch": facts.arch,
            "python": sys.version.split()[0],
            "btf": facts.btf,
            "root": facts.root,
            "user_namespace": facts.user_namespace,
            "seccomp": facts.seccomp,
            "capabilities": dict(facts.capabilities),
            "lockdown": facts.lockdown,
            "unprivileged_bpf_disabled": facts.unprivileged_bpf_disabled,
            "ptrace_scope": facts.ptrace_scope,
            "protected_hardlinks": facts.protected_hardlinks,
            "libbpf": facts.libbpf,
            "strace": facts.strace,
            "bcc": facts.bcc,
        },
    }
    return json.dumps(document, indent=2)


def _chosen(states: list[BackendState]) -> str | None:
    return next((state.name for state in states if state.works), None)


def _show(console: Console, facts: Facts, states: list[BackendState]) -> None:
    def line(text: str = "") -> None:
        # Never wrapped: commands are there to be copied, and a pipe has no width.
        console.print(text, soft_wrap=True)

    chosen = _chosen(states)
    for state in states:
        word = "[green]works[/green]" if state.works else "[red]does not work here[/red]"
        tail = " [dim](auto takes this one)[/dim]" if state.name == chosen else ""
        line(f"[bold]{escape(state.name)}[/bold]  {word}{tail}")
        if state.reason:
            line(f"    {escape(state.reason)}")
        if state.detail:
            line(f"    [dim]{escape(state.detail)}[/dim]")
        for step in state.remedies:
            if step.reason != state.reason:
                line(f"    {escape(step.reason)}")
            if step.command:
                line(f"      [bold cyan]{escape(step.command)}[/bold cyan]")
    line()
    facts_shown = _fact_lines(facts)
    width = max(len(name) for name, _value in facts_shown)
    for name, value in facts_shown:
        line(f"[dim]{escape(name):{width}}[/dim]  {escape(value)}")
    if chosen is None:
        line("\n[red]No backend works here: writeaudit cannot audit on this machine.[/red]")


def _fact_lines(facts: Facts) -> list[tuple[str, str]]:
    def known(value: object) -> str:
        return "not set" if value is None else str(value)

    held = [name for name, has in facts.capabilities.items() if has]
    return [
        ("writeaudit", f"{__version__}, Python {sys.version.split()[0]}"),
        ("system", facts.distribution.pretty),
        ("kernel", f"{facts.kernel} {facts.arch}"),
        ("kernel types (BTF)", "present" if facts.btf else "missing"),
        ("user", _user(facts)),
        ("capabilities", " ".join(held) or "none that matter"),
        ("lockdown", known(facts.lockdown)),
        ("kernel.unprivileged_bpf_disabled", known(facts.unprivileged_bpf_disabled)),
        ("kernel.yama.ptrace_scope", known(facts.ptrace_scope)),
        ("fs.protected_hardlinks", known(facts.protected_hardlinks)),
        ("libbpf", facts.libbpf or "missing"),
        ("strace", facts.strace or "missing"),
        ("bcc for Python", "present" if facts.bcc else "missing"),
    ]


def _user(facts: Facts) -> str:
    words = ["root" if facts.root else "not root"]
    if facts.user_namespace:
        words.append("in a user namespace")
    if facts.seccomp:
        words.append("under a seccomp filter")
    return ", ".join(words)


@click.command(
    "doctor",
    cls=Command,
    short_help="Say what can run here, and what is missing.",
    epilog="""\b
Examples:
  writeaudit doctor
  writeaudit doctor --json | jq .auto
""",
)
@click.option("--json", "json_wanted", is_flag=True, help="Print everything as JSON.")
def command(json_wanted: bool) -> None:
    """Say what can run here, and what is missing.

    Has every capture backend audit a command that does nothing. For each that does not work it
    says why, in the kernel's own words where it has any, and what helps. Ends with status 0 if
    at least one works, else with 125.
    """
    facts = gather_facts()
    states = [examine_backend(backend, facts) for backend in list_backends()]
    if json_wanted:
        click.echo(as_json(facts, states))
    else:
        _show(Console(highlight=False), facts, states)
    if _chosen(states) is None:
        sys.exit(WriteauditError.status)
