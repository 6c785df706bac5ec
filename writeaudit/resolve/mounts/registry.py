"""Mount tables: what is mounted where, in which mount namespace, over the time of a run.

`/proc/PID/mountinfo` (proc_pid_mountinfo(5)) says it for the present; records from the
kernel side say it for mounts whose namespace is gone by the time that we could look.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import NamedTuple, Protocol

from writeaudit.audit import Mount
from writeaudit.bounded_cache import BoundedCache
from writeaudit.paths import last_component, parent_directory, path_suffix

_KERNEL_ID = 0xFFFFFFFF
"""The part of a recorded mount id that is the kernel's (see `MountRegistry`)."""
DELETED = b"//deleted"
"""What mountinfo adds to a root that has no name any more."""
_KEY_BYTES = 8 << 20
"""How much a table keeps of the keys of directories."""
_MOST_NAMES = 1 << 10
"""How many names of one mount are kept apart: a program may mount things at new places for ever."""
_ANY = b""
"""No component of a path: stands for all of them."""
_OCTAL = re.compile(rb"\\([0-7]{3})")


def unescape_field(field: bytes) -> bytes:
    r"""Undo mountinfo's escapes: space, tab, newline and backslash read ``\040`` and so on."""
    return _OCTAL.sub(lambda match: bytes([int(match[1], 8)]), field)


def parse_mountinfo(text: bytes, mount_ns: int, *, own: bool) -> tuple[Mount, ...]:
    """Return the mounts of one mountinfo file, in its order. A line that makes no sense is left out."""
    mounts: list[Mount] = []
    for line in text.splitlines():
        before, separator, after = line.partition(b" - ")
        fields, tail = before.split(b" "), after.split(b" ")
        if not separator or len(fields) < 6 or len(tail) < 3:
            continue
        major, _, minor = fields[2].partition(b":")
        options = fields[5].decode("utf-8", "replace").split(",")
        # The file system's own options, after the dash, say whether all of it is read-only.
        if tail[2].split(b",")[0] == b"ro" and "ro" not in options:
            options = ["ro", *(option for option in options if option != "rw")]
        mounts.append(
            Mount(
                id=int(fields[0]),
                mount_ns=mount_ns,
                dev=os.makedev(int(major), int(minor)),
                fstype=tail[0].decode("utf-8", "replace"),
                source=unescape_field(tail[1]),
                root=unescape_field(fields[3]),
                mountpoint=unescape_field(fields[4]),
                options=tuple(options),
                parent=int(fields[1]),
                own=own,
            )
        )
    return tuple(mounts)


class _Point:
    """One component of mount points: what is mounted there, and which components are below."""

    __slots__ = ("below", "mount")

    def __init__(self) -> None:
        self.mount: Mount | None = None
        self.below: dict[bytes, _Point] = {}


