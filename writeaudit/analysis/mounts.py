"""Mounts as analysis needs them: found by id or by path, and put into words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from writeaudit.audit import Mount
from writeaudit.text import escape_path, format_device, quote_name


class RecordedMounts:
    """The mounts of a recording."""

    def __init__(self, mounts: Sequence[Mount]) -> None:
        self._by_id = {mount.id: mount for mount in mounts}
        # Later entries lie over earlier ones at the same mount point.
        self._by_point = {mount.mountpoint: mount for mount in mounts if mount.own}

    def find_mount(self, mount_id: int | None, path: bytes | None = None) -> Mount | None:
        """Return the mount with this id or else, if ``path`` is given, the one that holds it."""
        if mount_id is not None:
            found = self._by_id.get(mount_id)
            if found is not None:
                return found
        return None if path is None else self.mount_over(path)

    def mount_over(self, path: bytes) -> Mount | None:
        """Return the mount of writeaudit's own namespace with the longest mount point over ``path``."""
        while True:
            found = self._by_point.get(path or b"/")
            if found is not None or not path or path == b"/":
                return found
            path = path.rpartition(b"/")[0]


def describe_mount(mount: Mount | None, dev: int | None = None) -> str:
    """Return ``/dev/shm (tmpfs, device 0:25)``, or what is known where the mount is not."""
    if mount is not None:
        return f"{quote_name(mount.mountpoint)} ({mount.fstype}, device {format_device(mount.dev)})"
    if dev is not None:
        return f"an unknown mount of device {format_device(dev)}"
    return "an unknown mount"


def mount_details(mount: Mount | None, dev: int | None = None) -> Mapping[str, object]:
    """Return the JSON form of a mount; keys are left out where nothing is known."""
    if mount is None:
        return {} if dev is None else {"dev": format_device(dev)}
    return {
        "id": mount.id,
        "mountpoint": escape_path(mount.mountpoint),
        "fstype": mount.fstype,
        "dev": format_device(mount.dev),
        "source": escape_path(mount.source),
        "root": escape_path(mount.root),
    }
