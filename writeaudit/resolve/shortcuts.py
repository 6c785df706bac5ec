"""The commonest events, resolved in a third of the time or less.

Each method here does for one form of event what the long way (`Resolver`, `OperandResolver`,
`EventEffects`) does with it, and gives up (None) as soon as anything about it is not plain: the long way is
right for every event. The form of an event decides:

- everything is an open file, and the kernel said which (`_resolve_open`, `_by_descriptor`);
- a name in a directory about which all is known from before the event (`_resolve_link`, `_resolve_rename`,
  `_resolve_refused`).

So nothing is asked of the disk, and nothing that is asked later can show these events to be wrong; but mounts
can (`Quick`). A test resolves made-up runs both ways and compares.
"""

from __future__ import annotations

import stat
from collections.abc import Callable
from typing import NamedTuple

from writeaudit.audit import Mount
from writeaudit.bounded_cache import BoundedCache
from writeaudit.events import NAME_OPS, NAMESPACE_OPS, NO_DOUBT, OK, Certainty, FsEvent, Op, Operand, RawEvent
from writeaudit.resolve.mounts.registry import MountRegistry, MountTable
from writeaudit.resolve.names.cache import Link, NameCache
from writeaudit.resolve.names.lookup import NameResolver
from writeaudit.resolve.names.nodes import Node
from writeaudit.resolve.names.pending import PendingEvents

THERE = frozenset({"EEXIST", "EISDIR", "ENOTEMPTY"})
"""Refusals of calls whose name was there."""
_NO_NAMES = frozenset({b"", b".", b".."})
_DIRECTORY_BYTES = 8 << 20
EAGER = 256
"""Of how many hard links of a run the disk is asked at once which files they are: a run with few of them has
the answers in its report, even if they never matter."""
_MOST_LINKS = 1 << 16
"""How many may wait to be asked about."""
_MOST_BORN = 1 << 12
"""Of how many files that were made it is kept which ones they are, for a rename that comes soon after."""

_new = tuple.__new__
"""Makes a named tuple in less than half the time that its own constructor takes."""


class _Directory(NamedTuple):
    """A directory of our own namespace, as a name leads to it."""

    prefix: bytes
    """Its path, with a slash."""
    key: bytes
    """The same of its key."""
    node: Node
    mount: Mount | None
    looked_ns: int
    """When the last name on the way to it was read from the disk."""


class Quick(NamedTuple):
    """An event that was resolved here, whose names a change of mounts may yet show to have been others."""

    seq: int
    since_ns: int
    raw: RawEvent
    path: bytes
    source: bytes | None


