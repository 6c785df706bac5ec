"""Other names of files that no mount table and no link shows: by mounts that are gone, or in another case."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import NamedTuple

from writeaudit.analysis.collector import RunContext
from writeaudit.audit import Mount
from writeaudit.events import OK, FsEvent
from writeaudit.judgement import ZoneAccess


class AliasKind(NamedTuple):
    """Why a file has another name."""

    name: str
    words: str
    cause: str


BY_LINK = AliasKind(
    "hardlink",
    "a hard link",
    "A hard link is the same file under a second name. The run linked a protected file to another place and "
    "wrote to it there: everybody who uses the protected name gets what was written.",
)
BY_MOUNT = AliasKind(
    "mount",
    "another mount",
    "Two mounts show the same part of one file system. The policy protects it under the name that it has on "
    "one of them, and the run changed it on the other.",
)
BY_CASE = AliasKind(
    "case",
    "another spelling",
    "This file system takes upper and lower case for the same. The policy protects a directory under one "
    "spelling, and the run changed it under another.",
)


class Spellings:
    """Zones under other spellings, where the file system takes upper case and lower case for the same."""

    def __init__(self, context: RunContext) -> None:
        self._mounts = {mount.id for mount in context.mounts if _ignores_case(mount)}
        protected = (ZoneAccess.READ_ONLY, ZoneAccess.NONE)
        patterns = [
            pattern for zone in context.policy.zones if zone.access in protected for pattern in zone.patterns
        ]
        self._zones = {_fold_case(start): start for start in map(_literal_start, patterns) if start != b"/"}
        self.any = bool(self._mounts and self._zones)

    def other_spellings(self, path: bytes, mount: int | None) -> Iterator[bytes]:
        """Yield what a name would be if it were spelled as a zone is."""
        if mount not in self._mounts:
            return
        folded = _fold_case(path)
        for zone, spelled in self._zones.items():
            if (folded == zone or folded.startswith(zone + b"/")) and not path.startswith(spelled):
                yield spelled + folded[len(zone) :]


def _literal_start(pattern: bytes) -> bytes:
    """Return what stands before the first component of a pattern that may match several names."""
    start: list[bytes] = []
    for component in pattern.split(b"/")[1:]:
        plain = _ESCAPED.sub(rb"\1", component)
        if _WILD.search(_ESCAPED.sub(b"", component)):
            break
        start.append(plain)
    return b"/" + b"/".join(start)


_ESCAPED, _WILD = re.compile(rb"\[(.)\]"), re.compile(rb"[*?\[]")


def _fold_case(path: bytes) -> bytes:
    return os.fsencode(os.fsdecode(path).casefold())


def _ignores_case(mount: Mount) -> bool:
    return mount.fstype in _NO_CASE or "casefold" in mount.options


_NO_CASE = frozenset({"vfat", "msdos", "exfat", "ntfs", "ntfs3", "cifs", "smb3", "hfs", "hfsplus", "fuseblk"})
"""File systems that find a name in another spelling. ext4 and f2fs may, but their type does not tell."""


class MadeMounts:
    """What the mounts of this run show, as the calls say that made them: mount tables may be read too late.

    A mount stays an alias once it is gone: a file that was opened through it can still be written to.
    """

    def __init__(self) -> None:
        self._sources: dict[bytes, bytes] = {}
        self._lengths: list[int] = []

    @property
    def any(self) -> bool:
        """Whether any were made."""
        return bool(self._sources)

    def note_mount(self, event: FsEvent) -> None:
        """Take a mount; one of a new file system shows no other directory."""
        if event.result != OK or event.source is None or not {"bind", "move"} & {*event.flags}:
            return
        if event.source[:1] == b"/" and event.source != event.path and len(self._sources) < _MOST_MADE:
            self._sources[event.path] = event.source
            self._lengths = sorted({len(point) for point in self._sources}, reverse=True)

    def other_names(self, path: bytes) -> Iterator[bytes]:
        """Yield the other names of a file. A mount may show what another one does."""
        for _ in range(_MOST_IN_A_ROW):
            name = self._next_name(path)
            if name is None:
                return
            yield name
            path = name

    def _next_name(self, path: bytes) -> bytes | None:
        for length in self._lengths:
            source = self._sources.get(path[:length])
            if source is not None and path[length : length + 1] in (b"", b"/"):
                return source.rstrip(b"/") + path[length:] or b"/"
        return None


_MOST_MADE = 1 << 14
_MOST_IN_A_ROW = 8
