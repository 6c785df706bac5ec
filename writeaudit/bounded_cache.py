"""A cache that a hostile program cannot make grow for ever."""

from __future__ import annotations

from typing import TypeVar

_K = TypeVar("_K")
_V = TypeVar("_V")

_EACH = 256
"""What an entry takes besides its bytes, about."""


class BoundedCache(dict[_K, _V]):
    """A dict that is emptied when it would come to hold too much: by bytes, for a path may be long.

    What it holds can be found out again; that is cheaper than to know what was used last.
    """

    __slots__ = ("_held", "_limit")

    def __init__(self, limit: int) -> None:
        """``limit``: bytes."""
        super().__init__()
        self._limit = limit
        self._held = 0

    def keep_entry(self, key: _K, value: _V, size: int) -> None:
        """Add an entry that holds on to so many bytes."""
        self._held += size + _EACH
        if self._held > self._limit:
            self.clear()
            self._held = size + _EACH
        self[key] = value

    def clear(self) -> None:
        """Forget everything."""
        super().clear()
        self._held = 0
