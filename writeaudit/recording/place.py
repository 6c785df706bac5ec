"""Where recordings are, unless somebody says where to."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from writeaudit.errors import RecordingError


def runs_directory(home: str, environ: Mapping[str, str]) -> Path:
    """Return where recordings go without -o (XDG Base Directory Specification)."""
    state = environ.get("XDG_STATE_HOME", "")
    base = Path(state) if os.path.isabs(state) else Path(home) / ".local" / "state"
    return base / "writeaudit" / "runs"


def last(directory: Path) -> str:
    """Return the newest recording of a directory. Raises RecordingError if there is none."""
    try:
        found = sorted(directory.glob("*.wa"))
    except OSError:
        found = []
    if not found:
        raise RecordingError(f"no recording yet in {directory}", hint="make one: writeaudit run -- COMMAND")
    return str(found[-1])