class MountTable:
    """The mounts of one namespace at one time."""

    def __init__(self, mounts: Iterable[Mount]) -> None:
        self.mounts = tuple(mounts)
        self._top = _Point()
        for mount in _parents_first(self.mounts):
            self._enter_visible(mount)
        self.points = {mount.mountpoint: mount for mount in self._visible_mounts()}
        """By mount point, those that can be seen."""
        self._by_dev: dict[int, list[Mount]] = {}
        for mount in self.mounts:
            self._by_dev.setdefault(mount.dev, []).append(mount)
        self._keys: BoundedCache[bytes, bytes] = BoundedCache(_KEY_BYTES)

    def _enter_visible(self, mount: Mount) -> None:
        """Enter a mount, unless its mount point is hidden; hide what lies below that."""
        here, holder = self._top, self._top.mount
        names = [name for name in mount.mountpoint.split(b"/") if name]
        for name in names:
            found = here.below.get(name)
            if found is None:
                break
            here, holder = found, found.mount or holder
        if holder is not None and mount.parent is not None and mount.parent != holder.id & _KERNEL_ID:
            return
        here = self._top
        for name in names:
            here = here.below.setdefault(name, _Point())
        here.mount, here.below = mount, {}

    def _visible_mounts(self) -> Iterator[Mount]:
        todo = [self._top]
        while todo:
            here = todo.pop()
            if here.mount is not None:
                yield here.mount
            todo += here.below.values()

    def mount_around(self, path: bytes) -> Mount | None:
        """Return the mount that a path's own name lies in, were nothing mounted on that name."""
        above = None if path == b"/" else self.mount_of(parent_directory(path))
        return above or self.mount_of(path)

    def key_of(self, path: bytes) -> bytes:
        """Return what a name has but one of, however many mounts show it: device and path within.

        Itself written as a path, below a first component that no name has.
        """
        mount = self.points.get(path)
        if mount is not None:
            return key_of(mount.dev, mount.root)
        return self.name_key(path)

    def name_key(self, path: bytes) -> bytes:
        """Return the key of a name itself, were nothing mounted on it."""
        cut = path.rfind(b"/")
        directory = path[:cut]
        known = self._keys.get(directory)
        if known is None:
            known = self._directory_key(directory or b"/")
            self._keys.keep_entry(directory, known, len(directory) + len(known))
        return known + path[cut:]

    def _directory_key(self, directory: bytes) -> bytes:
        mount = self.mount_of(directory)
        inside = None if mount is None else path_suffix(directory, mount.mountpoint)
        if mount is None or inside is None:
            return b"\0" + directory.rstrip(b"/")
        return key_of(mount.dev, mount.root.rstrip(b"/") + inside.rstrip(b"/"))

    def mount_of(self, path: bytes) -> Mount | None:
        """Return the mount that an absolute path, free of symlinks, lies in.

        Goes no further down than mount points do: names may be thousands of components long.
        """
        found, points = self._top.mount, self._top.below
        begin, end = 1, 0 if path[:1] == b"/" else -1
        while points and end >= 0:
            end = path.find(b"/", begin)
            name = path[begin:] if end < 0 else path[begin:end]
            begin = end + 1
            if name:
                here = points.get(name)
                if here is None:
                    break
                found, points = here.mount or found, here.below
        return found

    def name_of(self, dev: int, inside: bytes, preferred: bytes) -> bytes | None:
        """Return the path of the file ``inside`` the file system ``dev``, if it can be named here.

        Several names are possible (bind mounts); ``preferred`` is taken if it is one of them.
        """
        names: list[bytes] = []
        for mount in self._by_dev.get(dev, ()):
            rest = path_suffix(inside, mount.root)
            if rest is None:
                continue
            name = (mount.mountpoint.rstrip(b"/") + rest) or b"/"
            if self.mount_of(name) is mount:
                if name == preferred:
                    return name
                names.append(name)
        return min(names, key=len, default=None)


def key_of(dev: int, inside: bytes) -> bytes:
    """Return the key of a path within a file system (see `MountTable.key_of`)."""
    return b"\0%d" % dev + inside


def _parents_first(mounts: Sequence[Mount]) -> list[Mount]:
    """Return mounts so that each comes after the one that it is mounted on; /proc keeps no such order."""
    known = {mount.id & _KERNEL_ID for mount in mounts}
    children: dict[int | None, list[Mount]] = {}
    for mount in mounts:
        above = mount.parent if mount.parent in known and mount.parent != mount.id & _KERNEL_ID else None
        children.setdefault(above, []).append(mount)
    ordered = list(children.get(None, ()))
    for mount in ordered:
        ordered += children.get(mount.id & _KERNEL_ID, ())
    return ordered


class _Key(NamedTuple):
    dev: int
    root: bytes
    mountpoint: bytes
    mount_ns: int


class Move(NamedTuple):
    """The old and the new place of a directory: keys (see `MountTable.key_of`), and own paths."""

    old_key: bytes
    key: bytes
    old: bytes
    path: bytes


