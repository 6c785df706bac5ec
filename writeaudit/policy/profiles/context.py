"""What every profile needs: the command's surroundings, its options, and zones in the making."""

from __future__ import annotations

import enum
import os
import pwd
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from writeaudit.judgement import Zone, ZoneAccess
from writeaudit.places import is_of_the_system, is_too_wide
from writeaudit.policy.expand import of_path
from writeaudit.policy.profiles.command import Invocation
from writeaudit.text import escape_path

if TYPE_CHECKING:
    import configparser

_FALSE = frozenset({"", "0", "n", "no", "f", "false", "off"})


class Mode(enum.StrEnum):
    """What is asked of the run."""

    INSTALL = "install"
    """The tool may change its cache, its environment and temporary files."""
    FROZEN = "frozen"
    """Nothing may change but temporary files."""


class FromProject(str):
    """A text that a file of the project holds, so that whoever wrote the project chose it."""

    __slots__ = ("file",)

    def __new__(cls, value: str, file: str) -> Self:
        """Mark `value` as coming from `file`."""
        made = super().__new__(cls, value)
        made.file = file
        return made

    file: str

    def mark_text(self, value: str) -> FromProject:
        """Return what was made of this text, marked like it."""
        return FromProject(value, self.file)


class _Noted(dict[str, str]):
    """Variables, which note what is asked for."""

    def __init__(self, env: Mapping[str, str], asked: set[str]) -> None:
        super().__init__(env)
        self._asked = asked

    def get(self, name: str, default: str | None = None) -> str | None:  # type: ignore[override]
        self._asked.add(name)
        return super().get(name, default)

    def __getitem__(self, name: str) -> str:
        self._asked.add(name)
        return super().__getitem__(name)