class Shortcuts:
    """Resolves events of a plain form. Shares the tree and the book of mounts with the long way."""

    def __init__(
        self,
        cache: NameCache,
        registry: MountRegistry,
        names: NameResolver,
        pending: PendingEvents,
        note: Callable[[Quick], None],
    ) -> None:
        """``note`` takes events that may yet show to have been others."""
        self._cache = cache
        self._registry = registry
        self._names = names
        self._pending = pending
        self._note = note
        self.started_ns = 0
        self.asks = EAGER
        """Of how many hard links the disk is still asked at once which files they are."""
        self._version = -1
        self._table: MountTable = registry.own
        self._tables, self._own_ns = registry.tables, registry.own_ns
        self._named: BoundedCache[tuple[bytes, bytes], _Directory] = BoundedCache(_DIRECTORY_BYTES)
        """By where a name begins and what of it leads to the directory."""
        self._shown: BoundedCache[bytes, _Directory] = BoundedCache(_DIRECTORY_BYTES)
        """By path, as the kernel said it."""
        self._born: dict[bytes, _Identity] = {}
        """By key: files that were made and have one name."""
        ways: dict[Op, _Way] = {
            op: self._by_descriptor for op in Op if op not in NAME_OPS and op not in NAMESPACE_OPS
        }
        self._ways = {
            **ways,
            Op.OPEN: self._resolve_open,
            Op.LINK: self._resolve_link,
            Op.RENAME: self._resolve_rename,
        }

    def resolve_plainly(self, raw: RawEvent, seq: int) -> FsEvent | None:
        """Return an event resolved; None if it must go the long way. The tree has turned to it already."""
        if self._version != self._cache.version or self._table is not self._tables[self._own_ns]:
            self._version, self._table = self._cache.version, self._registry.own
            self._named.clear()
            self._shown.clear()
            self._born.clear()  # a directory may have moved, and files with it
        if self._pending.expected:
            return None
        if raw.result != OK and raw.path.name is not None:
            return self._resolve_refused(raw, seq) if raw.op in NAME_OPS else None
        way = self._ways.get(raw.op)
        return None if way is None else way(raw, seq)

    # What the kernel says everything about.

    def _resolve_open(self, raw: RawEvent, seq: int) -> FsEvent | None:
        """Resolve an open of which the kernel named the file."""
        # Taking a tuple apart costs less than to ask it for three of its fields.
        (
            time_ns, pid, tid, _, result, file, _, _, access, flags, created, _, _, mode, spelled, *_,
        ) = raw  # fmt: skip
        (
            base, name, mount_id, _, dev, ino, fmt, deleted, doubt, _, detached, _, nlink, _, _,
        ) = file  # fmt: skip
        mount = self._registry.get_current(mount_id)
        if (
            base is None or name is not None or created is None or doubt is not NO_DOUBT or detached
            or result != OK or mount is None or not mount.own or mount.fstype == "btrfs"
        ):  # fmt: skip
            return None
        if self._cache.links and nlink != 1 and access is not None and access.writes:
            self._cache.before_loss()
        if deleted:
            flags = (*flags, "deleted")
        elif base in self._table.points:
            if created:
                return None
            self._cache.note_shown(self._registry.own_key(base), time_ns, directory=fmt == stat.S_IFDIR)
        else:
            cut = base.rfind(b"/")
            directory = self._shown.get(base[:cut])
            if directory is None or fmt == stat.S_IFDIR:
                key = self._registry.own_key(base)
                self._cache.note_shown(key, time_ns, directory=fmt == stat.S_IFDIR)
                directory = self._remember_directory(base[: cut + 1], key[: key.rfind(b"/") + 1], mount)
            if created:
                last = base[cut + 1 :]
                key = directory.key + last
                if not self._cache.make_alike(directory.node, last, key, self._cache.single):
                    return None
                self._keep_born(key, (dev, ino, fmt))
        if spelled is not None:
            spelled = _spelled_differently(spelled, base)
        return _new(
            FsEvent,
            (
                seq, self._since_start(time_ns), pid, tid, Op.OPEN, base, None, access, flags, created,
                mode, OK, None, None, mount.id, None, dev, ino, None, None, fmt, spelled, Certainty.KERNEL,
                0, None,
            ),
        )  # fmt: skip

    def _remember_directory(self, prefix: bytes, key: bytes, mount: Mount) -> _Directory:
        found = _Directory(prefix, key, self._cache.get_directory(key[:-1]), mount, 0)
        if self._version == self._cache.version:
            self._shown.keep_entry(prefix[:-1], found, 2 * len(key))
        return found

    def _by_descriptor(self, raw: RawEvent, seq: int) -> FsEvent | None:
        """Resolve what was done to open files: it says nothing of names."""
        path = self._find_file(raw.path)
        if path is None or raw.xattr is not None:
            return None
        base, mount, dev, ino, fmt, nlink = path
        text, source_mount, source_dev, source_ino = raw.target_text, None, None, None
        if raw.source is not None:
            source = self._find_file(raw.source)
            if source is None:
                return None
            text, source_mount, source_dev, source_ino = source[0], source[1].id, source[2], source[3]
        if self._cache.links and nlink != 1 and raw.result == OK:
            self._cache.before_loss()
        return _new(
            FsEvent,
            (
                seq, self._since_start(raw.time_ns), raw.pid, raw.tid, raw.op, base, text, raw.access,
                raw.flags, raw.created is True, raw.mode, raw.result, raw.bytes, raw.calls, mount.id,
                source_mount, dev, ino, source_dev, source_ino, fmt, _spelled_differently(raw.spelled, base),
                Certainty.KERNEL, 0, None,
            ),
        )  # fmt: skip

    def _find_file(
        self, operand: Operand
    ) -> tuple[bytes, Mount, int | None, int, int | None, int | None] | None:
        """Return path, mount, device, inode, type and number of names of an open file that has a name."""
        (base, name, mount_id, _, dev, ino, fmt, deleted, doubt, _, detached, _, nlink, _, _) = operand
        mount = self._registry.get_current(mount_id)
        if (
            base is None or name is not None or deleted or doubt is not NO_DOUBT or detached or ino is None
            or len(base) < 2 or mount is None or not mount.own or mount.fstype == "btrfs"
        ):  # fmt: skip
            return None
        return base, mount, dev, ino, fmt, nlink

    # Names in directories that are known from before the event.

    def _resolve_link(self, raw: RawEvent, seq: int) -> FsEvent | None:
        """Resolve a hard link. Its file is looked up only when it matters (`NameCache.links`)."""
        if raw.follow_source or raw.source is None:
            return None
        target, source = self._find_directory(raw.path), self._find_directory(raw.source)
        if target is None or source is None:
            return None
        directory, last = target
        path, key = directory.prefix + last, directory.key + last
        above, old = source
        if directory.node.children.get(last) is not None or len(self._cache.links) >= _MOST_LINKS:
            return None
        if self.asks:
            self.asks -= 1
            return None
        cache, origin = self._cache, above.node.children.get(old)
        if origin is cache.single:
            above.node.children[old] = origin = cache.plain
        cache.make_alike(directory.node, last, key, cache.plain if origin is cache.plain else cache.linked)
        cache.links[key] = _new(Link, (seq, cache.since_ns, path))
        return self._by_name(raw, seq, path, directory, above.prefix + old, above, _UNKNOWN, _UNKNOWN)

    def _resolve_rename(self, raw: RawEvent, seq: int) -> FsEvent | None:
        """Resolve a rename of a file that this run made, and that has but that name."""
        if raw.source is None or raw.flags or raw.path.base != raw.source.base:
            return None
        target, source = self._find_directory(raw.path), self._find_directory(raw.source)
        if target is None or source is None:
            return None
        directory, last = target
        above, old = source
        if self._registry.is_called(last) or self._registry.is_called(old):
            return None
        if directory is not above and (raw.path.name or b"")[:1] != b"/":
            return None
        key, old_key = directory.key + last, above.key + old
        identity = self._born.get(old_key)
        if identity is None or not self._cache.move_alike(
            directory.node, last, key, above.node, old, old_key
        ):
            return None
        del self._born[old_key]
        self._keep_born(key, identity)
        return self._by_name(
            raw, seq, directory.prefix + last, directory, above.prefix + old, above, identity, identity
        )

    def _resolve_refused(self, raw: RawEvent, seq: int) -> FsEvent | None:
        """Resolve a call that failed, and so says nothing of its names."""
        if raw.follow or raw.follow_source or raw.result in THERE or raw.xattr is not None:
            return None
        target = self._find_directory(raw.path)
        if target is None:
            return None
        directory, last = target
        if raw.source is None:
            return self._by_name(
                raw, seq, directory.prefix + last, directory, raw.target_text, None, _UNKNOWN, _UNKNOWN
            )
        source = self._find_directory(raw.source)
        if source is None:
            return None
        above, old = source
        return self._by_name(
            raw, seq, directory.prefix + last, directory, above.prefix + old, above, _UNKNOWN, _UNKNOWN
        )

    def _find_directory(self, operand: Operand) -> tuple[_Directory, bytes] | None:
        """Return the directory of a name that is looked up without following it, and its last component."""
        base, name, mount_id, _, _, _, _, deleted, doubt, _, detached, root, _, _, _ = operand
        if base is None or name is None or deleted or doubt is not NO_DOUBT or detached or root != b"/":
            return None
        cut = name.rfind(b"/")
        last = name[cut + 1 :]
        if last in _NO_NAMES or (name[:1] == b"/" and base != b"/"):
            return None
        if mount_id is not None:
            mount = self._registry.get_current(mount_id)
            if mount is None or not mount.own:
                return None
        head = name[:cut] if cut > 0 else b""
        directory = self._named.get((base, head)) or self._way_to(base, head)
        if directory is None or directory.looked_ns > self._cache.since_ns:
            return None
        return None if directory.prefix + last in self._table.points else (directory, last)

    def _way_to(self, base: bytes, head: bytes) -> _Directory | None:
        way = self._names.known_way(base, head) if head else (base, 0)
        if way is None:
            return None
        path, looked_ns = way
        prefix = path if path[-1:] == b"/" else path + b"/"
        key = self._table.name_key(prefix + b"x")[:-1]
        found = _Directory(
            prefix, key, self._cache.get_directory(key[:-1]), self._table.mount_of(path), looked_ns
        )
        self._named.keep_entry((base, head), found, len(base) + len(head) + 2 * len(key))
        return found

    def _by_name(
        self,
        raw: RawEvent,
        seq: int,
        path: bytes,
        directory: _Directory,
        source: bytes | None,
        above: _Directory | None,
        identity: _Identity,
        source_identity: _Identity,
    ) -> FsEvent:
        """Return an event whose names have been found; it is as certain as anything that was looked up."""
        name = raw.path.name or b""
        if b"/" in name or (raw.source is not None and b"/" in (raw.source.name or b"")):
            self._note(_new(Quick, (seq, self._cache.since_ns, raw, path, source)))
        mount = directory.mount
        dev, ino, fmt = identity
        if dev is None and mount is not None:
            dev = mount.dev
        return _new(
            FsEvent,
            (
                seq, self._since_start(raw.time_ns), raw.pid, raw.tid, raw.op, path, source,
                raw.access, raw.flags, raw.created is True, raw.mode, raw.result, raw.bytes, raw.calls,
                None if mount is None else mount.id,
                None if above is None or above.mount is None else above.mount.id,
                dev, ino, source_identity[0], source_identity[1], fmt, _spelled_differently(name, path),
                Certainty.RESOLVED, 0, None,
            ),
        )  # fmt: skip

    def _since_start(self, time_ns: int) -> int:
        return time_ns - self.started_ns if time_ns > self.started_ns else 0

    def _keep_born(self, key: bytes, identity: _Identity) -> None:
        if len(self._born) >= _MOST_BORN:
            self._born.clear()
        self._born[key] = identity


_Identity = tuple[int | None, int | None, int | None]
"""Device, inode and file type."""
_Way = Callable[[RawEvent, int], FsEvent | None]
_UNKNOWN: _Identity = (None, None, None)


def _spelled_differently(spelled: bytes | None, path: bytes) -> bytes | None:
    """Return what the process passed, if it differs from the path by more than being relative."""
    if not spelled or spelled == path or (spelled[:1] != b"/" and path.endswith(b"/" + spelled)):
        return None
    return spelled
