"""What is known of files' names at one point of a run, and what that knowledge rests on.

Events are looked at some milliseconds after they happened. What the disk says by then may be
younger than the event. So what earlier events said of a name counts before the disk; and what
was read from the disk is a *claim* until no event can come any more that shows that the name
had changed before it was read.
"""

from __future__ import annotations

import enum
from collections import deque

SLACK_NS = 5_000_000
"""How long before a call returns it may have taken effect. The time of an event is that of the return."""

_ALWAYS = 1 << 62


class Kind(enum.Enum):
    """What a name stands for."""

    UNKNOWN = enum.auto()
    ABSENT = enum.auto()
    DIRECTORY = enum.auto()
    SYMLINK = enum.auto()
    OTHER = enum.auto()
    """No symlink."""


class Basis:
    """An event, and what of it rests on the disk."""

    __slots__ = ("broken", "seq", "time_ns", "unidentified")

    def __init__(self, seq: int, time_ns: int) -> None:
        self.seq = seq
        self.time_ns = time_ns
        self.broken = False
        """Its path may be wrong."""
        self.unidentified = False
        """Its file may be another one than that which was found under its name."""


class _Claim:
    """That a name has not changed between an event and a look at the disk."""

    __slots__ = ("after", "basis", "before", "identity", "node", "symlink", "until_ns")

    def __init__(self, basis: Basis, node: Node, until_ns: int) -> None:
        self.basis = basis
        self.node = node
        self.until_ns = until_ns
        """When the disk was looked at."""
        self.after = 0
        self.before = _ALWAYS
        """Only events between these two, by seq, speak against it."""
        self.identity = False
        """It bears not the event's path, but the number of its file."""
        self.symlink = False


class Node:
    """One name in the tree of what is known."""

    __slots__ = ("children", "claims", "epoch", "kind", "looked_ns", "target")

    def __init__(self) -> None:
        self.kind = Kind.UNKNOWN
        self.target = b""
        self.epoch = 0
        self.looked_ns = 0
        """When the disk was asked (CLOCK_MONOTONIC); 0 if an event said it."""
        self.children: dict[bytes, Node] = {}
        self.claims: list[_Claim] | None = None


