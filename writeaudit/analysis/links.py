"""WA101 to WA105: links and reflinks that the kernel refused, and what was copied instead."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from writeaudit.analysis.collector import Context
from writeaudit.analysis.diagnosis import Why, diagnose
from writeaudit.analysis.fallback import Refusal, copies
from writeaudit.analysis.ledger import Ledger
from writeaudit.analysis.link_advice import LinkAdviser
from writeaudit.analysis.link_words import CloneGroup, LinkGroup, clone_finding, link_finding
from writeaudit.analysis.mounts import MountTable
from writeaudit.analysis.tools import tool_of
from writeaudit.audit import Mount
from writeaudit.events import OK, FsEvent, Op
from writeaudit.judgement import Finding, Judged

# They accuse nobody (the name was taken, the file is gone, the call was broken off), or accuse
# the place rather than the link: a read-only mount refuses every other change as well.
_NOT_ABOUT_LINKS = frozenset(
    (
        *("EEXIST", "ENOENT", "ENOTDIR", "EISDIR", "ELOOP", "ENAMETOOLONG", "EFAULT", "EBADF", "ESTALE"),
        *("EROFS", "EINTR", "ERESTARTSYS", "ERESTARTNOINTR", "ERESTARTNOHAND"),
    )
)


_CloneKey = tuple[str, int | None, int | None]
"""Errno, mount of the source, mount of the target."""


def _clone_key(refusal: Refusal) -> _CloneKey:
    return refusal.result, refusal.source_mount, refusal.mount


class LinkCollector:
    """Collects refused links and clones, and the files that were made in this run."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._mounts = MountTable(context.mounts)
        self._tool = tool_of(context.policy)
        self._adviser = LinkAdviser(context, self._mounts, self._tool)
        self._ledger = Ledger()
        self._links: list[Refusal] = []
        self._clones: list[Refusal] = []
        self._linked: Counter[tuple[int | None, int | None]] = Counter()
        self._linked_before: dict[_CloneKey, int] = {}
        """Of each kind of refused clone: the hard links that had been made when the first one was refused."""
        self._takers: dict[Op, Callable[[FsEvent], None]] = {
            Op.OPEN: self._ledger.opened,
            Op.COPY: self._ledger.copied,
            Op.WRITE: self._ledger.written,
            Op.LINK: self._link,
            Op.CLONE: self._clone,
            Op.RENAME: self._ledger.renamed,
            Op.EXCHANGE: self._ledger.exchanged,
            Op.UNLINK: self._ledger.unlinked,
        }

    @property
    def ops(self) -> frozenset[Op]:
        """Those that make, fill, move and remove files."""
        return frozenset(self._takers)

    def feed(self, event: FsEvent, _judged: Judged, /) -> None:
        """Take the next event; links are refused alike in every zone, so its verdict is not asked."""
        self._takers[event.op](event)

    def _link(self, event: FsEvent) -> None:
        if event.result == OK:
            self._linked[event.source_mount, event.mount] += 1
        elif event.source is not None and event.result not in _NOT_ABOUT_LINKS:
            self._ledger.keep_all()
            self._links.append(Refusal.of(event))

    def _clone(self, event: FsEvent) -> None:
        self._ledger.copied(event)
        if event.result != OK and event.result not in _NOT_ABOUT_LINKS:
            self._ledger.keep_all()
            refusal = Refusal.of(event)
            self._clones.append(refusal)
            self._linked_before.setdefault(_clone_key(refusal), self._links_like(refusal))

    def findings(self) -> list[Finding]:
        """Return one finding for each rule, cause, and pair of mounts."""
        links = self._link_groups()
        found = [
            link_finding(group, self._context.run, self._adviser)
            for group in links
            # Without permission in a directory no copy can be made there either: a refused attempt
            # (WA203), not a fallback.
            if group.copied or group.gone or group.why is not Why.DIRECTORY
        ]
        found += [clone_finding(group) for group in self._clone_groups()]
        return found

    def _link_groups(self) -> list[LinkGroup]:
        groups: dict[tuple[Why, str, int | None, int | None], LinkGroup] = {}
        by_seq: dict[int, LinkGroup] = {}
        for refusal in self._links:
            source, target = self._sides(refusal)
            why = diagnose(refusal, source, target, self._context.run)
            key = (
                why,
                refusal.result,
                source.id if source else refusal.source_mount,
                target.id if target else refusal.mount,
            )
            group = groups.get(key)
            if group is None:
                group = groups[key] = LinkGroup(why, source, target)
            group.refusals.append(refusal)
            by_seq[refusal.seq] = group
        self._add_copies(self._links, by_seq)
        return list(groups.values())

    def _clone_groups(self) -> list[CloneGroup]:
        groups: dict[_CloneKey, CloneGroup] = {}
        by_seq: dict[int, CloneGroup] = {}
        for refusal in self._clones:
            key = _clone_key(refusal)
            group = groups.get(key)
            if group is None:
                source, target = self._sides(refusal)
                linked = self._links_like(refusal) - self._linked_before[key]
                group = groups[key] = CloneGroup(source, target, linked)
            group.refusals.append(refusal)
            by_seq[refusal.seq] = group
        self._add_copies(self._clones, by_seq)
        return list(groups.values())

    def _add_copies(
        self, refusals: Sequence[Refusal], groups: Mapping[int, LinkGroup] | Mapping[int, CloneGroup]
    ) -> None:
        """Add what was copied for want of links to the groups of their refusals, given by seq."""
        found = copies(refusals, self._ledger, self._tool.never_linked)
        for refusal, made in found.left:
            groups[refusal.seq].copied.append((refusal, made))
        for refusal, made in found.gone:
            groups[refusal.seq].gone.append(made)

    def _links_like(self, refusal: Refusal) -> int:
        """Return how many hard links were made so far between the mounts of a refused clone."""
        return sum(
            count
            for (from_mount, to_mount), count in self._linked.items()
            if to_mount == refusal.mount and refusal.source_mount in {from_mount, None}
        )

    def _sides(self, refusal: Refusal) -> tuple[Mount | None, Mount | None]:
        return (
            self._mounts.find(refusal.source_mount, refusal.source or None),
            self._mounts.find(refusal.mount, refusal.target),
        )