class MountRegistry:
    """All mounts met in one run, and which one a mount id stands for at the moment.

    The kernel gives a mount id again once it is free, so a recorded id may differ from the
    kernel's: the second mount with id 40 is recorded as 40 + 2**32.
    """

    def __init__(self, own_ns: int, mountinfo: bytes) -> None:
        self.own_ns = own_ns
        self._all: dict[int, Mount] = {}
        self._now: dict[int, int] = {}
        self._uses: dict[int, int] = {}
        self._names: dict[int, frozenset[bytes]] = {}
        """Of each mount: every component that the path of its root or its mount point ever had."""
        self._all_names: set[bytes] = set()
        self.tables: dict[int, MountTable] = {}
        self.read_table(own_ns, mountinfo)

    @property
    def own(self) -> MountTable:
        """The table of writeaudit's own namespace."""
        return self.tables[self.own_ns]

    def own_key(self, path: bytes) -> bytes:
        """Return the key of a path in writeaudit's own namespace (see `MountTable.key_of`)."""
        return self.own.key_of(path)

    def mounts_named(self, names: Collection[bytes]) -> frozenset[int]:
        """Return which mounts may have moved with something of one of these names; an empty one: any name."""
        asked = {_ANY, *names}
        every = _ANY in names
        if not every and self._all_names.isdisjoint(asked):
            return frozenset()
        return frozenset(
            number for number, had in self._names.items() if had and (every or not had.isdisjoint(asked))
        )

    def is_called(self, name: bytes) -> bool:
        """Whether a mount's root or mount point, or a directory above one of them, was ever called that."""
        return name in self._all_names or _ANY in self._all_names

    def moved_by(self, moves: Sequence[Move]) -> frozenset[int]:
        """Return which mounts lie below the old names or the new ones of directories that moved."""
        names = {last_component(key) for move in moves for key in (move.old_key, move.key)}
        if self._all_names.isdisjoint(names):
            return frozenset()
        return frozenset(
            mount.id
            for mount in self._all.values()
            for move in moves
            if _root_below(mount, move.old_key) is not None
            or _root_below(mount, move.key) is not None
            or path_suffix(mount.mountpoint, move.old) is not None
            or path_suffix(mount.mountpoint, move.path) is not None
        )

    def note_moves(self, moves: Sequence[Move]) -> None:
        """Directories moved, at the same time.

        What is mounted from below them has another root then, and what is mounted below them another
        mount point; nobody mounts anything for that.
        """
        moved: dict[int, Mount] = {}
        for mount in self._all.values():
            root, point = mount.root, mount.mountpoint
            for move in moves:
                rest = _root_below(mount, move.old_key)
                if rest is not None:
                    root = move.key[move.key.index(b"/") :] + rest
                rest = path_suffix(mount.mountpoint, move.old) if mount.own else None
                if rest is not None:
                    point = move.path + rest
            if (root, point) != (mount.root, mount.mountpoint):
                moved[mount.id] = mount._replace(root=root, mountpoint=point)
        if not moved:
            return
        for mount in moved.values():
            self._enter_mount(mount)
        for mount_ns, table in self.tables.items():
            self.tables[mount_ns] = MountTable(moved.get(mount.id, mount) for mount in table.mounts)

    def read_table(self, mount_ns: int, mountinfo: bytes) -> tuple[Mount, ...]:
        """Take in the present table of a namespace; returns what was or is otherwise in the last one."""
        before = self.tables.get(mount_ns)
        mounts = parse_mountinfo(mountinfo, mount_ns, own=mount_ns == self.own_ns)
        noted = tuple(self.note_mount(mount) for mount in mounts)
        if before is not None and noted == before.mounts:
            return ()
        self.tables[mount_ns] = MountTable(noted)
        return tuple(set(noted) ^ set(() if before is None else before.mounts))

    def _enter_mount(self, mount: Mount) -> None:
        self._all[mount.id] = mount
        names = frozenset(mount.root.split(b"/") + mount.mountpoint.split(b"/")) - {b""}
        self._names[mount.id] = self._names.get(mount.id, names) | names
        self._all_names |= names

    def note_mount(self, mount: Mount) -> Mount:
        """Take in one mount and return it as it is recorded."""
        kernel_id = mount.id
        current = self._now.get(kernel_id)
        if current is not None:
            known = self._all[current]
            if not mount.mount_ns and (known.dev, known.root) == (mount.dev, mount.root):
                return known  # it lost its place (MNT_DETACH); what it had is all that anybody can say
            if _key_of(known) == _key_of(mount):
                # mountinfo knows more options than the kernel side; the newest wins otherwise.
                newer = mount._replace(id=current)
                if len(mount.options) >= len(known.options) and newer != known:
                    self._enter_mount(newer)
                return self._all[current]
        uses = self._uses.get(kernel_id, 0)
        self._uses[kernel_id] = uses + 1
        recorded = mount._replace(id=kernel_id + (uses << 32))
        self._enter_mount(recorded)
        if current is not None:
            # It may be the same one still, at another place.
            names = self._names[recorded.id] | self._names[current]
            if len(names) > _MOST_NAMES:
                names = frozenset({_ANY})
                self._all_names.add(_ANY)
            self._names[recorded.id] = names
        self._now[kernel_id] = recorded.id
        return recorded

    def get_recorded(self, number: int | None) -> Mount | None:
        """Return the mount with a number that events bear."""
        return None if number is None else self._all.get(number)

    def get_current(self, kernel_id: int | None) -> Mount | None:
        """Return the mount that the kernel now calls ``kernel_id``."""
        if kernel_id is None:
            return None
        recorded = self._now.get(kernel_id)
        return None if recorded is None else self._all[recorded]

    def select_recorded(self, numbers: Iterable[int]) -> list[Mount]:
        """Return mounts by their recorded ids."""
        return [self._all[number] for number in numbers]

    def all_mounts(self) -> tuple[Mount, ...]:
        """Return every mount met, in the order of their recorded ids."""
        return tuple(self._all[key] for key in sorted(self._all))


