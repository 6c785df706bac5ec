"""Names of one mount namespace: what a spelling stands for (path_resolution(7))."""

from __future__ import annotations

import errno
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from writeaudit.bounded_cache import BoundedCache
from writeaudit.events import Certainty
from writeaudit.paths import parent_directory
from writeaudit.resolve.names.cache import NameCache
from writeaudit.resolve.names.evidence import Evidence, EvidenceGroup
from writeaudit.resolve.names.nodes import NameKind, Node
from writeaudit.resolve.names.pending import NameFate, NextChange, PendingEvents

_MAX_LINKS = 40
"""The kernel's own limit (path_resolution(7))."""
_MAX_MOVES = 16
_MAX_CACHED = 32
"""How many directories above one are made known with it: a long path need not be kept once for each."""
_CACHE_BYTES = 16 << 20
_PATH_MAX = 4096
_BEFORE_ALL_NS = 1
""""0" says that no disk was asked."""
_PASSING = re.compile(rb"/proc/((thread-)?self|\d+/(task/\d+/)?(cwd|root|exe|fd/\d+))").fullmatch
"""Links of /proc that lead elsewhere for each process or change without an event (proc(5))."""
_NO_NAMES = (b"", b".", b"..")
_NO_ANSWER = (NameKind.ABSENT, NameKind.UNKNOWN)

ReadLink = Callable[[bytes], bytes]
KeyFunction = Callable[[bytes], bytes]


class _Gone:
    """A name that can be asked about no more, or whose answer holds for the event at hand alone."""

    __slots__ = ("kind", "target")

    def __init__(self, kind: NameKind, target: bytes = b"") -> None:
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
    group: EvidenceGroup


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
        for piece in _split_path(head):
            below = os.open(piece, how, dir_fd=directory)
            os.close(directory)
            directory = below
        return os.readlink(last, dir_fd=directory)
    finally:
        os.close(directory)


def _split_path(path: bytes) -> Iterator[bytes]:
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


