"""A read-only root in mount namespaces of our own, with writable places in it that are scratch copies.

Nothing of it is on the disk: the copies lie on a tmpfs that only the namespace holds, so that it is gone
with its
last process, however that ends. Whoever is not root gets a user namespace (user_namespaces(7)), in which
he has
his own number and, once a program is executed, no capabilities (capabilities(7)).
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import re
import secrets
import shutil
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from writeaudit.confine.writable import Kind, Place, is_below
from writeaudit.errors import WriteauditError
from writeaudit.text import escape_path

_CLONE_NEWNS, _CLONE_NEWUSER = 0x00020000, 0x10000000
_PR_SET_DUMPABLE = 4
_MS_RDONLY, _MS_NOSUID, _MS_NODEV, _MS_NOEXEC = 1, 2, 4, 8
_MS_REMOUNT, _MS_BIND, _MS_REC, _MS_PRIVATE = 32, 4096, 16384, 1 << 18
_MOUNT_FLAGS = {
    "ro": _MS_RDONLY,
    "nosuid": _MS_NOSUID,
    "nodev": _MS_NODEV,
    "noexec": _MS_NOEXEC,
    "noatime": 1024,
    "nodiratime": 2048,
    "relatime": 1 << 21,
}
_SHM = b"/dev/shm"
"""Every container has one of its own. Ours holds the scratch copies, too."""
_MOST_COPIED = 64 << 20
_MOST_FILES = 20_000
_OCTAL = re.compile(rb"\\([0-7]{3})")


class SandboxUnavailable(WriteauditError):
    """The sandbox cannot be set up here."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A place as a rerun finds it: as it was before the recorded run, as far as that can be had."""

    place: Place
    writable: bool
    """Otherwise what was there is to be seen, and cannot be written."""


_libc = ctypes.CDLL(None, use_errno=True)


def enter_sandbox(shown: Sequence[Shown], owner: tuple[int, int]) -> bytes:
    """Move this process to a mount namespace with a read-only root; return a directory for scratch files.

    ``owner``: user and group that the scratch directory is to belong to. Raises `SandboxUnavailable`.
    """
    try:
        if not os.path.isdir(_SHM):
            raise SandboxUnavailable("there is no /dev/shm to put the scratch copies on")
        _unshare()
        _mount(b"", b"/", b"", _MS_REC | _MS_PRIVATE)
        opened = [(each, _open_place(each)) for each in shown]
        _make_read_only()
        _mount(b"tmpfs", _SHM, b"tmpfs", _MS_NOSUID | _MS_NODEV, b"mode=1777")
        scratch = os.path.join(_SHM, b".writeaudit-" + secrets.token_hex(8).encode())
        os.mkdir(scratch, 0o700)
        for number, (each, source) in enumerate(opened):
            _show(each, source, os.path.join(scratch, b"%d" % number))
            if source >= 0:
                os.close(source)
        os.chown(scratch, *owner)
    except OSError as error:
        raise SandboxUnavailable(_reason(error)) from error
    return scratch


def enter_directory(cwd: bytes) -> None:
    """Go to the working directory; one that an empty place hides is made, as container engines do."""
    try:
        os.chdir(cwd)
    except FileNotFoundError:
        try:
            os.makedirs(cwd)
            os.chdir(cwd)
        except OSError as error:
            raise SandboxUnavailable(_reason(error)) from error
    except OSError as error:
        raise SandboxUnavailable(_reason(error)) from error


def _reason(error: OSError) -> str:
    where = f" ({escape_path(os.fsencode(error.filename))})" if error.filename else ""
    return f"{error.strerror}{where}"


def _unshare() -> None:
    """Take a mount namespace, and a user namespace with our own number where there is no other way."""
    if os.geteuid() == 0 and _libc.unshare(_CLONE_NEWNS) == 0:
        return
    uid, gid = os.geteuid(), os.getegid()
    if _libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNS) != 0:
        reason = os.strerror(ctypes.get_errno())
        raise SandboxUnavailable(
            f"no mount namespace can be had: {reason}",
            hint="unprivileged user namespaces may be turned off: see `sysctl "
            "kernel.unprivileged_userns_clone user.max_user_namespaces "
            "kernel.apparmor_restrict_unprivileged_userns`; root needs none",
        )
    # Of a process that had root's rights once, the files in /proc belong to root otherwise.
    _libc.prctl(_PR_SET_DUMPABLE, 1, 0, 0, 0)
    for name, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
        fd = os.open(f"/proc/self/{name}", os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, text.encode())
        finally:
            os.close(fd)


