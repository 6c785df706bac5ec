"""The names that a run touched, as a tree of directories that takes little memory.

A run may touch half a million names. So each keeps its last component only, and its counts of
operations are shared with all names to which the same was done: most files of an installer
have the same short life.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from writeaudit.events import Op
from writeaudit.judgement import Net, Verdict

_SHARED_TOTAL = 32
_SHARED_KINDS = 1 << 14
"""Counts are shared up to so many operations on one name, and so many different counts: what
goes beyond (a log file written to ten thousand times) would make a new one at each step."""


class Counts:
    """How often each operation was tried on a name, in the order of their first times."""

    __slots__ = ("after", "shared", "times", "total")

    def __init__(self, times: dict[str, int], total: int, *, shared: bool) -> None:
        self.times = times
        """Not to be changed by anybody but `CountTable`."""
        self.total = total
        self.shared = shared
        self.after: dict[Op, Counts] = {}
        """What these counts become by one more operation, where that came up before."""


class CountTable:
    """All counts of a run."""

    __slots__ = ("_shared", "none")

    def __init__(self) -> None:
        self._shared: dict[tuple[tuple[str, int], ...], Counts] = {}
        self.none = Counts({}, 0, shared=True)

    def add(self, counts: Counts, op: Op) -> Counts:
        """Return the counts after one more ``op``; ``counts`` are not to be used any more."""
        if not counts.shared:
            counts.times[op] = counts.times.get(op, 0) + 1
            return counts
        after = counts.after.get(op)
        if after is None:
            after = self.join(counts, {op: 1})
            if after.shared:
                counts.after[op] = after
        return after

    def join(self, counts: Counts, more: Mapping[str, int]) -> Counts:
        """Return the counts after all of ``more``; ``counts`` are not to be used any more."""
        times = dict(counts.times)
        for op, count in more.items():
            times[op] = times.get(op, 0) + count
        total = counts.total + sum(more.values())
        if total > _SHARED_TOTAL:
            return Counts(times, total, shared=False)
        key = tuple(times.items())
        found = self._shared.get(key)
        if found is not None:
            return found
        if len(self._shared) >= _SHARED_KINDS:
            return Counts(times, total, shared=False)
        made = self._shared[key] = Counts(times, total, shared=True)
        return made


class Track:
    """One name on one mount. ``before`` and ``now`` say whether it stood, None as long as nothing tells."""

    __slots__ = (
        "before", "bytes", "changed", "counts", "directory", "mount", "name", "now", "other", "replaced",
        "tried", "unnamed", "verdict",
    )  # fmt: skip

    def __init__(self, directory: Directory, name: bytes, mount: int | None, counts: Counts) -> None:
        self.directory = directory
        self.name = name
        self.mount = mount
        self.other: Track | None = None
        """The same name on another mount; a chain, mostly of one."""
        self.counts = counts
        self.bytes = 0
        self.verdict = Verdict.READ
        self.before: bool | None = None
        self.now: bool | None = None
        self.changed = False
        self.replaced = False
        self.tried = False
        self.unnamed = False

    @property
    def path(self) -> bytes:
        """The whole name."""
        directory = self.directory.path
        return self.name if directory is None else b"%b/%b" % (directory, self.name)

    def appear(self) -> None:
        """The name, missing until now, stands."""
        if self.before is None:
            self.before = False
        elif self.before:
            self.replaced = True
        self.now = True

    def seen(self) -> None:
        """The name was used, so it stood."""
        if self.before is None:
            self.before = True
        self.now = True

    def vanish(self) -> None:
        """The name, which stood, is gone."""
        if self.before is None:
            self.before = True
        self.now = False

    def net(self) -> Net:
        """What had become of it."""
        if self.before and self.now is False:
            return Net.DELETED
        if self.before is False and self.now is not None:
            return Net.CREATED if self.now else Net.TRANSIENT
        if self.replaced:
            return Net.REPLACED
        if self.changed:
            return Net.MODIFIED
        if self.unnamed:
            return Net.TRANSIENT
        return Net.ATTEMPTED if self.tried else Net.READ


class Directory:
    """The names that the run touched in one directory, and the directories below that it touched."""

    __slots__ = ("below", "names", "path")

    def __init__(self, path: bytes | None) -> None:
        self.path = path
        """Without a slash at its end; None for names that have no slash (``pipe:[4]``)."""
        self.names: dict[bytes, Track] = {}
        self.below: dict[bytes, Directory] = {}
        """By last component."""


class Tree:
    """All tracks of a run, by directory and name."""

    __slots__ = ("_nowhere", "_roots", "counts", "directories")

    def __init__(self) -> None:
        self.counts = CountTable()
        self.directories: dict[bytes, Directory] = {}
        """By path, as in `Directory.path`."""
        self._roots: dict[bytes, Directory] = {}
        self._nowhere = Directory(None)

    def track(self, path: bytes, mount: int | None) -> Track:
        """Return the track of a name on a mount; a new one if it did not come up before."""
        directory, name = self._split(path)
        first = track = directory.names.get(name)
        while track is not None:
            if track.mount == mount:
                return track
            track = track.other
        made = Track(directory, name, mount, self.counts.none)
        made.other = first
        directory.names[name] = made
        return made

    def find(self, path: bytes, mount: int | None) -> Track | None:
        """Return the track of a name on a mount, if it came up before."""
        cut = path.rfind(b"/")
        directory = self._nowhere if cut < 0 else self.directories.get(path[:cut])
        track = None if directory is None else directory.names.get(path[cut + 1 :])
        while track is not None and track.mount != mount:
            track = track.other
        return track

    def below(self, directory: bytes, mount: int | None) -> list[Track]:
        """Return the tracks of everything on ``mount`` that lies in a directory or deeper."""
        found: list[Track] = []
        top = self.directories.get(directory)
        pending = [] if top is None else [top]
        while pending:
            at = pending.pop()
            pending.extend(at.below.values())
            for first in at.names.values():
                track: Track | None = first
                while track is not None:
                    if track.mount == mount:
                        found.append(track)
                    track = track.other
        return found

    def remove(self, track: Track) -> None:
        """Forget a name."""
        names = track.directory.names
        first = names[track.name]
        if first is not track:
            while first.other is not track:
                assert first.other is not None
                first = first.other
            first.other = track.other
        elif track.other is not None:
            names[track.name] = track.other
        else:
            del names[track.name]

    def __iter__(self) -> Iterator[Track]:
        """Yield all tracks in the order of path, then mount (None before all)."""
        # The slash after a directory's name makes the names below it stand where they do in the
        # order of whole paths: after `a-b`, before `a0`.
        tops: dict[bytes, Track | Directory] = {**self._nowhere.names}
        tops |= {path + b"/": directory for path, directory in self._roots.items()}
        pending = [iter([tops[key] for key in sorted(tops)])]
        while pending:
            for item in pending[-1]:
                if isinstance(item, Directory):
                    entries: dict[bytes, Track | Directory] = {**item.names}
                    entries |= {name + b"/": directory for name, directory in item.below.items()}
                    pending.append(iter([entries[key] for key in sorted(entries)]))
                    break
                if item.other is None:
                    yield item
                else:
                    yield from _by_mount(item)
            else:
                pending.pop()

    def _split(self, path: bytes) -> tuple[Directory, bytes]:
        cut = path.rfind(b"/")
        if cut < 0:
            return self._nowhere, path
        directory = self.directories.get(path[:cut])
        return directory or self._add(path[:cut]), path[cut + 1 :]

    def _add(self, path: bytes) -> Directory:
        """Enter a directory, and those above it that are new."""
        made = child = self.directories[path] = Directory(path)
        while True:
            cut = path.rfind(b"/")
            if cut < 0:
                self._roots[path] = child
                return made
            name, path = path[cut + 1 :], path[:cut]
            parent = self.directories.get(path)
            if parent is not None:
                parent.below[name] = child
                return made
            parent = self.directories[path] = Directory(path)
            parent.below[name] = child
            child = parent


def _by_mount(first: Track) -> list[Track]:
    chain: list[Track] = []
    track: Track | None = first
    while track is not None:
        chain.append(track)
        track = track.other
    return sorted(chain, key=lambda each: -1 if each.mount is None else each.mount)
