"""The writable set of a run: the smallest set of directories without which its root may be read-only.

Worked out from the recording alone, and from what the disk says of those directories (`DiskFacts`). A
place is
the deepest directory that was there before the run; of places within each other the outermost is kept.
"""

from __future__ import annotations

import enum
import os
import re
import stat
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from writeaudit.audit import Audit, Mount, RunInfo
from writeaudit.events import (
    DATA_OPS,
    METADATA_OPS,
    MOVE_OPS,
    NOT_ON_DISK,
    OK,
    REMOVE_OPS,
    TRANSFER_OPS,
    Effect,
    FsEvent,
    Op,
    effect_of,
    has_no_name,
)
from writeaudit.places import is_of_the_system
from writeaudit.text import escape_path, plural

REFUSED = frozenset({"EROFS", "EACCES", "EPERM", "EBUSY", "EDQUOT", "ENOSPC"})
"""What the system answers to a change that would have gone through with other mounts, rights or space."""
_KERNEL_OWN = frozenset(
    (
        *("proc", "sysfs", "devtmpfs", "devpts", "cgroup", "cgroup2", "mqueue", "debugfs", "tracefs"),
        *("securityfs", "binfmt_misc", "bpf", "pstore", "configfs", "fusectl", "efivarfs"),
    )
)
"""File systems that every container brings along, and that hold no files."""
_GIVEN = (b"/dev", b"/proc", b"/sys")
"""What a container, a sandbox and a unit have of their own, whatever its root is."""
_MOST_SEQS = 20
_MOST_ALONE = 3
"""So many files of a directory are bound alone; with more, the directory is the smaller evil."""
_MIB = 1 << 20
_PAGE = 4096
_ALONE = (
    "Bound alone, for its directory is too wide to be writable: a rename onto it, or its removal, is refused "
    "with EBUSY, which is how editors and package managers write files."
)
_LIBRARY = re.compile(rb"\.so(?:\.[0-9.]+)?\Z")


class Kind(enum.StrEnum):
    """What makes a place writable."""

    TMPFS = "tmpfs"
    """Memory: empty at first, or with a copy of what is there, and gone afterwards."""
    VOLUME = "volume"
    """A directory that outlives the command."""
    BIND = "bind"
    """A single file that is bound alone."""


class Need(enum.StrEnum):
    """Whether the command needs a place to be writable."""

    NEEDED = "needed"
    OPTIONAL = "optional"
    """It was refused, and the command was content."""
    NOT_NEEDED = "not_needed"
    UNPROVEN = "unproven"


class PlaceState(NamedTuple):
    """What the disk says of a directory or a file."""

    fmt: int
    """File type bits."""
    mode: int
    uid: int
    gid: int
    entries: int = 0
    """How many entries a directory has, without those that the run made; 0 of a file."""
    size: int | None = 0
    """Bytes of all that is in it, without what the run made; None if that is more than was counted."""

    def lets_write(self, uid: int) -> bool:
        """Whether a user may make files in it, as far as owner and mode say."""
        if uid in (0, self.uid):
            return uid == 0 or bool(self.mode & stat.S_IWUSR)
        return bool(self.mode & stat.S_IWOTH)


DiskFacts = Callable[[bytes, Iterable[bytes] | None], PlaceState | None]
"""Answers for a path, given what the run made and left below it; None where nothing is there. Without what
was made (None) it need not count what a directory holds."""


def nothing_known(_path: bytes, _made: Iterable[bytes] | None) -> PlaceState | None:
    """Answer nothing, for a recording whose machine is not this one."""
    return None


