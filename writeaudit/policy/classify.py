"""What the policy says of one event (docs/policy.md). No lookahead, no state between events."""

from __future__ import annotations

import enum
import stat
from typing import NamedTuple, assert_never

from writeaudit.events import MANNER, NAMESPACE_OPS, OK, Access, FsEvent, Op
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


class _Answers(NamedTuple):
    """The verdicts on all events that are made in one manner (`_manner`), by number of zone."""

    on_path: tuple[Judged, ...]
    on_source: tuple[Judged, ...] | None
    """None where the source side is not judged."""
    needs_way: bool
    """Whether what lies outside every zone may be on the way to one: mkdir."""


def _judge(zone: Zone | None, demand: _Demand, result: str, *, on_source: bool) -> Judged:
    name = zone.name if zone is not None else None
    reason = _forbids(zone.access if zone is not None else None, demand)
    if reason is Reason.NONE:
        harmless = demand is _Demand.READ or demand is _Demand.HANDLE
        verdict = Verdict.READ if harmless else Verdict.ALLOWED
        if result == OK:
            return Judged(name, verdict, on_source=on_source)
        refused = demand is _Demand.WRITE and result in REFUSALS
        return Judged(name, Verdict.FAILED, Reason.REFUSED if refused else Reason.NONE, on_source)
    if result == OK:
        return Judged(name, Verdict.VIOLATION, reason, on_source)
    if result in REFUSALS:
        return Judged(name, Verdict.ATTEMPT, reason, on_source)
    return Judged(name, Verdict.FAILED, Reason.NONE, on_source)


def _forbids(access: ZoneAccess | None, demand: _Demand) -> Reason:
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


_Manner = tuple[Op, int | None, object]


def _manner(event: FsEvent) -> _Manner:
    """Return all of an event that its verdicts depend on, beside where its sides lie.

    A run has some millions of events and some dozens of manners.
    """
    return event.op, event.fmt, event[MANNER]


_KEPT_MANNERS = 1 << 14
_KEPT_DIRECTORIES = 1 << 17
"""Beyond so many the memory is let go and built anew: a hostile program should not fill it with
made-up names (of extended attributes, of directories)."""


class Classifier:
    """Judges events by one policy. The zone ``devices`` is added where the policy has none."""

    __slots__ = ("_answers", "_matcher", "_names", "_numbers", "_places", "_ways", "_zones", "policy")

    def __init__(self, policy: Policy) -> None:
        self.policy = with_devices(policy)
        self._matcher = ZoneMatcher(self.policy.zones)
        # Zones by number; 0 is what lies outside every zone.
        self._zones: tuple[Zone | None, ...] = (None, *self.policy.zones)
        # By identity: the zones live as long as the policy, and hashing one costs more than the rest.
        self._names = tuple(None if zone is None else zone.name for zone in self._zones)
        self._numbers = {id(zone): number for number, zone in enumerate(self._zones)}
        self._answers: dict[_Manner, _Answers] = {}
        # Directories below which all names lie in one zone and are names of files.
        self._places: dict[bytes, int] = {}
        self._ways = _ways_to_writable_zones(self.policy.zones)

    def zone_of(self, path: bytes) -> Zone | None:
        """Return the zone that covers `path`, None outside every zone."""
        return self._matcher.find(path)

    def zone_name(self, path: bytes) -> str | None:
        """Return the name of the zone that covers `path`, None outside every zone."""
        return self._names[self._number(path)]

    def judge(self, event: FsEvent) -> Judged:
        """Return the verdict on `event`: that of its worse side.

        A path whose `certainty` is ``lexical`` is judged as it stands. One that is not
        absolute lies outside every zone, so a change there is a violation: nobody can
        say that it was allowed.
        """
        # As `sides` does, written out for the commonest case: this runs once for each event.
        answers = self._answers.get((event.op, event.fmt, event[MANNER]))
        path = event.path
        number = self._places.get(path[: path.rfind(b"/")])
        if answers is None or number is None or answers.needs_way:
            on_path, on_source = self.sides(event)
            return on_path if on_source is None else _worse(on_path, on_source)
        judged = answers.on_path[number]
        if answers.on_source is None or event.source is None:
            return judged
        return _worse(judged, answers.on_source[self._number(event.source)])

    def sides(self, event: FsEvent) -> Sides:
        """Return the verdict on each side of `event`, the source's with ``on_source`` set."""
        answers = self._answers.get(_manner(event)) or self._learn(event)
        on_source: Judged | None = None
        if answers.on_source is not None and event.source is not None:
            on_source = answers.on_source[self._number(event.source)]
        path = event.path
        if path.startswith(_SPECIAL_OBJECTS) and has_no_name(event):
            return Sides(self._nameless(event), on_source)
        number = self._number(path)
        if number == 0 and answers.needs_way and path in self._ways:
            number = self._numbers[id(self._ways[path])]
        return Sides(answers.on_path[number], on_source)

    def _number(self, path: bytes) -> int:
        """Return the number of the zone that covers `path`, and remember its directory."""
        directory = path[: path.rfind(b"/")]
        number = self._places.get(directory)
        if number is not None:
            return number
        number = self._numbers[id(self._matcher.find(path))]
        if (
            directory[:1] == b"/"
            and not directory.startswith(_SPECIAL_OBJECTS)
            and self._matcher.settles(directory)
        ):
            if len(self._places) >= _KEPT_DIRECTORIES:
                self._places.clear()
            self._places[directory] = number
        return number

    def _learn(self, event: FsEvent) -> _Answers:
        """Work out the verdicts on events that are made in the manner of `event`, in every zone."""
        op, result = event.op, event.result
        if op in NAMESPACE_OPS:
            only = Judged(None, Verdict.ALLOWED if result == OK else Verdict.FAILED)
            on_path: tuple[Judged, ...] = (only,) * len(self._zones)
        else:
            demand = _demand(event)
            if event.fmt in NOT_ON_DISK and op in _DATA_OPS and not event.created:
                demand = _without_file(demand)
            on_path = tuple(_judge(zone, demand, result, on_source=False) for zone in self._zones)
        on_source: tuple[Judged, ...] | None = None
        wanted = _TWO_SIDED.get(op)
        if wanted is not None:
            if wanted is _Demand.LINK and "deleted" in event.flags:
                wanted = _Demand.HANDLE  # made by O_TMPFILE: it had no name that could be protected
            on_source = tuple(_judge(zone, wanted, result, on_source=True) for zone in self._zones)
        if len(self._answers) >= _KEPT_MANNERS:
            self._answers.clear()
        answers = _Answers(on_path, on_source, op is Op.MKDIR and bool(self._ways))
        self._answers[_manner(event)] = answers
        return answers

    def _nameless(self, event: FsEvent) -> Judged:
        """Return the verdict on the path side of an event that is about a pipe, a socket, a memfd."""
        if event.op in NAMESPACE_OPS:
            return self._learn(event).on_path[0]
        zone = self._matcher.find(event.path)
        return _judge(zone, _without_file(_demand(event)), event.result, on_source=False)


def _demand(event: FsEvent) -> _Demand:
    """Return what an event needs of the place where its path lies, if a file is there."""
    if event.op is Op.OPEN:
        if event.access is Access.PATH:
            return _Demand.HANDLE
        if not wants_change(event):
            return _Demand.READ
    return _Demand.WRITE


def _without_file(demand: _Demand) -> _Demand:
    return _Demand.NO_FILE if demand is _Demand.WRITE else _Demand.HANDLE


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
    Reason.REFUSED: 0,
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
