"""The vocabulary of events: what capture emits, and what everybody after it reads.

Two forms of one event exist. Capture emits a `RawEvent`, whose operands are what the
process passed and what the kernel said about it. `resolve` turns it into an `FsEvent`,
whose paths are absolute and free of symlinks. Nothing here depends on a backend.

`RawEvent`, `Operand` and `FsEvent` are named tuples rather than frozen dataclasses:
they are made once per event, and a frozen dataclass takes four times as long to make.
"""

from __future__ import annotations

import enum
import stat
from typing import NamedTuple

_Bytes = bytes
"""The type, where a field called ``bytes`` hides its name."""


class Op(enum.StrEnum):
    """What was done. The names are those of the JSON report (docs/events.md)."""

    __hash__ = str.__hash__  # that of an enumeration is a call of Python

    OPEN = "open"
    MKDIR = "mkdir"
    MKNOD = "mknod"
    BIND = "bind"
    SYMLINK = "symlink"
    LINK = "link"
    RENAME = "rename"
    EXCHANGE = "exchange"
    UNLINK = "unlink"
    RMDIR = "rmdir"
    WRITE = "write"
    COPY = "copy"
    CLONE = "clone"
    MMAP_WRITE = "mmap_write"
    TRUNCATE = "truncate"
    FALLOCATE = "fallocate"
    CHMOD = "chmod"
    CHOWN = "chown"
    UTIME = "utime"
    SETXATTR = "setxattr"
    REMOVEXATTR = "removexattr"
    SETFLAGS = "setflags"
    ACCESS = "access"
    RESTRICT = "restrict"
    MOUNT = "mount"
    UMOUNT = "umount"
    CHROOT = "chroot"
    PIVOT_ROOT = "pivot_root"


MAKE_OPS = frozenset({Op.MKDIR, Op.MKNOD, Op.BIND, Op.SYMLINK, Op.LINK})
"""Operations that make a name, which must not be there before."""

MOVE_OPS = frozenset({Op.RENAME, Op.EXCHANGE})
"""Operations that give another name to something."""

REMOVE_OPS = frozenset({Op.UNLINK, Op.RMDIR})
"""Operations that remove a name."""

NAME_OPS = MAKE_OPS | MOVE_OPS | REMOVE_OPS
"""Operations that make, move or remove a name."""

TRANSFER_OPS = frozenset({Op.WRITE, Op.COPY, Op.CLONE})
"""Operations that bring bytes into a file, and say how many."""

DATA_OPS = TRANSFER_OPS | {Op.TRUNCATE, Op.FALLOCATE, Op.MMAP_WRITE}
"""Operations on the data of a file."""

METADATA_OPS = frozenset({Op.CHMOD, Op.CHOWN, Op.UTIME, Op.SETXATTR, Op.REMOVEXATTR, Op.SETFLAGS})
"""Operations on what is known of a file beside its data and its names."""

NAMESPACE_OPS = frozenset({Op.MOUNT, Op.UMOUNT, Op.CHROOT, Op.PIVOT_ROOT, Op.RESTRICT})
"""Operations that change no file but the meaning of later paths, or what may be done with them."""


class Access(enum.StrEnum):
    """How a file was opened. `PATH` is O_PATH: a handle on the name, not on the data."""

    __hash__ = str.__hash__  # that of an enumeration is a call of Python

    READ = "r"
    WRITE = "w"
    READ_WRITE = "rw"
    PATH = "path"

    @property
    def writes(self) -> bool:
        """Whether the descriptor can change the file's data."""
        return self is Access.WRITE or self is Access.READ_WRITE


class Certainty(enum.StrEnum):
    """How a path is known, from best to worst."""

    __hash__ = str.__hash__  # that of an enumeration is a call of Python

    KERNEL = "kernel"
    """Read from the kernel's own objects at the time of the call."""
    RESOLVED = "resolved"
    """Worked out by writeaudit: symlinks followed, mounts looked up."""
    LEXICAL = "lexical"
    """Only normalised text; a symlink may hide in it."""


OK = "ok"
"""The `result` of an operation that succeeded; any other result is an errno's name."""


