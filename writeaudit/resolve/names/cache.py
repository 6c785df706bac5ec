"""What is known of files' names at one point of a run, and what that knowledge rests on.

Events are looked at some milliseconds after they happened. What the disk says by then may be
younger than the event. So what earlier events said of a name counts before the disk; and what
was read from the disk is an *assumption* until no event can come any more that shows that the name
had changed before it was read.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from writeaudit.resolve.names.evidence import LATE_NS, SLACK_NS, DoubtWindow, Evidence
from writeaudit.resolve.names.nodes import ALWAYS, NO_CHILDREN, DiskAssumption, NameKind, Node, NodeTree

_MOST = 1 << 17
"""How many assumptions are kept at once (20 MB at most)."""
_CREDIT, _CREDIT_EACH = 1 << 20, 32
"""How many assumptions may be searched for a name at once, and how many more with each event: a program
that moves names where nobody can follow should not make each of its calls cost thousands of them."""

_GONE_LATER = 1 << 12
_MOST_SHOWN = 1 << 14
_MOST_NAMES = 1 << 17
_KEY_BYTES = 1 << 26
"""How many names are added before most are forgotten (some 40 MB), or bytes of keys."""


class Link(NamedTuple):
    """A hard link that an event made."""

    seq: int
    since_ns: int
    path: bytes


class NameCache(NodeTree):
    """Names, by keys: absolute paths, of which a name has but one."""

    def __init__(self) -> None:
        super().__init__()
        self._epoch = 1
        self._live: deque[DiskAssumption] = deque()
        self._live_bytes = 0
        self._failed: list[Evidence] = []
        self.version = 0
        """Changes whenever what a path leads to may have changed."""
        self.seq = 0
        """That of the event at hand."""
        self.time_ns = 0
        self.since_ns = 0
        """When it may have taken effect at the earliest."""
        self._basis: Evidence | None = None
        self._doubts = DoubtWindow()
        self._credit = _CREDIT
        self._shown: set[bytes] = set()
        self._shown_version = 0
        self._gone_later: dict[bytes, tuple[Evidence, int]] = {}
        """Old names that were gone when the disk was asked, and whose rename that was taken to prove."""
        self.links: dict[bytes, Link] = {}
        """By name, as long as it stands for the same file: hard links of which nobody has asked yet which
        file they are."""
        self.before_loss: Callable[[], None] = _do_nothing
        """Called before it can no longer be told which of `links` still stand for their files."""
        self._make_shared_nodes()

    def _make_shared_nodes(self) -> None:
        """Make the nodes that many names share."""
        self.plain = _make_shared(NameKind.OTHER, self._epoch)
        """A name that is there and no symlink."""
        self.single = _make_shared(NameKind.OTHER, self._epoch)
        """The same, and the only name of its file, for this run made that."""
        self.linked = _make_shared(NameKind.UNKNOWN, self._epoch)
        """A hard link to whatever it may be."""
        self.absent = _make_shared(NameKind.ABSENT, self._epoch)

    @property
    def evidence(self) -> Evidence:
        """The event at hand."""
        if self._basis is None:
            self._basis = Evidence(self.seq, self.time_ns, self.since_ns)
        return self._basis

    def begin_event(self, seq: int, time_ns: int, lasted_ns: int = 0) -> None:
        """Turn to the next event; see `RawEvent` for the times."""
        if self._basis is not None:
            self._doubts.note_event(self._basis)
        self.seq, self.time_ns, self._basis = seq, time_ns, None
        self.since_ns = time_ns - (min(lasted_ns, LATE_NS) if lasted_ns else SLACK_NS)
        if self._credit < _CREDIT:
            self._credit += _CREDIT_EACH
        if self.grown > _MOST_NAMES or self.keyed > _KEY_BYTES:
            self.prune_names()
            self.version += 1
        if self._live:
            self._forget_settled()

    def _forget_settled(self) -> None:
        """Forget assumptions that no event can refute any more."""
        live = self._live
        while live and self.is_settled(live[0].until_ns):
            self._forget_oldest()
        while len(live) > _MOST or self._live_bytes > _KEY_BYTES:
            if not live[0].identity:  # if its file is the wrong one, no path is
                self._fail_assumption(live[0])  # nobody will say any more whether it was right
            self._forget_oldest()

    def _forget_oldest(self) -> None:
        assumption = self._live.popleft()
        self._live_bytes -= assumption.size
        assumption.drop_assumption()

    def take_failed(self) -> list[Evidence]:
        """Return, once, the events of which an assumption has turned out to be unfounded."""
        if not self._failed:
            return []
        found, self._failed = self._failed, []
        return found

    # Knowledge.

    def known_kind(self, node: Node) -> NameKind:
        """Return what is known of a name."""
        return node.kind if node.epoch == self._epoch else NameKind.UNKNOWN

    def kind_of(self, key: bytes) -> NameKind:
        """Return what is known of a name."""
        node = self.find_node(key)
        return NameKind.UNKNOWN if node is None else self.known_kind(node)

    def kind_before(self, key: bytes) -> NameKind:
        """Return what a name was before the event at hand, as far as that is known for sure."""
        node = self.find_node(key)
        if node is None or node.epoch != self._epoch:
            return NameKind.UNKNOWN
        kind = NameKind.ABSENT if node.kind is NameKind.ABSENT else self._before_move(node)[0]
        return NameKind.OTHER if kind is NameKind.UNKNOWN and node.there else kind

    def is_plain(self, key: bytes) -> bool:
        """Whether a name was known for sure, before the event at hand, to be no symlink and no directory."""
        node = self.find_node(key)
        return node is not None and node.epoch == self._epoch and self._before_move(node)[0] is NameKind.OTHER

    def _set_kind(self, node: Node, kind: NameKind, target: bytes = b"", *, there: bool = True) -> None:
        node.kind, node.target, node.looked_ns = kind, target, 0
        node.there, node.epoch = there, self._epoch

    def note_looked(self, node: Node, kind: NameKind, target: bytes, looked_ns: int) -> None:
        """The disk was asked about a name."""
        self._set_kind(node, kind, target, there=node.there and node.epoch == self._epoch)
        node.looked_ns = looked_ns

    def forget_all(self) -> None:
        """Nothing that was known can be relied on any more; assumptions can still fail."""
        if self.links:
            self.before_loss()
        self._epoch += 1
        self.version += 1
        self._make_shared_nodes()

    # Claims.

    def is_recent(self, looked_ns: int) -> bool:
        """Whether what was read from the disk then may be younger than the event at hand."""
        return looked_ns > self.since_ns

    def is_settled(self, looked_ns: int) -> bool:
        """Whether no event can come any more, or prove to have been another, that shows it was younger."""
        return self._doubts.is_settled(looked_ns, self.time_ns)

    def use_node(self, node: Node, group: Iterable[Evidence]) -> None:
        """The paths of some events rest on what is known of a name."""
        if node.looked_ns and self.is_recent(node.looked_ns):
            self.assume_unchanged(node, node.looked_ns, group, symlink=node.kind is NameKind.SYMLINK)

    def assume_unchanged(
        self,
        node: Node,
        until_ns: int,
        group: Iterable[Evidence] | None = None,
        *,
        identity: bool = False,
        symlink: bool = False,
        after: int = 0,
        before: int = ALWAYS,
    ) -> None:
        """The event at hand (or ``group``) rests on that nothing changed a name until it was looked at."""
        assumption = DiskAssumption((self.evidence,) if group is None else group, node, until_ns)
        assumption.identity, assumption.symlink, assumption.after, assumption.before = (
            identity,
            symlink,
            after,
            before,
        )
        if not identity:
            self.evidence.rests_ns = max(self.evidence.rests_ns, until_ns)
        if node.assumptions is None:
            node.assumptions = [assumption]
        else:
            node.assumptions.append(assumption)
        self._live.append(assumption)
        self._live_bytes += assumption.size

    def _touch_name(
        self, node: Node, *, made: bool = False, maker: int | None = None, directory: bool = False
    ) -> list[Evidence]:
        """The event at hand changes a name: what was read of it, or below it, later than that is wrong.

        What was taken for no symlink was none if it was not there (``made``) or a ``directory``; but if a
        call led through it, somebody must have removed it, and under another name as it seems. Returns the
        events that are right for that reason alone.
        """
        spared: list[Evidence] = []
        if not self._live:
            return spared
        seq, earliest = self.seq, self.since_ns
        todo = [node]
        while todo:
            here = todo.pop()
            todo.extend(here.children.values())
            for assumption in here.assumptions or ():
                if not assumption.after < seq < assumption.before or assumption.until_ns < earliest:
                    continue
                if assumption.identity or assumption.symlink:
                    self._fail_assumption(assumption)
                elif (made and assumption.holds_if_absent(maker)) or (
                    directory and here is node and assumption.holds_if_directory(seq)
                ):
                    assumption.before = seq
                    spared += assumption.evidence
                else:
                    self._fail_assumption(assumption)
        return spared

    def touch_any(self, names: Sequence[bytes], since_ns: int) -> None:
        """An event changed something of one of these names since then, and nobody knows in which directory.

        What was read from the disk later may be wrong; all of it, if a name is empty, or if there have
        been too many such events to look for each one's names.
        """
        if self.links:
            self.before_loss()
        parts = [b"/%s/" % name for name in names if name]
        everything = len(parts) < len(names) or self._credit < len(self._live)
        if not everything:
            self._credit -= len(self._live)
        open_: deque[DiskAssumption] = deque()
        for assumption in self._live:
            key = b"/%s/" % assumption.node.key
            if assumption.until_ns < since_ns:
                open_.append(assumption)
            elif everything or not assumption.node.key or any(part in key for part in parts):
                self._fail_assumption(assumption)
                assumption.drop_assumption()
            else:
                open_.append(assumption)
        self._live = open_
        self._live_bytes = sum(assumption.size for assumption in open_)

    def note_covered(self, key: bytes) -> None:
        """The event at hand mounts something on a name: its file is not what was found there later."""
        node = self.find_node(key)
        for assumption in () if node is None else node.assumptions or ():
            if (
                assumption.identity
                and assumption.after < self.seq < assumption.before
                and self.is_recent(assumption.until_ns)
            ):
                self._fail_assumption(assumption)

    def _fail_assumption(self, assumption: DiskAssumption) -> None:
        for evidence in assumption.evidence:
            if not assumption.identity:
                self.disbelieve_event(evidence)
            elif not evidence.unidentified:
                evidence.unidentified = True
                self._failed.append(evidence)
        if not assumption.identity:
            self.version += 1

    def disbelieve_event(self, evidence: Evidence) -> None:
        """What an event rests on has turned out to be unfounded."""
        if not evidence.broken:
            evidence.broken = True
            self._failed.append(evidence)

    # What events say.

    def note_made(self, key: bytes, kind: NameKind, target: bytes = b"", *, looked_up: bool = False) -> Node:
        """A name came to be something, which was not there before.

        ``looked_up``: by a call that would have followed it, had it been a symlink.
        """
        node = self.get_node(key)
        if self._gone_later:
            self._gone_later.pop(key, None)  # it was gone indeed
        if self.links:
            self._lose_link(key)
        self._touch_name(node, made=True, maker=self.seq if looked_up else None)
        if node.children:
            # What was read below it was read too early, or too late for the events until now.
            self.replace_children(node, NO_CHILDREN)
            self.version += 1
        self._change_kind(node, kind, target)
        if node.assumptions is None:
            node.key = b""  # most are never asked for again, and they are many
        return node

    def make_alike(self, directory: Node, name: bytes, key: bytes, alike: Node) -> bool:
        """Do what `note_made` does for a name that many others are like; returns whether that is all."""
        children = directory.children
        found = children.get(name)
        if found is None:
            self.grown += 1
        elif not found.shared:
            return False
        if self._gone_later:
            self._gone_later.pop(key, None)
        if self.links:
            self.links.pop(key, None)
        if children is NO_CHILDREN:
            directory.children = {name: alike}
        else:
            children[name] = alike
        return True

    def move_alike(
        self, directory: Node, name: bytes, key: bytes, above: Node, old_name: bytes, old_key: bytes
    ) -> bool:
        """Do what `note_renamed` does for a file that has but one name; returns whether that is all."""
        found = directory.children.get(name)
        if above.children.get(old_name) is not self.single or old_key in self._gone_later:
            return False
        if (found is not None and not found.shared) or key == old_key:
            return False
        self.make_alike(directory, name, key, self.single)
        above.children[old_name] = self.absent
        return True

    def linked_too(self, key: bytes) -> None:
        """A name's file got another name."""
        node = self.find_node(key)
        if node is not None and node.shared:
            self.get_node(key)  # one of its own, which is not said to be the only name

    def note_shown(self, key: bytes, time_ns: int, *, directory: bool) -> None:
        """The kernel gave the name of an open file: what is above it were directories then.

        So was the file itself if it is a ``directory``. It is as good as to have asked the disk at that time.
        """
        if self._shown_version != self.version or len(self._shown) > _MOST_SHOWN:
            self._shown_version = self.version
            self._shown.clear()
        at = key if directory else key[: key.rfind(b"/")]
        while at and at not in self._shown:
            self._shown.add(at)
            node = self.get_node(at)
            if self.known_kind(node) is NameKind.UNKNOWN:
                self.note_looked(node, NameKind.DIRECTORY, b"", time_ns)
            at = at[: at.rfind(b"/")]

    def note_seen(self, key: bytes, kind: NameKind) -> Node:
        """A name is something, and was so before."""
        node = self.get_node(key)
        self._was_there(key)
        self._change_kind(node, kind, b"")
        if node.assumptions is None:
            node.key = b""
        return node

    def _change_kind(self, node: Node, kind: NameKind, target: bytes) -> None:
        # A hard link may be one to a symlink; what had never been known led nowhere before.
        if NameKind.SYMLINK in (self.known_kind(node), kind) or (kind is NameKind.UNKNOWN and node.epoch):
            self.version += 1
        self._set_kind(node, kind, target)

    def note_removed(self, key: bytes, *, directory: bool) -> None:
        """A name is gone."""
        if self.links:
            self._lose_link(key)
        node = self.get_node(key)
        self._was_there(key)
        self._touch_name(node, directory=directory)
        if self.known_kind(node) is not NameKind.OTHER or node.children or node.looked_ns:
            self.version += 1
        self._mark_gone(node)

    def _mark_gone(self, node: Node) -> None:
        self._set_kind(node, NameKind.ABSENT, there=False)
        self.replace_children(node, NO_CHILDREN)

    def note_renamed(
        self, old: bytes, new: bytes, *, gone: bool | None, directory_ns: int = 0, gone_ns: int = 0
    ) -> None:
        """A name moved, with all that is known below it.

        ``gone``: whether the old one is no more. It still is if both were links to one file: rename(2)
        then does nothing. None: nobody knows. ``directory_ns``: when the disk was seen to have a directory
        under the new name; 0 if it had none. ``gone_ns``: when the old name was seen to be gone, if that is
        how it is known.
        """
        if self._are_nested(old, new):
            return
        if self.links:
            self._lose_link(old)
            self._lose_link(new)
        self._was_there(old)
        source, target = self.get_node(old), self.get_node(new)
        spared = self._touch_name(source, directory=bool(directory_ns))
        self._touch_name(target)
        if spared:
            # It was a directory before if that is what the disk showed, and not something younger.
            self.assume_unchanged(target, directory_ns, spared)
        plain = self.known_kind(source) is NameKind.OTHER and not source.children and not source.looked_ns
        if not plain or target.looked_ns or self.known_kind(target) in (NameKind.SYMLINK, NameKind.DIRECTORY):
            self.version += 1
        kind, text = self._before_move(source)
        children = source.children
        self._forget_late(children)
        if gone is False:
            self._set_kind(target, kind, text)
            return
        if gone:
            self._mark_gone(source)
            if gone_ns:
                if len(self._gone_later) >= _GONE_LATER:
                    del self._gone_later[next(iter(self._gone_later))]
                self._gone_later[old] = self.evidence, gone_ns
        else:
            self._set_kind(source, NameKind.UNKNOWN, there=False)
            self.replace_children(source, NO_CHILDREN)
        self._set_kind(target, kind, text)
        self.replace_children(target, children)

    def note_exchanged(self, one: bytes, other: bytes) -> None:
        """Two names changed places."""
        if self._are_nested(one, other):
            return
        if self.links:
            self._lose_link(one)
            self._lose_link(other)
        self.version += 1
        self._was_there(one)
        self._was_there(other)
        a, b = self.get_node(one), self.get_node(other)
        self._touch_name(a)
        self._touch_name(b)
        was, text = self._before_move(a)
        self._set_kind(a, *self._before_move(b))
        self._set_kind(b, was, text)
        above, below = a.children, b.children
        self.replace_children(a, below)
        self.replace_children(b, above)
        self._forget_late(a.children)
        self._forget_late(b.children)

    def _lose_link(self, key: bytes) -> None:
        """A name moves or goes. If it is that of a directory, ask first which files those below it are."""
        node = self.find_node(key)
        if node is not None and node.children:
            self.before_loss()
        self.links.pop(key, None)

    def _was_there(self, key: bytes) -> None:
        """The event at hand needed a name: no rename had taken it away, though it was gone later."""
        evidence, gone_ns = self._gone_later.pop(key, (None, 0))
        if evidence is not None and self.is_recent(gone_ns):
            self.disbelieve_event(evidence)

    def _are_nested(self, one: bytes, other: bytes) -> bool:
        """Whether names are one, or lie in one another and so cannot have moved: one is wrong then."""
        if one == other:
            self.touch_any(self.evidence.names, self.since_ns)  # it was no witness for itself
            return True
        cut = one.rfind(b"/") + 1
        if one[:cut] == other[:cut] and one[cut:] and other[cut:] and b"/" not in other[cut:]:
            return False  # in one directory, which is the commonest
        if any(a != b for a, b in zip(_names_of(one), _names_of(other), strict=False)):
            return False
        self.forget_all()
        self.disbelieve_event(self.evidence)
        return True

    def _before_move(self, node: Node) -> tuple[NameKind, bytes]:
        """Return what a name was that the event at hand moved, so was there, as far as that is sure."""
        if (node.looked_ns and self.is_recent(node.looked_ns)) or node.kind is NameKind.ABSENT:
            return NameKind.UNKNOWN, b""
        return self.known_kind(node), node.target

    def _forget_late(self, children: dict[bytes, Node]) -> None:
        """Of what moved with its directory, forget what was read from the disk too late."""
        todo = list(children.values())
        while todo:
            node = todo.pop()
            if node.looked_ns and self.is_recent(node.looked_ns):
                self._set_kind(node, NameKind.UNKNOWN, there=node.there and node.epoch == self._epoch)
            todo.extend(node.children.values())


def _names_of(key: bytes) -> list[bytes]:
    return [name for name in key.split(b"/") if name]


def _make_shared(kind: NameKind, epoch: int) -> Node:
    """Return a node for names that are alike."""
    node = Node()
    node.kind, node.epoch, node.there, node.shared = kind, epoch, kind is not NameKind.ABSENT, True
    return node


def _do_nothing() -> None:
    """Do nothing."""
