"""WA301: what the policy protects, reached by another of its names.

The policy judges names. A file has more than one: by a hard link, or because a second mount shows
the same part of its file system. So each change that the policy let pass is put to it once more
under the other names that the recording knows of.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence

from writeaudit.analysis.collector import Context
from writeaudit.analysis.places import Place, changes, evidence, examples, in_words, naming, operations
from writeaudit.analysis.tools import tool_of
from writeaudit.audit import Mount
from writeaudit.events import NAME_OPS, NAMESPACE_OPS, OK, FsEvent, Op
from writeaudit.judgement import Finding, Judged, Reason, Verdict
from writeaudit.paths import below
from writeaudit.rules import rule
from writeaudit.text import plural, show


class AliasCollector:
    """Collects changes of protected files that were made under names which nothing protects."""

    def __init__(self, context: Context, judge: Callable[[FsEvent], Judged]) -> None:
        self._judge = judge
        self._tool = tool_of(context.policy)
        self._mounts = _MountAliases(context.mounts)
        # Hard links of protected files that this run made: by file, and by name for backends that do not
        # give the file of every event.
        self._files: dict[tuple[int | None, int], bytes] = {}
        self._names: dict[bytes, bytes] = {}
        self._reached: dict[tuple[str | None, bytes], tuple[Place, bytes, bool]] = {}

    @property
    def ops(self) -> frozenset[Op]:
        """All that change something."""
        return frozenset(Op) - NAMESPACE_OPS

    def feed(self, event: FsEvent, judged: Judged) -> None:
        """Take the next event; where nothing has a second name this costs a comparison or two."""
        if event.op is Op.LINK and judged.reason is Reason.LINK_COUNT:
            self._linked(event)
        elif not (self._names or self._mounts.any) or judged.verdict is Verdict.READ:
            return
        elif event.result == OK and judged.reason is not Reason.READ_ONLY and changes(event):
            if self._names:
                self._by_link(event)
            if self._mounts.any:
                self._by_mount(event)

    def _linked(self, event: FsEvent) -> None:
        if event.result != OK or event.source is None:
            return
        self._names[event.path] = event.source
        if event.source_ino is not None:
            self._files[event.source_dev, event.source_ino] = event.source

    def _by_link(self, event: FsEvent) -> None:
        if event.op is Op.RENAME and event.source in self._names:
            self._names[event.path] = self._names.pop(event.source)
        elif event.op in (Op.UNLINK, Op.RENAME):
            self._names.pop(event.path, None)
        if event.op in NAME_OPS:
            return  # it changes a directory: what other names a file has does not matter to it
        if event.created:
            self._names.pop(event.path, None)
        known = None if event.ino is None else self._files.get((event.dev, event.ino))
        name = known or self._names.get(event.path)
        if name is not None and name != event.path:
            self._put(event, event._replace(path=name, mount=None), name, by_link=True)

    def _by_mount(self, event: FsEvent) -> None:
        for name, mount in self._mounts.others(event.path, event.mount):
            self._put(event, event._replace(path=name, mount=mount), name, by_link=False)
        if event.source is not None and event.op in (Op.RENAME, Op.EXCHANGE):
            for name, mount in self._mounts.others(event.source, event.source_mount):
                self._put(event, event._replace(source=name, source_mount=mount), name, by_link=False)

    def _put(self, event: FsEvent, renamed: FsEvent, name: bytes, *, by_link: bool) -> None:
        """Judge an event as if it had been made under another name."""
        judged = self._judge(renamed)
        on_source = renamed.path == event.path
        if judged.reason is not Reason.READ_ONLY or judged.on_source is not on_source:
            return
        path = event.source if on_source and event.source is not None else event.path
        key = judged.zone, path
        if key not in self._reached:
            self._reached[key] = Place(path), name, by_link
        self._reached[key][0].add(event, on_source=on_source)

    def findings(self) -> list[Finding]:
        """Return one finding for each zone and kind of alias."""
        groups: defaultdict[tuple[str | None, bool], list[tuple[Place, bytes]]] = defaultdict(list)
        for (zone, _path), (place, name, by_link) in self._reached.items():
            groups[zone, by_link].append((place, name))
        return [self._finding(zone, by_link, reached) for (zone, by_link), reached in groups.items()]

    def _finding(self, zone: str | None, by_link: bool, reached: Sequence[tuple[Place, bytes]]) -> Finding:
        registered = rule("WA301")
        places = [place for place, _name in reached]
        first, name = reached[0]
        way = "a hard link" if by_link else "another mount"
        return Finding(
            rule=registered.id,
            title=registered.title,
            severity=registered.severity,
            message=f"{plural(len(places), 'path')} of zone {zone} {'was' if len(places) == 1 else 'were'} "
            f"changed through {way}: {naming(places)} ({in_words(operations(places))}). "
            f"{show(first.path)} is {show(name)}.",
            count=sum(place.events for place in places),
            bytes=sum(place.bytes for place in places),
            files=len(places),
            evidence=evidence(places),
            cause=_BY_LINK if by_link else _BY_MOUNT,
            advice=(self._advice(by_link),),
            details={
                "zone": zone,
                "alias": "hardlink" if by_link else "mount",
                "ops": operations(places),
                "examples": [
                    {"path": path, "source": show(other)}
                    for path, (_place, other) in zip(examples(places), reached, strict=False)
                ],
            },
        )

    def _advice(self, by_link: bool) -> str:
        if not by_link:
            return "Mount the other place read-only too, or name it in the policy as it names the zone."
        settings = " or ".join(
            f"`{setting}`" for setting in (self._tool.clone_setting, self._tool.copy_setting) if setting
        )
        return (
            "Where something writes to installed files later, ask the tool for files of their own instead of "
            f"hard links{f': {settings}' if settings else ''}. The protected files are no longer what they "
            "were: make them anew."
        )


_BY_LINK = (
    "A hard link is the same file under a second name. The run linked a protected file to another place and "
    "wrote to it there: everybody who uses the protected name gets what was written."
)
_BY_MOUNT = (
    "Two mounts show the same part of one file system. The policy protects it under the name that it has on "
    "one of them, and the run changed it on the other."
)


class _MountAliases:
    """Which other names a name has because several mounts show one file system."""

    def __init__(self, mounts: Sequence[Mount]) -> None:
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
        self._directories: dict[tuple[int, bytes], list[tuple[bytes, int]]] = {}

    @property
    def any(self) -> bool:
        """Whether there are such mounts at all."""
        return bool(self._by_id)

    def others(self, path: bytes, mount_id: int | None) -> Iterator[tuple[bytes, int]]:
        """Yield the other names of a file, each with the id of its mount."""
        if mount_id is None or mount_id not in self._by_id:
            return
        cut = path.rfind(b"/")
        directory, name = path[:cut], path[cut:]
        found = self._directories.get((mount_id, directory))
        if found is None:
            found = list(self._elsewhere(directory, *self._by_id[mount_id]))
            if len(self._directories) >= _MOST_DIRECTORIES:
                self._directories.clear()
            self._directories[mount_id, directory] = found
        for other, number in found:
            yield other + name, number

    @staticmethod
    def _elsewhere(directory: bytes, mount: Mount, others: Sequence[Mount]) -> Iterator[tuple[bytes, int]]:
        inside = below(directory, mount.mountpoint)
        if inside is None:
            return
        place = mount.root.rstrip(b"/") + inside
        for other in others:
            rest = below(place, other.root)
            if rest is not None:
                yield other.mountpoint.rstrip(b"/") + rest, other.id


_MOST_DIRECTORIES = 1 << 14
