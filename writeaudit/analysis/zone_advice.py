"""What to do about writes that the policy forbids, for the tool that made them."""

from __future__ import annotations

import os
from collections.abc import Sequence

from writeaudit.analysis.collector import Context
from writeaudit.analysis.places import Place
from writeaudit.analysis.tools import Tool, installer_among
from writeaudit.text import show

_NEEDED = {
    "EROFS": "a mount that is not read-only",
    "EACCES": "write permission on the file or its directory for {user}",
    "EPERM": "{user} to own the file (or to have a privilege), and no immutable flag on it",
    "ETXTBSY": "a file that no process executes",
    "EBUSY": "a place that is no mount point and not otherwise in use",
    "ENOSPC": "room on the file system",
    "EDQUOT": "room in the user's quota",
}


_FEW = 3
"""Up to so many paths of a project are allowed one by one: who opens all of it protects nothing."""


class ZoneAdviser:
    """Knows the policy and the tool, and words the advice for them."""

    def __init__(self, context: Context, tool: Tool) -> None:
        self._context = context
        self._tool = tool

    def changed(self, zone: str, places: Sequence[Place]) -> tuple[str, ...]:
        """Return what helps when something in a read-only zone changed."""
        lock: tuple[str, ...] = ()
        if self._tool.name == "uv" and any(place.path.endswith(b"/uv.lock") for place in places):
            lock = (
                "uv brings uv.lock up to date unless told not to: `--frozen`, or `--locked` to fail instead.",
            )
        return (*self._for_zone(zone), *lock, self._allow(zone, places))

    def outside(self, directory: bytes) -> tuple[str, ...]:
        """Return what helps when something outside every zone changed."""
        behind = installer_among(self._context.processes) if self._tool.name == "generic" else None
        hints = (
            (f"The command ran {behind}: with `--profile {behind}` its cache and environment are zones.",)
            if behind is not None
            else ()
        )
        return (
            *hints,
            (
                f"If the tool is meant to write there, name the place: {_zone_option(directory)}, or a zone "
                "in the policy file."
            ),
            (
                "If not, find the setting that moves it: in the HTML and JSON reports the finding's evidence "
                "names the process and the operation."
            ),
        )

    def opened(self, zone: str | None, places: Sequence[Place]) -> tuple[str, ...]:
        """Return what helps when files were opened for writing in vain."""
        locks = any(_is_lock(place.path) for place in places)
        advice = self._for_zone(zone) if zone is not None and locks else ()
        if zone is None:
            return (*advice, "Name the place in the policy if it may be written: `--zone NAME=PATH:rw`.")
        return (*advice, self._allow(zone, places))

    def linked(self) -> tuple[str, ...]:
        """Return what helps when files of a read-only zone were hard-linked."""
        setting = f": `{self._tool.copy_setting}`" if self._tool.copy_setting else ""
        return (f"Where nothing may ever reach the zone, ask the tool for copies{setting}.",)

    def attempted(self, zone: str | None, errno: str, places: Sequence[Place]) -> tuple[str, ...]:
        """Return what the refused operations would have needed, and how to do without them."""
        needed = self._needed(errno)
        would = f"They would have needed {needed}, and a policy that allows it." if needed else ""
        hints = self._for_zone(zone) if zone is not None else ()
        if zone is None and places:
            option = _zone_option(os.path.dirname(places[0].path))
            hints = (f"If the tool is meant to write there, name the place in the policy: {option}.",)
        return tuple(each for each in (*hints, would) if each)

    def refused(self, zone: str | None, errno: str) -> tuple[str, ...]:
        """Return what operations that the policy allows would have needed of the system."""
        needed = self._needed(errno)
        would = f"They need {needed}." if needed else ""
        hints = self._for_zone(zone) if zone == "cache" else ()
        return tuple(each for each in (would, *hints) if each)

    def _needed(self, errno: str) -> str | None:
        needed = _NEEDED.get(errno)
        return None if needed is None else needed.format(user=self._context.run.user)

    def read(self, zone: str | None) -> tuple[str, ...]:
        """Return what helps when a zone without access was read."""
        return (
            f"If reading is harmless, declare it so: `--zone {zone}=PATH:ro`.",
            (
                "If the files are secrets, keep them from the run (another user, a mount namespace): by now "
                "they have been read."
            ),
        )

    def _for_zone(self, zone: str) -> tuple[str, ...]:
        if self._tool.name == "uv" and zone == "cache":
            return (
                (
                    "Give uv a cache that it may write: a copy of this one, or an overlay over it, named by "
                    "`UV_CACHE_DIR` and best on the mount of the environment (elsewhere its files are copied "
                    "instead of linked); or run with `--no-cache`. Even with everything in the cache uv "
                    "opens `.lock` there for reading and writing and makes `.tmpXXXXXX` directories, so a "
                    "read-only cache does not carry it."
                ),
            )
        if self._tool.name == "uv" and zone == "venv":
            return (
                (
                    "Make the environment beforehand, and use it as it is: `uv run --no-sync`. `uv sync` "
                    "opens `.lock` in the environment even if it changes nothing, with `--check` too."
                ),
            )
        if self._tool.cache_setting is not None and zone == "cache":
            return (
                (
                    f"Give {self._tool.name} a cache that it may write: "
                    f"`{self._tool.cache_setting.format('PATH')}`."
                ),
            )
        return ()

    def _allow(self, zone: str, places: Sequence[Place]) -> str:
        tops = _tops(places) if zone == "project" else []
        if 0 < len(tops) <= _FEW:
            options = " ".join(_zone_option(top)[1:-1] for top in tops)
            return f"If the change is meant, allow it: `{options}`."
        for each in self._context.policy.zones:
            if each.name == zone and each.patterns:
                return f"If the change is meant, allow it: `--zone {zone}={show(each.patterns[0])}:rw`."
        return f"If the change is meant, give zone {zone} access rw in the policy."


def _tops(places: Sequence[Place]) -> list[bytes]:
    """Return the paths that lie below none of the others."""
    tops: list[bytes] = []
    for path in sorted({place.path for place in places}, key=lambda each: each.replace(b"/", b"\0")):
        if not tops or not path.startswith(tops[-1] + b"/"):
            tops.append(path)
    return tops


def _is_lock(path: bytes) -> bool:
    name = os.path.basename(path)
    return name.endswith((b".lock", b".lck")) or name == b"lock"


def _zone_option(directory: bytes) -> str:
    """Return the option that allows a directory; the root directory would allow everything."""
    place = show(directory) if directory not in (b"", b"/") else "DIRECTORY"
    return f"`--zone NAME={place}:rw`"
