"""WA101 to WA105: links and reflinks that the kernel refused, and what was copied instead."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from writeaudit.analysis.collector import RunContext
from writeaudit.analysis.installers import installer_of
from writeaudit.analysis.links.advice import LinkAdviser
from writeaudit.analysis.links.copies import RefusedLink, match_copies
from writeaudit.analysis.links.provenance import CreatedFile, FileProvenance
from writeaudit.analysis.links.refusals import RefusalCause, diagnose_across, diagnose_refusal
from writeaudit.analysis.links.renames import rename_finding
from writeaudit.analysis.links.sandboxes import Sandboxes
from writeaudit.analysis.links.within import Restrictions, find_candidates
from writeaudit.analysis.links.wording import CloneGroup, LinkGroup, clone_finding, link_finding
from writeaudit.analysis.mounts import RecordedMounts
from writeaudit.audit import Mount
from writeaudit.events import OK, FsEvent, Op
from writeaudit.judgement import Finding, Judged
from writeaudit.paths import path_suffix

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


def _clone_key(refusal: RefusedLink) -> _CloneKey:
    return refusal.result, refusal.source_mount, refusal.mount


class LinkCollector:
    """Collects refused links and clones, and the files that were made in this run."""

    def __init__(self, context: RunContext) -> None:
        self._context = context
        self._mounts = RecordedMounts(context.mounts)
        self._tool = installer_of(context.policy)
        self._adviser = LinkAdviser(context, self._mounts, self._tool)
        self._provenance = FileProvenance()
        self.copied: dict[bytes, int | None] = {}
        """What was copied because a link was refused, with the mount of its source; after `list_findings`."""
        self._links: list[RefusedLink] = []
        self._renames: list[RefusedLink] = []
        self._restrictions = Restrictions(context)
        self._sandboxes = Sandboxes(context)
        self._probes: set[int] = set()
        """Refusals of files without data that the run made itself: somebody tried what works here."""
        self._clones: list[RefusedLink] = []
        self._linked: Counter[tuple[int | None, int | None]] = Counter()
        self._linked_before: dict[_CloneKey, int] = {}
        """Of each kind of refused clone: the hard links that had been made when the first one was refused."""
        self._takers: dict[Op, Callable[[FsEvent], None]] = {
            Op.OPEN: self._provenance.note_opened,
            Op.COPY: self._provenance.note_copied,
            Op.WRITE: self._provenance.note_written,
            Op.LINK: self._add_link,
            Op.CLONE: self._add_clone,
            Op.RENAME: self._add_rename,
            Op.RESTRICT: self._restrictions.note_restriction,
            Op.MOUNT: self._sandboxes.note_mount,
            Op.EXCHANGE: self._provenance.note_exchanged,
            Op.UNLINK: self._provenance.note_unlinked,
        }

    @property
    def ops(self) -> frozenset[Op]:
        """Those that make, fill, move and remove files."""
        return frozenset(self._takers)

    def add_event(self, event: FsEvent, _judged: Judged, /) -> None:
        """Take the next event; links are refused alike in every zone, so its verdict is not asked."""
        self._takers[event.op](event)

    def _add_link(self, event: FsEvent) -> None:
        if event.result == OK:
            self._linked[event.source_mount, event.mount] += 1
        elif event.source is not None and event.result not in _NOT_ABOUT_LINKS:
            if self._provenance.is_empty(event.source):
                self._probes.add(event.seq)
            self._provenance.keep_all()
            self._links.append(RefusedLink.from_event(event))

    def _add_rename(self, event: FsEvent) -> None:
        if event.result == "EXDEV" and event.source is not None:
            self._provenance.keep_all()
            self._renames.append(RefusedLink.from_event(event))
        else:
            self._provenance.note_renamed(event)

    def _add_clone(self, event: FsEvent) -> None:
        self._provenance.note_copied(event)
        if event.result != OK and event.result not in _NOT_ABOUT_LINKS:
            self._provenance.keep_all()
            refusal = RefusedLink.from_event(event)
            if event.source is not None and self._provenance.is_empty(event.source):
                self._probes.add(event.seq)
            self._clones.append(refusal)
            self._linked_before.setdefault(_clone_key(refusal), self._links_like(refusal))

    def list_findings(self) -> list[Finding]:
        """Return one finding for each rule, cause, and pair of mounts."""
        links = self._link_groups()
        found = [
            link_finding(group, self._context.run, self._adviser)
            for group in links
            # Without permission in a directory no copy can be made there either: a refused attempt
            # (WA203), not a fallback.
            if group.copied
            or group.gone
            or (group.why is not RefusalCause.DIRECTORY and not self._only_probes(group.refusals))
        ]
        found += [rename_finding(group) for group in self._rename_groups()]
        found += [
            clone_finding(group)
            for group in self._clone_groups()
            if group.copied or group.gone or not self._only_probes(group.refusals)
        ]
        return found

    def _only_probes(self, refusals: Iterable[RefusedLink]) -> bool:
        return all(refusal.seq in self._probes for refusal in refusals)

    def _link_groups(self) -> list[LinkGroup]:
        groups: dict[tuple[RefusalCause, str, int | None, int | None], LinkGroup] = {}
        by_seq: dict[int, LinkGroup] = {}
        for refusal in self._links:
            source, target = self._find_mounts(refusal)
            why = diagnose_refusal(refusal, source, target, self._context.run)
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
        for group in groups.values():
            self._explain_group(group)
        return list(groups.values())

    def _explain_group(self, group: LinkGroup) -> None:
        """Add who may have refused it within one mount, and whether the command failed of it."""
        cause = self._context.outcome().likely_cause
        group.fatal = any(refusal.seq == cause for refusal in group.refusals)
        if group.why is RefusalCause.WITHIN:
            first = group.refusals[0]
            group.candidates = find_candidates(self._context, self._restrictions, first, group.target)

    def _rename_groups(self) -> list[LinkGroup]:
        groups: dict[tuple[RefusalCause, int | None, int | None], LinkGroup] = {}
        targets: dict[bytes, tuple[RefusedLink, LinkGroup]] = {}
        for refusal in self._renames:
            source, target = self._find_mounts(refusal)
            why = diagnose_across(refusal, source, target)
            key = (
                why,
                source.id if source else refusal.source_mount,
                target.id if target else refusal.mount,
            )
            group = groups.get(key)
            if group is None:
                group = groups[key] = LinkGroup(why, source, target)
            group.refusals.append(refusal)
            targets.setdefault(refusal.target, (refusal, group))
        for made in self._provenance.list_created() if targets else ():
            for refusal, group in _renames_above(targets, made):
                group.copied.append((refusal, made))
                self.copied[made.names[-1]] = refusal.source_mount
        for group in groups.values():
            self._explain_group(group)
        return list(groups.values())

    def _clone_groups(self) -> list[CloneGroup]:
        groups: dict[_CloneKey, CloneGroup] = {}
        by_seq: dict[int, CloneGroup] = {}
        for refusal in self._clones:
            key = _clone_key(refusal)
            group = groups.get(key)
            if group is None:
                source, target = self._find_mounts(refusal)
                linked = self._links_like(refusal) - self._linked_before[key]
                group = groups[key] = CloneGroup(source, target, linked)
            group.refusals.append(refusal)
            by_seq[refusal.seq] = group
        self._add_copies(self._clones, by_seq)
        return list(groups.values())

    def _add_copies(
        self, refusals: Sequence[RefusedLink], groups: Mapping[int, LinkGroup] | Mapping[int, CloneGroup]
    ) -> None:
        """Add what was copied because links were refused to the groups of their refusals, given by seq."""
        found = match_copies(refusals, self._provenance, self._tool.never_linked, self._find_store)
        for refusal, made in found.left:
            groups[refusal.seq].copied.append((refusal, made))
            self.copied[made.names[-1]] = refusal.source_mount
        for refusal, made in found.gone:
            groups[refusal.seq].gone.append(made)

    def _find_store(self, path: bytes) -> object:
        """Return the store that a file belongs to: its zone, or else the first directory of its mount."""
        best, zone = -1, None
        for each in self._context.policy.zones:
            for pattern in each.patterns:
                if len(pattern) > best and path_suffix(path, pattern) is not None:
                    best, zone = len(pattern), each.name
        if zone is not None:
            return zone
        mount = self._mounts.mount_over(path)
        point = b"" if mount is None else mount.mountpoint.rstrip(b"/")
        return path[: path.find(b"/", len(point) + 1)]

    def _links_like(self, refusal: RefusedLink) -> int:
        """Return how many hard links were made so far between the mounts of a refused clone."""
        return sum(
            count
            for (from_mount, to_mount), count in self._linked.items()
            if to_mount == refusal.mount and refusal.source_mount in {from_mount, None}
        )

    def _find_mounts(self, refusal: RefusedLink) -> tuple[Mount | None, Mount | None]:
        """Return the mounts of source and target: in the namespace of the process, if it has its own."""
        seen = self._context.get_observation(refusal.seq)
        if seen is not None and seen.mount is not None and seen.source_mount is not None:
            return seen.source_mount, seen.mount
        source = self._mounts.find_mount(refusal.source_mount, refusal.source or None)
        target = self._mounts.find_mount(refusal.mount, refusal.target)
        if refusal.result == "EXDEV" and source is not None and source == target:
            return self._sandboxes.find_mounts(refusal, target)
        return source, target


def _renames_above(
    targets: Mapping[bytes, tuple[RefusedLink, LinkGroup]], made: CreatedFile
) -> Iterator[tuple[RefusedLink, LinkGroup]]:
    """Yield the refused rename in whose place a file was made: at its target, or below it."""
    for name in made.names:
        path = name
        while path and path != b"/":
            found = targets.get(path)
            if found is not None and found[0].seq <= made.since:
                yield found
                return
            path = path.rpartition(b"/")[0]