class NameResolver:
    """The names of one mount namespace, as far as ``tree`` and the disk know them."""

    def __init__(
        self,
        read_link: ReadLink = read_link,
        cache: NameCache | None = None,
        key: KeyFunction = lambda path: path,
        pending: PendingEvents | None = None,
    ) -> None:
        """``read_link`` is `os.readlink` of that namespace; ``key`` gives the tree's key of a path."""
        self._read_link = read_link
        self.cache = cache or NameCache()
        self.key = key
        self._pending = pending
        self._cache: BoundedCache[tuple[bytes, bytes], _Way] = BoundedCache(_CACHE_BYTES)
        self._version = 0

    def resolve_name(
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
            directory, certainty = self._resolve_directory(start, head, root)
            if certainty is Certainty.LEXICAL:
                return _join_name(directory, last), certainty
        if last in _NO_NAMES:
            if last != b"..":
                return directory, Certainty.RESOLVED
            if root is None and len(directory) <= len(start):
                return directory, Certainty.LEXICAL
            return (directory if directory == root else parent_directory(directory)), Certainty.RESOLVED
        if not follow and name[-1:] != b"/":
            return _join_name(directory, last), Certainty.RESOLVED
        path, certainty, _, _ = self._walk_names(
            directory, last, root, (self.cache.evidence,), missing=not there, makes=makes
        )
        return path, certainty

    def look_down(self, directory: bytes) -> None:
        """Ask the disk about the names that lead to a directory, as far as they are there.

        To be called before the first event: what is known from then is younger than none.
        """
        here = b""
        for name in directory.split(b"/"):
            if not name:
                continue
            here += b"/" + name
            node = self.cache.get_node(self.key(here))
            if self.cache.known_kind(node) is not NameKind.UNKNOWN:
                continue
            kind, target = self._read_disk(here)
            if kind in _NO_ANSWER:
                return
            self.cache.note_looked(node, kind, target, _BEFORE_ALL_NS)
            if kind is NameKind.SYMLINK:
                return

    def known_way(self, start: bytes, head: bytes) -> tuple[bytes, int] | None:
        """Return where the directories of a name lead, and when the last of them was read from the disk.

        None unless that is known, and certain.
        """
        way = self._cache.get((start, head)) if self._version == self.cache.version else None
        if way is None or way.looked_ns is None or way.certainty is not Certainty.RESOLVED:
            return None
        return way.path, way.looked_ns

    def _resolve_directory(self, start: bytes, head: bytes, root: bytes | None) -> tuple[bytes, Certainty]:
        """Return where the directories of a name lead."""
        cache = self.cache
        if self._version != cache.version:
            self._version = cache.version
            self._cache.clear()
        if root == b"/":
            way = self._cache.get((start, head)) or self._find_way(start, head, _MAX_CACHED)
        else:
            group = EvidenceGroup()
            way = _Way(*self._walk_names(start, head, root, group), group)
        looked_ns = way.looked_ns
        if looked_ns is None or cache.is_recent(looked_ns):
            way.group.events.append(cache.evidence)
            cache.evidence.rests_ns = max(cache.evidence.rests_ns, looked_ns or 0)
        elif (way.group.events or way.group.below) and cache.is_settled(looked_ns):
            way.group.clear_events()
        return way.path, way.certainty

    def _find_way(self, start: bytes, head: bytes, depth: int) -> _Way:
        """Return where directories lead, by way of the one above: it is known, or will be needed again."""
        cut = head.rfind(b"/")
        group = EvidenceGroup()
        if cut <= 0 or not depth:
            way = _Way(*self._walk_names(start, head, b"/", group), group)
        else:
            above = self._cache.get((start, head[:cut])) or self._find_way(start, head[:cut], depth - 1)
            last = head[cut + 1 :]
            if above.certainty is Certainty.LEXICAL:
                return above._replace(path=_join_names(above.path, (last,)))
            if above.looked_ns is None or self.cache.is_recent(above.looked_ns):
                above.group.below.append(group)
            elif above.group.below and self.cache.is_settled(above.looked_ns):
                above.group.clear_events()
            found = self._walk_names(above.path, last, b"/", group, latest=above.looked_ns, links=above.links)
            way = _Way(*found, group)
        if way.looked_ns is not None and way.certainty is Certainty.RESOLVED:
            self._cache.keep_entry((start, head), way, len(start) + len(head) + len(way.path))
        return way

    def _walk_names(
        self,
        start: bytes,
        names: bytes,
        root: bytes | None,
        group: Iterable[Evidence],
        *,
        latest: int | None = 0,
        links: int = 0,
        missing: bool = False,
        makes: bool = False,
    ) -> tuple[bytes, Certainty, int | None, int]:
        """Follow ``names`` from ``start``; returns all of a `_Way` but its ``group``, which rest on it.

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
                    return _join_names(here, below), Certainty.LEXICAL, None, links
                here = here if here == root else parent_directory(here)
                continue
            path = _join_name(here, part)
            node = self._look_up(path)
            if isinstance(node, _Gone):
                latest = None
            elif node.looked_ns:
                self.cache.use_node(node, group)
                latest = None if latest is None else max(latest, node.looked_ns)
            if node.kind is NameKind.SYMLINK:
                links += 1
                if links > _MAX_LINKS:
                    return path, Certainty.LEXICAL, None, links
                if node.target[:1] == b"/":
                    if root is None:
                        return _join_names(path, reversed(todo)), Certainty.LEXICAL, None, links
                    here = root
                todo.extend(p for p in reversed(node.target.split(b"/")) if p not in (b"", b"."))
                continue
            here = path
            if node.kind in (NameKind.ABSENT, NameKind.UNKNOWN):
                proven = makes and isinstance(node, Node)
                if (missing or proven) and not todo and node.kind is NameKind.ABSENT:
                    return here, Certainty.RESOLVED, None, links
                return _join_names(here, reversed(todo)), Certainty.LEXICAL, None, links
        return here, Certainty.RESOLVED, latest, links

    def _look_up(self, path: bytes) -> Node | _Gone:
        """Return what a name is; what no event has said is read from the disk, once."""
        cache = self.cache
        node = cache.get_node(self.key(path))
        if cache.known_kind(node) is NameKind.UNKNOWN:
            kind, target = self._read_disk(path)
            if kind in _NO_ANSWER:
                step = None if self._pending is None else self._pending.find_next_change(path, cache.seq)
                if step is not None:
                    return self._look_where_it_went(path, node, step)
                # It may have been there when the event happened.
                cache.assume_unchanged(node, time.monotonic_ns())
                return _Gone(kind)
            cache.note_looked(node, kind, target, time.monotonic_ns())
        return node

    def _read_disk(self, path: bytes) -> tuple[NameKind, bytes]:
        if path[:6] == b"/proc/" and _PASSING(path):
            return NameKind.UNKNOWN, b""
        try:
            return NameKind.SYMLINK, self._read_link(path)
        except OSError as error:
            if error.errno == errno.EINVAL:
                return NameKind.OTHER, b""
            # Any other error (ELOOP, EACCES) says nothing of the name itself.
            gone = error.errno in (errno.ENOENT, errno.ENOTDIR)
            return NameKind.ABSENT if gone else NameKind.UNKNOWN, b""

    def _look_where_it_went(self, path: bytes, node: Node, step: NextChange) -> _Gone:
        """Return what a name was, where an event still to come in the batch says what became of it."""
        cache, pending = self.cache, self._pending
        assert pending is not None
        passed = [(node, 0, step)]
        last: NextChange | None = step
        since = 0
        pending.expect_path(cache.evidence, path, step.seq)
        for _ in range(_MAX_MOVES):
            if last is None or last.fate is not NameFate.MOVED:
                break
            path, since = last.to, last.seq
            pending.expect_path(cache.evidence, path, since)
            node = cache.get_node(self.key(path))
            last = pending.find_next_change(path, since)
            if last is not None:
                pending.expect_path(cache.evidence, path, last.seq)
                passed.append((node, since, last))
        kind, target = NameKind.UNKNOWN, b""
        if last is None:
            kind, target = self._read_disk(path)
            if kind in _NO_ANSWER:
                return _Gone(NameKind.UNKNOWN)
            cache.assume_unchanged(node, time.monotonic_ns(), symlink=kind is NameKind.SYMLINK, after=since)
        elif last.fate is NameFate.DIRECTORY:
            kind = NameKind.DIRECTORY
        elif last.fate is NameFate.ABSENT and len(passed) == 1:
            kind = NameKind.ABSENT
        for name, after, change in passed:
            cache.assume_unchanged(
                name, change.time_ns, symlink=kind is NameKind.SYMLINK, after=after, before=change.seq
            )
        return _Gone(kind, target)


def _join_name(directory: bytes, name: bytes) -> bytes:
    return directory + name if directory.endswith(b"/") else directory + b"/" + name


def _join_names(path: bytes, names: Iterable[bytes]) -> bytes:
    """Return a path with names added by their text alone."""
    for name in names:
        path = (
            parent_directory(path)
            if name == b".."
            else path
            if name in (b"", b".")
            else _join_name(path, name)
        )
    return path
