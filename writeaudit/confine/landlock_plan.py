"""From what a policy allows to the rules of Landlock (landlock(7)): which places get which rights.

A rule of Landlock grants, to a file or to a directory and all that lies below it, and nothing takes back
what is granted above. So a protected place inside a writable directory means that the directory itself
gets no rule, and each of its other entries one of its own: no new names can be made in it then. What can
only be granted with more than the policy allows is not granted, and a remark says what is missing.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from writeaudit.errors import UsageError
from writeaudit.judgement import ZoneAccess
from writeaudit.text import escape_path, plural

_PROC = b"/proc"
MOST_LOOKED_AT = 50_000
"""So many entries of directories are looked at. Each rule costs some microseconds and kernel memory."""
_SHOWN = 3
_FILE_NAME = re.compile(rb".\.[^.]*\Z|(?:rc|lock|config|history|file)\Z", re.IGNORECASE | re.DOTALL)
"""What a name ends in that is rather a file's than a directory's."""


class Kind(enum.Enum):
    """What stands at a path."""

    DIRECTORY = "directory"
    FILE = "file"
    SYMLINK = "symlink"


class Disk(Protocol):
    """What is asked of the disk."""

    def find_kind(self, path: bytes) -> Kind | None:
        """Return what stands at a path; None if nothing does. Symlinks above it are `leads_elsewhere`'s."""

    def leads_elsewhere(self, path: bytes) -> bool:
        """Whether there is a symlink on the way to a path, or at it."""

    def list_names(self, directory: bytes) -> Sequence[bytes] | None:
        """Return the names in a directory; None if it cannot be read. Beyond `MOST_LOOKED_AT` not all."""

    def count_links(self, path: bytes) -> int:
        """Return how many names a file has."""

    def find_identity(self, path: bytes) -> tuple[int, int] | None:
        """Return the device and inode of what stands at a path; None if nothing does."""

    def make_directory(self, path: bytes) -> str | None:
        """Make a directory and those above it; return why it could not be made, if so."""


class Start(Protocol):
    """Where a writable zone may begin."""

    @property
    def path(self) -> bytes:
        """A directory, a file, or what is not there yet."""

    @property
    def whole(self) -> bool:
        """Whether the path itself is meant; patterns go on below it otherwise."""

    @property
    def built_in(self) -> bool:
        """Whether nobody asked for it."""


class Reach(Protocol):
    """What a policy allows."""

    @property
    def starts(self) -> Sequence[Start]:
        """Where writable zones begin."""

    @property
    def protected(self) -> Sequence[bytes]:
        """The protected places that have one name."""

    @property
    def remarks(self) -> tuple[str, ...]:
        """What of the policy is taken more strictly than it says."""

    @property
    def hides_places(self) -> bool:
        """Whether there are places that may not be read."""

    def access_at(self, path: bytes) -> ZoneAccess | None:
        """Return the access to a path; None outside every zone."""

    def zone_name(self, path: bytes) -> str:
        """Return what to call the zone that a path lies in."""

    def accesses_below(self, directory: bytes) -> frozenset[ZoneAccess]:
        """Return the accesses that something below a directory may have, beside the directory's own."""


class Grant(enum.Flag):
    """What a rule grants at a path and below."""

    READ = enum.auto()
    """Reading, executing, listing."""
    WRITE = enum.auto()
    """Every change but making device nodes."""
    WRITE_ONLY_FILES = enum.auto()
    """Opening files for writing, and no more."""


class Rule(NamedTuple):
    """One rule of Landlock."""

    path: bytes
    is_directory: bool
    grant: Grant


class Plan(NamedTuple):
    """What is to be enforced."""

    rules: tuple[Rule, ...]
    handles_reading: bool
    remarks: tuple[str, ...]
    """Where this differs from the policy, and what was made for it: sentences without a full stop."""