class Doubt(enum.IntFlag):
    """Why a path may not be the one that was meant: it is known as text only (`Certainty.LEXICAL`)."""

    UNREADABLE = 1
    """Bytes are missing: a name could not be read or was too long."""
    UNCERTAIN_BASE = 2
    """The directory that it begins at may be another one: it was looked up too late, or not at all."""
    DETACHED_MOUNT = 4
    """It may lie in a mount that is attached nowhere, and begin at that mount's root."""
    UNREACHABLE = 8
    """It lies outside of what its mount shows of the file system."""
    UNKNOWN_ROOT = 16
    """The root directory of the process is not known."""
    GONE = 32
    """A directory on the way was gone before it could be looked up."""
    MOVED = 64
    """A rename may have moved what its own names lead through."""
    REFUTED = 128
    """Another event shows that it was looked up too late."""
    NAMESPACE = 256
    """The mounts of another mount namespace had changed, or were gone, before they could be read."""


NO_DOUBT = Doubt(0)


class Operand(NamedTuple):
    """One path argument of a call, as the backend saw it.

    Either an open file (``name`` is None and ``base`` is the file's own path), or a name
    relative to a directory (``base`` is that directory's path, ``name`` the bytes passed).
    An absolute ``name`` is relative to the process's root directory: ``base`` is then that
    root, b"/" unless the process is in a chroot.
    """

    base: bytes | None
    """Absolute path in the mount namespace of the process; None if it could not be had."""
    name: bytes | None
    mount: int | None = None
    """Mount id (`/proc/PID/mountinfo`, field 1) of ``base``; None if unknown."""
    mount_ns: int | None = None
    """Inode number of the mount namespace that ``base`` is a path in; None for writeaudit's own."""
    dev: int | None = None
    """Device (`os.makedev`) of the open file; None unless ``name`` is None."""
    ino: int | None = None
    """Inode number of the open file; None unless ``name`` is None."""
    fmt: int | None = None
    """File type bits (`stat.S_IFMT`) of the open file, where known."""
    deleted: bool = False
    """``base`` has no name any more (unlinked, or made by O_TMPFILE)."""
    doubt: Doubt = NO_DOUBT
    inner: int | None = None
    """How many of the last bytes of ``base`` lie below the mount point of ``mount``; None if
    unknown. Leads from a path in another mount namespace to the same file in ours."""
    detached: bool = False
    """``mount`` is in no mount namespace: ``base`` begins at its root."""
    root: bytes | None = b"/"
    """The process's root directory, which ``..`` in a relative ``name`` does not leave and absolute symlinks
    begin at; None for one of a chroot that is not known."""
    nlink: int | None = None
    """How many names the open file had when the call returned, where known."""
    parent_dev: int | None = None
    """Device of ``parent_ino``; None if that is not known."""
    parent_ino: int | None = None
    """Inode number of the directory that the open file lies in, or, of a name, of the directory that it is
    relative to (``base``); None if unknown, and for the root of a mount."""


class RawEvent(NamedTuple):
    """One operation, as capture emits it, in the order in which the kernel finished it."""

    time_ns: int
    """CLOCK_MONOTONIC, nanoseconds, at which the call returned."""
    pid: int
    """Process (thread group) id, in writeaudit's pid namespace."""
    tid: int
    op: Op
    result: str
    """`OK` or the errno's name."""
    path: Operand
    """What changes."""
    source: Operand | None = None
    """Where it comes from: the existing file of a link, the old name of a rename, …"""
    target_text: bytes | None = None
    """For a symlink: the text that it holds."""
    access: Access | None = None
    flags: tuple[str, ...] = ()
    created: bool | None = None
    """For an open: whether it made the file; None if the backend cannot tell."""
    follow: bool = True
    """Whether a symlink as the last component of ``path`` is followed."""
    follow_source: bool = False
    """The same for ``source``."""
    mode: int | None = None
    """Permission bits asked for (mkdir, mknod, open with creat, chmod), or None."""
    spelled: bytes | None = None
    """What the process passed, where ``path`` is an open file and so does not hold it."""
    xattr: bytes | None = None
    """Name of the extended attribute that was set or removed."""
    bytes: int | None = None
    calls: int | None = None
    file_key: int | None = None
    """Tells the open files of one run apart; a later `WriteTotal` names it."""
    lasted_ns: int = 0
    """In how many nanoseconds before its return, at most, the call took effect; 0 if nobody knows."""