@dataclass(frozen=True, slots=True)
class Place:
    """One directory, or file, that must be writable."""

    path: bytes
    kind: Kind
    exists: bool = True
    """Whether it was there before the run; otherwise it must be made for the mount."""
    mode: int | None = None
    uid: int | None = None
    gid: int | None = None
    """None where the disk could not be asked."""
    written: int = 0
    """Bytes that were written there, at most: nothing is taken off for what was removed again."""
    size: int | None = None
    """What a tmpfs should be able to hold, bytes; None if the recording does not tell."""
    executed: bool = False
    """Whether a program or library below it was run or written."""
    copy_up: bool = False
    """Whether the command uses what was there before."""
    need: Need = Need.UNPROVEN
    because: tuple[int, ...] = ()
    """seq numbers of the first operations that ask for it."""
    changes: int = 0
    refused: int = 0
    examples: tuple[bytes, ...] = ()
    made: tuple[bytes, ...] = ()
    """What the run made there and left, topmost names only."""
    notes: tuple[str, ...] = ()
    """Sentences for its reader."""

    def options(self) -> tuple[str, ...]:
        """Return the options of the JSON report."""
        found = [f"mode={self.mode:04o}" if self.mode is not None else ""]
        found += [f"uid={self.uid}" if self.uid is not None else ""]
        found += [f"gid={self.gid}" if self.gid is not None else ""]
        if self.kind is Kind.TMPFS:
            found += [f"size={self.size}" if self.size is not None else ""]
        if self.kind is not Kind.BIND:
            found += ["exec" if self.executed else "noexec"]
        found += ["copy-up" if self.copy_up else ""]
        return tuple(each for each in found if each)


class Crossing(NamedTuple):
    """A rename or link from one place to another: across mounts it is refused with EXDEV."""

    op: Op
    source: bytes
    path: bytes
    seq: int


@dataclass(frozen=True, slots=True)
class WritableSet:
    """All that a run needs to be writable."""

    places: tuple[Place, ...]
    spared: tuple[Place, ...] = ()
    """Places where all that was tried was refused while the command succeeded: it can do without them."""
    crossings: tuple[Crossing, ...] = ()
    remarks: tuple[str, ...] = ()
    """What the set does not hold, and what it rests on. Sentences."""


@dataclass(slots=True)
class _Gathered:
    """What is known of one candidate while the events are read."""

    seqs: list[int] = field(default_factory=list)
    changes: int = 0
    refused: int = 0
    denied: bool = False
    """Whether owner or mode, not the mount, refused something."""
    structural: bool = False
    """Whether names in it come, go or move, or may come."""
    in_place: dict[bytes, None] = field(default_factory=dict)
    """Existing files that are changed in place."""
    examples: dict[bytes, None] = field(default_factory=dict)

    def take(self, other: _Gathered) -> None:
        """Add what is known of a place below."""
        self.seqs = sorted({*self.seqs, *other.seqs})[:_MOST_SEQS]
        self.changes += other.changes
        self.refused += other.refused
        self.denied |= other.denied
        self.structural |= other.structural
        self.in_place |= other.in_place
        self.examples |= other.examples


class _History:
    """What the events tell of paths: which were there before the run, and which are left at its end."""

    def __init__(self) -> None:
        self.before: dict[bytes, bool] = {}
        self.left: dict[bytes, None] = {}
        """Names that the run made and that are still there."""
        self.looked_for: set[bytes] = set()
        """Files that it wanted to read before they were there."""
        self._kept: dict[bytes, bytes] = {}

    def note(self, event: FsEvent) -> None:
        path, op, result = event.path, event.op, event.result
        if result == OK:
            # Of what was renamed onto, nothing tells whether it was there; then it is new.
            fresh = event.created or op in (Op.MKDIR, Op.MKNOD, Op.BIND, Op.SYMLINK, Op.LINK, Op.RENAME)
            if event.source is not None and op in MOVE_OPS:
                self.before.setdefault(event.source, True)
                self._move(event.source, path)
            self.before.setdefault(path, not fresh)
            if fresh and self.before[path] is False:
                self.left[path] = None
            elif op in REMOVE_OPS:
                self.left.pop(path, None)
        elif result == "ENOENT" and op is Op.OPEN:
            if os.path.dirname(path) and path not in self.before:
                self.before[path] = False
                if effect_of(event) is Effect.NONE:
                    self.looked_for.add(path)
        elif result == "EEXIST":
            self.before.setdefault(path, True)
        elif op is Op.MKDIR and result in REFUSED:
            self.before.setdefault(path, False)

    def _move(self, source: bytes, path: bytes) -> None:
        if source in self.left:
            del self.left[source]
            if self.before.get(path) is not True:
                self.left[path] = None

    def deepest(self, path: bytes) -> bytes:
        """Return the deepest directory around a path that was there before the run."""
        above = os.path.dirname(path)
        known = self._kept.get(above)
        if known is None:
            known = b"/"
            for ancestor in _ancestors(above):
                if self.before.get(ancestor) is False:
                    break
                known = ancestor
            self._kept[above] = known
        return known

    def forget(self) -> None:
        """Let go of answers that later events may change."""
        self._kept.clear()


