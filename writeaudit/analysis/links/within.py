"""EXDEV within one mount: what may have answered so, and the evidence for and against each (WA113).

link(2) and rename(2) name two mounts as the reason of EXDEV. Where both sides lie on one mount, something
else gave that answer: Landlock (landlock(7): a rule set without LANDLOCK_ACCESS_FS_REFER), overlayfs (a
directory of a lower layer, renamed without redirect_dir), project ids that differ, or the server
of a network or FUSE file system. None is stated as the fact without evidence.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

from writeaudit.analysis.collector import RunContext
from writeaudit.analysis.processes import name_process
from writeaudit.audit import Mount, Observation
from writeaudit.events import FsEvent, Op
from writeaudit.judgement import ZoneAccess
from writeaudit.text import escape_path

_PROJECT_QUOTA = frozenset({"ext4", "xfs", "f2fs"})
_QUOTA_OPTIONS = frozenset({"prjquota", "pquota", "pqnoenforce"})
_SERVERS = ("fuse", "nfs", "9p", "cifs", "smb3", "ceph", "virtiofs", "glusterfs", "afs")
"""File systems whose other side decides: what their types begin with."""


class Refused(Protocol):
    """What has to be known of a refused link or rename."""

    @property
    def seq(self) -> int:
        """The number of the event."""

    @property
    def pid(self) -> int:
        """The process that asked."""

    @property
    def time_ns(self) -> int:
        """When the call returned, in ns since the command was started."""

    @property
    def op(self) -> Op:
        """Link or rename."""

    @property
    def source(self) -> bytes:
        """The old name."""

    @property
    def target(self) -> bytes:
        """The new name."""


class Candidate(NamedTuple):
    """Something that may have answered EXDEV."""

    name: str
    """landlock, overlay, project, server: a stable word."""
    title: str
    weight: int
    """3: certain; 2: evidence for it; 1: possible; 0: ruled out."""
    speaks_for: tuple[str, ...]
    speaks_against: tuple[str, ...]
    remedy: str

    def as_json(self) -> dict[str, object]:
        """Return the form that it has in a finding's details."""
        return {
            "cause": self.name,
            "likely": self.weight > 1,
            "excluded": self.weight == 0,
            "for": list(self.speaks_for),
            "against": list(self.speaks_against),
        }


class Restrictions:
    """Which processes put themselves under Landlock, and so their children."""

    def __init__(self, context: RunContext) -> None:
        self._context = context
        self._events: list[FsEvent] = []

    def note_restriction(self, event: FsEvent) -> None:
        """Take a `restrict` event."""
        if event.ok and len(self._events) < _MOST:
            self._events.append(event)

    def restriction_of(self, pid: int, time_ns: int) -> FsEvent | None:
        """Return the restriction that a process was under at a time, if the run made one."""
        table = self._context.table
        made = {event.pid: event for event in reversed(self._events) if event.time_ns <= time_ns}
        if not made:
            return None
        family = table.find_family(pid, time_ns)
        if family is None:
            return made.get(pid)
        while family is not None:
            found = made.get(family.pid)
            if found is not None:
                return found
            family = family.parent
        return None


_MOST = 1 << 12


def find_candidates(
    context: RunContext, restrictions: Restrictions, event: Refused, mount: Mount | None
) -> list[Candidate]:
    """Return who may have answered EXDEV to a link or rename within one mount, the likeliest first."""
    confined = _blame_confinement(context, event)
    if confined is not None:
        return [confined]
    seen = context.get_observation(event.seq)
    found = [
        _suspect_landlock(context, restrictions, event),
        _suspect_overlay(event, mount, seen),
        _suspect_project(mount, seen),
        _suspect_server(mount),
    ]
    return sorted(found, key=lambda each: -each.weight)


_REFER_SINCE = 2
"""The version of Landlock that can allow to link and rename from one directory to another."""


def _blame_confinement(context: RunContext, event: Refused) -> Candidate | None:
    """Return Landlock, if `confine` had it forbid the operation: it is asked before the file system."""
    if not context.run.landlock:
        return None
    title = "Landlock, for this confinement"
    if context.run.landlock < _REFER_SINCE:
        why = f"version {context.run.landlock} of it allows no link or rename between directories"
        return Candidate("landlock", title, 3, (why,), (), "Linux 5.19 or newer can allow it.")
    if context.trial is None:
        return None
    closed = []
    for path in (event.source, event.target):
        zone = context.trial.zone_of(path)
        if zone is None:
            closed.append(f"{escape_path(path)} lies outside every zone")
        elif zone.access is not ZoneAccess.READ_WRITE:
            closed.append(f"{escape_path(path)} lies in zone {zone.name}, which may not be written")
    if not closed:
        return None
    remedy = (
        "Both directories must be writable for that: a file that is linked into a writable place could be "
        "changed there. Allow both in the policy, or have the tool copy."
    )
    return Candidate("landlock", title, 3, tuple(closed), (), remedy)


