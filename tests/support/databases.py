"""A recording opened as any other client would open it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def open_database(path: Path | str) -> Iterator[sqlite3.Connection]:
    """Open a database; commit and close it at the end.

    `with sqlite3.connect(…)` commits only. From Python 3.13 on a connection that is not closed is a
    ResourceWarning, and warnings are errors here.
    """
    database = sqlite3.connect(path)
    try:
        with database:
            yield database
    finally:
        database.close()
