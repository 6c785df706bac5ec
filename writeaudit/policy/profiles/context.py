"""What every profile needs: the command's surroundings, its options, and zones in the making."""

from __future__ import annotations

import enum
import os
import pwd
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from writeaudit.judgement import Zone, ZoneAccess
from writeaudit.policy.expand import of_path
from writeaudit.policy.profiles.command import Invocation

if TYPE_CHECKING:
    import configparser

_FALSE = frozenset({"", "0", "n", "no", "f", "false", "off"})


class Mode(enum.StrEnum):
    """What is asked of the run."""

    INSTALL = "install"
    """The tool may change its cache, its environment and temporary files."""
    FROZEN = "frozen"
    """Nothing may change but temporary files."""


@dataclass(slots=True)
class Context:
    """One command line under a profile; gathers its zones. Paths are absolute strings (fsdecode)."""

    run: Invocation
    mode: Mode
    cwd: str = ""
    """Where the tool works: the command's directory, or the one it was told to change to."""
    home: str = ""
    _zones: dict[str, tuple[ZoneAccess, list[str], list[bytes]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.cwd = os.fsdecode(self.run.cwd)
        home = self.run.env.get("HOME")
        if not home:
            try:
                home = pwd.getpwuid(os.getuid()).pw_dir
            except KeyError:
                home = "/"
        self.home = home

    # -- what was said -----------------------------------------------------------------

    @property
    def env(self) -> Mapping[str, str]:
        """The command's environment."""
        return self.run.env

    def flag(self, *names: str) -> bool:
        """Whether one of the options `names`, which take no value, was given."""
        return any(word in names for word in self._options())

    def option(self, *names: str) -> str | None:
        """Return the last value of an option: ``--name V``, ``--name=V``, ``-n V``, ``-nV``."""
        values = self.options(*names)
        return values[-1] if values else None

    def options(self, *names: str) -> list[str]:
        """Return all values of an option."""
        values: list[str] = []
        words = list(self._options())
        for pos, word in enumerate(words):
            for name in names:
                if word == name:
                    if pos + 1 < len(words):
                        values.append(words[pos + 1])
                elif name.startswith("--"):
                    if word.startswith(name + "="):
                        values.append(word[len(name) + 1 :])
                elif word.startswith(name) and not word.startswith("--") and len(word) > 2:
                    values.append(word[2:].removeprefix("="))
        return values

    def _options(self) -> Iterator[str]:
        for word in self.run.args:
            if word == "--":
                return
            yield word

    def operands(self, with_value: Iterable[str]) -> list[str]:
        """Return the words that are neither options nor values of the options `with_value`."""
        found: list[str] = []
        skip = False
        only = False
        for word in self.run.args:
            if skip:
                skip = False
            elif only:
                found.append(word)
            elif word == "--":
                only = True
            elif word.startswith("-") and len(word) > 1:
                skip = word in with_value
            else:
                found.append(word)
        return found

    def truthy(self, name: str) -> bool:
        """Whether a variable is set to something other than no, false, off or 0."""
        return self.env.get(name, "").lower() not in _FALSE

    # -- places ------------------------------------------------------------------------

    def path(self, text: str, *, base: str | None = None, tilde: bool = False) -> str:
        """Return `text` as an absolute path, relative to `base` (else to the tool's directory)."""
        if tilde and (text == "~" or text.startswith("~/")):
            text = self.home + text[1:]
        return os.path.join(base or self.cwd, text)

    def xdg(self, variable: str, fallback: str) -> str:
        """Return an XDG base directory; a relative one is to be ignored, says the specification."""
        value = self.env.get(variable, "")
        return value if value.startswith("/") else os.path.join(self.home, fallback)

    def first_env(self, *names: str) -> str | None:
        """Return the first of the variables `names` that is set and not empty."""
        return next((value for name in names if (value := self.env.get(name))), None)

    def upwards(self, start: str | None = None) -> Iterator[str]:
        """Yield a directory and its parents, the root last."""
        directory = os.path.normpath(start or self.cwd)
        while True:
            yield directory
            parent = os.path.dirname(directory)
            if parent == directory:
                return
            directory = parent

    def nearest(self, *names: str, start: str | None = None) -> str | None:
        """Return the nearest directory upwards that holds one of `names`."""
        for directory in self.upwards(start):
            if any(os.path.exists(os.path.join(directory, name)) for name in names):
                return directory
        return None

    def toml(self, *parts: str) -> dict[str, object] | None:
        """Return a TOML file's content; None if it is missing or no TOML (the tool will say so)."""
        import tomllib  # noqa: PLC0415 - start-up: few commands run in a project

        try:
            with open(os.path.join(*parts), "rb") as file:
                return tomllib.load(file)
        except (OSError, ValueError, RecursionError):
            return None

    def ini(self, *paths: str) -> configparser.RawConfigParser:
        """Return what INI files say, later ones over earlier ones; unreadable ones say nothing."""
        import configparser  # noqa: PLC0415 - start-up: few tools have such files

        parser = configparser.RawConfigParser(strict=False, default_section="\0")
        for path in paths:
            try:
                parser.read(path, encoding="utf-8")
            except (configparser.Error, ValueError):
                continue
        return parser

    # -- zones -------------------------------------------------------------------------

    def zone(
        self, name: str, *paths: str, access: ZoneAccess | None = None, patterns: Iterable[bytes] = ()
    ) -> None:
        """Add paths to the zone `name`. Its access by default: rw for install, ro for frozen."""
        if access is None:
            access = ZoneAccess.READ_WRITE if self.mode is Mode.INSTALL else ZoneAccess.READ_ONLY
        known = self._zones.setdefault(name, (access, [], []))
        known[1].extend(paths)
        known[2].extend(patterns)

    def protected(self, name: str, *paths: str) -> None:
        """Add paths that neither mode may change: writes there count as in a read-only zone."""
        self.zone(name, *paths, access=ZoneAccess.READ_ONLY)

    def temporary(self) -> None:
        """Add the zone ``tmp``, writable in every mode."""
        paths = ["/tmp", "/var/tmp", "/dev/shm"]  # noqa: S108 -- named, not opened
        if own := self.env.get("TMPDIR"):
            paths.insert(0, self.path(own))
        self.zone("tmp", *paths, access=ZoneAccess.READ_WRITE)

    def zones(self) -> tuple[Zone, ...]:
        """Return what was gathered, in order."""
        made: list[Zone] = []
        for name, (access, paths, patterns) in self._zones.items():
            expanded = [pattern for path in paths for pattern in of_path(os.fsencode(path))]
            made.append(Zone(name, access, tuple(dict.fromkeys([*expanded, *patterns]))))
        return tuple(made)

    def patterns(self, path: str) -> tuple[bytes, ...]:
        """Return the patterns that cover `path`, to be gone on with."""
        return of_path(os.fsencode(path))

    # -- Python environments -----------------------------------------------------------

    def program(self, name: str) -> str | None:
        """Return where a program is found, as the command's PATH has it; symlinks are not followed."""
        if "/" in name:
            return self.path(name)
        import shutil  # noqa: PLC0415 - start-up

        found = shutil.which(name, path=self.env.get("PATH"))
        return self.path(found) if found else None

    def python_environment(self, interpreter: str) -> list[str]:
        """Return what an installer into the environment of `interpreter` (a path) changes.

        A virtual environment as a whole, else the installation's library, script and data directories.
        """
        prefix = os.path.dirname(os.path.dirname(os.path.normpath(interpreter)))
        if os.path.exists(os.path.join(prefix, "pyvenv.cfg")):
            return [prefix]
        real = os.path.dirname(os.path.dirname(os.path.realpath(interpreter)))
        prefixes = dict.fromkeys([prefix, real])
        if prefixes.keys() & {"/", "/usr"}:
            prefixes = {"/usr": None, "/usr/local": None}
        names = sorted(
            {
                name
                for place in prefixes
                for name in _listed(os.path.join(place, "lib"))
                if name.startswith(("python3", "pypy3"))
            }
        ) or ["python3"]
        parts = ["bin", "include", "share", "etc", *(os.path.join("lib", name) for name in names)]
        if "/usr" in prefixes:
            parts = ["bin", *(part for part in parts if part.startswith("lib/"))]
        return [os.path.join(place, part) for place in prefixes for part in parts]


def _listed(directory: str) -> list[str]:
    try:
        return os.listdir(directory)
    except OSError:
        return []


def table(data: object, *keys: str) -> dict[str, object] | None:
    """Return the table at `keys` of a TOML document, None if there is none."""
    for key in keys:
        data = data.get(key) if isinstance(data, dict) else None
    return data if isinstance(data, dict) else None


def text(data: object, *keys: str) -> str | None:
    """Return the text at `keys` of a TOML document, None if there is none."""
    found = table(data, *keys[:-1])
    value = found.get(keys[-1]) if found is not None else None
    return value if isinstance(value, str) else None
