"""The operands of a record: from bytes of the ring buffer to `Operand`. Pure."""

from __future__ import annotations

import stat

from writeaudit.capture.kernel.wire import OPERAND, F, kernel_dev, reversed_path
from writeaudit.events import NO_DOUBT, Doubt, Operand

_BASE, _FILE, _ROOT = int(F.BASE), int(F.FILE), int(F.ROOT)
_UNREADABLE, _UNREACHABLE = int(F.TRUNCATED | F.FAULT | F.NOFD), int(F.UNREACHABLE)
_DOUBTFUL = _UNREADABLE | _UNREACHABLE
_DELETED, _DETACHED, _INTERNAL = int(F.DELETED), int(F.DETACHED), int(F.INTERNAL)
_ELSEWHERE, _KNOWN, _FAULT = int(F.ELSEWHERE), int(F.KNOWN), int(F.FAULT)
_SIZE = OPERAND.size
_CHAINS_MAX = 1 << 18
"""The kernel side takes 65,536 of them for known; more are no use, and a program could make up any number."""

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
        self._chains: dict[int, tuple[bytes, int]] = {}
        """By the numbers that the kernel side has for directories: their components, and how many bytes of
        these lie below the root of the mount."""

    def _keep_directory(self, components: bytes) -> bytes:
        path = self._directories[components] = reversed_path(components)
        return path

    def _keep_prefix(self, components: bytes) -> bytes:
        prefix = self._prefixes[components] = reversed_path(components) + b"/"
        return prefix

    def read_operand(self, payload: bytes, pos: int) -> tuple[Operand, bytes, int, int]:
        """Return an operand, the bytes of its name, the open file's mode, and where the next one begins."""
        (
            ino, chain, parent, dev, mount, f_mode, nlink, i_mode,
            flags, base_len, in_mount, name_len, skip, room,
        ) = OPERAND.unpack_from(payload, pos)  # fmt: skip
        pos += _SIZE
        name_end = pos + name_len
        end = name_end + base_len
        name = payload[pos:name_end]
        base: bytes | None
        if room:  # of a brief record: what follows has a place of its own in it
            end = pos + room
        if flags & _KNOWN:
            known = self._chains.get(chain)
            if known is None:  # its record was lost
                base, flags, name = None, flags | _FAULT, payload[pos + skip : pos + skip + name_len]
            elif flags & _FILE:
                components, below_mount = known
                last = payload[pos : pos + base_len]
                base = (self._prefixes.get(components) or self._keep_prefix(components)) + last
                in_mount = base_len + 1 + below_mount
                name = payload[pos + skip : pos + skip + name_len]
            else:
                components, in_mount = known
                base = self._directories.get(components) or self._keep_directory(components)
            skip = 0
        elif not flags & _BASE:
            base = b"/" if flags & _ROOT else None
        elif flags & _INTERNAL:
            base, mount = _name_nameless(payload[name_end:end].rstrip(b"\0"), i_mode, ino), 0
            flags |= base[:1] == b"/" and _DELETED
        elif flags & _FILE and base_len:
            last, _, components = payload[name_end:end].partition(b"\0")
            if chain and len(self._chains) < _CHAINS_MAX:
                self._chains[chain] = components, in_mount - len(last) - 1
            base = (self._prefixes.get(components) or self._keep_prefix(components)) + last
        else:
            components = payload[name_end:end]
            if chain and len(self._chains) < _CHAINS_MAX:
                self._chains[chain] = components, in_mount
            base = self._directories.get(components) or self._keep_directory(components)
        root = None if flags & _ELSEWHERE else b"/"
        deleted, detached = flags & _DELETED != 0, flags & _DETACHED != 0
        doubt = _decode_doubt(flags) if flags & _DOUBTFUL else NO_DOUBT
        dev = kernel_dev(dev)
        if flags & _FILE:
            fmt = i_mode & 0o170000
            file = (
                base, None, mount or None, None, dev, ino, fmt, deleted, doubt, in_mount, detached, root,
                nlink if ino else None, dev if parent else None, parent or None,
            )  # fmt: skip
            return _new(Operand, file), name, f_mode, end
        # What follows a magic link is relative to where the link leads.
        below = name[skip:].lstrip(b"/") if skip else name
        named = (
            base, below, mount or None, None, None, None, None, deleted, doubt, in_mount, detached, root,
            None, dev if parent else None, parent or None,
        )  # fmt: skip
        return _new(Operand, named), name, f_mode, end


def _decode_doubt(flags: int) -> Doubt:
    unreadable = Doubt.UNREADABLE if flags & _UNREADABLE else NO_DOUBT
    return unreadable | Doubt.UNREACHABLE if flags & _UNREACHABLE else unreadable


def _name_nameless(name: bytes, i_mode: int, ino: int) -> bytes:
    """Return what /proc/PID/fd shows for a file of the kernel's own; ``name`` is what it has of one."""
    if stat.S_ISFIFO(i_mode):
        return b"pipe:[%d]" % ino
    if stat.S_ISSOCK(i_mode):
        return b"socket:[%d]" % ino
    if name.startswith(b"memfd:"):
        return b"/" + name
    return b"anon_inode:" + (name if name[:1] == b"[" else b"[%d]" % ino)
