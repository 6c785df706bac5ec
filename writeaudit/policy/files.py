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

from collections.abc import Iterable, Iterator, Sequence
from typing import overload

from writeaudit.events import NAMESPACE_OPS, FsEvent, Op
from writeaudit.judgement import FileSummary, Judged, JudgedEvent, Verdict
from writeaudit.policy.classify import NOT_ON_DISK, Classifier, gravity, has_no_name, wants_change
from writeaudit.policy.tracks import Track, Tree

_MAKES_NAME = frozenset({Op.MKDIR, Op.MKNOD, Op.BIND, Op.SYMLINK, Op.LINK})
_REMOVES_NAME = frozenset({Op.UNLINK, Op.RMDIR})
_MOVES_BYTES = frozenset({Op.WRITE, Op.COPY, Op.CLONE})
_TWO_SIDED = frozenset({Op.LINK, Op.RENAME, Op.EXCHANGE})
_GRAVITY = {verdict: gravity(verdict) for verdict in Verdict}


class FileCollector:
    """Gathers a `FileSummary` for each path on each mount. Feed it in order of seq."""

    def __init__(self, classifier: Classifier) -> None:
        self._classifier = classifier
        self._tree = Tree()
        self._unnamed: dict[tuple[int | None, int], Track] = {}
        """Files without a name, by device and inode; and where a backend does not know these,"""
        self._unidentified: dict[tuple[bytes, int | None], Track] = {}
        """by the path that the kernel shows, ``DIRECTORY/#INODE``, and mount."""

    def feed(self, event: FsEvent, judged: Judged) -> None:
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
            self._count(self._tree.track(event.source, event.source_mount), op, judged.verdict)
            judged = self._classifier.sides(event).path
        if flags and op is Op.OPEN and "tmpfile" in flags and event.result == "ok":
            path = _unnamed_path(event)
        # The commonest step of all, so `Tree.track` and `_count` stand here once more, inline.
        tree = self._tree
        cut = path.rfind(b"/")
        directory = tree.directories.get(path[:cut]) if cut >= 0 else None
        track = None if directory is None else directory.names.get(path[cut + 1 :])
        if track is None or track.mount != event.mount:
            track = tree.track(path, event.mount)
        counts = track.counts
        track.counts = counts.after.get(op) or tree.counts.add(counts, op)
        verdict = judged.verdict
        if verdict is not track.verdict and _GRAVITY[verdict] > _GRAVITY[track.verdict]:
            track.verdict = verdict
        if event.result != "ok":
            self._failed(track, event)
        else:
            self._done(track, event)

    def _feed_both(self, event: FsEvent, judged: Judged) -> None:
        """Take a link, a rename or an exchange."""
        two_sided = event.source is not None or event.op is Op.LINK
        on_path = self._classifier.sides(event).path if judged.on_source else judged
        track = self._tree.track(event.path, event.mount)
        self._count(track, event.op, on_path.verdict)
        if event.result != "ok":
            self._failed(track, event)
            if event.source is not None:
                self._failed_source(event.source, event, judged)
        elif two_sided:
            self._moved(track, event, judged)
        else:
            self._done(track, event)

    def result(self) -> Sequence[FileSummary]:
        """Return the summaries, sorted by path and mount, once all events have been fed.

        They are made when they are asked for, anew each time: all of them together would
        take several times the memory of what they are made from.
        """
        return _Summaries(list(self._tree), self._classifier)

    def _count(self, track: Track, op: Op, verdict: Verdict) -> None:
        track.counts = self._tree.counts.add(track.counts, op)
        if _GRAVITY[verdict] > _GRAVITY[track.verdict]:
            track.verdict = verdict

    # -- events ------------------------------------------------------------------------

    def _failed(self, track: Track, event: FsEvent) -> None:
        if wants_change(event):
            track.tried = True
        if track.before is None:
            if event.result == "EEXIST":
                track.before = track.now = True
            elif event.result == "ENOENT" and event.op is Op.OPEN:
                # For now it only tells what a later operation found here.
                track.before = False

    def _failed_source(self, name: bytes, event: FsEvent, judged: Judged) -> None:
        if event.op is Op.LINK and not judged.on_source:
            return
        source = self._tree.track(name, event.source_mount)
        source.tried = True
        on_source = self._classifier.sides(event).source
        self._count(source, event.op, (on_source or judged).verdict)

    def _done(self, track: Track, event: FsEvent) -> None:
        op = event.op
        flags = event.flags
        if flags and ("deleted" in flags or (op is Op.OPEN and "tmpfile" in flags)):
            track.unnamed = True
            if event.ino is not None:
                self._unnamed[(event.dev, event.ino)] = track
            elif "tmpfile" in flags and track.name.startswith(b"#"):
                self._unidentified[(track.path, track.mount)] = track
        elif op is Op.OPEN:
            if event.created or ("creat" in flags and self._must_have_made(track)):
                track.appear()
            else:
                track.seen()
                if "trunc" in flags and event.fmt not in NOT_ON_DISK:
                    track.changed = True
        elif op in _MAKES_NAME:
            track.appear()
        elif op in _REMOVES_NAME:
            track.vanish()
        elif not (op in _MOVES_BYTES and event.bytes == 0) and not has_no_name(event):
            track.seen()
            if op not in _MOVES_BYTES or event.fmt not in NOT_ON_DISK:
                track.changed = True
        if event.bytes and op in _MOVES_BYTES:
            track.bytes += event.bytes

    def _must_have_made(self, track: Track) -> bool:
        """Whether an open with ``creat`` must have made the file, though the backend cannot tell."""
        if track.now is not None:
            return not track.now
        if track.before is not None:
            return not track.before
        # No run makes the root directory, and what has no slash in its name lies in none.
        directory = track.directory.path
        parent = self._tree.find(directory, track.mount) if directory else None
        return parent is not None and parent.before is False and parent.now is True

    def _moved(self, track: Track, event: FsEvent, judged: Judged) -> None:
        """Follow a rename, an exchange or a link that succeeded."""
        if event.op is Op.LINK or event.source is None:
            track.appear()
            self._linked(track, event, judged)
            return
        if (event.source, event.source_mount) == (event.path, event.mount):
            track.seen()
            return
        old = self._tree.track(event.source, event.source_mount)
        on_source = self._classifier.sides(event).source
        self._count(old, event.op, (on_source or judged).verdict)
        if event.op is Op.EXCHANGE:
            for side in (track, old):
                side.seen()
                side.replaced = True
            track.bytes, old.bytes = old.bytes, track.bytes
            ours = self._take(event.path, event.mount)
            theirs = self._take(event.source, event.source_mount)
            self._put(theirs, event.source, event.path, event.mount)
            self._put(ours, event.path, event.source, event.source_mount)
            return
        old.vanish()
        if "whiteout" in event.flags:
            old.now = True
            old.replaced = True
        track.appear()
        track.bytes += old.bytes
        old.bytes = 0
        if event.source in self._tree.directories:
            taken = self._take(event.source, event.source_mount)
            self._put(taken, event.source, event.path, event.mount)

    def _linked(self, track: Track, event: FsEvent, judged: Judged) -> None:
        unnamed = self._without_name(event)
        if unnamed is not None:
            track.bytes += unnamed.bytes
            unnamed.bytes = 0
            return
        if judged.on_source and event.source is not None:
            source = self._tree.track(event.source, event.source_mount)
            source.seen()
            source.changed = True
            self._count(source, event.op, judged.verdict)

    def _without_name(self, event: FsEvent) -> Track | None:
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

    def _take(self, directory: bytes, mount: int | None) -> list[Track]:
        """Take out of `directory` and below what the run made there or changed there."""
        taken = [
            track
            for track in self._tree.below(directory, mount)
            if track.now is True and (track.before is False or track.changed or track.replaced)
        ]
        for track in taken:
            if track.before:
                # It stood there before the run: the name is gone now, and this stays on record.
                track.now = False
            else:
                self._tree.remove(track)
        return taken

    def _put(self, taken: Iterable[Track], old: bytes, new: bytes, mount: int | None) -> None:
        """Enter what `_take` found below `old` under the directory's name `new`."""
        for track in taken:
            path = new + track.path[len(old) :]
            here = self._tree.track(path, mount)
            here.appear()
            if track.before:
                here.counts = self._tree.counts.add(here.counts, Op.RENAME)
                verdict = Verdict.ALLOWED
            else:
                here.counts = self._tree.counts.join(here.counts, track.counts.times)
                verdict = track.verdict
            here.bytes += track.bytes
            track.bytes = 0
            if _GRAVITY[verdict] > _GRAVITY[here.verdict]:
                here.verdict = verdict


