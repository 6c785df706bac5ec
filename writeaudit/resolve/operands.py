"""Operands become places: an absolute path, the mount that it lies in, and how that is known."""

from __future__ import annotations

import os

from writeaudit.audit import Mount
from writeaudit.events import DATA_OPS, OK, Certainty, Doubt, Op, Operand, RawEvent
from writeaudit.paths import path_suffix
from writeaudit.resolve.mounts.namespaces import Namespace, Namespaces
from writeaudit.resolve.mounts.registry import MountRegistry, key_of
from writeaudit.resolve.names.disk import Disk
from writeaudit.resolve.names.lookup import NameResolver

_ON_MOUNT_POINTS = frozenset({Op.MOUNT, Op.UMOUNT, Op.PIVOT_ROOT})
"""Operations on a name that something is mounted on: the name lies in the mount below."""


_DIRECTORIES = frozenset({Op.MKDIR, Op.RMDIR, Op.RENAME, Op.EXCHANGE})
"""Operations on names that may end in a slash and yet follow no symlink."""


class ResolvedOperand:
    """One resolved operand."""

    __slots__ = (
        "deleted",
        "detached",
        "dev",
        "doubt",
        "fmt",
        "ino",
        "inside",
        "known",
        "mount",
        "namespace",
        "path",
        "seen",
        "spelled",
    )

    def __init__(self, path: bytes, known: Certainty, doubt: Doubt) -> None:
        self.path = path
        self.known = known
        """How it is known, if nothing is in doubt."""
        self.doubt = doubt
        self.mount: Mount | None = None
        self.dev: int | None = None
        self.ino: int | None = None
        self.fmt: int | None = None
        self.deleted = False
        self.detached = False
        """Its mount has no place any more, and ``path`` is what it was called when it had one."""
        self.spelled: Operand | None = None
        """The operand; None if no name had to be looked up."""
        self.namespace: Namespace | None = None
        """The other mount namespace by whose mounts it was resolved."""
        self.inside: bytes | None = None
        """The path within the file system of ``mount``, where ``path`` does not lead to it."""
        self.seen: bytes | None = None
        """What ``path`` is called in the other mount namespace, where it has been put into our own."""

    @property
    def certainty(self) -> Certainty:
        """How the path is known."""
        return Certainty.LEXICAL if self.doubt else self.known

    def key_in(self, registry: MountRegistry) -> bytes | None:
        """Return the key of the name (see `MountTable.key_of`); None if it cannot be told."""
        if self.doubt or self.detached:
            return None
        mount = self.mount
        if mount is None or mount.own:
            return registry.own_key(self.path) if self.path[:1] == b"/" else None
        return None if self.inside is None else key_of(mount.dev, self.inside)


