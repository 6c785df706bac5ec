"""What the reading of a trace keeps: threads, their directories, their open files.

Descriptors and the working directory come decoded with most calls (strace -y), but not
with all: ``mkdir("x")`` shows no directory, FICLONE no path of its source. So both are
followed here, as clone(2) says that they are shared or copied. ``close`` and ``fcntl`` are
not traced (they would double the number of stops); whatever strace decodes overrules
what is remembered.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import NamedTuple, Protocol

from writeaudit.capture.interface import Record
from writeaudit.capture.strace.lexer import strip_deleted
from writeaudit.events import Operand, WriteTotal

NO_NAMES = (b"", b".", b"..")
"""Last components that do not say what a name leads to."""

_LONGEST_WAY = 4096
_MOST_RENAMED = 1 << 16
_LEAVING = frozenset({b"chdir", b"fchdir"})


class Host(Protocol):
    """What may be asked of the running system while the trace is read.

    Every answer may be None: the process can be gone. The parser is right without any of
    them, but knows less.
    """

    def read_cmdline(self, pid: int) -> tuple[bytes, ...] | None:
        """Return the arguments of a process."""

    def read_cwd(self, tid: int) -> bytes | None:
        """Return the working directory of a thread, as a path in writeaudit's own root."""

    def read_exe(self, pid: int) -> bytes | None:
        """Return the path of the program that a process runs."""

    def read_root(self, tid: int) -> bytes | None:
        """Return the root directory of a thread, as a path in writeaudit's own root."""

    def list_threads(self, pid: int) -> tuple[int, ...]:
        """Return the threads of a process; none if it is gone."""

    def mount_ns(self, tid: int) -> int | None:
        """Return the inode number of a thread's mount namespace."""

    def open_file(self, pid: int, fd: int) -> bytes | None:
        """Return the link text of ``/proc/PID/fd/N``."""

    def file_type(self, path: bytes) -> int | None:
        """Return the file type bits (`stat.S_IFMT`) of an absolute path."""

    def open_type(self, pid: int, fd: int, path: bytes) -> int | None:
        """Return the file type bits of an open file, if ``path`` is still its own."""

    def gains_privileges(self, path: bytes, tid: int) -> bool:
        """Whether a program gives rights to the thread that executes it."""

    def real_path(self, path: bytes) -> bytes | None:
        """Return the absolute path of a directory without symlinks."""

    def names_on(self, path: bytes) -> frozenset[bytes]:
        """Return the names on the way that a path leads, those of the symlinks on it included."""

    def find_parent(self, tid: int) -> tuple[int, int] | None:
        """Return the process that a thread belongs to, and that process's parent."""

    def by_handle(self, near: bytes, kind: int, handle: bytes) -> bytes | None:
        """Return the path of a file in the file system of ``near`` (open_by_handle_at(2))."""

    def text_at(self, tid: int, address: int) -> bytes | None:
        """Return a string that lies in a process's memory now."""


class NoHost:
    """A host that knows nothing: for reading a trace afterwards."""

    def read_cmdline(self, pid: int) -> tuple[bytes, ...] | None:  # noqa: ARG002
        """Return None."""
        return None

    def read_cwd(self, tid: int) -> bytes | None:  # noqa: ARG002
        """Return None."""
        return None

    def read_exe(self, pid: int) -> bytes | None:  # noqa: ARG002
        """Return None."""
        return None

    def read_root(self, tid: int) -> bytes | None:  # noqa: ARG002
        """Return None."""
        return None

    def list_threads(self, pid: int) -> tuple[int, ...]:  # noqa: ARG002
        """Return none."""
        return ()

    def mount_ns(self, tid: int) -> int | None:  # noqa: ARG002
        """Return None."""
        return None

    def open_file(self, pid: int, fd: int) -> bytes | None:  # noqa: ARG002
        """Return None."""
        return None

    def file_type(self, path: bytes) -> int | None:  # noqa: ARG002
        """Return None."""
        return None

    def open_type(self, pid: int, fd: int, path: bytes) -> int | None:  # noqa: ARG002
        """Return None."""
        return None

    def gains_privileges(self, path: bytes, tid: int) -> bool:  # noqa: ARG002
        """Return False."""
        return False

    def real_path(self, path: bytes) -> bytes | None:  # noqa: ARG002
        """Return None."""
        return None

    def names_on(self, path: bytes) -> frozenset[bytes]:
        """Return the names in the text."""
        return frozenset(path.split(b"/"))

    def find_parent(self, tid: int) -> tuple[int, int] | None:  # noqa: ARG002
        """Return None."""
        return None

    def by_handle(self, near: bytes, kind: int, handle: bytes) -> bytes | None:  # noqa: ARG002
        """Return None."""
        return None

    def text_at(self, tid: int, address: int) -> bytes | None:  # noqa: ARG002
        """Return None."""
        return None


