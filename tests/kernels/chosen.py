"""Which conformance tests run on the kernels: together they make every operation.

Patterns (fnmatch) of ``test[parameters]``, the backend left out of the parameters.
"""

from __future__ import annotations

from fnmatch import fnmatchcase

FILES = ("test_workloads.py", "test_hazards.py", "test_loss.py")

_FULL = (
    "test_the_recording_tells_what_the_workload_did|*",
    "test_the_same_on_another_file_system|btrfs-copies reflinks",
    "test_the_same_on_another_file_system|btrfs-subvolumes",
    "test_the_same_on_another_file_system|xfs-copies reflinks",
    "test_the_same_on_another_file_system|tmpfs-names",
    "test_the_same_on_another_file_system|overlay-below",
    "test_the_same_on_another_file_system|overlay-names",
    "test_a_32_bit_program|*",
    "test_a_program_in_c|*",
    "test_io_uring|*",
    "test_io_uring_*",
    "test_mounts_of_every_kind|*",
    "test_mounts_of_processes_that_are_gone|*",
    "test_a_mount_that_is_taken_away_while_its_files_are_open|*",
    "test_mounts_that_are_attached_nowhere|*",
    "test_directories_that_are_moved_out_of_what_their_mount_shows|*",
    "test_relative_names_in_a_chroot|*",
    "test_a_setuid_program_is_followed|*",
    "test_a_daemon_that_outlives_the_*",
    "test_bubblewrap|*",
    "test_every_lost_record_is_counted|*",
)

_SHORT = (
    "test_the_recording_tells_what_the_workload_did|opens",
    "test_the_recording_tells_what_the_workload_did|names",
    "test_the_recording_tells_what_the_workload_did|copies",
    "test_the_recording_tells_what_the_workload_did|metadata",
    "test_the_recording_tells_what_the_workload_did|data",
    "test_the_recording_tells_what_the_workload_did|descriptors",
    "test_the_recording_tells_what_the_workload_did|threads",
    "test_the_recording_tells_what_the_workload_did|namespaces roots",
    "test_the_recording_tells_what_the_workload_did|mappings",
    "test_io_uring|",
    "test_a_32_bit_program|*",
    "test_every_lost_record_is_counted|*",
)

_SHORTEST = ("test_the_recording_tells_what_the_workload_did|names",)

_UNHURRIED = (
    "test_the_recording_tells_what_the_workload_did|metadata",
    "test_the_recording_tells_what_the_workload_did|namespaces roots",
    "test_a_32_bit_program|*",
    "test_io_uring|",
)
"""strace names files as they were passed, and what they stood for is looked up later: too late, often, on
an emulated machine. These do not take back at once what they did."""

PATTERNS: dict[str, dict[str, tuple[str, ...]]] = {
    "full": {"ebpf": _FULL, "bcc": _SHORT, "strace": _UNHURRIED},
    "short": {"ebpf": _SHORT, "bcc": _SHORTEST, "strace": ()},
    "smoke": {"ebpf": (), "bcc": (), "strace": ()},
}
"""By form and backend. The other backends see the kernel through the same records, or not at all."""


def is_chosen(key: str, form: str, backend: str) -> bool:
    """Whether a test is part of a form."""
    return any(fnmatchcase(key, pattern) for pattern in PATTERNS[form][backend])
