"""Core dumps: files that the kernel writes of its own accord (core(5))."""

from __future__ import annotations

KIND = "core_dump"
MESSAGE = (
    "the kernel wrote a core dump of a process that crashed, wherever kernel.core_pattern says: "
    "no system call shows that"
)


def are_files() -> bool:
    """Whether a dump becomes a file at once, and is not handed to a program outside the audit."""
    try:
        with open("/proc/sys/kernel/core_pattern", "rb") as pattern:
            return pattern.read(1) != b"|"
    except OSError:
        return True