@dataclass(slots=True)
class _Planner:
    reach: Reach
    disk: Disk
    grants: dict[bytes, Grant] = field(default_factory=dict)
    directories: set[bytes] = field(default_factory=set)
    narrowed: list[bytes] = field(default_factory=list)
    """Writable directories in which no names can be made."""
    unlisted: list[bytes] = field(default_factory=list)
    """Directories that cannot be listed by the command."""
    unreadable: list[bytes] = field(default_factory=list)
    aliases: list[bytes] = field(default_factory=list)
    spellings: dict[tuple[int, int], bytes] = field(default_factory=dict)
    """The protected places that are there, and the directories above them, by identity."""
    protected: frozenset[bytes] = frozenset()
    remarks: list[str] = field(default_factory=list)
    looked_at: int = 0

    def learn_protected(self) -> None:
        """Look up the protected places, to know them where they have another name as well.

        By a mount, a hard link, or a file system that ignores case.
        """
        # Through a symlink it is nothing new: the policy holds it without symlinks, too.
        places = [place for place in self.reach.protected if not self.disk.leads_elsewhere(place)]
        self.protected = frozenset(places)
        above = [place[:at] for place in places for at in range(1, len(place)) if place[at : at + 1] == b"/"]
        for path in (*places, *above):
            identity = self.disk.find_identity(path)
            if identity is not None:
                self.spellings.setdefault(identity, path)

    def _other_name(self, path: bytes) -> bytes | None:
        """Return the name under which the policy protects what stands at a path, or something below it."""
        identity = self.disk.find_identity(path) if self.spellings else None
        known = None if identity is None else self.spellings.get(identity)
        return None if known == path else known

    def walk_below(self, top: bytes, wanted: Grant) -> None:
        """Grant what the policy allows of `top` and all that is there below it."""
        seen: set[bytes] = set()
        waiting = [top]
        while waiting:
            path = waiting.pop()
            kind = self.disk.find_kind(path)
            if kind is None or kind is Kind.SYMLINK or path in seen:
                continue
            seen.add(path)
            other = self._other_name(path)
            here = self._allows(self.reach.access_at(path), wanted)
            if other is not None and self._is_kept(other, wanted):
                if here:
                    self._note_other_name(path, other)
                continue
            if kind is Kind.FILE:
                if here:
                    self._grant_file(path, wanted)
                continue
            accesses = self.reach.accesses_below(path)
            if other is not None:
                accesses |= self.reach.accesses_below(other)
            below = {self._allows(access, wanted) for access in accesses}
            if here and False not in below:
                self._grant_directory(path, wanted)
            elif here or True in below:
                self._note_narrowed(path, wanted, here=here)
                waiting += self._entries(path)

    def _entries(self, directory: bytes) -> list[bytes]:
        names = self.disk.list_names(directory)
        if names is None:
            self.unreadable.append(directory)
            return []
        self.looked_at += len(names)
        if self.looked_at > MOST_LOOKED_AT:
            raise UsageError(
                f"the policy cannot be enforced by Landlock: below {escape_path(directory)} more than "
                f"{MOST_LOOKED_AT} files would need rules of their own",
                hint="a protected place inside a writable one, or a pattern such as /a/**/b, makes this "
                "necessary: name narrower places",
            )
        return [directory.rstrip(b"/") + b"/" + name for name in names]

    @staticmethod
    def _allows(access: ZoneAccess | None, wanted: Grant) -> bool:
        if wanted is Grant.READ:
            return access is not ZoneAccess.NONE
        return access is ZoneAccess.READ_WRITE

    def _is_kept(self, place: bytes, wanted: Grant) -> bool:
        return place in self.protected and not self._allows(self.reach.access_at(place), wanted)

    def _note_other_name(self, path: bytes, other: bytes) -> None:
        zone = self.reach.zone_name(other)
        self.remarks.append(
            f"{escape_path(path)} is the same as {escape_path(other)}: it is protected as {zone} says"
        )

    def _note_narrowed(self, path: bytes, wanted: Grant, *, here: bool) -> None:
        if here and wanted is Grant.WRITE:
            self.narrowed.append(path)
        elif here:
            self.unlisted.append(path)

    def _grant_file(self, path: bytes, wanted: Grant) -> None:
        if wanted is Grant.WRITE and self.disk.count_links(path) > 1:
            self.aliases.append(path)
        self._add(path, wanted)

    def _grant_directory(self, path: bytes, wanted: Grant) -> None:
        self.directories.add(path)
        self._add(path, wanted)

    def _add(self, path: bytes, wanted: Grant) -> None:
        self.grants[path] = self.grants.get(path, wanted) | wanted

    def begin_at(self, start: Start) -> None:
        """Grant what one pattern of a writable zone covers; make its directory if it is missing."""
        path = start.path
        if self.disk.leads_elsewhere(path):
            return  # the policy holds it without symlinks, too
        for at in range(1, len(path)):
            other = self._other_name(path[:at]) if path[at : at + 1] == b"/" else None
            if other is not None and self._is_kept(other, Grant.WRITE):
                inside = other + path[at:]
                if self.reach.access_at(inside) is not ZoneAccess.READ_WRITE:
                    self._note_other_name(path, inside)
                    return
        if start.whole and self.disk.find_kind(path) is None:
            if start.built_in or self.reach.access_at(path) is not ZoneAccess.READ_WRITE:
                return
            if _FILE_NAME.search(path[path.rfind(b"/") + 1 :]):
                if not self.lies_in_granted(path):
                    self.remarks.append(
                        f"{escape_path(path)} is not there, and cannot be made: a rule needs a file that is"
                    )
                return
            failure = self._find_hidden_way(path) or self.disk.make_directory(path)
            if failure is not None:
                self.remarks.append(f"{escape_path(path)} is not there, and cannot be made: {failure}")
                return
            self.remarks.append(f"made the directory {escape_path(path)}, for a rule needs one that is there")
        elif not start.whole and not self.lies_in_granted(path):
            self.remarks.append(
                f"of the patterns below {escape_path(path)} only what is there now can be written: "
                "Landlock knows no patterns"
            )
        self.walk_below(path, Grant.WRITE)

    def _find_hidden_way(self, path: bytes) -> str | None:
        """Return why the directories above a path may not be made, if they would lie in a hidden place."""
        for at in range(1, len(path)):
            above = path[:at]
            if (
                path[at : at + 1] == b"/"
                and self.reach.access_at(above) is ZoneAccess.NONE
                and self.disk.find_kind(above) is None
            ):
                return f"{escape_path(above)} lies in {self.reach.zone_name(above)}"
        return None

    def lies_in_granted(self, path: bytes) -> bool:
        """Whether a path, or a directory above it, can be written."""
        while True:
            if Grant.WRITE in self.grants.get(path or b"/", Grant(0)):
                return True
            if path in (b"", b"/"):
                return False
            path = path[: path.rfind(b"/")]


