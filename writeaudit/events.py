"""The vocabulary of events: what capture emits, and what everybody after it reads.

Two forms of one event exist. Capture emits a `RawEvent`, whose operands are what the
process passed and what the kernel said about it. `resolve` turns it into an `FsEvent`,
whose paths are absolute and free of symlinks. Nothing here depends on a backend.

`RawEvent`, `Operand` and `FsEvent` are named tuples rather than frozen dataclasses:
they are made once an event, and a frozen dataclass takes four times as long to make.
"""

from __future__ import annotations

import enum
from typing import NamedTuple

_Bytes = bytes
"""The type, where a field called ``bytes`` hides its name."""


class Op(enum.StrEnum):
    """What was done. The names are those of the JSON report (docs/events.md)."""

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
    MOUNT = "mount"
    UMOUNT = "umount"
    CHROOT = "chroot"
    PIVOT_ROOT = "pivot_root"


NAME_OPS = frozenset(
    {Op.MKDIR, Op.MKNOD, Op.BIND, Op.SYMLINK, Op.LINK, Op.RENAME, Op.EXCHANGE, Op.UNLINK, Op.RMDIR}
)
"""Operations that make, move or remove a name."""

NAMESPACE_OPS = frozenset({Op.MOUNT, Op.UMOUNT, Op.CHROOT, Op.PIVOT_ROOT})
"""Operations that change no file but the meaning of later paths."""


class Access(enum.StrEnum):
    """How a file was opened. `PATH` is O_PATH: a handle on the name, not on the data."""

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

    KERNEL = "kernel"
    """Read from the kernel's own objects at the time of the call."""
    RESOLVED = "resolved"
    """Worked out by writeaudit: symlinks followed, mounts looked up."""
    LEXICAL = "lexical"
    """Only normalised text; a symlink may hide in it."""


OK = "ok"
"""The `result` of an operation that succeeded; any other result is an errno's name."""


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
    truncated: bool = False
    """Bytes are missing: a name could not be read or was too long."""
    inner: int | None = None
    """How many of the last bytes of ``base`` lie below the mount point of ``mount``; None if
    unknown. Leads from a path in another mount namespace to the same file in ours."""
    detached: bool = False
    """``mount`` is in no mount namespace: ``base`` begins at its root."""
    guessed: bool = False
    """``base`` may not be the directory that was meant: it was looked up too late."""
    root: bytes | None = b"/"
    """The process's root directory, which ``..`` in a relative ``name`` does not leave and absolute symlinks
    begin at; None for one of a chroot that is not known."""


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

    @property
    def ok(self) -> bool:
        """Whether the operation succeeded."""
        return self.result == OK


MANNER = slice(FsEvent._fields.index("access"), FsEvent._fields.index("result") + 1)
"""Access, flags, created, mode and result. A run has millions of events and some dozens of these."""
