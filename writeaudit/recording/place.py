"""Where recordings are, unless somebody says where to."""

from __future__ import annotations

import os
from collections.abc import Mapping

from writeaudit.errors import RecordingError


def runs_directory(home: str, environ: Mapping[str, str]) -> str:
    """Return where recordings go without -o (XDG Base Directory Specification)."""
    state = environ.get("XDG_STATE_HOME", "")
    base = state if os.path.isabs(state) else os.path.join(home, ".local", "state")
    return os.path.join(base, "writeaudit", "runs")


def last(directory: str | os.PathLike[str]) -> str:
    """Return the newest recording of a directory. Raises RecordingError if there is none."""
    try:
        found = [name for name in os.listdir(directory) if name.endswith(".wa")]
    except OSError:
        found = []
    if not found:
        raise RecordingError(f"no recording yet in {directory}", hint="make one: writeaudit run -- COMMAND")
    return os.path.join(directory, max(found))
