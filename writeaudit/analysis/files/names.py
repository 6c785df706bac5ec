"""Which names a file has, followed through links, renames (of directories above it, too) and unlinks."""

from __future__ import annotations

from collections.abc import Sequence

from writeaudit.audit import SharedFile
from writeaudit.events import FsEvent, Op

_MOST = 1 << 18
"""How many names are followed. Installers link some hundred thousand files."""
_DIRECTORY_MOVES = 1 << 12
"""Renames of directories that are looked into for such names, of which there may be many."""


class Shared:
    """One file and its names."""

    __slots__ = ("identified", "made", "names", "nlink", "searched")

    def __init__(self, nlink: int = 1, *, made: bool = False, searched: bool = True) -> None:
        self.names: dict[bytes, None] = {}
        self.nlink = nlink
        """The most names that it was seen to have; more may be known by now."""
        self.identified = False
        """Whether the number of the file is known: an event with another one is about another file."""
        self.made = made
        """Whether the run made the file."""
        self.searched = searched
        """Whether the zones of the policy were looked through for its names."""

    @property
    def unknown(self) -> int:
        """How many names are not known."""
        return max(self.nlink - len(self.names), 0)

    def has_others(self, name: bytes) -> bool:
        """Whether it has other names than this one."""
        return len(self.names) - (name in self.names) > 0 or self.nlink > 1


class LinkedFiles:
    """The files with several names that the recording knows of."""

    def __init__(self, shared: Sequence[SharedFile]) -> None:
        self._by_name: dict[bytes, Shared] = {}
        self._below: dict[bytes, set[bytes]] = {}
        """The names in each directory."""
        self._by_file: dict[tuple[int | None, int], Shared] = {}
        self._moves = 0
        self._made: set[bytes] = set()
        for file in shared:
            entry = Shared(file.nlink, searched=file.searched)
            entry.identified = True
            entry.names = dict.fromkeys(file.names)
            self._by_file[file.dev, file.ino] = entry
            for name in file.names:
                if name not in self._by_name:
                    self._enter_name(name, entry)

    @property
    def any(self) -> bool:
        """Whether there is any."""
        return bool(self._by_name)

    def shared_file_of(self, event: FsEvent) -> Shared | None:
        """Return the file that an event changes, if it is one of these."""
        if event.ino is not None:
            found = self._by_file.get((event.dev, event.ino))
            if found is not None:
                return found
            known = self._by_name.get(event.path)
            return known if known is not None and not known.identified else None
        return self._by_name.get(event.path)

    def note_created(self, event: FsEvent) -> None:
        """Take an operation that made a file."""
        name = event.path
        if len(self._made) >= _MOST_MADE:
            self._made.clear()
        self._made.add(name)
        known = None if event.ino is None else self._by_file.get((event.dev, event.ino))
        if known is not None:
            # While a number is in use it is not given to a new file: from here on it means this one.
            known.made = True
        if name in self._by_name and self._by_name[name] is not known:
            self._forget_name(name)

    def note_linked(self, event: FsEvent) -> None:
        """Take a link that succeeded."""
        if event.source is None or len(self._by_name) >= _MOST:
            return
        shared = None
        if event.source_ino is not None:
            shared = self._by_file.get((event.source_dev, event.source_ino))
        if shared is None:
            shared = self._by_name.get(event.source)
        if shared is None:
            # By O_TMPFILE it had no name before.
            nameless = "deleted" in event.flags
            shared = Shared(made=nameless or event.source in self._made)
            if not nameless:
                shared.names[event.source] = None
            self._enter_name(event.source, shared)
        elif event.source in self._made:
            shared.made = True
        if event.source_ino is not None:
            shared.identified = True
            self._by_file[event.source_dev, event.source_ino] = shared
        shared.names[event.path] = None
        self._enter_name(event.path, shared)

    def note_moved(self, event: FsEvent) -> None:
        """Take an operation on names that succeeded."""
        op = event.op
        if op is Op.RENAME and event.source is not None:
            self._rename_name(event.source, event.path)
        elif op is Op.EXCHANGE and event.source is not None:
            self._rename_name(event.source, event.path + _ASIDE)
            self._rename_name(event.path, event.source)
            self._rename_name(event.path + _ASIDE, event.path)
        elif op is Op.UNLINK:
            self._made.discard(event.path)
            self._forget_name(event.path)

    def _enter_name(self, name: bytes, shared: Shared) -> None:
        self._by_name[name] = shared
        self._below.setdefault(name[: name.rfind(b"/")], set()).add(name)

    def _take_name(self, name: bytes) -> Shared | None:
        shared = self._by_name.pop(name, None)
        directory = name[: name.rfind(b"/")]
        names = self._below.get(directory)
        if names is not None:
            names.discard(name)
            if not names:
                del self._below[directory]
        return shared

    def _forget_name(self, name: bytes) -> None:
        shared = self._take_name(name)
        if shared is not None:
            shared.names.pop(name, None)
            shared.nlink -= shared.nlink > 1

    def _rename_name(self, old: bytes, new: bytes) -> None:
        is_file = old in self._made
        self._made.discard(new)
        if is_file:
            self._made.discard(old)
            self._made.add(new)
        if old in self._by_name:
            if old != new and self._by_name.get(new) is not self._by_name[old]:
                self._forget_name(new)
                self._put_below(old, new)
            return
        self._forget_name(new)
        if is_file:
            return  # no name lies below it
        if self._moves >= _DIRECTORY_MOVES:
            return
        self._moves += 1
        start = old + b"/"
        moved = [directory for directory in self._below if directory == old or directory.startswith(start)]
        for name in [name for directory in moved for name in self._below[directory]]:
            self._put_below(name, new + name[len(old) :])

    def _put_below(self, old: bytes, new: bytes) -> None:
        shared = self._take_name(old)
        if shared is not None:
            shared.names.pop(old, None)
            shared.names[new] = None
            self._enter_name(new, shared)


_ASIDE = b"\0aside"
_MOST_MADE = 1 << 17
"""How many of the latest files that the run made are remembered."""