def _unnamed_path(event: FsEvent) -> bytes:
    """Return what a file made by O_TMPFILE is listed under; the kernel calls it ``#INODE``."""
    name = event.path[event.path.rfind(b"/") + 1 :]
    if name.startswith(b"#") or event.ino is None:
        return event.path if name.startswith(b"#") else event.path.rstrip(b"/") + b"/#"
    return b"%b/#%d" % (event.path.rstrip(b"/"), event.ino)


class _Summaries(Sequence[FileSummary]):
    """Summaries of tracks, made when they are asked for."""

    __slots__ = ("_classifier", "_tracks")

    def __init__(self, tracks: list[Track], classifier: Classifier) -> None:
        self._tracks = tracks
        self._classifier = classifier

    def __len__(self) -> int:
        return len(self._tracks)

    @overload
    def __getitem__(self, index: int) -> FileSummary: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[FileSummary]: ...
    def __getitem__(self, index: int | slice) -> FileSummary | Sequence[FileSummary]:
        if isinstance(index, slice):
            return _Summaries(self._tracks[index], self._classifier)
        return self._summary(self._tracks[index])

    def __iter__(self) -> Iterator[FileSummary]:
        return map(self._summary, self._tracks)

    def _summary(self, track: Track) -> FileSummary:
        path = track.path
        return FileSummary(
            path,
            track.mount,
            self._classifier.zone_name(path),
            track.verdict,
            track.net(),
            track.counts.times,
            track.bytes,
        )


def summarise(classifier: Classifier, events: Iterable[JudgedEvent]) -> Sequence[FileSummary]:
    """Return the summaries of a whole run at once."""
    collector = FileCollector(classifier)
    for event, judged in events:
        collector.feed(event, judged)
    return collector.result()
