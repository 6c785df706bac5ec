"""File capabilities: the extended attribute security.capability (capabilities(7), struct vfs_ns_cap_data)."""

from __future__ import annotations

import struct

_NAMES = (
    "chown dac_override dac_read_search fowner fsetid kill setgid setuid setpcap "
    "linux_immutable net_bind_service net_broadcast net_admin net_raw ipc_lock ipc_owner "
    "sys_module sys_rawio sys_chroot sys_ptrace sys_pacct sys_admin sys_boot sys_nice "
    "sys_resource sys_time sys_tty_config mknod lease audit_write audit_control setfcap "
    "mac_override mac_admin syslog wake_alarm block_suspend audit_read perfmon bpf "
    "checkpoint_restore"
)
"""By number (include/uapi/linux/capability.h)."""
_LIST = _NAMES.split()
_EFFECTIVE = 1
_SIZES = {1: 12, 2: 20, 3: 24}
"""Bytes of each revision."""


def parse_capability(value: bytes) -> str:
    """Return what an attribute grants, ``cap_net_raw=ep``; a clause that says so where it is damaged."""
    if len(value) < 4:
        return "damaged"
    (magic,) = struct.unpack_from("<I", value)
    revision = magic >> 24
    if len(value) != _SIZES.get(revision):
        return "damaged"
    words = struct.unpack_from("<4I" if revision > 1 else "<2I", value, 4)
    permitted, inheritable = words[0], words[1]
    if revision > 1:
        permitted, inheritable = permitted | words[2] << 32, inheritable | words[3] << 32
    flags = ("e" if magic & _EFFECTIVE else "") + ("i" if inheritable else "") + ("p" if permitted else "")
    return f"{','.join(_named(permitted | inheritable)) or 'none'}={flags}"


def _named(bits: int) -> list[str]:
    return [
        f"cap_{_LIST[number]}" if number < len(_LIST) else f"cap_{number}"
        for number in range(64)
        if bits >> number & 1
    ]
