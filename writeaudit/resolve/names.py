"""Names of one mount namespace: what a spelling stands for (path_resolution(7))."""

from __future__ import annotations

import errno
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from writeaudit.bounded import Bounded
from writeaudit.events import Certainty
from writeaudit.resolve.ahead import Ahead, Fate, Step
from writeaudit.resolve.basis import Bases, Basis
from writeaudit.resolve.nodes import Kind, Node
from writeaudit.resolve.tree import Tree

_MAX_LINKS = 40
"""The kernel's own limit (path_resolution(7))."""
_MAX_MOVES = 16
_MAX_CACHED = 32
"""How many directories above one are made known with it: a long path need not be kept once for each."""
_CACHE_BYTES = 16 << 20
_PATH_MAX = 4096
_PASSING = re.compile(rb"/proc/((thread-)?self|\d+/(task/\d+/)?(cwd|root|exe|fd/\d+))").fullmatch
"""Links of /proc that lead elsewhere for each process or change without an event (proc(5))."""
_NO_NAMES = (b"", b".", b"..")
_NO_ANSWER = (Kind.ABSENT, Kind.UNKNOWN)

ReadLink = Callable[[bytes], bytes]
Key = Callable[[bytes], bytes]


class _Gone:
    """A name that can be asked about no more, or whose answer holds for the event at hand alone."""

    __slots__ = ("kind", "target")

    def __init__(self, kind: Kind, target: bytes = b"") -> None:
        self.kind = kind
        self.target = target


class _Way(NamedTuple):
    """Where the name of a directory leads."""

    path: bytes
    certainty: Certainty
    looked_ns: int | None
    """When the last of its names was read from the disk; None if it holds for the event at hand alone."""
    links: int
    """How many symlinks are on it."""
    bases: Bases


def read_link(path: bytes) -> bytes:
    """Do what `os.readlink` does, with absolute paths beyond PATH_MAX as well. Raises OSError."""
    try:
        return os.readlink(path)
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG or len(path) < _PATH_MAX:
            raise
    head, _slash, last = path.rpartition(b"/")
    how = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
    directory = os.open(b"/", how)
    try:
        for piece in _pieces(head):
            below = os.open(piece, how, dir_fd=directory)
            os.close(directory)
            directory = below
        return os.readlink(last, dir_fd=directory)
    finally:
        os.close(directory)


def _pieces(path: bytes) -> Iterator[bytes]:
    """Yield a path in relative pieces that the kernel takes."""
    piece = b""
    for name in path.split(b"/"):
        if len(piece) + len(name) >= _PATH_MAX - 1:
            yield piece
            piece = b""
        if name:
            piece = piece + b"/" + name if piece else name
    if piece:
        yield piece


