"""What the kernel says of this very process."""

from __future__ import annotations


def own_status() -> dict[str, str]:
    """Return the fields of /proc/self/status (proc_pid_status(5)). Raises OSError."""
    with open("/proc/self/status", encoding="utf-8", errors="replace") as file:
        fields = (line.partition(":") for line in file)
        return {name: value.strip() for name, _colon, value in fields}