@dataclass(slots=True)
class ProfileContext:
    """One command line under a profile; gathers its zones. Paths are absolute strings (fsdecode)."""

    run: Invocation
    mode: Mode
    cwd: str = ""
    """Where the tool works: the command's directory, or the one it was told to change to."""
    home: str = ""
    asked: set[str] = field(default_factory=set)
    """The variables that were asked for."""
    read: list[str] = field(default_factory=list)
    """The settings files that were looked for, whether they are there or not."""
    ignored: list[str] = field(default_factory=list)
    """What settings of the project asked for and did not get, in sentences."""
    _zones: dict[str, tuple[ZoneAccess, list[str], list[bytes]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.cwd = os.fsdecode(self.run.cwd)
        self.run = self.run._replace(env=_Noted(self.run.env, self.asked))
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

    def has_flag(self, *names: str) -> bool:
        """Whether one of the options `names`, which take no value, was given."""
        return any(word in names for word in self._list_options())

    def last_option(self, *names: str) -> str | None:
        """Return the last value of an option: ``--name V``, ``--name=V``, ``-n V``, ``-nV``."""
        values = self.all_options(*names)
        return values[-1] if values else None

    def all_options(self, *names: str) -> list[str]:
        """Return all values of an option."""
        values: list[str] = []
        words = list(self._list_options())
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

    def _list_options(self) -> Iterator[str]:
        for word in self.run.args:
            if word == "--":
                return
            yield word

    def list_operands(self, with_value: Iterable[str]) -> list[str]:
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

    def is_truthy(self, name: str) -> bool:
        """Whether a variable is set to something other than no, false, off or 0."""
        return self.env.get(name, "").lower() not in _FALSE

    # -- places ------------------------------------------------------------------------

    def make_absolute(self, text: str, *, base: str | None = None, tilde: bool = False) -> str:
        """Return `text` as an absolute path, relative to `base` (else to the tool's directory)."""
        path = self.home + text[1:] if tilde and (text == "~" or text.startswith("~/")) else str(text)
        path = os.path.join(base or self.cwd, path)
        return text.mark_text(path) if isinstance(text, FromProject) else path

    def xdg_directory(self, variable: str, fallback: str) -> str:
        """Return an XDG base directory; a relative one is to be ignored, says the specification."""
        value = self.env.get(variable, "")
        return value if value.startswith("/") else os.path.join(self.home, fallback)

    def first_env(self, *names: str) -> str | None:
        """Return the first of the variables `names` that is set and not empty."""
        return next((value for name in names if (value := self.env.get(name))), None)

    def walk_upwards(self, start: str | None = None) -> Iterator[str]:
        """Yield a directory and its parents, the root last."""
        directory = os.path.normpath(start or self.cwd)
        while True:
            yield directory
            parent = os.path.dirname(directory)
            if parent == directory:
                return
            directory = parent

    def find_nearest(self, *names: str, start: str | None = None) -> str | None:
        """Return the nearest directory upwards that holds one of `names`."""
        for directory in self.walk_upwards(start):
            if any(os.path.exists(os.path.join(directory, name)) for name in names):
                return directory
        return None

    def read_toml(self, *parts: str) -> dict[str, object] | None:
        """Return a TOML file's content; None if it is missing or no TOML (the tool will say so)."""
        import tomllib  # noqa: PLC0415 - start-up: few commands run in a project

        path = os.path.join(*parts)
        self.read.append(path)
        try:
            with open(path, "rb") as file:
                data = tomllib.load(file)
        except (OSError, ValueError, RecursionError):
            return None
        return _mark_texts(data, path) if self._is_of_project(path) else data

    def _is_of_project(self, path: str) -> bool:
        """Whether a settings file comes with the project, rather than being the user's or the system's."""
        directory = os.path.dirname(os.path.abspath(path))
        if directory == self.home or directory.startswith((self.home.rstrip("/") + "/.", "/etc/")):
            return False
        return not directory.startswith(self.xdg_directory("XDG_CONFIG_HOME", ".config"))

    def project_text(self, value: str, path: str) -> str:
        """Return the value of a setting, marked if its file comes with the project."""
        return FromProject(value, path) if self._is_of_project(path) else value

    def read_setting(self, path: str, name: str, separator: str) -> str | None:
        """Return the value of a line ``name SEPARATOR value`` of a settings file, without quotes.

        Enough of YAML (separator ``:``) and of its like for plain values at the left margin; None if the file
        or the line is missing.
        """
        if not path:
            return None
        self.read.append(path)
        try:
            with open(path, encoding="utf-8", errors="surrogateescape") as file:
                text = file.read(1 << 20)
        except (OSError, ValueError):
            return None
        for line in text.splitlines():
            key, found, value = line.partition(separator)
            if found and key.strip().strip("\"'") == name and not line[:1].isspace():
                value = value.strip()
                quoted = value[:1] in ("'", '"') and value.endswith(value[:1])
                value = value[1:-1] if quoted and len(value) > 1 else value.partition(" #")[0].strip()
                if value:
                    return self.project_text(value, path)
        return None

    def read_ini(self, *paths: str) -> configparser.RawConfigParser:
        """Return what INI files say, later ones over earlier ones; unreadable ones say nothing."""
        import configparser  # noqa: PLC0415 - start-up: few tools have such files

        parser = configparser.RawConfigParser(strict=False, default_section="\0")
        for path in paths:
            self.read.append(path)
            try:
                parser.read(path, encoding="utf-8")
            except (configparser.Error, ValueError):
                continue
        return parser

    # -- zones -------------------------------------------------------------------------

    def add_zone(
        self, name: str, *paths: str, access: ZoneAccess | None = None, patterns: Iterable[bytes] = ()
    ) -> None:
        """Add paths to the zone `name`. Its access by default: rw for install, ro for frozen."""
        if access is None:
            access = ZoneAccess.READ_WRITE if self.mode is Mode.INSTALL else ZoneAccess.READ_ONLY
        known = self._zones.setdefault(name, (access, [], []))
        known[1].extend(path for path in paths if not self._refuses_project(name, path, access))
        known[2].extend(patterns)

    def _refuses_project(self, name: str, path: str, access: ZoneAccess) -> bool:
        """Whether a setting of the project asks for what no project may open: then it is noted.

        Whoever writes a project must not decide that the system, the home directory or another
        zone may be written.
        """
        if not isinstance(path, FromProject) or access is not ZoneAccess.READ_WRITE:
            return False
        others = tuple(
            os.fsencode(os.path.realpath(place))
            for other, (_access, paths, _patterns) in self._zones.items()
            if other not in (name, "tmp")
            for place in paths
        )
        home = os.fsencode(os.path.realpath(self.home))
        here = os.fsencode(os.path.realpath(self.cwd))
        for spelling in (path, os.path.realpath(path)):
            place = os.fsencode(os.path.normpath(spelling))
            if is_too_wide(place, home, (here, *others)) or is_of_the_system(place):
                file, wanted = (escape_path(os.fsencode(each)) for each in (path.file, path))
                self.ignored.append(
                    f"{file} asks for {wanted} as zone {name}: ignored, for a project may not open the "
                    "system, the home directory or another zone"
                )
                return True
        return False

    def protect_paths(self, name: str, *paths: str) -> None:
        """Add paths that neither mode may change: writes there count as in a read-only zone."""
        self.add_zone(name, *paths, access=ZoneAccess.READ_ONLY)

    def add_temporary(self) -> None:
        """Add the zone ``tmp``, writable in every mode."""
        paths = ["/tmp", "/var/tmp", "/dev/shm"]  # noqa: S108 -- named, not opened
        if own := self.env.get("TMPDIR"):
            paths.insert(0, self.make_absolute(own))
        self.add_zone("tmp", *paths, access=ZoneAccess.READ_WRITE)

    def covers_path(self, path: str) -> bool:
        """Whether a zone that was added by its path is `path` or lies around it."""
        return any(
            path == place or path.startswith(place.rstrip("/") + "/")
            for _access, paths, _patterns in self._zones.values()
            for place in paths
        )

    @property
    def is_root(self) -> bool:
        """Whether the command runs as root, as far as the environment tells."""
        return self.env.get("USER", "root" if os.getuid() == 0 else "") == "root"

    def list_zones(self) -> tuple[Zone, ...]:
        """Return what was gathered, in order."""
        made: list[Zone] = []
        for name, (access, paths, patterns) in self._zones.items():
            expanded = [pattern for path in paths for pattern in of_path(os.fsencode(path))]
            made.append(Zone(name, access, tuple(dict.fromkeys([*expanded, *patterns]))))
        return tuple(made)

    def patterns_for(self, path: str) -> tuple[bytes, ...]:
        """Return the patterns that cover `path`, to be gone on with."""
        return of_path(os.fsencode(path))

    # -- Python environments -----------------------------------------------------------

    def find_program(self, name: str) -> str | None:
        """Return where a program is found, as the command's PATH has it; symlinks are not followed."""
        if "/" in name:
            return self.make_absolute(name)
        import shutil  # noqa: PLC0415 - start-up

        found = shutil.which(name, path=self.env.get("PATH"))
        return self.make_absolute(found) if found else None

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
                for name in _list_directory(os.path.join(place, "lib"))
                if name.startswith(("python3", "pypy3"))
            }
        ) or ["python3"]
        parts = ["bin", "include", "share", "etc", *(os.path.join("lib", name) for name in names)]
        if "/usr" in prefixes:
            parts = ["bin", *(part for part in parts if part.startswith("lib/"))]
        return [os.path.join(place, part) for place in prefixes for part in parts]


def _list_directory(directory: str) -> list[str]:
    try:
        return os.listdir(directory)
    except OSError:
        return []


def _mark_texts(value: Any, file: str) -> Any:
    """Return the content of a project's file with all its texts marked."""
    match value:
        case str():
            return FromProject(value, file)
        case dict():
            return {key: _mark_texts(each, file) for key, each in value.items()}
        case list():
            return [_mark_texts(each, file) for each in value]
        case _:
            return value


def get_table(data: object, *keys: str) -> dict[str, object] | None:
    """Return the table at `keys` of a TOML document, None if there is none."""
    for key in keys:
        data = data.get(key) if isinstance(data, dict) else None
    return data if isinstance(data, dict) else None


def get_text(data: object, *keys: str) -> str | None:
    """Return the text at `keys` of a TOML document, None if there is none."""
    found = get_table(data, *keys[:-1])
    value = found.get(keys[-1]) if found is not None else None
    return value if isinstance(value, str) else None
