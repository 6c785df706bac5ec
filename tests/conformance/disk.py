"""A tree as the disk has it: what the oracle compares before and after a run."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_CHUNK = 1 << 20
_HASHED_MAX = 64 << 20
"""Larger files are compared by size and times alone; no workload makes one on purpose."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One name: what stat(2) says of it, and its content."""

    dev: int
    ino: int
    mode: int
    nlink: int
    size: int
    uid: int
    gid: int
    rdev: int
    mtime_ns: int
    ctime_ns: int
    text: bytes | None
    """Of a symlink: what it holds."""
    xattrs: tuple[tuple[str, bytes], ...]
    digest: bytes | None
    """Of a regular file: a hash of its content."""

    @property
    def identity(self) -> tuple[int, int]:
        """Device and inode: the same for every name of one file."""
        return self.dev, self.ino

    @property
    def fmt(self) -> int:
        """File type bits."""
        return stat.S_IFMT(self.mode)

    @property
    def is_directory(self) -> bool:
        """Whether names can lie below it."""
        return stat.S_ISDIR(self.mode)


@dataclass(frozen=True, slots=True)
class FileTree:
    """Every name below ``root``, and ``root`` itself (as b""), by its path below it."""

    root: bytes
    entries: dict[bytes, Entry]
    mountpoints: frozenset[bytes]
    """Which of the names are mount points; like the keys of ``entries``."""


def read_tree(root: bytes) -> FileTree:
    """Read a tree. Nothing in it may change meanwhile.

    Goes down by descriptors, so that no path is too long for it.
    """
    entries: dict[bytes, Entry] = {}
    fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        entries[b""] = _entry(fd, None)
        _read_below(fd, b"", entries)
    finally:
        os.close(fd)
    points = {below for point in _mountpoints() if (below := _below(point, root)) is not None}
    return FileTree(root, entries, frozenset(points - {b""}))


def _read_below(directory: int, prefix: bytes, entries: dict[bytes, Entry]) -> None:
    for text in sorted(os.listdir(directory)):
        name = os.fsencode(text)
        path = prefix + b"/" + name if prefix else name
        entry = entries[path] = _entry(directory, name)
        if entry.is_directory:
            fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=directory)
            try:
                _read_below(fd, path, entries)
            finally:
                os.close(fd)


def _entry(directory: int, name: bytes | None) -> Entry:
    """Return the entry of a name in an open directory; of the directory itself without a name."""
    found = os.fstat(directory) if name is None else os.lstat(_at(directory, name))
    text = digest = None
    if stat.S_ISLNK(found.st_mode):
        text = os.fsencode(os.readlink(_at(directory, name or b".")))
    elif stat.S_ISREG(found.st_mode):
        digest = _digest(directory, name or b".", found)
    return Entry(
        found.st_dev, found.st_ino, found.st_mode, found.st_nlink,
        found.st_size if stat.S_ISREG(found.st_mode) else 0,
        found.st_uid, found.st_gid, found.st_rdev, found.st_mtime_ns, found.st_ctime_ns,
        text, tuple(_xattrs(directory, name)), digest,
    )  # fmt: skip


def _at(directory: int, name: bytes) -> bytes:
    """Name a file in an open directory for the calls that take no directory descriptor."""
    return b"/proc/self/fd/%d/%s" % (directory, name)


def _xattrs(directory: int, name: bytes | None) -> Iterator[tuple[str, bytes]]:
    path = _at(directory, name or b".")
    try:
        names = os.listxattr(path, follow_symlinks=False)
    except OSError:
        return  # the file system has none
    for key in sorted(names):
        yield key, os.getxattr(path, key, follow_symlinks=False)


def _digest(directory: int, name: bytes, found: os.stat_result) -> bytes | None:
    if found.st_size > _HASHED_MAX:
        return None
    digest = hashlib.blake2b(digest_size=16)
    fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=directory)
    try:
        while chunk := os.read(fd, _CHUNK):
            digest.update(chunk)
    finally:
        os.close(fd)
    return digest.digest()


def _mountpoints() -> Iterator[bytes]:
    for line in Path("/proc/self/mountinfo").read_bytes().splitlines():
        yield line.split(b" ")[4].decode("unicode_escape").encode("latin-1")


def _below(path: bytes, root: bytes) -> bytes | None:
    if path == root:
        return b""
    return path[len(root) + 1 :] if path.startswith(root + b"/") else None
