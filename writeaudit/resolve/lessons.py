"""What events teach about names, and which files the names stand for when they do."""

from __future__ import annotations

import stat
import time

from writeaudit.events import Access, Op, RawEvent
from writeaudit.resolve import identity
from writeaudit.resolve.ahead import Ahead
from writeaudit.resolve.mounts import MountBook, Move
from writeaudit.resolve.namespaces import Namespaces
from writeaudit.resolve.nodes import Kind, Node
from writeaudit.resolve.places import Place
from writeaudit.resolve.tree import Tree


class Lessons:
    """Takes note of events that succeeded and whose paths are known."""

    def __init__(self, tree: Tree, book: MountBook, spaces: Namespaces, ahead: Ahead) -> None:
        self._tree = tree
        self._book = book
        self._spaces = spaces
        self._ahead = ahead

    def learn(self, raw: RawEvent, target: Place, source: Place | None) -> bool:
        """Take note of an event, and look up its files. Returns whether an open made its file."""
        if raw.op is Op.OPEN:
            return self._opened(raw, target)
        key = target.key(self._book)
        if key is None:
            return False
        if raw.op is Op.MOUNT and _is_ours(target):
            self._tree.covered(self._book.own.name_key(target.path))
        if raw.op is Op.LINK and source is not None:
            self._linked(raw, target, key)
            _same_file(source, target)
            return False
        source_key = None if source is None else source.key(self._book)
        if raw.op is Op.RENAME and source is not None and source_key is not None:
            self._renamed(raw, target, source, key, source_key)
            _same_file(source, target)
            return False
        self._named(raw, key, source_key)
        if raw.op is Op.RMDIR:
            self._spaces.vanished(key, raw.time_ns, self._tree.seq)
        if raw.op is Op.EXCHANGE and source is not None and source_key is not None:
            there = Move(source_key, key, source.path, target.path)
            back = Move(key, source_key, target.path, source.path)
            self._spaces.renamed([there, back], raw.time_ns, self._tree.seq)
        if raw.op not in (Op.UNLINK, Op.RMDIR):
            self._identify(target, key)
            if source is not None and source_key is not None:
                self._identify(source, source_key)
        return False

    def _opened(self, raw: RawEvent, target: Place) -> bool:
        created = bool(raw.created)
        key = None if target.deleted else target.key(self._book)
        if key is None:
            return created
        tree = self._tree
        if raw.created is None and "creat" in raw.flags:
            created = identity.was_created(raw, target.path, key, tree, self._ahead, self._spaces.disk)
        if created:
            tree.made(key, Kind.OTHER, looked_up=raw.follow)
        self._identify(target, key)
        # With O_NOFOLLOW, O_PATH opens symlinks too.
        if not created and target.fmt != stat.S_IFLNK and (raw.follow or raw.access is not Access.PATH):
            tree.seen(key, Kind.OTHER)
        return created

    def _named(self, raw: RawEvent, key: bytes, source_key: bytes | None) -> None:
        tree = self._tree
        match raw.op:
            case Op.MKDIR:
                tree.made(key, Kind.DIRECTORY)
            case Op.SYMLINK:
                tree.made(key, Kind.SYMLINK, raw.target_text or b"")
            case Op.MKNOD | Op.BIND:
                tree.made(key, Kind.OTHER)
            case Op.UNLINK | Op.RMDIR:
                tree.removed(key, directory=raw.op is Op.RMDIR)
            case Op.EXCHANGE if source_key is not None:
                tree.exchanged(source_key, key)
            case _:
                pass

    def _linked(self, raw: RawEvent, target: Place, key: bytes) -> None:
        """Both names are the same file: to look at one of them is enough."""
        node = self._tree.made(key, Kind.OTHER if raw.follow_source else Kind.UNKNOWN)
        node.key = key
        self._identify(target, key, node)
        if not raw.follow_source and target.ino is not None and target.fmt != stat.S_IFLNK:
            self._tree.looked(node, Kind.OTHER, b"", time.monotonic_ns())

    def _renamed(self, raw: RawEvent, target: Place, source: Place, key: bytes, source_key: bytes) -> None:
        if source_key == key:
            self._tree.renamed(source_key, key, gone=False)
            self._identify(target, key)  # rename(2) does nothing
            return
        tree = self._tree
        was_absent = tree.was(key) is Kind.ABSENT
        found = identity.look_up(target, self._spaces.disk) if _is_ours(target) else None
        symlink = Kind.SYMLINK in (tree.was(key), tree.was(source_key))
        gone = identity.leaves(raw, source, found, self._spaces.disk, was_absent=was_absent, symlink=symlink)
        looked_ns = time.monotonic_ns()
        directory = found is not None and stat.S_ISDIR(found.st_mode) and gone is not None
        by_sight = gone and not directory and not was_absent and "noreplace" not in raw.flags
        tree.renamed(
            source_key,
            key,
            gone=gone,
            directory_ns=looked_ns if directory else 0,
            gone_ns=looked_ns if by_sight else 0,
        )
        if found is not None:
            tree.claim(tree.node(key), looked_ns, identity=True)
        if gone is False:
            # Both names were one file when they were looked at; what comes to be told yet may disagree.
            tree.claim(tree.node(source_key), looked_ns)
            tree.claim(tree.node(key), looked_ns)
        else:
            if not was_absent:
                self._spaces.vanished(key, raw.time_ns, tree.seq)
            self._spaces.renamed([Move(source_key, key, source.path, target.path)], raw.time_ns, tree.seq)

    def _identify(self, place: Place, key: bytes, node: Node | None = None) -> None:
        """Look up which file a name stands for, unless the kernel said it or it has no name any more."""
        if (
            place.ino is None
            and not place.deleted
            and _is_ours(place)
            and identity.look_up(place, self._spaces.disk) is not None
        ):
            self._tree.claim(node or self._tree.node(key), time.monotonic_ns(), identity=True)


def _same_file(source: Place, target: Place) -> None:
    source.dev, source.ino, source.fmt = target.dev, target.ino, target.fmt


def _is_ours(place: Place) -> bool:
    """Whether a path leads to the file in writeaudit's own namespace."""
    return place.path[:1] == b"/" and (place.mount is None or place.mount.own)
