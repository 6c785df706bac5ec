"""What can be wrong with an image as a whole, and with a part of it."""

from __future__ import annotations

from writeaudit.errors import WriteauditError


class ImageError(WriteauditError):
    """An image cannot be read: missing, no image, of an unsupported type, a tool or a library is missing."""


class Damage(Exception):
    """A layer, or the rest of it, cannot be read; the message is a clause that is safe to show."""

    def __init__(self, message: str, kind: str = "damaged") -> None:
        super().__init__(message)
        self.kind = kind
        """damaged, truncated, bomb, digest."""