def _suspect_landlock(context: RunContext, restrictions: Restrictions, event: Refused) -> Candidate:
    remedy = (
        "Whoever sets up the Landlock sandbox must grant LANDLOCK_ACCESS_FS_REFER on both directories; or "
        "keep both in one directory."
    )
    made = restrictions.restriction_of(event.pid, event.time_ns)
    if made is not None:
        who = name_process(context.table.find_program(made.pid, made.time_ns), made.pid)
        for_it = (f"landlock_restrict_self was called by {who} before (event {made.seq})",)
        return Candidate("landlock", "Landlock", 2, for_it, (), remedy)
    against = ("no process of this run called landlock_restrict_self (of its caller that is not known)",)
    return Candidate("landlock", "Landlock", 1, (), against, remedy)


def _suspect_overlay(event: Refused, mount: Mount | None, seen: Observation | None) -> Candidate:
    remedy = (
        "A directory of a lower layer cannot be renamed without redirect_dir: copy it and remove the old "
        "one, mount the overlay with redirect_dir=on, or rename it when the image is built, in the layer "
        "that makes it."
    )
    title = "overlayfs"
    if mount is not None and mount.fstype != "overlay":
        return Candidate("overlay", title, 0, (), (f"the file system is {mount.fstype}",), remedy)
    if event.op is Op.LINK:
        against = ("overlayfs copies up a file that is to be linked; it refuses renames of directories only",)
        return Candidate("overlay", title, 0, (), against, remedy)
    for_it = [] if mount is None else ["the mount is an overlay"]
    redirect = next((o for o in mount.options if o.startswith("redirect_dir=")), None) if mount else None
    if redirect == "redirect_dir=on":
        return Candidate("overlay", title, 1, tuple(for_it), ("it is mounted with redirect_dir=on",), remedy)
    if mount is not None:
        for_it.append(f"{redirect or 'redirect_dir'} {'is set' if redirect else 'is not set'}")
    source = None if seen is None else seen.source
    if source is not None and source.is_directory is False:
        against = ("what was to be renamed is no directory",)
        return Candidate("overlay", title, 0, tuple(for_it), against, remedy)
    if source is not None and source.is_directory:
        for_it.append("what was to be renamed is a directory")
    return Candidate("overlay", title, 2 if mount is not None else 1, tuple(for_it), (), remedy)


def _suspect_project(mount: Mount | None, seen: Observation | None) -> Candidate:
    remedy = (
        "Give source and target the same project id: `lsattr -pd` on both directories shows it, and "
        "`chattr -p ID` sets it."
    )
    title = "project ids"
    if mount is not None and mount.fstype not in _PROJECT_QUOTA:
        return Candidate("project", title, 0, (), (f"{mount.fstype} has no such quota",), remedy)
    source = None if seen is None else seen.source
    target = None if seen is None else seen.directory
    if source is not None and target is not None and None not in (source.project, target.project):
        if source.project == target.project:
            against = (f"source and target bear the same project id, {source.project}",)
            return Candidate("project", title, 0, (), against, remedy)
        for_it = (f"the source bears project id {source.project}, the target's directory {target.project}",)
        return Candidate("project", title, 2, for_it, (), remedy)
    if mount is not None and _QUOTA_OPTIONS & set(mount.options):
        return Candidate("project", title, 2, ("the mount has project quota",), (), remedy)
    return Candidate("project", title, 1, (), ("the mount shows no project quota",), remedy)


def _suspect_server(mount: Mount | None) -> Candidate:
    remedy = "Ask the file system's own documentation what it makes of links and renames between directories."
    title = "the file system's server"
    if mount is not None and mount.fstype.startswith(_SERVERS):
        return Candidate("server", title, 2, (f"{mount.fstype} lets its other side decide",), (), remedy)
    what = "an unknown file system" if mount is None else mount.fstype
    return Candidate("server", title, 1 if mount is None else 0, (), (f"{what} has no server",), remedy)
