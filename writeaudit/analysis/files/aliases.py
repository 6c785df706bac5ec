"""WA301 and WA307: what has several names, changed under one of them.

The policy judges names. A file has more than one: by a hard link (of this run, or older), or because a
second mount shows the same part of its file system. So each change that the policy let pass is put to it
again under the other names that are known. One that lies in a protected zone makes it WA301; a file
that somebody else shares by any other name is WA307.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence

from writeaudit.analysis.collector import RunContext
from writeaudit.analysis.files.activity import (
    PathActivity,
    count_operations,
    in_words,
    name_paths,
    pick_evidence,
    pick_examples,
)
from writeaudit.analysis.files.elsewhere import BY_CASE, BY_LINK, BY_MOUNT, AliasKind, MadeMounts, Spellings
from writeaudit.analysis.files.names import LinkedFiles, Shared
from writeaudit.analysis.installers import installer_of
from writeaudit.audit import Mount
from writeaudit.events import NAME_OPS, NAMESPACE_OPS, OK, Effect, FsEvent, Op, effect_of
from writeaudit.judgement import Finding, Judged, Policy, Reason, Verdict, ZoneAccess
from writeaudit.paths import path_suffix
from writeaudit.rules import rule
from writeaudit.text import escape_path, plural, quote_name, show_zone

_NOT_CHANGED = frozenset({Op.ACCESS, Op.UTIME})
"""Times alone are not what somebody else relies on: link(2) itself changes one."""


class AliasCollector:
    """Collects changes of files that have other names."""

    def __init__(self, context: RunContext, judge: Callable[[FsEvent], Judged]) -> None:
        self._judge = judge
        self._tool = installer_of(context.policy)
        self._mounts = _MountAliases(context.mounts, context.policy)
        self._made = MadeMounts()
        self._cases = Spellings(context)
        self._names = LinkedFiles(context.shared)
        self._reached: dict[tuple[str | None, bytes], tuple[PathActivity, bytes, AliasKind]] = {}
        self._shared: dict[bytes, tuple[PathActivity, Shared, bytes | None]] = {}

    @property
    def ops(self) -> frozenset[Op]:
        """All that change something, and mounts, which give names to what they show."""
        return frozenset(Op) - NAMESPACE_OPS - _NOT_CHANGED | {Op.MOUNT}

    def wants_operation(self, op: Op, judged: Judged, /) -> bool:
        """Only changes, and the links that may lead to some."""
        return judged.verdict is not Verdict.READ or op is Op.LINK

    def add_event(self, event: FsEvent, judged: Judged) -> None:
        """Take the next event; where nothing has a second name this costs a comparison or two."""
        if event.result != OK:
            return
        if event.op is Op.MOUNT:
            self._made.note_mount(event)
            return
        if event.op is Op.LINK:
            self._names.note_linked(event)
        if event.created:
            self._names.note_created(event)
        if judged.verdict is Verdict.READ:
            return
        if event.op in NAME_OPS:
            # It changes a directory: what other names a file has does not matter to it.
            self._names.note_moved(event)
        elif self._names.any and effect_of(event) is Effect.CHANGED:
            self._by_link(event, judged)
        if (
            (self._mounts.any or self._made.any or self._cases.any)
            and judged.reason is not Reason.READ_ONLY
            and effect_of(event) is Effect.CHANGED
        ):
            self._by_place(event)

    def _by_link(self, event: FsEvent, judged: Judged) -> None:
        if event.created:
            return
        shared = self._names.shared_file_of(event)
        if shared is None or not shared.has_others(event.path):
            return
        reached = False
        if judged.reason is not Reason.READ_ONLY:
            for name in list(shared.names):
                if name != event.path:
                    reached = (
                        self._judge_alias(event, event._replace(path=name, mount=None), name, BY_LINK)
                        or reached
                    )
        if not reached and not self._own_affair(event, judged, shared):
            self._keep_shared(event, shared)

    def _own_affair(self, event: FsEvent, judged: Judged, shared: Shared) -> bool:
        """Whether nobody else has the file: the run made it, and all of its names lie in one zone."""
        if judged.verdict is Verdict.VIOLATION:
            return True  # reported already
        if not shared.made:
            return False
        zones = {self._judge(event._replace(path=name, mount=None)).zone for name in shared.names}
        return len(zones | {judged.zone}) == 1

    def _keep_shared(self, event: FsEvent, shared: Shared) -> None:
        if event.path not in self._shared:
            if len(self._shared) >= _MOST_DIRECTORIES:
                return
            other = next((name for name in shared.names if name != event.path), None)
            self._shared[event.path] = PathActivity(event.path), shared, other
        self._shared[event.path][0].count_event(event)

    def _by_place(self, event: FsEvent) -> None:
        for name, mount, way in self._other_names(event.path, event.mount):
            self._judge_alias(event, event._replace(path=name, mount=mount), name, way)
        if event.source is not None and event.op in (Op.RENAME, Op.EXCHANGE):
            for name, mount, way in self._other_names(event.source, event.source_mount):
                self._judge_alias(event, event._replace(source=name, source_mount=mount), name, way)

    def _other_names(self, path: bytes, mount: int | None) -> Iterator[tuple[bytes, int | None, AliasKind]]:
        for name, other in self._mounts.other_names(path, mount):
            yield name, other, BY_MOUNT
        for name in self._made.other_names(path):
            yield name, None, BY_MOUNT
        for name in self._cases.other_spellings(path, mount):
            yield name, mount, BY_CASE

    def _judge_alias(self, event: FsEvent, renamed: FsEvent, name: bytes, way: AliasKind) -> bool:
        """Judge an event as if it had been made under another name; return whether that is protected."""
        judged = self._judge(renamed)
        on_source = renamed.path == event.path
        if judged.reason is not Reason.READ_ONLY or judged.on_source is not on_source:
            return False
        if way is BY_MOUNT and self._mounts.serves_volume(event, name, judged.zone, on_source=on_source):
            return False
        path = event.source if on_source and event.source is not None else event.path
        key = judged.zone, path
        if key not in self._reached:
            self._reached[key] = PathActivity(path), name, way
        self._reached[key][0].count_event(event, on_source=on_source)
        return True

    def list_findings(self) -> list[Finding]:
        """Return one finding for each zone and kind of alias, and one for what else is shared."""
        groups: defaultdict[tuple[str | None, AliasKind], list[tuple[PathActivity, bytes]]] = defaultdict(
            list
        )
        for (zone, _path), (activity, name, way) in self._reached.items():
            groups[zone, way].append((activity, name))
        found = [self._make_finding(zone, way, reached) for (zone, way), reached in groups.items()]
        if self._shared:
            found.append(self._shared_finding(list(self._shared.values())))
        return found

    def _make_finding(
        self, zone: str | None, way: AliasKind, reached: Sequence[tuple[PathActivity, bytes]]
    ) -> Finding:
        registered = rule("WA301")
        activities = [activity for activity, _name in reached]
        first, name = reached[0]
        return Finding(
            rule=registered.id,
            title=registered.title,
            severity=registered.severity,
            message=f"{plural(len(activities), 'path')} of zone {show_zone(str(zone))} "
            f"{'was' if len(activities) == 1 else 'were'} changed through {way.words}: "
            f"{name_paths(activities)} ({in_words(count_operations(activities))}). "
            f"{quote_name(first.path)} is {quote_name(name)}.",
            count=sum(activity.events for activity in activities),
            bytes=sum(activity.bytes for activity in activities),
            files=len(activities),
            evidence=pick_evidence(activities),
            cause=way.cause,
            advice=(self._give_advice(way),),
            details={
                "zone": zone,
                "alias": way.name,
                "ops": count_operations(activities),
                "examples": [
                    {"path": path, "source": escape_path(other)}
                    for path, (_place, other) in zip(pick_examples(activities), reached, strict=False)
                ],
            },
        )

    def _shared_finding(self, found: Sequence[tuple[PathActivity, Shared, bytes | None]]) -> Finding:
        registered = rule("WA307")
        activities = [activity for activity, _shared, _other in found]
        first, shared, other = found[0]
        known = f"is also {quote_name(other)}" if other is not None else "has names elsewhere"
        unknown = sum(shared.unknown for _place, shared, _other in found)
        hidden = ""
        if unknown:
            named = plural(unknown, "other name")
            cut = any(not shared.searched for _place, shared, _other in found)
            why = ", as the search was cut short" if cut else ""
            hidden = (
                f" {named} {'was' if unknown == 1 else 'were'} not found in the zones of the policy{why}."
            )
        was = "was" if len(activities) == 1 else "were"
        return Finding(
            rule=registered.id,
            title=registered.title,
            severity=registered.severity,
            message=f"{plural(len(activities), 'file')} with other names {was} changed in place: "
            f"{name_paths(activities)} ({in_words(count_operations(activities))}). {quote_name(first.path)} "
            f"{known}: a file with "
            f"{plural(max(shared.nlink, len(shared.names)), 'name')}.{hidden}",
            count=sum(activity.events for activity in activities),
            bytes=sum(activity.bytes for activity in activities),
            files=len(activities),
            evidence=pick_evidence(activities),
            cause="A hard link is the same file under a second name: whoever uses the other name sees what "
            "was written, though nothing was written there.",
            advice=(self._give_advice(BY_LINK),),
            details={
                "ops": count_operations(activities),
                "unknown_names": unknown,
                "examples": [
                    {
                        "path": escape_path(activity.path),
                        "names": [escape_path(name) for name in list(shared.names)[:10]],
                    }
                    for activity, shared, _other in found[:10]
                ],
            },
        )

    def _give_advice(self, way: AliasKind) -> str:
        if way is BY_CASE:
            return "Spell the zone as the directory is spelled, or mount it read-only."
        if way is BY_MOUNT:
            return "Mount the other place read-only too, or name it in the policy as it names the zone."
        settings = " or ".join(
            f"`{setting}`" for setting in (self._tool.clone_setting, self._tool.copy_setting) if setting
        )
        return (
            "Where something writes to installed files later, ask the tool for files of their own instead of "
            f"hard links{f': {settings}' if settings else ''}. The shared files are no longer what they "
            "were: make them anew."
        )


class _MountAliases:
    """Which other names a name has because several mounts show one file system."""

    def __init__(self, mounts: Sequence[Mount], policy: Policy) -> None:
        by_device: defaultdict[int, list[Mount]] = defaultdict(list)
        for mount in mounts:
            if mount.own:
                by_device[mount.dev].append(mount)
        self._by_id = {
            mount.id: (mount, [other for other in group if other.id != mount.id])
            for group in by_device.values()
            if len(group) > 1
            for mount in group
        }
        self._zones = policy.zones
        self._directories: dict[tuple[int, bytes], list[tuple[bytes, int]]] = {}

    @property
    def any(self) -> bool:
        """Whether there are such mounts at all."""
        return bool(self._by_id)

    def serves_volume(self, event: FsEvent, name: bytes, zone: str | None, *, on_source: bool) -> bool:
        """Whether the event's mount is a volume behind a writable zone: its source directory is that zone.

        So it is if the mount point lies in a writable zone, and what is mounted there is only a part of a
        wider protected zone: of the project, or of one that the writable zone was cut out of.
        """
        mount_id = event.source_mount if on_source else event.mount
        if mount_id is None or mount_id not in self._by_id:
            return False
        mount = self._by_id[mount_id][0]
        path = event.source if on_source and event.source is not None else event.path
        inside = path_suffix(path, mount.mountpoint)
        if inside is None or not name.endswith(inside):
            return False
        directory = name[: len(name) - len(inside)]
        writable = any(
            path_suffix(mount.mountpoint, pattern) is not None
            for each in self._zones
            if each.access is ZoneAccess.READ_WRITE
            for pattern in each.patterns
        )
        if not writable:
            return False
        for each in self._zones:
            if each.name != zone:
                continue
            for pattern in each.patterns:
                wider = path_suffix(directory, pattern) not in (None, b"")
                if wider and (each.name == "project" or path_suffix(mount.mountpoint, pattern) is not None):
                    return True
        return False

    def other_names(self, path: bytes, mount_id: int | None) -> Iterator[tuple[bytes, int]]:
        """Yield the other names of a file, each with the id of its mount."""
        if mount_id is None or mount_id not in self._by_id:
            return
        cut = path.rfind(b"/")
        directory, name = path[:cut], path[cut:]
        found = self._directories.get((mount_id, directory))
        if found is None:
            found = list(self._names_elsewhere(directory, *self._by_id[mount_id]))
            if len(self._directories) >= _MOST_DIRECTORIES:
                self._directories.clear()
            self._directories[mount_id, directory] = found
        for other, number in found:
            yield other + name, number

    @staticmethod
    def _names_elsewhere(
        directory: bytes, mount: Mount, others: Sequence[Mount]
    ) -> Iterator[tuple[bytes, int]]:
        inside = path_suffix(directory, mount.mountpoint)
        if inside is None:
            return
        shared = mount.root.rstrip(b"/") + inside
        for other in others:
            rest = path_suffix(shared, other.root)
            if rest is not None:
                yield other.mountpoint.rstrip(b"/") + rest, other.id


_MOST_DIRECTORIES = 1 << 14
