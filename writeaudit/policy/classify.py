"""What the policy says of one event (docs/policy.md). No state between events.

One thing that comes later matters: a temporary name is judged by the name that it is moved to
(`temporary.py`). `Classifier.look_ahead` is told of these before the first event is judged.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable
from collections.abc import Set as AbstractSet
from typing import NamedTuple, assert_never

from writeaudit.events import (
    DATA_OPS,
    EVENT_SIGNATURE,
    NAMESPACE_OPS,
    NOT_ON_DISK,
    OK,
    SPECIAL_OBJECTS,
    Access,
    Effect,
    FsEvent,
    Op,
    effect_of,
    has_no_name,
)
from writeaudit.judgement import Judged, Policy, Reason, Sides, Verdict, Zone, ZoneAccess
from writeaudit.policy.temporary import Life, find_temporary_names, stands_for
from writeaudit.policy.zones import ZoneMatcher, escape_pattern, literal_name, with_devices

REFUSALS = frozenset(
    {"EROFS", "EACCES", "EPERM", "ETXTBSY", "EBUSY", "EDQUOT", "ENOSPC", "EOVERFLOW", "ENOKEY"}
)
"""The errors by which the system stops a change that it understood, and that would have happened
in another state of permissions, mounts or space: read-only mount (EROFS), permission (EACCES,
EPERM), a program that runs (ETXTBSY), a mount point in use (EBUSY), no room (EDQUOT, ENOSPC), an
owner who has no name in this user namespace (EOVERFLOW), an encrypted directory without its key
(ENOKEY). Every other error speaks of the names themselves (EEXIST, ENOENT, ENOTEMPTY, EXDEV,
ELOOP of O_NOFOLLOW, EISDIR, …) or of a missing feature (EOPNOTSUPP, EINVAL): with any
permission the operation would have failed."""

_WITHOUT_FILE_OPS = (DATA_OPS - {Op.CLONE}) | {Op.OPEN}
"""Operations that may concern a device, a pipe or a socket alone."""


_ACCUSING = frozenset({Verdict.VIOLATION, Verdict.ATTEMPT})
_RULES = {
    Reason.READ_ONLY: "WA201",
    Reason.LINK_COUNT: "WA201",
    Reason.OUTSIDE: "WA202",
    Reason.FORBIDDEN_READ: "WA204",
    Reason.REFUSED: "WA205",
    Reason.NONE: "",
    Reason.INSIDE: "",
    Reason.UNPLACED: "",
}
"""What a violation is reported as."""


class _Demand(enum.IntEnum):
    """What an operation needs of the place where one of its sides lies."""

    WRITE = 0
    READ = 1
    LINK = 2
    """Another name for a file: its link count and ctime change, no more. A read-only mount
    refuses even that, so it is a minor violation in a zone that may not be written."""
    HANDLE = 3
    """O_PATH and its like: the name is used, nothing is read."""
    ASK = 5
    """The question whether a file may be written: access(2). It changes nothing; that a place which the
    policy allows to be written is refused to the process is worth reporting."""
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


class _Answers(NamedTuple):
    """The verdicts on all events that are of one key (`_key_of`), by number of zone."""

    on_path: tuple[Judged, ...]
    on_source: tuple[Judged, ...] | None
    """None where the source side is not judged."""
    needs_way: bool
    """Whether what lies outside every zone may be on the way to one: mkdir."""


def _judge_access(
    zone: Zone | None, demand: _Demand, result: str, *, on_source: bool, is_open: bool = False
) -> Judged:
    name = zone.name if zone is not None else None
    reason = _find_objection(zone.access if zone is not None else None, demand)
    if reason is Reason.NONE:
        harmless = demand in (_Demand.READ, _Demand.HANDLE, _Demand.ASK)
        verdict = Verdict.READ if harmless else Verdict.ALLOWED
        if result == OK:
            return Judged(name, verdict, on_source=on_source)
        writable = zone is not None and zone.access is ZoneAccess.READ_WRITE
        refused = result in REFUSALS and (demand is _Demand.WRITE or (demand is _Demand.ASK and writable))
        return Judged(name, Verdict.FAILED, Reason.REFUSED if refused else Reason.NONE, on_source)
    if result == OK:
        accused = not (is_open and reason is Reason.OUTSIDE)
        return Judged(name, Verdict.VIOLATION if accused else Verdict.ALLOWED, reason, on_source)
    if result in REFUSALS:
        return Judged(name, Verdict.ATTEMPT, reason, on_source)
    return Judged(name, Verdict.FAILED, Reason.NONE, on_source)


def _find_objection(access: ZoneAccess | None, demand: _Demand) -> Reason:
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
        case _Demand.HANDLE | _Demand.NO_FILE | _Demand.ASK:
            return Reason.NONE
        case _:
            assert_never(demand)


_Key = tuple[Op, int | None, object]


def _key_of(event: FsEvent) -> _Key:
    """Return all of an event that its verdicts depend on, beside where its sides lie.

    A run has some millions of events and some dozens of keys.
    """
    return event.op, event.fmt, event[EVENT_SIGNATURE]


_KEPT_KEYS = 1 << 14
_KEPT_DIRECTORIES = 1 << 17
"""Beyond so many the memory is let go and built again: a hostile program should not fill it with
made-up names (of extended attributes, of directories)."""


class Classifier:
    """Judges events by one policy. The zone ``devices`` is added where the policy has none."""

    __slots__ = (
        "_above", "_answers", "_exempt", "_lives", "_matcher", "_names", "_numbers", "_places", "_ways",
        "_zones",
        "policy",
    )  # fmt: skip

    def __init__(self, policy: Policy) -> None:
        self.policy = with_devices(policy)
        self._matcher = ZoneMatcher(self.policy.zones)
        # Zones by number; 0 is what lies outside every zone.
        self._zones: tuple[Zone | None, ...] = (None, *self.policy.zones)
        # By identity: the zones live as long as the policy, and hashing one costs more than the rest.
        self._names = tuple(None if zone is None else zone.name for zone in self._zones)
        self._numbers = {id(zone): number for number, zone in enumerate(self._zones)}
        self._answers: dict[_Key, _Answers] = {}
        # Directories below which all names lie in one zone and are names of files.
        self._places: dict[bytes, int] = {}
        self._ways = _ways_to_zones(self.policy.zones, _WRITABLE)
        self._above = _ways_to_zones(self.policy.zones, _PROTECTED)
        self._lives: dict[bytes, list[Life]] = {}
        self._exempt = [
            (ZoneMatcher((Zone(each.reason, ZoneAccess.READ_WRITE, each.patterns),)), frozenset(each.rules))
            for each in policy.exemptions
        ]

    def look_ahead(self, moves: Iterable[FsEvent], events: Callable[[], Iterable[FsEvent]]) -> None:
        """Find the temporary names among the events that will be judged (see `find_temporary_names`)."""
        self._lives = find_temporary_names(self, moves, events)

    def zone_of(self, path: bytes) -> Zone | None:
        """Return the zone that covers `path`, None outside every zone."""
        return self._zones[self._find_number(path)] if path[:1] == b"/" else self._matcher.find_zone(path)

    def zone_name(self, path: bytes, mount: int | None = None) -> str | None:  # noqa: ARG002 - see `framed`
        """Return the name of the zone that covers `path`, None outside every zone.

        That of a temporary name is the zone of the name that it stood for.
        """
        if self._lives:
            path = stands_for(self._lives, path, None) or path
        return self._names[self._find_number(path)]

    def judge(self, event: FsEvent) -> Judged:
        """Return the verdict on `event`: that of its worse side.

        A path whose `certainty` is ``lexical`` is judged as it stands. One that is not
        absolute lies outside every zone, so a change there is a violation: nobody can
        say that it was allowed.
        """
        # As `judge_sides` does, written out for the commonest case: this runs once for each event.
        answers = self._answers.get((event.op, event.fmt, event[EVENT_SIGNATURE]))
        path = event.path
        number = self._places.get(path[: path.rfind(b"/")])
        if answers is None or number is None or answers.needs_way or self._lives or self._exempt:
            on_path, on_source = self.judge_sides(event)
            judged = on_path if on_source is None else pick_worse(on_path, on_source)
            return judged if event.source is None or event.op is Op.LINK else self._judge_move(event, judged)
        judged = answers.on_path[number]
        if answers.on_source is None or event.source is None:
            return judged
        judged = pick_worse(judged, answers.on_source[self._find_number(event.source)])
        return judged if event.op is Op.LINK else self._judge_move(event, judged)

    def judge_sides(self, event: FsEvent) -> Sides:
        """Return the verdict on each side of `event`, the source's with ``on_source`` set."""
        answers = self._answers.get(_key_of(event)) or self._compute_answers(event)
        on_source: Judged | None = None
        if answers.on_source is not None and event.source is not None:
            on_source = self._apply_exemptions(
                answers.on_source[self._number_at(event.source, event.seq)], event.source
            )
        path = event.path
        if path.startswith(SPECIAL_OBJECTS) and has_no_name(event):
            return Sides(self._judge_nameless(event), on_source)
        number = self._number_at(path, event.seq)
        if answers.needs_way and path in self._ways and self._may_be_made(number, path):
            number = self._numbers[id(self._ways[path])]
        return Sides(self._apply_exemptions(answers.on_path[number], path), on_source)

    def _apply_exemptions(self, judged: Judged, path: bytes) -> Judged:
        """Return the verdict on a side, where an exception of the policy does not take it back."""
        if not self._exempt or judged.verdict not in _ACCUSING:
            return judged
        rule = "WA203" if judged.verdict is Verdict.ATTEMPT else _RULES[judged.reason]
        for matcher, rules in self._exempt:
            if (not rules or rule in rules) and matcher.find_zone(path) is not None:
                verdict = Verdict.FAILED if judged.verdict is Verdict.ATTEMPT else Verdict.ALLOWED
                return Judged(judged.zone, verdict, Reason.NONE, judged.on_source)
        return judged

    def _judge_move(self, event: FsEvent, judged: Judged) -> Judged:
        """Return the verdict on a rename: who moves a directory above a protected zone moves the zone.

        Its files can be changed under their new names then, and put back.
        """
        if event.op is Op.RENAME or event.op is Op.EXCHANGE:
            for path, on_source in ((event.source, True), (event.path, False)):
                zone = self._above.get(path or b"")
                if zone is not None:
                    moved = _judge_access(zone, _Demand.WRITE, event.result, on_source=on_source)
                    judged = pick_worse(judged, moved)
        return judged

    def _may_be_made(self, number: int, path: bytes) -> bool:
        """Whether a directory on the way to a writable zone may be made where it lies.

        Outside every zone, and in a read-only one that holds a writable one, as a project its environment.
        """
        zone = self._zones[number]
        if zone is None:
            return True
        return zone.access is ZoneAccess.READ_ONLY and escape_pattern(path) not in zone.patterns

    def _number_at(self, path: bytes, seq: int) -> int:
        """Return the number of the zone that covers what stood at `path` when an event happened."""
        number = self._find_number(path)
        if not self._lives:
            return number
        zone = self._zones[number]
        if zone is not None and zone.access is ZoneAccess.READ_WRITE:
            return number
        target = stands_for(self._lives, path, seq)
        return number if target is None else self._find_number(target)

    def _find_number(self, path: bytes) -> int:
        """Return the number of the zone that covers `path`, and remember its directory."""
        directory = path[: path.rfind(b"/")]
        number = self._places.get(directory)
        if number is not None:
            return number
        number = self._numbers[id(self._matcher.find_zone(path))]
        if (
            directory[:1] == b"/"
            and not directory.startswith(SPECIAL_OBJECTS)
            and self._matcher.settles_directory(directory)
        ):
            if len(self._places) >= _KEPT_DIRECTORIES:
                self._places.clear()
            self._places[directory] = number
        return number

    def _compute_answers(self, event: FsEvent) -> _Answers:
        """Work out the verdicts on events of the key of `event`, in every zone."""
        op, result = event.op, event.result
        if op in NAMESPACE_OPS:
            done = Verdict.READ if op is Op.RESTRICT else Verdict.ALLOWED
            only = Judged(None, done if result == OK else Verdict.FAILED)
            on_path: tuple[Judged, ...] = (only,) * len(self._zones)
        else:
            demand = _derive_demand(event)
            if event.fmt in NOT_ON_DISK and op in _WITHOUT_FILE_OPS and not event.created:
                demand = _without_file(demand)
            is_open = self.policy.is_open
            on_path = tuple(
                _judge_access(zone, demand, result, on_source=False, is_open=is_open) for zone in self._zones
            )
        on_source: tuple[Judged, ...] | None = None
        wanted = _TWO_SIDED.get(op)
        if wanted is not None:
            if wanted is _Demand.LINK and "deleted" in event.flags:
                wanted = _Demand.HANDLE  # made by O_TMPFILE: it had no name that could be protected
            is_open = self.policy.is_open
            on_source = tuple(
                _judge_access(zone, wanted, result, on_source=True, is_open=is_open) for zone in self._zones
            )
        if len(self._answers) >= _KEPT_KEYS:
            self._answers.clear()
        answers = _Answers(on_path, on_source, op is Op.MKDIR and bool(self._ways))
        self._answers[_key_of(event)] = answers
        return answers

    def _judge_nameless(self, event: FsEvent) -> Judged:
        """Return the verdict on the path side of an event that is about a pipe, a socket, a memfd."""
        if event.op in NAMESPACE_OPS:
            return self._compute_answers(event).on_path[0]
        zone = self._matcher.find_zone(event.path)
        return _judge_access(zone, _without_file(_derive_demand(event)), event.result, on_source=False)


