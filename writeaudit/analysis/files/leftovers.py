"""WA106, WA401, WA402: links that die with a cache, temporary files that stay, locks in read-only zones."""

from __future__ import annotations

import os
import re
from collections.abc import Callable

from writeaudit.analysis.collector import RunContext
from writeaudit.analysis.files.activity import PathActivity, finding_of, name_paths
from writeaudit.events import OK, Access, FsEvent, Op
from writeaudit.judgement import Finding, Judged, Verdict, ZoneAccess
from writeaudit.text import plural, quote_name, show_zone

_TEMPORARY = re.compile(
    rb"/(?:\.tmp[A-Za-z0-9]{6,}|tmp[a-z0-9_]{8}|pip-[a-z-]+-[a-z0-9_]{8}|~[A-Za-z][^/]*|\.?_?tmp_[0-9]+_[0-9a-f]+)\Z"
)
"""Names that programs draw for temporary files, by the habits of their libraries."""
_MOST = 1 << 16
_WRITES = frozenset({Access.WRITE, Access.READ_WRITE})


class LeftoverCollector:
    """Follows temporary files, lock files and symlinks into caches."""

    def __init__(self, context: RunContext, judge: Callable[[FsEvent], Judged]) -> None:
        self._judge = judge
        self._links: dict[bytes, tuple[PathActivity, bytes]] = {}
        self._left: dict[bytes, PathActivity] = {}
        self._locks: dict[tuple[str, bytes], PathActivity] = {}
        zones = context.policy.zones
        self._protected = frozenset(zone.name for zone in zones if zone.access is ZoneAccess.READ_ONLY)
        self._caches = frozenset(zone.name for zone in zones if zone.name in {"cache", "store"})
        self._tmp = frozenset(zone.name for zone in zones if zone.name == "tmp")

    @property
    def ops(self) -> frozenset[Op]:
        """Those that make, move and remove names."""
        return frozenset({Op.OPEN, Op.MKDIR, Op.SYMLINK, Op.RENAME, Op.UNLINK, Op.RMDIR, Op.LINK, Op.MKNOD})

    def add_event(self, event: FsEvent, judged: Judged) -> None:
        """Take the next event."""
        op = event.op
        if op is Op.OPEN:
            if event.access in _WRITES and judged.zone in self._protected and is_lock(event.path):
                self._note_lock(event, judged)
            if not event.created or "tmpfile" in event.flags:
                return
        if event.result != OK:
            return
        match op:
            case Op.OPEN | Op.MKDIR | Op.MKNOD | Op.LINK:
                self._note_created(event, judged)
            case Op.SYMLINK:
                self._note_symlink(event, judged)
            case Op.UNLINK | Op.RMDIR:
                self._left.pop(event.path, None)
                self._links.pop(event.path, None)
            case Op.RENAME if event.source is not None:
                moved = self._left.pop(event.source, None)
                self._left.pop(event.path, None)
                if moved is not None:
                    self._note_created(event, judged)
            case _:
                pass

    def _note_created(self, event: FsEvent, judged: Judged) -> None:
        path = event.path
        if path in self._left or len(self._left) >= _MOST:
            return
        if judged.zone in self._tmp or _TEMPORARY.search(path):
            activity = self._left[path] = PathActivity(path)
            activity.count_event(event)

    def _note_symlink(self, event: FsEvent, judged: Judged) -> None:
        target = event.source
        if not self._caches or not target or judged.zone in self._caches or len(self._links) >= _MOST:
            return
        where = os.path.normpath(os.path.join(os.path.dirname(event.path), target))
        looked = event._replace(op=Op.OPEN, access=Access.READ, path=where, source=None, mount=None)
        if self._judge(looked).zone in self._caches:
            activity = PathActivity(event.path)
            activity.count_event(event)
            self._links[event.path] = activity, where

    def _note_lock(self, event: FsEvent, judged: Judged) -> None:
        if judged.verdict is Verdict.READ or judged.zone is None:
            return
        key = judged.zone, event.path
        if key not in self._locks:
            if len(self._locks) >= _MOST:
                return
            self._locks[key] = PathActivity(event.path)
        self._locks[key].count_event(event)

    def list_findings(self) -> list[Finding]:
        """Return at most one finding for each of the rules."""
        found = []
        if self._links:
            found.append(self._report_symlinks())
        left = [activity for path, activity in self._left.items() if os.path.dirname(path) not in self._left]
        if left:
            found.append(
                finding_of(
                    "WA401",
                    left,
                    f"{plural(len(left), 'temporary path')} {'is' if len(left) == 1 else 'are'} still there: "
                    f"{name_paths(left)}.",
                    "They were made in a place for temporary files, or under a name that is drawn at "
                    "random, and "
                    "nothing removed them.",
                    "Remove them; in an image, in the step that makes them.",
                )
            )
        if self._locks:
            activities = list(self._locks.values())
            zones = ", ".join(dict.fromkeys(show_zone(zone) for zone, _path in self._locks))
            found.append(
                finding_of(
                    "WA402",
                    activities,
                    f"{plural(len(activities), 'lock file')} of zone {zones} "
                    f"{'was' if len(activities) == 1 else 'were'} "
                    f"opened for writing: {name_paths(activities)}.",
                    "A lock needs a file that can be opened for writing, though nothing is written into "
                    "it. On a "
                    "read-only mount that open is refused.",
                    "Look for the tool's option that takes no lock, or give it a copy of the zone (an "
                    "overlay) "
                    "that it may write.",
                )
            )
        return found

    def _report_symlinks(self) -> Finding:
        activities = [activity for activity, _target in self._links.values()]
        first, target = next(iter(self._links.values()))
        return finding_of(
            "WA106",
            activities,
            f"{plural(len(activities), 'symlink')} {'leads' if len(activities) == 1 else 'lead'} into "
            f"the cache: "
            f"{name_paths(activities)}. {quote_name(first.path)} leads to {quote_name(target)}.",
            "A symlink holds a name, not the file: when the cache is cleaned, what was installed is gone "
            "with it.",
            "Use another link mode (hard links, reflinks or copies), or never clean that cache.",
        )


def is_lock(path: bytes) -> bool:
    """Whether a file is a lock, by its name; uv.lock, Cargo.lock and the like are data."""
    name = os.path.basename(path)
    hidden = name.startswith(b".") and name.endswith(b".lock")
    return hidden or name.endswith(b".lck") or name in (b"lock", b"LOCK")
