"""Lists that are too long to be put together at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

_BATCH = 1000


def batches(items: Iterable[str]) -> Iterator[str]:
    """Yield the elements of a JSON array, a line each, in pieces of a thousand."""
    separator = ""
    iterator = iter(items)
    while batch := list(islice(iterator, _BATCH)):
        yield separator + ",\n".join(batch)
        separator = ",\n"
