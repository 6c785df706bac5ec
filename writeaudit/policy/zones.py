"""Which zone a path lies in: patterns compiled once, answers kept for each directory.

A pattern is a list of path components and covers everything below what it matches.
Among the patterns that match a path, the longest match wins:

1. the one that matched more components of the path;
2. then the one with more bytes that are not wildcards;
3. then the stricter access (none, ro, rw);
4. then the zone that stands later in the policy.

The components of all patterns form a tree that is walked like a non-deterministic
automaton: one step a component, with the states after each directory kept. A path in a
directory where no pattern goes on costs one dictionary look-up.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from writeaudit.errors import PolicyError
from writeaudit.judgement import Policy, Zone, ZoneAccess
from writeaudit.text import escape_path

_SPECIAL = re.compile(rb"[*?\[]")
_ESCAPED = re.compile(rb"\[([*?\[])\]")
_CLASS = re.compile(rb"\[!?\]?[^\]]*\]")
_STRICTNESS = {ZoneAccess.READ_WRITE: 0, ZoneAccess.READ_ONLY: 1, ZoneAccess.NONE: 2}

# Beyond this many directories the memory is let go and built again: an installer does not
# come near, a hostile program should not fill our memory with made-up names.
_KEPT_DIRECTORIES = 200_000

DEVICES_ZONE = "devices"
_DEVICES = Zone(
    name=DEVICES_ZONE,
    access=ZoneAccess.READ_WRITE,
    patterns=(
        *(
            b"/dev/" + name
            for name in (b"null zero full random urandom tty ptmx pts console stdin stdout stderr fd".split())
        ),
        *(
            b"/proc/*/" + name
            for name in (
                b"comm oom_score_adj oom_adj uid_map gid_map projid_map setgroups "
                b"coredump_filter timerslack_ns loginuid attr fd".split()
            )
        ),
        *(b"/proc/*/task/*/" + name for name in b"comm attr fd".split()),
    ),
)


def with_devices(policy: Policy) -> Policy:
    """Return `policy` with the built-in zone ``devices``, unless it has one of its own."""
    if any(zone.name == DEVICES_ZONE for zone in policy.zones):
        return policy
    return policy._replace(zones=(*policy.zones, _DEVICES))


def is_built_in(zone: Zone) -> bool:
    """Whether a zone is the ``devices`` that `with_devices` adds."""
    return zone == _DEVICES


INHERITED_ZONE = "inherited"
_PROJECT_ZONE = "project"
"""What the profiles call a project's directory, where people put logs."""


def with_inherited(policy: Policy, paths: Sequence[bytes]) -> Policy:
    """Return `policy` with a zone for the files at `paths` that the command's caller had opened for it.

    ``command > build.log`` is the shell's doing, not the command's: no policy should have to name the log.
    But in a cache, an environment or any other zone with a purpose of its own it is judged like the rest.
    """
    if not paths or any(zone.name == INHERITED_ZONE for zone in policy.zones):
        return policy
    matcher = ZoneMatcher(policy.zones)
    found = {path: matcher.find_zone(path) for path in paths}
    ours = [path for path, zone in found.items() if zone is None or zone.name == _PROJECT_ZONE]
    if not ours:
        return policy
    made = Zone(INHERITED_ZONE, ZoneAccess.READ_WRITE, tuple(escape_pattern(path) for path in ours))
    return policy._replace(zones=(*policy.zones, made))


def escape_pattern(path: bytes) -> bytes:
    """Return the pattern that matches `path` itself, wildcard characters and all."""
    return _SPECIAL.sub(lambda found: b"[" + found[0] + b"]", path)


def literal_name(component: bytes) -> bytes | None:
    """Return the one name that a pattern's component matches, or None if it may match several."""
    if not _SPECIAL.search(component):
        return component
    if _SPECIAL.search(_ESCAPED.sub(b"", component)):
        return None
    return _ESCAPED.sub(rb"\1", component)


def literal_directory(pattern: bytes) -> bytes:
    """Return the longest path that all that a pattern matches is, or lies in; b"" for the root directory."""
    path = b""
    for component in pattern.split(b"/")[1:]:
        name = literal_name(component)
        if not name:
            break
        path += b"/" + name
    return path


def check_pattern(pattern: bytes) -> None:
    """Raise `PolicyError` if `pattern`, an absolute one, cannot be understood."""
    if not pattern.startswith(b"/"):
        raise PolicyError(f"the pattern {escape_path(pattern)} is not absolute")
    if b"\0" in pattern:
        raise PolicyError(f"the pattern {escape_path(pattern)} holds a NUL byte, which no path does")
    for component in pattern.split(b"/"):
        if b"**" in component and component != b"**":
            raise PolicyError(
                f"the pattern {escape_path(pattern)} has ** beside other characters",
                hint="** stands alone between slashes (/a/**/b); * matches within one name.",
            )
        if b"[" in _CLASS.sub(b"", component):
            raise PolicyError(
                f"the pattern {escape_path(pattern)} opens a bracket that is never closed",
                hint="Write [[] for a bracket that is part of a name.",
            )


class Rank(NamedTuple):
    """How good a match is; the greatest wins."""

    depth: int
    literal_bytes: int
    strictness: int
    order: int


@dataclass(slots=True, eq=False)
class _PatternNode:
    """A state: what has been matched so far, and what may follow."""

    names: dict[bytes, _PatternNode] = field(default_factory=dict)
    globs: list[tuple[re.Pattern[bytes], _PatternNode]] = field(default_factory=list)
    anywhere: _PatternNode | None = None
    """The state after ``**``, which stays alive whatever component follows."""
    loops: bool = False
    ends: list[tuple[int, int, int, Zone]] = field(default_factory=list)
    """Literal bytes, strictness, index and zone of the patterns that are complete here."""


