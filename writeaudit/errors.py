"""The exceptions that writeaudit raises on purpose.

Every message says what failed and why; ``hint`` says what to do next. The command
line prints both and ends with ``status``. No click in here: the library can be used
without a terminal.
"""

from __future__ import annotations


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
    """A capture backend cannot run here; ``message`` is the reason, ``hint`` the remedy."""


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
