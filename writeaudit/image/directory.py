"""The root directory of a file system, as the one layer of an image. No symlink in it is followed."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator

from writeaudit.image.entries import Entry, EntryType
from writeaudit.image.errors import Damage
from writeaudit.image.limits import Limits
from writeaudit.image.nodes import Unreadable
from writeaudit.image.streams import CHUNK
from writeaudit.text import escape_path

_TYPES = {
    stat.S_IFREG: EntryType.FILE,
    stat.S_IFDIR: EntryType.DIRECTORY,
    stat.S_IFLNK: EntryType.SYMLINK,
    stat.S_IFCHR: EntryType.CHARACTER,
    stat.S_IFBLK: EntryType.BLOCK,
    stat.S_IFIFO: EntryType.FIFO,
}
_CAPABILITY = "security.capability"


class DirectoryReader:
    """Walks a directory; other file systems that are mounted in it are left out."""

    def __init__(self, root: str, limits: Limits) -> None:
        self._root = os.fsencode(root)
        self._limits = limits
        self.remarks: list[str] = []
        """What was left out, and why. Clauses, safe to show."""
        self._seen: dict[tuple[int, int], bytes] = {}

    def entries(self) -> Iterator[Entry]:
        """Yield an entry for each name, directories before what is in them. Raises `errors.Damage`."""
        try:
            top = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise Damage(f"it cannot be read: {error.strerror}") from error
        try:
            root = os.fstat(top)
            yield _entry(b"/", root, EntryType.DIRECTORY)
            yield from self._below(top, b"", root.st_dev, 1)
        finally:
            os.close(top)

    def _below(self, fd: int, path: bytes, device: int, depth: int) -> Iterator[Entry]:
        if depth > self._limits.depth:
            raise Damage(f"directories in it are more than {self._limits.depth} deep", "bomb")
        try:
            names = sorted(map(os.fsencode, os.listdir(fd)))
        except OSError as error:  # it can be opened, and not listed: on FUSE or a damaged disk
            self.remarks.append(f"{escape_path(path or b'/')}: {error.strerror}")
            return
        for name in names:
            inner = path + b"/" + name
            try:
                state = os.lstat(name, dir_fd=fd)
            except OSError:
                continue  # it has gone meanwhile
            type_ = _TYPES.get(stat.S_IFMT(state.st_mode))
            if type_ is None:
                continue  # a socket: no image holds one
            if state.st_dev != device:
                self.remarks.append(f"{escape_path(inner)}: another file system is mounted there")
                continue
            yield self._made(fd, name, inner, state, type_)
            if type_ is EntryType.DIRECTORY:
                yield from self._directory(fd, name, inner, device, depth)

    def _directory(self, fd: int, name: bytes, path: bytes, device: int, depth: int) -> Iterator[Entry]:
        try:
            below = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=fd)
        except OSError as error:
            self.remarks.append(f"{escape_path(path)}: {error.strerror}")
            return
        try:
            yield from self._below(below, path, device, depth + 1)
        finally:
            os.close(below)

    def _made(self, fd: int, name: bytes, path: bytes, state: os.stat_result, type_: EntryType) -> Entry:
        entry = _entry(path, state, type_)
        if type_ is EntryType.SYMLINK:
            try:
                return entry._replace(link=os.readlink(name, dir_fd=fd))
            except OSError:
                return entry
        if type_ is not EntryType.FILE:
            return entry
        if state.st_nlink > 1:
            first = self._seen.setdefault((state.st_dev, state.st_ino), path)
            if first != path:
                return entry._replace(type=EntryType.HARD_LINK, link=first, size=0)
        return entry._replace(content=_reader(fd, name, state), capability=_capability(fd, name))


def _entry(path: bytes, state: os.stat_result, type_: EntryType) -> Entry:
    return Entry(
        path,
        type_,
        stat.S_IMODE(state.st_mode),
        state.st_uid,
        state.st_gid,
        state.st_mtime,
        state.st_size if type_ is EntryType.FILE else 0,
        device=(os.major(state.st_rdev), os.minor(state.st_rdev)),
    )


def _open(fd: int, name: bytes) -> int:
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
    return os.open(name, flags, dir_fd=fd)


def _reader(fd: int, name: bytes, state: os.stat_result) -> Callable[[], Iterator[bytes]]:
    def read() -> Iterator[bytes]:
        try:
            opened = _open(fd, name)
        except OSError as error:
            raise Unreadable(error.strerror or "it cannot be read") from error
        try:
            if not os.path.samestat(os.fstat(opened), state):
                raise Unreadable("it has become another file meanwhile")
            while data := os.read(opened, CHUNK):
                yield data
        except OSError as error:
            raise Unreadable(error.strerror or "it cannot be read") from error
        finally:
            os.close(opened)

    return read


def _capability(fd: int, name: bytes) -> bytes:
    # There is no getxattr(2) below a directory descriptor; /proc names the directory itself.
    try:
        return os.getxattr(b"/proc/self/fd/%d/%s" % (fd, name), _CAPABILITY, follow_symlinks=False)
    except OSError:
        return b""