def _derive_demand(event: FsEvent) -> _Demand:
    """Return what an event needs of the place where its path lies, if a file is there."""
    if event.op is Op.ACCESS:
        return _Demand.ASK
    if event.op is Op.OPEN:
        if event.access is Access.PATH:
            return _Demand.HANDLE
        if effect_of(event) is Effect.NONE:
            return _Demand.READ
    return _Demand.WRITE


def _without_file(demand: _Demand) -> _Demand:
    return _Demand.NO_FILE if demand is _Demand.WRITE else _Demand.HANDLE


_WRITABLE = frozenset({ZoneAccess.READ_WRITE})
_PROTECTED = frozenset({ZoneAccess.READ_ONLY, ZoneAccess.NONE})


def _ways_to_zones(zones: tuple[Zone, ...], accesses: AbstractSet[ZoneAccess]) -> dict[bytes, Zone]:
    """Return the directories above zones of some kinds, as far as their patterns name them.

    Making one above a writable zone (~/.cache for ~/.cache/uv, in a fresh home) is part of making the zone.
    """
    ways: dict[bytes, Zone] = {}
    for zone in zones:
        if zone.access not in accesses:
            continue
        for pattern in zone.patterns:
            way = b""
            for component in pattern.split(b"/")[1:-1]:
                name = literal_name(component)
                if name is None:
                    break
                way += b"/" + name
                ways.setdefault(way, zone)
    return ways


_REASON_RANK = {
    Reason.OUTSIDE: 4,
    Reason.READ_ONLY: 3,
    Reason.FORBIDDEN_READ: 2,
    Reason.LINK_COUNT: 1,
    Reason.REFUSED: 0,
    Reason.NONE: 0,
    Reason.INSIDE: 0,
    Reason.UNPLACED: 0,
}


def pick_worse(path: Judged, source: Judged) -> Judged:
    """Return the side that decides. Equals: the path, for that is where something new stands."""
    # A harmless source never decides: the zone of an allowed rename is that of the new name.
    if source.reason is Reason.NONE or source.reason is Reason.INSIDE:
        return path
    of_path = path.verdict.rank, _REASON_RANK[path.reason]
    of_source = source.verdict.rank, _REASON_RANK[source.reason]
    return source if of_source > of_path else path
