"""One name of the tree, and what rests on it."""

from __future__ import annotations

import enum
from collections.abc import Iterable

from writeaudit.bounded_cache import BoundedCache
from writeaudit.resolve.names.evidence import Evidence

ALWAYS = 1 << 62


class NameKind(enum.Enum):
    """What a name stands for."""

    UNKNOWN = enum.auto()
    ABSENT = enum.auto()
    DIRECTORY = enum.auto()
    SYMLINK = enum.auto()
    OTHER = enum.auto()
    """No symlink."""


class DiskAssumption:
    """That a name has not changed between an event and a look at the disk."""

    __slots__ = ("after", "before", "evidence", "identity", "node", "size", "symlink", "until_ns")

    def __init__(self, group: Iterable[Evidence], node: Node, until_ns: int) -> None:
        self.evidence = group
        self.node = node
        self.until_ns = until_ns
        """When the disk was looked at."""
        self.after = 0
        self.before = ALWAYS
        """Only events between these two, by seq, speak against it."""
        self.identity = False
        """The number of the event's file rests on it, not its path."""
        self.symlink = False
        self.size = len(node.key)

    def holds_if_absent(self, maker: int | None) -> bool:
        """Whether the name may not have been there before an event; ``maker``, if given, did not need it."""
        return not self.after and not any(evidence.ok and evidence.seq != maker for evidence in self.evidence)

    def holds_if_directory(self, mover: int) -> bool:
        """Whether it need not be believed that an event moved a directory because it led through it."""
        return not any(evidence.seq == mover for evidence in self.evidence)

    def drop_assumption(self) -> None:
        """It was right, or has failed: nothing needs to know of it any more."""
        assumptions = self.node.assumptions
        if assumptions is not None:
            assumptions.remove(self)
            if not assumptions:
                self.node.assumptions = None
                self.node.key = b""


class Node:
    """One name in the tree of what is known."""

    __slots__ = ("assumptions", "children", "epoch", "key", "kind", "looked_ns", "shared", "target", "there")

    def __init__(self) -> None:
        self.kind = NameKind.UNKNOWN
        self.target = b""
        self.epoch = 0
        self.looked_ns = 0
        """When the disk was asked (CLOCK_MONOTONIC); 0 if an event said it."""
        self.key = b""
        """Its key when it was asked for last; empty if it was not kept."""
        self.there = False
        """An event said that it is there, whatever it is."""
        self.children = NO_CHILDREN
        self.assumptions: list[DiskAssumption] | None = None
        self.shared = False
        """It stands for many names, of which the same is known: none of them may
        be changed through it. `NodeTree.get_node` gives a name one of its own."""


NO_CHILDREN: dict[bytes, Node] = {}
"""Shared by all that have none, which are most; it is replaced, and never added to."""


_DIRECTORIES = 8 << 20
"""Bytes."""


class NodeTree:
    """Nodes by key: a path, of which empty components do not count."""

    def __init__(self) -> None:
        self._root = Node()
        self._directories: BoundedCache[bytes, Node] = BoundedCache(_DIRECTORIES)
        """Where the names of directories lead in the tree, until one of them moves."""
        self.grown = 0
        """How many names were added since the last `prune_names`."""
        self.keyed = 0
        """How many bytes of keys were kept since then, at most."""

    def get_node(self, key: bytes) -> Node:
        """Return the node of a name, which is made if there is none."""
        cut = key.rfind(b"/")
        name = key[cut + 1 :]
        if not name:
            node = self._grow_path(self._root, key)
        else:
            directory = self._directories.get(key[:cut])
            if directory is None:
                directory = self._find_directory(key[:cut])
            node = self._own_child(directory, name)
        if not node.key:
            self.keyed += len(key)
        node.key = key
        return node

    def get_directory(self, key: bytes) -> Node:
        """Return the node of a directory."""
        return self._directories.get(key) or self._find_directory(key)

    def _find_directory(self, key: bytes) -> Node:
        """Return the node of a directory, to be found at once the next time: most names share theirs."""
        node = self._grow_path(self._root, key)
        self._directories.keep_entry(key, node, len(key))
        return node

    def _grow_path(self, node: Node, key: bytes) -> Node:
        for name in key.split(b"/"):
            if name:
                node = self._own_child(node, name)
        return node

    def _own_child(self, node: Node, name: bytes) -> Node:
        """Return the node of a name in a directory, its own one."""
        found = node.children.get(name)
        if found is None:
            return self._make_child(node, name)
        if not found.shared:
            return found
        own = node.children[name] = Node()
        own.kind, own.epoch, own.there = found.kind, found.epoch, found.there
        return own

    def _make_child(self, node: Node, name: bytes) -> Node:
        """Make the node of a name that has none yet."""
        self.grown += 1
        child = Node()
        if node.children is NO_CHILDREN:
            node.children = {name: child}
        else:
            node.children[name] = child
        return child

    def prune_names(self) -> None:
        """Forget the names that lead nowhere and that nothing rests on: those of most files that were made.

        Of the others, symlinks and directories, there are few. What is forgotten is asked of the disk, if
        ever again. Invalidates every `Node` without assumptions that was handed out.
        """
        self.grown = self.keyed = 0
        self._directories.clear()
        todo = [self._root]
        while todo:
            node = todo.pop()
            if node.assumptions is None:
                node.key = b""
            if not node.children:
                continue
            kept = {name: child for name, child in node.children.items() if _leads_on(child)}
            node.children = kept or NO_CHILDREN
            todo.extend(kept.values())

    def find_node(self, key: bytes) -> Node | None:
        """Return the node of a name, if there is one."""
        node = self._root
        for name in key.split(b"/"):
            if name:
                found = node.children.get(name)
                if found is None:
                    return None
                node = found
        return node

    def replace_children(self, node: Node, children: dict[bytes, Node]) -> None:
        """Let a name have other names below it than before."""
        if node.children:
            self._directories.clear()
        node.children = children


def _leads_on(node: Node) -> bool:
    return bool(node.children or node.assumptions) or node.kind in (NameKind.SYMLINK, NameKind.DIRECTORY)
