"""What to do about a refused link: one setting that fixes it, then how to live with it."""

from __future__ import annotations

import os
from typing import assert_never

from writeaudit.analysis.collector import RunContext
from writeaudit.analysis.installers import Installer
from writeaudit.analysis.links.refusals import RefusalCause
from writeaudit.analysis.mounts import RecordedMounts
from writeaudit.audit import Mount
from writeaudit.text import quote_name, shell_word

_REFLINKS = frozenset({"btrfs", "xfs", "bcachefs"})
_ENVIRONMENTS = frozenset({"venv", "node_modules", "target", "gems", "vendor"})
"""Zones that an installer fills: it may empty them, and refuses what does not belong there."""
_PLACES = frozenset(
    {RefusalCause.DEVICES, RefusalCause.UNKNOWN_MOUNTS, RefusalCause.MOUNTS, RefusalCause.SUBVOLUMES}
)
"""Refusals for where the two sides lie."""


class LinkAdviser:
    """Knows the run and the tool, and words the advice for them."""

    def __init__(self, context: RunContext, mounts: RecordedMounts, tool: Installer) -> None:
        self._context = context
        self._mounts = mounts
        self._known = self._tool = tool
        self._origin = b""

    def give_advice(
        self,
        why: RefusalCause,
        source: Mount | None,
        target: Mount | None,
        example: bytes,
        origin: bytes = b"",
    ) -> tuple[str, ...]:
        """Return sentences, the best first. ``example`` is a target that could not be linked.

        ``origin``: what it was to be linked to.
        """
        self._origin = origin
        self._tool = self._known.of_version(origin)
        if why in _PLACES and self._find_zone(example) == "cache" and self._find_zone(origin) != "cache":
            return (self._into_cache(source, target), *self._advise_accept())
        match why:
            case RefusalCause.DEVICES | RefusalCause.UNKNOWN_MOUNTS:
                return (self._advise_move(target, example), *self._advise_accept())
            case RefusalCause.SUBVOLUMES:
                return (
                    *self._advise_clone(target),
                    "Keep both sides in one subvolume: no hard link or rename leads out of one.",
                    *self._advise_accept(),
                )
            case RefusalCause.MOUNTS:
                return (
                    self._advise_join(source, target, example),
                    *self._advise_clone(target),
                    *self._advise_accept(),
                )
            case RefusalCause.PROTECTED:
                return (self._advise_owner(), *self._advise_accept())
            case RefusalCause.FLAGS:
                return (
                    (
                        "Look for the immutable or append-only flag with `lsattr` on the source, and "
                        "take it away with `chattr -i -a`."
                    ),
                    *self._advise_accept(),
                )
            case RefusalCause.DIRECTORY:
                return (
                    (
                        "Give the user of the run write permission on the target's directory and search "
                        "permission on the directories above source and target."
                    ),
                )
            case RefusalCause.WITHIN:
                return self._advise_accept()  # after what each of its candidates needs
            case RefusalCause.TOO_MANY:
                return (
                    (
                        f"Start a new {self._name_cache()}: a file of the present one has as many "
                        "links as the "
                        "file system allows. Environments that nobody needs any more hold them."
                    ),
                    *self._advise_accept(),
                )
            case RefusalCause.UNSUPPORTED:
                return (
                    f"Put the {self._name_cache()} and the environment on a file system with hard links.",
                    *self._advise_accept(),
                )
            case RefusalCause.OTHER:
                return self._advise_accept() or ("Look the errno up in link(2).",)
            case _ as unreachable:
                assert_never(unreachable)

    def _name_cache(self) -> str:
        return "store" if self._tool.name == "pnpm" else "cache"

    def _advise_move(self, target: Mount | None, example: bytes) -> str:
        if option := self._without_cache():
            begin = (
                f"This run has no cache of its own: {self._tool.name} makes a temporary one in TMPDIR. "
                f"Drop {option}"
            )
            directory = self._find_directory(target, example, b".tmp")
            if directory is None:
                return f"{begin}, or give it a temporary directory on the mount of the environment."
            temporary = shell_word(directory)
            return (
                f"{begin}, or give it a temporary directory on the mount of the environment: "
                f"`mkdir -p {temporary}` and `TMPDIR={temporary}`."
            )
        where = "" if target is None else f" ({quote_name(target.mountpoint)})"
        if self._tool.cache_setting is None:
            return self._advise_either(target, example)
        directory = self._find_directory(target, example, os.fsencode(self._tool.cache_directory))
        if directory is None:
            return (
                f"All of the mount of the environment{where} is the environment, and a "
                f"{self._name_cache()} does "
                "not belong there: put both on one mount (one volume with two directories in it, say)."
            )
        setting = self._describe_setting(directory)
        return f"Put the {self._name_cache()} on the file system of the environment{where}: {setting}."

    def _describe_setting(self, directory: bytes) -> str:
        """Return the setting that moves the cache, to be pasted."""
        assert self._tool.cache_setting is not None
        own = f"`{self._tool.cache_setting.format(shell_word(directory))}`"
        if self._tool.older is None or self._tool.older.cache_setting is None:
            return own
        before = self._tool.older.cache_setting.format(shell_word(directory))
        return f"{own} ({self._tool.older.name}: `{before}`)"

    def _advise_either(self, target: Mount | None, example: bytes) -> str:
        """Say which side could move, for a tool whose settings are not known."""
        where = "" if target is None else f" ({quote_name(target.mountpoint)})"
        if not self._from_cache():
            return (
                "Both sides have to lie on one mount: the directory of the source, "
                f"{_quote_path(self._origin)}, "
                f"or that of the target, {_quote_path(example)}, has to move to the other's."
            )
        directory = self._find_directory(target, example, b"")
        below = "" if directory is None else f", for instance below {quote_name(directory)}"
        return f"Put the tool's cache or store on the mount of the target{where}{below}."

    def _into_cache(self, source: Mount | None, target: Mount | None) -> str:
        """Say how to bring a cache to what is linked into it."""
        where = "" if source is None else f" ({quote_name(source.mountpoint)})"
        there = "" if target is None else f", or work on {quote_name(target.mountpoint)}"
        begin = f"The links lead into the {self._name_cache()}: put it on the mount of what is linked{where}"
        directory = self._find_directory(
            source, self._origin, os.fsencode(self._tool.cache_directory or ".cache")
        )
        if directory is None or self._tool.cache_setting is None:
            below = "" if directory is None else f", for instance {quote_name(directory)}"
            return f"{begin}{below}{there}."
        return f"{begin}: {self._describe_setting(directory)}{there}."

    def _advise_join(self, source: Mount | None, target: Mount | None, example: bytes) -> str:
        if self._without_cache():
            return self._advise_move(target, example)
        both = "two"
        if source is not None and target is not None:
            both = f"{quote_name(source.mountpoint)} and {quote_name(target.mountpoint)}"
        direct = self._find_direct_name(source, target)
        if direct is not None:
            way = f": {self._describe_setting(direct)}" if self._tool.cache_setting else ""
            name = quote_name(direct)
            return f"{name} is the same directory on the mount of the environment: use it by that name{way}."
        keep = ""
        if self._tool.cache_setting is not None:
            directory = self._find_directory(target, example, os.fsencode(self._tool.cache_directory))
            if directory is not None:
                keep = f"keep {self._describe_setting(directory)} on the mount of the environment; or "
        return (
            f"Let one mount hold both sides: {keep}mount one common parent directory instead of {both} "
            "(docker: one volume or bind mount with cache and environment below it, not one `-v` for each; "
            "kubernetes: one volumeMount without subPath)."
        )

    def _find_direct_name(self, source: Mount | None, target: Mount | None) -> bytes | None:
        """Return the name on the target's mount of the cache, where that mount shows it too."""
        if source is None or target is None:
            return None
        top = target.root.rstrip(b"/")
        if not source.root.startswith(top + b"/"):
            return None
        below = b""
        for zone in self._context.policy.zones:
            for pattern in zone.patterns:
                if zone.name == "cache" and pattern.startswith(source.mountpoint.rstrip(b"/") + b"/"):
                    below = pattern[len(source.mountpoint.rstrip(b"/")) :]
        name = target.mountpoint.rstrip(b"/") + source.root[len(top) :].rstrip(b"/") + below
        # Another mount may lie over it, and the environment is no place for a cache.
        return name if self._mounts.mount_over(name) == target and not self._in_environment(name) else None

    def _advise_clone(self, target: Mount | None) -> tuple[str, ...]:
        if target is None or target.fstype not in _REFLINKS:
            return ()
        setting = f": `{self._tool.clone_setting}`" if self._tool.clone_setting else ""
        return (f"Reflinks work where hard links do not on {target.fstype}{setting}.",)

    def _advise_owner(self) -> str:
        user = quote_name(os.fsencode(self._context.run.user))
        zone = next((each for each in self._context.policy.zones if each.name == "cache"), None)
        cache = zone.patterns[0] if zone is not None and zone.patterns else None
        change = (
            f"`chmod -R g+rwX {shell_word(cache)}`" if cache is not None and b"*" not in cache else "chmod"
        )
        home = self._context.run.env.get("HOME")
        own = ""
        if self._tool.cache_setting is not None and home and self._tool.name != "pnpm":
            directory = os.path.join(os.fsencode(home), b".cache", os.fsencode(self._tool.name))
            own = f": {self._describe_setting(directory)}" if directory != cache else ""
        return (
            f"Let {user} own the files of the {self._name_cache()}, or be able to read and write "
            "them (a common "
            f"group, {change}, setgid directories, and `umask 002` for everybody who adds to it); or, safer, "
            f"give {user} a {self._name_cache()} of their own{own}."
        )

    def _advise_accept(self) -> tuple[str, ...]:
        if self._tool.copy_setting is None:
            return ()
        older = self._tool.older
        before = f" ({older.name}: `{older.copy_setting}`)" if older is not None else ""
        return (f"If copies are fine, say so and no link is tried: `{self._tool.copy_setting}`{before}.",)

    def _without_cache(self) -> str | None:
        """Return the option or variable that took the cache away for this run."""
        return self._tool.without_cache(self._context.run, self._context.policy)

    def _find_directory(self, target: Mount | None, example: bytes, name: bytes) -> bytes | None:
        """Return a directory on the target's mount, not in the environment, or None if there is none."""
        environment = self._find_environment(example)
        home = self._context.run.env.get("HOME")
        candidates: list[bytes] = []
        if home and name == os.fsencode(self._tool.cache_directory):
            # Where the tool keeps it of itself is best, if that is the right mount.
            candidates.append(os.path.join(os.fsencode(home), b".cache", os.fsencode(self._tool.name)))
        candidates.append(os.path.join(os.path.dirname(environment), name))
        if target is not None:
            candidates.append(os.path.join(target.mountpoint, name))
        for directory in candidates:
            path = directory.rstrip(b"/") or b"/"
            if target is not None and self._mounts.mount_over(path) != target:
                continue
            if not self._in_environment(path) and not (path + b"/").startswith(environment + b"/"):
                return path
        return None

    def _in_environment(self, path: bytes) -> bool:
        """Whether a path lies in what an installer fills, and may empty."""
        return any(
            (path + b"/").startswith(pattern + b"/")
            for zone in self._context.policy.zones
            if zone.name in _ENVIRONMENTS
            for pattern in zone.patterns
        )

    def _from_cache(self) -> bool:
        """Whether what was to be linked lies in a cache; where no zone is called so, it is taken for one."""
        return self._find_zone(self._origin) == "cache" or not any(
            zone.name == "cache" for zone in self._context.policy.zones
        )

    def _find_zone(self, path: bytes) -> str | None:
        if self._context.trial is not None:
            found = self._context.trial.zone_of(path)
            return found.name if found is not None else None
        for zone in self._context.policy.zones:
            if any((path + b"/").startswith(pattern + b"/") for pattern in zone.patterns):
                return zone.name
        return None

    def _find_environment(self, example: bytes) -> bytes:
        """Return the directory of the environment that ``example`` lies in, or its own directory."""
        best = b""
        for zone in self._context.policy.zones:
            if zone.name != "venv":
                continue
            for pattern in zone.patterns:
                if example.startswith(pattern + b"/") and len(pattern) > len(best):
                    best = pattern
        if best:
            return best
        for mark in (b"/lib/python", b"/node_modules/"):
            above, found, _below = example.partition(mark)
            if found and above:
                return above
        return os.path.dirname(example)


def _quote_path(path: bytes) -> str:
    return quote_name(os.path.dirname(path) or path)