def _mount(source: bytes, target: bytes, fstype: bytes, flags: int, data: bytes = b"") -> None:
    """As mount(2). Raises OSError."""
    if _libc.mount(source, target, fstype, ctypes.c_ulong(flags), data) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), os.fsdecode(target))


def _mount_table() -> Iterator[tuple[bytes, int, str]]:
    """Yield mount point, flags and type of every mount of this namespace."""
    with open("/proc/self/mountinfo", "rb") as table:
        for line in table:
            fields = line.split()
            place = _OCTAL.sub(lambda found: bytes([int(found[1], 8)]), fields[4])
            flags = sum(_MOUNT_FLAGS.get(option, 0) for option in fields[5].decode("ascii").split(","))
            yield place, flags, fields[fields.index(b"-") + 1].decode("ascii", "replace")


def _make_read_only() -> None:
    """Make every mount read-only but /proc, of which /proc/sys: the rest of it is the process's own
    affair.
    """
    for place, flags, fstype in list(_mount_table()):
        if fstype == "proc" or flags & _MS_RDONLY:
            continue
        try:
            _mount(b"", place, b"", _MS_REMOUNT | _MS_BIND | _MS_RDONLY | flags)
        except OSError as error:
            # Below another mount, or where this user cannot go: nothing can be written there either.
            if error.errno not in (errno.ENOENT, errno.EACCES, errno.EINVAL, errno.ENOTDIR):
                raise
    with contextlib.suppress(OSError):
        _mount(b"/proc/sys", b"/proc/sys", b"", _MS_BIND)
        _mount(b"", b"/proc/sys", b"", _MS_REMOUNT | _MS_BIND | _MS_RDONLY)


