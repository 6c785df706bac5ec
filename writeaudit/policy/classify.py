"""What the policy says of one event (docs/policy.md). No lookahead, no state between events."""

from __future__ import annotations

import enum
import stat
from typing import NamedTuple, assert_never

from writeaudit.events import NAMESPACE_OPS, OK, Access, FsEvent, Op
from writeaudit.judgement import Judged, Policy, Reason, Verdict, Zone, ZoneAccess
from writeaudit.policy.zones import ZoneMatcher, literal, with_devices

REFUSALS = frozenset(
    {"EROFS", "EACCES", "EPERM", "ETXTBSY", "EBUSY", "EDQUOT", "ENOSPC", "EOVERFLOW", "ENOKEY"}
)
"""The errors by which the system stops a change that it understood, and that would have happened
in another state of permissions, mounts or space: read-only mount (EROFS), permission (EACCES,
EPERM), a program that runs (ETXTBSY), a mount point in use (EBUSY), no room (EDQUOT, ENOSPC), an
owner who has no name in this user namespace (EOVERFLOW), an encrypted directory without its key
(ENOKEY). Every other error speaks of the names themselves (EEXIST, ENOENT, ENOTEMPTY, EXDEV,
ELOOP of O_NOFOLLOW, EISDIR, …) or of a missing feature (EOPNOTSUPP, EINVAL): with every permission
in the world the operation would have come to nothing."""

NOT_ON_DISK = frozenset({stat.S_IFCHR, stat.S_IFIFO, stat.S_IFSOCK})
"""The file types (`FsEvent.fmt`) whose data is in no file. Block devices are not among them."""

_DATA_OPS = frozenset({Op.OPEN, Op.WRITE, Op.COPY, Op.MMAP_WRITE, Op.TRUNCATE, Op.FALLOCATE})


class _Demand(enum.IntEnum):
    """What an operation needs of the place where one of its sides lies."""

    WRITE = 0
    READ = 1
    LINK = 2
    """Another name for a file: its link count and ctime change, no more. A read-only mount
    refuses even that, so it is forbidden, mildly, in a zone that may not be written."""
    HANDLE = 3
    """O_PATH and its like: the name is used, nothing is read."""
    NO_FILE = 4
    """A change, but of a device, a pipe, a socket: bytes that end up in no file."""


_TWO_SIDED = {
    Op.RENAME: _Demand.WRITE,
    Op.EXCHANGE: _Demand.WRITE,
    Op.LINK: _Demand.LINK,
    Op.COPY: _Demand.READ,
    Op.CLONE: _Demand.READ,
}
"""What is demanded of the source side."""

_SPECIAL_OBJECTS = (b"pipe:[", b"socket:[", b"anon_inode:", b"memfd:", b"/memfd:", b"/SYSV")


class Sides(NamedTuple):
    """The verdicts on `FsEvent.path` and on `FsEvent.source`; None where the source is not judged."""

    path: Judged
    source: Judged | None


def wants_change(event: FsEvent) -> bool:
    """Whether the operation changes the file at `path`, or would have if it had succeeded.

    An open for reading with ``creat`` counts only if it made the file or failed: that a
    file which is there already is opened so is no change, and needs no permission to write.
    """
    if event.op is not Op.OPEN:
        return event.op not in NAMESPACE_OPS
    access = event.access
    if access is Access.PATH:
        return False
    if event.created or access is Access.WRITE or access is Access.READ_WRITE:
        return True
    flags = event.flags
    if not flags:
        return False
    return "trunc" in flags or "tmpfile" in flags or ("creat" in flags and event.result != OK)


def has_no_name(event: FsEvent) -> bool:
    """Whether the event is about an object that lies in no directory: a pipe, a socket, a memfd."""
    if not event.path.startswith(_SPECIAL_OBJECTS):
        return False
    # A file of that name may well stand in the root directory; the kernel's own objects are nameless.
    return event.path[:1] != b"/" or "deleted" in event.flags


class _Answers(dict[str, Judged]):
    """The verdicts on one demand in one zone (or None, outside every zone), by the call's result.

    A dictionary that fills itself: a run has some millions of events and some dozens of verdicts.
    """

    __slots__ = ("_access", "_demand", "_name", "_on_source")

    def __init__(self, zone: Zone | None, demand: _Demand, *, on_source: bool) -> None:
        super().__init__()
        self._name = zone.name if zone is not None else None
        self._access = zone.access if zone is not None else None
        self._demand = demand
        self._on_source = on_source

    def __missing__(self, result: str) -> Judged:
        judged = self[result] = self._judge(result)
        return judged

    def _judge(self, result: str) -> Judged:
        demand, on_source = self._demand, self._on_source
        reason = self._forbids(demand)
        if reason is Reason.NONE:
            harmless = demand is _Demand.READ or demand is _Demand.HANDLE
            verdict = Verdict.READ if harmless else Verdict.ALLOWED
            return Judged(self._name, verdict if result == OK else Verdict.FAILED, on_source=on_source)
        if result == OK:
            return Judged(self._name, Verdict.VIOLATION, reason, on_source)
        if result in REFUSALS:
            return Judged(self._name, Verdict.ATTEMPT, reason, on_source)
        return Judged(self._name, Verdict.FAILED, Reason.NONE, on_source)

    def _forbids(self, demand: _Demand) -> Reason:
        access = self._access
        match demand:
            case _Demand.WRITE:
                if access is None:
                    return Reason.OUTSIDE
                return Reason.NONE if access is ZoneAccess.READ_WRITE else Reason.READ_ONLY
            case _Demand.READ:
                return Reason.FORBIDDEN_READ if access is ZoneAccess.NONE else Reason.NONE
            case _Demand.LINK:
                # Outside every zone there is nothing to protect.
                protected = access is ZoneAccess.READ_ONLY or access is ZoneAccess.NONE
                return Reason.LINK_COUNT if protected else Reason.NONE
            case _Demand.HANDLE | _Demand.NO_FILE:
                return Reason.NONE
            case _:
                assert_never(demand)