class Tree:
    """Names, by keys: absolute paths, of which a name has but one."""

    def __init__(self) -> None:
        self._root = Node()
        self._epoch = 1
        self._live: deque[_Claim] = deque()
        self._failed: list[Basis] = []
        self.version = 0
        """Changes whenever what a path leads to may have changed."""
        self.basis = Basis(0, 0)
        """The event at hand."""

    def begin(self, seq: int, time_ns: int) -> Basis:
        """Turn to the next event."""
        self.basis = Basis(seq, time_ns)
        live = self._live
        while live and live[0].until_ns + SLACK_NS < time_ns:
            claim = live.popleft()
            claims = claim.node.claims
            if claims is not None:
                claims.remove(claim)
                if not claims:
                    claim.node.claims = None
        return self.basis

    def failed(self) -> list[Basis]:
        """Return, once, the events of which a claim has turned out to be unfounded."""
        if not self._failed:
            return []
        found, self._failed = self._failed, []
        return found

    # Knowledge.

    def node(self, key: bytes) -> Node:
        """Return the node of a name, which is made if there is none."""
        node = self._root
        for name in key.split(b"/"):
            if name:
                found = node.children.get(name)
                if found is None:
                    found = node.children[name] = Node()
                node = found
        return node

    def find(self, key: bytes) -> Node | None:
        """Return the node of a name, if there is one."""
        node = self._root
        for name in key.split(b"/"):
            if name:
                found = node.children.get(name)
                if found is None:
                    return None
                node = found
        return node

    def known(self, node: Node) -> Kind:
        """Return what is known of a name."""
        return node.kind if node.epoch == self._epoch else Kind.UNKNOWN

    def kind(self, key: bytes) -> Kind:
        """Return what is known of a name."""
        node = self.find(key)
        return Kind.UNKNOWN if node is None else self.known(node)

    def proven(self, key: bytes) -> Kind:
        """Return what events said of a name; what was read from the disk does not count."""
        node = self.find(key)
        return Kind.UNKNOWN if node is None or node.looked_ns else self.known(node)

    def _set(self, node: Node, kind: Kind, target: bytes = b"", looked_ns: int = 0) -> None:
        node.kind, node.target, node.looked_ns, node.epoch = kind, target, looked_ns, self._epoch

    def looked(self, node: Node, kind: Kind, target: bytes, looked_ns: int) -> None:
        """The disk was asked about a name."""
        self._set(node, kind, target, looked_ns)

    def forget_all(self) -> None:
        """Nothing that was known can be relied on any more; claims can still fail."""
        self._epoch += 1
        self.version += 1

    # Claims.

    def use(self, node: Node) -> None:
        """The path of the event at hand rests on what is known of a name."""
        if node.looked_ns + SLACK_NS > self.basis.time_ns:
            self.claim(node, node.looked_ns, symlink=node.kind is Kind.SYMLINK)

    def claim(
        self,
        node: Node,
        until_ns: int,
        *,
        identity: bool = False,
        symlink: bool = False,
        after: int = 0,
        before: int = _ALWAYS,
    ) -> None:
        """The event at hand rests on that nothing changed a name until it was looked at."""
        claim = _Claim(self.basis, node, until_ns)
        claim.identity, claim.symlink, claim.after, claim.before = identity, symlink, after, before
        if node.claims is None:
            node.claims = [claim]
        else:
            node.claims.append(claim)
        self._live.append(claim)

    def _touch(self, node: Node, *, was_directory: bool = False) -> None:
        """The event at hand changes a name: what was read of it, or below it, later than that is wrong."""
        if not self._live:
            return
        seq, earliest = self.basis.seq, self.basis.time_ns - SLACK_NS
        todo = [node]
        while todo:
            here = todo.pop()
            todo.extend(here.children.values())
            for claim in here.claims or ():
                if not claim.after < seq < claim.before or claim.until_ns < earliest:
                    continue
                if was_directory and here is node and not claim.identity and not claim.symlink:
                    continue  # it was taken for a directory, and was one
                self._fail(claim)

    def touch_all(self, time_ns: int) -> None:
        """Nobody knows which name an event changed: what was read from the disk later may be wrong."""
        for claim in self._live:
            if claim.until_ns >= time_ns - SLACK_NS:
                self._fail(claim)

    def _fail(self, claim: _Claim) -> None:
        basis = claim.basis
        if claim.identity:
            if not basis.unidentified:
                basis.unidentified = True
                self._failed.append(basis)
        elif not basis.broken:
            basis.broken = True
            self._failed.append(basis)
            self.version += 1

    # What events say.

    def made(self, key: bytes, kind: Kind, target: bytes = b"") -> Node:
        """A name came to be something, which it was not before."""
        node = self.node(key)
        self._touch(node)
        self._now(node, kind, target)
        return node

    def seen(self, key: bytes, kind: Kind) -> Node:
        """A name is something, and was so before."""
        node = self.node(key)
        self._now(node, kind, b"")
        return node

    def _now(self, node: Node, kind: Kind, target: bytes) -> None:
        if Kind.SYMLINK in (self.known(node), kind):
            self.version += 1
        self._set(node, kind, target)

    def removed(self, key: bytes, *, directory: bool) -> None:
        """A name is gone."""
        node = self.node(key)
        self._touch(node, was_directory=directory)
        if self.known(node) is not Kind.OTHER or node.children or node.looked_ns:
            self.version += 1
        self._gone(node)

    def _gone(self, node: Node) -> None:
        self._set(node, Kind.ABSENT)
        node.children = {}

    def renamed(self, old: bytes, new: bytes, *, gone: bool | None) -> None:
        """A name moved, with all that is known below it.

        ``gone``: whether the old one is no more. It still is if both were links to one file: rename(2)
        then does nothing. None: nobody knows.
        """
        source, target = self.node(old), self.node(new)
        self._touch(source)
        self._touch(target)
        if self.known(source) is not Kind.OTHER or source.children or source.looked_ns:
            self.version += 1
        elif self.known(target) is not Kind.ABSENT:
            self.version += 1
        kind, text = self._before(source)
        children = source.children
        self._forget_late(children)
        if gone is False:
            self._set(target, kind, text)
            return
        if gone:
            self._gone(source)
        else:
            self._set(source, Kind.UNKNOWN)
            source.children = {}
        self._set(target, kind, text)
        target.children = children

    def exchanged(self, one: bytes, other: bytes) -> None:
        """Two names changed places."""
        self.version += 1
        a, b = self.node(one), self.node(other)
        self._touch(a)
        self._touch(b)
        was, text = self._before(a)
        self._set(a, *self._before(b))
        self._set(b, was, text)
        a.children, b.children = b.children, a.children
        self._forget_late(a.children)
        self._forget_late(b.children)

    def _before(self, node: Node) -> tuple[Kind, bytes]:
        """Return what a name was before the event at hand, as far as that is known for sure."""
        if node.looked_ns >= self.basis.time_ns - SLACK_NS:
            return Kind.UNKNOWN, b""
        return self.known(node), node.target

    def _forget_late(self, children: dict[bytes, Node]) -> None:
        """Of what moved with its directory, forget what was read from the disk too late."""
        earliest = self.basis.time_ns - SLACK_NS
        todo = list(children.values())
        while todo:
            node = todo.pop()
            if node.looked_ns >= earliest:
                self._set(node, Kind.UNKNOWN)
            todo.extend(node.children.values())