class Names:
    """The names of one mount namespace, as far as ``tree`` and the disk know them."""

    def __init__(
        self,
        read_link: ReadLink = read_link,
        tree: Tree | None = None,
        key: Key = lambda path: path,
        ahead: Ahead | None = None,
    ) -> None:
        """``read_link`` is `os.readlink` of that namespace; ``key`` gives the tree's key of a path."""
        self._read_link = read_link
        self.tree = tree or Tree()
        self.key = key
        self._ahead = ahead
        self._cache: Bounded[tuple[bytes, bytes], _Way] = Bounded(_CACHE_BYTES)
        self._version = 0

    def resolve(
        self,
        start: bytes,
        name: bytes,
        *,
        follow: bool,
        root: bytes | None = b"/",
        there: bool = False,
        makes: bool = False,
    ) -> tuple[bytes, Certainty]:
        """Return the absolute path of ``name``, without symlinks, and how certain it is.

        ``start`` is the directory that a relative name begins at, free of symlinks; ``root``
        the process's root directory, which ``..`` and absolute symlinks cannot leave; None if it is
        not known, and ``start`` lies in it. ``there``: the name did stand for something, for a call
        by it succeeded; unless that ``makes`` it.
        """
        if name[:1] == b"/":
            start = root or b"/"
        head, slash, last = name.rpartition(b"/")
        if not last:
            head, slash, last = name.rstrip(b"/").rpartition(b"/")
        directory = start
        if slash:
            directory, certainty = self._directory(start, head, root)
            if certainty is Certainty.LEXICAL:
                return _join(directory, last), certainty
        if last in _NO_NAMES:
            if last != b"..":
                return directory, Certainty.RESOLVED
            if root is None and len(directory) <= len(start):
                return directory, Certainty.LEXICAL
            return (directory if directory == root else _parent(directory)), Certainty.RESOLVED
        if not follow and name[-1:] != b"/":
            return _join(directory, last), Certainty.RESOLVED
        path, certainty, _, _ = self._walk(
            directory, last, root, (self.tree.basis,), missing=not there, makes=makes
        )
        return path, certainty

    def _directory(self, start: bytes, head: bytes, root: bytes | None) -> tuple[bytes, Certainty]:
        """Return where the directories of a name lead."""
        tree = self.tree
        if self._version != tree.version:
            self._version = tree.version
            self._cache.clear()
        if root == b"/":
            way = self._cache.get((start, head)) or self._way(start, head, _MAX_CACHED)
        else:
            bases = Bases()
            way = _Way(*self._walk(start, head, root, bases), bases)
        looked_ns = way.looked_ns
        if looked_ns is None or tree.recent(looked_ns):
            way.bases.events.append(tree.basis)
            tree.basis.rests_ns = max(tree.basis.rests_ns, looked_ns or 0)
        elif (way.bases.events or way.bases.below) and tree.settled(looked_ns):
            way.bases.clear()
        return way.path, way.certainty

    def _way(self, start: bytes, head: bytes, depth: int) -> _Way:
        """Return where directories lead, by way of the one above: it is known, or will be needed again."""
        cut = head.rfind(b"/")
        bases = Bases()
        if cut <= 0 or not depth:
            way = _Way(*self._walk(start, head, b"/", bases), bases)
        else:
            above = self._cache.get((start, head[:cut])) or self._way(start, head[:cut], depth - 1)
            last = head[cut + 1 :]
            if above.certainty is Certainty.LEXICAL:
                return above._replace(path=_joined(above.path, (last,)))
            if above.looked_ns is None or self.tree.recent(above.looked_ns):
                above.bases.below.append(bases)
            elif above.bases.below and self.tree.settled(above.looked_ns):
                above.bases.clear()
            found = self._walk(above.path, last, b"/", bases, latest=above.looked_ns, links=above.links)
            way = _Way(*found, bases)
        if way.looked_ns is not None and way.certainty is Certainty.RESOLVED:
            self._cache.keep((start, head), way, len(start) + len(head) + len(way.path))
        return way

    def _walk(
        self,
        start: bytes,
        names: bytes,
        root: bytes | None,
        bases: Iterable[Basis],
        *,
        latest: int | None = 0,
        links: int = 0,
        missing: bool = False,
        makes: bool = False,
    ) -> tuple[bytes, Certainty, int | None, int]:
        """Follow ``names`` from ``start``; returns all of a `_Way` but its ``bases``, which rest on it.

        ``latest`` and ``links`` are those of the way to ``start``. ``missing``: the last name need not be
        there; ``makes``: it need not have been there.
        """
        todo = [part for part in reversed(names.split(b"/")) if part not in (b"", b".")]
        here = start
        while todo:
            part = todo.pop()
            if part == b"..":
                if root is None and len(here) <= len(start):
                    # It may be the root itself, which it did not leave then.
                    below = [name for name in reversed(todo) if name != b".."]
                    return _joined(here, below), Certainty.LEXICAL, None, links
                here = here if here == root else _parent(here)
                continue
            path = _join(here, part)
            node = self._look(path)
            if isinstance(node, _Gone):
                latest = None
            elif node.looked_ns:
                self.tree.use(node, bases)
                latest = None if latest is None else max(latest, node.looked_ns)
            if node.kind is Kind.SYMLINK:
                links += 1
                if links > _MAX_LINKS:
                    return path, Certainty.LEXICAL, None, links
                if node.target[:1] == b"/":
                    if root is None:
                        return _joined(path, reversed(todo)), Certainty.LEXICAL, None, links
                    here = root
                todo.extend(p for p in reversed(node.target.split(b"/")) if p not in (b"", b"."))
                continue
            here = path
            if node.kind in (Kind.ABSENT, Kind.UNKNOWN):
                proven = makes and isinstance(node, Node)
                if (missing or proven) and not todo and node.kind is Kind.ABSENT:
                    return here, Certainty.RESOLVED, None, links
                return _joined(here, reversed(todo)), Certainty.LEXICAL, None, links
        return here, Certainty.RESOLVED, latest, links

    def _look(self, path: bytes) -> Node | _Gone:
        """Return what a name is; what no event has said is read from the disk, once."""
        tree = self.tree
        node = tree.node(self.key(path))
        if tree.known(node) is Kind.UNKNOWN:
            kind, target = self._read(path)
            if kind in _NO_ANSWER:
                step = None if self._ahead is None else self._ahead.next(path, tree.seq)
                if step is not None:
                    return self._look_where_it_went(path, node, step)
                # It may have been there when the event happened.
                tree.claim(node, time.monotonic_ns())
                return _Gone(kind)
            tree.looked(node, kind, target, time.monotonic_ns())
        return node

    def _read(self, path: bytes) -> tuple[Kind, bytes]:
        if path[:6] == b"/proc/" and _PASSING(path):
            return Kind.UNKNOWN, b""
        try:
            return Kind.SYMLINK, self._read_link(path)
        except OSError as error:
            if error.errno == errno.EINVAL:
                return Kind.OTHER, b""
            # Any other error (ELOOP, EACCES) says nothing of the name itself.
            gone = error.errno in (errno.ENOENT, errno.ENOTDIR)
            return Kind.ABSENT if gone else Kind.UNKNOWN, b""

    def _look_where_it_went(self, path: bytes, node: Node, step: Step) -> _Gone:
        """Return what a name was, where an event still to come in the batch says what became of it."""
        tree, ahead = self.tree, self._ahead
        assert ahead is not None
        passed = [(node, 0, step)]
        last: Step | None = step
        since = 0
        ahead.expect(tree.basis, path, step.seq)
        for _ in range(_MAX_MOVES):
            if last is None or last.fate is not Fate.MOVED:
                break
            path, since = last.to, last.seq
            ahead.expect(tree.basis, path, since)
            node = tree.node(self.key(path))
            last = ahead.next(path, since)
            if last is not None:
                ahead.expect(tree.basis, path, last.seq)
                passed.append((node, since, last))
        kind, target = Kind.UNKNOWN, b""
        if last is None:
            kind, target = self._read(path)
            if kind in _NO_ANSWER:
                return _Gone(Kind.UNKNOWN)
            tree.claim(node, time.monotonic_ns(), symlink=kind is Kind.SYMLINK, after=since)
        elif last.fate is Fate.DIRECTORY:
            kind = Kind.DIRECTORY
        elif last.fate is Fate.ABSENT and len(passed) == 1:
            kind = Kind.ABSENT
        for name, after, change in passed:
            tree.claim(name, change.time_ns, symlink=kind is Kind.SYMLINK, after=after, before=change.seq)
        return _Gone(kind, target)


def _join(directory: bytes, name: bytes) -> bytes:
    return directory + name if directory.endswith(b"/") else directory + b"/" + name


def _joined(path: bytes, names: Iterable[bytes]) -> bytes:
    """Return a path with names added by their text alone."""
    for name in names:
        path = _parent(path) if name == b".." else path if name in (b"", b".") else _join(path, name)
    return path


def _parent(path: bytes) -> bytes:
    return path[: path.rfind(b"/")] or b"/"
