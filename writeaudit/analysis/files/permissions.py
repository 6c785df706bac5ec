"""WA302 to WA304: what everybody may write, what nobody else may read, what runs with other rights.

The mode that a call asks for is reduced by the umask: that with which the command was started is in the
recording. A process that changes its own is not noticed.
"""

from __future__ import annotations

import re
import stat

from writeaudit.analysis.collector import RunContext
from writeaudit.analysis.files.activity import (
    PathActivity,
    count_operations,
    finding_of,
    in_words,
    name_paths,
)
from writeaudit.audit import FileState
from writeaudit.events import OK, FsEvent, Op
from writeaudit.judgement import Finding, Judged
from writeaudit.paths import last_component, path_suffix
from writeaudit.text import plural, quote_name

_MODES = {Op.OPEN, Op.MKDIR, Op.MKNOD, Op.CHMOD}
_MOVES = {Op.RENAME, Op.UNLINK, Op.RMDIR, Op.WRITE, Op.COPY, Op.CLONE}
"""What becomes of a file that everybody may write: another name, none, or something in it."""
_LOCK = re.compile(rb"(?:.*[._-])?lock").fullmatch
_MOST = 1 << 16
_CAPABILITIES = "xattr=security.capability"


class PermissionCollector:
    """Collects modes that give too much."""

    def __init__(self, context: RunContext) -> None:
        mask = context.run.host.get("umask", "0022")
        self._umask = int(mask, 8) if mask.isdigit() and len(mask) <= 4 else 0o022
        self._directories: set[bytes] = set()
        """Those that the run made: the setgid bit means something else there."""
        self._caches = [state for state in context.caches if _is_shared(state, context.run.uid)]
        self._closed: dict[bytes, PathActivity] = {}
        self._world: dict[bytes, PathActivity] = {}
        self._rights: dict[bytes, PathActivity] = {}

    @property
    def ops(self) -> frozenset[Op]:
        """Those that set modes and attributes, and those that take them away with the name."""
        return frozenset(_MODES | _MOVES | {Op.SETXATTR})

    def add_event(self, event: FsEvent, judged: Judged, /) -> None:
        """Take the next event; modes mean the same in every zone, but for a cache that others use, too."""
        if event.result != OK:
            return
        op = event.op
        if op in _MOVES:
            if self._world:
                self._follow_name(event)
            return
        if op is Op.SETXATTR:
            if _CAPABILITIES in event.flags:
                self._keep_activity(self._rights, event)
            return
        if event.mode is not None and (op is not Op.OPEN or event.created):
            self._judge_mode(event, judged, event.mode)

    def _judge_mode(self, event: FsEvent, judged: Judged, mode: int) -> None:
        op = event.op
        if op is Op.MKDIR and len(self._directories) < _MOST:
            self._directories.add(event.path)
        if op is not Op.CHMOD:
            mode &= ~self._umask
        directory = op is Op.MKDIR or event.fmt == stat.S_IFDIR or event.path in self._directories
        if judged.zone == "cache" and self._caches:
            self._in_shared_cache(event, mode, 0o050 if directory else 0o040)
        if mode & stat.S_ISUID or (mode & stat.S_ISGID and not directory and self._is_file(event)):
            self._keep_activity(self._rights, event)
        if mode & stat.S_IWOTH and not (directory and mode & stat.S_ISVTX) and not self._is_special(event):
            self._keep_activity(self._world, event)
        elif op is Op.CHMOD:
            self._world.pop(event.path, None)

    def _follow_name(self, event: FsEvent) -> None:
        """Follow what everybody may write to its last name, and note whether anything is written to it."""
        path = event.path
        if event.op is Op.RENAME:
            self._world.pop(path, None)
            moved = self._world.pop(event.source, None) if event.source is not None else None
            if moved is not None:
                moved.path = path
                self._world[path] = moved
        elif path in self._world:
            if event.op is Op.UNLINK or event.op is Op.RMDIR:
                del self._world[path]
            else:
                self._world[path].bytes += event.bytes or 1

    def _open_to_all(self) -> list[PathActivity]:
        """Return what everybody may write, without empty lock files: nobody reads anything from those.

        uv makes its locks so on purpose, for caches and environments that several users share.
        """
        return [
            activity
            for activity in self._world.values()
            if activity.bytes or not _LOCK(last_component(activity.path))
        ]

    def _in_shared_cache(self, event: FsEvent, mode: int, needed: int) -> None:
        inside = any(path_suffix(event.path, state.path) is not None for state in self._caches)
        if inside and mode & needed != needed:
            self._keep_activity(self._closed, event)
        elif event.op is Op.CHMOD:
            self._closed.pop(event.path, None)

    @staticmethod
    def _is_file(event: FsEvent) -> bool:
        return event.op is Op.OPEN or event.fmt == stat.S_IFREG or (event.mode or 0) & stat.S_IXGRP != 0

    @staticmethod
    def _is_special(event: FsEvent) -> bool:
        kind = event.fmt if event.op is not Op.MKNOD else stat.S_IFMT(event.mode or 0)
        return kind not in (None, 0, stat.S_IFREG, stat.S_IFDIR) or event.path[:1] != b"/"

    @staticmethod
    def _keep_activity(activities: dict[bytes, PathActivity], event: FsEvent) -> None:
        if event.path not in activities:
            if len(activities) >= _MOST:
                return
            activities[event.path] = PathActivity(event.path)
        activities[event.path].count_event(event)

    def list_findings(self) -> list[Finding]:
        """Return at most one finding for each of the two rules."""
        found = []
        if self._closed:
            activities = list(self._closed.values())
            state = self._caches[0]
            found.append(
                finding_of(
                    "WA303",
                    activities,
                    f"{plural(len(activities), 'entry', 'entries')} of the shared cache "
                    f"{quote_name(state.path)} "
                    f"({state.owner}:{state.group}, mode {state.mode:04o}) cannot be read by its group: "
                    f"{name_paths(activities)}.",
                    "The directory is meant for several users, and what this run made in it has a mode that "
                    "keeps the others out. Their runs fail, or fetch everything again.",
                    f"Let everybody who fills the cache use `umask 002`; make it once with `chgrp -R "
                    f"{state.group}`, "
                    "`chmod -R g+rwX`, and the setgid bit on its directories (`find … -type d -exec "
                    "chmod g+s`).",
                    with_operations=True,
                )
            )
        activities = self._open_to_all()
        if activities:
            found.append(
                finding_of(
                    "WA302",
                    activities,
                    f"{plural(len(activities), 'path')} may be written by every user: "
                    f"{name_paths(activities)} "
                    f"({in_words(count_operations(activities))}).",
                    "The mode has the write bit for others. Any user of the machine can change what is "
                    "there, "
                    "and what is run from there.",
                    "Make it with a narrower mode (`chmod o-w`), or set `umask 022` before the command; "
                    "for a "
                    "directory that many share, a common group with the setgid bit, or the sticky bit.",
                    with_operations=True,
                )
            )
        if self._rights:
            activities = list(self._rights.values())
            found.append(
                finding_of(
                    "WA304",
                    activities,
                    f"{plural(len(activities), 'file')} {'was' if len(activities) == 1 else 'were'} "
                    f"given rights of {'its' if len(activities) == 1 else 'their'} own: "
                    f"{name_paths(activities)} ({in_words(count_operations(activities))}).",
                    "A set-user-ID or set-group-ID program runs with its owner's or group's rights, one "
                    "with file capabilities with those. Whoever may start it has them, wherever it lies.",
                    "If the package is not known for it (sudo, ping, …), do not keep it: look at the program "
                    "that set the bit, and mount caches, environments and temporary places with nosuid.",
                    with_operations=True,
                )
            )
        return found


def _is_shared(state: FileState, uid: int) -> bool:
    """Whether a directory is made for several users: by its group, its access list, or another owner."""
    return bool(state.mode & (stat.S_IWGRP | stat.S_ISGID) or state.acl) or state.uid not in (uid, 0)
