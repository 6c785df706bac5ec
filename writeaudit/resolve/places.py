"""Operands become places: an absolute path, the mount that it lies in, and how that is known."""

from __future__ import annotations

import os

from writeaudit.audit import Mount
from writeaudit.events import OK, Certainty, Op, Operand, RawEvent
from writeaudit.paths import below
from writeaudit.resolve.disk import Disk
from writeaudit.resolve.mounts import MountBook, key_of
from writeaudit.resolve.names import Names
from writeaudit.resolve.namespaces import Namespace, Namespaces

_ON_MOUNT_POINTS = frozenset({Op.MOUNT, Op.UMOUNT, Op.PIVOT_ROOT})
"""Operations on a name that something is mounted on: the name lies in the mount below."""


_DATA = frozenset({Op.WRITE, Op.COPY, Op.CLONE, Op.MMAP_WRITE, Op.TRUNCATE, Op.FALLOCATE})
"""Operations on what is no directory."""


_DIRECTORIES = frozenset({Op.MKDIR, Op.RMDIR, Op.RENAME, Op.EXCHANGE})
"""Operations on names that may end in a slash and yet follow no symlink."""


class Place:
    """One resolved operand."""

    __slots__ = (
        "certainty",
        "deleted",
        "detached",
        "dev",
        "fmt",
        "ino",
        "inside",
        "mount",
        "path",
        "space",
        "spelled",
    )

    def __init__(self, path: bytes, certainty: Certainty) -> None:
        self.path = path
        self.certainty = certainty
        self.mount: Mount | None = None
        self.dev: int | None = None
        self.ino: int | None = None
        self.fmt: int | None = None
        self.deleted = False
        self.detached = False
        """Its mount has no place any more, and ``path`` is what it was called when it had one."""
        self.spelled: Operand | None = None
        """The operand; None if no name had to be looked up."""
        self.space: Namespace | None = None
        """The other mount namespace by whose mounts it was resolved."""
        self.inside: bytes | None = None
        """The path within the file system of ``mount``, where ``path`` does not lead to it."""

    def key(self, book: MountBook) -> bytes | None:
        """Return the key of the name (see `MountTable.key`); None if it cannot be told."""
        if self.certainty is Certainty.LEXICAL or self.detached:
            return None
        mount = self.mount
        if mount is None or mount.own:
            return book.own_key(self.path) if self.path[:1] == b"/" else None
        return None if self.inside is None else key_of(mount.dev, self.inside)


