"""What became of each path: the events of a run, followed from name to name.

The collector keeps, for each (path, mount), whether the name stood at the beginning and
whether it stands now, as far as the events tell:

* An operation that can only succeed on a missing name (mkdir, link, an open that made the
  file, …) shows that it was missing; one that needs the file (open, unlink, chmod, EEXIST)
  shows that it stood. The first evidence counts.
* Where a rename lands on a name that nothing is known about, the name counts as missing.
* A file renamed takes its bytes along, so that they show where the data ended up.
* A directory renamed takes along what the run made in it: those paths are shown under the
  directory's last name, as if they had been made there. What stood in it before and was
  changed shows twice: deleted there, created here.
* A file without a name (O_TMPFILE) shows as ``DIRECTORY/#INODE``, the kernel's own way, and
  is transient; a link gives it a name and takes the bytes along.
* A shared writable mapping counts as a change, for what it does cannot be seen.
"""

from __future__ import annotations

import stat
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from typing import overload

from writeaudit.analysis.collector import SideJudge
from writeaudit.analysis.files.path_table import Directory, PathHistory, PathTable, SharedHistory
from writeaudit.events import (
    EVENT_SIGNATURE,
    MAKE_OPS,
    NAMESPACE_OPS,
    NOT_ON_DISK,
    REMOVE_OPS,
    TRANSFER_OPS,
    Effect,
    FsEvent,
    Op,
    effect_of,
    has_no_name,
)
from writeaudit.frames import UNPLACED
from writeaudit.judgement import Came, FileSummary, Judged, JudgedEvent, Origin, Verdict
from writeaudit.paths import last_component

_FILLS = (MAKE_OPS - {Op.LINK}) | TRANSFER_OPS
_WRITTEN, _SYMLINKED = Origin(Came.WRITTEN), Origin(Came.SYMLINKED)
_TWO_SIDED = frozenset({Op.LINK, Op.RENAME, Op.EXCHANGE})
_Signature = tuple[Op, int | None, object, Verdict]
"""All of an event that decides what it does to a name, if it says of no bytes and no source."""
_RANK = {verdict: verdict.rank for verdict in Verdict}


