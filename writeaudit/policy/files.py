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

from collections.abc import Iterable
from dataclasses import dataclass, field

from writeaudit.events import NAMESPACE_OPS, FsEvent, Op
from writeaudit.judgement import FileSummary, Judged, JudgedEvent, Net, Verdict
from writeaudit.policy.classify import NOT_ON_DISK, Classifier, gravity, has_no_name, wants_change

Key = tuple[bytes, int | None]

_MAKES_NAME = frozenset({Op.MKDIR, Op.MKNOD, Op.BIND, Op.SYMLINK, Op.LINK})
_REMOVES_NAME = frozenset({Op.UNLINK, Op.RMDIR})
_MOVES_BYTES = frozenset({Op.WRITE, Op.COPY, Op.CLONE})
_GRAVITY = {verdict: gravity(verdict) for verdict in Verdict}


@dataclass(slots=True, eq=False)
class _Track:
    """One name. ``before`` and ``now`` say whether it stood, None as long as nothing tells."""

    path: bytes
    mount: int | None
    ops: dict[str, int] = field(default_factory=dict)
    bytes: int = 0
    verdict: Verdict = Verdict.READ
    before: bool | None = None
    now: bool | None = None
    changed: bool = False
    replaced: bool = False
    tried: bool = False
    unnamed: bool = False

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
            if self.now:
                return Net.CREATED
            return Net.TRANSIENT
        if self.replaced:
            return Net.REPLACED
        if self.changed:
            return Net.MODIFIED
        if self.unnamed:
            return Net.TRANSIENT
        return Net.ATTEMPTED if self.tried else Net.READ


@dataclass(slots=True)
class _Directory:
    """What the run touched in one directory; only followed when the directory is renamed."""

    tracks: list[_Track] = field(default_factory=list)
    below: list[Key] = field(default_factory=list)


