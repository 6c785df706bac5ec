"""The disk as the judge of a recording.

Two questions, with the tree as it was before and after a run:

1. Does replaying the recorded events on the tree before give the names of the tree after, with
   their types, the texts of symlinks, and the same files under them?
2. Has every file that existed before and whose data or metadata changed an event that explains it?

Replay takes events in their order, which is the order in which system calls returned. Of calls that
ran at the same time *and* concern the same names, the one that took effect first may return last:
such workloads have no defined answer, and the tests make none.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from collections.abc import Set as AbstractSet

from tests.conformance.compared import compare, unexplained
from tests.conformance.disk import FileTree
from tests.conformance.replayed import Node, identity_of, made_by, source_identity_of
from tests.conformance.wording import describe
from writeaudit.events import Certainty, FsEvent, Op


class Oracle:
    """Replays events on a tree. ``complaints`` says what does not fit."""

    def __init__(
        self, before: FileTree, foreign: AbstractSet[int] = frozenset(), *, created_known: bool = True
    ) -> None:
        """Begin with a tree. ``foreign`` are mounts that only the audited processes see: what lies
        in them has no name in the tree.
        """
        self._root_path = before.root
        self._foreign = foreign
        self._created_known = created_known
        self._nodes: dict[tuple[int, int], Node] = {}
        self._made: dict[tuple[int, int], Node] = {}
        """Files of the run's own, by the last device and inode that were said of one."""
        self._mounted: dict[bytes, Node] = {}
        self._away: dict[bytes, Node] = {}
        """Directories that were moved out of the tree, by their paths: a mount in it may still show them."""
        self._nameless: dict[bytes | tuple[Node, bytes], list[Node]] = {}
        self.complaints: list[str] = []
        for path, entry in before.entries.items():
            identity = entry.identity
            node = self._nodes.get(identity)
            if node is None:
                node = self._nodes[identity] = Node(entry.fmt, entry, entry.text, identity=identity)
            if not path:
                self._root = node
                continue
            directory, _, name = path.rpartition(b"/")
            parent = self._mounted.get(directory) or self._nodes[before.entries[directory].identity]
            if path in before.mountpoints:
                self._mounted[path] = node
                parent.children[name] = Node(stat.S_IFDIR)  # hidden by the mount
            else:
                parent.children[name] = node

    # Replay.

    def replay(self, events: Iterable[FsEvent]) -> None:
        """Take in events, in order of seq."""
        for event in events:
            if event.ok and event.mount not in self._foreign:
                self._apply(event)

    def _inside(self, path: bytes | None) -> bool:
        if path is None:
            return False
        if path == self._root_path or path.startswith(self._root_path + b"/"):
            return True
        return bool(self._away) and self._refuge(os.path.dirname(path)) is not None

    def _refuge(self, path: bytes) -> bytes | None:
        """Return the directory that was moved out of the tree and that holds a path, or is it."""
        while path and path not in self._away:
            path = path.rpartition(b"/")[0]
        return path or None

    def _find(self, path: bytes) -> Node | None:
        """Return the node of an absolute path without symlinks; None if there is none."""
        refuge = self._refuge(path) if self._away else None
        node: Node | None = self._root if refuge is None else self._away[refuge]
        relative = path[len(refuge or self._root_path) + 1 :]
        done = 0
        for name in relative.split(b"/") if relative else ():
            done += len(name) + 1
            mounted = None if refuge else self._mounted.get(relative[: done - 1])
            node = mounted if mounted is not None else node and node.children.get(name)
            if node is None:
                return None
        return node

    def _complain(self, event: FsEvent, text: str) -> None:
        self.complaints.append(f"{text}: {describe(event)}")

    def _apply(self, event: FsEvent) -> None:
        inside = self._inside(event.path)
        source_inside = event.op is not Op.SYMLINK and self._inside(event.source)
        if not inside and not source_inside:
            self._outside(event)
            return
        match event.op:
            case Op.OPEN:
                self._open(event)
            case Op.MKDIR | Op.MKNOD | Op.BIND | Op.SYMLINK:
                self._make(event, made_by(event))
            case Op.LINK:
                self._link(event, source_inside=source_inside)
            case Op.RENAME:
                self._rename(event, inside=inside, source_inside=source_inside)
            case Op.EXCHANGE:
                self._exchange(event)
            case Op.UNLINK | Op.RMDIR:
                self._remove(event)
            case Op.MOUNT | Op.UMOUNT | Op.CHROOT | Op.PIVOT_ROOT:
                pass  # names move in a namespace of their own, which the tree does not show
            case _:
                self._touch(event)

    def _outside(self, event: FsEvent) -> None:
        """A file of the tree may have another name outside of it, and be changed by that.

        One that is made there may come to the tree later.
        """
        identity = identity_of(event)
        if identity is None:
            return
        if event.created:
            self._made[identity] = Node(stat.S_IFREG, causes={"created"}, identity=identity)
            return
        node = self._made.get(identity) or self._nodes.get(identity)
        if node is not None and (event.op is not Op.OPEN or "trunc" in event.flags):
            node.causes.add("trunc" if event.op is Op.OPEN else event.op.value)

    def _from_outside(self, identity: tuple[int, int] | None) -> Node:
        """Return the node of a file that comes into the tree; what a new one is and holds nobody said."""
        known = None if identity is None else self._made.get(identity) or self._nodes.get(identity)
        # Another link to a file of the tree, it may be; a directory has but one.
        return known if known is not None and known.fmt != stat.S_IFDIR else Node(None, opaque=True)

    def _leave(self, path: bytes, node: Node) -> None:
        """A file is called by a name outside of the tree from now on."""
        self._away.pop(path, None)
        if node.fmt == stat.S_IFDIR and not node.opaque:
            self._away[path] = node

    def _parent(self, event: FsEvent, path: bytes) -> tuple[Node, bytes] | None:
        """Return the directory node of a path, marked as changed, and the last name."""
        directory, _, name = path.rpartition(b"/")
        node = self._find(directory) if self._inside(directory) or directory in self._away else None
        if node is None:
            self._complain(event, "its directory is not in the replayed tree")
            return None
        if node.fmt not in (stat.S_IFDIR, None):
            self._complain(event, "its directory is none in the replayed tree")
            return None
        node.causes.add("names")
        return node, name

    def _make(self, event: FsEvent, node: Node) -> None:
        place = self._parent(event, event.path)
        if place is None:
            return
        parent, name = place
        if name in parent.children:
            self._complain(event, "it made a name that is there already")
        parent.children[name] = node
        self._same_file(event, node)

    def _open(self, event: FsEvent) -> None:
        if "tmpfile" in event.flags:
            # The kernel's stand-in for a name ("#" and the inode number) is as good as one. A
            # file that lost its name is still called by the last one.
            self._lose_name(event.path, Node(stat.S_IFREG, identity=identity_of(event)))
            return
        node = next(iter(self._existing(event)), None)
        guessed = not self._created_known and "creat" in event.flags
        if node is None if guessed else event.created:
            if "deleted" in event.flags:
                return
            if node is not None:
                self._complain(event, "it says it made a file that was there")
            else:
                self._make(event, Node(stat.S_IFREG, causes={"created"}))
            return
        if node is None:
            self._complain(event, "it opened what is not in the replayed tree")
            return
        self._same_file(event, node)
        if "trunc" in event.flags:
            node.causes.add("trunc")

    def _slot(self, path: bytes) -> bytes | tuple[Node, bytes]:
        """Return what a name has but one of, by whatever path its directory is reached."""
        directory, _, name = path.rpartition(b"/")
        parent = self._find(directory) if self._inside(directory) else None
        return path if parent is None else (parent, name)

    def _lose_name(self, path: bytes, node: Node) -> None:
        for name in {path, self._slot(path)}:
            self._nameless.setdefault(name, []).append(node)

    def _lost(self, path: bytes) -> list[Node]:
        return self._nameless.get(path) or self._nameless.get(self._slot(path), [])

    def _existing(self, event: FsEvent) -> list[Node]:
        """Return the nodes that an event's path may mean: several only for a file without a name."""
        if "deleted" not in event.flags:
            node = self._find(event.path)
            return [] if node is None else [node]
        identity = identity_of(event)
        lost = self._lost(event.path)
        if identity is None:
            return lost
        same = [node for node in lost if node.identity == identity]
        if not same and identity in self._nodes:
            same = [self._nodes[identity]]
        return same[-1:] or [node for node in lost if node.identity is None][-1:]

    def _same_file(self, event: FsEvent, node: Node, *, of_source: bool = False) -> None:
        """Whether an event says the right device and inode of a file, if it says them for certain."""
        identity = source_identity_of(event) if of_source else identity_of(event)
        if event.certainty is Certainty.LEXICAL or identity is None:
            return
        if node.identity is None:
            node.identity = identity
            self._made[identity] = node
        elif identity != node.identity:
            self._complain(event, f"its file is not the one of that name {node.identity}")

    def _link(self, event: FsEvent, *, source_inside: bool) -> None:
        source = self._find(event.source) if source_inside and event.source else None
        if source is None and event.source is not None:
            source = next(reversed(self._lost(event.source)), None)
        if source is None:
            if source_inside:
                self._complain(event, "its source is not in the replayed tree")
            source = self._from_outside(source_identity_of(event))
        source.causes.add("link")
        self._same_file(event, source, of_source=True)
        if self._inside(event.path):
            self._make(event, source)

    def _rename(self, event: FsEvent, *, inside: bool, source_inside: bool) -> None:
        assert event.source is not None
        if event.source == event.path:
            return  # rename(2) does nothing
        node: Node | None = None
        if source_inside:
            place = self._parent(event, event.source)
            if place is not None:
                parent, name = place
                node = parent.children.get(name)
                if node is None:
                    self._complain(event, "its old name is not in the replayed tree")
                elif inside and node is self._find(event.path):
                    self._same_file(event, node)
                    return  # two links to one file: rename(2) does nothing
                else:
                    del parent.children[name]
                    if "whiteout" in event.flags:
                        parent.children[name] = Node(stat.S_IFCHR)
        if node is None:
            node = self._away.pop(event.source, None) or self._from_outside(identity_of(event))
        node.causes.add("rename")
        self._same_file(event, node)
        if not inside:
            self._leave(event.path, node)
        else:
            target = self._parent(event, event.path)
            if target is not None:
                parent, name = target
                replaced = parent.children.get(name)
                if replaced is not None:
                    replaced.causes.add("unlink")
                    self._lose_name(event.path, replaced)
                    if "noreplace" in event.flags:
                        self._complain(event, "it replaced a name although told not to")
                parent.children[name] = node

    def _exchange(self, event: FsEvent) -> None:
        assert event.source is not None
        if not (self._inside(event.path) and self._inside(event.source)):
            self._exchange_with_outside(event, event.source, of_source=self._inside(event.source))
            return
        one, other = self._parent(event, event.path), self._parent(event, event.source)
        if one is None or other is None:
            return
        (a, a_name), (b, b_name) = one, other
        if a_name not in a.children or b_name not in b.children:
            self._complain(event, "one of its names is not in the replayed tree")
            return
        a.children[a_name], b.children[b_name] = b.children[b_name], a.children[a_name]
        a.children[a_name].causes.add("rename")
        b.children[b_name].causes.add("rename")
        self._same_file(event, a.children[a_name])
        self._same_file(event, b.children[b_name], of_source=True)

    def _exchange_with_outside(self, event: FsEvent, source: bytes, *, of_source: bool) -> None:
        place = self._parent(event, source if of_source else event.path)
        if place is None:
            return
        parent, name = place
        gone = parent.children.get(name)
        if gone is None:
            self._complain(event, "one of its names is not in the replayed tree")
            return
        gone.causes.add("rename")
        self._same_file(event, gone, of_source=not of_source)
        outside = event.path if of_source else source
        identity = source_identity_of(event) if of_source else identity_of(event)
        node = self._away.pop(outside, None) or self._from_outside(identity)
        self._leave(outside, gone)
        node.causes.add("rename")
        self._same_file(event, node, of_source=of_source)
        parent.children[name] = node

    def _remove(self, event: FsEvent) -> None:
        place = self._parent(event, event.path)
        if place is None:
            return
        parent, name = place
        node = parent.children.pop(name, None)
        if node is None:
            self._complain(event, "it removed what is not in the replayed tree")
        else:
            node.causes.add("unlink")
            self._lose_name(event.path, node)
            if (node.fmt == stat.S_IFDIR) is not (event.op is Op.RMDIR) and node.fmt is not None:
                self._complain(event, "it removed a file of another type")

    def _touch(self, event: FsEvent) -> None:
        """A change of data or metadata."""
        if not self._inside(event.path):
            return
        nodes = self._existing(event)
        if not nodes and "deleted" not in event.flags:
            self._complain(event, "it changed what is not in the replayed tree")
        for node in nodes:
            if len(nodes) == 1:
                self._same_file(event, node)
            node.causes.add(event.op.value)

    # Judgement.

    def judge(self, after: FileTree) -> list[str]:
        """Return every complaint: of the replay, of names that differ, of unexplained changes."""
        complaints = list(self.complaints)
        seen: dict[int, tuple[int, int]] = {}
        names = dict(self._walk())
        for path in sorted(names.keys() | after.entries.keys()):
            entry, node = after.entries.get(path), names.get(path)
            if entry is None:
                complaints.append(f"the replay leaves a name that is not on the disk: {path!r}")
            elif node is None:
                if not self._below_opaque(path, names):
                    complaints.append(f"a name on the disk that no event explains: {path!r}")
            else:
                complaints.extend(compare(path, node, entry, seen))
        return [*complaints, *unexplained(names, after)]

    def _walk(self) -> Iterator[tuple[bytes, Node]]:
        todo: list[tuple[bytes, Node]] = [(b"", self._root)]
        while todo:
            path, node = todo.pop()
            yield path, node
            for name, child in node.children.items():
                below = path + b"/" + name if path else name
                todo.append((below, self._mounted.get(below, child)))

    @staticmethod
    def _below_opaque(path: bytes, names: dict[bytes, Node]) -> bool:
        while path:
            path = path.rpartition(b"/")[0]
            if path in names:
                return names[path].opaque
        return False


def check(
    before: FileTree,
    events: Iterable[FsEvent],
    after: FileTree,
    foreign: AbstractSet[int] = frozenset(),
    *,
    created_known: bool = True,
) -> list[str]:
    """Return every way in which a recording and the disk disagree. See `Oracle`.

    Unless ``created_known``, an open that may make a file is taken to have made it if there was none.
    """
    oracle = Oracle(before, foreign, created_known=created_known)
    oracle.replay(events)
    return oracle.judge(after)
