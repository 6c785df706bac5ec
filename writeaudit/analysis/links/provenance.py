"""The files that a run made: their names, what they were copied from, how much was written.

It answers one question for the link rules: which files exist at the end that were filled
by copying because a link was refused, and from what. From the first refusal on it keeps a
record for each file that was made and is still there, and for each that was filled and removed again;
until then only for the latest, for most runs are refused nothing, and some make a million files.
"""

from __future__ import annotations

from itertools import islice
from typing import TypeVar

from writeaudit.events import OK, FsEvent, Op

_Value = TypeVar("_Value")

LATEST = 1 << 14
"""How many of the latest files are remembered, at least, as long as no link was refused. A copy that
fills a file comes after the refusal that caused it, yet the file may have been made before."""


class CreatedFile:
    """A regular file that was made (or written anew) in this run."""

    __slots__ = (
        "begun",
        "clone_failed",
        "cloned",
        "filled",
        "mount",
        "names",
        "pid",
        "read_from",
        "seq",
        "size",
        "source",
        "source_mount",
    )  # fmt: skip

    def __init__(self, name: bytes, event: FsEvent) -> None:
        self.names: tuple[bytes, ...] = (name,)
        """Every name that it had, the present one last."""
        self.seq = event.seq
        """The event that says where its data comes from: the first copying call, until then the open
        that made it."""
        self.begun = event.seq
        """The open that made it, or emptied it last."""
        self.filled: int | None = None
        """The event by which the first data came since then; None if none did."""
        self.clone_failed = False
        """What named the source was a clone, and the kernel refused it."""
        self.read_from: tuple[bytes, int | None] | None = None
        """A file of the same name that the same process had read last when this one was made, and its
        mount: its source, if it was copied by reading and writing."""
        self.cloned = False
        """It shares the blocks of its source: nothing was copied."""
        self.size = 0
        """Bytes written since it was made or last truncated."""
        self.source: bytes | None = None
        """What a copying call named as the source, whether or not the kernel accepted the call."""
        self.source_mount: int | None = None
        self.mount = event.mount
        self.pid = event.pid

    @property
    def since(self) -> int:
        """The event from which on it was filled, as far as can be seen: a file without data may have
        been made as a copy of an empty one.
        """
        return max(self.seq, self.begun) if self.filled is None else self.filled

    def note_emptied(self, event: FsEvent) -> None:
        """All that it held is gone: what it was filled from does not count any more."""
        self.begun = event.seq
        if self.source is not None or self.filled is not None:
            self.seq = event.seq
        self.filled = self.source = self.source_mount = None
        self.cloned = self.clone_failed = False
        self.size = 0

    def count_bytes(self, event: FsEvent) -> None:
        """Count what an event brought."""
        self.size += event.bytes or 0
        if self.filled is None:
            self.filled = event.seq


class FileProvenance:
    """Files made, and files read."""

    def __init__(self) -> None:
        self._keeps_all = False
        self.reads: dict[bytes, None] = {}
        """Names under which a file was opened for reading only, in the order of the first time."""
        self.gone: list[CreatedFile] = []
        """Files that were filled, and removed or replaced after the first refusal."""
        self._made: dict[bytes, CreatedFile] = {}
        self._read_last: dict[int, tuple[bytes, int | None]] = {}
        """What each process opened for reading last, since a link was refused."""
        # Renamed directories, new name to old: files below keep the name under which they were made.
        self._moved: dict[bytes, bytes] = {}

    def keep_all(self) -> None:
        """A link was refused: what is copied from now on may replace it."""
        self._keeps_all = True

    def list_created(self) -> list[CreatedFile]:
        """Return the files that were made and still have a name."""
        return list(self._made.values())

    def is_empty(self, path: bytes) -> bool:
        """Whether the run made the file itself and has put nothing in."""
        found = self._made.get(self._kept_name(path))
        return found is not None and found.filled is None and found.size == 0

    def note_opened(self, event: FsEvent) -> None:
        """Take an open."""
        if event.result != OK:
            return
        access = event.access
        if access is None or not access.writes:
            self.reads[event.path] = None
            if self._keeps_all:
                self._read_last[event.pid] = event.path, event.mount
            if len(self.reads) >= 2 * LATEST and not self._keeps_all:
                self.reads = _keep_latest(self.reads)
            return
        flags = event.flags
        if event.created:
            made = self._made[event.path] = CreatedFile(event.path, event)
            last = self._read_last.get(event.pid)
            if last is not None and _same_name(last[0], event.path):
                made.read_from = last
            if len(self._made) >= 2 * LATEST and not self._keeps_all:
                self._made = _keep_latest(self._made)
        elif "trunc" in flags:
            name = self._kept_name(event.path)
            found = self._made.get(name)
            if found is not None:
                found.note_emptied(event)
            elif "creat" in flags:
                # Not made, but all that it held is gone: filled from nothing nevertheless.
                self._made[name] = CreatedFile(name, event)

    def note_copied(self, event: FsEvent) -> None:
        """Take a copy or a clone: also a refused one, for it still says what was to be copied."""
        found = self._made.get(self._kept_name(event.path))
        if found is None:
            return
        accepted = event.result == OK
        # A refused call may have named another source than that which the data came from at last.
        first = found.source is None or (accepted and found.filled is None and event.source != found.source)
        if event.source is not None and first:
            found.source = event.source
            found.source_mount = event.source_mount
            found.seq = event.seq
            found.pid = event.pid
            found.clone_failed = event.op is Op.CLONE and not accepted
        if accepted:
            found.cloned = event.op is Op.CLONE and (found.filled is None or found.cloned)
            found.count_bytes(event)

    def note_written(self, event: FsEvent) -> None:
        """Take a write."""
        if event.result != OK:
            return
        found = self._made.get(self._kept_name(event.path))
        if found is not None:
            found.count_bytes(event)

    def note_renamed(self, event: FsEvent) -> None:
        """Take a rename."""
        old, new = event.source, event.path
        if old is None or event.result != OK:
            return
        found = self._made.pop(self._kept_name(old), None)
        if found is None:
            # A directory, or a file that was there before and now stands in the place of another.
            self._remove_name(new)
            before = self._moved.pop(old, None)
            self._moved[new] = self._kept_name(old) if before is None else before
            return
        found.names = (*found.names, new)
        self._moved.pop(new, None)
        self._remove_name(new)
        self._made[new] = found

    def note_exchanged(self, event: FsEvent) -> None:
        """Take an exchange of two names."""
        if event.source is None or event.result != OK:
            return
        one, two = self._kept_name(event.path), self._kept_name(event.source)
        first, second = self._made.pop(one, None), self._made.pop(two, None)
        for found, name in ((first, two), (second, one)):
            if found is not None:
                found.names = (*found.names, name)
                self._made[name] = found

    def note_unlinked(self, event: FsEvent) -> None:
        """Take an unlink."""
        if event.result == OK:
            self._remove_name(self._kept_name(event.path))

    def _remove_name(self, name: bytes) -> None:
        found = self._made.pop(name, None)
        if found is not None and found.filled is not None and self._keeps_all:
            self.gone.append(found)

    def _kept_name(self, path: bytes) -> bytes:
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


def _same_name(one: bytes, other: bytes) -> bool:
    return one[one.rfind(b"/") :] == other[other.rfind(b"/") :]


def _keep_latest(entries: dict[bytes, _Value]) -> dict[bytes, _Value]:
    """Return the last `LATEST` entries."""
    return dict(islice(entries.items(), len(entries) - LATEST, None))