class FileCollector:
    """Gathers a `FileSummary` for each path on each mount. Feed it in order of seq."""

    def __init__(self, classifier: Classifier) -> None:
        self._classifier = classifier
        self._tracks: dict[Key, _Track] = {}
        self._directories: dict[Key, _Directory] = {}
        self._unnamed: dict[tuple[int | None, int], _Track] = {}

    def feed(self, event: FsEvent, judged: Judged) -> None:
        """Take one event with its verdict."""
        op = event.op
        if op in NAMESPACE_OPS:
            return
        two_sided = op is Op.LINK or (event.source is not None and op in (Op.RENAME, Op.EXCHANGE))
        on_path = self._classifier.sides(event).path if two_sided and judged.on_source else judged
        if judged.on_source and not two_sided and event.source is not None:
            # A copy out of a zone that may not be read: the blame belongs to what was read.
            blamed = self._track(event.source, event.source_mount)
            self._count(blamed, event, judged.verdict)
            on_path = self._classifier.sides(event).path
        path = event.path
        if op is Op.OPEN and "tmpfile" in event.flags and event.result == "ok":
            path = _unnamed_path(event)
        # The commonest step of all, so `_track` and `_count` stand here once more, inline.
        key = (path, event.mount)
        track = self._tracks.get(key)
        if track is None:
            track = self._new_track(key)
        ops = track.ops
        ops[op] = ops.get(op, 0) + 1
        if _GRAVITY[on_path.verdict] > _GRAVITY[track.verdict]:
            track.verdict = on_path.verdict
        if event.result != "ok":
            self._failed(track, event, two_sided, judged)
        elif two_sided:
            self._moved(track, event, judged)
        else:
            self._done(track, event)

    def result(self) -> list[FileSummary]:
        """Return the summaries, sorted by path and mount; the collector can be fed on."""
        zone_of = self._classifier.zone_of
        summaries: list[FileSummary] = []
        for track in self._tracks.values():
            zone = zone_of(track.path)
            summaries.append(
                FileSummary(
                    track.path,
                    track.mount,
                    zone.name if zone is not None else None,
                    track.verdict,
                    track.net(),
                    dict(track.ops),
                    track.bytes,
                )
            )
        summaries.sort(key=lambda summary: (summary.path, -1 if summary.mount is None else summary.mount))
        return summaries

    # -- names -------------------------------------------------------------------------

    def _new_track(self, key: Key) -> _Track:
        path, mount = key
        track = self._tracks[key] = _Track(path, mount)
        self._file(track)
        return track

    def _file(self, track: _Track) -> None:
        """Enter `track` in its directory, and a new directory in the one above it."""
        path, mount = track.path, track.mount
        cut = path.rfind(b"/")
        if cut < 0:
            return
        key = (path[:cut], mount)
        directory = self._directories.get(key)
        if directory is not None:
            directory.tracks.append(track)
            return
        self._directories[key] = _Directory([track])
        while cut > 0:
            child = key
            cut = path.rfind(b"/", 0, cut)
            if cut < 0:
                return
            key = (path[:cut], mount)
            directory = self._directories.get(key)
            if directory is not None:
                directory.below.append(child)
                return
            self._directories[key] = _Directory(below=[child])

    def _track(self, path: bytes, mount: int | None) -> _Track:
        key = (path, mount)
        return self._tracks.get(key) or self._new_track(key)

    @staticmethod
    def _count(track: _Track, event: FsEvent, verdict: Verdict) -> None:
        track.ops[event.op] = track.ops.get(event.op, 0) + 1
        if _GRAVITY[verdict] > _GRAVITY[track.verdict]:
            track.verdict = verdict

    # -- events ------------------------------------------------------------------------

    def _failed(self, track: _Track, event: FsEvent, two_sided: bool, judged: Judged) -> None:
        if wants_change(event):
            track.tried = True
        if track.before is None:
            if event.result == "EEXIST":
                track.before = track.now = True
            elif event.result == "ENOENT" and event.op is Op.OPEN:
                # For now it only tells what a later operation found here.
                track.before = False
        if two_sided and event.source is not None:
            moves = event.op is not Op.LINK
            if not moves and not judged.on_source:
                return
            source = self._track(event.source, event.source_mount)
            source.tried = True
            on_source = self._classifier.sides(event).source
            self._count(source, event, (on_source or judged).verdict)

    def _done(self, track: _Track, event: FsEvent) -> None:
        op = event.op
        if "deleted" in event.flags or (op is Op.OPEN and "tmpfile" in event.flags):
            track.unnamed = True
            if event.ino is not None:
                self._unnamed[(event.dev, event.ino)] = track
        elif op is Op.OPEN:
            if event.created or ("creat" in event.flags and self._must_have_made(track)):
                track.appear()
            else:
                track.seen()
                if "trunc" in event.flags and event.fmt not in NOT_ON_DISK:
                    track.changed = True
        elif op in _MAKES_NAME:
            track.appear()
        elif op in _REMOVES_NAME:
            track.vanish()
        elif not has_no_name(event) and not (op in _MOVES_BYTES and event.bytes == 0):
            track.seen()
            if event.fmt not in NOT_ON_DISK or op not in _MOVES_BYTES:
                track.changed = True
        if op in _MOVES_BYTES and event.bytes:
            track.bytes += event.bytes

    def _must_have_made(self, track: _Track) -> bool:
        """Whether an open with ``creat`` must have made the file, though the backend cannot tell."""
        if track.now is not None:
            return not track.now
        if track.before is not None:
            return not track.before
        parent = self._tracks.get((track.path[: track.path.rfind(b"/")], track.mount))
        return parent is not None and parent.before is False and parent.now is True

    def _moved(self, track: _Track, event: FsEvent, judged: Judged) -> None:
        """Follow a rename, an exchange or a link that succeeded."""
        if event.op is Op.LINK or event.source is None:
            track.appear()
            self._linked(track, event, judged)
            return
        if (event.source, event.source_mount) == (event.path, event.mount):
            track.seen()
            return
        old = self._track(event.source, event.source_mount)
        on_source = self._classifier.sides(event).source
        self._count(old, event, (on_source or judged).verdict)
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
        self._put(self._take(event.source, event.source_mount), event.source, event.path, event.mount)

    def _linked(self, track: _Track, event: FsEvent, judged: Judged) -> None:
        if event.source_ino is not None:
            unnamed = self._unnamed.pop((event.source_dev, event.source_ino), None)
            if unnamed is not None:
                track.bytes += unnamed.bytes
                unnamed.bytes = 0
                return
        if judged.on_source and event.source is not None:
            source = self._track(event.source, event.source_mount)
            source.seen()
            source.changed = True
            self._count(source, event, judged.verdict)

    # -- directories that move ---------------------------------------------------------

    def _take(self, directory: bytes, mount: int | None) -> list[_Track]:
        """Take out of `directory` and below what the run made there or changed there."""
        taken: list[_Track] = []
        pending: list[Key] = [(directory, mount)]
        while pending:
            found = self._directories.get(pending.pop())
            if found is None:
                continue
            pending.extend(found.below)
            kept: list[_Track] = []
            for track in found.tracks:
                moves = track.now is True and (track.before is False or track.changed or track.replaced)
                (taken if moves else kept).append(track)
            found.tracks = kept
        for track in taken:
            if track.before:
                # It stood there before the run: the name is gone now, and this stays on record.
                track.now = False
                self._directories[(track.path[: track.path.rfind(b"/")], track.mount)].tracks.append(track)
            else:
                del self._tracks[(track.path, track.mount)]
        return taken

    def _put(self, taken: Iterable[_Track], old: bytes, new: bytes, mount: int | None) -> None:
        """Enter what `_take` found below `old` under the directory's name `new`."""
        for track in taken:
            path = new + track.path[len(old) :]
            here = self._tracks.get((path, mount))
            if here is None:
                here = self._new_track((path, mount))
            here.appear()
            if track.before:
                here.ops[Op.RENAME] = here.ops.get(Op.RENAME, 0) + 1
                verdict = Verdict.ALLOWED
            else:
                verdict = track.verdict
                for op, count in track.ops.items():
                    here.ops[op] = here.ops.get(op, 0) + count
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


def summarise(classifier: Classifier, events: Iterable[JudgedEvent]) -> list[FileSummary]:
    """Return the summaries of a whole run at once."""
    collector = FileCollector(classifier)
    for event, judged in events:
        collector.feed(event, judged)
    return collector.result()
