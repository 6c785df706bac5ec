"""What was written into a recording, so that what is read from it can be compared.

The audited command may be of the same user as writeaudit, and so may write to the recording. The
verdict of a run must not depend on what it put there. So the writer keeps a digest of each row, in
memory, and the reader that judges the run compares.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet

Value = int | str | bytes | None
_BYTES = 16


def digest_row(values: Sequence[Value]) -> bytes:
    """Return a digest of the values of one row."""
    digest = hashlib.blake2b(digest_size=_BYTES)
    for value in values:
        if isinstance(value, bytes):
            kind, raw = b"b", value
        elif isinstance(value, str):
            kind, raw = b"t", value.encode("utf-8", "surrogatepass")
        elif value is None:
            kind, raw = b"n", b""
        else:
            kind, raw = b"i", b"%d" % value
        digest.update(b"%s%d:" % (kind, len(raw)))
        digest.update(raw)
    return digest.digest()


class Digests:
    """Digests of the rows of a recording, by table and key: 50 bytes for each chunk of events."""

    def __init__(self) -> None:
        self._rows: dict[tuple[str, object], bytes] = {}
        self._keys: dict[str, set[object]] = {}
        self._corrections: dict[int, set[int]] = {}

    def note_row(self, table: str, key: object, values: Sequence[Value]) -> None:
        """Note what was written under a key, in place of what was there."""
        self._rows[table, key] = digest_row(values)
        self._keys.setdefault(table, set()).add(key)

    def note_all(self, table: str, rows: Iterable[Sequence[Value]]) -> None:
        """Note all rows of a table, in their order."""
        self.note_row(table, None, [digest_row(row) for row in rows])

    def holds_row(self, table: str, key: object, values: Sequence[Value]) -> bool:
        """Whether just that was written under a key."""
        return self._rows.get((table, key)) == digest_row(values)

    def holds_all(self, table: str, rows: Iterable[Sequence[Value]]) -> bool:
        """Whether those are all rows of a table."""
        return self.holds_row(table, None, [digest_row(row) for row in rows])

    def note_correction(self, number: int, chunk: int, values: Sequence[Value]) -> None:
        """Note a correction, which belongs to a chunk."""
        self.note_row("correction", number, values)
        self._corrections.setdefault(chunk, set()).add(number)

    def list_corrections(self, chunk: int) -> AbstractSet[int]:
        """Return the numbers of the corrections of a chunk."""
        return self._corrections.get(chunk, set())

    def list_keys(self, table: str) -> frozenset[object]:
        """Return the keys of all rows that were written."""
        return frozenset(self._keys.get(table, ()))
