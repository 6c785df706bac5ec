"""What a path leads to: attributes, and what was found in its bytes while they went by."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass

from writeaudit.audit import Binary
from writeaudit.elf import MAGIC, read_elf
from writeaudit.image.entries import Entry, EntryType
from writeaudit.image.limits import Limits
from writeaudit.image.secrets import Secret, find_secrets
from writeaudit.text import escape_path, size

_HEADER = 64
_KEPT = frozenset({b"/etc/passwd"})
"""Files whose content is asked for later."""
_MOST_KEPT = 1 << 20


class Unreadable(Exception):
    """A file whose bytes cannot be had; the message says why."""


@dataclass(slots=True, eq=False)
class Node:
    """A file, directory or link, as one layer has it. Hard links share one."""

    path: bytes
    """Under which it is stored."""
    layer: int
    type: EntryType
    mode: int
    uid: int
    gid: int
    mtime: float
    size: int
    link: bytes
    capability: bytes
    device: tuple[int, int]
    digest: bytes = b""
    """sha256 of its bytes; empty of what has none."""
    secrets: tuple[Secret, ...] = ()
    binary: Binary | None = None

    @property
    def is_directory(self) -> bool:
        """Whether it is one."""
        return self.type is EntryType.DIRECTORY

    def changed_attributes(self, older: Node) -> str:
        """Return what differs from an older version, apart from its bytes: ``mode 644 to 755``."""
        parts = []
        if self.mode != older.mode:
            parts.append(f"mode {older.mode:04o} to {self.mode:04o}")
        if (self.uid, self.gid) != (older.uid, older.gid):
            parts.append(f"owner {older.uid}:{older.gid} to {self.uid}:{self.gid}")
        if self.capability != older.capability:
            parts.append("capabilities")
        return ", ".join(parts)


class Examiner:
    """Reads the bytes of files: hashes them, looks for secrets, parses programs."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._binaries: dict[bytes, Binary] = {}
        self.kept: dict[tuple[int, bytes], bytes] = {}
        """What some files hold, by layer and path."""
        self.unread: list[tuple[bytes, str]] = []
        """Files whose bytes could not be had, and why."""
        self.seconds_parsing = 0.0

    def node(self, entry: Entry, path: bytes, layer: int) -> Node:
        """Return what an entry is, its bytes read. Raises `errors.Damage`."""
        node = Node(
            path,
            layer,
            entry.type,
            entry.mode,
            entry.uid,
            entry.gid,
            entry.mtime,
            entry.size if entry.type is EntryType.FILE else 0,
            entry.link,
            entry.capability,
            entry.device,
        )
        if entry.type is EntryType.FILE:
            try:
                self._read(entry, node)
            except Unreadable as error:
                self.unread.append((path, str(error)))
        return node

    def _read(self, entry: Entry, node: Node) -> None:
        digest = hashlib.sha256(usedforsecurity=False)
        parts: list[bytes] = []
        held, most = 0, self._limits.examined
        for data in entry.content():
            digest.update(data)
            if not parts:
                most = self._limits.elf if data.startswith(MAGIC) else most
            if held < most:
                parts.append(data)
                held += len(data)
        node.digest = digest.digest()
        if not parts:
            return
        data = parts[0] if len(parts) == 1 else b"".join(parts)
        if data.startswith(MAGIC):
            node.binary = self._binary(node, data)
        node.secrets = tuple(find_secrets(node.path, data[: self._limits.examined]))
        if node.path in _KEPT:
            self.kept[node.layer, node.path] = data[:_MOST_KEPT]

    def _binary(self, node: Node, data: bytes) -> Binary:
        known = self._binaries.get(node.digest)
        if known is None:
            if node.size > len(data):
                known = Binary(node.path, "elf", damaged=f"it is larger than {size(self._limits.elf)}")
            else:
                known = read_elf(node.path, io.BytesIO(data))
            self._binaries[node.digest] = known
        return known._replace(path=node.path)


def describe(node: Node) -> str:
    """Return what a node is, for people: ``symlink to /x``."""
    if node.type is EntryType.SYMLINK:
        return f"symlink to {escape_path(node.link)}"
    return str(node.type)