def _ancestors(path: bytes) -> Iterator[bytes]:
    """Yield the directories on the way to a path, from below the root down to itself."""
    pos = path.find(b"/", 1)
    while pos > 0:
        yield path[:pos]
        pos = path.find(b"/", pos + 1)
    if path != b"/":
        yield path


def is_below(path: bytes, directory: bytes) -> bool:
    """Whether a path is a directory or lies in it."""
    return directory in (path, b"/") or path.startswith(directory + b"/")


def outermost(paths: Iterable[bytes]) -> list[bytes]:
    """Return the paths that lie in no other one of them, sorted."""
    tops: list[bytes] = []
    for path in sorted(set(paths), key=lambda each: each.replace(b"/", b"\0")):
        if not tops or not is_below(path, tops[-1]):
            tops.append(path)
    return tops


def _is_given(path: bytes, mount: Mount | None) -> bool:
    if mount is not None and mount.fstype in _KERNEL_OWN:
        return True
    return any(is_below(path, place) for place in _GIVEN)


def find_writable_set(audit: Audit, disk: DiskFacts = nothing_known) -> WritableSet:
    """Return what must be writable for a run. Raises `RecordingError` if its events cannot be read."""
    return _Finder(audit, disk).find()


class _Finder:
    def __init__(self, audit: Audit, disk: DiskFacts) -> None:
        self._audit = audit
        self._disk = disk
        self._mounts: Mapping[int, Mount] = {mount.id: mount for mount in audit.mounts}
        self._history = _History()
        self._found: dict[bytes, _Gathered] = {}
        self._refused: dict[bytes, _Gathered] = {}
        self._crossings: list[Crossing] = []
        self._elsewhere = 0
        self._uncertain = 0
        self._alone: dict[bytes, _Gathered] = {}

    def find(self) -> WritableSet:
        wanted = []
        for event in self._audit.events:
            if event.path[:1] == b"/":
                self._history.note(event)
            if self._asks(event):
                wanted.append(event)
        self._history.forget()
        for event in wanted:
            self._gather(event)
        directories = self._directories()
        refused = self._refused_only({*directories, *self._alone})
        measured = _Measure(self._audit, self._history, [*directories, *self._alone])
        spared = _Measure(self._audit, self._history, refused)
        places = [self._place(path, gathered, measured) for path, gathered in directories.items()]
        places += [self._file(path, gathered, measured) for path, gathered in sorted(self._alone.items())]
        tops = frozenset(place.path for place in places)
        crossings = [each for each in self._crossings if _top(each.source, tops) != _top(each.path, tops)]
        return WritableSet(
            tuple(places),
            tuple(self._place(path, gathered, spared) for path, gathered in refused.items()),
            tuple(crossings),
            tuple(self._remarks(places, crossings)),
        )

    def _refused_only(self, others: Container[bytes]) -> dict[bytes, _Gathered]:
        """Return the outermost places of refused attempts, without what lies in other places."""
        merged: dict[bytes, _Gathered] = {path: _Gathered() for path in outermost(self._refused)}
        for directory, gathered in self._refused.items():
            merged[_top(directory, merged) or directory].take(gathered)
        return {path: gathered for path, gathered in merged.items() if _top(path, others) is None}

    def _asks(self, event: FsEvent) -> bool:
        """Whether an operation asks for a writable place."""
        effect = effect_of(event)
        if effect is Effect.NONE or (event.result != OK and event.result not in REFUSED):
            return False
        # What is done to an open file was asked for when it was opened; or its caller had opened it.
        if event.op in DATA_OPS and event.op is not Op.TRUNCATE and event.result == OK:
            return False
        if event.path[:1] != b"/" or has_no_name(event) or "deleted" in event.flags:
            return False
        if event.path in self._audit.run.inherited and event.op in DATA_OPS:
            return False
        if event.op is Op.OPEN and event.fmt in NOT_ON_DISK | {stat.S_IFBLK}:
            return False
        mount = self._mounts.get(event.mount) if event.mount is not None else None
        if mount is not None and not mount.own:
            self._elsewhere += 1
            return False
        return not _is_given(event.path, mount)

    def _gather(self, event: FsEvent) -> None:
        self._add(event, event.path)
        if event.op in MOVE_OPS and event.source is not None:
            self._add(event, event.source)
        if event.op in MOVE_OPS | {Op.LINK} and event.source is not None and event.result in (OK, "EXDEV"):
            self._crossings.append(Crossing(event.op, event.source, event.path, event.seq))

    def _add(self, event: FsEvent, path: bytes) -> None:
        existed = self._history.before.get(path)
        in_place = event.op in METADATA_OPS or (
            event.op in (Op.OPEN, Op.TRUNCATE, *DATA_OPS) and not event.created and "creat" not in event.flags
        )
        is_directory = event.fmt == stat.S_IFDIR or "tmpfile" in event.flags
        if in_place and existed is not False and (is_directory or self._is_directory(path)):
            directory = path
        else:
            directory = self._history.deepest(path)
            while directory != b"/" and self._is_directory(directory) is False:
                directory = os.path.dirname(directory)
        if directory == b"/" and path.count(b"/") > 1:
            # The root itself cannot be mounted: what the run made in it is the place.
            directory = path[: path.index(b"/", 1)]
        elif directory == b"/" and event.op is Op.MKDIR:
            directory = path
        # What was refused to a command that succeeded, it can do without.
        spared = event.result != OK and self._audit.run.succeeded
        gathered = (self._refused if spared else self._found).setdefault(directory, _Gathered())
        if len(gathered.seqs) < _MOST_SEQS and gathered.seqs[-1:] != [event.seq]:
            gathered.seqs.append(event.seq)
        gathered.changes += 1
        if event.result != OK:
            gathered.refused += 1
            gathered.denied |= event.result in ("EACCES", "EPERM")
        if in_place and existed is not False and directory != path:
            gathered.in_place[path] = None
        else:
            gathered.structural = True
        if len(gathered.examples) < _MOST_ALONE:
            gathered.examples[path] = None

    def _is_directory(self, path: bytes) -> bool | None:
        state = self._disk(path, None)
        return None if state is None else state.fmt == stat.S_IFDIR

    def _directories(self) -> dict[bytes, _Gathered]:
        """Return the outermost places; files that are bound alone are set aside."""
        for directory, gathered in list(self._found.items()):
            wide = directory == b"/" or (is_of_the_system(directory) and not directory.startswith(b"/tmp"))
            few = len(gathered.in_place) <= _MOST_ALONE
            if wide and not gathered.structural and few:
                del self._found[directory]
                for path in gathered.in_place:
                    self._alone[path] = gathered
            elif directory == b"/":
                del self._found[directory]
                for path in gathered.examples:
                    self._alone[path] = gathered
        merged: dict[bytes, _Gathered] = {path: _Gathered() for path in outermost(self._found)}
        tops = frozenset(merged)
        for directory, gathered in self._found.items():
            merged[_top(directory, tops) or directory].take(gathered)
        for path in [path for path in self._alone if _top(path, tops) is not None]:
            merged[_top(path, tops) or path].take(self._alone.pop(path))
        return merged

    def _place(self, path: bytes, gathered: _Gathered, measured: _Measure) -> Place:
        run, below = self._audit.run, measured.of(path)
        made = tuple(outermost(each for each in self._history.left if is_below(each, path)))
        state = self._disk(path, made)
        exists = self._history.before.get(path) is not False
        kind = Kind.VOLUME if below.is_data else Kind.TMPFS
        notes: list[str] = []
        mode, uid, gid = _owner(state if exists else None, gathered, run, notes)
        copy_up = below.used > 0 or below.data_before is not None
        room = _room(below, state if copy_up else None)
        if not exists:
            notes.append(
                "It was not there before the run: the mount makes it, and the program finds it there."
            )
        if below.is_data:
            notes.append(below.why_data())
        elif made:
            notes.append(
                f"{plural(len(made), 'name')} that the run made there and left, {_shown(made[0])} for one, "
                "will be gone with a tmpfs."
            )
        if copy_up and not below.is_data:
            notes.append(
                f"It holds {plural(below.used, 'file')} from before that the run used, such as "
                f"{_shown(below.first_used)}: an empty directory would hide them."
            )
        elif not copy_up and state is not None and state.entries:
            notes.append(
                f"An empty directory hides {plural(state.entries, 'entry', 'entries')} from before; the "
                "run used "
                "none."
            )
        if room is None and kind is Kind.TMPFS:
            notes.append("How much it must hold is not known: files were mapped, or their size was set.")
        spared = gathered.refused == gathered.changes and run.succeeded
        need = Need.OPTIONAL if spared else Need.UNPROVEN
        if spared:
            notes.append("All that was tried there was refused in the recording, and the command succeeded.")
        return Place(
            path, kind, exists, mode, uid, gid, below.written, room, below.executed, copy_up, need,
            tuple(gathered.seqs), gathered.changes, gathered.refused, tuple(gathered.examples), made,
            tuple(notes),
        )  # fmt: skip

    def _file(self, path: bytes, gathered: _Gathered, measured: _Measure) -> Place:
        state = self._disk(path, None)
        existed = self._history.before.get(path) is not False
        notes = [_ALONE]
        if not existed:
            notes.append("It must be there beforehand: an empty file in the image will do.")
        mode, uid, gid = state[1:4] if state else (None, None, None)
        return Place(
            path, Kind.BIND, existed, mode, uid, gid, measured.of(path).written, copy_up=existed,
            because=tuple(gathered.seqs), changes=gathered.changes, refused=gathered.refused,
            examples=(path,), notes=tuple(notes),
        )  # fmt: skip

    def _remarks(self, places: list[Place], crossings: list[Crossing]) -> Iterator[str]:
        if not places:
            yield "Nothing needs to be writable."
        if self._elsewhere:
            yield (
                f"{plural(self._elsewhere, 'change')} on mounts of another mount namespace are not in it: a "
                "container or sandbox that the command made for itself brings those."
            )
        if not self._audit.completeness.complete:
            yield "The recording is incomplete: there may have been changes that it does not hold."
        if crossings:
            first = crossings[0]
            number = plural(len(crossings), "rename or link", "renames or links")
            yield (
                f"{number} would cross from one place to another and get EXDEV, such as {first.op.value} "
                f"{_shown(first.source)} to {_shown(first.path)}. Most programs copy then; --prove tells "
                "whether "
                "this one does."
            )
        if any(place.kind is not Kind.BIND and not place.executed for place in places):
            yield (
                "noexec stands where no program was started and no library was opened. Memory mappings "
                "are not "
                "in the recording: a program that maps other files as code needs exec."
            )


