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

    __hash__ = str.__hash__  # that of an enumeration is a call of Python

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
    program: str | None = None
    """The zone holds for operations of programs of this name only (`fnmatch`); None: for all."""


class Exemption(NamedTuple):
    """Places that a policy forbids and that are excepted all the same, for a reason."""

    patterns: tuple[bytes, ...]
    """As in `Zone`."""
    reason: str
    rules: tuple[str, ...] = ()
    """The rules that are excepted; empty for those about zones, WA201 to WA204."""
    until: str = ""
    """The last day on which it holds, ``2026-12-31``; empty if it has no end."""


class Policy(NamedTuple):
    """Zones with a name. The longest matching pattern wins."""

    name: str
    source: str
    """Where it comes from: ``profile uv/install``, or the path of a policy file, …"""
    zones: tuple[Zone, ...]
    tool: str = "generic"
    """The installer that was recognised: uv, pip, …"""
    is_open: bool = False
    """Whether nobody said what may be written: no profile knows the command, and no zone, profile or
    policy was given. What changes outside every zone is then listed, and accuses nobody."""
    remarks: tuple[str, ...] = ()
    """What its reader should know: settings that were ignored, exceptions that have expired. Sentences."""
    severities: tuple[tuple[str, str], ...] = ()
    """Rules and the severity that their findings have here: ``error``, ``warning``, ``note`` or ``off``."""
    exemptions: tuple[Exemption, ...] = ()
    container_zones: tuple[Zone, ...] = ()
    """Zones of what containers and sandboxes have on mounts of their own; patterns are paths there."""


class Verdict(enum.StrEnum):
    """What the policy says of one event (docs/policy.md)."""

    __hash__ = str.__hash__  # that of an enumeration is a call of Python

    ALLOWED = "allowed"
    VIOLATION = "violation"
    ATTEMPT = "attempt"
    FAILED = "failed"
    READ = "read"
    UNPLACED = "unplaced"
    """Something changed, and nobody knows where: by a name in another mount namespace that was not read
    in time. In reports of runs that have any."""

    @property
    def rank(self) -> int:
        """How bad it is: violation, attempt, unplaced, allowed, failed, read, from 5 down to 0."""
        return {"violation": 5, "attempt": 4, "unplaced": 3, "allowed": 2, "failed": 1, "read": 0}[self.value]


class Reason(enum.StrEnum):
    """Why an event is not simply allowed; what a finding is grouped by."""

    __hash__ = str.__hash__  # that of an enumeration is a call of Python

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
    INSIDE = "inside"
    """A change in a container or sandbox, on a mount that the host does not have, that no container zone
    covers: nobody has said whether it may."""
    UNPLACED = "unplaced"
    """Nobody knows where it happened."""


class Judged(NamedTuple):
    """An event's verdict. ``zone`` is that of the side that decided, None if outside every zone."""

    zone: str | None
    verdict: Verdict
    reason: Reason = Reason.NONE
    on_source: bool = False
    """Whether the source side (the old name, the linked file) decided."""


class Sides(NamedTuple):
    """The verdicts on `FsEvent.path` and on `FsEvent.source`; None where the source is not judged."""

    path: Judged
    source: Judged | None


class NetEffect(enum.StrEnum):
    """What had become of a file at the end of the run, seen from its beginning."""

    __hash__ = str.__hash__  # that of an enumeration is a call of Python

    CREATED = "created"
    MODIFIED = "modified"
    REPLACED = "replaced"
    DELETED = "deleted"
    TRANSIENT = "transient"
    """Made and gone again."""
    ATTEMPTED = "attempted"
    """Only refused or failed attempts to change it."""
    READ = "read"


class Came(enum.StrEnum):
    """How a file came to be where it is at the end."""

    HARD_LINKED = "hard_linked"
    SYMLINKED = "symlinked"
    CLONED = "cloned"
    """By reflink: it shares the blocks of its source."""
    COPIED = "copied"
    RENAMED = "renamed"
    """It was there before the run, under another name."""
    WRITTEN = "written"


class Origin(NamedTuple):
    """How a file came, and from which mount; None where there is no source, or its mount is not known."""

    came: Came
    mount: int | None = None


@dataclass(slots=True)
class FileSummary:
    """All that happened to one path on one mount."""

    path: bytes
    mount: int | None
    zone: str | None
    verdict: Verdict
    net: NetEffect
    ops: Mapping[str, int] = field(default_factory=dict)
    """Times that each operation was tried, in order of appearance. Files with equal counts may
    share one mapping: it is not to be changed."""
    bytes_written: int = 0
    origin: Origin | None = None
    """How it came to be there; None of what the run did not make or write."""
    directory: bool = False
    """Whether it is known to be a directory."""


class Severity(enum.StrEnum):
    """How bad a finding is. `error` fails the run unless --fail-on says otherwise."""

    __hash__ = str.__hash__  # that of an enumeration is a call of Python

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"

    @property
    def rank(self) -> int:
        """0 for a note, 2 for an error."""
        return {"note": 0, "warning": 1, "error": 2}[self.value]


class Actor(NamedTuple):
    """A program that did what a finding is about. Texts are safe to show."""

    pid: int
    command: str = ""
    """The start of its command line; empty if it is not known."""
    exe: str = ""
    parent_pid: int | None = None
    parent: str = ""
    """The start of the command line of the program that started it."""
    package: str = ""
    """The npm or Python package that its script belongs to, where its path tells."""

    def describe_actor(self) -> str:
        """Return ``node post.js (pid 12), started by sh -c …, of package left-padder``, quoted."""
        name = f"`{self.command}` (pid {self.pid})" if self.command else f"pid {self.pid}"
        if self.parent:
            name += f", started by `{self.parent}`"
        return f"{name}, of package `{self.package}`" if self.package else name


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that the reader should know, with its cause and its remedy."""

    rule: str
    """WA101, …"""
    title: str
    severity: Severity
    message: str
    """One or two sentences with this run's figures. Names in it are shown by `text.quote_name`."""
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
    actors: tuple[Actor, ...] = ()
    """The programs that did it, as far as the evidence shows, the first of them first."""
    evidence_actors: tuple[int | None, ...] = ()
    """For each number in ``evidence``: whose doing it was, as an index into ``actors``."""


_FIRST = frozenset({"WA206", "WA301"})
"""Rules whose findings stand before others that are as grave: more is at stake than a place."""


def by_gravity(finding: Finding) -> tuple[int, bool, str]:
    """Return what findings are sorted by: the most severe first, then by rule."""
    return -finding.severity.rank, finding.rule not in _FIRST, finding.rule


class JudgedEvent(NamedTuple):
    """An event and its verdict, together, for those who stream over both."""

    event: FsEvent
    judged: Judged


class CommandOutcome(NamedTuple):
    """How the command ended, and what most likely made it fail."""

    failed: bool
    likely_cause: int | None = None
    """seq of the refused operation that most likely explains it; None if nothing does."""
    explanation: str = ""
    """The same in words, as a clause: what was refused, with which errno, and whose process it was."""
    pid: int | None = None
    """The process that met the refusal."""
