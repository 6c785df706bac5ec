"""What to do about writes that the policy forbids, for the tool that made them.

What stands between backticks can be pasted: it is quoted for the shell, covers what was found and
no more, and has been tried on the policy before it is printed.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from writeaudit.analysis.collector import RunContext
from writeaudit.analysis.files.activity import PathActivity
from writeaudit.analysis.installers import Installer
from writeaudit.analysis.zones.cover import FEW, Cover, Coverer
from writeaudit.judgement import Zone, ZoneAccess
from writeaudit.places import starts_or_grants
from writeaudit.text import plural, quote_name, shell_word

_NEEDED = {
    "EROFS": "a mount that is not read-only",
    "EACCES": "write permission on the file or its directory for {user}",
    "EPERM": "{user} to own the file (or to have a privilege), and no immutable flag on it",
    "ETXTBSY": "a file that no process executes",
    "EBUSY": "a place that is no mount point and not otherwise in use",
    "ENOSPC": "room on the file system",
    "EDQUOT": "room in the user's quota",
}
_NOT_EXPRESSED = (
    "Landlock cannot express all that the policy allows, and confine grants no more than it does: the notes "
    "of the run say what is missing (a protected place inside a writable one, a name that was not there). "
    "Name a directory of its own for what is to be made."
)
_UNITS = frozenset(
    {"cache", "venv", "node_modules", "target", "tool-caches", "bytecode", "state", "gems", "vendor"}
)
"""Zones that a tool fills as a whole: to allow single files of them would help until the next version."""


class ZoneAdviser:
    """Knows the policy and the tool, and words the advice for them."""

    def __init__(self, context: RunContext, tool: Installer) -> None:
        self._context = context
        self._tool = tool
        self._coverer = Coverer(context)
        recording = "last" if context.trial is None else shell_word(os.fsencode(context.trial.recording))
        self._suggest = f"`writeaudit suggest {recording} --for policy`"

    def advise_changed(self, zone: str, activities: Sequence[PathActivity]) -> tuple[str, ...]:
        """Return what helps when something in a read-only zone changed."""
        lock: tuple[str, ...] = ()
        if self._tool.name == "uv" and any(activity.path.endswith(b"/uv.lock") for activity in activities):
            lock = (
                "uv brings uv.lock up to date unless told not to: `--frozen`, or `--locked` to fail instead.",
            )
        return (
            *self._suggest_profile(activities),
            *self._for_zone(zone),
            *lock,
            *self._advise_allow(zone, activities),
        )

    def advise_outside(self, activities: Sequence[PathActivity]) -> tuple[str, ...]:
        """Return what helps when something outside every zone changed."""
        named = self._name_places(activities, "If the tool is meant to write there, name the place")
        if all(starts_or_grants(activity.path) for activity in activities):
            return (*self._suggest_profile(activities), *named)
        return (
            *self._suggest_profile(activities),
            *named,
            (
                "If not, find the setting that moves it: in the HTML and JSON reports the finding's evidence "
                "names the process and the operation."
            ),
        )

    def advise_unjudged(self, activities: Sequence[PathActivity]) -> tuple[str, ...]:
        """Return how to say where a command that no profile knows may write."""
        options = self._coverer.find_cover(activities).options
        one = f", and `{options}` allows these places" if options else ""
        return (
            *self._suggest_profile(activities),
            (
                f"To have it judged, say where it may write: {self._suggest} writes a policy that allows "
                f"what this run did{one}. `writeaudit profiles` lists the tools that are known."
            ),
        )

    def advise_opened(self, zone: str | None, activities: Sequence[PathActivity]) -> tuple[str, ...]:
        """Return what helps when files were opened for writing and left as they were."""
        locks = any(_is_lock(activity.path) for activity in activities)
        if zone is None:
            return self._name_places(activities, "Name the place in the policy if it may be written")
        return (*(self._for_zone(zone) if locks else ()), *self._advise_allow(zone, activities))

    def advise_linked(self) -> tuple[str, ...]:
        """Return what helps when files of a read-only zone were hard-linked."""
        setting = f": `{self._tool.copy_setting}`" if self._tool.copy_setting else ""
        return (f"Where nothing may ever reach the zone, ask the tool for copies{setting}.",)

    def advise_attempted(
        self, zone: str | None, errno: str, activities: Sequence[PathActivity], *, confined: bool = False
    ) -> tuple[str, ...]:
        """Return what the refused operations would have needed, and how to do without them.

        ``confined``: whether Landlock refused them, by which the command is held to the policy.
        """
        needed = self._name_need(errno)
        who = "It" if sum(activity.events for activity in activities) == 1 else "They"
        would = f"{who} would have needed {needed}, and a policy that allows it." if needed else ""
        if confined:
            would = f"{who} would have needed a policy that allows it." if zone is not None else ""
        hints = self._for_zone(zone) if zone is not None else self._name_directories(activities)
        return tuple(each for each in (*hints, would) if each)

    def advise_refused(
        self, zone: str | None, errno: str, variable: str | None = None, *, confined: bool = False
    ) -> tuple[str, ...]:
        """Return what operations that the policy allows would have needed of the system.

        ``variable`` says where they went. ``confined``: as for `advise_attempted`.
        """
        if confined:
            return (_NOT_EXPRESSED,)
        needed = self._name_need(errno)
        would = f"They need {needed}." if needed else ""
        if variable is not None and would:
            would = f"{would[:-1]}; `{variable}` says where they go: name another place with it."
        hints = self._for_zone(zone) if zone == "cache" else ()
        return tuple(each for each in (would, *hints) if each)

    def advise_read(self, zone: str | None) -> tuple[str, ...]:
        """Return what helps when a zone without access was read."""
        found = self._find_zone(zone)
        options = self._coverer.widen_zone(found, ZoneAccess.READ_ONLY) if found is not None else ""
        way = f": `{options}`" if options else " in the policy file, with access ro"
        return (
            f"If reading is harmless, declare it so{way}.",
            (
                "If the files are secrets, keep them from the run (another user, a mount namespace): by now "
                "they have been read."
            ),
        )

    def _name_need(self, errno: str) -> str | None:
        needed = _NEEDED.get(errno)
        return None if needed is None else needed.format(user=self._context.run.user)

    # -- profiles ----------------------------------------------------------------------

    def _suggest_profile(self, activities: Sequence[PathActivity]) -> tuple[str, ...]:
        """Name the profile of a tool that ran behind the command, if that would change the verdict."""
        trial = self._context.trial
        if trial is None:
            return ()
        paths = [activity.path for activity in activities]
        for tool in trial.list_tools():
            count = trial.count_allowed(paths, profile=tool)
            if count:
                which = "these" if count == len(paths) else f"{count:,} of these"
                return (f"The command ran {tool}: with `--profile {tool}` {which} would lie in its zones.",)
        return ()

    # -- settings of tools -------------------------------------------------------------

    def _for_zone(self, zone: str) -> tuple[str, ...]:
        if zone == "cache" and (option := self._without_cache()):
            return (
                (
                    f"This run has no cache of its own: {self._tool.name} makes a temporary one in TMPDIR, "
                    f"which has to be writable. Set TMPDIR to such a directory, or drop {option} and name a "
                    "cache that may be written"
                    + (
                        f" ({self._tool.cache_setting.format('DIRECTORY')})."
                        if self._tool.cache_setting
                        else "."
                    )
                ),
            )
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
                    f"Give {self._tool.name} a cache that it may write, with the setting "
                    f"{self._tool.cache_setting.format('DIRECTORY')}."
                ),
            )
        return ()

    def _without_cache(self) -> str | None:
        """Return the option or variable that took the cache away for this run, if one did."""
        return self._tool.without_cache(self._context.run, self._context.policy)

    # -- zones -------------------------------------------------------------------------

    def _find_zone(self, name: str | None) -> Zone | None:
        return next((each for each in self._context.policy.zones if each.name == name), None)

    def _advise_allow(self, name: str, activities: Sequence[PathActivity]) -> tuple[str, ...]:
        """Return how to allow changes in a zone: the places themselves, or a zone that is one thing."""
        zone = self._find_zone(name)
        whole = self._coverer.widen_zone(zone) if zone is not None else ""
        if name in _UNITS and whole:
            return (f"If the change is meant, allow it: `{whole}`.",)
        cover = self._coverer.find_cover(activities)
        if cover.options:
            return (*_warn_sensitive(cover), f"If the change is meant, allow it: `{cover.options}`.")
        if whole and not cover.sensitive and cover.wide is None:
            return (f"If the change is meant, allow it: `{whole}` opens all of the zone.",)
        return (*_warn_sensitive(cover), *_no_option(cover, "If the change is meant", self._suggest))

    def _name_places(self, activities: Sequence[PathActivity], begin: str) -> tuple[str, ...]:
        cover = self._coverer.find_cover(activities)
        if cover.options:
            return (*_warn_sensitive(cover), f"{begin}: `{cover.options}`, or a zone in the policy file.")
        return (
            *_warn_sensitive(cover),
            *_no_option(cover, "If the tool is meant to write there", self._suggest),
        )

    def _name_directories(self, activities: Sequence[PathActivity]) -> tuple[str, ...]:
        """Return how to allow the directories in which something was refused: all, or the last few."""
        directories: dict[bytes, PathActivity] = {}
        for activity in sorted(activities, key=lambda each: each.seq, reverse=True):
            wanted = self._coverer.directory_of(activity.path) or activity.path
            directories.setdefault(wanted, PathActivity(wanted))
        few = list(directories.values())[:FEW]
        cover = self._coverer.find_cover(few)
        if not cover.options:
            return self._name_places(activities, "If the tool is meant to write there, name the place")
        more = len(directories) - len(few)
        others = f" (and {plural(more, 'directory', 'directories')} more)" if more else ""
        return (
            *_warn_sensitive(cover),
            f"If the tool is meant to write there, name the place in the policy: `{cover.options}`{others}.",
        )


def _warn_sensitive(cover: Cover) -> tuple[str, ...]:
    if not cover.sensitive:
        return ()
    shown = ", ".join(quote_name(path) for path in cover.sensitive[:3])
    more = f" and {len(cover.sensitive) - 3:,} more" if len(cover.sensitive) > 3 else ""
    return (
        (
            f"{shown}{more} start{'s' if len(cover.sensitive) == 1 else ''} programs or grant"
            f"{'s' if len(cover.sensitive) == 1 else ''} access. Find out which process wrote that, and why, "
            "before you allow anything."
        ),
    )


def _no_option(cover: Cover, begin: str, suggest: str) -> tuple[str, ...]:
    if cover.wide is not None:
        names = "the names are others in each run, and " if cover.passing else ""
        return (
            (
                f"{begin}: no single option does it without opening {quote_name(cover.wide)} "
                f"({names}more lies there than this tool's files). {suggest} lists the places one by one."
            ),
        )
    if cover.sensitive:
        return ()
    return (f"{begin}: {suggest} lists the places one by one.",)


def _is_lock(path: bytes) -> bool:
    name = os.path.basename(path)
    return name.endswith((b".lock", b".lck")) or name == b"lock"