class FileCollector:
    """Gathers a `FileSummary` for each path on each mount. Feed it in order of seq."""

    def __init__(self, classifier: SideJudge) -> None:
        self._classifier = classifier
        self._table = PathTable()
        self._origins: dict[tuple[Came, int | None], Origin] = {}
        self._unnamed: dict[tuple[int | None, int], PathHistory] = {}
        """Files without a name, by device and inode; and where a backend does not know these,"""
        self._unidentified: dict[tuple[bytes, int | None], PathHistory] = {}
        """by the path that the kernel shows, ``DIRECTORY/#INODE``, and mount."""

    def add_event(self, event: FsEvent, judged: Judged) -> None:
        """Take one event with its verdict."""
        op = event.op
        path = event.path
        flags = event.flags
        if op in _TWO_SIDED:
            self._feed_both(event, judged)
            return
        if op in NAMESPACE_OPS:
            return
        if judged.on_source and event.source is not None:
            # A copy out of a zone that may not be read: the blame belongs to what was read.
            self._count_operation(
                self._table.history_of(event.source, event.source_mount), op, judged.verdict
            )
            judged = self._classifier.judge_sides(event).path
        if flags and op is Op.OPEN and "tmpfile" in flags and event.result == "ok":
            path = _unnamed_path(event)
        verdict = judged.verdict
        cut = path.rfind(b"/")
        directory = self._table.directories.get(path[:cut]) if cut >= 0 else None
        if directory is not None and directory.is_real and event.bytes is None and event.source is None:
            # The commonest step of all: what was done to many others is done to one more.
            name = path[cut + 1 :]
            history = directory.names.get(name) or self._table.first_history(event.mount)
            if isinstance(history, SharedHistory) and history.mount == event.mount:
                signature = op, event.fmt, event[EVENT_SIGNATURE], verdict
                after = history.after.get(signature) or self._follow_step(
                    history, directory, signature, event
                )
                if after is not None:
                    directory.names[name] = after
                    return
        self._apply_event(self._table.history_of(path, event.mount), event, verdict)

    def _follow_step(
        self, history: SharedHistory, directory: Directory, signature: _Signature, event: FsEvent
    ) -> SharedHistory | None:
        """Return where an event leads from a history; None if that depends on more than its signature."""
        flags = event.flags
        guessed = event.op is Op.OPEN and "creat" in flags and not event.created
        if guessed or "deleted" in flags or "tmpfile" in flags:
            return None
        end = history.make_own(directory, b"")
        self._apply_event(end, event, signature[-1])
        return self._table.note_step(history, signature, end)

    def _apply_event(self, history: PathHistory, event: FsEvent, verdict: Verdict) -> None:
        """Let an event happen to a name."""
        self._count_operation(history, event.op, verdict)
        if event.result != "ok":
            self._note_failure(history, event)
        else:
            self._note_success(history, event)

    def _feed_both(self, event: FsEvent, judged: Judged) -> None:
        """Take a link, a rename or an exchange."""
        two_sided = event.source is not None or event.op is Op.LINK
        on_path = self._classifier.judge_sides(event).path if judged.on_source else judged
        history = self._table.history_of(event.path, event.mount)
        self._count_operation(history, event.op, on_path.verdict)
        if event.result != "ok":
            self._note_failure(history, event)
            if event.source is not None:
                self._failed_source(event.source, event, judged)
        elif two_sided:
            self._follow_move(history, event, judged)
        else:
            self._note_success(history, event)

    def list_summaries(self) -> Sequence[FileSummary]:
        """Return the summaries, sorted by path and mount, once all events have been fed.

        They are made when they are asked for, again each time: all of them together would
        take several times the memory of what they are made from.
        """
        return _Summaries(self._table, self._classifier)

    def _count_operation(self, history: PathHistory, op: Op, verdict: Verdict) -> None:
        history.counts = self._table.counts.add_operation(history.counts, op)
        if _RANK[verdict] > _RANK[history.verdict]:
            history.verdict = verdict

    # -- events ------------------------------------------------------------------------

    def _note_failure(self, history: PathHistory, event: FsEvent) -> None:
        if effect_of(event):
            history.tried = True
        if history.before is None:
            if event.result == "EEXIST":
                history.before = history.now = True
            elif event.result == "ENOENT" and event.op is Op.OPEN:
                # For now it only tells what a later operation found here.
                history.before = False

    def _failed_source(self, name: bytes, event: FsEvent, judged: Judged) -> None:
        if event.op is Op.LINK and not judged.on_source:
            return
        source = self._table.history_of(name, event.source_mount)
        source.tried = True
        on_source = self._classifier.judge_sides(event).source
        self._count_operation(source, event.op, (on_source or judged).verdict)

    def _note_success(self, history: PathHistory, event: FsEvent) -> None:
        op = event.op
        flags = event.flags
        if flags and ("deleted" in flags or (op is Op.OPEN and "tmpfile" in flags)):
            history.unnamed = True
            if event.ino is not None:
                self._unnamed[(event.dev, event.ino)] = history
            elif "tmpfile" in flags and history.name.startswith(b"#"):
                self._unidentified[(history.path, history.mount)] = history
        elif op is Op.OPEN:
            if event.created or ("creat" in flags and self._must_have_made(history)):
                history.mark_present()
                history.origin = _WRITTEN
            else:
                history.mark_seen()
                if "trunc" in flags and event.fmt not in NOT_ON_DISK:
                    history.changed = True
        elif op in MAKE_OPS:
            history.mark_present()
        elif op in REMOVE_OPS:
            history.mark_gone()
        elif effect_of(event) is Effect.CHANGED and not has_no_name(event):
            history.mark_seen()
            if op not in TRANSFER_OPS or event.fmt not in NOT_ON_DISK:
                history.changed = True
        if op in _FILLS:
            history.bytes += event.bytes or 0
            self._note_origin(history, event)

    def _note_origin(self, history: PathHistory, event: FsEvent) -> None:
        """Take note of how a file came: of its sources the first counts."""
        op = event.op
        if op in MAKE_OPS:
            history.folder = op is Op.MKDIR
            history.origin = None if history.folder else _SYMLINKED if op is Op.SYMLINK else _WRITTEN
            return
        if op is Op.WRITE:
            history.origin = history.origin or _WRITTEN
            return
        if event.source is None or event.bytes == 0 or "dedupe" in event.flags:
            return
        came = Came.CLONED if op is Op.CLONE else Came.COPIED
        if history.origin is None or history.origin.came is Came.WRITTEN:
            key = came, event.source_mount
            history.origin = self._origins.setdefault(key, Origin(*key))

    def _must_have_made(self, history: PathHistory) -> bool:
        """Whether an open with ``creat`` must have made the file, though the backend cannot tell."""
        if history.now is not None:
            return not history.now
        if history.before is not None:
            return not history.before
        # No run makes the root directory, and what has no slash in its name lies in none.
        directory = history.directory.path
        parent = self._table.find_history(directory, history.mount) if directory else None
        return parent is not None and parent.before is False and parent.now is True

    def _follow_move(self, history: PathHistory, event: FsEvent, judged: Judged) -> None:
        """Follow a rename, an exchange or a link that succeeded."""
        if event.op is Op.LINK or event.source is None:
            history.mark_present()
            key = Came.HARD_LINKED, event.source_mount
            history.origin = self._origins.setdefault(key, Origin(*key))
            self._follow_link(history, event, judged)
            return
        if (event.source, event.source_mount) == (event.path, event.mount):
            history.mark_seen()
            return
        old = self._table.history_of(event.source, event.source_mount)
        on_source = self._classifier.judge_sides(event).source
        self._count_operation(old, event.op, (on_source or judged).verdict)
        if event.op is Op.EXCHANGE:
            for side in (history, old):
                side.mark_seen()
                side.replaced = True
            history.bytes, old.bytes = old.bytes, history.bytes
            ours = self._take_below(event.path, event.mount)
            theirs = self._take_below(event.source, event.source_mount)
            self._put_below(theirs, event.source, event.path, event.mount)
            self._put_below(ours, event.path, event.source, event.source_mount)
            return
        old.mark_gone()
        if "whiteout" in event.flags:
            old.now = True
            old.replaced = True
        history.mark_present()
        history.bytes += old.bytes
        old.bytes = 0
        history.folder = old.folder or event.fmt == stat.S_IFDIR
        if old.before:
            key = Came.RENAMED, event.source_mount
            history.origin = self._origins.setdefault(key, Origin(*key))
        else:
            history.origin = old.origin
        if event.source in self._table.directories:
            taken = self._take_below(event.source, event.source_mount)
            self._put_below(taken, event.source, event.path, event.mount)

    def _follow_link(self, history: PathHistory, event: FsEvent, judged: Judged) -> None:
        unnamed = self._without_name(event)
        if unnamed is not None:
            history.bytes += unnamed.bytes
            unnamed.bytes = 0
            history.origin = unnamed.origin or _WRITTEN
            return
        if judged.on_source and event.source is not None:
            source = self._table.history_of(event.source, event.source_mount)
            source.mark_seen()
            source.changed = True
            self._count_operation(source, event.op, judged.verdict)

    def _without_name(self, event: FsEvent) -> PathHistory | None:
        """Return the file without a name that a link gives one to, if its source is such a file."""
        found = None
        if event.source_ino is not None:
            found = self._unnamed.pop((event.source_dev, event.source_ino), None)
        if found is None and event.source is not None:
            found = self._unidentified.pop((event.source, event.source_mount), None)
            # A name of that form may stand there as well: then it is that which was linked.
            if found is not None and found.now is not None:
                return None
        return found

    # -- directories that move ---------------------------------------------------------

    def _take_below(self, directory: bytes, mount: int | None) -> list[PathHistory]:
        """Take out of `directory` and below what the run made there or changed there."""
        taken = [
            history
            for history in self._table.histories_below(directory, mount)
            if history.now is True and (history.before is False or history.changed or history.replaced)
        ]
        for history in taken:
            if history.before:
                # It stood there before the run: the name is gone now, and this stays on record.
                history.now = False
            else:
                self._table.remove_history(history)
        return taken

    def _put_below(self, taken: Iterable[PathHistory], old: bytes, new: bytes, mount: int | None) -> None:
        """Enter what `_take_below` found below `old` under the directory's name `new`."""
        for history in taken:
            path = new + history.path[len(old) :]
            here = self._table.history_of(path, mount)
            here.mark_present()
            if history.before:
                here.counts = self._table.counts.add_operation(here.counts, Op.RENAME)
                verdict = Verdict.ALLOWED
            else:
                here.counts = self._table.counts.join_counts(here.counts, history.counts.times)
                verdict = history.verdict
            here.bytes += history.bytes
            here.origin, here.folder = history.origin, history.folder
            history.bytes = 0
            if _RANK[verdict] > _RANK[here.verdict]:
                here.verdict = verdict


