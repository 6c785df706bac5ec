"""The files that a run made: their names, what they were copied from, how much was written.

It answers one question for the link rules: which files exist at the end that were filled
by copying because a link was refused, and from what. From the first refusal on it keeps a
record for each file that was made and is still there; until then only for the latest, for
most runs are refused nothing, and some make a million files.
"""

from __future__ import annotations

from itertools import islice
from typing import TypeVar

from writeaudit.events import OK, FsEvent

_Value = TypeVar("_Value")

LATEST = 1 << 14
"""How many of the latest files are remembered, at least, as long as no link was refused. A copy that
fills a file comes after the refusal that it makes up for, yet the file may have been made before."""


class MadeFile:
    """A regular file that was made (or written anew) in this run."""

    __slots__ = ("mount", "names", "pid", "seq", "size", "source", "source_mount")

    def __init__(self, name: bytes, event: FsEvent) -> None:
        self.names: tuple[bytes, ...] = (name,)
        """Every name that it had, the present one last."""
        self.seq = event.seq
        """The event that fills it: its first copy, until then the open that made it."""
        self.size = 0
        """Bytes written since it was made or last truncated."""
        self.source: bytes | None = None
        """What a copying call named as the source, whether or not the kernel accepted the call."""
        self.source_mount: int | None = None
        self.mount = event.mount
        self.pid = event.pid


class Ledger:
    """Files made, and files read."""

    def __init__(self) -> None:
        self._keeps_all = False
        self.reads: dict[bytes, None] = {}
        """Names under which a file was opened for reading only, in the order of the first time."""
        self._made: dict[bytes, MadeFile] = {}
        # Renamed directories, new name to old: files below keep the name under which they were made.
        self._moved: dict[bytes, bytes] = {}

    def keep_all(self) -> None:
        """A link was refused: what is copied from now on may be in its stead."""
        self._keeps_all = True

    def made(self) -> list[MadeFile]:
        """Return the files that were made and still have a name."""
        return list(self._made.values())

    def opened(self, event: FsEvent) -> None:
        """Take an open."""
        if event.result != OK:
            return
        access = event.access
        if access is None or not access.writes:
            self.reads[event.path] = None
            if len(self.reads) >= 2 * LATEST and not self._keeps_all:
                self.reads = _latest(self.reads)
            return
        flags = event.flags
        if event.created:
            self._made[event.path] = MadeFile(event.path, event)
            if len(self._made) >= 2 * LATEST and not self._keeps_all:
                self._made = _latest(self._made)
        elif "trunc" in flags:
            name = self._name(event.path)
            found = self._made.get(name)
            if found is not None:
                found.size = 0
            elif "creat" in flags:
                # Not made, but all that it held is gone: filled from nothing all the same.
                self._made[name] = MadeFile(name, event)

    def copied(self, event: FsEvent) -> None:
        """Take a copy or a clone: also a refused one, for it still says what was to be copied."""
        found = self._made.get(self._name(event.path))
        if found is None:
            return
        if event.source is not None and found.source is None:
            found.source = event.source
            found.source_mount = event.source_mount
            found.seq = event.seq
            found.pid = event.pid
        if event.result == OK:
            found.size += event.bytes or 0

    def written(self, event: FsEvent) -> None:
        """Take a write."""
        if event.result != OK:
            return
        found = self._made.get(self._name(event.path))
        if found is not None:
            found.size += event.bytes or 0

    def renamed(self, event: FsEvent) -> None:
        """Take a rename."""
        old, new = event.source, event.path
        if old is None or event.result != OK:
            return
        found = self._made.pop(self._name(old), None)
        if found is None:
            # A directory, or a file that was there before and now stands in the place of another.
            self._made.pop(new, None)
            before = self._moved.pop(old, None)
            self._moved[new] = self._name(old) if before is None else before
            return
        found.names = (*found.names, new)
        self._moved.pop(new, None)
        self._made[new] = found

    def exchanged(self, event: FsEvent) -> None:
        """Take an exchange of two names."""
        if event.source is None or event.result != OK:
            return
        one, two = self._name(event.path), self._name(event.source)
        first, second = self._made.pop(one, None), self._made.pop(two, None)
        for found, name in ((first, two), (second, one)):
            if found is not None:
                found.names = (*found.names, name)
                self._made[name] = found

    def unlinked(self, event: FsEvent) -> None:
        """Take an unlink."""
        if event.result == OK:
            self._made.pop(self._name(event.path), None)

    def _name(self, path: bytes) -> bytes:
        """Return the name under which the file now at ``path`` is kept here."""
        if path in self._made or not self._moved:
            return path
        end = path.rfind(b"/")
        while end > 0:
            old = self._moved.get(path[:end])
            if old is not None:
                return old + path[end:]
            end = path.rfind(b"/", 0, end)
        return path


def _latest(entries: dict[bytes, _Value]) -> dict[bytes, _Value]:
    """Return the last `LATEST` entries."""
    return dict(islice(entries.items(), len(entries) - LATEST, None))