@dataclass(slots=True, eq=False)
class OpenFile:
    """An open file description, as far as it is known."""

    path: bytes
    deleted: bool
    hidden: bool = False
    """Its path is too long for strace to show: it is known only from the call that opened it."""
    key: int | None = None
    """Its `file_key` once it was written to."""
    bytes: int = 0
    calls: int = 0
    shared: bool = False
    """Other processes may hold it too."""
    renames: int = 0
    """How many renames there had been when its path was told."""
    is_file: bool | None = None
    """False for devices, pipes and sockets, to which writing changes no file; None: not asked."""
    fmt: int | None = None
    detached: bool = False
    """It is the root of a mount that has no place yet (open_tree(2), fsmount(2))."""


@dataclass(slots=True, eq=False)
class FsContext:
    """Where names lead: what CLONE_FS shares."""

    cwd: bytes
    root: bytes = b"/"
    cwd_deleted: bool = False
    way: tuple[bytes, bytes] | None = None
    """Where nobody could look at once: the directory that chdir(2) began at, and the name that it took."""
    passed: frozenset[bytes] = frozenset()
    """The names on that way, and on those of the symlinks on it."""
    guessed: bool = False
    """``cwd`` is no more than a guess, and no ``way`` leads to it."""
    cwd_unreachable: bool = False
    """The working directory lies outside of what its mount shows: it has no path."""
    root_guessed: bool = False
    """``root`` may be another directory's name."""
    leaving: int = 0
    """How many threads are about to go to another directory: they began to, and have not returned."""
    version: int = 0
    """Changes with all of this."""

    @property
    def sure(self) -> bool:
        """Whether ``cwd`` is the kernel's word."""
        return self.way is None and not self.guessed and not self.leaving

    def is_shown(self, path: bytes) -> bool:
        """Whether it is nothing new that the kernel calls it so."""
        return path == self.cwd and self.sure and not self.cwd_deleted

    def copy(self) -> FsContext:
        """Return a copy for a process of its own."""
        made = replace(self, leaving=0)
        if self.leaving:
            made.mark_lost()
        return made

    def set_cwd(self, path: bytes, *, deleted: bool = False) -> None:
        """The working directory is another one from now on, and this is its path."""
        self.cwd, self.cwd_deleted = path, deleted
        self.way, self.guessed, self.cwd_unreachable = None, False, False
        self.version += 1

    def enter_by_name(self, name: bytes, probably: bytes) -> None:
        """A chdir led to a directory that nobody has shown yet."""
        base, before = (self.root, b"") if name[:1] == b"/" else self.way or (self.cwd, b"")
        way = before + b"/" + name if before else name
        # From the root every name is good; else it must be known where it begins.
        good = name[:1] == b"/" or not (self.guessed or self.cwd_deleted)
        unreachable = self.cwd_unreachable and name[:1] != b"/"
        self.set_cwd(probably)
        if good and len(way) < _LONGEST_WAY:
            self.way = (base, way)
        else:
            self.mark_lost(unreachable=unreachable)

    def note_shown_cwd(self, path: bytes) -> None:
        """The kernel says what the working directory is called."""
        if path == self.cwd:
            if self.way is not None or self.guessed or self.cwd_deleted:
                self.set_cwd(path)
            return
        # Not even a new strace takes the mark off here, which may as well be part of a name.
        name, deleted = strip_deleted(path)
        known = name == self.cwd and (self.sure or self.cwd_deleted)
        self.set_cwd(name, deleted=deleted)
        if deleted and not known:
            self.mark_lost()

    def mark_lost(self, *, unreachable: bool = False) -> None:
        """The working directory is perhaps somewhere else than where it was, and nobody knows where."""
        self.way, self.guessed = None, True
        self.cwd_unreachable |= unreachable
        self.version += 1

    def doubt_names(self, names: Iterable[bytes]) -> None:
        """Names were taken away, or covered: those on the way may lead elsewhere."""
        if self.way is not None and any(name in self.passed or name in NO_NAMES for name in names):
            self.mark_lost()

    def path_below(self, path: bytes) -> bytes | None:
        """Return what of ``cwd`` lies below a directory; None if it does not."""
        rest = self.cwd[len(path) :]
        return rest if self.cwd.startswith(path) and rest[:1] in (b"", b"/") else None

    def move_cwd(self, base: bytes, name: bytes, below: bytes, *, sure: bool) -> None:
        """The directory that is ``below`` above this one has another name, beginning at ``base``."""
        self.cwd = join_name(FsContext(base), name) + below
        self.version += 1
        if not sure:
            self.mark_lost()
        elif b"/" in name:
            # A symlink may be on the way.
            self.way = (base, name + below)


