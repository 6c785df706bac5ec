"""The words in which strace prints flags and modes, and what they mean here."""

from __future__ import annotations

import functools
import stat
from typing import NamedTuple

from writeaudit.events import Access

_OPEN_WORDS = (
    (b"O_CREAT", "creat"),
    (b"O_EXCL", "excl"),
    (b"O_TRUNC", "trunc"),
    (b"O_APPEND", "append"),
    (b"O_TMPFILE", "tmpfile"),
    (b"O_DIRECTORY", "directory"),
)
_MOUNT_WORDS = (
    (b"MS_RDONLY", "ro"),
    (b"MS_REMOUNT", "remount"),
    (b"MS_BIND", "bind"),
    (b"MS_MOVE", "move"),
    (b"MS_REC", "rec"),
)
_FALLOCATE_WORDS = (
    (b"FALLOC_FL_KEEP_SIZE", "keep_size"),
    (b"FALLOC_FL_PUNCH_HOLE", "punch_hole"),
    (b"FALLOC_FL_COLLAPSE_RANGE", "collapse_range"),
    (b"FALLOC_FL_ZERO_RANGE", "zero_range"),
    (b"FALLOC_FL_INSERT_RANGE", "insert_range"),
    (b"FALLOC_FL_UNSHARE_RANGE", "unshare_range"),
)
_MODE_WORDS = {b"S_ISUID": stat.S_ISUID, b"S_ISGID": stat.S_ISGID, b"S_ISVTX": stat.S_ISVTX}
_TYPE_WORDS = {
    b"S_IFREG": stat.S_IFREG,
    b"S_IFIFO": stat.S_IFIFO,
    b"S_IFCHR": stat.S_IFCHR,
    b"S_IFBLK": stat.S_IFBLK,
    b"S_IFSOCK": stat.S_IFSOCK,
    b"S_IFDIR": stat.S_IFDIR,
    b"S_IFLNK": stat.S_IFLNK,
}


class OpenFlags(NamedTuple):
    """The flags of an open, read once for each spelling of them."""

    access: Access
    names: tuple[str, ...]
    follow: bool
    makes: bool
    """O_CREAT or O_TMPFILE: the call takes a mode."""
    created: bool | None
    """Whether a success means that the file was made; None if it may have been."""


def split_flags(raw: bytes) -> frozenset[bytes]:
    """Return the flags of ``A|B|0x10``."""
    return frozenset(raw.split(b"|"))


@functools.lru_cache(maxsize=1024)
def open_flags(raw: bytes) -> OpenFlags:
    """Read the flags of open(2)."""
    given = split_flags(raw)
    names = tuple(name for word, name in _OPEN_WORDS if word in given)
    created: bool | None = False
    if b"O_PATH" in given:
        # Everything but O_CLOEXEC, O_DIRECTORY and O_NOFOLLOW is ignored along with it.
        return OpenFlags(
            Access.PATH, tuple(n for n in names if n == "directory"), b"O_NOFOLLOW" not in given, False, False
        )
    if "tmpfile" in names or {"creat", "excl"} <= set(names):
        created = True
    elif "creat" in names:
        created = None
    access = Access.READ
    if b"O_RDWR" in given or b"O_ACCMODE" in given:
        access = Access.READ_WRITE
    elif b"O_WRONLY" in given:
        access = Access.WRITE
    follow = b"O_NOFOLLOW" not in given and not {"creat", "excl"} <= set(names)
    return OpenFlags(access, names, follow, "creat" in names or "tmpfile" in names, created)


@functools.lru_cache(maxsize=256)
def mount_flags(raw: bytes) -> tuple[str, ...]:
    """Read the flags of mount(2)."""
    given = split_flags(raw)
    return tuple(name for word, name in _MOUNT_WORDS if word in given)


@functools.lru_cache(maxsize=64)
def fallocate_flags(raw: bytes) -> tuple[str, ...]:
    """Read the mode of fallocate(2)."""
    given = split_flags(raw)
    return tuple(name for word, name in _FALLOCATE_WORDS if word in given)


@functools.lru_cache(maxsize=1024)
def mode_bits(raw: bytes) -> tuple[int | None, int | None]:
    """Read ``0644`` or ``S_IFIFO|S_ISUID|0600``: the permission bits and the file type."""
    bits: int | None = None
    fmt: int | None = None
    for word in raw.split(b"|"):
        if word[:1] == b"0":
            bits = (bits or 0) | int(word, 16 if word[:2] == b"0x" else 8)
        elif word in _MODE_WORDS:
            bits = (bits or 0) | _MODE_WORDS[word]
        elif word in _TYPE_WORDS:
            fmt = _TYPE_WORDS[word]
    return (None if bits is None else bits & 0o7777), fmt
