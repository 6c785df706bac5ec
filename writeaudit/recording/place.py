"""Where recordings are, unless somebody says where to."""

from __future__ import annotations

import os
import pwd
import stat
from collections.abc import Mapping

from writeaudit.errors import OutputError, RecordingError


def runs_directory(home: str, environ: Mapping[str, str]) -> str:
    """Return where recordings go without -o (XDG Base Directory Specification)."""
    state = environ.get("XDG_STATE_HOME", "")
    base = state if os.path.isabs(state) else os.path.join(home, ".local", "state")
    return os.path.join(base, "writeaudit", "runs")


def runs_directories(environ: Mapping[str, str]) -> tuple[str, ...]:
    """Return where recordings may be: the usual place, then the one for users who have no usable home."""
    return (runs_directory(home_of(environ), environ), _temporary_runs())


def home_of(environ: Mapping[str, str]) -> str:
    """Return the home directory: of HOME, else of the user database; ``/`` if neither knows one."""
    home = environ.get("HOME", "")
    if os.path.isabs(home):
        return home
    try:
        return pwd.getpwuid(os.getuid()).pw_dir or "/"
    except KeyError:
        return "/"


def make_runs_directory(environ: Mapping[str, str]) -> str:
    """Return the first of `runs_directories` that can be made and written to. Raises `OutputError`."""
    usual, temporary = runs_directories(environ)
    try:
        os.makedirs(usual, exist_ok=True)
        if os.access(usual, os.W_OK | os.X_OK, effective_ids=True):
            return usual
        reason = "Permission denied"
    except OSError as error:
        reason = error.strerror or str(error)
    try:
        _make_own(os.path.dirname(temporary))
        os.makedirs(temporary, mode=0o700, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"cannot make the directory for recordings {usual}: {reason}; nor {temporary}: {error.strerror}",
            hint="name a file for the recording: -o FILE",
        ) from error
    return temporary


def find_last(*directories: str | os.PathLike[str]) -> str:
    """Return the newest recording of some directories. Raises RecordingError if there is none."""
    found: list[tuple[str, str]] = []
    for directory in directories:
        try:
            names = [name for name in os.listdir(directory) if name.endswith(".wa")]
        except OSError:
            continue
        found += [(name, os.path.join(directory, name)) for name in names]
    if not found:
        raise RecordingError(
            f"no recording yet in {os.fspath(directories[0])}", hint="make one: writeaudit run -- COMMAND"
        )
    return max(found)[1]


def _temporary_runs() -> str:
    import tempfile  # noqa: PLC0415 - start-up: seldom needed

    return os.path.join(tempfile.gettempdir(), f"writeaudit-{os.getuid()}", "runs")


def _make_own(directory: str) -> None:
    """Make a directory where others may write too; one of theirs is not taken. Raises OSError."""
    try:
        os.mkdir(directory, 0o700)
    except FileExistsError:
        status = os.lstat(directory)
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or status.st_mode & 0o022:
            raise