def _unnamed_path(event: FsEvent) -> bytes:
    """Return what a file made by O_TMPFILE is listed under; the kernel calls it ``#INODE``."""
    name = last_component(event.path)
    if name.startswith(b"#") or event.ino is None:
        return event.path if name.startswith(b"#") else event.path.rstrip(b"/") + b"/#"
    return b"%b/#%d" % (event.path.rstrip(b"/"), event.ino)


class _Summaries(Sequence[FileSummary]):
    """Summaries of the names in a table, put in order when the first is asked for."""

    def __init__(self, table: PathTable, classifier: SideJudge) -> None:
        self._table = table
        self._classifier = classifier

    @cached_property
    def _entries(self) -> tuple[list[Directory], list[bytes], list[PathHistory | SharedHistory]]:
        # Three lists take less than one of tuples, of which there would be a million.
        directories: list[Directory] = []
        names: list[bytes] = []
        histories: list[PathHistory | SharedHistory] = []
        for directory, name, history in self._table:
            directories.append(directory)
            names.append(name)
            histories.append(history)
        return directories, names, histories

    def __len__(self) -> int:
        return len(self._entries[0])

    @overload
    def __getitem__(self, index: int) -> FileSummary: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[FileSummary]: ...
    def __getitem__(self, index: int | slice) -> FileSummary | Sequence[FileSummary]:
        directories, names, histories = self._entries
        if isinstance(index, slice):
            return list(map(self._make_summary, directories[index], names[index], histories[index]))
        return self._make_summary(directories[index], names[index], histories[index])

    def __iter__(self) -> Iterator[FileSummary]:
        return map(self._make_summary, *self._entries)

    def _zone_name(self, path: bytes, history: PathHistory) -> str | None:
        if history.verdict is Verdict.UNPLACED:
            return UNPLACED
        return self._classifier.zone_name(path, history.mount)

    def _make_summary(
        self, directory: Directory, name: bytes, held: PathHistory | SharedHistory
    ) -> FileSummary:
        history = held if isinstance(held, PathHistory) else held.make_own(directory, name)
        path = history.path
        return FileSummary(
            path,
            history.mount,
            UNPLACED
            if history.verdict is Verdict.UNPLACED
            else self._classifier.zone_name(path, history.mount),
            history.verdict,
            history.net_effect(),
            history.counts.times,
            history.bytes,
            history.origin,
            history.folder or path in self._table.directories,
        )


def summarise_run(classifier: SideJudge, events: Iterable[JudgedEvent]) -> Sequence[FileSummary]:
    """Return the summaries of a whole run at once."""
    collector = FileCollector(classifier)
    for event, judged in events:
        collector.add_event(event, judged)
    return collector.list_summaries()