@dataclass(slots=True, eq=False)
class DescriptorTable:
    """A table of descriptors: what CLONE_FILES shares."""

    open: dict[int, OpenFile] = field(default_factory=dict)
    users: int = 1

    def copy(self) -> DescriptorTable:
        """Return the table of a forked process; the open files themselves stay shared."""
        for file in self.open.values():
            file.shared = True
        return DescriptorTable(dict(self.open))


class SharedMapping(NamedTuple):
    """A range of addresses at which a file is mapped, shared, and not to be written so far."""

    start: int
    end: int
    """The address behind the last."""
    file: Operand


@dataclass(slots=True, eq=False)
class ThreadGroup:
    """A thread group."""

    pid: int
    ppid: int
    mappings: list[SharedMapping] = field(default_factory=list)
    started: bool = True
    """Whether a `ProcessStart` was handed out."""
    leader: Thread | None = None
    """Its first thread, whose links ``/proc/self`` has."""


@dataclass(slots=True, eq=False)
class Thread:
    """A task."""

    tid: int
    process: ThreadGroup
    fs: FsContext
    files: DescriptorTable
    mount_ns: int | None = None
    """None: writeaudit's own."""

    def __post_init__(self) -> None:
        if self.tid == self.process.pid:
            self.process.leader = self


@dataclass(slots=True)
class Pending:
    """A call that has begun."""

    name: bytes
    text: bytes
    """From the name on."""
    fs: FsContext
    """Where the thread was,"""
    version: int
    """of which version,"""
    renames: int
    """and after how many renames (see `Renames`)."""
    child: int | None = None
    """For a clone: the thread that was seen running before the call returned."""

    @classmethod
    def begin_call(cls, thread: Thread, name: bytes, text: bytes, renames: int) -> Pending:
        """Note that a thread has begun a call."""
        thread.fs.leaving += name in _LEAVING
        return cls(name, text, thread.fs, thread.fs.version, renames)

    def end_call(self) -> None:
        """It has returned, or never will."""
        self.fs.leaving -= self.name in _LEAVING


def join_name(fs: FsContext, name: bytes) -> bytes:
    """Return a name as an absolute path, in text only (no symlink is followed)."""
    base = fs.root if name.startswith(b"/") else fs.cwd
    path = posixpath.normpath(posixpath.join(base, name.lstrip(b"/")))
    return path[1:] if path.startswith(b"//") else path


class Renames:
    """The last components of the names that were renamed, of all or of the last some ten thousand."""

    def __init__(self) -> None:
        self.count = 0
        self._last: dict[bytes, int] = {}
        self._forgotten = 0

    def note_name(self, name: bytes) -> None:
        """A name is another one's from now on."""
        self.count += 1
        if len(self._last) >= _MOST_RENAMED:
            self._last.clear()
            self._forgotten = self.count
        self._last[name] = self.count

    def renamed_since(self, count: int, path: bytes) -> bool:
        """Whether one of a path's components may have been renamed since there had been ``count`` of them."""
        return count < self._forgotten or any(self._last.get(name, 0) > count for name in path.split(b"/"))


class WriteLedger:
    """Adds up what is written, per open file."""

    def __init__(self) -> None:
        self._next = 1
        self._held: dict[int, OpenFile] = {}

    def begin_file(self, file: OpenFile) -> int:
        """Give an open file its key, at its first write."""
        file.key = self._next
        self._next += 1
        self._held[file.key] = file
        return file.key

    def settle_file(self, file: OpenFile | None, out: list[Record]) -> None:
        """Hand out the total of a file that its only holder let go."""
        if file is not None and file.key is not None and not file.shared:
            self._emit_total(file.key, file, out)

    def settle_all(self, out: list[Record]) -> None:
        """Hand out every total that is left."""
        for key, file in list(self._held.items()):
            self._emit_total(key, file, out)

    def _emit_total(self, key: int, file: OpenFile, out: list[Record]) -> None:
        if self._held.pop(key, None) is not None:
            out.append(WriteTotal(key, file.bytes, file.calls))
            file.key = None
