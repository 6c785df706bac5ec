"""The names that a run touched, as a tree of directories that takes little memory.

A run may touch a million names, and most files of an installer have the same short life: they are made, and
that is all. So a name is kept as the last component of a path and a `SharedHistory`, which it shares with
all names to which the same was done. One that differs from all others, by the bytes written to it, say, gets
a `PathHistory` of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from operator import itemgetter

from writeaudit.events import Op
from writeaudit.judgement import NetEffect, Origin, Verdict

_SHARED_TOTAL = 32
_SHARED_STEPS = 1 << 14
"""How many steps from one history to another are remembered: a hostile program can make up any number."""
_SHARED_KINDS = 1 << 14
"""Counts are shared up to so many operations on one name, and so many different counts: what
goes beyond (a log file written to ten thousand times) would make a new one at each step."""


class Counts:
    """How often each operation was tried on a name, in the order of their first times."""

    __slots__ = ("after", "shared", "times", "total")

    def __init__(self, times: dict[str, int], total: int, *, shared: bool) -> None:
        self.times = times
        """Only `CountTable` may change it."""
        self.total = total
        self.shared = shared
        self.after: dict[Op, Counts] = {}
        """The counts after one more operation, where that came up before."""


class CountTable:
    """All counts of a run."""

    __slots__ = ("_shared", "none")

    def __init__(self) -> None:
        self._shared: dict[tuple[tuple[str, int], ...], Counts] = {}
        self.none = Counts({}, 0, shared=True)

    def add_operation(self, counts: Counts, op: Op) -> Counts:
        """Return the counts after one more ``op``; ``counts`` are not to be used any more."""
        if not counts.shared:
            counts.times[op] = counts.times.get(op, 0) + 1
            return counts
        after = counts.after.get(op)
        if after is None:
            after = self.join_counts(counts, {op: 1})
            if after.shared:
                counts.after[op] = after
        return after

    def join_counts(self, counts: Counts, more: Mapping[str, int]) -> Counts:
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


class SharedHistory:
    """What a name on one mount went through, shared by all names that went through the same.

    The fields are those of `PathHistory`; no bytes were written to such a name, and it is no file without a
    name.
    """

    __slots__ = (
        "after", "before", "changed", "counts", "folder", "mount", "now", "origin", "replaced", "tried",
        "verdict",
    )  # fmt: skip

    def __init__(
        self,
        mount: int | None,
        counts: Counts,
        verdict: Verdict,
        before: bool | None,
        now: bool | None,
        changed: bool,
        replaced: bool,
        tried: bool,
        origin: Origin | None,
        folder: bool,
    ) -> None:
        self.mount = mount
        self.counts = counts
        self.verdict = verdict
        self.before = before
        self.now = now
        self.changed = changed
        self.replaced = replaced
        self.tried = tried
        self.origin = origin
        self.folder = folder
        self.after: dict[object, SharedHistory] = {}
        """The history after one more event, by that event's signature."""

    def make_own(self, directory: Directory, name: bytes) -> PathHistory:
        """Return a history of its own for one of the names."""
        history = PathHistory(directory, name, self.mount, self.counts)
        history.verdict = self.verdict
        history.before, history.now = self.before, self.now
        history.changed, history.replaced, history.tried = self.changed, self.replaced, self.tried
        history.origin, history.folder = self.origin, self.folder
        return history


class PathHistory:
    """One name on one mount. ``before`` and ``now`` say whether it stood, None as long as nothing tells."""

    __slots__ = (
        "before", "bytes", "changed", "counts", "directory", "folder", "mount", "name", "now", "origin",
        "other", "replaced", "tried", "unnamed", "verdict",
    )  # fmt: skip

    def __init__(self, directory: Directory, name: bytes, mount: int | None, counts: Counts) -> None:
        self.directory = directory
        self.name = name
        self.mount = mount
        self.other: PathHistory | None = None
        """The same name on another mount; a chain, mostly of one."""
        self.counts = counts
        self.bytes = 0
        self.verdict = Verdict.READ
        self.origin: Origin | None = None
        """How the file came; shared with all that came so."""
        self.folder = False
        """Whether it is a directory itself."""
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

    def mark_present(self) -> None:
        """The name, missing until now, stands."""
        if self.before is None:
            self.before = False
        elif self.before:
            self.replaced = True
        self.now = True

    def mark_seen(self) -> None:
        """The name was used, so it stood."""
        if self.before is None:
            self.before = True
        self.now = True

    def mark_gone(self) -> None:
        """The name, which stood, is gone."""
        if self.before is None:
            self.before = True
        self.now = False

    def net_effect(self) -> NetEffect:
        """Return what became of the name in the end."""
        if self.before and self.now is False:
            return NetEffect.DELETED
        if self.before is False and self.now is not None:
            return NetEffect.CREATED if self.now else NetEffect.TRANSIENT
        if self.replaced:
            return NetEffect.REPLACED
        if self.changed:
            return NetEffect.MODIFIED
        if self.unnamed:
            return NetEffect.TRANSIENT
        return NetEffect.ATTEMPTED if self.tried else NetEffect.READ


class Directory:
    """The names that the run touched in one directory, and the directories below that it touched."""

    __slots__ = ("below", "is_real", "names", "path")

    def __init__(self, path: bytes | None) -> None:
        self.path = path
        """Without a slash at its end; None for names that have no slash (``pipe:[4]``)."""
        self.is_real = path is not None and (path == b"" or path[:1] == b"/")
        """Not a part of what the kernel calls an object without a name."""
        self.names: dict[bytes, PathHistory | SharedHistory] = {}
        self.below: dict[bytes, Directory] = {}
        """By last component."""


