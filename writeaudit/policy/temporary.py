"""Temporary names: what is made under one and moved onto an allowed name is judged by that name.

Tools write a file beside the one that they mean to replace, and rename it into place; cargo makes
a whole directory so. The temporary name lies outside the zone, and another one is drawn in each run.
It is the allowed name's own if the run made it, and moved it there: for that time, what happens
at the temporary name, and below it, is judged as if it happened at the allowed name.

Only siblings count: a name in the directory of the allowed name, or beside the zone's own root. A
file that is made in ~/.ssh for a moment and then moved to /tmp was in ~/.ssh.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple, Protocol

from writeaudit.events import OK, FsEvent, Op
from writeaudit.judgement import Zone, ZoneAccess
from writeaudit.paths import last_component

MOVES = frozenset({Op.RENAME, Op.EXCHANGE, Op.LINK})
"""Operations that give what stands under one name another one."""
_MAKES = frozenset({Op.MKDIR, Op.MKNOD, Op.BIND, Op.SYMLINK})
_REMOVES = frozenset({Op.UNLINK, Op.RMDIR})
_LOOKS_TEMPORARY = (b"tmp", b"temp", b"atomic", b".new", b".part")


class Life(NamedTuple):
    """One temporary name while it stood for another."""

    made: int
    """seq of the event that made it,"""
    ended: int
    """and of the one that moved or removed it."""
    target: bytes
    """The allowed name."""


class _Zones(Protocol):
    def zone_of(self, path: bytes) -> Zone | None: ...


def find_temporary_names(
    zones: _Zones, moves: Iterable[FsEvent], events: Callable[[], Iterable[FsEvent]]
) -> dict[bytes, list[Life]]:
    """Return the temporary names of a run, and when each stood for which name.

    ``moves``: the events of `MOVES`, in order; ``events()``: all of them, asked for only if need be.
    """
    targets = _find_candidates(zones, moves)
    return _find_lives(targets, events()) if targets else {}


def stands_for(lives: dict[bytes, list[Life]], path: bytes, seq: int | None) -> bytes | None:
    """Return the allowed name that `path` stood for at the time of an event, None if for none.

    ``seq`` None: at any time.
    """
    for name, rest in _walk_upwards(path):
        for life in lives.get(name, ()):
            if seq is None or life.made <= seq <= life.ended:
                return life.target + rest
    return None


def _walk_upwards(path: bytes) -> Iterator[tuple[bytes, bytes]]:
    end = len(path)
    while end > 0:
        yield path[:end], path[end:]
        end = path.rfind(b"/", 0, end)


def _find_candidates(zones: _Zones, moves: Iterable[FsEvent]) -> dict[bytes, dict[int, bytes]]:
    """Return, for each name outside the writable zones, when it was moved, and onto which allowed name."""
    found: dict[bytes, dict[int, bytes]] = {}
    # What leaves a writable name leaves no temporary one. That is most: the others alone fit into memory.
    kept = [
        event
        for event in moves
        if event.result == OK and event.source is not None and not _is_writable(zones.zone_of(event.source))
    ]
    last: dict[bytes, bytes] = {}
    # Backwards: a name may reach the allowed one by way of another temporary one.
    for event in reversed(kept):
        path, source = event.path, event.source
        assert source is not None
        target = path if _is_writable(zones.zone_of(path)) else last.get(path)
        last.pop(source, None)
        if target is None or not _are_siblings(zones, source, target):
            continue
        found.setdefault(source, {})[event.seq] = target
        last[source] = target
    return found


def _find_lives(targets: dict[bytes, dict[int, bytes]], events: Iterable[FsEvent]) -> dict[bytes, list[Life]]:
    """Return the names that the run itself had made, and that are gone in the end."""
    made: dict[bytes, int] = {}
    doubled: dict[bytes, bytes] = {}
    found: dict[bytes, list[Life]] = {}
    for event in events:
        if event.result != OK:
            continue
        op, path = event.op, event.path
        if op in MOVES and event.source in targets:
            source = event.source
            target = targets[source].get(event.seq)
            if target is not None and source in made:
                if op is Op.RENAME:
                    found.setdefault(source, []).append(Life(made.pop(source), event.seq, target))
                else:  # the old name is still there: it has to go
                    doubled[source] = target
        if path not in targets:
            continue
        if op in _REMOVES:
            since, of = made.pop(path, None), doubled.pop(path, None)
            if since is not None and of is not None:
                found.setdefault(path, []).append(Life(since, event.seq, of))
        elif op in _MAKES or op is Op.RENAME or op is Op.LINK or (op is Op.OPEN and _made_file(event)):
            made.setdefault(path, event.seq)
    return found


def _made_file(event: FsEvent) -> bool:
    """Whether an open made its file. Where the backend cannot tell, the name does."""
    if event.created:
        return True
    if "creat" not in event.flags:
        return False
    name = last_component(event.path).lower()
    return any(mark in name for mark in _LOOKS_TEMPORARY)


def _are_siblings(zones: _Zones, source: bytes, target: bytes) -> bool:
    directory = _directory_of(source)
    if directory == _directory_of(target):
        return True
    zone, top = zones.zone_of(target), target
    while top and zones.zone_of(_directory_of(top)) == zone:
        top = _directory_of(top)
    return directory == _directory_of(top)


def _directory_of(path: bytes) -> bytes:
    return path[: max(path.rfind(b"/"), 0)]


def _is_writable(zone: Zone | None) -> bool:
    return zone is not None and zone.access is ZoneAccess.READ_WRITE
