"""What events teach about names, and which files the names stand for when they do."""

from __future__ import annotations

import stat
import time

from writeaudit.events import Access, Op, RawEvent
from writeaudit.resolve.mounts.namespaces import Namespaces
from writeaudit.resolve.mounts.registry import MountRegistry, Move
from writeaudit.resolve.names import identity
from writeaudit.resolve.names.cache import NameCache
from writeaudit.resolve.names.nodes import NameKind, Node
from writeaudit.resolve.names.pending import PendingEvents
from writeaudit.resolve.operands import ResolvedOperand


class EventEffects:
    """Takes note of events that succeeded and whose paths are known."""

    def __init__(
        self, cache: NameCache, registry: MountRegistry, namespaces: Namespaces, pending: PendingEvents
    ) -> None:
        self._cache = cache
        self._registry = registry
        self._namespaces = namespaces
        self._pending = pending

    def apply_event(self, raw: RawEvent, target: ResolvedOperand, source: ResolvedOperand | None) -> bool:
        """Take note of an event, and look up its files. Returns whether an open made its file."""
        if raw.op is Op.OPEN:
            return self._apply_open(raw, target)
        key = target.key_in(self._registry)
        if key is None:
            return False
        if raw.op is Op.MOUNT and _is_own(target):
            self._cache.note_covered(self._registry.own.name_key(target.path))
        if raw.op is Op.LINK and source is not None:
            self._apply_link(raw, target, key, source.key_in(self._registry))
            _same_file(source, target)
            return False
        source_key = None if source is None else source.key_in(self._registry)
        if raw.op is Op.RENAME and source is not None and source_key is not None:
            self._apply_rename(raw, target, source, key, source_key)
            _same_file(source, target)
            return False
        self._apply_name(raw, key, source_key)
        if raw.op is Op.RMDIR:
            self._namespaces.note_vanished(key, raw.time_ns, self._cache.seq)
        if raw.op is Op.EXCHANGE and source is not None and source_key is not None:
            there = Move(source_key, key, source.path, target.path)
            back = Move(key, source_key, target.path, source.path)
            self._namespaces.note_moves([there, back], raw.time_ns, self._cache.seq)
        if raw.op not in (Op.UNLINK, Op.RMDIR):
            self._identify_file(target, key)
            if source is not None and source_key is not None:
                self._identify_file(source, source_key)
        return False

    def _apply_open(self, raw: RawEvent, target: ResolvedOperand) -> bool:
        created = bool(raw.created)
        key = None if target.deleted else target.key_in(self._registry)
        if key is None:
            return created
        cache = self._cache
        if raw.created is None and "creat" in raw.flags:
            created = identity.was_created(raw, target.path, key, cache, self._pending, self._namespaces.disk)
        if created:
            cache.note_made(key, NameKind.OTHER, looked_up=raw.follow)
        self._identify_file(target, key)
        # With O_NOFOLLOW, O_PATH opens symlinks too.
        if not created and target.fmt != stat.S_IFLNK and (raw.follow or raw.access is not Access.PATH):
            cache.note_seen(key, NameKind.OTHER)
        return created

    def _apply_name(self, raw: RawEvent, key: bytes, source_key: bytes | None) -> None:
        cache = self._cache
        match raw.op:
            case Op.MKDIR:
                cache.note_made(key, NameKind.DIRECTORY)
            case Op.SYMLINK:
                cache.note_made(key, NameKind.SYMLINK, raw.target_text or b"")
            case Op.MKNOD | Op.BIND:
                cache.note_made(key, NameKind.OTHER)
            case Op.UNLINK | Op.RMDIR:
                cache.note_removed(key, directory=raw.op is Op.RMDIR)
            case Op.EXCHANGE if source_key is not None:
                cache.note_exchanged(source_key, key)
            case _:
                pass

    def _apply_link(
        self, raw: RawEvent, target: ResolvedOperand, key: bytes, source_key: bytes | None
    ) -> None:
        """Both names are the same file: to look at one of them is enough, and what one was is the other."""
        plain = raw.follow_source or (source_key is not None and self._cache.is_plain(source_key))
        if source_key is not None:
            self._cache.linked_too(source_key)
        node = self._cache.note_made(key, NameKind.OTHER if plain else NameKind.UNKNOWN)
        node.key = key
        self._identify_file(target, key, node)
        if not plain and target.ino is not None and target.fmt != stat.S_IFLNK:
            self._cache.note_looked(node, NameKind.OTHER, b"", time.monotonic_ns())

    def _apply_rename(
        self, raw: RawEvent, target: ResolvedOperand, source: ResolvedOperand, key: bytes, source_key: bytes
    ) -> None:
        if source_key == key:
            self._cache.note_renamed(source_key, key, gone=False)
            self._identify_file(target, key)  # rename(2) does nothing
            return
        cache = self._cache
        was_absent = cache.kind_before(key) is NameKind.ABSENT
        found = identity.identify_operand(target, self._namespaces.disk) if _is_own(target) else None
        symlink = NameKind.SYMLINK in (cache.kind_before(key), cache.kind_before(source_key))
        gone = identity.removes_old_name(
            raw, source, found, self._namespaces.disk, was_absent=was_absent, symlink=symlink
        )
        looked_ns = time.monotonic_ns()
        directory = found is not None and stat.S_ISDIR(found.st_mode) and gone is not None
        by_sight = gone and not directory and not was_absent and "noreplace" not in raw.flags
        cache.note_renamed(
            source_key,
            key,
            gone=gone,
            directory_ns=looked_ns if directory else 0,
            gone_ns=looked_ns if by_sight else 0,
        )
        if found is not None:
            cache.assume_unchanged(cache.get_node(key), looked_ns, identity=True)
        if gone is False:
            # Both names were one file when they were looked at; what comes to be told yet may disagree.
            cache.assume_unchanged(cache.get_node(source_key), looked_ns)
            cache.assume_unchanged(cache.get_node(key), looked_ns)
        else:
            if not was_absent:
                self._namespaces.note_vanished(key, raw.time_ns, cache.seq)
            self._namespaces.note_moves(
                [Move(source_key, key, source.path, target.path)], raw.time_ns, cache.seq
            )

    def _identify_file(self, place: ResolvedOperand, key: bytes, node: Node | None = None) -> None:
        """Look up which file a name stands for, unless the kernel said it or it has no name any more."""
        if (
            place.ino is None
            and not place.deleted
            and _is_own(place)
            and identity.identify_operand(place, self._namespaces.disk) is not None
        ):
            self._cache.assume_unchanged(
                node or self._cache.get_node(key), time.monotonic_ns(), identity=True
            )


def _same_file(source: ResolvedOperand, target: ResolvedOperand) -> None:
    source.dev, source.ino, source.fmt = target.dev, target.ino, target.fmt


def _is_own(place: ResolvedOperand) -> bool:
    """Whether a path leads to the file in writeaudit's own namespace."""
    return place.path[:1] == b"/" and (place.mount is None or place.mount.own)
