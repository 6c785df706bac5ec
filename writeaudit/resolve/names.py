"""What is known of names while events are resolved: directories, symlinks, absent ones.

Events are looked at some milliseconds after they happened. What the disk says by then may
be younger than the event; so what earlier events said of a name counts before the disk,
and what the disk says of a name that is gone is no proof of what it was.
"""

from __future__ import annotations

import enum
import errno
import os
import time
from collections.abc import Callable, Mapping

from writeaudit.events import Certainty

_OPENED_LIMIT = 100_000
_MAX_LINKS = 40
"""The kernel's own limit (path_resolution(7))."""


class Kind(enum.Enum):
    """What a name stands for."""

    UNKNOWN = enum.auto()
    ABSENT = enum.auto()
    DIRECTORY = enum.auto()
    SYMLINK = enum.auto()
    OTHER = enum.auto()


class Node:
    """One name in the tree of what is known."""

    __slots__ = ("children", "kind", "looked_ns", "target")

    def __init__(self, kind: Kind = Kind.UNKNOWN, target: bytes = b"") -> None:
        self.kind = kind
        self.target = target
        self.looked_ns = 0
        """When the disk was asked (CLOCK_MONOTONIC); 0 if an event said it."""
        self.children: dict[bytes, Node] = {}


ReadLink = Callable[[bytes], bytes]