class Classifier:
    """Judges events by one policy. The zone ``devices`` is added where the policy has none."""

    __slots__ = ("_find", "_on_path", "_on_source", "_ways", "policy")

    def __init__(self, policy: Policy) -> None:
        self.policy = with_devices(policy)
        self._find = ZoneMatcher(self.policy.zones).find
        # By identity: the zones live as long as the policy, and hashing one costs more than the rest.
        zones = (None, *self.policy.zones)
        self._on_path = [
            {id(zone): _Answers(zone, demand, on_source=False) for zone in zones} for demand in _Demand
        ]
        self._on_source = [
            {id(zone): _Answers(zone, demand, on_source=True) for zone in zones} for demand in _Demand
        ]

        self._ways = _ways_to_writable_zones(self.policy.zones)

    def zone_of(self, path: bytes) -> Zone | None:
        """Return the zone that covers `path`, None outside every zone."""
        return self._find(path)

    def judge(self, event: FsEvent) -> Judged:
        """Return the verdict on `event`: that of its worse side.

        A path whose `certainty` is ``lexical`` is judged as it stands. One that is not
        absolute lies outside every zone, so a change there is a violation: nobody can
        say that it was allowed.
        """
        path = self._path_side(event)
        op = event.op
        if op not in _TWO_SIDED or event.source is None:
            return path
        return _worse(path, self._source_side(event.source, event))

    def sides(self, event: FsEvent) -> Sides:
        """Return the verdict on each side of `event`, the source's with ``on_source`` set."""
        path = self._path_side(event)
        if event.op not in _TWO_SIDED or event.source is None:
            return Sides(path, None)
        return Sides(path, self._source_side(event.source, event))

    def _source_side(self, source: bytes, event: FsEvent) -> Judged:
        demand = _TWO_SIDED[event.op]
        if demand is _Demand.LINK and "deleted" in event.flags:
            demand = _Demand.HANDLE  # made by O_TMPFILE: it had no name that could be protected
        return self._on_source[demand][id(self._find(source))][event.result]

    def _path_side(self, event: FsEvent) -> Judged:
        op = event.op
        if op in NAMESPACE_OPS:
            return _NAMESPACE if event.result == OK else _NAMESPACE_FAILED
        demand = _Demand.WRITE
        if op is Op.OPEN:
            access = event.access
            if access is Access.PATH:
                demand = _Demand.HANDLE
            elif not wants_change(event):
                demand = _Demand.READ
        path = event.path
        fmt = event.fmt
        if (fmt is not None and fmt in NOT_ON_DISK and op in _DATA_OPS and not event.created) or (
            path.startswith(_SPECIAL_OBJECTS) and has_no_name(event)
        ):
            demand = _Demand.NO_FILE if demand is _Demand.WRITE else _Demand.HANDLE
        zone = self._find(path)
        if zone is None and op is Op.MKDIR:
            zone = self._ways.get(path)
        return self._on_path[demand][id(zone)][event.result]


def _ways_to_writable_zones(zones: tuple[Zone, ...]) -> dict[bytes, Zone]:
    """Return the directories that have to be there before a writable zone can be.

    Making one of them (~/.cache for ~/.cache/uv, in a fresh home) is part of making the zone,
    as long as it lies outside every zone.
    """
    ways: dict[bytes, Zone] = {}
    for zone in zones:
        if zone.access is not ZoneAccess.READ_WRITE:
            continue
        for pattern in zone.patterns:
            way = b""
            for component in pattern.split(b"/")[1:-1]:
                name = literal(component)
                if name is None:
                    break
                way += b"/" + name
                ways.setdefault(way, zone)
    return ways


_NAMESPACE = Judged(None, Verdict.ALLOWED)
_NAMESPACE_FAILED = Judged(None, Verdict.FAILED)

_GRAVITY = {
    Verdict.VIOLATION: 4,
    Verdict.ATTEMPT: 3,
    Verdict.ALLOWED: 2,
    Verdict.FAILED: 1,
    Verdict.READ: 0,
}
_REASON_GRAVITY = {
    Reason.OUTSIDE: 4,
    Reason.READ_ONLY: 3,
    Reason.FORBIDDEN_READ: 2,
    Reason.LINK_COUNT: 1,
    Reason.NONE: 0,
}


def gravity(verdict: Verdict) -> int:
    """Order verdicts, the worst highest: violation, attempt, allowed, failed, read."""
    return _GRAVITY[verdict]


def _worse(path: Judged, source: Judged) -> Judged:
    """Return the side that decides. Equals: the path, for that is where something new stands."""
    # A harmless source never decides: the zone of an allowed rename is that of the new name.
    if source.reason is Reason.NONE:
        return path
    of_path = _GRAVITY[path.verdict], _REASON_GRAVITY[path.reason]
    of_source = _GRAVITY[source.verdict], _REASON_GRAVITY[source.reason]
    return source if of_source > of_path else path