class OperandResolver:
    """Finds the places of operands."""

    def __init__(self, registry: MountRegistry, namespaces: Namespaces) -> None:
        self._registry = registry
        self._namespaces = namespaces
        self._names = namespaces.own.names

    def resolve_operand(self, raw: RawEvent, operand: Operand, *, follow: bool) -> ResolvedOperand:
        """Return where an operand of an event is."""
        mount = None if operand.mount is None else self._registry.get_current(operand.mount)
        foreign = mount is not None and not mount.own and mount.mount_ns != 0
        name, base = operand.name, operand.base
        if operand.detached and mount is not None and base is not None:
            return self._resolve_detached(operand, mount)
        if mount is None and operand.mount_ns not in (None, self._registry.own_ns) and base is not None:
            return self._resolve_inner(raw, operand, follow=follow)
        if name is None:
            resolved = self._resolve_file(operand, mount, foreign=foreign)
            if resolved.path == b"/" and (raw.op in DATA_OPS or _must_not_be_root(raw, operand)):
                # So reads the path of a file that was moved out of what a mount shows of its file system.
                resolved.doubt |= Doubt.UNREACHABLE
            return resolved
        if base is None:
            return ResolvedOperand(name, Certainty.RESOLVED, operand.doubt | Doubt.UNCERTAIN_BASE)
        if name[-1:] == b"/" and raw.op in _DIRECTORIES:
            # The slash says that it is a directory, and follows nothing: that would be an error.
            return self.resolve_operand(raw, operand._replace(name=name.rstrip(b"/") or b"."), follow=follow)
        if foreign and mount is not None:
            return self._resolve_foreign(raw, operand, mount, follow=follow)
        resolved = _look_up_name(self._names, raw, operand, operand.root, follow=follow)
        path = resolved.path
        if follow or b"/" in name:
            resolved.spelled = operand
        table = self._registry.own
        resolved.mount = table.mount_around(path) if raw.op in _ON_MOUNT_POINTS else table.mount_of(path)
        resolved.deleted = operand.deleted and _has_no_name(name)
        return resolved

    def _resolve_file(self, operand: Operand, mount: Mount | None, *, foreign: bool) -> ResolvedOperand:
        doubt = operand.doubt if operand.base is not None else operand.doubt | Doubt.UNCERTAIN_BASE
        resolved = ResolvedOperand(operand.base or b"", Certainty.KERNEL, doubt)
        resolved.mount = mount
        resolved.dev, resolved.ino, resolved.fmt = operand.dev, operand.ino, operand.fmt
        resolved.deleted = operand.deleted
        if operand.base is None:
            return resolved
        if mount is None:
            # What has no slash in its name (`pipe:[4]`) lies in none.
            resolved.mount = self._registry.own.mount_of(operand.base) if operand.base[:1] == b"/" else None
        elif foreign and operand.inner is not None:
            self._into_own(resolved, mount, _below_mount_point(operand))
        if mount is not None and mount.fstype == "btrfs":
            # Each subvolume shows a device of its own, which the kernel's objects do not hold.
            resolved.dev = _visible_device(resolved, mount.mountpoint, self._namespaces.disk)
        return resolved

    def _resolve_detached(self, operand: Operand, mount: Mount) -> ResolvedOperand:
        """Resolve what lies in a mount that was taken away while files of it were open (MNT_DETACH).

        Another mount may show the file; else it has the name that it had before.
        """
        name = operand.name
        resolved = self._resolve_file(operand._replace(name=None), mount, foreign=False)
        inside = _below_mount_point(operand)
        if name is not None and name not in (b"", b"."):
            inside += b"/" + name
            if b"/" in name or name == b"..":
                resolved.doubt |= Doubt.DETACHED_MOUNT
        if name is not None:
            resolved.known = Certainty.RESOLVED
        resolved.path = mount.mountpoint.rstrip(b"/") + inside or b"/"
        resolved.detached = not self._into_own(resolved, mount, inside)
        resolved.deleted |= resolved.detached
        return resolved

    def _resolve_foreign(
        self, raw: RawEvent, operand: Operand, mount: Mount, *, follow: bool
    ) -> ResolvedOperand:
        """Resolve a name in another mount namespace, then look for the same file in ours."""
        assert operand.base is not None
        assert operand.name is not None
        namespace = self._namespaces.get_foreign(mount.mount_ns)
        name = operand.name.rstrip(b"/")
        if operand.name in (b"", b"."):
            # The directory itself, which the kernel named.
            resolved = self._resolve_file(operand, mount, foreign=True)
            resolved.known = Certainty.RESOLVED
            resolved.doubt &= Doubt.UNCERTAIN_BASE
            return resolved
        # pivot_root(2) is told of when all names are those below the new root already.
        direct = not follow or raw.op is Op.PIVOT_ROOT
        if direct and b"/" not in name and name not in (b"", b".."):
            # Directly in a directory that the kernel named: no table, no symlink comes into it.
            resolved = ResolvedOperand(
                operand.base.rstrip(b"/") + b"/" + name, Certainty.RESOLVED, operand.doubt
            )
            resolved.mount = mount
            resolved.deleted = operand.deleted and _has_no_name(operand.name)
            if operand.inner is not None:
                self._into_own(resolved, mount, _below_mount_point(operand) + b"/" + name)
            return resolved
        # A root directory within another namespace is taken for that of the namespace.
        resolved = _look_up_name(namespace.names, raw, operand, b"/", follow=follow)
        path = resolved.path
        if not namespace.holds_for(raw.time_ns):
            # That nothing could be looked up there is for the same reason.
            resolved.doubt = resolved.doubt & ~Doubt.GONE | Doubt.NAMESPACE
        resolved.deleted = operand.deleted and _has_no_name(operand.name)
        resolved.namespace = namespace
        resolved.spelled = operand
        found: Mount | None = None
        if namespace.table is not None:
            on_point = raw.op in _ON_MOUNT_POINTS
            found = namespace.table.mount_around(path) if on_point else namespace.table.mount_of(path)
        resolved.mount = found or mount
        inside = path_suffix(path, resolved.mount.mountpoint)
        if inside is not None:
            self._into_own(resolved, resolved.mount, inside)
        return resolved

    def _resolve_inner(self, raw: RawEvent, operand: Operand, *, follow: bool) -> ResolvedOperand:
        """Resolve what is known by its path in another mount namespace alone, as strace tells it."""
        assert operand.mount_ns is not None
        assert operand.base is not None
        namespace = self._namespaces.get_foreign(operand.mount_ns)
        if operand.name is None:
            resolved = ResolvedOperand(operand.base, Certainty.KERNEL, operand.doubt)
            resolved.dev, resolved.ino, resolved.fmt = operand.dev, operand.ino, operand.fmt
            resolved.deleted = operand.deleted
        else:
            resolved = _look_up_name(namespace.names, raw, operand, operand.root, follow=follow)
            resolved.deleted = operand.deleted and _has_no_name(operand.name)
            resolved.namespace = namespace
            resolved.spelled = operand
        path, table = resolved.path, namespace.table
        if path[:1] != b"/":
            return resolved  # a pipe, a socket
        if table is None or not namespace.holds_for(raw.time_ns):
            resolved.doubt = resolved.doubt & ~Doubt.GONE | Doubt.NAMESPACE
            return resolved
        on_point = raw.op in _ON_MOUNT_POINTS
        mount = resolved.mount = table.mount_around(path) if on_point else table.mount_of(path)
        inside = None if mount is None else path_suffix(path, mount.mountpoint)
        if mount is not None and inside is not None:
            self._into_own(resolved, mount, inside)
        return resolved

    def _into_own(self, resolved: ResolvedOperand, mount: Mount, inside: bytes) -> bool:
        """Give a file of another namespace the name that it has in ours, if it has one."""
        resolved.inside = mount.root.rstrip(b"/") + inside or b"/"
        name = self._registry.own.name_of(mount.dev, resolved.inside, resolved.path)
        if name is not None:
            resolved.seen = resolved.path
            resolved.path = name
            resolved.mount = self._registry.own.mount_of(name)
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


def _look_up_name(
    names: NameResolver, raw: RawEvent, operand: Operand, root: bytes | None, *, follow: bool
) -> ResolvedOperand:
    """Look a name up, relative to the directory that the kernel named."""
    base, name = operand.base, operand.name
    assert base is not None
    assert name is not None
    path, certainty = names.resolve_name(
        base,
        name,
        follow=follow,
        root=base if name[:1] == b"/" else root,
        there=raw.result == OK,
        makes="creat" in raw.flags,
    )
    gone = Doubt.UNKNOWN_ROOT if root is None else Doubt.GONE
    doubt = operand.doubt if certainty is not Certainty.LEXICAL else operand.doubt | gone
    return ResolvedOperand(path, Certainty.RESOLVED if doubt else certainty, doubt)


def _visible_device(resolved: ResolvedOperand, top: bytes, disk: Disk) -> int | None:
    """Return the device that stat(2) shows for a file below ``top``.

    For one whose name is gone, that of the directory that was nearest to it.
    """
    path, ino = resolved.path, resolved.ino
    while path_suffix(path, top) is not None:
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