def _top(path: bytes, tops: Container[bytes]) -> bytes | None:
    """Return the one of some places that a path is or lies in."""
    return next((each for each in _ancestors(path) if each in tops), None)


def _shown(path: bytes) -> str:
    return escape_path(path)


def _owner(
    state: PlaceState | None, gathered: _Gathered, run: RunInfo, notes: list[str]
) -> tuple[int | None, int | None, int | None]:
    if state is None:
        return None, None, None
    if gathered.denied and not state.lets_write(run.uid):
        notes.append(
            f"It belongs to user {state.uid} with mode {state.mode:04o}, which refused user {run.uid}: it "
            "has "
            "to belong to that one."
        )
        return state.mode | stat.S_IRWXU, run.uid, state.gid
    return state.mode, state.uid, state.gid


def _room(below: _Below, state: PlaceState | None) -> int | None:
    """Return how much a tmpfs should hold: twice what was written, and what is copied into it."""
    content = 0 if state is None else state.size
    if below.unmeasured or content is None:
        return None
    wanted = 2 * (below.written + _PAGE * below.files) + content
    return max(_MIB, -(-wanted // _MIB) * _MIB)


@dataclass(slots=True)
class _Below:
    """What was done below one place, all told."""

    written: int = 0
    files: int = 0
    unmeasured: bool = False
    executed: bool = False
    used: int = 0
    first_used: bytes = b""
    data_before: bytes | None = None
    """A file from before the run that was read and changed."""
    data_again: bytes | None = None
    """A file that the run looked for without success, made, and left."""

    @property
    def is_data(self) -> bool:
        """Whether it holds what the next run will want to find."""
        return self.data_before is not None or self.data_again is not None

    def why_data(self) -> str:
        """Return why, as a sentence."""
        if self.data_before is not None:
            return f"A volume: {_shown(self.data_before)} was there before, was read and changed."
        return (
            f"A volume: {_shown(self.data_again or b'')} was looked for, not found, and made: the next run "
            "reads it. A tmpfs will do if that may be lost."
        )


class _Measure:
    """Adds up what was done below each place: one pass over the events."""

    def __init__(self, audit: Audit, history: _History, tops: Iterable[bytes]) -> None:
        self._below = {top: _Below() for top in tops}
        self._history = history
        self._places: dict[bytes, bytes | None] = {}
        used: set[bytes] = set()
        read: set[bytes] = set()
        changed: set[bytes] = set()
        for event in audit.events:
            top = self._top_of(event.path)
            if top is None or event.result != OK:
                continue
            below = self._below[top]
            self._add_bytes(below, event)
            if history.before.get(event.path) is True and event.path != top:
                self._use(below, event, used, read, changed)
            if event.op is Op.OPEN and _LIBRARY.search(event.path):
                below.executed = True
        for path in history.left:
            top = self._top_of(path)
            if top is not None and path in history.looked_for and self._below[top].data_again is None:
                self._below[top].data_again = path
        self._executed(audit)

    def of(self, path: bytes) -> _Below:
        """Return what was done below a place."""
        return self._below[path]

    def _top_of(self, path: bytes) -> bytes | None:
        above = os.path.dirname(path)
        if path in self._below:
            return path
        if above not in self._places:
            self._places[above] = _top(above, self._below)
        return self._places[above]

    @staticmethod
    def _add_bytes(below: _Below, event: FsEvent) -> None:
        if event.op in TRANSFER_OPS:
            below.written += event.bytes or 0
        elif event.op in (Op.FALLOCATE, Op.TRUNCATE):
            below.written += event.bytes or 0
            below.unmeasured |= event.bytes is None
        elif event.op is Op.MMAP_WRITE:
            below.unmeasured = True
        below.files += event.created or event.op in (Op.MKDIR, Op.SYMLINK)

    @staticmethod
    def _use(below: _Below, event: FsEvent, used: set[bytes], read: set[bytes], changed: set[bytes]) -> None:
        path = event.path
        if event.op is Op.OPEN and (event.fmt == stat.S_IFDIR or "directory" in event.flags):
            return  # to list an empty directory is no different
        # Whoever opens with O_CREAT (a lock file, say) is prepared for it not to be there.
        if path not in used and "creat" not in event.flags:
            used.add(path)
            below.used += 1
            below.first_used = below.first_used or path
        if event.op is Op.OPEN:
            if event.access is None or not event.access.writes or event.access.value == "rw":
                read.add(path)
        elif event.op in DATA_OPS or event.op in (Op.RENAME, Op.UNLINK):
            changed.add(path)
        if below.data_before is None and path in read and path in changed:
            below.data_before = path

    def _executed(self, audit: Audit) -> None:
        for path in (binary.path for binary in audit.binaries if binary.kind == "elf"):
            top = self._top_of(path)
            if top is not None:
                self._below[top].executed = True
        seen: set[bytes] = set()
        for process in audit.processes:
            # A script is run by its interpreter, under the name that was called.
            called = process.argv[0] if process.argv and b"/" in process.argv[0] else process.exe
            for path in (process.exe, os.path.normpath(os.path.join(audit.run.cwd, called))):
                top = self._top_of(path)
                if path[:1] != b"/" or top is None:
                    continue
                below = self._below[top]
                below.executed = True
                if self._history.before.get(path) is not False and path not in seen:
                    seen.add(path)
                    below.used += 1
                    below.first_used = below.first_used or path
