"""Why the kernel refused a link: the rule that a refusal falls under, and its cause."""

from __future__ import annotations

import enum

from writeaudit.analysis.links.copies import RefusedLink
from writeaudit.audit import Mount, RunInfo


class RefusalCause(enum.Enum):
    """The cause of a refusal, as far as the evidence goes."""

    DEVICES = "WA101"
    """Two file systems."""
    SUBVOLUMES = "WA101 subvolumes"
    """Two subvolumes of one btrfs: one mount, several devices."""
    UNKNOWN_MOUNTS = "WA101 unknown"
    """EXDEV, and neither mounts nor devices are known."""
    MOUNTS = "WA102"
    """Two mounts of one file system."""
    PROTECTED = "WA103"
    """fs.protected_hardlinks."""
    FLAGS = "WA103 flags"
    """EPERM although fs.protected_hardlinks cannot be the reason: immutable or append-only."""
    DIRECTORY = "WA103 directory"
    """EACCES: no permission to write the target's directory, or to search a directory."""
    WITHIN = "WA113"
    """EXDEV within one mount that has no subvolumes: see `within`."""
    TOO_MANY = "WA104 links"
    """EMLINK."""
    UNSUPPORTED = "WA104 unsupported"
    """The file system has no hard links."""
    OTHER = "WA104"
    """Any other errno."""

    @property
    def rule(self) -> str:
        """The rule that reports a link that was refused so."""
        return self.value[:5]

    @property
    def rename_rule(self) -> str:
        """The rule that reports a rename that was refused so."""
        return {"WA101": "WA111", "WA102": "WA112"}.get(self.rule, self.rule)


_SUBVOLUMES = frozenset({"btrfs", "bcachefs"})

# link(2): EPERM "the filesystem containing oldpath and newpath does not support the creation of hard links".
_NO_HARD_LINKS = frozenset({"vfat", "msdos", "exfat", "fuseblk"})


def diagnose_refusal(
    refusal: RefusedLink, source: Mount | None, target: Mount | None, run: RunInfo
) -> RefusalCause:
    """Return why the link was refused. ``source`` and ``target`` are its mounts, where known."""
    match refusal.result:
        case "EXDEV":
            return diagnose_across(refusal, source, target)
        case "EPERM":
            if target is not None and target.fstype in _NO_HARD_LINKS:
                return RefusalCause.UNSUPPORTED
            # CAP_FOWNER, which root has, exempts from the restriction.
            exempt = run.host.get("fs.protected_hardlinks") == "0" or run.uid == 0
            return RefusalCause.FLAGS if exempt else RefusalCause.PROTECTED
        case "EACCES":
            return RefusalCause.DIRECTORY
        case "EMLINK":
            return RefusalCause.TOO_MANY
        case "EOPNOTSUPP" | "ENOTSUP" | "ENOSYS":
            return RefusalCause.UNSUPPORTED
        case _:
            return RefusalCause.OTHER


def diagnose_across(refusal: RefusedLink, source: Mount | None, target: Mount | None) -> RefusalCause:
    """Return why EXDEV was the answer."""
    if source is not None and target is not None:
        if source.dev != target.dev:
            return RefusalCause.DEVICES
        if source.id != target.id:
            return RefusalCause.MOUNTS
        # The st_dev of a file tells nothing here: overlayfs makes up its own.
        return RefusalCause.SUBVOLUMES if target.fstype in _SUBVOLUMES else RefusalCause.WITHIN
    if refusal.source_dev is None or refusal.dev is None:
        return RefusalCause.UNKNOWN_MOUNTS
    return RefusalCause.DEVICES if refusal.source_dev != refusal.dev else RefusalCause.MOUNTS