class _MatchState(NamedTuple):
    """What is known about one directory."""

    states: tuple[_PatternNode, ...]
    """The states from which a name in this directory may go on; mostly none."""
    depth: int
    rank: Rank
    zone: Zone | None


_NO_RANK = Rank(-1, -1, -1, -1)


class ZoneMatcher:
    """Finds the zone of a path. Patterns are those of `Zone`: absolute and expanded."""

    __slots__ = ("_root", "_states")

    def __init__(self, zones: tuple[Zone, ...]) -> None:
        start = _PatternNode()
        for index, zone in enumerate(zones):
            for pattern in zone.patterns:
                check_pattern(pattern)
                self._add_pattern(start, index, zone, pattern)
        states, rank, best = self._close_nodes([start], 0, _NO_RANK, None)
        self._root = _MatchState(states, 0, rank, best)
        self._states: dict[bytes, _MatchState] = {b"": self._root}

    @staticmethod
    def _add_pattern(start: _PatternNode, index: int, zone: Zone, pattern: bytes) -> None:
        components = [part for part in pattern.split(b"/") if part not in (b"", b".")]
        # A zone covers what is below it: a ** at the end would say that twice, and would
        # make the match as long as the path, longer than any other.
        while components and components[-1] == b"**":
            components.pop()
        node = start
        size = 0
        for component in components:
            if component == b"**":
                if node.anywhere is None:
                    node.anywhere = _PatternNode(loops=True)
                node = node.anywhere
                continue
            name = literal_name(component)
            if name is not None:
                size += len(name)
                node = node.names.setdefault(name, _PatternNode())
                continue
            size += len(_CLASS.sub(b"", component).translate(None, b"*?"))
            regex = re.compile(fnmatch.translate(component.decode("latin-1")).encode("latin-1"))
            known = next((child for seen, child in node.globs if seen.pattern == regex.pattern), None)
            if known is None:
                known = _PatternNode()
                node.globs.append((regex, known))
            node = known
        node.ends.append((size, _STRICTNESS[zone.access], index, zone))

    @staticmethod
    def _close_nodes(
        nodes: list[_PatternNode], depth: int, rank: Rank, zone: Zone | None
    ) -> tuple[tuple[_PatternNode, ...], Rank, Zone | None]:
        """Close `nodes` over ``**``, and take the best pattern that ends in one of them."""
        alive: list[_PatternNode] = []
        for node in nodes:  # grows while it is walked
            if node.anywhere is not None and node.anywhere not in nodes:
                nodes.append(node.anywhere)
            for size, strictness, index, ended in node.ends:
                candidate = Rank(depth, size, strictness, index)
                if candidate > rank:
                    rank, zone = candidate, ended
            if node.names or node.globs or node.loops:
                alive.append(node)
        return tuple(alive), rank, zone

    def _step_into(self, state: _MatchState, name: bytes) -> _MatchState:
        nodes: list[_PatternNode] = []
        for node in state.states:
            child = node.names.get(name)
            if child is not None:
                nodes.append(child)
            for regex, target in node.globs:
                if regex.match(name):
                    nodes.append(target)
            if node.loops:
                nodes.append(node)
        depth = state.depth + 1
        states, rank, zone = self._close_nodes(nodes, depth, state.rank, state.zone)
        return _MatchState(states, depth, rank, zone)

    def _state_of(self, directory: bytes) -> _MatchState:
        """Return what is known about `directory`, spelled without a slash at its end."""
        known = self._states.get(directory)
        if known is not None:
            return known
        if len(self._states) > _KEPT_DIRECTORIES:
            self._states = {b"": self._root}
        # Not recursive: a path may have thousands of components.
        state = self._root
        pos = 0
        while pos < len(directory):
            end = directory.find(b"/", pos + 1)
            if end < 0:
                end = len(directory)
            if not state.states:
                break
            prefix = directory[:end]
            at = self._states.get(prefix)
            if at is None:
                name = directory[pos + 1 : end]
                at = self._step_into(state, name) if name not in (b"", b".") else state
                self._states[prefix] = at
            state = at
            pos = end
        self._states[directory] = state
        return state

    def settles_directory(self, directory: bytes) -> bool:
        """Whether all that lies below `directory` (absolute) is in one zone, or outside every zone."""
        return not self._state_of(directory).states

    def accesses_below(self, directory: bytes) -> frozenset[ZoneAccess]:
        """Return the accesses of all zones of which a pattern may match something below `directory`.

        A pattern that has matched `directory` itself does not count.
        """
        found: set[ZoneAccess] = set()
        waiting = list(self._state_of(directory.rstrip(b"/")).states)
        while waiting:
            node = waiting.pop()
            for child in (
                *node.names.values(), *(child for _regex, child in node.globs),
                *(() if node.anywhere is None else (node.anywhere,)),
            ):  # fmt: skip
                found.update(zone.access for _size, _strictness, _index, zone in child.ends)
                waiting.append(child)
        return frozenset(found)

    def find_zone(self, path: bytes) -> Zone | None:
        """Return the zone of an absolute, normalised path; None outside every zone.

        A path that is not absolute lies outside every zone.
        """
        cut = path.rfind(b"/")
        if cut < 0 or path[:1] != b"/":
            return None
        state = self._states.get(path[:cut]) or self._state_of(path[:cut])
        if not state.states:
            return state.zone
        name = path[cut + 1 :]
        return self._step_into(state, name).zone if name else state.zone


def covers_path(patterns: tuple[bytes, ...], path: bytes) -> bool:
    """Whether one of some patterns covers a path."""
    return ZoneMatcher((Zone("", ZoneAccess.READ_WRITE, patterns),)).find_zone(path) is not None