class PathTable:
    """All histories of a run, by directory and name."""

    __slots__ = ("_beginnings", "_nowhere", "_roots", "_shared", "_steps", "counts", "directories")

    def __init__(self) -> None:
        self.counts = CountTable()
        self.directories: dict[bytes, Directory] = {}
        """By path, as in `Directory.path`."""
        self._roots: dict[bytes, Directory] = {}
        self._nowhere = Directory(None)
        self._shared: dict[tuple[object, ...], SharedHistory] = {}
        self._beginnings: dict[int | None, SharedHistory] = {}
        self._steps = 0

    def first_history(self, mount: int | None) -> SharedHistory:
        """Return the history of a name that nothing is known of."""
        found = self._beginnings.get(mount)
        if found is None:
            none = SharedHistory(
                mount, self.counts.none, Verdict.READ, None, None, False, False, False, None, False
            )
            found = self._beginnings[mount] = none
        return found

    def note_step(self, history: SharedHistory, signature: object, end: PathHistory) -> SharedHistory | None:
        """Note where an event of some signature leads from a history; None if that is nothing to share."""
        if end.bytes or end.unnamed or not end.counts.shared or self._steps >= _SHARED_STEPS:
            return None
        state = (
            end.mount, end.counts, end.verdict, end.before, end.now, end.changed, end.replaced, end.tried,
            end.origin, end.folder,
        )  # fmt: skip
        after = self._shared.get(state)
        if after is None:
            after = self._shared[state] = SharedHistory(*state)
        history.after[signature] = after
        self._steps += 1
        return after

    def history_of(self, path: bytes, mount: int | None) -> PathHistory:
        """Return the history of a name on a mount; a new one if it did not come up before."""
        directory, name = self._split_path(path)
        first = history = self._make_own(directory, name)
        while history is not None:
            if history.mount == mount:
                return history
            history = history.other
        made = PathHistory(directory, name, mount, self.counts.none)
        made.other = first
        directory.names[name] = made
        return made

    def find_history(self, path: bytes, mount: int | None) -> PathHistory | None:
        """Return the history of a name on a mount, if it came up before."""
        cut = path.rfind(b"/")
        directory = self._nowhere if cut < 0 else self.directories.get(path[:cut])
        history = None if directory is None else self._make_own(directory, path[cut + 1 :])
        while history is not None and history.mount != mount:
            history = history.other
        return history

    def _make_own(self, directory: Directory, name: bytes) -> PathHistory | None:
        """Return a name's history, which becomes its own; the first of those on several mounts."""
        history = directory.names.get(name)
        if isinstance(history, SharedHistory):
            history = directory.names[name] = history.make_own(directory, name)
        return history

    def histories_below(self, directory: bytes, mount: int | None) -> list[PathHistory]:
        """Return the histories of everything on ``mount`` that lies in a directory or deeper."""
        found: list[PathHistory] = []
        top = self.directories.get(directory)
        pending = [] if top is None else [top]
        while pending:
            at = pending.pop()
            pending.extend(at.below.values())
            for name in at.names:
                history = self._make_own(at, name)
                while history is not None:
                    if history.mount == mount:
                        found.append(history)
                    history = history.other
        return found

    def remove_history(self, history: PathHistory) -> None:
        """Forget a name."""
        names = history.directory.names
        first = self._make_own(history.directory, history.name)
        assert first is not None
        if first is not history:
            while first.other is not history:
                assert first.other is not None
                first = first.other
            first.other = history.other
        elif history.other is not None:
            names[history.name] = history.other
        else:
            del names[history.name]

    def __iter__(self) -> Iterator[tuple[Directory, bytes, PathHistory | SharedHistory]]:
        """Yield all names, with their directories, in the order of path, then mount (None before all)."""
        # The slash after a directory's name makes the names below it stand where they do in the
        # order of whole paths: after `a-b`, before `a0`.
        tops: dict[bytes, _Entry] = {**self._nowhere.names}
        tops |= {path + b"/": directory for path, directory in self._roots.items()}
        pending = [(self._nowhere, iter(sorted(tops.items(), key=_by_name)))]
        while pending:
            directory, entries = pending[-1]
            for name, item in entries:
                if isinstance(item, Directory):
                    inside: dict[bytes, _Entry] = {**item.names}
                    inside |= {below + b"/": other for below, other in item.below.items()}
                    pending.append((item, iter(sorted(inside.items(), key=_by_name))))
                    break
                if isinstance(item, SharedHistory) or item.other is None:
                    yield directory, name, item
                else:
                    yield from ((directory, name, history) for history in _by_mount(item))
            else:
                pending.pop()

    def _split_path(self, path: bytes) -> tuple[Directory, bytes]:
        cut = path.rfind(b"/")
        if cut < 0:
            return self._nowhere, path
        directory = self.directories.get(path[:cut])
        return directory or self._add_directory(path[:cut]), path[cut + 1 :]

    def _add_directory(self, path: bytes) -> Directory:
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


_Entry = PathHistory | SharedHistory | Directory
_by_name: Callable[[tuple[bytes, _Entry]], bytes] = itemgetter(0)


def _by_mount(first: PathHistory) -> list[PathHistory]:
    chain: list[PathHistory] = []
    history: PathHistory | None = first
    while history is not None:
        chain.append(history)
        history = history.other
    return sorted(chain, key=lambda each: -1 if each.mount is None else each.mount)