class Places:
    """Finds the places of operands."""

    def __init__(self, book: MountBook, spaces: Namespaces) -> None:
        self._book = book
        self._spaces = spaces
        self._names = spaces.own.names

    def place(self, raw: RawEvent, operand: Operand, *, follow: bool) -> Place:
        """Return where an operand of an event is."""
        mount = None if operand.mount is None else self._book.get(operand.mount)
        foreign = mount is not None and not mount.own and mount.mount_ns != 0
        name, base = operand.name, operand.base
        if operand.detached and mount is not None and base is not None:
            return self._detached_place(operand, mount)
        if name is None:
            place = self._file_place(operand, mount, foreign=foreign)
            if place.path == b"/" and (raw.op in _DATA or _must_not_be_root(raw, operand)):
                # So reads the path of a file that was moved out of what a mount shows of its file system.
                place.certainty = Certainty.LEXICAL
            return place
        if base is None:
            return Place(name, Certainty.LEXICAL)
        if name[-1:] == b"/" and raw.op in _DIRECTORIES:
            # The slash says that it is a directory, and follows nothing: that would be an error.
            return self.place(raw, operand._replace(name=name.rstrip(b"/") or b"."), follow=follow)
        if foreign and mount is not None:
            return self._foreign_place(raw, operand, mount, follow=follow)
        path, certainty = _looked_up(self._names, raw, base, name, operand.root, follow=follow)
        place = Place(path, Certainty.LEXICAL if operand.truncated or operand.guessed else certainty)
        if follow or b"/" in name:
            place.spelled = operand
        table = self._book.own
        place.mount = table.containing(path) if raw.op in _ON_MOUNT_POINTS else table.of(path)
        place.deleted = operand.deleted and _has_no_name(name)
        return place

    def _file_place(self, operand: Operand, mount: Mount | None, *, foreign: bool) -> Place:
        known = operand.base is not None and not operand.truncated and not operand.guessed
        place = Place(operand.base or b"", Certainty.KERNEL if known else Certainty.LEXICAL)
        place.mount = mount
        place.dev, place.ino, place.fmt = operand.dev, operand.ino, operand.fmt
        place.deleted = operand.deleted
        if operand.base is None:
            return place
        if mount is None:
            # What has no slash in its name (`pipe:[4]`) lies in none.
            place.mount = self._book.own.of(operand.base) if operand.base[:1] == b"/" else None
        elif foreign and operand.inner is not None:
            self._into_own(place, mount, _below_mount_point(operand))
        if mount is not None and mount.fstype == "btrfs":
            # Each subvolume shows a device of its own, which the kernel's objects do not hold.
            place.dev = _visible_device(place, mount.mountpoint, self._spaces.disk)
        return place

    def _detached_place(self, operand: Operand, mount: Mount) -> Place:
        """Resolve what lies in a mount that was taken away while files of it were open (MNT_DETACH).

        Another mount may show the file; else it has the name that it had before.
        """
        name = operand.name
        place = self._file_place(operand._replace(name=None), mount, foreign=False)
        inside = _below_mount_point(operand)
        if name is not None and name not in (b"", b"."):
            inside += b"/" + name
            if b"/" in name or name == b"..":
                place.certainty = Certainty.LEXICAL
        if name is not None and place.certainty is Certainty.KERNEL:
            place.certainty = Certainty.RESOLVED
        place.path = mount.mountpoint.rstrip(b"/") + inside or b"/"
        place.detached = not self._into_own(place, mount, inside)
        place.deleted |= place.detached
        return place

    def _foreign_place(self, raw: RawEvent, operand: Operand, mount: Mount, *, follow: bool) -> Place:
        """Resolve a name in another mount namespace, then look for the same file in ours."""
        assert operand.base is not None
        assert operand.name is not None
        space = self._spaces.foreign(mount.mount_ns)
        name = operand.name.rstrip(b"/")
        if operand.name in (b"", b"."):
            # The directory itself, which the kernel named.
            place = self._file_place(operand, mount, foreign=True)
            place.certainty = Certainty.LEXICAL if operand.guessed else Certainty.RESOLVED
            return place
        # pivot_root(2) is told of when all names are those below the new root already.
        direct = not follow or raw.op is Op.PIVOT_ROOT
        if direct and b"/" not in name and name not in (b"", b".."):
            # Directly in a directory that the kernel named: no table, no symlink comes into it.
            doubtful = operand.truncated or operand.guessed
            known = Certainty.LEXICAL if doubtful else Certainty.RESOLVED
            place = Place(operand.base.rstrip(b"/") + b"/" + name, known)
            place.mount = mount
            place.deleted = operand.deleted and _has_no_name(operand.name)
            if operand.inner is not None:
                self._into_own(place, mount, _below_mount_point(operand) + b"/" + name)
            return place
        # A root directory within another namespace is taken for that of the namespace.
        path, certainty = _looked_up(space.names, raw, operand.base, operand.name, b"/", follow=follow)
        if operand.truncated or operand.guessed or not space.holds_for(raw.time_ns):
            certainty = Certainty.LEXICAL
        place = Place(path, certainty)
        place.deleted = operand.deleted and _has_no_name(operand.name)
        place.space = space
        place.spelled = operand
        found: Mount | None = None
        if space.table is not None:
            on_point = raw.op in _ON_MOUNT_POINTS
            found = space.table.containing(path) if on_point else space.table.of(path)
        place.mount = found or mount
        inside = below(path, place.mount.mountpoint)
        if inside is not None:
            self._into_own(place, place.mount, inside)
        return place

    def _into_own(self, place: Place, mount: Mount, inside: bytes) -> bool:
        """Give a file of another namespace the name that it has in ours, if it has one."""
        place.inside = mount.root.rstrip(b"/") + inside or b"/"
        name = self._book.own.name_of(mount.dev, place.inside, place.path)
        if name is not None:
            place.path = name
            place.mount = self._book.own.of(name)
        return name is not None


def _below_mount_point(operand: Operand) -> bytes:
    """Return what of the end of an operand's base lies below the mount point; empty if that is not known."""
    return operand.base[len(operand.base) - operand.inner :] if operand.base and operand.inner else b""


def _must_not_be_root(raw: RawEvent, operand: Operand) -> bool:
    """Whether an open said another name than the root directory's, and nobody knows which file it was."""
    return operand.ino is None and bool((raw.spelled or b"").strip(b"/."))


def _has_no_name(name: bytes) -> bool:
    """Whether a name has none any more if the directory has none that it begins at.

    Nothing but ``..`` leads anywhere from there, and that leads out; a process may even remove the
    directory that it is in so.
    """
    return b".." not in name.split(b"/")


def _looked_up(
    names: Names, raw: RawEvent, base: bytes, name: bytes, root: bytes | None, *, follow: bool
) -> tuple[bytes, Certainty]:
    """Look a name up, relative to the directory that the kernel named."""
    return names.resolve(
        base,
        name,
        follow=follow,
        root=base if name[:1] == b"/" else root,
        there=raw.result == OK,
        makes="creat" in raw.flags,
    )


def _visible_device(place: Place, top: bytes, disk: Disk) -> int | None:
    """Return the device that stat(2) shows for a file below ``top``.

    For one whose name is gone, that of the directory that was nearest to it.
    """
    path, ino = place.path, place.ino
    while below(path, top) is not None:
        try:
            found = disk.lstat(path)
        except (OSError, ValueError):
            pass
        else:
            if ino is None or found.st_ino == ino:
                return found.st_dev
        path, ino = os.path.dirname(path), None
        if len(path) <= 1:
            break
    return None
