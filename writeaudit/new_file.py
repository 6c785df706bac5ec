"""Files that have no name until they are whole (open(2), O_TMPFILE): a process that is killed leaves none."""

from __future__ import annotations

import contextlib
import errno
import os
from types import TracebackType
from typing import Self

_NO_UNNAMED = frozenset({errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOENT})
"""What the kernel answers where the file system has no unnamed files."""
_NO_LINKS = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS})
"""What it answers where the file system has no hard links."""


class NewFile:
    """A file to be written. Its methods raise OSError."""

    def __init__(self, directory: str, mode: int = 0o600) -> None:
        """Make it in a directory, less the umask; on the file system of its later name."""
        self._directory = directory or os.curdir
        self._mode = mode
        self._temporary: str | None = None
        flags = os.O_WRONLY | os.O_CLOEXEC
        try:
            if not os.path.exists("/proc/self/fd"):
                raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))  # it could be given no name
            self.fd = os.open(self._directory, flags | os.O_TMPFILE, mode)
        except OSError as error:
            if error.errno not in _NO_UNNAMED:
                raise
            self._temporary = self._spare_name()
            self.fd = os.open(self._temporary, flags | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)

    def _spare_name(self) -> str:
        # A name near the limit of 255 bytes must still leave room for ours.
        return os.path.join(self._directory, f".writeaudit-{os.urandom(8).hex()}.part")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self.fd)
        if self._temporary is not None:
            with contextlib.suppress(OSError):
                os.unlink(self._temporary)

    def close(self) -> None:
        """Let go of it; without a name nothing is left of it."""
        self.__exit__(None, None, None)

    def write(self, data: bytes | bytearray) -> None:
        """Append all of some data."""
        with memoryview(data) as view:
            done = 0
            while done < len(view):
                done += os.write(self.fd, view[done:])

    def give_name(self, path: str) -> None:
        """Let it appear under a name that is not taken yet."""
        if self._temporary is None:
            self._link_file(path)
            return
        try:
            os.link(self._temporary, path, follow_symlinks=False)
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            if os.path.lexists(path):
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST)) from error
            os.rename(self._temporary, path)
            self._temporary = None

    def replace(self, path: str) -> None:
        """Let it appear under a name, in place of what had it; of a symlink, not of what that leads to."""
        if self._temporary is None:
            spare = self._spare_name()
            self._link_file(spare)
            self._temporary = spare
        os.replace(self._temporary, path)
        self._temporary = None

    def _link_file(self, path: str) -> None:
        # With a descriptor (of no use otherwise, the path is absolute) Python calls linkat(2), which follows.
        os.link(f"/proc/self/fd/{self.fd}", path, src_dir_fd=self.fd, follow_symlinks=True)
