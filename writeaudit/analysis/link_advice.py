"""What to do about a refused link: one setting that mends it, then how to live with it."""

from __future__ import annotations

import os
from typing import assert_never

from writeaudit.analysis.collector import Context
from writeaudit.analysis.diagnosis import Why
from writeaudit.analysis.mounts import MountTable
from writeaudit.analysis.tools import Tool
from writeaudit.audit import Mount
from writeaudit.text import show

_REFLINKS = frozenset({"btrfs", "xfs", "bcachefs"})


class LinkAdviser:
    """Knows the run and the tool, and words the advice for them."""

    def __init__(self, context: Context, mounts: MountTable, tool: Tool) -> None:
        self._context = context
        self._mounts = mounts
        self._tool = tool

    def advice(self, why: Why, source: Mount | None, target: Mount | None, example: bytes) -> tuple[str, ...]:
        """Return sentences, the best first. ``example`` is a target that could not be linked."""
        match why:
            case Why.DEVICES | Why.UNKNOWN_MOUNTS:
                return (self._move(target, example), *self._accept())
            case Why.SUBVOLUMES:
                return (*self._clone(target), self._move(target, example), *self._accept())
            case Why.MOUNTS:
                return (self._join(source, target, example), *self._clone(target), *self._accept())
            case Why.PROTECTED:
                return (self._owner(), *self._accept())
            case Why.FLAGS:
                return (
                    (
                        "Look for the immutable or append-only flag with `lsattr` on the source, and "
                        "take it away with `chattr -i -a`."
                    ),
                    *self._accept(),
                )
            case Why.DIRECTORY:
                return (
                    (
                        "Give the user of the run write permission on the target's directory and search "
                        "permission on the directories above source and target."
                    ),
                )
            case Why.PROJECT:
                return (
                    (
                        "Give source and target the same project id (`lsproj`/`lsattr -p` show it, "
                        "`chattr -p ID` sets it)."
                    ),
                    *self._accept(),
                )
            case Why.TOO_MANY:
                return (
                    (
                        f"Start a new {self._cache()}: a file of the present one has as many links as the "
                        "file system allows. Environments that nobody needs any more hold them."
                    ),
                    *self._accept(),
                )
            case Why.UNSUPPORTED:
                return (
                    f"Put both the {self._cache()} and the environment on a file system with hard links.",
                    *self._accept(),
                )
            case Why.OTHER:
                return self._accept() or ("Look the errno up in link(2).",)
            case _ as unreachable:
                assert_never(unreachable)

    def _cache(self) -> str:
        return "store" if self._tool.name == "pnpm" else "cache"

    def _move(self, target: Mount | None, example: bytes) -> str:
        if self._without_cache():
            temporary = show(self._place(target, example, b".tmp"))
            return (
                f"This run has no cache of its own: {self._tool.name} makes a temporary one in TMPDIR. "
                f"Drop {self._without_cache()}, or give it a temporary directory on the mount of the "
                f"environment: `mkdir -p {temporary}` and `TMPDIR={temporary}`."
            )
        where = "" if target is None else f" ({show(target.mountpoint)})"
        if self._tool.cache_setting is None:
            return (
                "Put the source of the links (the tool's cache or store) on the mount of the target"
                f"{where}, for instance below {show(self._place(target, example, b''))}."
            )
        place = show(self._place(target, example, os.fsencode(self._tool.cache_directory)))
        return (
            f"Put the {self._cache()} on the file system of the environment{where}: "
            f"`{self._tool.cache_setting.format(place)}`."
        )

    def _join(self, source: Mount | None, target: Mount | None, example: bytes) -> str:
        both = "two"
        if source is not None and target is not None:
            both = f"{show(source.mountpoint)} and {show(target.mountpoint)}"
        setting = "the cache"
        if self._tool.cache_setting is not None:
            place = show(self._place(target, example, os.fsencode(self._tool.cache_directory)))
            setting = f"`{self._tool.cache_setting.format(place)}`"
        if self._without_cache():
            return self._move(target, example)
        direct = self._direct(source, target)
        if direct is not None:
            way = f"`{self._tool.cache_setting.format(show(direct))}`" if self._tool.cache_setting else ""
            return (
                f"{show(direct)} is the same directory on the mount of the environment: use it by that name"
                f"{f': {way}' if way else ''}."
            )
        return (
            f"Let one mount hold both sides: keep {setting} on the mount of the environment; or mount one "
            f"common parent directory instead of {both} (docker: one volume or bind mount, `-v "
            "/srv/build:/build`, with cache and environment below it, not one `-v` for each; "
            "kubernetes: one volumeMount without subPath)."
        )

    def _direct(self, source: Mount | None, target: Mount | None) -> bytes | None:
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
        # Another mount may lie over it.
        return name if self._mounts.holding(name) == target else None

    def _clone(self, target: Mount | None) -> tuple[str, ...]:
        if target is None or target.fstype not in _REFLINKS:
            return ()
        setting = f": `{self._tool.clone_setting}`" if self._tool.clone_setting else ""
        return (f"Reflinks work where hard links do not on {target.fstype}{setting}.",)

    def _owner(self) -> str:
        user = self._context.run.user
        return (
            f"Let {user} own the files of the {self._cache()}, or be able to read and write them (a "
            "common group, `chmod -R g+rwX`, setgid directories, and `umask 002` for everybody who adds to "
            f"it); or, safer, give {user} a {self._cache()} of their own"
            + (f": `{self._tool.cache_setting.format('PATH')}`." if self._tool.cache_setting else ".")
        )

    def _accept(self) -> tuple[str, ...]:
        if self._tool.copy_setting is None:
            return ()
        return (f"If copies are fine, say so and no link is tried: `{self._tool.copy_setting}`.",)

    def _without_cache(self) -> str | None:
        """Return the option or variable that took the cache away for this run."""
        for option in self._tool.no_cache_options:
            if option in self._context.run.command:
                return f"`{show(option)}`"
        variable = self._tool.no_cache_variable
        if variable and self._context.run.env.get(variable, "").lower() in {"1", "true", "yes", "on"}:
            return f"`{variable}`"
        return None

    def _place(self, target: Mount | None, example: bytes, name: bytes) -> bytes:
        """Return an example directory on the target's mount, called ``name``."""
        environment = self._environment(example)
        home = self._context.run.env.get("HOME")
        candidates = [os.path.dirname(environment)]
        if self._tool.name == "uv" and home and name == os.fsencode(self._tool.cache_directory):
            # Where uv keeps it of itself is best, if that is the right mount.
            usual = os.path.join(os.fsencode(home), b".cache/uv")
            if target is not None and self._mounts.holding(usual) == target:
                return usual
        if target is not None:
            candidates = [each for each in candidates if self._mounts.holding(each) == target]
            candidates.append(target.mountpoint)
        return os.path.join(candidates[0], name) if name else candidates[0]

    def _environment(self, example: bytes) -> bytes:
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
