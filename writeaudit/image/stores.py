"""Where the blobs of an image lie: a directory, or a tar archive. No link is followed out of either."""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from writeaudit.image.entries import EntryType
from writeaudit.image.errors import Damage, ImageError
from writeaudit.image.limits import Limits
from writeaudit.image.streams import CHUNK, Bounded, Reader, Verified, compression_of, decompress
from writeaudit.image.tar_reader import TarReader
from writeaudit.text import escape_text, size

_MOST_MEMBERS = 20_000


class Store(Protocol):
    """Files by name, as ``blobs/sha256/…``."""

    def has(self, name: str) -> bool:
        """Whether there is such a file."""

    def open(self, name: str) -> AbstractContextManager[Reader]:
        """Open one for reading. Raises `ImageError`."""

    def size(self, name: str) -> int:
        """Return its size in bytes. Raises `ImageError`."""


class DirectoryStore:
    """Files below a directory."""

    def __init__(self, directory: str) -> None:
        self._directory = directory

    def has(self, name: str) -> bool:
        """Whether there is such a regular file, not reached through a symlink."""
        try:
            return stat.S_ISREG(self._look_at(name).st_mode)
        except (OSError, ValueError):
            return False

    def _look_at(self, name: str) -> os.stat_result:
        fd = self._open_below(name, os.O_PATH)
        try:
            return os.fstat(fd)
        finally:
            os.close(fd)

    def _open_below(self, name: str, flags: int) -> int:
        """Open what has a name below the directory, through no symlink. Raises OSError, ValueError."""
        *above, last = os.path.normpath(name).split("/")
        if any(part in ("", ".", "..") for part in (*above, last)):
            raise ValueError(name)
        fd = os.open(self._directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for part in above:
                inner = os.open(part, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=fd)
                os.close(fd)
                fd = inner
            return os.open(last, flags | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=fd)
        finally:
            os.close(fd)

    @contextmanager
    def open(self, name: str) -> Iterator[Reader]:
        """Open one for reading. Raises `ImageError`."""
        try:
            fd = self._open_below(name, os.O_RDONLY | os.O_NONBLOCK)
        except (OSError, ValueError) as error:
            raise _unreadable(name, error) from error
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise ImageError(f"{escape_text(name)} of the image is no file")
        with open(fd, "rb", buffering=0) as file:
            yield file

    def size(self, name: str) -> int:
        """Return its size in bytes. Raises `ImageError`."""
        try:
            return self._look_at(name).st_size
        except (OSError, ValueError) as error:
            raise _unreadable(name, error) from error


class ArchiveStore:
    """Members of a tar archive that is not compressed."""

    def __init__(self, fd: int, limits: Limits) -> None:
        """Read the list of members. Raises `ImageError`."""
        self._fd = fd
        self._members: dict[bytes, tuple[int, int]] = {}
        """Where each begins, and its size."""
        self._links: dict[bytes, bytes] = {}
        whole = _Section(fd, 0, os.fstat(fd).st_size)
        reader = TarReader(whole, limits, skip=whole.skip)
        try:
            for number, entry in enumerate(reader.entries()):
                if number >= _MOST_MEMBERS:
                    raise ImageError(f"the archive has more than {_MOST_MEMBERS:,} members: it is no image")
                name = os.path.normpath(entry.name)
                if entry.type is EntryType.FILE:
                    self._members[name] = reader.offset, entry.size
                elif entry.type in (EntryType.SYMLINK, EntryType.HARD_LINK):
                    # As docker saved it before 25, for layers that are the same.
                    base = os.path.dirname(name) if entry.type is EntryType.SYMLINK else b""
                    self._links[name] = os.path.normpath(os.path.join(base, entry.link))
        except Damage as damage:
            if not self._members:
                raise ImageError(f"it is no image: {damage}") from damage

    def _member(self, name: str) -> tuple[int, int] | None:
        wanted = os.path.normpath(os.fsencode(name))
        for _ in range(8):
            if wanted in self._members:
                return self._members[wanted]
            if wanted not in self._links:
                break
            wanted = self._links[wanted]
        return None

    def has(self, name: str) -> bool:
        """Whether there is such a member."""
        return self._member(name) is not None

    @contextmanager
    def open(self, name: str) -> Iterator[Reader]:
        """Open one for reading. Raises `ImageError`."""
        member = self._member(name)
        if member is None:
            raise ImageError(f"{escape_text(name)} is not in the archive")
        yield _Section(self._fd, *member)

    def size(self, name: str) -> int:
        """Return its size in bytes. Raises `ImageError`."""
        member = self._member(name)
        if member is None:
            raise ImageError(f"{escape_text(name)} is not in the archive")
        return member[1]


class _Section:
    """A part of a file."""

    def __init__(self, fd: int, start: int, count: int) -> None:
        self._fd = fd
        self._at = start
        self._end = start + count

    def read(self, count: int, /) -> bytes:
        data = os.pread(self._fd, min(count, self._end - self._at), self._at)
        self._at += len(data)
        return data

    def skip(self, count: int) -> None:
        self._at = min(self._at + count, self._end)


@contextmanager
def open_archive(path: str, limits: Limits) -> Iterator[ArchiveStore]:
    """Open a tar archive; of a compressed one, an unnamed copy of what it holds. Raises `ImageError`."""
    with contextlib.ExitStack() as opened:
        try:
            file = opened.enter_context(open(path, "rb", buffering=0))
            head = os.pread(file.fileno(), 8, 0)
        except OSError as error:
            reason = os.strerror(error.errno or 0)
            raise ImageError(f"cannot read {escape_text(path)}: {reason}") from error
        if not compression_of(head):
            yield ArchiveStore(file.fileno(), limits)
            return
        plain = opened.enter_context(tempfile.TemporaryFile())
        stored = Verified(file, None)
        whole = Bounded(decompress(stored), stored, limits, digest=False)
        try:
            while data := whole.read(CHUNK):
                plain.write(data)
            plain.flush()
        except Damage as damage:
            raise ImageError(f"{escape_text(path)} cannot be decompressed: {damage}") from damage
        except OSError as error:
            raise ImageError(
                f"there is no room to decompress {escape_text(path)} ({size(whole.bytes)} up to there): "
                f"{error.strerror}",
                hint="decompress it elsewhere, or set TMPDIR",
            ) from error
        yield ArchiveStore(plain.fileno(), limits)


def _unreadable(name: str, error: OSError | ValueError) -> ImageError:
    code = getattr(error, "errno", None)
    reason = os.strerror(code) if code else "it has an impossible name"
    return ImageError(f"cannot read {escape_text(name)} of the image: {reason}")