def _open_place(each: Shown) -> int:
    """Return a descriptor of what is at a place, -1 if nothing is."""
    try:
        return os.open(each.place.path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return -1
    except ValueError as error:
        raise SandboxUnavailable("a path with a NUL in it is no path") from error


def _show(each: Shown, source: int, scratch: bytes) -> None:
    """Mount one place."""
    place = each.place
    if source < 0:
        raise SandboxUnavailable(
            f"{escape_path(place.path)} is not there, and a read-only root has no room for it",
            hint="make it, or run this where the recording was made",
        )
    fmt = stat.S_IFMT(os.fstat(source).st_mode)
    if fmt == stat.S_IFLNK:
        raise SandboxUnavailable(
            f"{escape_path(place.path)} has become a symlink since the recording was made"
        )
    if place.kind is Kind.BIND or fmt != stat.S_IFDIR:
        if each.writable:
            _copy_file(b"/proc/self/fd/%d" % source, scratch)
            _mount(scratch, place.path, b"", _MS_BIND)
        return
    keeps = place.exists and (place.copy_up or place.kind is Kind.VOLUME or not each.writable)
    if not each.writable and not place.made and place.exists:
        return  # what is there is what was there
    if keeps and not _is_small(source, place):
        _overlay(source, place, scratch)
    else:
        _tmpfs(place, source, keeps=keeps)
    for made in place.made:
        if keeps and is_below(made, place.path):
            _remove_all(made)
    if not each.writable:
        _mount(b"", place.path, b"", _MS_REMOUNT | _MS_BIND | _MS_RDONLY | _MS_NOSUID | _MS_NODEV)
    elif keeps and place.kind is Kind.TMPFS and not place.executed:
        _mount(b"", place.path, b"", _MS_REMOUNT | _MS_BIND | _MS_NOEXEC | _MS_NOSUID | _MS_NODEV)


def _tmpfs(place: Place, source: int, *, keeps: bool) -> None:
    found = os.fstat(source)
    mode = place.mode if place.mode is not None else stat.S_IMODE(found.st_mode)
    options = [f"mode={mode:o}"]
    mapped = _Mapped()
    for name, number in (("uid", place.uid), ("gid", place.gid)):
        if number is not None and mapped(name, number):
            options.append(f"{name}={number}")
    if place.kind is Kind.TMPFS and place.size is not None:
        options.append(f"size={place.size}")
    flags = _MS_NOSUID | _MS_NODEV
    if not keeps and not place.executed and place.kind is Kind.TMPFS:
        flags |= _MS_NOEXEC
    _mount(b"tmpfs", place.path, b"tmpfs", flags, ",".join(options).encode())
    if keeps:
        made = frozenset(place.made)
        _copy_directory(b"/proc/self/fd/%d" % source, place.path, place.path, made)


class _Mapped:
    """Which numbers of users and groups stand in the namespace."""

    def __init__(self) -> None:
        self._ranges: dict[str, list[tuple[int, int]]] = {}
        for name in ("uid", "gid"):
            with open(f"/proc/self/{name}_map", "rb") as table:
                rows = [line.split() for line in table]
            self._ranges[name] = [(int(row[0]), int(row[0]) + int(row[2])) for row in rows]

    def __call__(self, name: str, number: int) -> bool:
        return any(first <= number < end for first, end in self._ranges[name])


def _is_small(source: int, place: Place) -> bool:
    """Whether what is there may be copied: little, and all of it can be given its owner again."""
    mapped = _Mapped()
    made = frozenset(place.made)
    count = size = 0
    top = b"/proc/self/fd/%d" % source
    waiting = [(top, place.path)]
    while waiting:
        directory, name = waiting.pop()
        try:
            with os.scandir(directory) as found:
                for entry in found:
                    if os.path.join(name, entry.name) in made:
                        continue
                    about = entry.stat(follow_symlinks=False)
                    count += 1
                    size += about.st_blocks * 512
                    if not (mapped("uid", about.st_uid) and mapped("gid", about.st_gid)):
                        return False
                    if count > _MOST_FILES or size > _MOST_COPIED:
                        return False
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append((entry.path, os.path.join(name, entry.name)))
                    elif not (stat.S_ISREG(about.st_mode) or stat.S_ISLNK(about.st_mode)):
                        continue
                    elif stat.S_ISREG(about.st_mode) and not os.access(entry.path, os.R_OK):
                        return False
        except OSError:
            return False
    return True


def _copy_directory(source: bytes, target: bytes, name: bytes, made: frozenset[bytes]) -> None:
    """Copy what is in a directory, with owner, mode and times, but not ``made``; sockets and devices
    neither.
    """
    with os.scandir(source) as found:
        entries = list(found)
    for entry in entries:
        inner = os.path.join(name, entry.name)
        if inner in made:
            continue
        copy = os.path.join(target, entry.name)
        about = entry.stat(follow_symlinks=False)
        if stat.S_ISDIR(about.st_mode):
            os.mkdir(copy, 0o700)
            _copy_directory(entry.path, copy, inner, made)
        elif stat.S_ISLNK(about.st_mode):
            os.symlink(os.readlink(entry.path), copy)
        elif stat.S_ISREG(about.st_mode):
            shutil.copyfile(entry.path, copy, follow_symlinks=False)
        else:
            continue
        _same_owner(about, copy)


def _copy_file(source: bytes, target: bytes) -> None:
    shutil.copyfile(source, target)
    _same_owner(os.stat(source), target)


def _same_owner(about: os.stat_result, copy: bytes) -> None:
    os.chown(copy, about.st_uid, about.st_gid, follow_symlinks=False)
    if not stat.S_ISLNK(about.st_mode):
        os.chmod(copy, stat.S_IMODE(about.st_mode))
    os.utime(copy, ns=(about.st_atime_ns, about.st_mtime_ns), follow_symlinks=False)


def _overlay(source: int, place: Place, scratch: bytes) -> None:
    """Mount an overlay of what is there: too much to be copied, or of owners that cannot be given."""
    upper, work = scratch + b".upper", scratch + b".work"
    about = os.fstat(source)
    for directory in (upper, work):
        os.mkdir(directory)
        os.chmod(directory, stat.S_IMODE(about.st_mode) if place.mode is None else place.mode)
        with contextlib.suppress(OSError):
            uid = about.st_uid if place.uid is None else place.uid
            os.chown(directory, uid, about.st_gid if place.gid is None else place.gid)
    last: OSError | None = None
    data = b"lowerdir=/proc/self/fd/%d,upperdir=%s,workdir=%s" % (source, upper, work)
    # Without redirect_dir a directory from below cannot be renamed.
    for more in (b",redirect_dir=on,index=off,metacopy=off", b",userxattr", b""):
        try:
            _mount(b"overlay", place.path, b"overlay", _MS_NOSUID | _MS_NODEV, data + more)
        except OSError as error:
            last = error
        else:
            return
    raise SandboxUnavailable(
        f"{escape_path(place.path)} is too large to be copied, and no overlay can be made of it: "
        f"{last and last.strerror}"
    )


def _remove_all(path: bytes) -> None:
    """Remove what the recorded run made, from a scratch copy."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        if stat.S_ISDIR(os.lstat(path).st_mode):
            shutil.rmtree(path)
        else:
            os.unlink(path)
