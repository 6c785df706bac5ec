"""Writes report files: whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
import time
from collections.abc import Iterable, Iterator

from writeaudit.errors import OutputError
from writeaudit.new_file import NewFile

STDOUT = "-"
"""The path that means standard output."""

_OWN_DESCRIPTOR = re.compile(r"/dev/(stdin|stdout|stderr)|/(?:dev|proc/self)/fd/(\d+)")
_BATCH = 1 << 18
_READER_S = 10.0
"""How long a FIFO is waited for that nobody reads yet."""

_HINTS = {
    errno.ENOSPC: "free some space or choose another file system",
    errno.EDQUOT: "your disk quota is used up; choose another place",
    errno.EFBIG: "raise the limit on the size of files (ulimit -f)",
    errno.ENOENT: "make the directory first",
    errno.ENOTDIR: "a part of the path is a file, not a directory",
    errno.EISDIR: "name a file in that directory",
    errno.EACCES: "choose a place that you may write to",
    errno.EPERM: "choose a place that you may write to",
    errno.EROFS: "choose a place that is not mounted read-only",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.ENXIO: "start what reads this pipe first",
    errno.EPIPE: "the reader closed the pipe early",
    errno.EBADF: "that descriptor is not open for writing",
}


def write_whole(
    path: str | os.PathLike[str],
    chunks: Iterable[str] | Iterable[bytes],
    *,
    mode: int = 0o600,
) -> None:
    """Write ``chunks`` (text becomes UTF-8) to ``path`` so that a reader finds all of it or the old file.

    The data goes to a new file without a name in the same directory, reaches the disk, and is
    given its name then; on any error nothing of it is left. ``mode`` is that of the file, less the umask:
    names and arguments of whatever ran are nobody else's business, unless somebody says so.
    A symlink at ``path`` is replaced, never followed: the audited command may have put it
    there. ``-``, /dev/stdout and the like, and an existing FIFO or device are written to
    where they are.

    Raises `OutputError` with path, reason and remedy. What ``chunks`` raises passes through.
    """
    target = os.fspath(path)
    try:
        special = _open_special(target)
        if special is not None:
            try:
                _drain(special, chunks)
            finally:
                os.close(special)
        else:
            _replace(target, chunks, mode)
    except _Failed as failed:
        raise _explain(target, failed.error) from failed.error


class _Failed(Exception):
    """An OSError of ours, told apart from one that ``chunks`` raises (reading a recording, say)."""

    def __init__(self, error: OSError) -> None:
        super().__init__(str(error))
        self.error = error


@contextlib.contextmanager
def _ours() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _Failed(error) from error


def _explain(target: str, error: OSError) -> OutputError:
    reason = os.strerror(error.errno) if error.errno else str(error)
    shown = "standard output" if target == STDOUT else repr(target)
    return OutputError(f"cannot write {shown}: {reason}", hint=_HINTS.get(error.errno or 0))


def _open_special(target: str) -> int | None:
    """Return a new descriptor for a target that is not to be replaced, or None."""
    if target == STDOUT:
        with _ours():
            return os.dup(1)
    if match := _OWN_DESCRIPTOR.fullmatch(target):
        # Opening these by name would truncate or rewind what they are redirected to.
        number = {"stdin": 0, "stdout": 1, "stderr": 2}.get(match[1] or "", -1)
        with _ours():
            return os.dup(number if number >= 0 else int(match[2]))
    with _ours():
        try:
            mode = os.lstat(target).st_mode
        except FileNotFoundError:
            return None
        if stat.S_ISREG(mode) or stat.S_ISLNK(mode):
            return None
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        flags = os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NOCTTY
        # The audited command may have made a FIFO of it: nobody waits for a reader that never comes.
        deadline = time.monotonic() + _READER_S
        while True:
            try:
                fd = os.open(target, flags | os.O_NONBLOCK)
            except OSError as error:
                if error.errno != errno.ENXIO or time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
                continue
            os.set_blocking(fd, True)
            return fd


def _replace(target: str, chunks: Iterable[str] | Iterable[bytes], mode: int) -> None:
    directory = _directory_of(target)
    with _ours():
        file = NewFile(directory, mode)
    try:
        _drain(file.fd, chunks)
        with _ours():
            os.fsync(file.fd)
            file.replace(target)
    finally:
        file.close()


def _directory_of(target: str) -> str:
    directory, name = os.path.split(target)
    if not name:
        raise _Failed(IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR)))
    return directory


def check_target(path: str | os.PathLike[str]) -> None:
    """Make sure, ahead of time and as far as that can be told, that `write_whole` can write there.

    Leaves nothing behind. Raises `OutputError`.
    """
    target = os.fspath(path)
    if target == STDOUT or _OWN_DESCRIPTOR.fullmatch(target):
        return
    try:
        directory = _directory_of(target)
        with _ours():
            try:
                mode = os.lstat(target).st_mode
            except FileNotFoundError:
                mode = stat.S_IFREG
            if stat.S_ISDIR(mode):
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
            if stat.S_ISREG(mode) or stat.S_ISLNK(mode):
                NewFile(directory).close()
    except _Failed as failed:
        raise _explain(target, failed.error) from failed.error


def _drain(fd: int, chunks: Iterable[str] | Iterable[bytes]) -> None:
    batch = bytearray()
    for chunk in chunks:
        batch += chunk.encode("utf-8") if isinstance(chunk, str) else chunk
        if len(batch) >= _BATCH:
            _write_all(fd, batch)
            batch.clear()
    _write_all(fd, batch)


def _write_all(fd: int, data: bytearray) -> None:
    with _ours(), memoryview(data) as view:
        done = 0
        while done < len(view):
            done += os.write(fd, view[done:])