class Names:
    """The names of one mount namespace. ``read_link`` is `os.readlink` of that namespace."""

    def __init__(self, read_link: ReadLink = os.readlink) -> None:
        self._read_link = read_link
        self._root = Node(Kind.DIRECTORY)
        self._cache: dict[tuple[bytes, bytes], bytes] = {}
        self._was_directory: frozenset[bytes] = frozenset()
        self._moved: Mapping[bytes, bytes] = {}
        self._opened: set[bytes] = set()

    def forget_disk(self) -> None:
        """Mounts changed: what was read from the disk may lie under another mount now."""
        self._root = Node(Kind.DIRECTORY)
        self._cache.clear()
        self._opened.clear()

    def look_ahead(self, directories: frozenset[bytes], moved: Mapping[bytes, bytes]) -> None:
        """Take what events still to come prove: names removed as directories, names that moved."""
        self._was_directory = directories
        self._moved = moved

    def moved_to(self, path: bytes) -> bytes:
        """Return where an event soon to come moves a name, or the name itself."""
        return self._moved.get(path, path)

    def proven(self, path: bytes) -> Kind:
        """Return what events said of a path; what was read from the disk does not count."""
        node = self._find(path)
        return node.kind if node is not None and not node.looked_ns else Kind.UNKNOWN

    def looked_after(self, path: bytes, time_ns: int) -> bool:
        """Whether the disk was asked about a name after an event that now turns out to concern it."""
        node = self._find(path)
        return node is not None and node.looked_ns > time_ns

    def forget(self, path: bytes) -> None:
        """Somebody changed a name by another path that leads to it."""
        node = self._find(path)
        if node is not None:
            self._cache.clear()
            self._opened.clear()
            node.kind, node.target, node.looked_ns, node.children = Kind.UNKNOWN, b"", 0, {}

    def _find(self, path: bytes) -> Node | None:
        node: Node | None = self._root
        for name in path.split(b"/"):
            if name:
                node = node.children.get(name) if node is not None else None
        return node

    def kind(self, path: bytes) -> Kind:
        """Return what events or earlier looks at the disk said of a path; never looks itself."""
        node = self._find(path)
        return node.kind if node is not None else Kind.UNKNOWN

    def resolve(
        self, start: bytes, name: bytes, *, follow: bool, root: bytes = b"/"
    ) -> tuple[bytes, Certainty]:
        """Return the absolute path of ``name``, without symlinks, and how certain it is.

        ``start`` is the directory that a relative name begins at, free of symlinks; ``root``
        the process's root directory, which ``..`` and absolute symlinks cannot leave.
        """
        if name[:1] == b"/":
            start = root
        head, slash, last = name.rstrip(b"/").rpartition(b"/")
        directory = start
        if slash:
            key = (start, head)
            cached = self._cache.get(key) if root == b"/" else None
            if cached is None:
                directory, certainty = self._walk(start, head, root)
                if certainty is Certainty.LEXICAL:
                    return _join(directory, last), certainty
                if root == b"/":
                    self._cache[key] = directory
            else:
                directory = cached
        if not last or last == b".":
            return directory, Certainty.RESOLVED
        if last == b"..":
            return (directory if directory == root else _parent(directory)), Certainty.RESOLVED
        if not follow and not name.endswith(b"/"):
            return _join(directory, last), Certainty.RESOLVED
        return self._walk(directory, last, root, final=True)

    def _walk(
        self, start: bytes, names: bytes, root: bytes, *, final: bool = False
    ) -> tuple[bytes, Certainty]:
        todo = [part for part in reversed(names.split(b"/")) if part not in (b"", b".")]
        here = start
        links = 0
        while todo:
            part = todo.pop()
            if part == b"..":
                here = here if here == root else _parent(here)
                continue
            path = _join(here, part)
            node = self._look(path)
            if node.kind is Kind.SYMLINK:
                links += 1
                if links > _MAX_LINKS:
                    return path, Certainty.LEXICAL
                if node.target[:1] == b"/":
                    here = root
                todo.extend(p for p in reversed(node.target.split(b"/")) if p not in (b"", b"."))
                continue
            here = path
            absent = node.kind is Kind.ABSENT and path not in self._was_directory
            if absent and final and not todo:
                break  # gone by now, or never there: the resolver knows whether the call succeeded
            if absent:
                for rest in reversed(todo):
                    here = _parent(here) if rest == b".." else _join(here, rest)
                return here, Certainty.LEXICAL
        return here, Certainty.RESOLVED

    def _look(self, path: bytes) -> Node:
        """Return the node of a path; what no event has said is read from the disk, once."""
        node = self._node(path)
        if node.kind is Kind.UNKNOWN:
            try:
                node.target = self._read_link(path)
                node.kind = Kind.SYMLINK
            except OSError as error:
                if error.errno in (errno.ENOENT, errno.ENOTDIR):
                    return self._look_where_it_went(path)
                node.kind = Kind.OTHER
            node.looked_ns = time.monotonic_ns()
        return node

    def _look_where_it_went(self, path: bytes) -> Node:
        """Return what a name that is gone was, if an event soon to come says where it went."""
        moved = self._moved.get(path)
        if moved is not None:
            try:
                return Node(Kind.SYMLINK, self._read_link(moved))
            except OSError as error:
                if error.errno == errno.EINVAL:
                    return Node(Kind.OTHER)
        return Node(Kind.ABSENT)  # not kept: it may have been there when the event happened

    def _node(self, path: bytes) -> Node:
        node = self._root
        for name in path.split(b"/"):
            if name:
                found = node.children.get(name)
                if found is None:
                    found = node.children[name] = Node()
                node = found
        return node

    # What events say.

    def made(self, path: bytes, kind: Kind, target: bytes = b"") -> None:
        """A name came to be (or was seen to be) something."""
        node = self._node(path)
        if node.kind is Kind.SYMLINK or kind is Kind.SYMLINK:
            self._cache.clear()
            self._opened.discard(path)
        node.kind = kind
        node.target = target
        node.looked_ns = 0

    def opened(self, path: bytes, *, directory: bool) -> None:
        """A file was opened under a name; as `made`, and quick where that is known already."""
        if path in self._opened:
            return
        self.made(path, Kind.DIRECTORY if directory else Kind.OTHER)
        if len(self._opened) < _OPENED_LIMIT:
            self._opened.add(path)

    def linked(self, source: bytes, path: bytes) -> None:
        """A name became another name of a file: a symlink, if that was one."""
        known = self._look(source)
        self.made(path, known.kind if known.kind is Kind.SYMLINK else Kind.OTHER, known.target)

    def removed(self, path: bytes) -> None:
        """A name is gone."""
        node = self._node(path)
        if node.kind is not Kind.OTHER:
            self._cache.clear()
        self._opened.discard(path)
        node.kind = Kind.ABSENT
        node.target = b""
        node.looked_ns = 0
        node.children = {}

    def renamed(self, old: bytes, new: bytes) -> None:
        """A name moved, with all that is known below it."""
        if old == new:
            return
        node = self._node(old)
        if node.kind is not Kind.OTHER or node.children or node.looked_ns:
            self._cache.clear()
            self._opened.clear()
        self._opened.discard(old)
        self._opened.discard(new)
        moved = Node(node.kind, node.target)
        moved.children = node.children
        node.kind, node.target, node.looked_ns, node.children = Kind.ABSENT, b"", 0, {}
        target = self._node(new)
        target.kind, target.target, target.children = moved.kind, moved.target, moved.children
        # What was never looked at under its old name is to be looked at under its new one.
        target.looked_ns = 0

    def exchanged(self, one: bytes, other: bytes) -> None:
        """Two names changed places."""
        self._cache.clear()
        self._opened.clear()
        a, b = self._node(one), self._node(other)
        a.kind, b.kind = b.kind, a.kind
        a.target, b.target = b.target, a.target
        a.children, b.children = b.children, a.children


def _join(directory: bytes, name: bytes) -> bytes:
    return directory + name if directory.endswith(b"/") else directory + b"/" + name


def _parent(path: bytes) -> bytes:
    return path[: path.rfind(b"/")] or b"/"