def plan_rules(reach: Reach, disk: Disk, *, privileged: bool) -> Plan:
    """Return the rules that enforce a policy, and what they cannot express.

    ``privileged``: whether the command has root's rights. Files of processes in /proc are made with the
    process, so no rule can name them beforehand. Who has no such rights can write nearly nothing else in
    /proc, and may write there; root could change the kernel's settings, and may not.

    Raises `UsageError` if the policy would need too many rules.
    """
    planner = _Planner(reach, disk)
    planner.learn_protected()
    of_processes = False
    # Wide places first: what lies in them needs no words.
    for start in sorted(reach.starts, key=lambda each: (not each.whole, len(each.path))):
        if start.path == _PROC and start.built_in:
            of_processes = True
            continue
        planner.begin_at(start)
    if of_processes and not planner.lies_in_granted(_PROC):
        clear = reach.access_at(_PROC) is None and not (reach.accesses_below(_PROC) - {ZoneAccess.READ_WRITE})
        if not clear:
            planner.remarks.append(
                "files of processes in /proc cannot be written: the policy protects others there"
            )
        elif not privileged and disk.find_kind(_PROC) is Kind.DIRECTORY:
            planner.directories.add(_PROC)
            planner.grants[_PROC] = planner.grants.get(_PROC, Grant(0)) | Grant.WRITE_ONLY_FILES
    if reach.hides_places:
        planner.walk_below(b"/", Grant.READ)
    remarks = [*reach.remarks, *planner.remarks, *_differences(planner)]
    rules = tuple(
        Rule(path, path in planner.directories, grant) for path, grant in sorted(planner.grants.items())
    )
    return Plan(rules, reach.hides_places, tuple(dict.fromkeys(remarks)))


def _differences(planner: _Planner) -> list[str]:
    said = []
    if planner.narrowed:
        said.append(
            f"in {_name_some(planner.narrowed)} no names can be made, removed or renamed, though the policy "
            "allows it: a protected place lies inside, and Landlock cannot take back what it grants above"
        )
    if planner.unlisted:
        said.append(
            f"{_name_some(planner.unlisted)} cannot be listed, for a place inside may not be read; "
            "what is made there later cannot be read either"
        )
    if planner.unreadable:
        said.append(f"{_name_some(planner.unreadable)} cannot be looked into: nothing is granted below")
    if planner.aliases:
        said.append(
            f"{_name_some(planner.aliases)}: other names of the same file can be written through as "
            "well, for a rule is about the file"
        )
    return said


def _name_some(paths: Sequence[bytes]) -> str:
    names = [escape_path(path) for path in sorted(dict.fromkeys(paths))]
    rest = len(names) - _SHOWN
    shown = ", ".join(names[:_SHOWN])
    return f"{shown} and {plural(rest, 'other')}" if rest > 0 else shown