def _root_below(mount: Mount, key: bytes) -> bytes | None:
    """Return where below a directory a mount's root lies, if it does and has a name at all."""
    if mount.root.endswith(DELETED):
        return None
    return path_suffix(key_of(mount.dev, mount.root), key)


def _key_of(mount: Mount) -> _Key:
    return _Key(mount.dev, mount.root, mount.mountpoint, mount.mount_ns)


class Privileged(Protocol):
    """Who may look at processes that we may not, such as those of set-user-ID programs. Raises OSError."""

    def namespace_of(self, pid: int) -> int:
        """Return the inode number of a process's mount namespace."""

    def mountinfo_of(self, pid: int) -> bytes:
        """Return a process's mountinfo."""

    def root_of(self, pid: int) -> tuple[int, int]:
        """Return descriptors of a process's root directory (O_PATH) and of its mountinfo."""


def namespace_of(pid: int | str, privileged: Privileged | None = None) -> int | None:
    """Return the inode number of a process's mount namespace; None if it is gone."""
    try:
        return os.stat(f"/proc/{pid}/ns/mnt").st_ino
    except PermissionError:
        if privileged is None or isinstance(pid, str):
            return None
    except OSError:
        return None
    try:
        return privileged.namespace_of(pid)
    except OSError:
        return None


def mountinfo_of(pid: int | str, privileged: Privileged | None = None) -> bytes | None:
    """Return a process's mountinfo; None if it is gone."""
    try:
        with open(f"/proc/{pid}/mountinfo", "rb") as file:
            return file.read()
    except PermissionError:
        if privileged is None or isinstance(pid, str):
            return None
    except OSError:
        return None
    try:
        return privileged.mountinfo_of(pid)
    except OSError:
        return None