class WriteTotal(NamedTuple):
    """What was added up in the kernel for one open file since its first write."""

    file_key: int
    bytes: int
    calls: int


class FsEvent(NamedTuple):
    """One operation with its paths resolved. See `RawEvent` for the fields they share."""

    seq: int
    """1, 2, 3, … in the order in which the kernel finished the operations."""
    time_ns: int
    """Since the command was started, nanoseconds."""
    pid: int
    tid: int
    op: Op
    path: bytes
    """Absolute, without symlinks, in writeaudit's own mount namespace and root."""
    source: bytes | None = None
    """As `path`; for a symlink the text that it holds."""
    access: Access | None = None
    flags: tuple[str, ...] = ()
    """creat excl trunc append tmpfile directory (open); noreplace whiteout (rename); subvolume
    snapshot (mkdir, rmdir, of btrfs); deleted (the file had no name any more)."""
    created: bool = False
    mode: int | None = None
    result: str = OK
    bytes: int | None = None
    calls: int | None = None
    mount: int | None = None
    """`Mount.id` of the mount that holds `path`; None if unknown."""
    source_mount: int | None = None
    dev: int | None = None
    """Device of the file at `path` (`os.makedev`), or of its directory if it has none."""
    ino: int | None = None
    source_dev: int | None = None
    source_ino: int | None = None
    fmt: int | None = None
    """File type bits (`stat.S_IFMT`) of the file, where known."""
    seen_as: _Bytes | None = None
    """The process's own spelling, where it differs from `path`."""
    certainty: Certainty = Certainty.RESOLVED
    frame: int = 0
    """`Frame.id` of the container or sandbox that it was done in; 0 for the host's own view."""
    inner_path: _Bytes | None = None
    """What `path` is called in that frame; None on the host, and where it has no name there."""

    @property
    def ok(self) -> bool:
        """Whether the operation succeeded."""
        return self.result == OK


class Effect(enum.IntEnum):
    """What an operation does to the file at `path`."""

    NONE = 0
    """It changes nothing, and would not have if it had succeeded."""
    WANTED = 1
    """It asks to change something, and changed nothing: refused, an open for writing, a write of no bytes."""
    CHANGED = 2
    """It changed something, or may have."""


def effect_of(event: RawEvent | FsEvent) -> Effect:
    """Return what an event changes: the one definition of it, for every stage.

    An open for reading with ``creat`` counts only if it made the file, may have, or failed: that a
    file which is there already is opened so is no change, and needs no permission to write.
    """
    op = event.op
    done = Effect.CHANGED if event.result == OK else Effect.WANTED
    if op is Op.OPEN:
        access = event.access
        if access is Access.PATH:
            return Effect.NONE
        flags = event.flags
        if event.created or (flags and ("trunc" in flags or "tmpfile" in flags)):
            return done
        if access is Access.WRITE or access is Access.READ_WRITE:
            return Effect.WANTED
        asks = bool(flags) and "creat" in flags and (event.result != OK or event.created is None)
        return Effect.WANTED if asks else Effect.NONE
    if op in NAMESPACE_OPS or op is Op.ACCESS:
        return Effect.NONE
    if event.bytes == 0 and op in TRANSFER_OPS:
        return Effect.WANTED
    return done


NOT_ON_DISK = frozenset({stat.S_IFCHR, stat.S_IFIFO, stat.S_IFSOCK})
"""The file types (`FsEvent.fmt`) whose data is in no file. Block devices are not among them."""

SPECIAL_OBJECTS = (b"pipe:[", b"socket:[", b"anon_inode:", b"memfd:", b"/memfd:", b"/SYSV")
"""How the paths of the kernel's own objects begin, which lie in no directory."""


def has_no_name(event: FsEvent) -> bool:
    """Whether the event is about an object that lies in no directory: a pipe, a socket, a memfd."""
    if not event.path.startswith(SPECIAL_OBJECTS):
        return False
    # A file of that name may well stand in the root directory; the kernel's own objects are nameless.
    return event.path[:1] != b"/" or "deleted" in event.flags


EVENT_SIGNATURE = slice(FsEvent._fields.index("access"), FsEvent._fields.index("result") + 1)
"""``event[EVENT_SIGNATURE]``: access, flags, created, mode and result. A run has millions of events and
some dozens of these."""
