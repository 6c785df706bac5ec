"""The exceptions that writeaudit raises on purpose.

Every message says what failed and why; ``hint`` says what to do next. The command
line prints both and ends with ``status``. No click in here: the library can be used
without a terminal.
"""

from __future__ import annotations

import sys


class WriteauditError(Exception):
    """Something went wrong that the user can understand.

    ``status`` is the exit status of the command line (docs/cli.md).
    """

    status = 125

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(WriteauditError):
    """The request makes no sense as it was put; nothing has run."""

    status = 2


class PolicyError(UsageError):
    """A policy cannot be used: unreadable, not TOML, an unknown key, a bad pattern."""


class BackendUnavailable(WriteauditError):
    """A capture backend cannot run here; ``message`` is the reason, ``hint`` the remedy.

    ``detail``: the kernel's or the tool's own sentence. ``command``: what to type, as the remedy.
    ``missing``: which program or library is not installed (libbpf, bcc, strace).
    """

    def __init__(
        self,
        message: str,
        *,
        hint: str | None = None,
        detail: str | None = None,
        command: str | None = None,
        missing: str | None = None,
    ) -> None:
        super().__init__(f"{message}: {detail}" if detail else message, hint=hint)
        self.reason = message
        self.detail = detail
        self.command = command
        self.missing = missing


class CaptureError(WriteauditError):
    """Capture broke off after it had begun."""


class CommandNotFound(WriteauditError):
    """The audited command does not exist."""

    status = 127


class CommandNotExecutable(WriteauditError):
    """The audited command exists and cannot be executed."""

    status = 126


class RecordingError(WriteauditError):
    """A recording cannot be read: missing, not a recording, damaged, of a later version."""


class OutputError(WriteauditError):
    """A report or recording cannot be written; nothing half-written is left behind."""


def complain(error: WriteauditError) -> None:
    """Print what went wrong and what to do next. Names in it cannot reach the terminal raw."""
    lines = [f"writeaudit: {error.message}"]
    if error.hint:
        lines.append(f"  hint: {error.hint}")
    for line in lines:
        text = "".join(c if c.isprintable() else repr(c)[1:-1] for c in line)
        sys.stderr.write(f"{text}\n")
