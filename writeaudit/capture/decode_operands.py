"""The operands of a record: from bytes of the ring buffer to `Operand`. Pure."""

from __future__ import annotations

import stat

from writeaudit.capture.wire import OPERAND, F, kernel_dev, reversed_path
from writeaudit.events import Operand

_BASE, _FILE, _ROOT = int(F.BASE), int(F.FILE), int(F.ROOT)
_BAD = int(F.TRUNCATED | F.FAULT | F.UNREACHABLE | F.NOFD)
_DELETED, _DETACHED, _INTERNAL = int(F.DELETED), int(F.DETACHED), int(F.INTERNAL)
_ELSEWHERE = int(F.ELSEWHERE)
_SIZE = OPERAND.size

_new = tuple.__new__
"""Makes a named tuple of all of its fields, in less than half the time that its own constructor takes."""


class Operands:
    """Reads operands, and keeps the directories that it met: most paths share theirs.

    Files it does not keep: they are many, and each comes a few times only.
    """

    def __init__(self) -> None:
        # Both by the components as they are on the wire.
        self._directories: dict[bytes, bytes] = {b"": b"/"}
        self._prefixes: dict[bytes, bytes] = {b"": b"/"}

    def _directory(self, components: bytes) -> bytes:
        path = self._directories[components] = reversed_path(components)
        return path

    def _prefix(self, components: bytes) -> bytes:
        prefix = self._prefixes[components] = reversed_path(components) + b"/"
        return prefix

    def read(self, payload: bytes, pos: int) -> tuple[Operand, bytes, int, int]:
        """Return an operand, the bytes of its name, the open file's mode, and where the next one begins."""
        ino, dev, mount, f_mode, i_mode, flags, base_len, in_mount, name_len, skip = OPERAND.unpack_from(
            payload, pos
        )
        pos += _SIZE
        name_end = pos + name_len
        end = name_end + base_len
        name = payload[pos:name_end]
        base: bytes | None
        if not flags & _BASE:
            base = b"/" if flags & _ROOT else None
        elif flags & _INTERNAL:
            base, mount = _nameless(payload[name_end:end].rstrip(b"\0"), i_mode, ino), 0
            flags |= base[:1] == b"/" and _DELETED
        elif flags & _FILE and base_len:
            last, _, components = payload[name_end:end].partition(b"\0")
            base = (self._prefixes.get(components) or self._prefix(components)) + last
        else:
            components = payload[name_end:end]
            base = self._directories.get(components) or self._directory(components)
        root = None if flags & _ELSEWHERE else b"/"
        deleted, bad, detached = flags & _DELETED != 0, flags & _BAD != 0, flags & _DETACHED != 0
        if flags & _FILE:
            dev, fmt = kernel_dev(dev), i_mode & 0o170000
            file = (
                base, None, mount or None, None, dev, ino, fmt, deleted, bad, in_mount, detached, False, root,
            )  # fmt: skip
            return _new(Operand, file), name, f_mode, end
        # What follows a magic link is relative to where the link leads.
        below = name[skip:].lstrip(b"/") if skip else name
        named = (
            base, below, mount or None, None, None, None, None, deleted, bad, in_mount, detached, False, root,
        )  # fmt: skip
        return _new(Operand, named), name, f_mode, end


def _nameless(name: bytes, i_mode: int, ino: int) -> bytes:
    """Return what /proc/PID/fd shows for a file of the kernel's own; ``name`` is what it has of one."""
    if stat.S_ISFIFO(i_mode):
        return b"pipe:[%d]" % ino
    if stat.S_ISSOCK(i_mode):
        return b"socket:[%d]" % ino
    if name.startswith(b"memfd:"):
        return b"/" + name
    return b"anon_inode:" + (name if name[:1] == b"[" else b"[%d]" % ino)
