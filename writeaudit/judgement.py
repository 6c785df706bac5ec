"""The words of judgement: zones and verdicts (policy), findings (analysis).

They stand here because policy makes them, analysis reads and makes them, and report
shows them, while none of those stages may import another.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from writeaudit.events import FsEvent


class ZoneAccess(enum.StrEnum):
    """What may be done in a zone."""

    READ_ONLY = "ro"
    READ_WRITE = "rw"
    NONE = "none"


class Zone(NamedTuple):
    """A named part of the file system and what may be done there."""

    name: str
    access: ZoneAccess
    patterns: tuple[bytes, ...]
    """Absolute paths, expanded and free of symlinks; each covers everything below it. May hold
    the wildcards ``*`` ``?`` ``[…]`` (within one component) and ``**`` (any number of them)."""


class Policy(NamedTuple):
    """Zones with a name. The longest matching pattern wins."""

    name: str
    source: str
    """Where it comes from: ``profile uv/install``, or the path of a policy file, …"""
    zones: tuple[Zone, ...]
    tool: str = "generic"
    """The installer that was recognised: uv, pip, …"""


class Verdict(enum.StrEnum):
    """What the policy says of one event (docs/policy.md)."""

    ALLOWED = "allowed"
    VIOLATION = "violation"
    ATTEMPT = "attempt"
    FAILED = "failed"
    READ = "read"


class Reason(enum.StrEnum):
    """Why an event is not simply allowed; what a finding is grouped by."""

    NONE = "none"
    READ_ONLY = "read_only"
    """A change in a zone that may not be written."""
    OUTSIDE = "outside"
    """A change outside every zone."""
    FORBIDDEN_READ = "forbidden_read"
    """A read in a zone with access ``none``."""
    LINK_COUNT = "link_count"
    """A file of a read-only zone got another hard link elsewhere: only its link count and ctime changed."""
    REFUSED = "refused"
    """The policy allows the change, and the system refused it."""


class Judged(NamedTuple):
    """An event's verdict. ``zone`` is that of the side that decided, None if outside every zone."""

    zone: str | None
    verdict: Verdict
    reason: Reason = Reason.NONE
    on_source: bool = False
    """Whether the source side (the old name, the linked file) decided."""


class Net(enum.StrEnum):
    """What had become of a file at the end of the run, seen from its beginning."""

    CREATED = "created"
    MODIFIED = "modified"
    REPLACED = "replaced"
    DELETED = "deleted"
    TRANSIENT = "transient"
    """Made and gone again."""
    ATTEMPTED = "attempted"
    """Only refused or failed attempts to change it."""
    READ = "read"


@dataclass(slots=True)
class FileSummary:
    """All that happened to one path on one mount."""

    path: bytes
    mount: int | None
    zone: str | None
    verdict: Verdict
    net: Net
    ops: Mapping[str, int] = field(default_factory=dict)
    """Times that each operation was tried, in order of appearance. Files with equal counts may
    share one mapping: it is not to be changed."""
    bytes_written: int = 0


class Severity(enum.StrEnum):
    """How bad a finding is. `error` fails the run unless --fail-on says otherwise."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"

    @property
    def rank(self) -> int:
        """0 for a note, 2 for an error."""
        return {"note": 0, "warning": 1, "error": 2}[self.value]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that the reader should know, with its cause and its remedy."""

    rule: str
    """WA101, …"""
    title: str
    severity: Severity
    message: str
    """One or two sentences with this run's figures. Names in it are shown by `text.show`."""
    count: int
    """Events (or attempts) that the finding rests on."""
    bytes: int = 0
    files: int = 0
    evidence: tuple[int, ...] = ()
    """seq numbers of the events that prove it, the first 100."""
    cause: str = ""
    advice: tuple[str, ...] = ()
    details: Mapping[str, object] = field(default_factory=dict)
    """JSON-able additions, such as both mounts of a link fallback."""


class JudgedEvent(NamedTuple):
    """An event and its verdict, together, for those who stream over both."""

    event: FsEvent
    judged: Judged
